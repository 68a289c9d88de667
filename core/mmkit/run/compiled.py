"""Drives the compiled engine over a tape, asking a strategy in plain Python whenever it is due.

The same results as `mmkit.run.replay.replay_plain`, many times faster. What it cannot do is left to that
loop (`why_not`).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from typing import Any, cast

import numpy as np
from numba.core.errors import NumbaError

from mmkit.book import Book
from mmkit.commands import AnyCommand, CancelOrder, SubmitOrder
from mmkit.errors import MmkitError, StrategyError
from mmkit.events import (
    AnyEvent,
    CancelRejected,
    FeedLost,
    FeedRestored,
    Liquidity,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderRejected,
    Side,
)
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import Level, Quotes, Strategy
from mmkit.orders import Order
from mmkit.portfolio import EXACT
from mmkit.quoter import checked_levels
from mmkit.risk import MaxDrawdown, MaxOrder, MaxPosition, PriceBand, StaleAfter
from mmkit.run.replay import Progress
from mmkit.run.session import Recorder, Session
from mmkit.settings import FillReports, SimSettings
from mmkit.sim import kernel as k
from mmkit.sim.fees import Fees
from mmkit.sim.paper import PaperVenue
from mmkit.sim.prepared import Prepared
from mmkit.tape import NEVER, GapReason, Kind

MOST_LEVELS = 16
"""A side; a strategy that wants more goes to the reference."""
_LOG_LINES = 65_536
_MODELS = {"risk_averse": k.RISK_AVERSE, "power": k.POWER, "log": k.LOG}
_SIDES = (Side.BUY, Side.SELL)
_REJECTED = {
    k.REJECTED_POST_ONLY: "post-only order would have taken",
    k.REJECTED_UNKNOWN: "the book is unknown at this moment, so nothing can be matched",
}


class NotCompiled(MmkitError):  # noqa: N818 - not an error of anybody's
    """The compiled engine has come upon something it leaves to the reference; nothing is wrong."""


def why_not(session: Session, prepared: Prepared) -> str:
    """Return why the compiled engine cannot run this; empty if it can."""
    engine, venue = session.engine, session.venue
    strategy = engine.strategy
    wake = strategy.wake
    if type(venue) is not PaperVenue or venue.settings.fill_reports is not FillReports.PLAIN:
        return "only 'paper' with 'fill_reports: plain' is compiled"
    latency = venue.settings.latency
    if not (isinstance(latency.entry, int) and isinstance(latency.response, int)):
        return "only constant latencies are compiled"
    if venue.settings.fees.tiers:
        return "fees by tier are not compiled"
    if _pays_funding(engine.instrument, prepared):
        return "funding is not compiled"
    if venue.settings.queue.model not in _MODELS:
        return f"the queue model '{venue.settings.queue.model}' is not compiled"
    if engine.instrument.kind is ContractKind.INVERSE:
        return "inverse contracts are not compiled"
    if wake.on_best or wake.on_trade or wake.on_fill or not wake.every:
        return "only strategies that are asked at an interval are compiled"
    if type(strategy).on_event is not Strategy.on_event:
        return "the strategy listens to events"
    known = (MaxPosition, MaxOrder, PriceBand, MaxDrawdown, StaleAfter)
    if len(engine.risk.checks) > k.MOST_CHECKS or any(
        type(check) not in known for _, check in engine.risk.checks
    ):
        return "a risk check that does not ship with mmkit"
    if len({type(check) for _, check in engine.risk.checks}) != len(engine.risk.checks):
        return "a risk check is configured twice"
    return "" if prepared.fits else "prices too far apart, or too many snapshots"


def _pays_funding(instrument: Instrument, prepared: Prepared) -> bool:
    """Whether the tape announces funding of a contract that has it."""
    if instrument.kind is ContractKind.SPOT:
        return False
    return bool((np.asarray(prepared.tape.kind) & 0x0F == int(Kind.FUNDING)).any())


class _View:
    """What the strategy is shown (`mmkit.interfaces.MarketView`)."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self.instrument: Instrument = run.engine.instrument
        self.now = 0
        self.best_bid: int | None = None
        self.best_ask: int | None = None
        self.position = 0

    @property
    def book(self) -> Book:
        return self._run.book()

    @property
    def orders(self) -> Sequence[Order]:
        return self._run.open_orders()

    @property
    def equity(self) -> Decimal:
        return self._run.equity(self.best_bid, self.best_ask)


