"""What `mmkit record` shows while it runs: one screen on a terminal, lines in a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import NamedTuple

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mmkit.report import format_span
from mmkit.run.record import LiveRecording
from mmkit.run.record_market import RecordedMarket
from mmkit.screen import beside, last_events, one_line_each, refreshed
from mmkit.units import format_size

_log = logging.getLogger("mmkit.record")
_LINE_EVERY_S = 10.0
_REFRESH_S = 1.0
_MOST_LINES = 8  # markets that the log has a line each for; of more it has one of them all
_WIDE = 72  # columns of the terminal that all columns of the table need


class _Look(NamedTuple):
    """One market, or all of them, since the last look. Times in ns, sizes in bytes."""

    rate: float
    lag: int
    worst: int
    gaps: int
    raw: int
    stored: int
    rows: int

    def line(self) -> str:
        return (
            f"messages_per_s={self.rate:.0f} lag_ms={self.lag / 1e6:.1f} "
            f"worst_lag_ms={self.worst / 1e6:.1f} gaps={self.gaps} "
            f"raw={format_size(self.raw)} stored={format_size(self.stored)} rows={self.rows}"
        )


_NOTHING = _Look(0.0, 0, 0, 0, 0, 0, 0)


class _Looks:
    """What has come in since the last look."""

    def __init__(self, live: LiveRecording) -> None:
        self._live = live
        self._then = live.clock.now_ns()
        self._seen = dict.fromkeys(live.markets, 0)

    def markets(self) -> dict[str, _Look]:
        """Return each market by its name."""
        now = self._live.clock.now_ns()
        seconds, self._then = (now - self._then) / 1e9, now
        return {name: self._look(market, seconds) for name, market in self._live.markets.items()}

    def _look(self, market: RecordedMarket, seconds: float) -> _Look:
        one = market.recording
        if one is None:
            return _NOTHING
        rate = (one.messages - self._seen[market.name]) / seconds if seconds > 0 else 0.0
        self._seen[market.name] = one.messages
        raw = one.raw
        return _Look(rate, one.lag_ns, one.forget_worst(), one.gaps, raw.size, raw.stored, one.rows)


def _sum(looks: list[_Look]) -> _Look:
    columns = list(zip(*looks, strict=True))
    lag, worst = max(columns[1]), max(columns[2])
    rate, _, _, gaps, raw, stored, rows = (sum(column) for column in columns)
    return _Look(rate, int(lag), int(worst), int(gaps), int(raw), int(stored), int(rows))


def _failure(market: RecordedMarket, now_ns: int) -> str:
    if market.lost:
        when = "not tried again"
    else:
        when = f"tried again in {max(0, market.retry_ns - now_ns) / 1e9:.0f} s"
    return f"FAILED {market.symbol}, {when}: {market.failure}"


@contextlib.asynccontextmanager
async def in_lines(live: LiveRecording) -> AsyncIterator[None]:
    """Log a line for each market now and then, or one for many of them."""
    looks = _Looks(live)

    async def tell() -> None:
        while True:
            await asyncio.sleep(_LINE_EVERY_S)
            seen = looks.markets()
            if len(seen) > _MOST_LINES:
                _log.info("markets=%d %s", len(seen), _sum(list(seen.values())).line())
            for name, market in live.markets.items():
                if market.failure is not None:
                    _log.warning("%s", _failure(market, live.clock.now_ns()))
                elif len(seen) <= _MOST_LINES:
                    _log.info("symbol=%s %s", market.symbol, seen[name].line())

    async with beside(tell()):
        yield


def render(live: LiveRecording, looks: dict[str, _Look], width: int, height: int) -> RenderableType:
    """Return the screen for this moment, of at most so many columns and lines."""
    now = live.clock.now_ns()
    failed = [_failure(one, now) for one in live.markets.values() if one.failure is not None]
    going = [one for one in live.markets.values() if one.failure is None]
    total = _sum(list(looks.values()))
    elapsed = (now - live.start_ns) // 1_000_000_000 * 1_000_000_000
    title = Text.assemble(
        ("mmkit record ", "bold"),
        f"{format_span(elapsed)}, {total.rate:,.0f} messages/s, {format_size(total.stored)} on disk",
    )
    hint = Text("Ctrl-C prints the summary and ends.", style="dim")
    # What went wrong goes first, then the markets, then what was logged, as far as there is room.
    room = height - 4  # title, a line below it, names of the columns, hint
    shown = failed[: max(1, room // 2)]
    if len(failed) > len(shown):
        shown[-1] = f"FAILED: {len(failed) - len(shown) + 1} more"
    room -= len(shown)
    listed = going if len(going) <= room else going[: max(0, room - 1)]
    room -= len(listed) + (len(listed) < len(going))
    parts: list[RenderableType] = [title, Text()]
    parts += [Text(one, style="bold red") for one in shown]
    if listed:
        parts.append(_table(listed, looks, wide=width >= _WIDE))
    if len(listed) < len(going):
        parts.append(Text(f"and {len(going) - len(listed)} more", style="dim"))
    parts += last_events(live.recent, "log", room, most=room)
    return one_line_each([*parts, hint])


def _table(markets: list[RecordedMarket], looks: dict[str, _Look], *, wide: bool) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim", pad_edge=False)
    names = ("messages/s", "lag", "worst lag", "gaps", "raw", "stored", "rows")
    narrow = ("msg/s", "lag", "gaps")
    table.add_column("market", no_wrap=True, overflow="ellipsis")
    for name in names if wide else narrow:
        table.add_column(name, justify="right", no_wrap=True)
    for market in markets:
        one = looks[market.name]
        lag = f"{one.lag / 1e6:,.1f} ms"
        if market.recording is None:
            cells = ["opening"]
        elif wide:
            cells = [f"{one.rate:,.0f}", lag, f"{one.worst / 1e6:,.1f} ms", f"{one.gaps:,}"]
            cells += [format_size(one.raw), format_size(one.stored), f"{one.rows:,}"]
        else:
            cells = [f"{one.rate:,.0f}", lag, f"{one.gaps:,}"]
        table.add_row(market.symbol, *cells)
    return table


def on_terminal(live: LiveRecording) -> contextlib.AbstractAsyncContextManager[None]:
    """Refresh one screen until the recording ends."""
    looks = _Looks(live)
    return refreshed(
        live,
        lambda width, height: render(live, looks.markets(), width, height),
        every_s=_REFRESH_S,
        stderr=True,
    )
