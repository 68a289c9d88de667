"""Pictures as SVG, which any browser shows."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

TEXT = "#333333"
"""The color of words and axes."""


class Canvas:
    """What has been drawn so far; everything in px from the top left corner.

    Args:
        width: Of the whole.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._parts: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, color: str) -> None:
        """Draw a filled rectangle."""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.2f}" height="{height:.1f}" fill="{color}"/>'
        )

    def line(self, points: Sequence[tuple[float, float]], color: str, width: float = 2) -> None:
        """Draw a line through points."""
        through = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(
            f'<polyline points="{through}" fill="none" stroke="{color}" stroke-width="{width}" '
            'stroke-linejoin="round"/>'
        )

    def dot(self, x: float, y: float, radius: float, color: str) -> None:
        """Draw a filled circle."""
        self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{color}"/>')

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        anchor: str = "start",
        size: int = 11,
        color: str = TEXT,
        bold: bool = False,
    ) -> None:
        """Write words; `y` is that of the line they stand on, `anchor` what of them is at `x`."""
        weight = ' font-weight="bold"' if bold else ""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="{color}"{weight}>{escape(words)}</text>'
        )

    def svg(self, height: float) -> str:
        """Return the whole, so high."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{height:.0f}" '
            f'viewBox="0 0 {self.width} {height:.0f}" font-family="sans-serif">'
        )
        ground = f'<rect width="{self.width}" height="{height:.0f}" fill="white"/>'
        return "\n".join([head, ground, *self._parts, "</svg>", ""])
