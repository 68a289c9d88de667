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
        self.last: dict[str, E] = {}
        """Of each name, expired or not; in the order in which the names were first told."""

    def take(self, event: E) -> None:
        """Let `event` take the place of the one before it of its name."""
        self.last[event.name] = event

    def at(self, now_ns: int) -> Iterator[tuple[str, E]]:
        """Yield what holds now, by name."""
        return ((name, one) for name, one in self.last.items() if one.expires_ns > now_ns)

    def get(self, name: str, now_ns: int) -> E | None:
        """Return what holds now of that name; `None` for nothing."""
        one = self.last.get(name)
        return one if one is not None and one.expires_ns > now_ns else None

    def mind_expiry(self, now_ns: int) -> None:
        """See when the next one expires; if nobody acts on that, there is nothing to do."""
        if self.wakes:
            self.expiry_ns = min((one.expires_ns for _, one in self.at(now_ns)), default=NEVER)
