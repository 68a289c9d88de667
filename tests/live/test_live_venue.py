"""The venue of real orders between a run and an account, in virtual time."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from small_account import SmallAccount, too_fast
from small_venue import SPOT, START, S, SmallVenue

from mmkit.accounts import FateUnknown, OrderState, Placement, Refusal, Refused
from mmkit.commands import CancelOrder, SubmitOrder, TimeInForce
from mmkit.errors import RunError, VenueError
from mmkit.events import FundingPaid, OrderFilled, Side, VenueDown, VenueEvent, VenueUp
from mmkit.instruments import Instrument
from mmkit.live import venue
from mmkit.live.handler import OVERLAP_NS
from mmkit.live.known import KnownFill, KnownOrder
from mmkit.live.memory import MemoryStore
from mmkit.live.store import LEAST_ROOM, totals
from mmkit.live.venue import COUNTDOWN_MS, LiveVenue
from mmkit.orders import Orders
from mmkit.testing import BTCUSDT
from mmkit.virtual_time import LoopClock, run

PRICE = 650_000


class Desk:
    """A run of which only the venue and the engine's orders are there."""

    def __init__(
        self, store: Any = None, tag: str = "mm1", instrument: Instrument = SPOT, **line: Any
    ) -> None:
        self.clock = LoopClock()
        self.instrument = instrument
        self.market = SmallVenue(instrument)
        self.store = MemoryStore() if store is None else store
        self.account = SmallAccount(self.market, self.clock, **line)
        self.begin(tag)

    def begin(self, tag: str) -> None:
        self.venue = LiveVenue(self.instrument, self.account, self.store, self.clock, tag)
        self.venue.ready = self.hear
        self.orders = Orders()
        self.heard: list[VenueEvent] = []
        self.count = 0

    def hear(self) -> None:
        for event in self.venue.take(self.clock.now_ns()):
            self.heard.append(event)
            if not isinstance(event, VenueDown | VenueUp | FundingPaid):
                self.orders.apply(event)  # type: ignore[arg-type]

    def submit(self, price: int = PRICE, quantity: int = 5, side: Side = Side.BUY) -> str:
        self.count += 1
        command = SubmitOrder(
            ts_local=0,
            order_id=self.count,
            side=side,
            price=price,
            quantity=quantity,
            time_in_force=TimeInForce.POST_ONLY,
        )
        self.orders.sent(command)
        self.venue.send(command)
        return self.venue.handler.client_id(self.count)

    def cancel(self, order_id: int) -> None:
        command = CancelOrder(ts_local=0, order_id=order_id)
        self.orders.sent(command)
        self.venue.send(command)

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.heard]

    def open(self) -> list[str]:
        return [one.client_id for one in self.market.open()]


def at_the_desk(work: Callable[[Desk], Coroutine[Any, Any, None]], **line: Any) -> Desk:
    """Begin, work, stop and close."""

    async def whole() -> Desk:
        desk = Desk(**line)
        try:
            await desk.venue.start()
            desk.hear()
            await work(desk)
            await desk.venue.stop(60)
            desk.hear()
        finally:
            await desk.venue.close()
        return desk

    return run(whole())


