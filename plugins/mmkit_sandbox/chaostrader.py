"""The process of a trader in virtual time: it may die at any step, and what it has written down outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from mmkit.accounts import FundingRecord
from mmkit.alarm import Alarm
from mmkit.clock import Clock
from mmkit.commands import AnyCommand, OrderType
from mmkit.engine import Engine
from mmkit.events import AnyEvent
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import (
    NO_QUOTES,
    Context,
    MarketView,
    Quotes,
    Strategy,
    StrategyConfig,
    Target,
)
from mmkit.live.anchor import Anchor
from mmkit.live.handler import OrderHandler
from mmkit.live.known import KnownFill, KnownOrder
from mmkit.live.ledger import Sums
from mmkit.live.memory import MemoryStore
from mmkit.live.store import Found, Money
from mmkit.live.venue import LiveVenue
from mmkit.recorder import Recorder
from mmkit.risk import RiskGate
from mmkit.run.session import Session
from mmkit.tape import Row
from mmkit_sandbox.chaosaccount import ChaosAccount
from mmkit_sandbox.chaosvenue import ChaosVenue

_TURN_NS = 1_000_000_000
_TAKES_EVERY = 5
_BEHIND = (0, 0, 5, 0, 0, 0, 15)
"""How many ticks behind the best price, second by second."""

Trace = Callable[[str, object], None]


class Died(Exception):  # noqa: N818 - says what has happened
    """The process is gone; whatever would come after this never happens."""


class Kept(MemoryStore):
    """A journal that can be looked at when all is over: `orders` holds every one as it was last written."""

    def __init__(self) -> None:
        super().__init__()
        self.orders: dict[str, KnownOrder] = {}

    def write(self, orders: Iterable[KnownOrder], fills: Iterable[KnownFill]) -> None:
        """Keep orders and fills."""
        orders = list(orders)
        self.orders |= {one.client_id: one for one in orders}
        super().write(orders, fills)

    def fundings(self) -> Sequence[FundingRecord]:
        """Return every payment of funding, in order of time."""
        return self.money().fundings


class _Mortal:
    """A journal in the hands of a process that may die before and after each time that it writes."""

    def __init__(self, kept: Kept, step: Callable[[], None]) -> None:
        self._kept, self._step = kept, step

    def found(self) -> Found:
        return self._kept.found()

    def money(self) -> Money:
        return self._kept.money()

    def begin(self, tag: str, start_ns: int) -> None:
        self._kept.begin(tag, start_ns)

    def write(self, orders: Iterable[KnownOrder], fills: Iterable[KnownFill]) -> None:
        self._step()
        self._kept.write(orders, fills)
        self._step()

    def write_fundings(self, fundings: Iterable[FundingRecord]) -> None:
        self._step()
        self._kept.write_fundings(fundings)
        self._step()

    def keep_sums(self, sums: Sums) -> None:
        self._step()
        self._kept.keep_sums(sums)

    def anchor(self) -> Anchor | None:
        return self._kept.anchor()

    def keep(self, anchor: Anchor) -> None:
        self._step()
        self._kept.keep(anchor)

    def room(self) -> int:
        return self._kept.room()

    def close(self) -> None:
        return


class ChaosQuoter(Strategy):
    """Joins the best prices or stands a little behind them, in turns, so that orders come and go all the time."""

    size = 100
    levels = 1
    amends = False

    def takes(self) -> bool:
        """Return whether the position is closed now and then."""
        return False

    def quote(self, view: MarketView) -> Quotes | Target:
        """Quote both sides, but not the one that would add beyond eight times the size."""
        spot = view.instrument.kind is ContractKind.SPOT
        if self.takes() and view.now // _TURN_NS % _TAKES_EVERY == 0:
            return Target(0, order_type=OrderType.MARKET, reduce_only=not spot)
        bid, ask = view.best_bid, view.best_ask
        if bid is None or ask is None or bid >= ask:
            return NO_QUOTES
        most = 8 * self.size
        turn = view.now // _TURN_NS
        bid -= _BEHIND[turn % len(_BEHIND)]
        ask += _BEHIND[(turn + 3) % len(_BEHIND)]
        # On spot an order can only be amended to less.
        size = self.size - (turn % 3) * (self.size // 4) if self.amends else self.size
        steps = [(10 * step, size) for step in range(self.levels)]
        return Quotes(
            bids=[(bid - away, size) for away, size in steps] if view.position < most else [],
            asks=[(ask + away, size) for away, size in steps] if view.position > -most else [],
        )


class _Telling(Recorder):
    """Tells the trace of every command and event."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def note(self, entry: AnyCommand | AnyEvent) -> None:
        self._trace("engine", entry)


