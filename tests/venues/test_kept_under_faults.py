"""Orders sent through each account client to a sandbox where much goes wrong are all accounted for, to the last digit.

Takes a minute and a half, most of it waiting for proof of what became of lost orders: ``MMKIT_LONG=1 pytest`` runs it.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest
from scripted_venue import LINEAR, SPOT
from test_accounts_at_the_sandbox import PLUGINS, trading

from mmkit.clock import SystemClock
from mmkit.commands import AnyCommand, CancelOrder, SubmitOrder, TimeInForce
from mmkit.events import Side, VenueDown, VenueUp
from mmkit.instruments import Instrument
from mmkit.live.memory import MemoryStore
from mmkit.live.venue import LiveVenue
from mmkit.orders import Orders
from mmkit_sandbox.accountconfig import DEMO_KEY

QUOTING_S, STOPPING_S = 4.0, 30.0
FAULTS = (
    "0.6s timeout",
    "1s lost_answer",
    "1.4s lost_request",
    "1.6s busy 300ms",
    "2s close_1006 user",
    "2.6s duplicate 1s user",
    "2.8s clock",
    "3s drop 500ms user",
)
pytestmark = pytest.mark.skipif(
    not os.environ.get("MMKIT_LONG"), reason="long: MMKIT_LONG=1 runs it"
)


class Quoter:
    """Sends orders and cancels at random, whatever happens, and keeps what it is told of them."""

    def __init__(self, instrument: Instrument, venue: LiveVenue, clock: SystemClock) -> None:
        self._instrument, self._venue, self._clock = instrument, venue, clock
        self._dice = random.Random(7)
        self.orders, self.submitted, self._up = Orders(), 0, True

    def take(self) -> None:
        for event in self._venue.take(self._clock.now_ns()):
            if isinstance(event, VenueUp | VenueDown):
                self._up = isinstance(event, VenueUp)
            else:
                self.orders.apply(event)  # type: ignore[arg-type]

    def cancel(self, order_id: int) -> None:
        self._send(CancelOrder(ts_local=self._clock.now_ns(), order_id=order_id))

    async def quote(self, best: Callable[[], Awaitable[int]]) -> None:
        dice = self._dice
        end_ns = self._clock.now_ns() + int(QUOTING_S * 1e9)
        while self._clock.now_ns() < end_ns:
            self.take()
            idle = [one for one in self.orders.active if not one.in_flight]
            if idle and (not self._up or dice.random() < 0.5):
                self.cancel(dice.choice(idle).order_id)
            elif self._up and len(self.orders.active) < 6:
                bid, side, takes = await best(), dice.choice(list(Side)), dice.random() < 0.3
                away = -30 if takes else dice.randrange(5)
                self.submitted += 1
                order = SubmitOrder(
                    ts_local=self._clock.now_ns(),
                    order_id=self.submitted,
                    side=side,
                    price=bid - away if side is Side.BUY else bid + 1 + away,
                    quantity=int(Decimal("0.002") / self._instrument.lot),
                    time_in_force=TimeInForce.IOC if takes else TimeInForce.POST_ONLY,
                )
                self._send(order)
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        end_ns = self._clock.now_ns() + int(STOPPING_S * 1e9)
        while self.orders.active and self._clock.now_ns() < end_ns:
            self.take()
            for one in self.orders.active:
                if not one.in_flight:
                    self.cancel(one.order_id)
            await asyncio.sleep(0.05)

    def _send(self, command: AnyCommand) -> None:
        self.orders.sent(command)
        self._venue.send(command)


@pytest.mark.parametrize("instrument", [SPOT, LINEAR], ids=["spot", "usdm"])
@pytest.mark.parametrize("plugin", PLUGINS.names("account"))
def test_every_order_and_every_trade_is_accounted_for(plugin: str, instrument: Instrument) -> None:
    async def main() -> None:
        clock, store = SystemClock(), MemoryStore()
        async with trading(instrument, faults={"at": FAULTS}) as market:
            venue = LiveVenue(market.instrument, market.client(plugin), store, clock, "mmf1")

            async def best() -> int:
                return market.instrument.ticks((await market.prices())[0])

            try:
                await venue.start()
                quoter = Quoter(market.instrument, venue, clock)
                await quoter.quote(best)
                await quoter.stop()
                left = await venue.stop(STOPPING_S)
            finally:
                await venue.close()
            account = market.sandbox.accounts.by_key[DEMO_KEY]
            fills = store.fills()
            assert not left
            assert quoter.submitted > 5
            assert fills
            assert sorted((one.trade_id, one.fee) for one in fills) == sorted(
                (str(one.trade.trade_id), one.trade.fee) for one in account.trades
            )
            listing = account.trades[0].order.listing
            assert not list(account.open_orders(listing))
            assert set(Counter(one.client_id for one in account.orders(listing)).values()) == {1}

    asyncio.run(main())
