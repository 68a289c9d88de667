"""All state of one run. Synchronous; no I/O, no clock, no randomness: the same calls give the same commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mmkit.book import Book, Depth
from mmkit.commands import AmendOrder, AnyCommand, CancelOrder, OrderType, SubmitOrder
from mmkit.errors import StrategyError
from mmkit.events import (
    MAIN,
    SELF_TRADE,
    Advice,
    AmendRejected,
    AnyEvent,
    FeedLost,
    FeedRestored,
    FundingPaid,
    Liquidity,
    OrderFilled,
    OrderRejected,
    Side,
    Signal,
    Statistics,
    VenueDown,
    VenueEvent,
    VenueUp,
    WatchEvent,
)
from mmkit.fusion import Fused, Fusion
from mmkit.held import Held
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import (
    AdviceByName,
    ByMarket,
    MarketView,
    Quotes,
    Signals,
    Strategy,
    Target,
)
from mmkit.orders import Order, Orders
from mmkit.portfolio import EXACT, Portfolio
from mmkit.quoter import Quoter, wanted_by_market
from mmkit.risk import RiskGate
from mmkit.tape import KIND, LAST, NEVER, GapReason, Kind, Row

# As numbers, which are looked up in a fraction of the time.
_TRADE, _GAP = int(Kind.TRADE), int(Kind.GAP)

MARKET_DEPTH = 2
"""How many times a market order's quantity the book has to hold, and the last level of that is what it is judged by:
somebody else may be there first, and the book may change before it arrives."""

if TYPE_CHECKING:
    from mmkit.desk import Desk
    from mmkit.watch import Watch


class Engine:
    """Book, orders, position and decisions of one run in one market.

    The loop around it hands in what happens, in order of time: `on_row`, `on_event`, and `wake` when
    `next_ns` has come. After each it takes what is to be done from `commands`, and what is worth
    noting besides from `notices`.

    It is also what risk checks look at (`RiskView`); strategies are shown its `view`.

    Args:
        instrument: What is traded.
        strategy: Decides what to have in the market.
        risk: Every order passes it.
        start_ns: When the run begins; the first regular wake is one interval later.
        market: Its name; only the main one is woken at an interval.
        watch: Is told the market's trades, if anybody wants to hear what stands out in them.
        fusion: Makes one of signal and advice, if the run says how.
    """

    def __init__(
        self,
        instrument: Instrument,
        strategy: Strategy,
        risk: RiskGate,
        start_ns: int,
        market: str = MAIN,
        watch: Watch | None = None,
        fusion: Fusion | None = None,
    ) -> None:
        self.instrument = instrument
        self.fusion = fusion
        """Makes one of signal and advice; `None` if the run does not say how."""
        self.watch = watch
        """Statistics of the market's trades; `None` if nobody looks at them."""
        self.market = market
        self.desk: Desk | None = None
        """Decides for several markets together; `None` if there is only this one."""
        self.book = Book()
        self.portfolio = Portfolio(instrument)
        self.now = start_ns
        self.last_data_ns = start_ns
        self.halted: str | None = None
        """Why nothing will be quoted any more, or `None`."""
        self.pulled: str | None = None
        """Why nothing is on the book for now, or `None`."""
        self.venue_down: str | None = None
        """Why the venue can take nothing for now, or `None`."""
        self._opening: tuple[int, Decimal] | None = None
        """A position that the run begins with, in lots, and by how much less is held, until there is a price to value it at."""
        self.opened: Callable[[int], None] = lambda price: None
        """Is told the price, in ticks, at which that was valued."""
        self._opened_for = Decimal(0)
        """What the portfolio has as cash because of it."""
        self.paused = False
        """Whether somebody has asked for nothing to be on the book until further notice."""
        self.commands: list[AnyCommand] = []
        """Decided and not yet taken by the loop."""
        self.notices: list[AnyEvent] = []
        """Events of the feed and of the watch, not yet taken by the loop."""
        self.counts: Counter[str] = Counter()
        """Rows, trades, orders, fills and the like, by name."""
        self.watched: Counter[str] = Counter()
        """Events of the watch, by kind."""
        self.quoter = Quoter()
        self.risk = risk
        self.funds: Mapping[str, Decimal] = {}
        """What the account could spend at the start, by asset, as the venue told."""
        self.peak_equity = Decimal(0)
        self.max_drawdown = Decimal(0)
        self.strategy = strategy
        self.view = View(self)
        """What the strategy is shown."""
        self._wake = strategy.wake
        self._orders = Orders()
        self._every = self._wake.every if market == MAIN else None
        self._next_wake = start_ns + self._every if self._every else NEVER
        self._decided_ns = start_ns
        self._best: tuple[int | None, int | None] = (None, None)
        self._trade_in_message = False
        self._stopping = False
        self._left_alone = False
        self.listens = listens(strategy)
        """Whether the strategy looks at the watch, and hears its events."""
        self._seen: list[WatchEvent] = []
        self._signals: Held[Signal] = Held(wakes=self._wake.on_signal)
        self._advice: Held[Advice] = Held(wakes=self._wake.on_advice)

    # --- what risk checks see ---

    @property
    def best_bid(self) -> int | None:
        """In ticks, or `None` if there is no bid, or the book is unknown: levels may be told all the same."""
        return self.book.best_bid if self.book.known else None

    @property
    def best_ask(self) -> int | None:
        """In ticks, or `None` if there is no ask, or the book is unknown."""
        return self.book.best_ask if self.book.known else None

    @property
    def position(self) -> int:
        """In lots; negative is short."""
        return self.portfolio.position

    @property
    def held(self) -> Decimal:
        """What the position is, to the last digit: fees in base currency are taken off that are no whole lot yet."""
        return self.portfolio.held

    @property
    def orders(self) -> Sequence[Order]:
        """Our orders that may still trade, in order of submission."""
        return self._orders.active

    @property
    def exposure(self) -> tuple[int, int]:
        """Lots that open buys, and open sells, may still add."""
        return self._orders.exposure()

    @property
    def working(self) -> Sequence[Order]:
        """Our orders that may still trade, those of unknown fate included."""
        return self._orders.working

    @property
    def cash(self) -> Decimal:
        """Received less paid since the start, fees taken off and funding added, in the settlement currency."""
        portfolio = self.portfolio
        traded = EXACT.subtract(portfolio.cash, self._opened_for)
        return EXACT.add(EXACT.subtract(traded, portfolio.fees), portfolio.funding)

    @property
    def equity(self) -> Decimal:
        """Profit since the start at mid, fees taken off and funding added, in the settlement currency."""
        return self.portfolio.equity(self.best_bid, self.best_ask)

    @property
    def spendable(self) -> Mapping[str, Decimal]:
        """What the account can spend now, by asset; of a contract the settlement currency is margin."""
        now = dict(self.funds)
        if not now:
            return now
        instrument = self.instrument
        own = {instrument.settle: self.equity}
        if instrument.kind is ContractKind.SPOT:
            own = {
                instrument.base: self.held,
                instrument.quote: self.cash,
            }
        for asset, amount in own.items():
            now[asset] = EXACT.add(now.get(asset, Decimal(0)), amount)
        return now

    # --- what happens ---

    def on_row(self, row: Row) -> None:
        """Take in a row of market data at its ``ts_local``."""
        kind = row[2]
        what = kind & KIND
        self.now = self.last_data_ns = row[1]
        if what == _TRADE:
            self._trade_in_message = True
            self.counts["trades"] += 1
            if self.watch is not None:
                self._seen += self.watch.on_row(row)
        elif what == _GAP:
            if self.watch is not None:
                self._seen += self.watch.on_row(row)
                self._tell_seen()
            self._feed_lost(row)
        was_known = self.book.known
        self.book.apply(row)
        if kind & LAST:
            if not was_known and self.book.known:
                self._tell(FeedRestored(ts_exchange=row[0], ts_local=row[1], market=self.market))
            self._on_message()

    def on_levels(self, message: Sequence[Row]) -> int:
        """Take in the LEVEL rows with which a message begins, but for its last row, as `on_row` does.

        Returns:
            How many; the rest is for `on_row`.
        """
        taken = self.book.take(message, len(message) - 1)
        if taken:
            self.now = self.last_data_ns = message[taken - 1][1]
        return taken

    def on_event(self, event: VenueEvent) -> None:
        """Take in what the venue reports, at its ``ts_local``."""
        self.now = max(self.now, event.ts_local)
        if isinstance(event, FundingPaid):
            self._on_funding(event)
            return
        if isinstance(event, VenueDown | VenueUp):
            self._on_venue(event)
            return
        order = self._orders.apply(event)
        if isinstance(event, OrderFilled) and order is not None:
            self.portfolio.apply(order.side, event)
            self.counts["fills"] += 1
            self.counts["maker_fills" if event.liquidity is Liquidity.MAKER else "taker_fills"] += 1
            self._mark_to_market()
        elif isinstance(event, AmendRejected):
            self.counts["amends_rejected"] += 1
        elif isinstance(event, OrderRejected):
            self.counts["rejected"] += 1
            if event.reason == SELF_TRADE:
                self.counts["self_trades"] += 1
        if self.halted is None and (reason := self.risk.heard(event, self)):
            self.halted = reason
            self._pull_everywhere()
        self.strategy_hears(event)
        if self._wake.on_fill:
            self._decide()
        elif self.desk.quiet if self.desk is not None else self.quiet:
            # What has just been accepted could not be canceled while it was on the way.
            self.pull()

    def on_signal(self, signal: Signal) -> None:
        """Take in what a model says, at its ``ts_local``."""
        self.now = max(self.now, signal.ts_local)
        self.counts["signals"] += 1
        self._signals.take(signal)
        self.strategy_hears(signal)
        if self._wake.on_signal:
            self._signals.mind_expiry(self.now)
            self._decide()

    def on_advice(self, advice: Advice) -> None:
        """Take in what came of a question to a language model, at its ``ts_local``; without an answer it changes nothing."""
        self.now = max(self.now, advice.ts_local)
        self.counts["advice"] += 1
        if advice.answer is not None:
            self._advice.take(advice)
        self.strategy_hears(advice)
        if advice.answer is not None and self._wake.on_advice:
            self._advice.mind_expiry(self.now)
            self._decide()

    @property
    def signals(self) -> Signals:
        """Those that hold now."""
        return Signals(self._signals.at(self.now))

    @property
    def last_signals(self) -> Mapping[str, Signal]:
        """The last of each name, expired or not."""
        return self._signals.last

    @property
    def advice(self) -> AdviceByName:
        """What holds now."""
        return AdviceByName(self._advice.at(self.now))

    @property
    def fused(self) -> Fused:
        """What signal and advice come to now.

        Raises:
            StrategyError: if the run does not say how.
        """
        return self.fused_of(
            lambda name: self._signals.get(name, self.now),
            lambda name: self._advice.get(name, self.now),
        )

    def fused_of(
        self,
        signal: Callable[[str], Signal | None],
        advice: Callable[[str], Advice | None],
    ) -> Fused:
        """Return what signal and advice come to, each found by its name; `None` if there is none now."""
        if self.fusion is None:
            raise self.unconfigured_fusion()
        settings = self.fusion.settings
        return self.fusion.fuse(signal(settings.signal), advice(settings.advice))

    def next_ns(self) -> int:
        """Return when the engine next wants to be woken by time alone."""
        if self.watch is None or self._left_alone:
            return self._decision_ns()
        return min(self._decision_ns(), self.watch.next_ns())

    def _decision_ns(self) -> int:
        if self.halted or self._stopping:
            return NEVER
        if self.pulled:
            return self._next_wake
        # Not after `now`: a report of the very instant at which a check is to be asked does not ask it.
        due = min(self._next_wake, self.risk.next_ns(self, self._decided_ns))
        return min(due, self._signals.expiry_ns, self._advice.expiry_ns)

    def wake(self, now_ns: int) -> None:
        """Tell the statistics that are due, and decide, because `next_ns` has come."""
        if self.watch is not None:
            decides = self._decision_ns() <= now_ns
            self.now = now_ns
            self._seen += self.watch.advance(now_ns)
            decides = decides or (self._wake.on_watch and bool(self._seen))
            self._tell_seen()
            if not decides:
                return
        self.now = now_ns
        for held in (self._signals, self._advice):
            if held.expiry_ns <= now_ns:
                held.mind_expiry(now_ns)
        every = self._every
        if self._next_wake <= now_ns and every:
            self._next_wake += every * ((now_ns - self._next_wake) // every + 1)
            self.counts["wakes"] += 1
        self._mark_to_market()
        self._decide()

    def begin_with(self, position: int, dust: Decimal = Decimal(0)) -> None:
        """Begin with a position, in lots, of which `dust` is not there: less than a lot, gone for fees.

        Nothing is quoted until there is a price to value it at.
        """
        self._opening = (position, dust) if position or dust else None

    def _open(self) -> None:
        """Take over the position that the run begins with, if there is a price."""
        bid, ask = self.best_bid, self.best_ask
        if self._opening is not None and bid is not None and ask is not None:
            (position, dust), price = self._opening, (bid + ask) // 2
            self.portfolio.begin_with(position, price, dust)
            self._opening, self._opened_for = None, self.portfolio.cash
            self.opened(price)

    def pause(self, now_ns: int, *, paused: bool) -> None:
        """Pull every quote until further notice; or end that, which decides nothing yet."""
        self.now = max(self.now, now_ns)
        self.paused = paused
        if paused:
            self.pull()

    def decide(self, now_ns: int) -> None:
        """Decide now, whatever wakes the strategy."""
        self.now = max(self.now, now_ns)
        self._decide()

    def stop(self, now_ns: int) -> None:
        """Pull every quote and never quote again."""
        self.now = max(self.now, now_ns)
        self._stopping = True
        self.pull()

    def stop_asking(self) -> None:
        """Leave the quotes as they are and decide nothing more: the data has ended."""
        self._stopping = self._left_alone = True

    # --- decisions ---

    def _on_message(self) -> None:
        if self._opening is not None:
            self._open()
        best = (self.best_bid, self.best_ask)
        moved, self._best = best != self._best, best
        traded, self._trade_in_message = self._trade_in_message, False
        seen = self._wake.on_watch and bool(self._seen)
        if self._seen:
            self._tell_seen()
        # A risk check that pulled for want of data may let go as soon as there is some.
        if (
            seen
            or (moved and self._wake.on_best)
            or (traded and self._wake.on_trade)
            or self.pulled
        ):
            self._decide()

    def _decide(self) -> None:
        if self.desk is not None:
            self.desk.decide(self.now)
        elif self.ready():
            self.go(wanted_by_market(self.answer(), (MAIN,))[MAIN])

    def ready(self) -> bool:
        """Return whether quotes may be on the book now; if not, they are pulled."""
        self._decided_ns = self.now
        for held in (self._signals, self._advice):
            if held.expiry_ns < self.now:  # passed while nothing was to be on the book
                held.mind_expiry(self.now)
        if self._may_quote:
            self.pulled = self.risk.pull(self)
        if self.quiet:
            self.pull()
            return False
        return True

    @property
    def quiet(self) -> bool:
        """Whether nothing may be on the book."""
        return not self._may_quote or self.pulled is not None

    def go(self, wanted: Quotes | Target) -> None:
        """Send what leads from the working orders to what is wanted, as far as risk allows."""
        if self._orders.lost and isinstance(wanted, Target):
            # What is lost may have traded, and taking again what it took would be once too often.
            self.pull()
            return
        if (
            isinstance(wanted, Quotes | Target)
            and wanted.reduce_only
            and self.instrument.kind is ContractKind.SPOT
        ):
            raise StrategyError(
                f"quote() returned {wanted!r}, which is reduce-only; that is for contracts, and {self.instrument.symbol} "
                "is a spot market; leave reduce_only out"
            )
        touch = (self.book.best_bid, self.book.best_ask)
        for command in self.quoter.towards(wanted, self.orders, self.position, touch, self.now):
            if isinstance(command, AmendOrder):
                self._send(self._judged(command))
                continue
            if isinstance(command, CancelOrder):
                self._send(command)
                continue
            market = command.order_type is OrderType.MARKET
            order = self._at_worst(command) if market else command
            if order is None or self.risk.approve(order, self) is None:
                self.quoter.not_sent()
                continue
            self.counts["orders"] += 1
            self._send(order)

    def _judged(self, amend: AmendOrder) -> AmendOrder | CancelOrder:
        """Return an amend, or if what it would make is not let through, the cancel of what there is."""
        with self._orders.without(amend.order_id) as order:
            new = SubmitOrder(
                ts_local=amend.ts_local,
                order_id=amend.order_id,
                side=order.side,
                price=amend.price,
                quantity=amend.quantity - order.filled,
                reduce_only=order.reduce_only,
            )
            if self.risk.approve(new, self) is not None:
                return amend
        self.quoter.not_sent()
        return CancelOrder(ts_local=amend.ts_local, order_id=amend.order_id)

    def _at_worst(self, order: SubmitOrder) -> SubmitOrder | None:
        """Return a market order with the worst price that it may reasonably trade at; `None` if the book does not tell."""
        ladder = self.book.asks if order.side is Side.BUY else self.book.bids
        needed = MARKET_DEPTH * order.quantity
        price = ladder.reach(needed)
        if price is None:
            held = sum(ladder.levels.values())
            self.risk.refuse(
                "book_depth",
                f"a market order of {order.quantity} lots is judged by the price of {needed} lots of the book, which "
                f"holds {held}",
            )
            return None
        return replace(order, price=price)

    @property
    def _may_quote(self) -> bool:
        return (
            self.halted is None
            and self.venue_down is None
            and not self.paused
            and self._opening is None
            and not self._stopping
            and self.book.known
        )

    def pull(self) -> None:
        """Cancel everything that can be canceled now, unless the quotes are to be left alone."""
        if self._left_alone:
            return
        for command in self.quoter.pull(self.orders, self.now):
            self._send(command)

    def _pull_everywhere(self) -> None:
        if self.desk is not None:
            self.desk.pull(self.now)
        else:
            self.pull()

    def _send(self, command: AnyCommand) -> None:
        if isinstance(command, CancelOrder):
            self.counts["cancels"] += 1
        elif isinstance(command, AmendOrder):
            self.counts["amends"] += 1
        if self.market != MAIN:
            command = replace(command, market=self.market)
        self._orders.sent(command)
        self.commands.append(command)

    def _on_venue(self, event: VenueDown | VenueUp) -> None:
        self.venue_down = event.reason if isinstance(event, VenueDown) else None
        self.strategy_hears(event)
        if self.venue_down is None:
            self._decide()
        else:
            self._pull_everywhere()

    def _on_funding(self, event: FundingPaid) -> None:
        self.portfolio.fund(event.amount)
        self.counts["fundings"] += 1
        self._mark_to_market()
        self.strategy_hears(event)

    def _feed_lost(self, row: Row) -> None:
        reason = GapReason(row[3])
        if self.book.known:
            self.counts["gaps"] += 1
        self._tell(
            FeedLost(
                ts_exchange=row[0],
                ts_local=row[1],
                reason=reason.name.lower(),
                market=self.market,
            )
        )
        self._pull_everywhere()

    def _mark_to_market(self) -> None:
        if self.position and (self.best_bid is None or self.best_ask is None):
            # Valued at cost for want of a mid: an open profit that goes and comes back is no drawdown.
            return
        equity = self.equity
        if equity > self.peak_equity:
            self.peak_equity = equity
        elif self.peak_equity - equity > self.max_drawdown:
            self.max_drawdown = self.peak_equity - equity
        if self.halted is None:
            self.halted = self.risk.halt(self)
            if self.halted:
                self._pull_everywhere()

    def _tell_seen(self) -> None:
        """Tell what the watch has to say."""
        seen, self._seen = self._seen, []
        for event in seen:
            self.watched[type(event).__name__] += 1
            self.notices.append(event)
            if self.listens:
                self.strategy_hears(event)

    def _tell(self, event: FeedLost | FeedRestored) -> None:
        self.notices.append(event)
        self.strategy_hears(event)

    # --- foreign code ---

    def answer(self) -> object:
        """Return what the strategy answers.

        Raises:
            StrategyError: if it raises.
        """
        try:
            return self.strategy.quote(self.view)
        except Exception as error:
            raise self.strategy_failed("quote", error) from error

    def strategy_hears(self, event: AnyEvent) -> None:
        """Tell the strategy what happened."""
        try:
            self.strategy.on_event(event)
        except Exception as error:
            raise self.strategy_failed("on_event", error) from error

    def undeclared_depth(self) -> StrategyError:
        """Return the error of a strategy that looks at the book without having said so."""
        name = type(self.strategy).__name__
        return StrategyError(
            f"{name} looks at view.book, but declares no depth; say how many levels a side it needs, "
            f"such as 'depth = 5' in class {name}, or use view.best_bid and view.best_ask"
        )

    def undeclared_watch(self) -> StrategyError:
        """Return the error of a strategy that looks at the market watch without having said so."""
        name = type(self.strategy).__name__
        return StrategyError(
            f"{name} looks at view.watch, but does not declare it; say 'watches = True' in class {name}"
        )

    def unconfigured_fusion(self) -> StrategyError:
        """Return the error of a strategy that looks at what signal and advice come to, in a run that does not say how."""
        name = type(self.strategy).__name__
        return StrategyError(
            f"{name} looks at view.fused, for which the section 'fusion' was expected in the configuration; found none; "
            "write one, such as fusion: {policy: confidence}"
        )

    def strategy_failed(self, method: str, error: Exception) -> StrategyError:
        """Return the error that says what the user's code raised."""
        name = type(self.strategy).__name__
        return StrategyError(f"{name}.{method} raised {type(error).__name__}: {error}")


def listens(strategy: Strategy) -> bool:
    """Return whether a strategy looks at the market watch, and hears its events."""
    return strategy.watches or strategy.wake.on_watch


class View:
    """What the strategy of an `Engine` is shown (`mmkit.interfaces.MarketView`)."""

    __slots__ = ("_engine", "_levels", "instrument", "markets")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._levels = engine.strategy.depth
        self.instrument = engine.instrument
        self.markets: Mapping[str, MarketView] = ByMarket()

    @property
    def now(self) -> int:
        """The time of the run, ns since the epoch."""
        return self._engine.now

    @property
    def book(self) -> Depth:
        """The best levels of the book, as many a side as the strategy declares.

        Raises:
            StrategyError: if it declares none.
        """
        levels, book = self._levels, self._engine.book
        if not levels:
            raise self._engine.undeclared_depth()
        return Depth(tuple(book.bids.top(levels)), tuple(book.asks.top(levels)))

    @property
    def best_bid(self) -> int | None:
        """In ticks, or `None` if there is no bid."""
        return self._engine.book.best_bid

    @property
    def best_ask(self) -> int | None:
        """In ticks, or `None` if there is no ask."""
        return self._engine.book.best_ask

    @property
    def position(self) -> int:
        """In lots; negative is short."""
        return self._engine.portfolio.position

    @property
    def orders(self) -> Sequence[Order]:
        """Our orders that may still trade, in order of submission."""
        return self._engine.orders

    @property
    def equity(self) -> Decimal:
        """Profit since the start at mid, fees taken off, in the settlement currency."""
        return self._engine.equity

    @property
    def funds(self) -> Mapping[str, Decimal]:
        """What the account can spend now, by asset; empty in a simulation."""
        return self._engine.spendable

    @property
    def signals(self) -> Signals:
        """The signals that are known and have not expired, by name."""
        return self._engine.signals

    @property
    def advice(self) -> AdviceByName:
        """What language models have answered and what has not expired, by name."""
        return self._engine.advice

    @property
    def fused(self) -> Fused:
        """What signal and advice come to now.

        Raises:
            StrategyError: if the run does not say how.
        """
        return self._engine.fused

    @property
    def watch(self) -> Statistics:
        """Statistics of the trades received so far.

        Raises:
            StrategyError: if the strategy does not declare that it looks at them.
        """
        engine = self._engine
        if engine.watch is None or not engine.listens:
            raise engine.undeclared_watch()
        return engine.watch.statistics(engine.now)
