"""A picture of what recorded data covers: an SVG, which any browser shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmkit.quality.findings import Finding
from mmkit.svg import TEXT, Canvas
from mmkit.tape import KIND, LAST, Kind, Tape
from mmkit.units import format_time

_WIDTH, _LEFT, _RIGHT = 1200, 170, 30
_LANE, _BARS, _SPACE = 16, 60, 10
_BINS = 500
_KNOWN, _UNKNOWN, _ERROR, _NOTE, _COUNT = (
    "#5aa469",
    "#c8443c",
    "#c8443c",
    "#8a8f98",
    "#4a78b5",
)


class Picture:
    """Lanes over time, market below market."""

    def __init__(self) -> None:
        self._canvas = Canvas(_WIDTH)
        self._y = _SPACE

    def market(
        self,
        title: str,
        tape: Tape,
        unknown: Sequence[tuple[int, int]],
        findings: Sequence[Finding],
    ) -> None:
        """Add a market.

        Args:
            title: What it is.
            tape: The data; not empty.
            unknown: When the book is unknown, local time, ns.
            findings: What was found; those that have a time are drawn.
        """
        begin, end = int(tape.ts_local[0]), int(tape.ts_local[-1])
        end = max(end, begin + 1)
        self._canvas.text(_LEFT, self._y + 14, title, size=15)
        self._y += 26
        self._lane("book known")
        self._canvas.rect(_LEFT, self._y, self._inside, _LANE, _KNOWN)
        for start, stop in unknown:
            x = self._x(start, begin, end)
            self._canvas.rect(x, self._y, max(self._x(stop, begin, end) - x, 1.5), _LANE, _UNKNOWN)
        self._y += _LANE + _SPACE
        what, last = tape.kind & KIND, tape.kind & LAST != 0
        told = last & np.isin(what, (Kind.LEVEL, Kind.SNAPSHOT))
        for name, rows in (("updates", told), ("trades", what == Kind.TRADE)):
            self._bars(name, tape.ts_local[rows], begin, end)
        for finding in findings:
            places = [place.at_ns for place in finding.places if place.at_ns is not None]
            if places:
                color = _ERROR if finding.grade == "error" else _NOTE
                self._lane(f"{finding.code} ({finding.count:,})", color)
                self._canvas.rect(_LEFT, self._y, self._inside, _LANE, "#f1f1f1")
                for x in sorted({round(self._x(at, begin, end), 1) for at in places}):
                    self._canvas.rect(x, self._y, 1.5, _LANE, color)
                self._y += _LANE + 4
        self._axis(begin, end)

    def svg(self) -> str:
        """Return the whole."""
        return self._canvas.svg(self._y)

    @property
    def _inside(self) -> int:
        return _WIDTH - _LEFT - _RIGHT

    def _x(self, at: int, begin: int, end: int) -> float:
        share = min(max((at - begin) / (end - begin), 0.0), 1.0)
        return _LEFT + self._inside * share

    def _lane(self, name: str, color: str = TEXT) -> None:
        self._canvas.text(_LEFT - 8, self._y + 12, name, anchor="end", color=color)

    def _bars(self, name: str, times: npt.NDArray[np.int64], begin: int, end: int) -> None:
        counts, _ = np.histogram(times, bins=_BINS, range=(begin, end))
        most = int(counts.max()) if len(counts) else 0
        seconds = (end - begin) / 1e9 / _BINS
        self._lane(name)
        self._canvas.text(
            _LEFT - 8, self._y + 28, f"up to {most / seconds:,.3g}/s", anchor="end", size=10
        )
        bottom, wide = self._y + _BARS, self._inside / _BINS
        for number in np.flatnonzero(counts).tolist():
            tall = max(_BARS * int(counts[number]) / most, 1)
            self._canvas.rect(_LEFT + number * wide, bottom - tall, wide, tall, _COUNT)
        self._canvas.rect(_LEFT, bottom, self._inside, 0.5, TEXT)
        self._y = bottom + _SPACE

    def _axis(self, begin: int, end: int) -> None:
        for number in range(6):
            at = begin + (end - begin) * number // 5
            x = self._x(at, begin, end)
            self._canvas.rect(x, self._y, 0.7, 5, TEXT)
            anchor = "start" if number == 0 else "end" if number == 5 else "middle"
            self._canvas.text(x, self._y + 18, format_time(at), anchor=anchor, size=10)
        self._y += 40
