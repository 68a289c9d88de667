"""What `mmkit watch` shows on a terminal while it runs."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mmkit.instruments import ContractKind, Instrument
from mmkit.report import format_span
from mmkit.run.watch import LiveWatch
from mmkit.screen import clock_of, refreshed
from mmkit.watch import Statistics
from mmkit.watch.told import money

_S = 1_000_000_000


def render(live: LiveWatch, rate: float) -> RenderableType:
    """Return the screen for this moment."""
    table = Table(box=None, padding=(0, 2), header_style="dim")
    names = ("market", "price", "deviation", "volatility", "z", "buys/sells", "bought", "flow", "")
    for name in names:
        table.add_column(name, justify="left" if name in {"market", ""} else "right")
    for market, watch in live.watches.items():
        instrument = live.instruments[market]
        table.add_row(f"{market} {instrument.symbol}", *_cells(watch.statistics(), instrument))
        if market in live.lost:
            table.add_row(f"[yellow]feed lost: {live.lost[market]}[/]")
    elapsed = (live.clock.now_ns() - live.start_ns) // _S * _S
    title = Text.assemble(
        ("mmkit watch ", "bold"),
        f"{format_span(elapsed)}, {rate:,.0f} messages/s, feed latency {live.feed_latency_ns / 1e6:,.1f} ms",
    )
    counts = ", ".join(f"{n:,} {kind}" for kind, n in live.events.items() if kind != "Statistics")
    recent = Text("\n".join(f"{clock_of(at)}  {line}" for at, line in live.recent) or "nothing yet")
    return Group(
        title,
        Text(),
        table,
        Text(),
        Panel(recent, title=counts or "events", title_align="left", border_style="dim", height=10),
        Text("Ctrl-C prints the summary and ends.", style="dim"),
    )


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
    return refreshed(live, render)
