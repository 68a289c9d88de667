"""One part of the benchmark: how much is measured, and what was found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        messages: That are streamed, at most.
        repeats: Of each batch.
        calls: Predictions of each candidate.
        windows: Of an epoch.
    """

    messages: int = 100_000
    repeats: int = 5
    calls: int = 20_000
    windows: int = 20_000


@dataclass(frozen=True)
class Part:
    """Figures of the last line, and the lines of the table."""

    figures: dict[str, float]
    lines: tuple[str, ...]
