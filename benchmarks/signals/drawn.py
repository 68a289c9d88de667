"""Windows to predict of and to train on."""

from __future__ import annotations

import numpy as np

from mmkit.interfaces import TrainingSet


def drawn(n: int, window: int, features: int) -> TrainingSet:
    """Return windows whose label follows three of their values."""
    draw = np.random.default_rng(1)
    windows = draw.normal(size=(n, window, features))
    pull = windows[:, -1, 0] + windows[:, -1, 1] * windows[:, -1, 2] + draw.normal(size=n)
    return TrainingSet(windows, np.digitize(pull, [-0.5, 0.5]).astype(np.int8))
