"""Signals that are all known before a run begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from mmkit.events import Signal
from mmkit.report import SignalFigures
from mmkit.run.known import Told
from mmkit.run.session import SignalFeed, Troubles


class Known(Told[Signal], SignalFeed):
    """Tells signals when their time has come: those of a backtest, or those of a journal.

    Args:
        signals: In the order of ``ts_local``.
        figures: What the report says of each; how many were told is added.
    """

    def __init__(
        self, signals: Iterable[Signal], figures: Mapping[str, SignalFigures] | None = None
    ) -> None:
        super().__init__(signals)
        self._figures = {name: replace(one) for name, one in (figures or {}).items()}

    @property
    def figures(self) -> dict[str, SignalFigures]:
        """What the report says of each."""
        return self._figures

    @property
    def troubles(self) -> dict[str, Troubles]:
        """How often each was late and failed, when it was computed."""
        return {name: Troubles(one.late, one.failed) for name, one in self._figures.items()}

    def count(self, event: Signal) -> None:
        """Count `event`."""
        if (figures := self._figures.get(event.name)) is not None:
            figures.told += 1
