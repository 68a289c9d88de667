"""Windows with labels drawn from a known function of them."""

from __future__ import annotations

import numpy as np

from mmkit.interfaces import TrainingSet

NAMES = ("imbalance_1", "spread", "ofi_1_1s", "return_1s")


def drawn(n: int, window: int = 6, *, seed: int = 0, back: int = 1) -> TrainingSet:
    """The move follows the imbalance of the last sample and the flow `back` samples before it."""
    draw = np.random.default_rng(seed)
    windows = draw.uniform(-1, 1, (n, window, len(NAMES)))
    pull = windows[:, -1, 0] + windows[:, -1 - back, 2] + draw.normal(0, 0.2, n)
    return TrainingSet(windows, np.digitize(pull, [-0.4, 0.4]).astype(np.int8))
