"""How the exchange's time follows the run's."""

from __future__ import annotations

from mmkit.clock import Clock


class Pace:
    """The exchange's clock: the run's clock, shifted, sped up, or held.

    Args:
        clock: The run's clock.
        start_ns: The exchange's time now; the run's own if not given.
        speed: Seconds of the exchange that pass in one second of the run.
        held: Whether time stands still until `release`.
    """

    def __init__(
        self, clock: Clock, start_ns: int | None = None, speed: float = 1.0, held: bool = False
    ) -> None:
        self._clock, self.speed = clock, speed
        self._origin = clock.now_ns()
        self._start = self._origin if start_ns is None else start_ns
        self.held = held

    def now_ns(self) -> int:
        """Return the exchange's time."""
        if self.held:
            return self._start
        passed = self._clock.now_ns() - self._origin
        return self._start + (passed if self.speed == 1 else round(passed * self.speed))

    def release(self) -> None:
        """Let time pass, if it stood still."""
        if self.held:
            self._origin = self._clock.now_ns()
            self.held = False

    def set(self, now_ns: int) -> None:
        """Make `now_ns` the time of the exchange: back, if a client could not keep up; on, over a pause."""
        self._start, self._origin = now_ns, self._clock.now_ns()
