"""Chaos: a trader at the sandbox in virtual time, while everything that can go wrong goes wrong, from one seed.

The exchange, its accounts and its faults are the sandbox's, the order handling, reconciliation, engine and session those
of a live run; only sockets, disks and processes are made believe. What is looked at in the end is kept by different
hands: what the journal of orders has come to, and what the exchange has booked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import NamedTuple

from mmkit.errors import MmkitError
from mmkit.events import Side
from mmkit.instruments import ContractKind, Instrument
from mmkit.live.handler import OrderHandler
from mmkit.live.venue import LiveVenue
from mmkit.tape import LAST, SELL, Kind, Row
from mmkit.virtual_time import START_NS, LoopClock, run
from mmkit_sandbox import chaoschecks
from mmkit_sandbox.chaosothers import Others
from mmkit_sandbox.chaostrader import Kept, Trader
from mmkit_sandbox.chaosvenue import ChaosVenue
from mmkit_sandbox.listing import COINM, SPOT, USDM, Listing
from mmkit_sandbox.schedule import UNITS, Schedule, schedule

_S = 1_000_000_000
BACK_WITHIN_S = 30.0
"""After the last fault there have to be quotes again within so long."""
_NEXT_LOOK_S = 20.0
"""Looks that do not agree are 5 s apart."""
_TICK_S = 0.5
_RESTING_TICK_S = 10.0
"""While the market rests there is nothing to see."""
_LONG_S = 40
"""A market rests while an order is hidden for longer."""
_ALLOWED_S = 8
"""Likewise while nothing may be asked for."""
_GONE_AFTER_S = 5
"""It rests after so long once the run is being stopped: what is traded by then is traded."""
_SYMBOLS = {SPOT: "BTC/USDT", USDM: "BTC/USDT:USDT", COINM: "BTC/USD:BTC"}
_KINDS = {SPOT: ContractKind.SPOT, USDM: ContractKind.LINEAR, COINM: ContractKind.INVERSE}
_BANNED_ON_S = 300
SEEN_WITHIN_S = 75.0
"""After so long at the latest a run has stopped quoting because of what others have traded: it hears of it at once unless the
user stream loses that; the account is looked at every 60 s all the same, and two looks, 5 s apart, have to differ."""


class Outcome(NamedTuple):
    """What became of a schedule.

    Attributes:
        seed: Of it.
        violations: What was not as it has to be, in words.
        faults: What went wrong, by kind.
        crashes: How often the process died.
        market: Where it traded: ``spot``, ``usdm`` or ``coinm``.
        orders: How many were sent.
        fills: How many there were.
        back_ns: How long after the last fault there were quotes.
        virtual_ns: How long it all took, in virtual time.
        trace: What happened, a line each, if something was violated or it was asked for.
    """

    seed: int
    violations: list[str]
    faults: Counter[str]
    crashes: int
    market: str
    orders: int
    fills: int
    back_ns: int
    virtual_ns: int
    trace: list[str]


class Chaos:
    """One schedule.

    Args:
        seed: Decides everything.
        handler: Handles the orders; another one than mmkit's to see that it is caught.
        plan: What goes wrong; that of the seed unless given.
        venue: Stands between run and account; another one than mmkit's to see that it is caught.
    """

    def __init__(
        self,
        seed: int,
        handler: type[OrderHandler] = OrderHandler,
        plan: Schedule | None = None,
        venue: type[LiveVenue] = LiveVenue,
    ) -> None:
        self.seed, self._handler, self._live_venue = seed, handler, venue
        self.plan = schedule(seed) if plan is None else plan
        self._random = Random(f"chaos {seed}")  # noqa: S311  # not for secrets
        self.clock = LoopClock()
        self._happened: list[tuple[int, str, object]] = []
        listing = Listing.of(_SYMBOLS[self.plan.market])
        self.instrument = instrument_of(listing)
        self.venue = ChaosVenue(
            listing,
            seed,
            self.clock,
            self.plan.planned(),
            self._trace,
            self.plan.allowed,
            self.plan.funded_ms,
        )
        self.others = Others(self.venue, seed)
        self.started_ns = 0
        """When the process that goes on was started."""
        self.began_ns = 0
        """When the run that goes on had found out what there was, and began to quote."""
        self.ended_ns = 0
        """When the run that had begun last was asked to end."""
        self.kept = Kept()
        self.trader: Trader | None = None
        self.lives = 0
        self.crashes = 0
        self.violations: list[str] = []
        self.back_ns = 0
        self._crash_at = list(self.plan.crash_at)
        self._tick_s = _TICK_S
        self._ended = self._is_calm = False

    def _trace(self, what: str, of: object) -> None:
        self._happened.append((self.clock.now_ns(), what, of))

    @property
    def trace(self) -> list[str]:
        """What has happened, a line each, with the time since the start in ns."""
        return [f"{at - START_NS} {what} {of}" for at, what, of in self._happened]

    async def run(self) -> None:
        """Trade, have things go wrong, have them stop going wrong, stop, and look at what there is."""
        loop = asyncio.get_running_loop()
        tasks = [
            loop.create_task(self._tick()),
            loop.create_task(self._live()),
            loop.create_task(self._others()),
        ]
        await asyncio.sleep(self.plan.lasts_ns / _S)
        self._calm()
        while (left_ns := self.venue.last_fault_ns - self.clock.now_ns()) > 0:
            await self._pass(left_ns)
        await self._see_quotes()
        await asyncio.sleep(2)
        await self._see_others()
        self._ended = True
        if self.trader is not None and self.trader.session is not None:
            self.ended_ns = self.clock.now_ns()
            loop.call_later(_GONE_AFTER_S, self._rest)
            await self.trader.stop()
            await self._see_books(self.trader)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        self.violations += [*self.venue.wrong, *chaoschecks.wrong(self)]
        if self.trader is not None:
            await self.trader.close()

    def _calm(self) -> None:
        self._trace("calm", "")
        self._is_calm = True
        self.venue.calm()
        self._crash_at.clear()
        if self.trader is not None:
            self.trader.crash_at = None

    def _rest(self) -> None:
        self.venue.rest_until(self.clock.now_ns() + 100 * _S)

    async def _pass(self, left_ns: int) -> None:
        """Let time pass, with nothing traded if it is long."""
        long_s = _LONG_S if self.venue.allowed_ns < self.venue.last_fault_ns else _ALLOWED_S
        if left_ns > long_s * _S:
            until = self.venue.last_fault_ns - long_s * _S // 4
            self._trace("rests", until)
            self.venue.rest_until(until)
            self._tick_s = _RESTING_TICK_S
            await asyncio.sleep((until - self.clock.now_ns()) / _S)
            self._tick_s = _TICK_S
        else:
            await asyncio.sleep(left_ns / _S)

    async def _see_quotes(self) -> None:
        began = self.venue.last_fault_ns
        while not self._quoting():
            await asyncio.sleep(0.25)
            # Processes that are started again and again while the address is banned, and know nothing of it, are banned on.
            allowed_ns = min(self.venue.banned_until_ns, began + _BANNED_ON_S * _S)
            if self.clock.now_ns() > max(began, allowed_ns) + BACK_WITHIN_S * _S:
                if self.others.traded_ns:
                    # What others trade is not ours: whoever has to look at it first does not quote.
                    return
                why = "the run has not started"
                if self.trader is not None and self.trader.session is not None:
                    why = self.trader.venue.down or "nothing is quoted"
                self.violations.append(
                    f"no quotes within {BACK_WITHIN_S:.0f} s of the last fault: {why}"
                )
                # What else there is to see is seen all the same.
                if self.trader is None or self.trader.session is None:
                    await asyncio.sleep(90)
                break
        self.back_ns = max(0, self.clock.now_ns() - began)

    async def _see_others(self) -> None:
        """See that nothing is quoted once others have moved what we count."""
        now = self.clock.now_ns()
        if not self.others.traded_ns:
            return
        # Nothing can be seen while nothing may be asked.
        since_ns = max(self.others.traded_ns, self.venue.last_fault_ns)
        seen_ns = since_ns + round(SEEN_WITHIN_S * _S)
        self.venue.rest_until(seen_ns)
        await asyncio.sleep(max(0.0, (seen_ns - now) / _S))
        now, traded_ns = self.clock.now_ns(), self.others.traded_ns
        if self.trader is None or self.trader.session is None:
            return
        if self.others.traded(self.started_ns, self.began_ns):
            return  # whether the run has counted from before that or after depends on when it looked
        net = self.others.net_lots(self.began_ns, now)
        if net and traded_ns < now - SEEN_WITHIN_S * _S and not self.trader.venue.books.differs:
            self.violations.append(
                f"others have moved the account by {net} lots, and it is not said to differ"
            )
        if self.trader.venue.books.differs and self._quoting():
            self.violations.append("the account differs, and there are quotes")

    async def _others(self) -> None:
        """Have others do what they do, until nothing goes wrong any more."""
        for doing in self.plan.others:
            await asyncio.sleep(max(0.0, (START_NS + doing.at_ns - self.clock.now_ns()) / _S))
            self.venue.advance()
            self.others.do(doing)

    async def _see_books(self, trader: Trader) -> None:
        """Wait for the look at the account after the one that has found what nobody had told of, if one has."""
        began = self.clock.now_ns()
        while trader.venue.books.differs and self.clock.now_ns() < began + _NEXT_LOOK_S * _S:
            await asyncio.sleep(0.25)

    def _quoting(self) -> bool:
        trader = self.trader
        return (
            trader is not None
            and trader.quoting
            and any(
                one.client_id.startswith(f"{trader.tag}-")
                # One that has come and gone was a quote, too.
                and (one.open or one.created_ns > self.venue.last_fault_ns)
                for one in self.venue.account.all_orders()
            )
        )

    # --- what goes on by itself ---

    async def _tick(self) -> None:
        """Advance the exchange, and tell what its book is."""
        while True:
            self.venue.advance()
            if self.trader is not None:
                self.trader.feed(self._rows())
                if self.trader.failure is not None and not self._ended:
                    self._ended = True
                    error = self.trader.failure
                    self.violations.append(f"the run failed: {type(error).__name__}: {error}")
            await asyncio.sleep(self._tick_s)

    def _rows(self) -> list[Row]:
        now = self.clock.now_ns()
        book = self.venue.accounts.exchange.market(self.venue.listing).book
        rows: list[Row] = [(now, now, int(Kind.SNAPSHOT), 0, 0)]
        for side, mark in ((Side.BUY, 0), (Side.SELL, int(SELL))):
            for count, (price, total) in enumerate(book.levels(side)):
                if count == 2:
                    break
                rows.append((now, now, int(Kind.LEVEL) | mark, price, total))
        ts_exchange, ts_local, kind, price, total = rows[-1]
        rows[-1] = (ts_exchange, ts_local, kind | int(LAST), price, total)
        return rows

    async def _live(self) -> None:
        """Start the process, and start it again whenever it is gone."""
        while not self._ended:
            self.lives += 1
            self.started_ns = self.clock.now_ns()
            trader = self.trader = Trader(
                self.instrument,
                self.venue,
                self.kept,
                f"mm{self.lives}",
                self.clock,
                self._handler,
                self._crash_at.pop(0) if self._crash_at else None,
                self.plan.size * UNITS[self.plan.market],
                self.plan.levels,
                self._trace,
                self._live_venue,
                amends=self.plan.amends,
                # Once all is calm there have to be quotes.
                takes=lambda: self.plan.takes and not self._is_calm,
            )
            died = asyncio.ensure_future(trader.died.wait())
            start = asyncio.ensure_future(trader.start())
            await asyncio.wait({died, start}, return_when=asyncio.FIRST_COMPLETED)
            if not trader.died.is_set() and (error := start.exception()) is not None:
                if not isinstance(error, MmkitError):
                    raise error
                self._trace("not started", error)
                await trader.close()
                died.cancel()
                await asyncio.sleep(1)
                continue
            self.began_ns = self.clock.now_ns()
            await died
            self.crashes += 1
            self.venue.note("crash", f"after {trader.crash_at} steps")
            start.cancel()
            await asyncio.wait({start})
            with contextlib.suppress(asyncio.CancelledError):
                start.exception()
            await trader.close()
            self.trader = None
            await asyncio.sleep(self._random.uniform(0.1, 5))
            self.venue.last_fault_ns = max(self.venue.last_fault_ns, self.clock.now_ns())


def instrument_of(listing: Listing) -> Instrument:
    """Return a listing as mmkit knows it."""
    kind = _KINDS[listing.market]
    return Instrument(
        venue="binance",
        market=listing.market,
        symbol=f"{listing.base}/{listing.quote}"
        + ("" if kind is ContractKind.SPOT else f":{listing.settle}"),
        native=listing.symbol,
        base=listing.base,
        quote=listing.quote,
        kind=kind,
        contract_size=Decimal(listing.contract_size or 1),
        tick=listing.tick,
        lot=listing.lot,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Have nothing said of what is expected to go wrong: it is in the trace."""
    loggers = [logging.getLogger(name) for name in ("mmkit.live", "asyncio")]
    before = [one.disabled for one in loggers]
    for one in loggers:
        one.disabled = True
    try:
        yield
    finally:
        for one, was in zip(loggers, before, strict=True):
            one.disabled = was


def lived(
    seed: int,
    handler: type[OrderHandler] = OrderHandler,
    plan: Schedule | None = None,
    *,
    venue: type[LiveVenue] = LiveVenue,
    traced: bool = False,
) -> Outcome:
    """Run one schedule; the same arguments give the same outcome, trace and all.

    Args:
        seed: Decides everything.
        handler: Handles the orders.
        plan: What goes wrong; that of the seed unless given.
        venue: Stands between run and account.
        traced: Whether the trace is told though nothing was violated.
    """
    chaos: list[Chaos] = []

    async def whole() -> int:
        chaos.append(Chaos(seed, handler, plan, venue))
        await chaos[0].run()
        return chaos[0].clock.now_ns()

    with _quiet():
        end = run(whole())
    (one,) = chaos
    return Outcome(
        seed,
        one.violations,
        one.venue.happened,
        one.crashes,
        one.plan.market,
        sum(one.venue.sent.values()),
        len(one.kept.fills()),
        one.back_ns,
        end - START_NS,
        one.trace if one.violations or traced else [],
    )
