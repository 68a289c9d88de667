"""What has become of the advisors of a run so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median

from msgspec.structs import replace

from mmkit.events import Advice
from mmkit.report import AdvisorFigures


class Tally:
    """Counts advice as it is told.

    Args:
        figures: What the report says of each advisor, before anything has been told.

    Attributes:
        last: The last of each advisor that has an answer, expired or not.
    """

    def __init__(self, figures: Mapping[str, AdvisorFigures]) -> None:
        self._figures = {
            name: replace(one, refused=dict(one.refused)) for name, one in figures.items()
        }
        self._took: dict[str, deque[int]] = {name: deque(maxlen=10_000) for name in figures}
        self.last: dict[str, Advice] = {}

    def count(self, advice: Advice) -> None:
        """Count what came of one question; of an advisor that nothing is said of, nothing is counted."""
        if advice.answer is not None:
            self.last[advice.name] = advice
        figures = self._figures.get(advice.name)
        if figures is None:
            return
        figures.count(advice)
        if advice.answer is not None:
            self._took[advice.name].append(advice.ts_local - advice.ts_exchange)

    def __getitem__(self, name: str) -> AdvisorFigures:
        return self._figures[name]

    @property
    def figures(self) -> dict[str, AdvisorFigures]:
        """What the report says of each advisor."""
        return {
            name: replace(one, took_ns=int(median(took)) if (took := self._took[name]) else 0)
            for name, one in self._figures.items()
        }
