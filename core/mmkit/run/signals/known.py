"""Signals that are all known before a run begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from mmkit.events import Signal
from mmkit.report import SignalFigures
from mmkit.run.session import SignalFeed, Troubles
from mmkit.tape import NEVER, Row


class Known(SignalFeed):
    """Tells signals when their time has come: those of a backtest, or those of a journal.

    Args:
        signals: In the order of ``ts_local``.
        figures: What the report says of each; how many were told is added.
    """

    def __init__(
        self, signals: Iterable[Signal], figures: Mapping[str, SignalFigures] | None = None
    ) -> None:
        self._signals = iter(signals)
        self._next = next(self._signals, None)
        self._figures = {name: replace(one) for name, one in (figures or {}).items()}

    @property
    def figures(self) -> dict[str, SignalFigures]:
        """What the report says of each."""
        return self._figures

    @property
    def troubles(self) -> dict[str, Troubles]:
        """How often each was late and failed, when it was computed."""
        return {name: Troubles(one.late, one.failed) for name, one in self._figures.items()}

    def on_message(self, message: Sequence[Row], market: str) -> None:
        """Nothing is computed any more."""

    def next_ns(self) -> int:
        """Return when the next one is known."""
        return NEVER if self._next is None else self._next.ts_local

    def take(self, now_ns: int) -> list[Signal]:
        """Return those that are known by now."""
        told: list[Signal] = []
        while self._next is not None and self._next.ts_local <= now_ns:
            told.append(self._next)
            if (figures := self._figures.get(self._next.name)) is not None:
                figures.told += 1
            self._next = next(self._signals, None)
        return told