class Trader:
    """One life of the process: account, order handling, engine and strategy, as a live run has them.

    Args:
        instrument: What is traded.
        venue: Where.
        kept: The journal of orders, which outlives the process.
        tag: Of this life.
        clock: The virtual time.
        handler: Handles the orders.
        crash_at: At which step it dies; `None` for not at all.
        size: Of each quote, in lots.
        levels: On each side.
        trace: Is told what happens.
        live_venue: Stands between run and account.
        amends: Whether orders are amended, where the venue can.
        takes: Whether the position is closed now and then.
    """

    def __init__(
        self,
        instrument: Instrument,
        venue: ChaosVenue,
        kept: Kept,
        tag: str,
        clock: Clock,
        handler: type[OrderHandler],
        crash_at: int | None,
        size: int,
        levels: int,
        trace: Trace,
        live_venue: type[LiveVenue] = LiveVenue,
        *,
        amends: bool = False,
        takes: Callable[[], bool] = lambda: False,
    ) -> None:
        self._amends, self._takes = amends, takes
        self.tag = tag
        self.crash_at = crash_at
        self.died = asyncio.Event()
        self.failure: Exception | None = None
        """What has gone wrong in the run itself."""
        self._instrument, self._clock, self._trace = instrument, clock, trace
        self._size, self._levels = size, levels
        self._steps = 0
        self._alarm = Alarm(self._clock, self._on_alarm)
        self.account = ChaosAccount(venue)
        self.account.leaves = self._step
        self.venue = live_venue(
            instrument, self.account, _Mortal(kept, self._step), clock, tag, handler
        )
        self.session: Session | None = None

    def _step(self) -> None:
        """Live on, or die.

        Raises:
            Died: then, and whenever something is tried afterwards.
        """
        self._steps += 1
        if self._steps == self.crash_at:
            self.account.dead = True
            self.died.set()
        if self.account.dead:
            raise Died

    async def start(self) -> None:
        """Find out what earlier lives left, and then quote."""
        info = await self.venue.start()
        now = self._clock.now_ns()
        # By time, too: what it wants changes, and what was held back may be sent, in a market that stands still as well.
        config = StrategyConfig.model_validate({"every": "5s", "on": ("best", "fill")})
        strategy = ChaosQuoter(config, Context(self._instrument))
        strategy.size, strategy.levels = self._size, self._levels
        strategy.amends = self._amends
        strategy.takes = self._takes  # type: ignore[method-assign]
        engine = Engine(self._instrument, strategy, RiskGate(), now)
        if info.orders_per_10s is not None:
            engine.quoter.orders_per_10s = info.orders_per_10s
        if self._amends:
            engine.quoter.amends = self.venue.amends
        engine.begin_with(*self.venue.books.ledger.held)
        self.session = Session(engine, self.venue, _Telling(self._trace))
        self.venue.ready = self.schedule
        self.schedule()

    def feed(self, rows: list[Row]) -> None:
        """Hand on one message of market data."""
        if self.session is not None and not self.account.dead:
            session = self.session
            self._guarded(lambda: session.receive(rows))
            self.schedule()

    def schedule(self) -> None:
        """See to it that the session is advanced when something is next due."""
        if self.session is None or self.account.dead:
            return
        self._alarm.set(self.session.next_ns())

    def _on_alarm(self) -> None:
        self.advance()
        self.schedule()

    def advance(self) -> None:
        """Let happen in the session what is due."""
        if self.session is not None and not self.account.dead:
            session = self.session
            self._guarded(lambda: session.advance(self._clock.now_ns()))

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - it is what chaos looks for: told with the violations
            self.failure = self.failure or error

    @property
    def quoting(self) -> bool:
        """Whether it may quote as far as it knows."""
        return self.session is not None and self.venue.down is None and not self.account.dead

    async def stop(self) -> None:
        """End as a live run does: pull every quote, and wait until every order is gone."""
        session = self.session
        assert session is not None  # it has been waited for
        now = self._clock.now_ns()
        self._guarded(lambda: session.advance(now))
        self._guarded(lambda: session.stop(now))
        self.schedule()
        await self.venue.stop(60)
        self.advance()

    async def close(self) -> None:
        """Have nothing left of the process."""
        self._alarm.cancel()
        self.session = None if self.account.dead else self.session
        await self.venue.close()
