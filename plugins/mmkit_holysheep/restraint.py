"""What keeps an advisor from asking too often, and from asking who does not answer."""

from __future__ import annotations

from collections import deque

from mmkit.clock import Clock

_MINUTE_NS = 60_000_000_000
_LONGEST_HOLD_NS = 3_600_000_000_000
"""A gateway that asks to be left alone for longer is asked again after an hour, to see."""


class Pace:
    """At most so many requests in any sixty seconds."""

    def __init__(self, clock: Clock, per_minute: int) -> None:
        self._clock, self._most = clock, per_minute
        self._made: deque[int] = deque()

    def take(self) -> bool:
        """Count a request; `False` if it would be one too many."""
        now = self._clock.now_ns()
        while self._made and self._made[0] <= now - _MINUTE_NS:
            self._made.popleft()
        if len(self._made) >= self._most:
            return False
        self._made.append(now)
        return True


class Breaker:
    """Leaves one model alone for a while after it has failed so many times in a row.

    After the pause it may be asked once; if that fails too, the pause begins anew.
    """

    def __init__(self, clock: Clock, failures: int, pause_ns: int) -> None:
        self._clock, self._most, self._pause_ns = clock, failures, pause_ns
        self._failures, self._until_ns = 0, 0

    def left_s(self) -> float:
        """Return for how many seconds the model is left alone; 0 if it may be asked."""
        return max(0, self._until_ns - self._clock.now_ns()) / 1e9

    def succeeded(self) -> None:
        """Forget the failures."""
        self._failures = 0

    def failed(self) -> None:
        """Count a failure."""
        self._failures += 1
        if self._failures >= self._most:
            self.hold(self._pause_ns)

    def hold(self, ns: int) -> None:
        """Leave the model alone for so long, as the gateway has asked to."""
        until = self._clock.now_ns() + min(ns, max(_LONGEST_HOLD_NS, self._pause_ns))
        self._until_ns = max(self._until_ns, until)
