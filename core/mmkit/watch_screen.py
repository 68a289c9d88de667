"""What `mmkit watch` shows on a terminal while it runs."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mmkit.events import MAIN
from mmkit.instruments import ContractKind, Instrument
from mmkit.report import format_span
from mmkit.run.watch import LiveWatch
from mmkit.screen import Rate, last_events, one_line_each, refreshed
from mmkit.watch import Statistics
from mmkit.watch.told import money

_S = 1_000_000_000


_NAMES = ("market", "price", "deviation", "volatility", "z", "buys/sells", "bought", "flow")
_LEFT_OUT = (5, 2, 3, 6, 7)
"""Columns that a narrow terminal does not show, by their place, the first to go first."""


def render(live: LiveWatch, rate: float, width: int = 120, height: int = 40) -> RenderableType:
    """Return the screen for this moment, of at most so many columns and lines."""
    elapsed = (live.clock.now_ns() - live.start_ns) // _S * _S
    title = Text.assemble(
        ("mmkit watch ", "bold"),
        f"{format_span(elapsed)}, {rate:,.0f} messages/s, feed latency {live.feed_latency_ns / 1e6:,.1f} ms",
    )
    hint = Text("Ctrl-C prints the summary and ends.", style="dim")
    rows: list[tuple[str, ...]] = [_NAMES]
    for market, watch in live.watches.items():
        instrument = live.instruments[market]
        name = instrument.symbol if market == MAIN else f"{market} {instrument.symbol}"
        rows.append((name, *_cells(watch.statistics(), instrument)))
    lost = [
        Text(f"feed lost: {'' if market == MAIN else f'{market}: '}{why}", style="yellow")
        for market, why in live.lost.items()
    ]
    room = height - 2 - len(lost)
    listed = min(len(rows), room)
    parts: list[RenderableType] = [title]
    airy = room > listed + 4
    if airy:
        parts.append(Text())
    parts.append(_table(rows[:listed], width))
    parts += lost
    if airy:
        parts.append(Text())
    counts = ", ".join(f"{n:,} {kind}" for kind, n in live.events.items() if kind != "Statistics")
    parts += last_events(live.recent, counts or "events", room - listed - 2 * airy)
    return one_line_each([*parts, hint])


def _table(rows: list[tuple[str, ...]], width: int) -> Table:
    """Return the rows, the first the names, with as many columns as there is room for."""
    columns = list(range(len(_NAMES)))
    wide = [max(len(row[n]) for row in rows) for n in columns]
    for n in _LEFT_OUT:
        if sum(wide[one] + 2 for one in columns) - 2 > width:
            columns.remove(n)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for n in columns:
        if n:
            table.add_column(_NAMES[n], justify="right", no_wrap=True, min_width=wide[n])
        else:  # the one that is cut if all that is left is still too wide
            table.add_column(_NAMES[n], no_wrap=True, overflow="ellipsis")
    for row in rows[1:]:
        table.add_row(*(row[n] for n in columns))
    return table


def _cells(now: Statistics, instrument: Instrument) -> list[str]:
    if now.price is None:
        return ["-"] * 7
    share = now.buy_share
    unit = "contracts" if instrument.kind is ContractKind.INVERSE else instrument.base
    return [
        f"{instrument.price(now.price):f}",
        "-" if now.deviation is None else f"{money(now.deviation, instrument):.4g}",
        "-" if now.volatility is None else f"{now.volatility:.3f} bps",
        "-" if now.z is None else f"{now.z:+.2f}",
        f"{now.buys}/{now.sells}",
        "-" if share is None else f"{share:.0%}",
        f"{instrument.quantity(now.flow):+f} {unit}",
    ]


def on_terminal(live: LiveWatch) -> AbstractAsyncContextManager[None]:
    """Refresh one screen until the watch ends."""
    rate = Rate(live)
    return refreshed(live, lambda width, height: render(live, rate.now(), width, height))
