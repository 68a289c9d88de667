"""What `mmkit trade` shows while it runs: one calm screen on a terminal, lines in a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator
from decimal import Decimal
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mmkit.clock import Clock
from mmkit.engine import Engine
from mmkit.events import MAIN, Side
from mmkit.report import format_span
from mmkit.run.trade import LiveRun

_log = logging.getLogger("mmkit.status")
_REFRESH_S = 0.25
_LINE_EVERY_S = 10.0


class Shown(Protocol):
    """What can be shown while it goes on."""

    clock: Clock

    @property
    def messages(self) -> int:
        """Messages received so far."""

    def remember(self, ts_local: int, line: str) -> None:
        """Keep `line` among the last few."""


class Rate:
    """Messages a second over the last few looks."""

    def __init__(self, live: Shown) -> None:
        self._seen = [(live.clock.now_ns(), live.messages)]

    def at(self, now_ns: int, messages: int) -> float:
        """Return the rate, now that there have been so many."""
        self._seen.append((now_ns, messages))
        del self._seen[:-20]
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / ((end - start) / 1e9) if end > start else 0.0


def render(live: LiveRun, rate: float) -> RenderableType:
    """Return the screen for this moment."""
    engine = live.session.engine
    instrument, portfolio = engine.instrument, engine.portfolio
    bid, ask = engine.best_bid, engine.best_ask
    book = Table.grid(padding=(0, 2))
    book.add_column(justify="right", style="dim", min_width=12)
    book.add_column(justify="right", min_width=12)
    book.add_column(justify="right", style="bold", min_width=8)
    book.add_row("quantity", "price", "ours")
    ours = {(order.side, order.price): order.remaining for order in engine.orders}
    for side, ladder, style in (
        (Side.SELL, engine.book.asks, "red"),
        (Side.BUY, engine.book.bids, "green"),
    ):
        levels = ladder.top(5)
        for price, quantity in reversed(levels) if side is Side.SELL else levels:
            own = ours.get((side, price))
            book.add_row(
                f"{instrument.quantity(quantity):f}",
                f"[{style}]{instrument.price(price):f}[/]",
                f"{instrument.quantity(own):f}" if own else "",
            )
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", min_width=14)
    facts.add_column(justify="right", min_width=26)
    spread = f"{instrument.price(ask - bid):f}" if bid is not None and ask is not None else "-"
    facts.add_row("spread", spread)
    for order in engine.orders:
        state = " ..." if order.in_flight else ""
        facts.add_row(
            f"our {order.side}",
            f"{instrument.quantity(order.remaining):f} @ {instrument.price(order.price):f}{state}",
        )
    facts.add_row("position", f"{instrument.quantity(portfolio.position):f} {instrument.base}")
    facts.add_row("equity", _money(engine.equity, instrument.settle))
    facts.add_row("realized", _money(portfolio.realized_pnl, instrument.settle))
    facts.add_row("fees", _money(portfolio.fees, instrument.settle))
    if engine.counts["fundings"]:
        facts.add_row("funding", _money(portfolio.funding, instrument.settle))
    facts.add_row("drawdown", _money(engine.max_drawdown, instrument.settle))
    facts.add_row("orders / fills", f"{engine.counts['orders']:,} / {engine.counts['fills']:,}")
    facts.add_row("messages", f"{rate:,.0f}/s")
    facts.add_row("feed latency", f"{live.feed_latency_ns / 1e6:,.1f} ms")
    elapsed = live.clock.now_ns() - live.start_ns
    title = Text.assemble(
        ("mmkit ", "bold"),
        f"{live.run.strategy} on {instrument.symbol} ({instrument.venue} {instrument.market}), dry run, "
        f"{format_span(elapsed // 1_000_000_000 * 1_000_000_000)}",
    )
    for name, (other, _) in live.session.markets.items():
        if name != MAIN:
            facts.add_row("", "")
            facts.add_row(name, f"{other.instrument.symbol}")
            held = other.instrument.quantity(other.position)
            facts.add_row("position", f"{held:f} {other.instrument.base}")
            facts.add_row("equity", _money(other.equity, other.instrument.settle))
            fills = f"{other.counts['orders']:,} / {other.counts['fills']:,}"
            facts.add_row("orders / fills", fills)
    standing = _state(live)
    columns = Table.grid(padding=(0, 6))
    columns.add_row(book, facts)
    recent = Text("\n".join(f"{clock_of(at)}  {line}" for at, line in live.recent) or "nothing yet")
    return Group(
        title,
        standing,
        Text(),
        columns,
        Text(),
        Panel(recent, title="last events", title_align="left", border_style="dim", height=10),
        Text("Ctrl-C pulls the quotes, prints the summary and ends.", style="dim"),
    )


def _state(live: LiveRun) -> Text:
    for name, (engine, _) in live.session.markets.items():
        where = "" if name == MAIN else f"{name}: "
        if engine.halted:
            return Text(f"HALTED: {where}{engine.halted}", style="bold red")
        if not engine.book.known:
            return Text(f"{where}the book is unknown: nothing is quoted", style="yellow")
        if engine.pulled:
            return Text(f"quotes pulled: {where}{engine.pulled}", style="yellow")
    return Text("quoting", style="green")


def _money(amount: Decimal, currency: str) -> str:
    return f"{amount:,.4f} {currency}"


def clock_of(ts_ns: int) -> str:
    """Return the time of day, UTC."""
    return f"{datetime.datetime.fromtimestamp(ts_ns / 1e9, tz=datetime.UTC):%H:%M:%S}"


@contextlib.asynccontextmanager
async def on_terminal(live: LiveRun) -> AsyncIterator[None]:
    """Refresh one screen until the run ends."""
    rate = Rate(live)
    console = Console()
    with log_into(live), Live(console=console, auto_refresh=False, screen=True) as display:

        async def refresh() -> None:
            while True:
                now = live.clock.now_ns()
                display.update(render(live, rate.at(now, live.messages)), refresh=True)
                await asyncio.sleep(_REFRESH_S)

        async with beside(refresh()):
            yield


class _Recent(logging.Handler):
    def __init__(self, live: Shown) -> None:
        super().__init__(logging.INFO)
        self._live = live

    def emit(self, record: logging.LogRecord) -> None:
        self._live.remember(self._live.clock.now_ns(), record.getMessage())


@contextlib.contextmanager
def log_into(live: Shown) -> Iterator[None]:
    """Show what is logged among the last events: on the terminal it would tear the screen."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    root.handlers[:] = [_Recent(live)]
    try:
        yield
    finally:
        root.handlers[:] = handlers


def _figures(engine: Engine) -> str:
    instrument = engine.instrument
    bid, ask = (
        f"{instrument.price(ticks):f}" if ticks is not None else "-"
        for ticks in (engine.best_bid, engine.best_ask)
    )
    return (
        f"bid={bid} ask={ask} position={instrument.quantity(engine.position)} equity={engine.equity:.4f} "
        f"orders={engine.counts['orders']} fills={engine.counts['fills']}"
    )


@contextlib.asynccontextmanager
async def in_lines(live: LiveRun) -> AsyncIterator[None]:
    """Log a line now and then until the run ends."""
    rate = Rate(live)

    async def tell() -> None:
        while True:
            await asyncio.sleep(_LINE_EVERY_S)
            for name, (engine, _) in live.session.markets.items():
                if name != MAIN:
                    _log.info("market=%s %s", name, _figures(engine))
            _log.info(
                "%s messages_per_s=%.0f feed_latency_ms=%.1f",
                _figures(live.session.engine),
                rate.at(live.clock.now_ns(), live.messages),
                live.feed_latency_ns / 1e6,
            )

    async with beside(tell()):
        yield


@contextlib.asynccontextmanager
async def beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Do `work` until the block ends."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
