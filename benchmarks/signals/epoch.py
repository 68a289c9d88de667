"""What an epoch of training takes, beside the plain loop in torch."""

from __future__ import annotations

import time
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from mmkit.interfaces import TrainingContext, TrainingSet, TrainingStep
from mmkit_lstm.settings import LstmTraining, build_trainer

from .drawn import drawn
from .part import Part, Sizes

EPOCHS = 4
"""The first of them loads and allocates what the others find there, and does not count."""


class Seconds(NamedTuple):
    """Of the clock on the wall, and of the processor."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Seconds:
        """Return both."""
        return cls(time.perf_counter(), time.process_time())

    def __sub__(self, before: Seconds) -> Seconds:
        """Return what has passed."""
        return Seconds(self.wall - before.wall, self.cpu - before.cpu)


def epoch(sizes: Sizes) -> Part:
    """Measure the default network on windows of 30 x 10, an epoch of the plain loop after each of ours.

    On one thread: where others have a processor, torch's threads wait for each other, and that is what is measured.
    The plain loop has all windows scaled and on the device, and does neither weigh classes nor clip gradients nor
    judge validation data.
    """
    import torch
    from torch import nn

    data = drawn(sizes.windows, 30, 10)
    context = TrainingContext(tuple(f"f{number}" for number in range(10)), 30)
    config = LstmTraining(epochs=EPOCHS, patience=EPOCHS, threads=1)
    trainer: Any = build_trainer(config, context)
    device = torch.device(trainer.device)
    network = trainer._network().to(device)
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate)
    criterion = nn.CrossEntropyLoss()
    inputs = torch.from_numpy(data.windows.astype(np.float32)).to(device)
    labels = torch.from_numpy(data.labels.astype(np.int64)).to(device)
    ours: list[Seconds] = []
    plain: list[Seconds] = []
    begun = Seconds.now()

    def told(step: TrainingStep) -> None:
        nonlocal begun
        ended = Seconds.now()
        ours.append(ended - begun)
        # Training asks for it; the plain loop does not.
        torch.use_deterministic_algorithms(False)
        network.train()
        order = torch.randperm(len(labels))
        for start in range(0, len(order), config.batch):
            chosen = order[start : start + config.batch]
            optimizer.zero_grad()
            criterion(network(inputs[chosen]), labels[chosen]).backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        torch.use_deterministic_algorithms(True)
        begun = Seconds.now()
        plain.append(begun - ended)

    few = TrainingSet(data.windows[:100], data.labels[:100])
    begun = Seconds.now()
    trainer.fit(data, few, seed=1, progress=told, stop=lambda: False)
    ours, plain = ours[1:], plain[1:]
    wall, cpu = (
        median(theirs[clock] / own[clock] for own, theirs in zip(ours, plain, strict=True))
        for clock in (0, 1)
    )
    return Part(
        {
            "epoch_s": round(median(one.wall for one in ours), 3),
            "epoch_cpu_s": round(median(one.cpu for one in ours), 3),
            "epoch_vs_torch": round(wall, 3),
            "epoch_cpu_vs_torch": round(cpu, 3),
        },
        (
            f"{f'lstm, an epoch of {sizes.windows:,} windows on {device.type}, s':40}{'median':>12}{'CPU':>9}  from, to",
            _line("mmkit train", ours),
            _line("the plain loop in torch", plain),
        ),
    )


def _line(name: str, taken: list[Seconds]) -> str:
    wall = [one.wall for one in taken]
    cpu = median(one.cpu for one in taken)
    return f"  {name:38}{median(wall):12.2f}{cpu:9.2f}  {min(wall):.2f}, {max(wall):.2f}"
