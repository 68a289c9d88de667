"""What models and advisors say, all known before a run begins: told when its time has come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from mmkit.events import MAIN, Advice, Signal
from mmkit.tape import NEVER, Row

E = TypeVar("E", Signal, Advice)


class Told(Generic[E]):
    """Tells events at their ``ts_local``.

    Args:
        events: In the order of ``ts_local``.
    """

    def __init__(self, events: Iterable[E]) -> None:
        self._events: Iterator[E] = iter(events)
        self._next: E | None = next(self._events, None)

    def on_message(self, message: Sequence[Row], market: str = MAIN) -> None:
        """Nothing is computed or asked any more."""

    def next_ns(self) -> int:
        """Return when the next one is known."""
        return NEVER if self._next is None else self._next.ts_local

    def take(self, now_ns: int) -> list[E]:
        """Return those that are known by now."""
        told: list[E] = []
        while self._next is not None and self._next.ts_local <= now_ns:
            told.append(self._next)
            self.count(self._next)
            self._next = next(self._events, None)
        return told

    def count(self, event: E) -> None:
        """Take notice that `event` is told."""
