"""Pauses that advice asks for: short, and never more than half of the time."""

from __future__ import annotations


class Pause:
    """Whether to be off the book because of a danger, a function of what was heard and of time.

    A pause lasts for `longest` at most and ends with the advice that began it. For `longest` after its end no other
    begins, whatever is said: an advisor that always sees danger keeps quotes off the book half of the time, and no
    longer.

    Args:
        longest: In ns.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._ends: int | None = None

    def hear(self, now: int, expires_ns: int) -> None:
        """Take in that there is danger from `now`, until `expires_ns` at the latest; ns since the epoch."""
        if self._ends is None or now >= self._ends + self._longest:
            self._ends = min(now + self._longest, expires_ns)

    def at(self, now: int) -> bool:
        """Return whether it is on at `now`, not before the last advice."""
        return self._ends is not None and now < self._ends
