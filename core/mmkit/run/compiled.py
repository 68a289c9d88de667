"""Drives the compiled engine over a tape, asking a strategy in plain Python whenever it is due.

The same results as `mmkit.run.replay.replay_plain`, many times faster. What it cannot do is left to that
loop (`why_not`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from numba.core.errors import NumbaError

from mmkit.book import Book, Depth
from mmkit.commands import Amends, AnyCommand, CancelOrder, OrderType, SubmitOrder, TimeInForce
from mmkit.errors import MmkitError, RunError, StrategyError
from mmkit.events import (
    MAIN,
    SELF_TRADE,
    AnyEvent,
    CancelRejected,
    FeedLost,
    FeedRestored,
    FundingPaid,
    Liquidity,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderRejected,
    Side,
    Signal,
)
from mmkit.fusion import Fused
from mmkit.instruments import Instrument
from mmkit.interfaces import AdviceByName, Level, MarketView, Quotes, Signals, Strategy, Target
from mmkit.orders import Order
from mmkit.quoter import ORDERS_PER_10S, checked_levels, whole
from mmkit.recorder import Detail, wanted
from mmkit.risk import MaxDrawdown, MaxOrder, MaxPosition, PriceBand, StaleAfter
from mmkit.run.replay import Progress, Tapes
from mmkit.run.session import Session
from mmkit.run.signals.ahead import Ahead, Columns
from mmkit.run.trail import Trail
from mmkit.run.worth import Worth
from mmkit.settings import FillReports, SimSettings
from mmkit.sim.fees import DAY_NS
from mmkit.sim.funding import funding_amount, scaled
from mmkit.sim.kernel import layout as k
from mmkit.sim.kernel.advance import advance
from mmkit.sim.latency import Drawn, Recorded, delay_of
from mmkit.sim.paper import PaperVenue
from mmkit.tape import NAMES, NEVER, RELEASED, GapReason, Kind, Tape
from mmkit.tape.index import NONE, UNKNOWN, WIDEST
from mmkit.watch import Statistics

_LOG_LINES = 8_192
_SAID = 3
"""Numbers of a signal: down, flat, up."""
_MODELS = {
    "risk_averse": k.RISK_AVERSE,
    "power": k.POWER,
    "log": k.LOG_MODEL,
    "calibrated": k.CALIBRATED,
    "optimistic": k.OPTIMISTIC,
    "pessimistic": k.PESSIMISTIC,
}
_SIDES = (Side.BUY, Side.SELL)
_LIQUIDITY = (Liquidity.MAKER, Liquidity.TAKER)
_REJECTED = {
    k.REJECTED_POST_ONLY: "post-only order would have taken",
    k.REJECTED_UNKNOWN: "the book is unknown at this moment, so nothing can be matched",
    k.REJECTED_SELF_TRADE: SELF_TRADE,
}


class NotCompiled(MmkitError):  # noqa: N818 - not an error of anybody's
    """The compiled engine has come upon something it leaves to the reference; nothing is wrong."""


def why_not(session: Session, tapes: Tapes) -> str:
    """Return why the compiled engine cannot run this; empty if it can."""
    if len(tapes) > 1:
        return "several markets at once are not compiled"
    tape = tapes[MAIN]
    engine, venue = session.engine, session.venue
    if session.signals is not None and not isinstance(session.signals, Ahead):
        return "signals that are not computed beforehand are not compiled"
    if (columns := _signals(session)) is not None and len(columns.names) > k.MOST_SIGNALS:
        return f"more than {k.MOST_SIGNALS} signals"
    if session.advice is not None and session.advice.next_ns() != NEVER:
        return "advice is not compiled"
    if engine.watch is not None:
        return "the market watch, at which the strategy looks, is not compiled"
    if type(venue) is not PaperVenue or venue.settings.fill_reports is not FillReports.PLAIN:
        return "only 'paper' with 'fill_reports: plain' is compiled"
    if engine.quoter.amends is not Amends.NOTHING:
        return "amending orders is not compiled"
    if venue.settings.fees.in_base:
        return "fees in base currency are not compiled"
    known = (MaxPosition, MaxOrder, PriceBand, MaxDrawdown, StaleAfter)
    if len(engine.risk.checks) > k.MOST_CHECKS or any(
        type(check) not in known for _, check in engine.risk.checks
    ):
        return "a risk check that is not compiled"
    if len({type(check) for _, check in engine.risk.checks}) != len(engine.risk.checks):
        return "a risk check is configured twice"
    if not len(tape):
        return "the tape is empty"
    facts = tape.index.facts
    if facts.span > WIDEST or not facts.narrow_prices:
        return "prices too far apart, or too high"
    return "" if facts.whole_messages else "a message was received at several times"


def _signals(session: Session) -> Columns | None:
    return session.signals.columns if isinstance(session.signals, Ahead) else None


class _View:
    """What the strategy is shown (`mmkit.interfaces.MarketView`)."""

    def __init__(self, run: CompiledRun) -> None:
        self._run = run
        self.instrument: Instrument = run.engine.instrument
        self.now = 0
        self.best_bid: int | None = None
        self.best_ask: int | None = None
        self.position = 0
        self.markets: Mapping[str, MarketView] = {}
        # A run that has any is not run here.
        self.advice = AdviceByName()
        self.funds: Mapping[str, Decimal] = {}

    @property
    def book(self) -> Depth:
        return self._run.depth()

    @property
    def orders(self) -> Sequence[Order]:
        return self._run.open_orders()

    @property
    def equity(self) -> Decimal:
        return self._run.equity(self.best_bid, self.best_ask)

    @property
    def signals(self) -> Signals:
        return self._run.signals(self.now)

    @property
    def fused(self) -> Fused:
        # The engine itself is told no signal here, and advice there is none.
        return self._run.engine.fused_of(self.signals.get, lambda _: None)

    @property
    def watch(self) -> Statistics:
        # A strategy that declares it is not run here.
        raise self._run.engine.undeclared_watch()


class CompiledRun:
    """One run of the compiled engine.

    Args:
        session: New; `why_not` has nothing against it.
        tape: What to replay.
    """

    def __init__(self, session: Session, tape: Tape) -> None:
        self.session, self.tape = session, tape
        self.engine = engine = session.engine
        settings = cast(PaperVenue, session.venue).settings
        self.worth = Worth(settings.fees, tape)
        self.state = np.zeros(1, k.STATE)
        self.s = self.state[0]
        self._tables: list[npt.NDArray[Any]] = []
        self.tables = k.tables(tape.index.facts.span, _LOG_LINES, engine.strategy.depth)
        self._stopped, self._due = False, 0
        self._signals = _signals(session)
        # Of each name, the last that Python has looked at, and its place.
        self._heard: dict[int, tuple[int, Signal]] = {}
        # In the order in which each was first told, as the reference has them.
        self._first_heard: list[int] = []
        if self._signals is not None:
            which, first = np.unique(self._signals.of, return_index=True)
            self._first_heard = which[np.argsort(first)].tolist()
        self._point()
        self._settle(settings)
        # Items of a memoryview are Python's own integers, and come at a third of the time.
        self._wanted = memoryview(self.tables["wanted"])
        # What is written there, if the strategy wanted quotes: most often it wants the same again.
        self._bids: tuple[Level, ...] | None = None
        self._asks: tuple[Level, ...] | None = None

    def _point(self) -> None:
        """Tell the state where everything lies; the tape and the tables stay where they are."""
        s, tape, index = self.s, self.tape, self.tape.index
        self._columns = {
            "order": index.order,
            "ts_exchange": tape.ts_exchange,
            "ts_local": tape.ts_local,
            "kind": tape.kind,
            "price": tape.narrow_price,
            "quantity": tape.narrow_quantity,
            "large": tape.large,
            "top_row": index.top_row,
            "top_ts": index.top_ts,
            "top_bid": index.top_bid,
            "top_ask": index.top_ask,
            "exchange_row": index.exchange_row,
            "exchange_bid": index.exchange_bid,
            "exchange_ask": index.exchange_ask,
            "special": index.special,
        }
        for name, column in self._columns.items():
            contiguous = self._columns[name] = np.ascontiguousarray(column)
            s[name] = contiguous.ctypes.data
        for name, table in self.tables.items():
            s[name] = table.ctypes.data
        if not len(index.order):
            s["order"] = 0
        s["rows"], s["larges"], s["tops"] = len(tape), len(tape.large), len(index.top_row)
        s["exchange_tops"], s["specials"] = len(index.exchange_row), len(index.special)
        s["span"], s["base"] = index.facts.span, index.facts.low - 1
        s["log_size"] = _LOG_LINES
        s["used_low"] = s["local_low"] = index.facts.span
        s["used_high"] = s["local_high"] = -1
        s["end"] = tape.end_ns

    def _settle(self, settings: SimSettings) -> None:
        """Write what was configured into the state."""
        s, engine = self.s, self.engine
        strategy, wake = engine.strategy, engine.strategy.wake
        s["now"] = s["last_data"] = s["decided"] = engine.now
        s["at"] = s["row_at"] = -NEVER
        s["limit"] = NEVER
        s["every"] = wake.every or 0
        s["next_wake"] = engine.now + wake.every if wake.every else NEVER
        s["on_best"], s["on_trade"], s["on_fill"] = wake.on_best, wake.on_trade, wake.on_fill
        s["on_signal"] = wake.on_signal
        s["listens"] = type(strategy).on_event is not Strategy.on_event
        s["depth"] = strategy.depth
        s["recording"] = self.session.recorder.detail is Detail.ALL or s["listens"]
        s["next_id"], s["orders_per_window"] = 1, ORDERS_PER_10S
        s["top"] = s["exchange_top"] = -1
        s["bid"] = s["ask"] = UNKNOWN
        s["frees"] = k.MOST_ORDERS
        s["queue"], s["exponent"] = _MODELS[settings.queue.model], settings.queue.exponent
        s["knots"] = len(settings.queue.behind)
        s["behind"] = self._kept(np.array([*settings.queue.behind, 0.0]))
        s["partial"] = settings.partial_fills
        s["fill_due"] = s["funding_due"] = NEVER
        s["own_low"], s["across"] = k.NOWHERE, NEVER
        for n, (_, check) in enumerate(engine.risk.checks):
            code, limit = 0, 0
            if isinstance(check, MaxPosition | MaxOrder):
                code = k.MAX_POSITION_CHECK if isinstance(check, MaxPosition) else k.MAX_ORDER_CHECK
                limit = check.limit
            elif isinstance(check, PriceBand):
                code = k.PRICE_BAND_CHECK
                s["band_share"], s["band_whole"], s["band_ticks"] = check.limit.formula(
                    engine.instrument
                )
            elif isinstance(check, MaxDrawdown):
                units = Fraction(check.limit) / self.worth.unit
                s["max_drawdown"] = -(-units.numerator // units.denominator)
            elif isinstance(check, StaleAfter):
                s["stale"] = check.limit
            s["check"][n], s["check_limit"][n] = code, limit
        s["checks"] = len(engine.risk.checks)
        self._settle_latency(settings)
        self._settle_money()
        self._settle_signals()
        if strategy.decision and strategy.config.compiled:
            self._decision = _imported(strategy.decision)
            s["decision"] = self._decision.address
            numbers = _numbers(strategy)
            s["parameters"], s["signal_place"] = self._kept(numbers), len(numbers) - _SAID

    def _settle_latency(self, settings: SimSettings) -> None:
        s = self.s
        ways = (("entry", settings.latency.entry), ("response", settings.latency.response))
        for way, (name, setting) in enumerate(ways):
            match delay_of(setting, name):
                case Drawn() as drawn:
                    s["latency"][way], s["key"][way] = k.DRAWN, drawn.key
                    s["measured"][way] = len(drawn.values)
                    s["values"][way] = self._kept(np.array(drawn.values, np.int64))
                case Recorded() as recorded:
                    s["latency"][way], s["measured"][way] = k.RECORDED, len(recorded.times)
                    s["values"][way] = self._kept(np.array(recorded.values, np.int64))
                    s["times"][way] = self._kept(np.array(recorded.times, np.int64))
                case constant:
                    s["latency"][way], s["constant"][way] = k.CONSTANT, constant.at(0)

    def _settle_money(self) -> None:
        s, worth = self.s, self.worth
        s["inverse"], s["by"], s["over"] = (
            worth.inverse,
            worth.each.numerator,
            worth.each.denominator,
        )
        s["cash_worth"], s["fee_worth"] = worth.cash_worth, worth.fee_worth
        s["denominator"], s["funded"] = worth.denominator, worth.funded
        s["day"] = s["first_day"] = self.engine.now // DAY_NS
        rates, needed = worth.rates(), worth.needed()
        s["tiers"] = len(rates) if len(rates) > 1 else 0
        s["rates"], s["needed"] = self._kept(rates), self._kept(needed)
        s["traded"] = self._kept(np.zeros(k.DAYS, np.int64))
        s["maker"], s["taker"] = rates[np.flatnonzero(needed[:, 0] <= 0)[-1]]

    def _settle_signals(self) -> None:
        s, columns = self.s, self._signals
        s["expiry"], s["signal_shown"] = NEVER, -1
        if columns is None:
            return
        s["signals"] = len(columns)
        for name in ("ts", "of", "said"):
            s[f"signal_{name}"] = self._kept(np.ascontiguousarray(getattr(columns, name)))
        s["signal_latency"][: len(columns.names)] = columns.latency_ns
        s["signal_expires"][: len(columns.names)] = columns.expires_ns
        if (name := self.engine.strategy.decision_signal) in columns.names:
            s["signal_shown"] = columns.names.index(name)

    def _kept(self, table: npt.NDArray[Any]) -> int:
        """Keep a table alive where it is; return its address."""
        self._tables.append(table)
        return int(table.ctypes.data)

    def stop(self) -> None:
        """End a run that goes on in another thread, at its next instant."""
        self._stopped = True
        self.s["limit"] = -NEVER

    def _release(self) -> None:
        """Give back the memory of what has been gone through of a long tape, and say when to return to that."""
        s, tape = self.s, self.tape
        row = int(s["row"])
        # Rows that waited in the order of the venue's clock are a piece behind at most, and may be read again.
        tape.release((*NAMES, "order"), row - RELEASED)
        tape.release(("top_row", "top_ts", "top_bid", "top_ask"), int(s["top"]))
        tape.release(("exchange_row", "exchange_bid", "exchange_ask"), int(s["exchange_top"]))
        # A strategy that is seldom asked may not have moved at all.
        self._due = due = max(row, self._due) + RELEASED
        s["limit"] = NEVER if due >= len(tape) else tape.ts_local[due]
        if self._stopped:  # while the limit was put off
            s["limit"] = -NEVER

    def run(self, progress: Progress | None) -> None:
        """Run to the end.

        Raises:
            NotCompiled: if the strategy turns out to need the reference; start anew with that.
            StrategyError: as the reference does.
            RunError: if it was stopped.
        """
        strategy = self.engine.strategy
        quote, view, want = strategy.quote, _View(self), self._want
        shown, address, rows = (
            memoryview(self.tables["shown"]),
            self.state.ctypes.data,
            len(self.tape),
        )
        now, best_bid, best_ask, position = k.NOW, k.BEST_BID, k.BEST_ASK, k.POSITION
        started, told_at = self.engine.now, self.engine.now
        span = max(1, int(self.s["end"]) - started)
        if self.tape.long:
            self._release()
        while True:
            why = advance(address)
            if why == k.ASK:
                view.now = shown[now]
                bid, ask = shown[best_bid], shown[best_ask]
                view.best_bid = bid if bid >= 0 else None
                view.best_ask = ask if ask >= 0 else None
                view.position = shown[position]
                try:
                    quotes = quote(view)
                except Exception as error:
                    raise self.engine.strategy_failed("quote", error) from error
                want(quotes)
                if progress is not None and view.now >= told_at:
                    progress(rows * (view.now - started) // span)
                    told_at = view.now + span // 100
                continue
            if why == k.LOG_FULL:
                self._empty_log()
                if progress is not None:
                    progress(int(self.s["row"]))
            elif why == k.HEARD:
                self._hear()
            elif why == k.END:
                break
            elif why == k.PAY:
                self._pay()
            elif why == k.LIMIT:
                if self._stopped:
                    raise RunError("the run was stopped before its end")
                self._release()
            elif why == k.BAD:
                raise StrategyError(
                    f"{strategy.decision} wanted {self.tables['wanted'][:10].tolist()}...: prices and "
                    "quantities above 0, different prices, bids below asks, at most "
                    f"{k.MOST_LEVELS} levels a side were expected"
                )
            else:
                raise NotCompiled("too many orders, or too much money, for the compiled engine")
        self._empty_log()
        self._tell_engine()

    def _want(self, quotes: object) -> None:
        """Write down what the strategy wants."""
        wanted = self._wanted
        if type(quotes) is not Quotes:
            if not isinstance(quotes, Target):
                raise NotCompiled("a strategy that does not return Quotes")
            if quotes.reduce_only or quotes.order_type is not OrderType.LIMIT:
                raise NotCompiled("reduce-only and market orders")
            wanted[0], wanted[1] = k.TARGET, whole(quotes.position, "target position")
            self._bids = self._asks = None
            return
        bids, asks = quotes.bids, quotes.asks
        if quotes.reduce_only:
            raise NotCompiled("reduce-only and market orders")
        if bids == self._bids and asks == self._asks:
            return
        checked_bids, checked_asks = checked_levels(quotes)
        if len(checked_bids) > k.MOST_LEVELS or len(checked_asks) > k.MOST_LEVELS:
            raise NotCompiled(f"more than {k.MOST_LEVELS} levels a side")
        self._bids, self._asks = bids, asks
        wanted[0], wanted[1] = len(checked_bids), len(checked_asks)
        n = 2
        for side in (checked_bids, checked_asks):
            for price, quantity in side.items():
                wanted[n], wanted[n + 1] = price, quantity
                n += 2

    def _hear(self) -> None:
        """Let the strategy hear of what has just happened."""
        logged = int(self.s["logged"])
        event = self._entry(self.tables["log"][logged - 1].item())
        self.engine.strategy_hears(cast(AnyEvent, event))

    def _pay(self) -> None:
        """Work out the funding that is told of next."""
        told = self.tables["reports"][int(self.s["reports_first"]) % k.LINE]
        told["slot"] = 1
        position, mark, rate = int(told["quantity"]), int(told["price"]), int(told["remaining"])
        told["fee"] = self.worth.received(position, mark, rate, int(told["at"]))

    def depth(self) -> Depth:
        """Return the best levels of the book, as many as the strategy has declared."""
        levels = self.engine.strategy.depth
        if not levels:
            raise self.engine.undeclared_depth()
        shown = self.tables["shown"][k.LEVELS :].reshape(2, levels, 2).tolist()
        bids, asks = (
            tuple((price, quantity) for price, quantity in side if price != NONE) for side in shown
        )
        return Depth(bids, asks)

    def open_orders(self) -> list[Order]:
        """Return our orders that may still trade, in order of submission."""
        s, slots = self.s, self.tables["open"]
        found = np.concatenate([slots[side, : int(s["opens"][side])] for side in (0, 1)])
        rows = [self.tables["orders"][slot] for slot in found.tolist()]
        return [_order(row) for row in sorted(rows, key=lambda row: int(row["id"]))]

    def signals(self, now_ns: int) -> Signals:
        """Return the signals that hold at this time."""
        columns, found = self._signals, Signals()
        if columns is None:
            return found
        for place in self._first_heard:
            last = int(self.s["heard"][place]) - 1
            if last >= 0 and (signal := self._signal(last)).expires_ns > now_ns:
                found[signal.name] = signal
        return found

    def _signal(self, place: int) -> Signal:
        """Return a signal; the same one as long as it is the last."""
        columns = self._signals
        assert columns is not None
        which = int(columns.of[place])
        known, signal = self._heard.get(which, (-1, None))
        if known != place or signal is None:
            signal = columns.signal(place)
            self._heard[which] = place, signal
        return signal

    def equity(self, best_bid: int | None, best_ask: int | None) -> Decimal:
        """Return the equity now, exact; the fills so far are taken into the portfolio first."""
        self._empty_log()
        return self.engine.portfolio.equity(best_bid, best_ask)

    def _empty_log(self) -> None:
        """Hand on what has happened: fills to the portfolio, everything to the recorder."""
        logged = int(self.s["logged"])
        if not logged:
            return
        lines = self.tables["log"][:logged]
        self.s["logged"] = 0
        self._note(lines)
        portfolio, worth = self.engine.portfolio, self.worth
        filled = lines["what"] == k.FILLED
        selling, prices, quantities = (
            lines[name][filled] for name in ("selling", "price", "quantity")
        )
        portfolio.trade_columns(1 - 2 * selling, prices, quantities)
        # The kernel has added the others up, in whole units.
        portfolio.fees = worth.fees(int(self.s["fees"]))
        portfolio.funding = worth.equity(int(self.s["funding"]))

    def _note(self, lines: npt.NDArray[Any]) -> None:
        """Tell the recorder what it wants to know."""
        recorder = self.session.recorder
        if recorder.detail is Detail.NONE:
            return
        if isinstance(recorder, Trail):
            lines = lines[lines["what"] != k.SIGNAL]
            recorder.lines(lines, self._amounts(lines))
            return
        for line in lines.tolist():
            entry = self._entry(line)
            if wanted(entry, recorder.detail):
                recorder.note(entry)

    def _amounts(self, lines: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the money of each line, a fill's fee or funding, as near as a float comes."""
        unit = self.worth.unit
        units = np.where(lines["what"] == k.FUNDED, 1.0, self.worth.fee_worth) * lines["fee"]
        # A product with the unit would be rounded twice, as most units are no floats.
        return np.asarray(units * float(unit.numerator) / float(unit.denominator))

    def _entry(self, line: tuple[int, ...]) -> AnyCommand | AnyEvent:
        what, ts_local, ts_exchange, order_id, price, quantity, remaining, selling, taker, fee = (
            line
        )
        if what == k.SUBMIT:
            return SubmitOrder(
                ts_local=ts_local,
                order_id=order_id,
                side=_SIDES[selling],
                price=price,
                quantity=quantity,
                time_in_force=TimeInForce.IOC if taker else TimeInForce.POST_ONLY,
            )
        if what == k.CANCEL:
            return CancelOrder(ts_local=ts_local, order_id=order_id)
        times: dict[str, Any] = {"ts_exchange": ts_exchange, "ts_local": ts_local}
        if what == k.SIGNAL:
            return self._signal(order_id)
        if what == k.FILLED:
            return OrderFilled(
                order_id=order_id,
                price=price,
                quantity=quantity,
                remaining=remaining,
                liquidity=_LIQUIDITY[taker],
                fee=self.worth.fees(fee),
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
        if what == k.FUNDED:
            return FundingPaid(
                rate=scaled(remaining),
                mark=scaled(price),
                position=quantity,
                amount=funding_amount(
                    self.engine.instrument, quantity, price, remaining, ts_exchange
                ),
                **times,
            )
        return OrderRejected(order_id=order_id, reason=_REJECTED[what], **times)

    def _tell_engine(self) -> None:
        """Leave the engine as the reference would have left it."""
        s, engine = self.s, self.engine
        counts = {
            "trades": self.tape.index.facts.counts[Kind.TRADE],
            "orders": s["n_orders"],
            "cancels": s["n_cancels"],
            "rejected": s["n_rejected"],
            "self_trades": s["n_self_trades"],
            "fundings": s["n_fundings"],
            "fills": s["n_fills"],
            "maker_fills": s["n_maker_fills"],
            "taker_fills": s["n_fills"] - s["n_maker_fills"],
            "wakes": s["n_wakes"],
            "gaps": s["n_gaps"],
            "signals": s["signal_at"],
        }
        engine.counts.update({name: int(count) for name, count in counts.items() if count})
        for n, (name, _) in enumerate(engine.risk.checks):
            if vetoes := int(s["vetoes"][n]):
                engine.risk.vetoes[name] = vetoes
        if isinstance(self.session.signals, Ahead):
            self.session.signals.told(int(s["signal_at"]))
        engine.quoter.held_back = int(s["held_back"])
        engine.now = int(s["now"])
        engine.peak_equity = self.worth.equity(s["peak"])
        engine.max_drawdown = self.worth.equity(s["drawdown"])
        if s["halted"]:
            drawdown = self.worth.equity(s["halted_by"])
            engine.halted = next(
                f"{name}: {check.words(drawdown)}"
                for name, check in engine.risk.checks
                if isinstance(check, MaxDrawdown)
            )
        engine.book = self._final_book()

    def _final_book(self) -> Book:
        """Return the book after the last row; the exchange's ladder holds the same levels."""
        book = Book()
        low, high = int(self.s["used_low"]), int(self.s["used_high"])
        ladders = self.tables["ladder"][:-1].reshape(2, -1)
        for side, ladder in zip((book.bids, book.asks), ladders, strict=True):
            places = np.flatnonzero(ladder[low : high + 1]) + low
            prices = places + int(self.s["base"])
            side.fill(prices, self.tape.widened(ladder[places]))
        book.known = bool(self.s["known"])
        return book


def _order(row: Any) -> Order:
    order = Order(
        SubmitOrder(
            ts_local=0,
            order_id=int(row["id"]),
            side=_SIDES[int(row["selling"])],
            price=int(row["price"]),
            quantity=int(row["quantity"]),
        )
    )
    order.remaining = int(row["remaining"])
    order.submitting, order.canceling = bool(row["submitting"]), bool(row["canceling"])
    return order


def _numbers(strategy: Strategy) -> npt.NDArray[np.float64]:
    """Return what the strategy's compiled decision is given: its parameters, and room for what a signal says.

    Raises:
        StrategyError: if it is no finite numbers.
    """
    given = tuple(strategy.parameters())
    try:
        numbers = np.array([*given, *[0.0] * _SAID], np.float64)
    except (TypeError, ValueError):
        numbers = np.array([[np.nan]])
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise StrategyError(
            f"{type(strategy).__name__}.parameters returned {given!r}; finite numbers were expected, as many as "
            "the compiled decision reads"
        )
    return numbers


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    reason = ""
    try:
        found = getattr(import_module(module), name)
    except NumbaError as error:
        # Its traceback is numba's; what it says of the user's code is the reason.
        cause: Exception | None = None
        reason = _reason(error)
    except Exception as error:  # noqa: BLE001 - the user's module, which may raise anything
        cause = error
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    else:
        cause = None
        if not hasattr(found, "address"):
            reason = f"a function marked with mmkit.decision.decision was expected; found a {type(found).__name__}"
    if reason:
        raise StrategyError(
            f"the compiled decision '{path}' cannot be used: {reason}; "
            "mend it, or ask the strategy in plain Python with '--set strategy.compiled=false'"
        ) from cause
    return found


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_PLACE = re.compile(r'File "([^"]+)", line (\d+)')
_NO_REASON = ("Failed in ", "During: ", "This error ", "[", ">>>", "-", "File ")
"""How lines begin in which numba says where it was, and not what was wrong."""


def _reason(error: NumbaError) -> str:
    """Return in one line why numba could not compile, and where."""
    text = _COLOUR.sub("", str(error))
    lines = [line.strip() for line in text.splitlines()]
    said = next((line for line in lines if line and not line.startswith(_NO_REASON)), repr(error))
    if said.endswith(":"):
        said += next((f" {line[4:]}" for line in lines if line.startswith(">>> ")), "")
    places = _PLACE.findall(text)
    return f"{said} ({places[-1][0]}:{places[-1][1]})" if places else said


def replay_compiled(
    session: Session,
    tape: Tape,
    progress: Progress | None = None,
) -> None:
    """Run `session`'s engine over a tape, compiled; leaves engine and recorder as the reference does.

    Args:
        session: New; `why_not` has nothing against it.
        tape: What to replay.
        progress: Told how many rows are done.

    Raises:
        NotCompiled: if the strategy turns out to need the reference; start anew with that.
        StrategyError: as the reference does.
    """
    CompiledRun(session, tape).run(progress)
