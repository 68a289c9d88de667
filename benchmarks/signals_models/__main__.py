"""How long one prediction takes, beside torch and LightGBM; ends with one line of JSON.

python -m benchmarks.signals_models [--calls N] [--epochs]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mmkit import model_folder
from mmkit.interfaces import ModelContext, TrainingContext, TrainingSet
from mmkit_lightgbm.model import FILE, LightgbmConfig, LightgbmModel
from mmkit_lstm.model import GraphModel, LstmConfig, load
from mmkit_lstm.saved import GRAPH, TENSORS, unpack
from mmkit_lstm.settings import LstmTraining, build_trainer

ROUNDS = 40
"""Each of them times every candidate in turn, so that a slow moment of the machine meets all."""
WARM = 50
"""Calls before them that are not timed: the one before has filled the caches with its own."""


class Taken(NamedTuple):
    """What a call takes, in us: of each round, and of those the median.

    Attributes:
        median: Of the clock on the wall.
        p99: Of the clock on the wall.
        cpu_p99: Of the processor, which leaves out the time in which neighbours had it.
    """

    median: float
    p99: float
    cpu_p99: float


def side_by_side(calls: int, **candidates: Callable[[int], object]) -> dict[str, Taken]:
    """Return what one call of each takes."""
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in candidates}
    for _ in range(ROUNDS):
        for name, call in candidates.items():
            for number in range(WARM):
                call(number)
            wall, cpu = [], []
            for number in range(max(calls // ROUNDS, 1)):
                used = time.thread_time_ns()
                begun = time.perf_counter_ns()
                call(number)
                ended = time.perf_counter_ns()
                cpu.append((time.thread_time_ns() - used) / 1e3)
                wall.append((ended - begun) / 1e3)
            p99 = float(np.percentile(wall, 99)), float(np.percentile(cpu, 99))
            taken[name].append((float(np.median(wall)), *p99))
    return {name: Taken(*np.median(rounds, axis=0).tolist()) for name, rounds in taken.items()}


def drawn(n: int, window: int, features: int) -> TrainingSet:
    """Windows whose label follows three of their values."""
    draw = np.random.default_rng(1)
    windows = draw.normal(size=(n, window, features))
    pull = windows[:, -1, 0] + windows[:, -1, 1] * windows[:, -1, 2] + draw.normal(size=n)
    return TrainingSet(windows, np.digitize(pull, [-0.5, 0.5]).astype(np.int8))


def lstm(calls: int, folder: Path) -> dict[str, Taken]:
    """The default network on windows of 30 x 10, trained for an epoch."""
    import torch

    data = drawn(512, 30, 10)
    context = TrainingContext(tuple(f"f{number}" for number in range(10)), 30)
    trainer: Any = build_trainer(LstmTraining(epochs=1, threads=1, device="cpu"), context)
    trainer.fit(data, data, seed=1, progress=lambda _: None, stop=lambda: False)
    trainer.save(folder, {})
    model = load(LstmConfig(), ModelContext(folder))
    _, tensors = unpack((folder / TENSORS).read_bytes(), "")
    graph = GraphModel((folder / GRAPH).read_bytes(), tensors, 30, context.names, folder)
    network = trainer._network().eval()
    network.load_state_dict(trainer._best)
    windows = data.windows
    inputs = torch.from_numpy(windows.astype(np.float32))
    torch.set_num_threads(1)
    with torch.inference_mode():
        return side_by_side(
            calls,
            mmkit=lambda number: model.predict(windows[number % 512]),
            onnxruntime=lambda number: graph.predict(windows[number % 512]),
            torch=lambda number: torch.softmax(network(inputs[None, number % 512]), 1),
        )


def lightgbm(calls: int, folder: Path) -> dict[str, Taken]:
    """100 rounds of three trees of up to 31 leaves, over 20 features."""
    import lightgbm as library

    data = drawn(6000, 1, 20)
    inputs: npt.NDArray[np.float64] = data.windows[:, 0]
    names = tuple(f"f{number}" for number in range(20))
    parameters = {"objective": "multiclass", "num_class": 3, "verbosity": -1, "num_threads": 1}
    booster = library.train(
        parameters, library.Dataset(inputs, data.labels, feature_name=list(names)), 100
    )
    text = booster.model_to_string().encode()
    model_folder.save(folder, {FILE: text}, {}, plugin="lightgbm", names=names, window=1)
    model = LightgbmModel(LightgbmConfig(), ModelContext(folder))
    return side_by_side(
        calls,
        mmkit=lambda number: model.predict(data.windows[number % 6000]),
        booster=lambda number: booster.predict(inputs[number % 6000, None], num_threads=1),
    )


def epochs() -> dict[str, float]:
    """Seconds an epoch of 20,000 windows of 30 x 10 takes, in `mmkit train` and in the plain loop."""
    import torch
    from torch import nn

    data = drawn(20_000, 30, 10)
    context = TrainingContext(tuple(f"f{number}" for number in range(10)), 30)
    config = LstmTraining(epochs=3, patience=3)
    trainer: Any = build_trainer(config, context)
    few = TrainingSet(data.windows[:100], data.labels[:100])
    marks = [time.perf_counter()]
    trainer.fit(
        data,
        few,
        seed=1,
        progress=lambda _: marks.append(time.perf_counter()),
        stop=lambda: False,
    )
    device = torch.device(trainer.device)
    network = trainer._network().to(device)
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate)
    criterion = nn.CrossEntropyLoss()
    inputs = torch.from_numpy(data.windows.astype(np.float32)).to(device)
    labels = torch.from_numpy(data.labels.astype(np.int64)).to(device)
    plain = []
    for _ in range(3):
        begun = time.perf_counter()
        for chosen in torch.randperm(len(labels)).split(config.batch):
            optimizer.zero_grad()
            criterion(network(inputs[chosen]), labels[chosen]).backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        plain.append(time.perf_counter() - begun)
    return {"epoch_s": float(min(np.diff(marks))), "plain_epoch_s": min(plain)}


def measure(calls: int = 10_000, *, with_epochs: bool = False) -> dict[str, float]:
    """Return the figures, and print what they are made of to stderr."""
    with tempfile.TemporaryDirectory() as folder:
        recurrent = lstm(calls, Path(folder) / "lstm")
        trees = lightgbm(calls, Path(folder) / "lightgbm")
    for model, found in (
        ("lstm 30 x 10", recurrent),
        ("lightgbm 100 x 3 trees, 20 features", trees),
    ):
        for name, took in found.items():
            print(
                f"{model:36} {name:12} median {took.median:7.1f} us, P99 {took.p99:7.1f} us, P99 of the CPU "
                f"{took.cpu_p99:7.1f} us",
                file=sys.stderr,
            )
    figures = {
        "lstm_p99_us": recurrent["mmkit"].p99,
        "lstm_p99_cpu_us": recurrent["mmkit"].cpu_p99,
        "lstm_vs_torch": recurrent["torch"].median / recurrent["mmkit"].median,
        "lightgbm_p99_us": trees["mmkit"].p99,
        "lightgbm_p99_cpu_us": trees["mmkit"].cpu_p99,
        "lightgbm_vs_predict": trees["booster"].median / trees["mmkit"].median,
    }
    return {
        name: round(value, 2)
        for name, value in (figures | (epochs() if with_epochs else {})).items()
    }


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000, help="of each candidate")
    parser.add_argument("--epochs", action="store_true", help="time an epoch of training as well")
    asked = parser.parse_args()
    print(json.dumps(measure(asked.calls, with_epochs=asked.epochs)))


if __name__ == "__main__":
    main()
