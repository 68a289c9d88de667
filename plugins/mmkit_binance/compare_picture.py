"""A picture of feeds side by side: delay, staleness and cost, as SVG."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmkit.svg import TEXT, Canvas
from mmkit_binance.compare import GRID_NS, Figures

_WIDTH, _LEFT, _RIGHT = 1200, 190, 40
_INSIDE = _WIDTH - _LEFT - _RIGHT
_COLORS = ("#2f6db3", "#d9822b", "#4f9d69", "#a2559c", "#8c6d46", "#5d6d7e")
_FAINT, _GRID = "#777777", "#e4e4e4"
_CURVES, _LANE = 250, 84  # px high
_BINS = 1000  # of time; the longest staleness within each is drawn
_NONE_MS = 0.01  # nothing here is known as finely
_SHORTEST_MS = 0.1  # what is shorter is drawn as long
_LINE = 165  # characters of a line of text

_CELLS: tuple[tuple[str, Callable[[Figures], float], str], ...] = (
    ("updates", lambda one: one.updates_per_s, "{:,.1f}/s"),
    ("requests", lambda one: one.requests_per_s, "{:,.1f}/s"),
    ("delay mean", lambda one: one.delay_mean, "{:,.1f} ms"),
    ("P50", lambda one: one.delay_p50, "{:,.1f} ms"),
    ("P95", lambda one: one.delay_p95, "{:,.1f} ms"),
    ("P99", lambda one: one.delay_p99, "{:,.1f} ms"),
    ("processor", lambda one: one.cpu_percent, "{:,.1f} %"),
    ("memory", lambda one: one.memory_mb, "{:,.0f} MB"),
    ("received", lambda one: one.bytes_per_s / 1000, "{:,.1f} kB/s"),
)


class Drawn(NamedTuple):
    """One feed as it is drawn.

    Attributes:
        figures: Its numbers.
        delays: Of each change, ns (`mmkit_binance.compare.delays_of`); not empty.
        behind: At each millisecond, ns (`mmkit_binance.compare.behind_of`); not empty.
        against: The name of the feed that it is behind of.
    """

    figures: Figures
    delays: npt.NDArray[np.int64]
    behind: npt.NDArray[np.int64]
    against: str


def picture(title: str, measures: str, feeds: Sequence[Drawn]) -> str:
    """Return an SVG of the feeds.

    Args:
        title: What was watched, how long and where.
        measures: What the figures mean.
        feeds: In the order they are drawn.
    """
    canvas, y = Canvas(_WIDTH), 34.0
    canvas.text(30, y, title, size=17, bold=True)
    y += 8
    for line in textwrap.wrap(measures, _LINE):
        y += 16
        canvas.text(30, y, line, size=12, color=_FAINT)
    y = _numbers(canvas, y + 34, feeds)
    y = _curves(canvas, y + 46, feeds)
    y = _staleness(canvas, y + 56, feeds)
    return canvas.svg(y + 20)


def _color(number: int) -> str:
    return _COLORS[number % len(_COLORS)]


def _name(canvas: Canvas, y: float, number: int, name: str) -> None:
    canvas.rect(30, y - 10, 12, 12, _color(number))
    canvas.text(48, y, name, size=12, bold=True)


def _numbers(canvas: Canvas, y: float, feeds: Sequence[Drawn]) -> float:
    """Draw a table that is the legend too: behind each number a bar, of its share of the largest."""
    wide = _INSIDE / len(_CELLS)
    for at, (head, _, _) in enumerate(_CELLS):
        canvas.text(_LEFT + (at + 1) * wide - 8, y, head, size=11, anchor="end", color=_FAINT)
    for number, feed in enumerate(feeds):
        y += 24
        _name(canvas, y, number, feed.figures.feed)
        for at, (_, value, words) in enumerate(_CELLS):
            most = max(abs(value(one.figures)) for one in feeds) or 1.0
            here = value(feed.figures)
            share = max(0.0, here) / most
            canvas.rect(_LEFT + at * wide + 6, y - 14, (wide - 10) * share, 19, "#eef2f7")
            right = _LEFT + (at + 1) * wide - 8
            canvas.text(right, y, words.format(here), size=12, anchor="end")
    return y


def _curves(canvas: Canvas, y: float, feeds: Sequence[Drawn]) -> float:
    """Draw for each feed which share of the changes was in the book within which time."""
    canvas.text(30, y, "Delay: the share of changes that were in the book within so long", size=14)
    top, bottom = y + 18, y + 18 + _CURVES
    delays = [np.sort(feed.delays) / 1e6 for feed in feeds]
    low = max(_SHORTEST_MS, min(float(np.percentile(one, 1)) for one in delays))
    high = max(float(one[-1]) for one in delays)
    first = math.floor(math.log10(low))
    last = max(first + 1, math.log10(max(high, _SHORTEST_MS)) + 0.02)

    def x_of(ms: float) -> float:
        place = (math.log10(max(ms, 10.0**first)) - first) / (last - first)
        return _LEFT + _INSIDE * min(max(place, 0.0), 1.0)

    for share in (0, 25, 50, 75, 95, 100):
        level = bottom - _CURVES * share / 100
        canvas.rect(_LEFT, level, _INSIDE, 1, _GRID)
        canvas.text(_LEFT - 8, level + 4, f"{share} %", anchor="end")
    # Where there is no room for 1, 2 and 5 there is for 1.
    steps = (1, 2, 5) if _INSIDE / (last - first) > 150 else (1,)
    for decade in range(first, math.floor(last) + 1):
        for step in steps:
            ms = step * 10.0**decade
            if math.log10(ms) <= last:
                canvas.rect(x_of(ms), top, 1, _CURVES, _GRID)
                at_most = "≤ " if ms == 10.0**first else ""
                canvas.text(x_of(ms), bottom + 16, at_most + _ms(ms), anchor="middle", size=11)
    for number, one in enumerate(delays):
        shares = np.linspace(0, 100, 401)
        points = [
            (x_of(ms), bottom - _CURVES * share / 100)
            for share, ms in zip(shares.tolist(), np.percentile(one, shares).tolist(), strict=True)
        ]
        canvas.line(points, _color(number))
        for share in (50, 95, 99):
            at = x_of(float(np.percentile(one, share)))
            canvas.dot(at, bottom - _CURVES * share / 100, 4, _color(number))
    canvas.text(
        _LEFT + _INSIDE, bottom + 33, "dots: P50, P95, P99", anchor="end", size=11, color=_FAINT
    )
    return bottom + 16


def _staleness(canvas: Canvas, y: float, feeds: Sequence[Drawn]) -> float:
    """Draw for each feed, over time, for how long the other one had known more."""
    words = (
        "Staleness: for how long, at each moment, the other feed had known what this one did not"
    )
    canvas.text(30, y, words, size=14)
    y += 22
    most = max(float(feed.behind.max()) / 1e6 for feed in feeds)
    decades = max(1, math.ceil(math.log10(max(most, 1.0))))
    for number, feed in enumerate(feeds):
        figures, color = feed.figures, _color(number)
        bottom = y + _LANE
        _name(canvas, y + 12, number, figures.feed)
        told = (
            f"against {feed.against}",
            f"behind {figures.behind_share:.0%} of the time",
            f"mean {_ms(figures.behind_mean)}, P95 {_ms(figures.behind_p95)}",
            f"max {_ms(figures.behind_max)}",
        )
        for at, line in enumerate(told):
            canvas.text(30, y + 29 + 15 * at, line, size=10, color=_FAINT)
        left, inside = _LEFT + 60, _INSIDE - 60
        # A decade is as high as any other, so that 5 ms can be seen beside 500.
        for decade in range(decades + 1):
            level = bottom - _LANE * decade / decades
            canvas.rect(left, level, inside, 1, _GRID)
            canvas.text(left - 8, level + 4, _ms(10.0**decade), anchor="end", size=10)
        behind = feed.behind / 1e6
        edges = np.linspace(0, len(behind), min(_BINS, len(behind)) + 1).astype(int)[:-1]
        tops = np.maximum.reduceat(behind, edges)
        bin_wide = inside / len(tops)
        for at in np.flatnonzero(tops).tolist():
            high = _LANE * math.log10(max(float(tops[at]), 1.1)) / decades
            canvas.rect(left + at * bin_wide, bottom - high, bin_wide + 0.4, high, color)
        canvas.rect(left, bottom, inside, 1, TEXT)
        y = bottom + 22
    seconds = len(feeds[0].behind) * GRID_NS / 1e9
    for number in range(6):
        x = left + inside * number / 5
        canvas.rect(x, y - 21, 1, 5, TEXT)
        anchor = "end" if number == 5 else "middle"
        canvas.text(x, y - 4, f"{seconds * number / 5:.1f} s", anchor=anchor, size=10)
    return y


def _ms(ms: float) -> str:
    """Return a time in ms or s, to three digits."""
    if 0 < ms < _NONE_MS:
        return f"<{_NONE_MS} ms"
    value, unit = (ms, "ms") if ms < 999.5 else (ms / 1000, "s")
    return f"{value:,.0f} {unit}" if value >= 99.95 else f"{value:.3g} {unit}"