class _Run:
    def __init__(self, session: Session, recorder: Recorder | None, prepared: Prepared) -> None:
        self.session, self.recorder, self.prepared = session, recorder, prepared
        self.engine = engine = session.engine
        settings = cast(PaperVenue, session.venue).settings
        self.fees = Fees(settings.fees, engine.instrument)
        rate = Fraction(settings.fees.maker)
        self.denominator = rate.denominator
        self.s = np.zeros(k.STATE_SIZE, np.int64)
        self.f = np.zeros(k.FLOATS_SIZE)
        self.orders = np.zeros((k.MOST_ORDERS, k.ORDER_SIZE), np.int64)
        self.queue = np.zeros((k.MOST_ORDERS, 2))
        self.lines = np.zeros((2, k.LINE, k.LINE_SIZE), np.int64)
        self.sent = np.zeros(k.SENT_RING, np.int64)
        self.wanted = np.zeros(2 + 4 * MOST_LEVELS, np.int64)
        self._wanted = memoryview(cast(Any, self.wanted))
        self.log = np.zeros((_LOG_LINES, k.LOG_SIZE), np.int64)
        self.ladder = np.zeros((2, prepared.span), np.int64)
        p = prepared
        self.arrays = {name: getattr(self if hasattr(self, name) else p, name) for name in k.ARRAYS}
        self.where = k.where(self.arrays, len(p.tape), p.span)
        self._settle(settings, rate)
        self._book, self._book_rows = Book(), 0

    def _settle(self, settings: SimSettings, rate: Fraction) -> None:
        """Write what was configured into the state."""
        s, f, engine = self.s, self.f, self.engine
        every = engine.strategy.wake.every
        assert every is not None  # `why_not` has seen to it
        s[k.NOW] = s[k.LAST_DATA] = engine.now
        s[k.EVERY], s[k.NEXT_WAKE], s[k.NEXT_ID] = every, engine.now + every, 1
        s[k.ENTRY], s[k.RESPONSE] = settings.latency.entry, settings.latency.response
        s[k.QUEUE], f[k.EXPONENT] = _MODELS[settings.queue.model], settings.queue.exponent
        s[k.PARTIAL] = settings.partial_fills
        s[k.MAKER], s[k.DENOMINATOR] = rate.numerator, rate.denominator
        s[k.BASE] = self.prepared.base
        s[k.BID_HIGH] = s[k.ASK_HIGH] = -NEVER
        s[k.BID_LOW] = s[k.ASK_LOW] = NEVER
        for n, (_, check) in enumerate(engine.risk.checks):
            code, limit = 0, 0
            if isinstance(check, MaxPosition | MaxOrder):
                code = k.MAX_POSITION_CHECK if isinstance(check, MaxPosition) else k.MAX_ORDER_CHECK
                limit = check.limit
            elif isinstance(check, PriceBand):
                code = k.PRICE_BAND_CHECK
                f[k.BAND_SHARE], f[k.BAND_WHOLE], f[k.BAND_TICKS] = check.limit.formula(
                    engine.instrument
                )
            elif isinstance(check, MaxDrawdown):
                units = Fraction(check.limit) / self._unit
                s[k.MAX_DRAWDOWN] = -(-units.numerator // units.denominator)
            elif isinstance(check, StaleAfter):
                s[k.STALE] = check.limit
            s[k.CHECKS + 2 * n], s[k.CHECKS + 2 * n + 1] = code, limit
        s[k.N_CHECKS] = len(engine.risk.checks)

    @property
    def _unit(self) -> Fraction:
        """What one unit of the kernel's money is worth in the settlement currency."""
        i = self.engine.instrument
        return Fraction(i.tick * i.lot * i.contract_size) / (2 * self.denominator)

    def run_decided(self, progress: Progress | None) -> None:
        """Run with the strategy's compiled decision: Python is left until there is something to write."""
        strategy = self.engine.strategy
        decision = _imported(strategy.decision)
        view = np.zeros(k.VIEW_SIZE, np.int64)
        parameters = np.array([*strategy.parameters(), 0.0])
        beside = np.array([view.ctypes.data, parameters.ctypes.data], np.int64)
        while True:
            why = k.decide(self.where, decision, beside)
            if progress is not None:
                progress(int(self.s[k.I_LOCAL]))
            if why == k.LOG_FULL:
                self._empty_log()
            elif why == k.END:
                break
            elif why == k.BAD:
                raise StrategyError(
                    f"{strategy.decision} wanted {self.wanted[:10].tolist()}...: prices and quantities "
                    f"above 0, bids below asks, at most {MOST_LEVELS} levels a side were expected"
                )
            else:
                raise NotCompiled("too many orders, or too much money, for the compiled engine")
        self._empty_log()
        self._tell_engine()

    def run(self, progress: Progress | None) -> None:
        if self.engine.strategy.decision:
            self.run_decided(progress)
            return
        quote, view, where = self.engine.strategy.quote, _View(self), self.where
        # Items of a memoryview are Python's own integers, and come at a third of the time.
        s, advance, want = memoryview(cast(Any, self.s)), k.advance, self._want
        rows, tell_at = len(self.prepared.tape), 0
        while True:
            why = advance(where)
            if why == k.ASK:
                view.now, view.position = s[k.NOW], s[k.POSITION]
                bid, ask = s[k.BEST_BID], s[k.BEST_ASK]
                view.best_bid = bid if bid >= 0 else None
                view.best_ask = ask if ask >= 0 else None
                try:
                    quotes = quote(view)
                except Exception as error:
                    raise self.engine.strategy_failed("quote", error) from error
                want(quotes)
                if progress is not None and s[k.I_LOCAL] >= tell_at:
                    progress(s[k.I_LOCAL])
                    tell_at = s[k.I_LOCAL] + rows // 100
            elif why == k.LOG_FULL:
                self._empty_log()
            elif why == k.END:
                break
            else:
                raise NotCompiled("too many orders, or too much money, for the compiled engine")
        self._empty_log()
        self._tell_engine()

    def _want(self, quotes: object) -> None:
        """Write down what the strategy wants."""
        if type(quotes) is not Quotes:
            raise NotCompiled("a strategy that does not return Quotes")
        bids, asks = quotes.bids, quotes.asks
        wanted, base, n = self._wanted, self.prepared.base, 2
        if not _plain(bids, asks):
            checked = checked_levels(quotes)
            bids, asks = tuple(checked[0].items()), tuple(checked[1].items())
            if len(bids) > MOST_LEVELS or len(asks) > MOST_LEVELS:
                raise NotCompiled(f"more than {MOST_LEVELS} levels a side")
        wanted[0], wanted[1] = len(bids), len(asks)
        for price, quantity in bids:
            wanted[n], wanted[n + 1] = price - base, quantity
            n += 2
        for price, quantity in asks:
            wanted[n], wanted[n + 1] = price - base, quantity
            n += 2

    def book(self) -> Book:
        """Return the whole book as it is known now; built only when a strategy asks for it."""
        upto = int(self.s[k.I_LOCAL])
        tape = self.prepared.tape
        part = slice(self._book_rows, upto)
        columns = (tape.ts_exchange, tape.ts_local, tape.kind, tape.price, tape.quantity)
        for row in zip(*(column[part].tolist() for column in columns), strict=True):
            self._book.apply(row)
        self._book_rows = upto
        return self._book

    def open_orders(self) -> list[Order]:
        """Return our orders that may still trade, in order of submission."""
        found = [row for row in self.orders[: int(self.s[k.PLACES])].tolist() if row[k.OPEN]]
        return [self._order(row) for row in sorted(found)]

    def _order(self, row: list[int]) -> Order:
        order = Order(
            SubmitOrder(
                ts_local=0,
                order_id=row[k.ID],
                side=_SIDES[row[k.SELLING]],
                price=row[k.PRICE] + self.prepared.base,
                quantity=row[k.QUANTITY],
            )
        )
        order.remaining = row[k.REMAINING]
        order.submitting, order.canceling = bool(row[k.SUBMITTING]), bool(row[k.CANCELING])
        return order

    def equity(self, best_bid: int | None, best_ask: int | None) -> Decimal:
        """Return the equity now, exact; the fills so far are taken into the portfolio first."""
        self._empty_log()
        return self.engine.portfolio.equity(best_bid, best_ask)

    def _empty_log(self) -> None:
        """Hand on what has happened: fills to the portfolio, everything to the recorder."""
        logged = int(self.s[k.LOGGED])
        if not logged:
            return
        lines = self.log[:logged]
        self.s[k.LOGGED] = 0
        if self.recorder is not None:
            for line in lines.tolist():
                self.recorder.note(self._entry(line))
        portfolio = self.engine.portfolio
        fills = lines[lines[:, 0] == k.FILLED]
        signs = 1 - 2 * fills[:, 7]
        portfolio.trade_all(
            zip(signs.tolist(), fills[:, 4].tolist(), fills[:, 5].tolist(), strict=True)
        )
        # The kernel has added the fees up, in whole units.
        portfolio.fees = self._money(2 * int(self.s[k.FEES]))

    def _entry(self, line: list[int]) -> AnyCommand | AnyEvent:
        what, ts_local, ts_exchange, order_id, price, quantity, remaining, selling = line
        if what == k.SUBMIT:
            return SubmitOrder(
                ts_local=ts_local,
                order_id=order_id,
                side=_SIDES[selling],
                price=price,
                quantity=quantity,
            )
        if what == k.CANCEL:
            return CancelOrder(ts_local=ts_local, order_id=order_id)
        times = {"ts_exchange": ts_exchange, "ts_local": ts_local}
        if what == k.FILLED:
            return OrderFilled(
                order_id=order_id,
                price=price,
                quantity=quantity,
                remaining=remaining,
                liquidity=Liquidity.MAKER,
                fee=self.fees.of(price, quantity, Liquidity.MAKER),
                **times,
            )
        if what == k.ACCEPTED:
            return OrderAccepted(order_id=order_id, **times)
        if what == k.CANCELED:
            return OrderCanceled(order_id=order_id, **times)
        if what == k.CANCEL_REJECTED:
            return CancelRejected(order_id=order_id, reason="the order is not on the book", **times)
        if what == k.FEED_LOST:
            return FeedLost(reason=GapReason(price).name.lower(), **times)
        if what == k.FEED_RESTORED:
            return FeedRestored(**times)
        return OrderRejected(order_id=order_id, reason=_REJECTED[what], **times)

    def _tell_engine(self) -> None:
        """Leave the engine as the reference would have left it."""
        s, engine = self.s, self.engine
        kinds = np.asarray(self.prepared.tape.kind) & 0x0F
        counts = {
            "trades": int((kinds == int(Kind.TRADE)).sum()),
            "orders": s[k.N_ORDERS],
            "cancels": s[k.N_CANCELS],
            "rejected": s[k.N_REJECTED],
            "fills": s[k.N_FILLS],
            "maker_fills": s[k.N_FILLS],
            "wakes": s[k.N_WAKES],
            "gaps": s[k.N_GAPS],
        }
        engine.counts.update({name: int(count) for name, count in counts.items() if count})
        for n, (name, _) in enumerate(engine.risk.checks):
            if vetoes := int(s[k.VETOES + n]):
                engine.risk.vetoes[name] = vetoes
        engine.quoter.held_back = int(s[k.HELD_BACK])
        engine.now = int(s[k.NOW])
        engine.peak_equity = self._money(s[k.PEAK])
        engine.max_drawdown = self._money(s[k.DRAWDOWN])
        if s[k.HALTED]:
            drawdown = self._money(s[k.HALTED_BY])
            engine.halted = next(
                f"{name}: {check.words(drawdown)}"
                for name, check in engine.risk.checks
                if isinstance(check, MaxDrawdown)
            )
        engine.book = self._final_book()

    def _final_book(self) -> Book:
        """Return the book after the last row; the exchange's ladder holds the same levels."""
        book = Book()
        for side, levels in ((book.bids, self.ladder[0]), (book.asks, self.ladder[1])):
            for price in np.flatnonzero(levels).tolist():
                side.set(price + self.prepared.base, int(levels[price]))
        book.known = bool(self.s[k.KNOWN_EXCHANGE])
        return book

    def _money(self, units: Any) -> Decimal:
        value = int(units) * self._unit
        # Exact: products of decimals have a finite expansion.
        return EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, NumbaError) as error:
        reason = str(error).strip().splitlines()
        raise StrategyError(
            f"the compiled decision '{path}' cannot be used: {reason[0] if reason else error!r}; "
            "mend it, or set 'decision' to an empty text to run uncompiled"
        ) from error


def _plain(bids: tuple[Level, ...], asks: tuple[Level, ...]) -> bool:
    """Whether at most one level a side is certainly all right; others are looked at more closely."""
    bid = ask = 0
    if bids:
        if len(bids) > 1 or len(bids[0]) != 2:
            return False
        bid, quantity = bids[0]
        if type(bid) is not int or type(quantity) is not int or bid <= 0 or quantity <= 0:
            return False
    if asks:
        if len(asks) > 1 or len(asks[0]) != 2:
            return False
        ask, quantity = asks[0]
        if type(ask) is not int or type(quantity) is not int or ask <= bid or quantity <= 0:
            return False
    return True


def replay_compiled(
    session: Session,
    recorder: Recorder | None,
    prepared: Prepared,
    progress: Progress | None = None,
) -> None:
    """Run `session`'s engine over a tape, compiled; leaves engine and recorder as the reference does.

    Args:
        session: New; `why_not` has nothing against it.
        recorder: Told of every command and event, in order; `None` saves the time that takes.
        prepared: The tape.
        progress: Told how many rows are done.

    Raises:
        NotCompiled: if the strategy turns out to need the reference; start anew with that.
        StrategyError: as the reference does.
    """
    _Run(session, recorder, prepared).run(progress)
