"""What one prediction of the default network takes, beside onnxruntime and torch."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mmkit.interfaces import ModelContext, TrainingContext
from mmkit_lstm.model import GraphModel, LstmConfig, load
from mmkit_lstm.saved import GRAPH, TENSORS, unpack
from mmkit_lstm.settings import LstmTraining, build_trainer

from .drawn import drawn
from .part import Part, Sizes
from .side_by_side import Taken, lines, side_by_side


def lstm(sizes: Sizes) -> Part:
    """Measure windows of 30 x 10, with a network that was trained for an epoch."""
    with tempfile.TemporaryDirectory() as name:
        taken = _measured(sizes.calls, Path(name) / "lstm")
    ours = taken["mmkit"]
    figures = {
        "lstm_us": ours.median,
        "lstm_p99_us": ours.p99,
        "lstm_p99_cpu_us": ours.cpu_p99,
        "lstm_vs_torch": taken["torch"].median / ours.median,
        "lstm_vs_onnxruntime": taken["onnxruntime"].median / ours.median,
    }
    rounded = {key: round(value, 2) for key, value in figures.items()}
    return Part(rounded, lines("lstm, a window of 30 x 10", taken))


def _measured(calls: int, folder: Path) -> dict[str, Taken]:
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
    threads = torch.get_num_threads()
    # Handing a network this small to other threads takes torch longer than computing it.
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            return side_by_side(
                calls,
                mmkit=lambda number: model.predict(windows[number % 512]),
                onnxruntime=lambda number: graph.predict(windows[number % 512]),
                torch=lambda number: torch.softmax(network(inputs[None, number % 512]), 1),
            )
    finally:
        torch.set_num_threads(threads)
