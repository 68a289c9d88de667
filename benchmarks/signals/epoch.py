"""What an epoch of training takes, beside the plain loop in torch."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np

from mmkit.interfaces import TrainingContext, TrainingSet, TrainingStep
from mmkit_lstm.settings import LstmTraining, build_trainer

from .drawn import drawn
from .part import Part, Sizes

EPOCHS = 4
"""The first of them loads and allocates what the others find there, and does not count."""


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
    ours: list[float] = []
    plain: list[float] = []
    begun = time.perf_counter()

    def told(step: TrainingStep) -> None:
        nonlocal begun
        ended = time.perf_counter()
        ours.append(ended - begun)
        # Training asks for it; the plain loop does not.
        torch.use_deterministic_algorithms(False)
        network.train()
        for chosen in torch.randperm(len(labels)).split(config.batch):
            optimizer.zero_grad()
            criterion(network(inputs[chosen]), labels[chosen]).backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        torch.use_deterministic_algorithms(True)
        begun = time.perf_counter()
        plain.append(begun - ended)

    few = TrainingSet(data.windows[:100], data.labels[:100])
    begun = time.perf_counter()
    trainer.fit(data, few, seed=1, progress=told, stop=lambda: False)
    first, theirs = median(ours[1:]), median(plain[1:])
    ratio = median(beside / own for own, beside in zip(ours[1:], plain[1:], strict=True))
    return Part(
        {"epoch_s": round(first, 3), "epoch_vs_torch": round(ratio, 3)},
        (
            f"lstm, an epoch of {sizes.windows:,} windows of 30 x 10 on {device.type}, one thread, s",
            f"  {'mmkit train':38}{first:12.2f}  ({min(ours[1:]):.2f} to {max(ours[1:]):.2f})",
            f"  {'the plain loop in torch':38}{theirs:12.2f}  ({min(plain[1:]):.2f} to {max(plain[1:]):.2f})",
        ),
    )