class Counting(MemoryStore):
    """Counts what is written, and cannot be written to once it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[list[str]] = []
        self.full = False
        self.left = 2 * LEAST_ROOM

    def room(self) -> int:
        return self.left

    def write(self, orders: Iterable[KnownOrder], fills: Iterable[KnownFill]) -> None:
        if self.full:
            raise RunError("the disk is full")
        orders = list(orders)
        if orders:
            self.writes.append([one.client_id for one in orders])
        super().write(orders, fills)


def test_an_order_leaves_once_it_is_written_and_those_of_one_turn_are_written_together() -> None:
    store = Counting()

    async def work(desk: Desk) -> None:
        place = desk.account.place

        async def written_first(placement: Placement) -> Any:
            assert placement.client_id in [one.client_id for one in store.found().orders]
            return await place(placement)

        desk.account.place = written_first  # type: ignore[method-assign]
        ids = [desk.submit(), desk.submit()]
        assert not store.writes
        await asyncio.sleep(1)
        assert store.writes[0] == ids
        assert desk.open() == ids

    desk = at_the_desk(work, store=store)
    assert not desk.open()
    assert not desk.orders.active


def test_a_run_begins_down_and_is_up_once_the_account_is_known() -> None:
    async def work(desk: Desk) -> None:
        assert desk.kinds()[0] == "VenueDown"
        assert desk.kinds()[-1] == "VenueUp"
        assert desk.venue.down is None

    at_the_desk(work)


def test_while_the_user_stream_is_down_no_order_leaves_and_cancels_do() -> None:
    async def work(desk: Desk) -> None:
        desk.submit()
        await asyncio.sleep(1)
        desk.account.drop(for_s=20)
        await asyncio.sleep(0.1)
        assert isinstance(desk.heard[-1], VenueDown)
        desk.submit()
        desk.cancel(1)
        await asyncio.sleep(5)
        assert desk.kinds().count("OrderRejected") == 1
        assert desk.market.placed == ["mm1-1"]
        assert not desk.open()
        await asyncio.sleep(20)
        assert isinstance(desk.heard[-1], VenueUp)
        desk.submit()
        await asyncio.sleep(1)
        assert desk.open() == ["mm1-3"]

    at_the_desk(work)


def test_what_traded_while_the_user_stream_was_down_is_known_before_the_venue_is_up() -> None:
    async def work(desk: Desk) -> None:
        first = desk.submit()
        await asyncio.sleep(1)
        desk.account.drop(for_s=3)
        await asyncio.sleep(1)
        desk.market.fill(first, 5, desk.clock.now_ns())
        await asyncio.sleep(20)
        kinds = desk.kinds()
        assert kinds.count("OrderFilled") == 1
        assert kinds.index("OrderFilled") < len(kinds) - 1 - kinds[::-1].index("VenueUp")

    at_the_desk(work)


def test_a_journal_that_cannot_be_written_stops_orders_before_they_leave_and_cancels_leave() -> (
    None
):
    store = Counting()

    async def work(desk: Desk) -> None:
        desk.submit()
        await asyncio.sleep(1)
        store.full = True
        desk.submit()
        desk.cancel(1)
        await asyncio.sleep(2)
        assert desk.market.placed == ["mm1-1"]
        assert not desk.open()
        down = desk.heard[-1] if isinstance(desk.heard[-1], VenueDown) else None
        assert "the disk is full" in (desk.venue.down or "")
        assert any("the disk is full" in getattr(one, "reason", "") for one in desk.heard), down
        assert not desk.orders.active

    at_the_desk(work, store=store)


def test_what_is_flushed_is_written_at_once_and_leaves_once() -> None:
    store = Counting()

    async def work(desk: Desk) -> None:
        desk.submit()
        desk.submit()
        assert store.writes == []
        assert desk.venue.flush()
        assert store.writes == [["mm1-1", "mm1-2"]], "one commit, before the turn is over"
        assert not desk.venue.flush(), "nothing is left to be sent"
        await asyncio.sleep(1)
        assert desk.market.placed == ["mm1-1", "mm1-2"]

    at_the_desk(work, store=store)


def test_quoting_stops_while_there_is_still_room_to_write_and_goes_on_when_there_is_more() -> None:
    store = Counting()

    async def work(desk: Desk) -> None:
        desk.submit()
        await asyncio.sleep(1)
        store.left = LEAST_ROOM - 1
        desk.submit()
        await asyncio.sleep(1)
        assert desk.market.placed == ["mm1-1"]
        assert "63 MiB" in (desk.venue.down or "")
        desk.cancel(1)
        await asyncio.sleep(1)
        assert not desk.open()
        assert not store.found().orders
        store.left = LEAST_ROOM
        await asyncio.sleep(60)
        assert desk.venue.down is None

    at_the_desk(work, store=store)


def test_an_order_that_is_refused_for_its_rate_holds_orders_and_no_cancels() -> None:
    async def work(desk: Desk) -> None:
        desk.submit()
        await asyncio.sleep(1)

        def refuse(what: str) -> None:
            if what == "place":
                raise too_fast(8)

        desk.account.at_the_venue = refuse
        desk.submit()
        await asyncio.sleep(1)
        assert isinstance(desk.heard[-1], VenueDown)
        desk.account.at_the_venue = lambda what: None
        desk.cancel(1)
        desk.submit()
        await asyncio.sleep(1)
        assert desk.open() == []
        await asyncio.sleep(8)
        assert isinstance(desk.heard[-1], VenueUp)
        desk.submit()
        await asyncio.sleep(1)
        assert desk.open() == ["mm1-4"]

    at_the_desk(work)


def test_after_too_many_requests_there_is_silence_and_then_cancels_come_first() -> None:
    async def work(desk: Desk) -> None:
        first, second = desk.submit(), desk.submit()
        await asyncio.sleep(1)

        def refuse(what: str) -> None:
            raise too_fast(30)

        desk.account.at_the_venue = refuse
        desk.cancel(1)
        await asyncio.sleep(1)
        quiet_from = len(desk.account.arrived)
        desk.account.at_the_venue = lambda what: None
        desk.account.drop(for_s=5)
        await asyncio.sleep(1)
        desk.cancel(2)
        await asyncio.sleep(25)
        assert desk.open() == [first, second]
        assert len(desk.account.arrived) == quiet_from
        arrivals = desk.account.arrived
        spawned: list[str] = []
        spawn = desk.venue._spawn

        def noted(work: Any, name: str) -> Any:
            spawned.append(name)
            return spawn(work, name)

        desk.venue._spawn = noted  # type: ignore[method-assign]
        await asyncio.sleep(10)
        assert spawned[0] == "Cancel"
        assert set(spawned[: spawned.index("AskOpen")]) >= {"Cancel"}
        assert not desk.open()
        assert len(arrivals) > quiet_from

    at_the_desk(work)


def test_no_more_orders_leave_within_ten_seconds_than_the_venue_allows() -> None:
    async def work(desk: Desk) -> None:
        for _ in range(600):
            for order in desk.orders.active:
                if not order.in_flight:
                    desk.cancel(order.order_id)
            if desk.venue.down is None:
                desk.submit()
            await asyncio.sleep(0.1)

    async def begin() -> None:
        desk = Desk()
        desk.account.info = replace(desk.account.info, orders_per_10s=20)
        await desk.venue.start()
        desk.hear()
        sent: list[int] = []
        place = desk.account.place

        async def noted(placement: Placement) -> Any:
            sent.append(desk.clock.now_ns())
            return await place(placement)

        desk.account.place = noted  # type: ignore[method-assign]
        await work(desk)
        most = max(sum(one <= other < one + 10**10 for other in sent) for one in sent)
        assert most == 20
        assert len(sent) >= 50
        assert desk.kinds().count("VenueDown") < 20
        await desk.venue.stop(60)
        await desk.venue.close()

    run(begin())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"can_trade": False}, "a key that may trade was expected"),
        ({"hedge_mode": True}, "found hedge mode"),
    ],
)
def test_an_account_that_cannot_be_traded_is_refused_at_the_start(
    change: dict[str, Any], words: str
) -> None:
    async def work() -> None:
        desk = Desk()
        desk.account.info = replace(desk.account.info, **change)
        with pytest.raises(VenueError, match=words):
            await desk.venue.start()
        await desk.venue.close()
        assert not desk.account.arrived

    run(work())


def test_a_new_journal_asks_for_no_trades_of_long_before_it() -> None:
    async def work() -> None:
        desk = Desk()
        asked: list[int] = []
        fills = desk.account.fills

        async def noted(since_ns: int) -> Any:
            asked.append(since_ns)
            return await fills(since_ns)

        desk.account.fills = noted  # type: ignore[method-assign]
        await desk.venue.start()
        await desk.venue.close()
        assert asked
        assert min(asked) >= START - OVERLAP_NS

    run(work())


@pytest.mark.parametrize("ahead_s", [-90, 90])
def test_fills_are_asked_for_further_back_by_as_much_as_the_clocks_are_apart(ahead_s: int) -> None:
    async def work() -> None:
        desk = Desk()
        asked: list[int] = []
        fills = desk.account.fills

        async def noted(since_ns: int) -> Any:
            asked.append(since_ns)
            return await fills(since_ns)

        desk.account.fills = noted  # type: ignore[method-assign]
        desk.account.ahead_ns = ahead_s * 10**9
        await desk.venue.start()
        await desk.venue.close()
        assert asked
        assert set(asked) == {START - OVERLAP_NS - 90 * 10**9}

    run(work())


def test_a_key_that_loses_its_right_while_it_trades_ends_the_run_in_words() -> None:
    async def work() -> None:
        desk = Desk()
        await desk.venue.start()

        def refuse(what: str) -> None:
            raise Refused(Refusal.PERMISSION, "Invalid API-key, IP, or permissions.", -2015)

        desk.account.at_the_venue = refuse
        desk.venue.ready = lambda: None
        desk.submit()
        await asyncio.sleep(1)
        assert desk.venue.next_ns() == 0
        with pytest.raises(VenueError, match=r"Invalid API-key.*look at the rights of the key"):
            desk.venue.take(desk.clock.now_ns())
        await desk.venue.close()

    run(work())


def test_a_key_that_the_venue_refuses_ends_the_start_at_once() -> None:
    async def work() -> None:
        desk = Desk()

        def refuse(what: str) -> None:
            raise Refused(Refusal.KEY, "Invalid API-key, IP, or permissions for action.", -2015)

        desk.account.at_the_venue = refuse
        began = desk.clock.now_ns()
        with pytest.raises(VenueError, match="Invalid API-key"):
            await desk.venue.start()
        assert desk.clock.now_ns() - began < 10**9
        await desk.venue.close()

    run(work())


def test_a_right_to_withdraw_and_the_want_of_a_countdown_are_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        desk = Desk()
        desk.account.info = replace(desk.account.info, can_withdraw=True)
        await desk.venue.start()
        await desk.venue.close()

    with caplog.at_level(logging.WARNING):
        run(work())
    assert "key_may_withdraw" in caplog.text
    assert "no_countdown" in caplog.text


def test_what_an_earlier_run_left_is_canceled_and_counted_before_the_venue_is_up() -> None:
    async def work() -> None:
        desk = Desk()
        await desk.venue.start()
        desk.hear()
        rests, trades = desk.submit(), desk.submit(side=Side.SELL)
        await asyncio.sleep(1)
        await desk.venue.close()
        desk.market.fill(trades, 2, desk.clock.now_ns())
        desk.begin("mm2")
        await desk.venue.start()
        assert not desk.open()
        assert desk.market.orders[rests].state is OrderState.CANCELED
        assert totals(desk.store.fills())[0] == -2
        desk.hear()
        assert desk.kinds()[-1] == "VenueUp"
        assert "OrderFilled" not in desk.kinds()
        await desk.venue.stop(5)
        await desk.venue.close()

    run(work())


def test_an_order_of_somebody_else_is_said_and_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(desk: Desk) -> None:
        await asyncio.sleep(60)
        desk.submit()
        await asyncio.sleep(1)

    async def begin() -> None:
        desk = Desk()
        desk.market.place(
            Placement(
                client_id="web_1", side=Side.BUY, price=Decimal(60_000), quantity=Decimal("0.1")
            ),
            0,
        )
        await desk.venue.start()
        await work(desk)
        assert not await desk.venue.stop(60)
        assert desk.open() == ["web_1"]
        await desk.venue.close()

    with caplog.at_level(logging.WARNING):
        run(begin())
    assert caplog.text.count("web_1") == 1


def test_what_cannot_be_canceled_in_time_is_returned_and_the_countdown_goes_on() -> None:
    async def work() -> None:
        desk = Desk()
        desk.account.info = replace(desk.account.info, countdown=True)
        await desk.venue.start()
        first = desk.submit()
        await asyncio.sleep(COUNTDOWN_MS / 1000)
        assert desk.account.countdowns == [COUNTDOWN_MS] * 5

        def cut(what: str) -> None:
            raise FateUnknown("connection lost")

        desk.account.at_the_venue = cut
        assert [one.client_id for one in await desk.venue.stop(5)] == [first]
        desk.account.at_the_venue = lambda what: None
        said = len(desk.account.countdowns)
        await asyncio.sleep(COUNTDOWN_MS / 1000)
        assert desk.account.countdowns[said:] == [COUNTDOWN_MS] * 4
        assert not await desk.venue.stop(60)
        assert desk.account.countdowns[-1] == 0
        assert not desk.open()
        await desk.venue.close()

    run(work())


async def trades_on(desk: Desk, seconds: float) -> None:
    """Sell as much again and again, each order for less than half a second, as one that has never arrived would have."""

    def cut(what: str) -> None:
        desk.account.at_the_venue = lambda what: None
        raise FateUnknown("connection lost")

    desk.account.at_the_venue = cut
    desk.submit(side=Side.SELL)
    end = desk.clock.now_ns() + round(seconds * 1e9)
    while desk.clock.now_ns() < end:
        await asyncio.sleep(0.4)
        desk.hear()
        for order in desk.orders.active:
            if not order.in_flight and order.order_id != 1:
                desk.cancel(order.order_id)
        if desk.venue.down is None:
            desk.submit(side=Side.SELL)


def test_an_order_that_may_be_lost_among_others_like_it_is_looked_for_with_nothing_else_on_the_book() -> (
    None
):
    async def work(desk: Desk) -> None:
        await trades_on(desk, 90)
        downs = [one for one in desk.heard if isinstance(one, VenueDown)]
        (quiet,) = [one for one in downs if "with no other of ours on the book" in one.reason]
        # 20 s in which it might arrive, and 30 s of looks that others could explain.
        assert 50 <= (quiet.ts_local - START) / 1e9 < 65
        (up,) = [
            one for one in desk.heard if isinstance(one, VenueUp) and one.ts_local > quiet.ts_local
        ]
        assert (up.ts_local - quiet.ts_local) / 1e9 < 10
        assert not desk.orders.lost
        assert not desk.venue.unknown
        assert desk.open()

    at_the_desk(work)


def test_a_lost_order_is_over_within_ten_seconds_of_the_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(venue, "_CONFUSED_NS", 3600 * S)

    async def work() -> None:
        desk = Desk()
        await desk.venue.start()
        desk.hear()
        await trades_on(desk, 90)
        (lost,) = desk.venue.unknown
        assert lost.client_id == desk.venue.handler.client_id(1)
        assert await desk.venue.stop(10) == []
        await desk.venue.close()

    run(work())


def test_after_the_stop_no_order_leaves() -> None:
    async def work() -> None:
        desk = Desk()
        await desk.venue.start()
        desk.hear()
        desk.submit()
        # In the same turn, so that the order has not left either.
        assert not await desk.venue.stop(5)
        desk.submit()
        await asyncio.sleep(1)
        assert not desk.market.placed
        assert desk.kinds().count("OrderRejected") == 2
        await desk.venue.close()

    run(work())


def test_a_client_that_fails_in_its_own_way_leaves_a_fate_unknown_and_its_words_untold(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(desk: Desk) -> None:
        place = desk.account.place

        async def fails(placement: Placement) -> Any:
            await place(placement)
            raise ValueError("GET /order?signature=SECRET")

        desk.account.place = fails  # type: ignore[method-assign]
        first = desk.submit()
        await asyncio.sleep(5)
        assert desk.open() == [first]
        assert desk.kinds()[-1] == "OrderAccepted"

    with caplog.at_level(logging.DEBUG):
        at_the_desk(work)
    assert "ValueError" in caplog.text
    assert "SECRET" not in caplog.text


def test_an_answer_that_does_not_come_is_waited_for_ten_seconds_and_then_asked_for() -> None:
    async def work(desk: Desk) -> None:
        place = desk.account.place

        async def never(placement: Placement) -> Any:
            await place(placement)
            await asyncio.sleep(3600)

        desk.account.place = never  # type: ignore[method-assign]
        desk.account.trouble = 0.0
        desk.account.is_up = False
        first = desk.submit()
        await asyncio.sleep(9)
        assert desk.orders.active[0].submitting
        await asyncio.sleep(5)
        assert desk.open() == [first]
        assert not desk.orders.active[0].submitting

    at_the_desk(work)


def test_a_user_stream_that_ends_or_fails_takes_the_venue_down() -> None:
    async def work(desk: Desk) -> None:
        desk.account.end()
        await asyncio.sleep(0.1)
        assert isinstance(desk.heard[-1], VenueDown)
        desk.submit()
        await asyncio.sleep(1)
        assert not desk.market.placed

    at_the_desk(work)


def test_an_answer_off_the_grid_ends_the_run_and_orders_can_still_be_canceled() -> None:
    async def work() -> None:
        desk = Desk()
        await desk.venue.start()
        desk.hear()
        desk.submit()
        await asyncio.sleep(1)
        desk.venue.ready = lambda: None
        record = replace(desk.market.orders["mm1-1"], executed=Decimal("0.00005"))
        desk.market._keep(record)
        await asyncio.sleep(1)
        assert desk.venue.next_ns() == 0
        with pytest.raises(Exception, match="not a multiple of the lot"):
            desk.venue.take(desk.clock.now_ns())
        desk.market.orders["mm1-1"] = replace(record, executed=Decimal(0))
        assert not await desk.venue.stop(30)
        assert not desk.open()
        await desk.venue.close()

    run(work())


@pytest.mark.parametrize("seed", range(12))
def test_runs_that_die_on_a_line_that_loses_requests_and_answers_end_with_what_the_venue_has(
    seed: int,
) -> None:
    """Six of them die on the way, and others go on."""

    async def whole() -> Desk:
        desk = Desk(seed=seed, trouble=0.1, instrument=BTCUSDT if seed % 2 else SPOT)
        luck = desk.account.random
        await desk.venue.start()
        desk.hear()
        for step in range(120):
            active = [one for one in desk.orders.active if not one.in_flight]
            if active and luck.random() < 0.5:
                desk.cancel(luck.choice(active).order_id)
            elif desk.venue.down is None and len(active) < 6:
                desk.submit(
                    PRICE + luck.randrange(-50, 50),
                    luck.randrange(1, 20),
                    luck.choice([Side.BUY, Side.SELL]),
                )
            for one in desk.market.open():
                if luck.random() < 0.1:
                    desk.market.fill(one.client_id, luck.randrange(1, 30), desk.clock.now_ns())
            if luck.random() < 0.02:
                desk.account.drop(luck.uniform(0, 10))
            if seed >= 6 and luck.random() < 0.02:
                await desk.venue.close()
                desk.begin(f"mm{step + 2}")
                await desk.venue.start()
                desk.hear()
            await asyncio.sleep(0.5)
        desk.account.trouble = 0.0
        assert not await desk.venue.stop(60)
        desk.hear()
        await desk.venue.close()
        return desk

    desk = run(whole())
    assert not desk.open()
    assert len(set(desk.market.placed)) == len(desk.market.placed)
    ours = {one.trade_id: one.quantity for one in desk.store.fills()}
    assert ours == {one.trade_id: SPOT.lots(one.quantity) for one in desk.market.fills}
    assert len(ours) > 5
    assert not desk.orders.active
    assert not desk.orders.lost
    told = sum(one.quantity for one in desk.heard if isinstance(one, OrderFilled))
    assert told == sum(ours.values()) or seed >= 6
