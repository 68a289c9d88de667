"""The only place that reads the time; everyone else is handed a `Clock`."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod


class Clock(ABC):
    """Tells the time of a run, in nanoseconds since the Unix epoch. Never goes back."""

    @abstractmethod
    def now_ns(self) -> int:
        """Return the time now."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of this clock have passed."""


class SystemClock(Clock):
    """The machine's clock, read once; from then on the monotonic clock carries it.

    A step of the system clock (NTP, daylight, a person) does not reach a run.
    """

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()
        self._last = 0

    def now_ns(self) -> int:
        """Return the time now; each call later than the one before."""
        self._last = max(self._last + 1, time.monotonic_ns() + self._offset)
        return self._last

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        import asyncio

        await asyncio.sleep(seconds)


class SimClock(Clock):
    """A clock that stands still until somebody advances it."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now = start_ns

    def now_ns(self) -> int:
        """Return the simulated time."""
        return self._now

    def advance_to(self, now_ns: int) -> None:
        """Move to `now_ns`, which must not be in the past."""
        if now_ns < self._now:
            raise ValueError(f"time cannot go back from {self._now} to {now_ns}")
        self._now = now_ns

    async def sleep(self, seconds: float) -> None:
        """Let the simulated time pass at once."""
        self._now += round(seconds * 1e9)
