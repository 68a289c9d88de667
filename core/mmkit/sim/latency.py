"""How long commands and reports are on their way: a pure function of the moment they are sent.

No state is kept, so what is sent at one moment shares a latency, and every replay and every engine finds
the same one.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol

from mmkit.settings import (
    AnyLatency,
    DrawnLatency,
    LatencySettings,
    RecordedLatency,
    SampledLatency,
)
from mmkit.sim.latency_files import read_samples, read_series

SALTS = {"entry": 0x656E747279, "response": 0x726573706F6E7365}
"""So that the two ways do not draw alike from one seed."""
_UINT64 = 2**64 - 1


class Delay(Protocol):
    """One way's latency."""

    def at(self, ts: int) -> int:
        """Return how long what is sent at `ts` takes; both in ns."""


class Constant:
    """Always the same."""

    def __init__(self, ns: int) -> None:
        self.ns = ns

    def at(self, ts: int) -> int:
        """Return it."""
        return self.ns


class Drawn:
    """Drawn from the distribution whose quantile function is linear between ascending values.

    The draw is a hash of the moment: its first 53 bits are a uniform number in [0, 1).

    Args:
        values: In ns, ascending; at least 2.
        seed: Another one draws others.
        salt: Another one draws others, too.
    """

    def __init__(self, values: Sequence[int], seed: int, salt: int) -> None:
        self.values = tuple(values)
        self.key = splitmix64(seed ^ salt)

    def at(self, ts: int) -> int:
        """Return the draw that belongs to `ts`."""
        uniform = (splitmix64(self.key ^ (ts & _UINT64)) >> 11) * 2.0**-53
        place = uniform * (len(self.values) - 1)
        left = min(int(place), len(self.values) - 2)
        low, high = self.values[left], self.values[left + 1]
        return math.floor(float(low) + float(high - low) * (place - left))


class Recorded:
    """Linear in time between recorded values; the first and the last one hold beyond the ends.

    Args:
        times: ns, increasing; at least 2.
        values: ns, one for each time.
    """

    def __init__(self, times: Sequence[int], values: Sequence[int]) -> None:
        self.times, self.values = tuple(times), tuple(values)

    def at(self, ts: int) -> int:
        """Return the value at `ts`."""
        times, values = self.times, self.values
        if ts <= times[0]:
            return values[0]
        if ts >= times[-1]:
            return values[-1]
        right = bisect_right(times, ts)
        begins, low = times[right - 1], values[right - 1]
        share = float(ts - begins) / float(times[right] - begins)
        return math.floor(float(low) + float(values[right] - low) * share)


def splitmix64(x: int) -> int:
    """Return the first output of the generator of that name seeded with `x`, both 64 bits unsigned.

    G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    z = (x + 0x9E3779B97F4A7C15) & _UINT64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _UINT64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _UINT64
    return z ^ (z >> 31)


def delay_of(setting: AnyLatency, way: str) -> Delay:
    """Return the latency of one way, ``entry`` or ``response``.

    Raises:
        DataError: if a file it is in cannot be used.
    """
    match setting:
        case DrawnLatency():
            return Drawn(setting.quantiles, setting.seed, SALTS[way])
        case SampledLatency():
            values = sorted(read_samples(setting.samples))
            return Drawn(_scaled(values, setting.factor), setting.seed, SALTS[way])
        case RecordedLatency():
            moments, values = read_series(setting)
            return Recorded(moments, _scaled(values, setting.factor))
        case _:
            return Constant(setting)


def _scaled(values: Sequence[int], factor: float) -> Sequence[int]:
    return values if factor == 1.0 else [round(value * factor) for value in values]


class Latency:
    """Both ways."""

    def __init__(self, settings: LatencySettings) -> None:
        self._entry = delay_of(settings.entry, "entry")
        self._response = delay_of(settings.response, "response")

    def entry(self, ts_local: int) -> int:
        """Return how long a command sent at `ts_local` takes to the venue, ns."""
        return self._entry.at(ts_local)

    def response(self, ts_exchange: int) -> int:
        """Return how long a report sent at `ts_exchange` takes back to us, ns."""
        return self._response.at(ts_exchange)
