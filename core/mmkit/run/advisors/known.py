"""Advice that is all known before a run begins: that of a journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mmkit.events import Advice, AnyEvent
from mmkit.report import AdvisorFigures
from mmkit.run.advisors.tally import Tally
from mmkit.run.known import Told
from mmkit.run.session import AdviceFeed


class KnownAdvice(Told[Advice], AdviceFeed):
    """Tells advice when it really came.

    Args:
        advice: In the order of ``ts_local``.
        figures: What the report says of each advisor, before anything has been told.
    """

    def __init__(
        self, advice: Iterable[Advice], figures: Mapping[str, AdvisorFigures] | None = None
    ) -> None:
        super().__init__(advice)
        self._tally = Tally(figures or {})

    @property
    def figures(self) -> dict[str, AdvisorFigures]:
        """What the report says of each advisor."""
        return self._tally.figures

    @property
    def last(self) -> dict[str, Advice]:
        """The last of each advisor that has an answer."""
        return self._tally.last

    def on_notice(self, notice: AnyEvent) -> None:
        """Nothing is asked any more."""

    def stop(self) -> None:
        """What was under way when the run was told to stop is told all the same."""

    def count(self, event: Advice) -> None:
        """Count `event`."""
        self._tally.count(event)
