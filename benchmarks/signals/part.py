"""What one part of the benchmark found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """Figures of the last line, and the lines of the table."""

    figures: dict[str, float]
    lines: tuple[str, ...]
