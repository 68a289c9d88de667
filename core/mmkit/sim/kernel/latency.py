"""How long commands and reports take, compiled: as `mmkit.sim.latency`, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmkit.sim.kernel.layout import CONSTANT, DRAWN
from mmkit.sim.kernel.pointers import inline, int64, int64s

ENTRY, RESPONSE = 0, 1


@inline
def _splitmix64(x: Any) -> Any:
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@inline
def latency(s: Any, way: int, ts: int) -> int:
    """Return how long what is sent at `ts` takes."""
    if s.latency[way] == CONSTANT:
        return s.constant[way]
    count = s.measured[way]
    values = int64s(s.values[way], count)
    if s.latency[way] == DRAWN:
        bits = _splitmix64(s.key[way] ^ np.uint64(ts)) >> np.uint64(11)
        place = np.float64(bits) * 2.0**-53 * np.float64(count - 1)
        left = min(int64(place), count - 2)
        share = place - np.float64(left)
    else:
        times = int64s(s.times[way], count)
        if ts <= times[0]:
            return values[0]
        if ts >= times[count - 1]:
            return values[count - 1]
        left = np.searchsorted(times, ts, side="right") - 1
        share = np.float64(ts - times[left]) / np.float64(times[left + 1] - times[left])
    low, high = values[left], values[left + 1]
    return int64(np.floor(np.float64(low) + np.float64(high - low) * share))
