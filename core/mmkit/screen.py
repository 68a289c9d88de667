"""What `mmkit trade` shows while it runs: one calm screen on a terminal, lines in a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from decimal import Decimal
from typing import IO, Protocol, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mmkit.clock import Clock
from mmkit.engine import Engine
from mmkit.events import MAIN, Side
from mmkit.report import cost_words, format_span
from mmkit.run.advisors.words import answer_words
from mmkit.run.loop import LiveRun
from mmkit.terminal import Terminal

_log = logging.getLogger("mmkit.status")
_REFRESH_S = 0.25
_LINE_EVERY_S = 10.0
_LAST_FRAME_S = 1.0
"""How long the end waits for a terminal to take it."""


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
        self._live = live
        self._seen = [(live.clock.now_ns(), live.messages)]

    def now(self) -> float:
        """Return the rate at this moment."""
        self._seen.append((self._live.clock.now_ns(), self._live.messages))
        del self._seen[:-20]
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / ((end - start) / 1e9) if end > start else 0.0


_LADDER = 72  # columns of the terminal that ladder and facts need side by side
_EVENTS = 10  # lines of the last events with their frame; the most there are


def render(live: LiveRun, rate: float, width: int = 120, height: int = 40) -> RenderableType:
    """Return the screen for this moment, of at most so many columns and lines."""
    instrument = live.session.engine.instrument
    elapsed = live.clock.now_ns() - live.start_ns
    real = live.mode == "live"
    title = Text.assemble(
        ("mmkit ", "bold"),
        (f"LIVE ({live.endpoint}) ", "bold red") if real else "",
        f"{live.run.strategy} on {instrument.symbol} ({instrument.venue} {instrument.market}), "
        f"{'' if real else 'dry run, '}{format_span(elapsed // 1_000_000_000 * 1_000_000_000)}",
    )
    hint = Text("Ctrl-C pulls the quotes, prints the summary and ends.", style="dim")
    ladder = width >= _LADDER
    facts = _facts(live, rate, ladder=ladder)
    room = height - 3  # title, standing, hint
    levels = max(1, min(5, (room - 1) // 2))
    body = max(len(facts), 2 * levels + 1 if ladder else 0)
    airy = room >= body + 2
    shown = Table.grid(padding=(0, 2))
    shown.add_column(style="dim", no_wrap=True)
    shown.add_column(justify="right", no_wrap=True, overflow="ellipsis")
    for fact in facts[:room]:
        shown.add_row(*fact)
    columns = Table.grid(padding=(0, 6 if width > _LADDER + 20 else 3))
    columns.add_row(*([_ladder(live, levels)] if ladder else []), shown)
    gap = [Text()] if airy else []
    parts: list[RenderableType] = [title, _state(live), *gap, columns, *gap]
    parts += last_events(live.recent, "last events", room - body - 2)
    return one_line_each([*parts, hint])


def _ladder(live: LiveRun, count: int) -> Table:
    engine, instrument = live.session.engine, live.session.engine.instrument
    book = Table.grid(padding=(0, 2))
    book.add_column(justify="right", style="dim", no_wrap=True, min_width=9)
    book.add_column(justify="right", no_wrap=True, min_width=8)
    book.add_column(justify="right", style="bold", no_wrap=True, min_width=6)
    book.add_row("quantity", "price", "ours")
    ours = {(order.side, order.price): order.remaining for order in engine.orders}
    for side, ladder, style in (
        (Side.SELL, engine.book.asks, "red"),
        (Side.BUY, engine.book.bids, "green"),
    ):
        levels = ladder.top(count)
        for price, quantity in reversed(levels) if side is Side.SELL else levels:
            own = ours.get((side, price))
            book.add_row(
                f"{instrument.quantity(quantity):f}",
                f"[{style}]{instrument.price(price):f}[/]",
                f"{instrument.quantity(own):f}" if own else "",
            )
    return book


def _facts(live: LiveRun, rate: float, *, ladder: bool) -> list[tuple[str, str]]:
    """Return names and values, the more important first; without a ladder the best prices among them."""
    engine = live.session.engine
    instrument, portfolio = engine.instrument, engine.portfolio
    bid, ask = engine.best_bid, engine.best_ask
    known = bid is not None and ask is not None
    facts = [("spread", f"{instrument.price(ask - bid):f}" if known else "-")]  # type: ignore[operator]
    if not ladder and known:
        facts = [("bid / ask", f"{instrument.price(bid):f} / {instrument.price(ask):f}")]  # type: ignore[arg-type]
    for order in engine.orders:
        state = " ..." if order.in_flight else ""
        price, quantity = instrument.price(order.price), instrument.quantity(order.remaining)
        facts.append((f"our {order.side}", f"{quantity:f} @ {price:f}{state}"))
    facts += [
        ("position", f"{instrument.quantity(portfolio.position):f} {instrument.base}"),
        ("equity", _money(engine.equity, instrument.settle)),
        ("orders / fills", f"{engine.counts['orders']:,} / {engine.counts['fills']:,}"),
        *_signals(live),
        ("realized", _money(portfolio.realized_pnl, instrument.settle)),
        ("fees", _money(portfolio.fees, instrument.settle)),
    ]
    if engine.counts["fundings"]:
        facts.append(("funding", _money(portfolio.funding, instrument.settle)))
    facts += [
        ("drawdown", _money(engine.max_drawdown, instrument.settle)),
        ("messages", f"{rate:,.0f}/s"),
        ("feed latency", f"{live.feed_latency_ns / 1e6:,.1f} ms"),
    ]
    facts += _advice(live)
    for name, (other, _) in live.session.markets.items():
        if name != MAIN:
            held = other.instrument.quantity(other.position)
            facts += [
                ("", ""),
                (name, other.instrument.symbol),
                ("position", f"{held:f} {other.instrument.base}"),
                ("equity", _money(other.equity, other.instrument.settle)),
                ("orders / fills", f"{other.counts['orders']:,} / {other.counts['fills']:,}"),
            ]
    return facts


def _signals(live: LiveRun) -> list[tuple[str, str]]:
    """Return what each signal said last, how old its sample is, and what went wrong, if something did."""
    feed = live.session.signals
    if feed is None:
        return []
    facts, now_ns = [("signals", "down / flat / up")], live.clock.now_ns()
    last = live.session.engine.last_signals
    for name, (late, failed) in feed.troubles.items():
        one = last.get(name)
        if one is None:
            facts.append((f"  {name}", "not known yet"))
        else:
            said = " / ".join(f"{share:.0%}"[:-1] for share in (one.down, one.flat, one.up))
            expired = "expired, " if one.expires_ns <= now_ns else ""
            facts += [
                (f"  {name}", f"{said} %"),
                ("  age", f"{expired}{_age(now_ns - one.ts_exchange)}"),
            ]
        if late or failed:
            facts.append(("  late / failed", f"{late:,} / {failed:,}"))
    return facts


def _age(ns: int) -> str:
    """Return tenths of a second, and of what is older than a minute a span."""
    return f"{ns / 1e9:.1f} s" if ns < 60_000_000_000 else format_span(ns // 10**9 * 10**9)


def _advice(live: LiveRun) -> list[tuple[str, str]]:
    """Return a line for each advisor: its last answer, how old it is, and what all of them cost so far."""
    feed = live.session.advice
    if feed is None:
        return []
    now, lines = live.clock.now_ns(), []
    for name, figures in feed.figures.items():
        said = "no answer yet"
        advice = feed.last.get(name)
        if advice is not None and advice.answer is not None:
            age_s = (now - advice.ts_exchange) // 1_000_000_000
            over = "" if advice.expires_ns > now else ", expired"
            said = f"{answer_words(advice.answer)}, {age_s} s old{over}"
        lines.append((name, f"{said}, {cost_words([figures])}"))
    return lines


def last_events(
    recent: Sequence[tuple[int, str]], title: str, room: int, most: int = _EVENTS
) -> list[RenderableType]:
    """Return the last events in a frame of at most `room` lines; nothing if there is no room for one."""
    height = min(room, most)
    if height < 3:
        return []
    lines = [f"{clock_of(at)}  {line}" for at, line in recent[-(height - 2) :]]
    words = Text("\n".join(lines) or "nothing yet", no_wrap=True, overflow="ellipsis")
    return [Panel(words, title=title, title_align="left", border_style="dim", height=height)]


def one_line_each(parts: Sequence[RenderableType]) -> Group:
    """Return the parts one below the other; what is too long for its line is cut, not broken."""
    for part in parts:
        if isinstance(part, Text):
            part.no_wrap, part.overflow = True, "ellipsis"
    return Group(*parts)


_STYLES = {"halted": "bold red", "waiting": "yellow", "pulled": "yellow", "quoting": "green"}


def _state(live: LiveRun) -> Text:
    state, words = live.state
    said = Text(words, style=_STYLES[state])
    unknown = live.unknown
    if unknown:
        names = ", ".join(one.client_id for one in unknown)
        said = Text.assemble(
            (f"UNKNOWN: {len(unknown)} orders that may be on the book ({names}); ", "bold red"),
            said,
        )
    return said


def _money(amount: Decimal, currency: str) -> str:
    return f"{amount:,.4f} {currency}"


def clock_of(ts_ns: int) -> str:
    """Return the time of day, UTC."""
    return f"{datetime.datetime.fromtimestamp(ts_ns / 1e9, tz=datetime.UTC):%H:%M:%S}"


def on_terminal(live: LiveRun) -> contextlib.AbstractAsyncContextManager[None]:
    """Refresh one screen until the run ends."""
    rate = Rate(live)
    return refreshed(live, lambda width, height: render(live, rate.now(), width, height))


@contextlib.asynccontextmanager
async def refreshed(
    live: Shown,
    draw: Callable[[int, int], RenderableType],
    every_s: float = _REFRESH_S,
    *,
    stderr: bool = False,
) -> AsyncIterator[None]:
    """Show one screen, refreshed, until the block ends; what is logged goes among the last events.

    A terminal that takes no output misses frames, and holds up nothing.

    Args:
        live: What is shown.
        draw: Returns the screen for this moment, of at most so many columns and lines.
        every_s: How often.
        stderr: Where, in place of stdout.
    """
    terminal = Terminal((sys.stderr if stderr else sys.stdout).fileno())
    console = Console(file=cast(IO[str], terminal))
    try:
        with log_into(live), Live(console=console, auto_refresh=False, screen=True) as display:

            async def refresh() -> None:
                while True:
                    display.update(draw(*console.size), refresh=True)
                    await asyncio.sleep(every_s)

            async with beside(refresh()):
                yield
    finally:
        if not await asyncio.to_thread(terminal.end, _LAST_FRAME_S):
            _log.warning("terminal_stopped; it has not taken the last screen")


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


def _signal_lines(live: LiveRun) -> Iterator[str]:
    feed = live.session.signals
    if feed is None:
        return
    now_ns, last = live.clock.now_ns(), live.session.engine.last_signals
    for name, (late, failed) in feed.troubles.items():
        one = last.get(name)
        said = "known=no"
        if one is not None:
            state = " expired=yes" if one.expires_ns <= now_ns else ""
            said = (
                f"down={one.down:.2f} flat={one.flat:.2f} up={one.up:.2f} "
                f"age_ms={(now_ns - one.ts_exchange) / 1e6:.0f}{state}"
            )
        yield f"signal={name} {said} late={late} failed={failed}"


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
            for line in _signal_lines(live):
                _log.info("%s", line)
            _log.info(
                "%s messages_per_s=%.0f feed_latency_ms=%.1f",
                _figures(live.session.engine),
                rate.now(),
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
