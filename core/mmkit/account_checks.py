"""What holds for every account client: tried with small real orders at a venue of play money, such as the sandbox."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TypeVar

from msgspec.structs import replace

from mmkit.accounts import (
    AccountClient,
    AccountEvent,
    AccountInfo,
    Amendment,
    Balance,
    FillRecord,
    OrderRecord,
    OrderState,
    OrderUpdate,
    Placement,
    Refusal,
    Refused,
    StreamUp,
)
from mmkit.commands import Amends, TimeInForce
from mmkit.events import Side
from mmkit.instruments import ContractKind, Instrument

T = TypeVar("T")

_HEARD_WITHIN_S = 10.0
_LOOK_S = 0.02
_FAR = Decimal("0.02")
"""So far from the market an order rests; nearer than the price bands of venues."""
_THROUGH = Decimal("0.01")
_MUCH = 1_000_000
_SECOND_NS = 1_000_000_000


async def check_account(
    client: AccountClient,
    instrument: Instrument,
    *,
    quantity: Decimal,
    prices: Callable[[], Awaitable[tuple[Decimal, Decimal]]],
) -> None:
    """Assert what holds for every account client; opens it, and does not close it.

    - An order's record is what was placed, to the last digit; it is found by our id, listed, heard, and canceled.
    - Where it can be amended it is the same order afterwards, with another price and quantity.
    - What the venue refuses is `Refused` with the right reason, and nothing is on the book after.
    - What was traded is told by the stream and by `fills`, alike, and adds up to the order's record; position and
      money change by exactly that.

    Args:
        client: Of an account with enough money, no open orders in this market, and nothing else that trades.
        instrument: What is traded.
        quantity: Of each order: above the least notional, small enough to be filled at once.
        prices: Returns best bid and ask as they are now.

    Raises:
        AssertionError: says which of these does not hold.
    """
    check = _Check(client, instrument, quantity, prices)
    info = await client.open()
    assert info.can_trade, "an account that may trade was expected; open() says that it may not"
    listening = asyncio.create_task(check.listen())
    try:
        await check.until("StreamUp", lambda: any(isinstance(one, StreamUp) for one in check.heard))
        await check.rests_and_is_canceled()
        await check.is_amended(info)
        await check.is_refused(info)
        await check.is_traded()
        await check.all_are_canceled()
        told = await client.countdown(60_000)
        assert told == info.countdown, (
            f"countdown() was expected to return {info.countdown}, as open() says; found {told}"
        )
        await client.countdown(0)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


class _Check:
    def __init__(
        self,
        client: AccountClient,
        instrument: Instrument,
        quantity: Decimal,
        prices: Callable[[], Awaitable[tuple[Decimal, Decimal]]],
    ) -> None:
        self._client, self._instrument = client, instrument
        self._quantity, self._prices = quantity, prices
        self._tag, self._count = f"mmck{secrets.token_hex(4)}", 0
        self.heard: list[AccountEvent] = []

    async def listen(self) -> None:
        """Note what the user stream says."""
        async for event in self._client.events():
            self.heard.append(event)

    async def until(self, what: str, true: Callable[[], bool]) -> None:
        """Return once the stream has said something."""
        try:
            async with asyncio.timeout(_HEARD_WITHIN_S):
                while not true():
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            words = f"{what} was expected from events() within {_HEARD_WITHIN_S:.0f} s; heard {self.heard[-5:]}"
            raise AssertionError(words) from None

    # --- what is tried ---

    async def rests_and_is_canceled(self) -> None:
        """Place an order far from the market on each side, look at it in every way, cancel it."""
        client = self._client
        for side in Side:
            order = await self._far(side)
            placed = await client.place(order)
            self._is(placed, order, OrderState.OPEN)
            self._is(await client.order(order.client_id), order, OrderState.OPEN)
            listed = [one for one in await client.open_orders() if one.client_id == order.client_id]
            assert len(listed) == 1, (
                f"open_orders() was expected to list {order.client_id} once; found {listed}"
            )
            self._is(listed[0], order, OrderState.OPEN)
            await self._state_heard(order, OrderState.OPEN)
            await self._refused("an id that was used", order, {Refusal.DUPLICATE})
            canceled = await client.cancel(order.client_id)
            if canceled is not None:
                self._is(canceled, order, OrderState.CANCELED)
            self._is(await client.order(order.client_id), order, OrderState.CANCELED)
            await self._state_heard(order, OrderState.CANCELED)
            assert not any(
                one.client_id == order.client_id for one in await client.open_orders()
            ), f"open_orders() still lists {order.client_id}, which was canceled"
            await self._cancel_is_refused(order.client_id)

    async def is_amended(self, info: AccountInfo) -> None:
        """Amend an order far from the market, as far as the venue says that it can, and see that it is the same one."""
        client, instrument = self._client, self._instrument
        if info.amends is Amends.NOTHING:
            return
        order = await self._far(Side.BUY)
        order = replace(order, quantity=2 * order.quantity)
        placed = await client.place(order)
        price, quantity = order.price or Decimal(0), order.quantity - instrument.lot
        if info.amends is Amends.PRICE_AND_QUANTITY:
            price, quantity = price - instrument.tick, order.quantity + instrument.lot
        wanted = replace(order, price=price, quantity=quantity)
        amendment = Amendment(
            client_id=order.client_id, side=order.side, price=price, quantity=quantity
        )
        answer = await client.amend(amendment)
        for record in (answer, await client.order(order.client_id)):
            if record is not None or record is not answer:
                self._is(record, wanted, OrderState.OPEN)
                assert record is not None
                assert record.venue_id == placed.venue_id, (
                    f"an amended order was expected to be the same, {placed.venue_id}; found {record.venue_id}"
                )
                assert record.ts_ns >= placed.ts_ns, "an amended order is older than it was"
        await self.until(
            f"that {order.client_id} is amended",
            lambda: any(
                isinstance(one, OrderUpdate)
                and one.record.client_id == order.client_id
                and (one.record.price, one.record.quantity) == (price, quantity)
                for one in self.heard
            ),
        )
        await client.cancel(order.client_id)
        gone = replace(amendment, client_id=order.client_id)
        outcome = await _outcome(client.amend(gone))
        assert getattr(outcome, "refusal", None) is Refusal.NO_SUCH_ORDER, (
            f"an amend of what is not there was expected to be refused as no_such_order; found {outcome!r}"
        )

    async def is_refused(self, info: AccountInfo) -> None:
        """Place what the venue has to refuse."""
        client, instrument = self._client, self._instrument
        bid, ask = await self._prices()
        far = await self._far(Side.BUY)
        assert far.price is not None
        await self._cancel_is_refused(self._id())
        unknown = await client.order(self._id())
        assert unknown is None, (
            f"order() of an id never used was expected to be None; found {unknown}"
        )
        off = replace(far, client_id=self._id(), price=far.price + instrument.tick / 2)
        await self._refused("half a tick", off, {Refusal.FILTER})
        much = replace(far, client_id=self._id(), quantity=self._quantity * _MUCH)
        await self._refused("more than there is money for", much, {Refusal.BALANCE, Refusal.FILTER})
        if info.min_notional is not None and instrument.lot * far.price < info.min_notional:
            little = replace(far, client_id=self._id(), quantity=instrument.lot)
            await self._refused("less than the least notional", little, {Refusal.FILTER})
        crossing = replace(far, client_id=self._id(), price=self._on_tick(ask * (1 + _THROUGH)))
        outcome = await _outcome(client.place(crossing))
        if isinstance(outcome, Refused):
            assert outcome.refusal is Refusal.WOULD_TAKE, (
                f"a post-only order through the market was expected to be refused as would_take; found {outcome!r}"
            )
        else:
            # Some venues take it and let it expire at once.
            final = await client.order(crossing.client_id)
            assert final is not None, f"order() was expected to know {crossing.client_id}"
            assert final.state in (
                OrderState.EXPIRED,
                OrderState.CANCELED,
                OrderState.REJECTED,
            ), f"a post-only order through the market was expected to be gone; found {final}"
            assert final.executed == 0, f"a post-only order took: {final}"
        assert bid < ask
        left = [one for one in await client.open_orders() if one.client_id.startswith(self._tag)]
        assert not left, f"nothing was expected on the book after refusals; found {left}"

    async def is_traded(self) -> None:
        """Buy and sell at the market; compare record, stream, fills, position and money."""
        for side, time_in_force, priced in (
            (Side.BUY, TimeInForce.IOC, True),
            (Side.SELL, TimeInForce.IOC, False),
        ):
            order = await self._through(side, time_in_force, priced=priced)
            await self._trade(order)

    async def all_are_canceled(self) -> None:
        """Cancel two orders at once, and then none."""
        client = self._client
        orders = [await self._far(side) for side in Side]
        for order in orders:
            await client.place(order)
        await client.cancel_all()
        left = [one for one in await client.open_orders() if one.client_id.startswith(self._tag)]
        assert not left, f"no open order was expected after cancel_all(); found {left}"
        for order in orders:
            await self._state_heard(order, OrderState.CANCELED)
        await client.cancel_all()

    async def _trade(self, order: Placement) -> None:
        client, instrument = self._client, self._instrument
        before, held = dict(await client.balances()), await client.position()
        record = await client.place(order)
        if record.state is OrderState.OPEN:
            told = await client.order(order.client_id)
            assert told is not None
            record = told
        assert record.executed > 0, (
            f"an order through the market was expected to trade; found {record}"
        )
        fills = [
            one
            for one in await client.fills(record.ts_ns - 60 * _SECOND_NS)
            if one.venue_id == record.venue_id
        ]
        total = sum((one.quantity for one in fills), Decimal(0))
        assert total == record.executed, (
            f"fills() of {record.executed} were expected; found {total}: {fills}"
        )

        def heard() -> list[FillRecord]:
            found = (one.fill for one in self.heard if isinstance(one, OrderUpdate) and one.fill)
            return [one for one in found if one.venue_id == record.venue_id]

        await self.until(
            f"{len(fills)} fills of {order.client_id}", lambda: len(heard()) >= len(fills)
        )
        bare = [replace(one, client_id="", ts_ns=0) for one in fills]
        streamed = [replace(one, client_id="", ts_ns=0) for one in heard()]
        assert sorted(streamed, key=lambda one: one.trade_id) == sorted(
            bare, key=lambda one: one.trade_id
        ), f"the stream's fills were expected to be those of fills(); found {streamed} and {bare}"
        after, now = dict(await client.balances()), await client.position()
        signed = total if order.side is Side.BUY else -total
        if instrument.kind is ContractKind.SPOT:
            assert now is None, f"position() of a spot market was expected to be None; found {now}"
            self._money_moved(before, after, fills, signed)
        else:
            assert now is not None
            assert held is not None
            assert now == held + signed, f"a position of {held + signed} was expected; found {now}"
            if held == 0:
                self._money_moved(before, after, fills, None)

    def _money_moved(
        self,
        before: dict[str, Balance],
        after: dict[str, Balance],
        fills: Sequence[FillRecord],
        signed: Decimal | None,
    ) -> None:
        """Compare the change of every asset with what the fills say; `signed` is the base that was traded on spot."""
        moved: dict[str, Decimal] = {}
        for fill in fills:
            if fill.fee_asset:
                moved[fill.fee_asset] = moved.get(fill.fee_asset, Decimal(0)) - fill.fee
        if signed is not None:
            value = sum((one.price * one.quantity for one in fills), Decimal(0))
            base, quote = self._instrument.base, self._instrument.quote
            moved[base] = moved.get(base, Decimal(0)) + signed
            moved[quote] = moved.get(quote, Decimal(0)) + (-value if signed > 0 else value)
        nothing = Balance(free=Decimal(0), locked=Decimal(0))
        for asset in before.keys() | after.keys() | moved.keys():
            first, last = before.get(asset, nothing), after.get(asset, nothing)
            change = (last.free + last.locked) - (first.free + first.locked)
            assert change == moved.get(asset, Decimal(0)), (
                f"{asset} was expected to change by {moved.get(asset, Decimal(0))}, as the fills say; found {change}"
            )

    # --- parts ---

    def _id(self) -> str:
        self._count += 1
        return f"{self._tag}-{self._count}"

    def _on_tick(self, price: Decimal, *, up: bool = False) -> Decimal:
        rounding = ROUND_CEILING if up else ROUND_FLOOR
        tick = self._instrument.tick
        return (price / tick).to_integral_value(rounding) * tick

    async def _far(self, side: Side) -> Placement:
        bid, ask = await self._prices()
        price = bid * (1 - _FAR) if side is Side.BUY else ask * (1 + _FAR)
        return Placement(
            client_id=self._id(),
            side=side,
            price=self._on_tick(price, up=side is Side.SELL),
            quantity=self._quantity,
        )

    async def _through(self, side: Side, time_in_force: TimeInForce, *, priced: bool) -> Placement:
        bid, ask = await self._prices()
        price = ask * (1 + _THROUGH) if side is Side.BUY else bid * (1 - _THROUGH)
        return Placement(
            client_id=self._id(),
            side=side,
            price=self._on_tick(price) if priced else None,
            quantity=self._quantity,
            time_in_force=time_in_force,
        )

    async def _state_heard(self, order: Placement, state: OrderState) -> None:
        def true() -> bool:
            return any(
                isinstance(one, OrderUpdate)
                and one.record.client_id == order.client_id
                and one.record.state is state
                for one in self.heard
            )

        await self.until(f"that {order.client_id} is {state}", true)

    async def _cancel_is_refused(self, client_id: str) -> None:
        outcome = await _outcome(self._client.cancel(client_id))
        assert getattr(outcome, "refusal", None) is Refusal.NO_SUCH_ORDER, (
            f"a cancel of what is not there was expected to be refused as no_such_order; found {outcome!r}"
        )

    async def _refused(self, what: str, order: Placement, expected: set[Refusal]) -> None:
        names = " or ".join(sorted(expected))
        outcome = await _outcome(self._client.place(order))
        assert getattr(outcome, "refusal", None) in expected, (
            f"{what} was expected to be refused as {names}; found {outcome!r}"
        )

    @staticmethod
    def _is(record: OrderRecord | None, order: Placement, state: OrderState) -> None:
        assert record is not None, f"a record of {order.client_id} was expected; found none"
        found = (record.client_id, record.side, record.price, record.quantity, record.state)
        expected = (order.client_id, order.side, order.price, order.quantity, state)
        assert found == expected, f"a record of {expected} was expected; found {found}"
        assert record.venue_id, f"the venue's number of {order.client_id} was expected; found none"
        assert record.ts_ns > 0, f"the time of {order.client_id} was expected; found {record.ts_ns}"


async def _outcome(request: Awaitable[T]) -> T | Refused:
    try:
        return await request
    except Refused as refused:
        return refused
