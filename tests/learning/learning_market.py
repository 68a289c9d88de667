"""A market whose next moves are drawn from a known function of one feature."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmkit.learning import Samples

Floats = npt.NDArray[np.float64]


class Market(NamedTuple):
    samples: Samples
    bid: Floats
    ask: Floats


def market(n: int, seed: int, *, pull: float = 0.5, every_ns: int = 100_000_000) -> Market:
    """Return `n` samples a tick of 0.01 apart; an imbalance with memory pulls mid its way, `pull` ticks a sample."""
    dice = np.random.default_rng(seed)
    imbalance = np.empty(n)
    state = 0.0
    for row, noise in enumerate(dice.standard_normal(n)):
        state = 0.9 * state + noise * 0.43588989435406733
        imbalance[row] = np.tanh(state)
    step = np.round(pull * imbalance + dice.standard_normal(n))
    ticks = 10_000 + np.concatenate(([0.0], np.cumsum(step)[:-1]))
    bid, ask = (ticks - 1) / 100, ticks / 100
    samples = Samples.of(
        np.arange(n) * every_ns,
        np.stack((imbalance, dice.standard_normal(n)), axis=1),
        ("imbalance", "noise"),
        (bid + ask) / 2,
    )
    return Market(samples, bid, ask)
