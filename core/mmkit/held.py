"""What holds for a while after it was told, such as signals and advice: the last of each name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from mmkit.events import Advice, Signal
from mmkit.tape import NEVER

E = TypeVar("E", Signal, Advice)


class Held(Generic[E]):
    """The last of each name, until it expires.

    Args:
        wakes: Whether expiring is to be acted on.
    """

    def __init__(self, *, wakes: bool) -> None:
        self.wakes = wakes
        self.expiry_ns = NEVER
        """When the first of them expires, if that is to be acted on."""
        self._last: dict[str, E] = {}

    def take(self, event: E) -> None:
        """Let `event` take the place of the one before it of its name."""
        self._last[event.name] = event

    def at(self, now_ns: int) -> Iterator[tuple[str, E]]:
        """Yield what holds now, by name."""
        return ((name, one) for name, one in self._last.items() if one.expires_ns > now_ns)

    def get(self, name: str, now_ns: int) -> E | None:
        """Return what holds now of that name; `None` for nothing."""
        one = self._last.get(name)
        return one if one is not None and one.expires_ns > now_ns else None

    def drop_expired(self, now_ns: int) -> None:
        """Forget what has expired, and see when the next does; if nobody acts on that, there is nothing to do."""
        if self.wakes:
            self._last = dict(self.at(now_ns))
            self.expiry_ns = min((one.expires_ns for one in self._last.values()), default=NEVER)
