"""The venue's books beside ours: what differs is said, and what is proven is so."""

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from small_venue import SPOT, S
from test_live_venue import Desk, at_the_desk
from test_order_handler import lived, wrong

from mmkit.accounts import (
    Balance,
    FundingRecord,
    OrderRecord,
    OrderState,
    Placement,
    PositionUpdate,
    Refusal,
    Refused,
)
from mmkit.commands import SubmitOrder
from mmkit.events import Side, VenueDown, VenueUp
from mmkit.instruments import ContractKind, Instrument
from mmkit.live.handler import LOST_AFTER_NS, VALID_NS, OrderHandler
from mmkit.live.known import KnownFill, KnownOrder
from mmkit.live.ledger import Ledger
from mmkit.live.reconcile import APART_NS, EVERY_NS, SETTLE_NS, Books, Reconciler
from mmkit.live.requests import Place
from mmkit.testing import BTCUSDT
from mmkit.virtual_time import run

INVERSE = replace(
    BTCUSDT,
    market="coinm",
    symbol="BTC/USD:BTC",
    quote="USD",
    kind=ContractKind.INVERSE,
    contract_size=Decimal(100),
)

# --- the ledger ---


fills = st.lists(
    st.builds(
        KnownFill,
        trade_id=st.just("1"),
        client_id=st.just("mm1-1"),
        side=st.sampled_from(Side),
        price=st.integers(1, 10**7),
        quantity=st.integers(1, 10**6),
        fee=st.decimals(-1, 1, places=8),
        fee_asset=st.sampled_from(["BTC", "USDT", "BNB"]),
        maker=st.booleans(),
        ts_ns=st.just(0),
    )
)


@given(fills)
def test_what_fills_come_to_is_what_a_venue_would_book(done: list[KnownFill]) -> None:
    ledger = Ledger(SPOT, done)
    # In whole units of the smallest step there is, by integers alone.
    unit = 10**8
    btc = usdt = bnb = 0
    for one in done:
        sign = 1 if one.side is Side.BUY else -1
        btc += sign * one.quantity * unit // 1000
        usdt -= sign * one.quantity * one.price * unit // 10_000
        fee = int(one.fee * unit)
        btc -= fee if one.fee_asset == "BTC" else 0
        usdt -= fee if one.fee_asset == "USDT" else 0
        bnb -= fee if one.fee_asset == "BNB" else 0
    came = {asset: ledger.moved.get(asset, Decimal(0)) * unit for asset in ("BTC", "USDT", "BNB")}
    assert came == {"BTC": btc, "USDT": usdt, "BNB": bnb}
    assert ledger.position == sum(one.side.sign * one.quantity for one in done)


@given(fills, st.sampled_from([BTCUSDT, INVERSE]))
def test_the_wallet_of_a_contract_that_is_closed_again_has_what_came_in_for_what_went_out(
    done: list[KnownFill], instrument: Instrument
) -> None:
    done = [replace(one, fee_asset="") for one in done]
    rest = sum(one.side.sign * one.quantity for one in done)
    if rest:
        side = Side.SELL if rest > 0 else Side.BUY
        done.append(
            KnownFill(
                trade_id="2",
                client_id="mm1-2",
                side=side,
                price=10**6,
                quantity=abs(rest),
                fee=Decimal(0),
                fee_asset="",
                maker=True,
                ts_ns=0,
            )
        )
    profit = Fraction(0)
    for one in done:
        price, quantity = Fraction(one.price, 10), Fraction(one.quantity, 1000)
        worth = -quantity * 100 / price if instrument is INVERSE else quantity * price
        profit -= one.side.sign * worth
    ledger = Ledger(instrument, done)
    assert ledger.position == 0
    assert abs(Fraction(ledger.moved.get(instrument.settle, Decimal(0))) - profit) < Fraction(
        1, 10**40
    )


# --- differences ---


def test_money_that_goes_stops_quoting_after_two_looks_and_says_what_and_how_much() -> None:
    async def work(desk: Desk) -> None:
        desk.submit()
        await asyncio.sleep(2)
        desk.market.money["USDT"] -= Decimal("12.5")
        await asyncio.sleep(EVERY_NS / 1e9)
        assert desk.venue.down is None, "one look is no proof"
        await asyncio.sleep(APART_NS / 1e9 + 3)
        assert "USDT is 4999987.5 at the venue and 5000000 by our fills" in (desk.venue.down or "")
        assert any(isinstance(one, VenueDown) and "12.5" in one.reason for one in desk.heard)
        desk.submit()
        await asyncio.sleep(1)
        assert desk.market.placed == ["mm1-1"]
        # And quotes come back with it.
        desk.market.money["USDT"] += Decimal("12.5")
        await asyncio.sleep(10)
        assert isinstance(desk.heard[-1], VenueUp)

    at_the_desk(work)


def test_what_is_heard_while_a_look_is_under_way_is_looked_at_after_it() -> None:
    handler = OrderHandler(BTCUSDT, "mm1", 0)
    books = Reconciler(BTCUSDT, handler, Ledger(BTCUSDT, []), None, 0)

    def look(now_ns: int, position: int) -> None:
        assert books.wants_look(now_ns)
        books.looked(Books({}, Decimal(position), ()), now_ns)

    look(0, 0)
    handler.wake(0)
    handler.open_told([], 0)
    books.judge(SETTLE_NS)
    assert books.known
    look(EVERY_NS, 0)
    # Somebody trades just after the position was read, and the user stream says so.
    books.heard(PositionUpdate(quantity=Decimal(3), ts_ns=EVERY_NS), EVERY_NS + SETTLE_NS // 2)
    books.judge(EVERY_NS + SETTLE_NS)

    assert books.next_ns() <= EVERY_NS + 2 * SETTLE_NS


def test_a_fill_that_nobody_tells_of_is_found_by_the_money_that_moved() -> None:
    async def work(desk: Desk) -> None:
        first = desk.submit()
        await asyncio.sleep(2)
        desk.market.tell = lambda update: None
        hidden = desk.market.fills
        desk.market.fill(first, 2, desk.clock.now_ns())
        desk.market.fills = []
        await asyncio.sleep(90)
        assert "BTC is 50.0019998 at the venue and 50 by our fills" in (desk.venue.down or "")
        desk.market.fills = hidden
        await asyncio.sleep(20)
        assert desk.kinds().count("OrderFilled") == 1
        assert desk.venue.down is None

    at_the_desk(work)


def test_a_trade_of_an_order_that_was_over_is_found_by_the_money_that_moved() -> None:
    async def work(desk: Desk) -> None:
        first, _ = desk.submit(), desk.submit()
        await asyncio.sleep(1)
        desk.cancel(1)
        await asyncio.sleep(1)
        assert desk.open() == ["mm1-2"]
        record, desk.market.tell = desk.market.orders[first], lambda update: None
        desk.market.orders[first] = replace(record, state=OrderState.OPEN)
        desk.market.fill(first, 2, desk.clock.now_ns())
        desk.market.orders[first] = record
        await asyncio.sleep(70)
        assert "order mm1-1 has traded 2 lots, and was over with less" in (desk.venue.down or "")
        assert desk.venue.books.last == ""

    at_the_desk(work)


def test_a_position_of_before_is_counted_from_and_another_one_stops_quoting() -> None:
    async def work(desk: Desk) -> None:
        await asyncio.sleep(2)
        assert desk.venue.books.anchor is not None
        assert desk.venue.books.anchor.position == 3
        desk.market.before = Decimal(4)
        await asyncio.sleep(90)
        assert "the position is 4 at the venue and 3 by our fills" in (desk.venue.down or "")

    async def whole() -> None:
        desk = Desk(instrument=BTCUSDT)
        desk.market.before = Decimal(3)
        await desk.venue.start()
        desk.hear()
        await work(desk)
        await desk.venue.stop(5)
        await desk.venue.close()

    run(whole())


@pytest.mark.parametrize("seed", range(3))
def test_trading_all_the_time_is_no_difference(seed: int) -> None:
    async def work(desk: Desk) -> None:
        luck = Random(seed)
        for _ in range(500):
            for one in desk.market.open():
                if luck.random() < 0.2:
                    desk.market.fill(one.client_id, luck.randrange(1, 30), desk.clock.now_ns())
            while len(desk.orders.active) < 6:
                desk.submit(side=luck.choice([Side.BUY, Side.SELL]), quantity=luck.randrange(1, 20))
            await asyncio.sleep(0.2)

    desk = at_the_desk(work, seed=seed)
    downs = [one.reason for one in desk.heard if isinstance(one, VenueDown)]
    assert not [one for one in downs if "differs" in one]
    assert len(desk.market.fills) > 150


def test_what_came_or_went_between_runs_is_said_and_counted_from(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        desk = Desk()
        await desk.venue.start()
        await desk.venue.close()
        desk.market.money["BTC"] += 1
        desk.begin("mm2")
        await desk.venue.start()
        assert desk.venue.down is None
        await asyncio.sleep(100)
        assert desk.venue.down is None
        await desk.venue.close()

    run(work())
    assert "BTC is 51 at the venue and 50 by our fills" in caplog.text


# --- orders that came to nothing ---


class BelievesWhatIsNotFound(Reconciler):
    """What the venue does not list was never there."""

    def _difference(self, books: Books, state: object, *, exact: bool) -> list[str]:
        return []

    def _locks(self, books: Books, state: object) -> bool:
        return True

    def _may_be_there(self, books: Books, lost: KnownOrder) -> bool:
        return False

    def _wallet(self, balances: object, state: object) -> bool:
        return True


class ForgetsWhatIsLocked(Reconciler):
    """What was not traded was never there."""

    def _locks(self, books: Books, state: object) -> bool:
        return True

    def _may_be_there(self, books: Books, lost: KnownOrder) -> bool:
        return False


class ForgetsWhatWasTraded(Reconciler):
    """What locks nothing was never there."""

    def _difference(self, books: Books, state: object, *, exact: bool) -> list[str]:
        return []

    def _wallet(self, balances: object, state: object) -> bool:
        return True


class ForgetsTheWallet(Reconciler):
    """What leaves the position as it is was never there."""

    def _wallet(self, balances: object, state: object) -> bool:
        return True


class DoesNotWaitUntilItCannotArrive(Reconciler):
    """What is not there yet never will be."""

    def _lost(self) -> list[KnownOrder]:
        return [replace(one, intended_ns=0) for one in super()._lost()]

    def _came_to_nothing(self, books: Books, began_ns: int) -> dict[str, str]:
        self._handler.denied_ns = lambda client_id: 0  # type: ignore[method-assign]
        return super()._came_to_nothing(books, began_ns)


class CountsNothing(Reconciler):
    """Fills are not counted."""

    def changed(self, fills: Iterable[KnownFill], fundings: Iterable[FundingRecord] = ()) -> None:
        super().changed((), fundings)


WRONG = (
    (BelievesWhatIsNotFound, SPOT),
    (ForgetsWhatWasTraded, SPOT),
    (ForgetsWhatWasTraded, BTCUSDT),
    (CountsNothing, SPOT),
    (CountsNothing, BTCUSDT),
)


@pytest.mark.parametrize(("books", "instrument"), WRONG)
def test_books_that_are_kept_wrongly_are_caught(
    books: type[Reconciler], instrument: Instrument
) -> None:
    for seed in range(60):
        if wrong(
            lived(
                seed,
                trouble=0.5,
                hide_ns=3600 * S,
                books=books,
                instrument=instrument,
                crashes=0.002 * (seed % 2),
            )
        ):
            return
    pytest.fail("60 schedules found nothing wrong")


def test_an_order_that_rests_on_the_book_and_that_the_venue_denies_is_not_believed_to_be_nothing() -> (
    None
):
    def denied(books: type[Reconciler]) -> Desk:
        async def work(desk: Desk) -> None:
            desk.venue.books.__class__ = books
            first = desk.submit()
            desk.market.hidden[first] = desk.clock.now_ns() + 3600 * S
            tell, desk.market.tell = desk.market.tell, lambda update: None
            desk.account.trouble = 1.0
            await asyncio.sleep(0.1)
            desk.market.place(
                Placement(
                    client_id=first, side=Side.BUY, price=Decimal(65_000), quantity=Decimal("0.005")
                ),
                desk.clock.now_ns(),
            )
            await asyncio.sleep(2)
            desk.account.trouble, desk.market.tell = 0.0, tell
            await asyncio.sleep(600)

        return at_the_desk(work)

    assert "OrderRejected" in denied(ForgetsWhatIsLocked).kinds()
    desk = denied(Reconciler)
    assert "OrderLost" in desk.kinds()
    assert "OrderRejected" not in desk.kinds()
    assert [one.client_id for one in desk.venue.unknown] == ["mm1-1"]
    assert desk.orders.exposure() == (5, 0)


def test_two_orders_that_nobody_knows_of_and_that_traded_either_way_are_not_believed_to_be_nothing() -> (
    None
):
    def both_traded(books: type[Reconciler]) -> Desk:
        async def work(desk: Desk) -> None:
            desk.venue.books.__class__ = books
            ids = [desk.submit(), desk.submit(side=Side.SELL)]
            desk.market.tell = lambda update: None
            desk.account.trouble = 1.0
            await asyncio.sleep(0.1)
            now = desk.clock.now_ns()
            for client_id, side, price in zip(ids, Side, (65_000, 65_001), strict=True):
                desk.market.hidden[client_id] = now + 3600 * S
                desk.market.place(
                    Placement(
                        client_id=client_id,
                        side=side,
                        price=Decimal(price),
                        quantity=Decimal("0.005"),
                    ),
                    now,
                )
                desk.market.fill(client_id, 5, now)
            desk.market.fills, desk.market.before = [], Decimal(0)
            await asyncio.sleep(2)
            desk.account.trouble = 0.0
            await asyncio.sleep(600)

        return at_the_desk(work, instrument=BTCUSDT)

    assert "OrderRejected" in both_traded(ForgetsTheWallet).kinds()
    desk = both_traded(Reconciler)
    assert "OrderRejected" not in desk.kinds()
    assert desk.orders.exposure() == (5, 5)


def test_an_order_that_arrives_late_is_not_believed_to_have_come_to_nothing() -> None:
    def late(books: type[Reconciler]) -> list[str]:
        async def work(desk: Desk) -> None:
            desk.venue.books.__class__ = books
            placed: list[Placement] = []

            async def held(placement: Placement) -> object:
                placed.append(placement)
                await asyncio.sleep(3600)
                raise AssertionError

            desk.account.place = held  # type: ignore[assignment,method-assign]
            desk.submit()
            await asyncio.sleep(19)
            desk.market.place(placed[0], desk.clock.now_ns())
            await asyncio.sleep(30)

        return [one for one in at_the_desk(work).kinds() if one == "OrderRejected"]

    assert not late(Reconciler)
    assert late(DoesNotWaitUntilItCannotArrive)


def test_an_order_that_never_arrived_is_over_within_half_a_minute() -> None:
    async def work(desk: Desk) -> None:
        desk.account.trouble = 1.0
        began = desk.clock.now_ns()
        desk.submit()
        await asyncio.sleep(1)
        desk.account.trouble = 0.0
        while desk.orders.active or desk.orders.lost:
            await asyncio.sleep(0.1)
            assert desk.clock.now_ns() - began < 30 * S
        assert not desk.market.placed
        assert "OrderLost" in desk.kinds()

    at_the_desk(work)


def test_a_run_that_died_with_an_order_on_its_way_quotes_again_within_half_a_minute() -> None:
    async def work() -> None:
        desk = Desk()
        await desk.venue.start()
        desk.hear()
        desk.account.trouble = 1.0
        desk.submit()
        await asyncio.sleep(0)
        await desk.venue.close()
        desk.account.trouble = 0.0
        desk.begin("mm2")
        began = desk.clock.now_ns()
        await desk.venue.start()
        assert desk.clock.now_ns() - began < 30 * S
        assert not desk.venue.handler.orders
        await desk.venue.close()

    run(work())


def test_what_others_lock_is_counted_only_from_a_look_in_which_their_orders_stayed() -> None:
    handler = OrderHandler(SPOT, "mm1", 0)
    books = Reconciler(SPOT, handler, Ledger(SPOT, []), None, 0)

    def look(now_ns: int, locked: str, *, steady: bool) -> None:
        assert books.wants_look(now_ns)
        assert books.counts_locks
        there = {"USDT": Balance(free=Decimal(90), locked=Decimal(locked))}
        books.looked(Books(there, None, (), steady), now_ns)
        books.judge(now_ns + SETTLE_NS)

    handler.wake(0)
    handler.open_told([], 0)
    # An order of somebody else's was canceled after the balances had been read.
    look(0, "10", steady=False)
    assert not books.known
    handler.fills_told([], SETTLE_NS)  # asked for, as it was not as it should be
    look(SETTLE_NS, "0", steady=True)
    assert books.known
    assert books.anchor is not None
    assert books.anchor.locked["USDT"] == 0


def test_a_lost_order_is_not_proven_gone_while_another_of_ours_may_lock_what_it_would() -> None:
    handler = OrderHandler(SPOT, "mm1", 0)
    books = Reconciler(SPOT, handler, Ledger(SPOT, []), None, 0)
    handler.wake(0)
    handler.open_told([], 0)
    assert books.wants_look(0)
    free = Balance(free=Decimal(1000), locked=Decimal(0))
    books.looked(Books({"USDT": free, "BTC": free}, None, (), steady=True), 0)
    books.judge(SETTLE_NS)
    assert books.known

    def submit(order_id: int, now_ns: int, price: int = 5_000_000) -> Placement:
        handler.command(
            SubmitOrder(
                ts_local=now_ns, order_id=order_id, side=Side.BUY, price=price, quantity=20
            ),
            now_ns,
        )
        (place,) = (one for one in handler.take().requests if isinstance(one, Place))
        return place.placement

    def opened(placement: Placement, now_ns: int) -> OrderRecord:
        return OrderRecord(
            client_id=placement.client_id,
            venue_id=placement.client_id[-1],
            side=placement.side,
            price=placement.price or Decimal(0),
            quantity=placement.quantity,
            executed=Decimal(0),
            state=OrderState.OPEN,
            ts_ns=now_ns,
        )

    # The venue has the order, and says to everything that it does not.
    lost = submit(1, SETTLE_NS)
    handler.place_unanswered("mm1-1", "no answer", 2 * SETTLE_NS)
    handler.order_told("mm1-1", None, LOST_AFTER_NS + 2 * S)
    now = SETTLE_NS + VALID_NS
    handler.wake(now)
    handler.order_told("mm1-1", None, now)
    handler.cancel_refused("mm1-1", Refused(Refusal.NO_SUCH_ORDER, "unknown"), now)
    handler.wake(now + 3 * S)
    handler.order_told("mm1-1", None, now + 3 * S)
    handler.cancel_refused("mm1-1", Refused(Refusal.NO_SUCH_ORDER, "unknown"), now + 3 * S)
    value = (lost.price or Decimal(0)) * lost.quantity
    held = Balance(free=1000 - value, locked=value)
    now += 10 * S
    for number in range(2, 8):
        # One at the same price comes after the balances were read, during the look.
        now = max(now, books.next_ns())
        assert books.wants_look(now)
        books.changed([])
        placement = submit(number, now)
        books.changed([])
        books.looked(Books({"USDT": held, "BTC": free}, None, (), steady=True), now)
        handler.placed(opened(placement, now), now)
        books.changed([])
        verdict = books.judge(now + SETTLE_NS)
        assert verdict is not None
        assert verdict.absent == {}
        gone = replace(opened(placement, now), state=OrderState.CANCELED)
        handler.record(gone, now + SETTLE_NS)
        handler.take()
        now += 6 * S
    # Once nothing of ours comes or goes, and nothing is locked, it is.
    for _ in range(2):
        now = max(now, books.next_ns())
        assert books.wants_look(now)
        books.looked(Books({"USDT": free, "BTC": free}, None, (), steady=True), now)
        verdict = books.judge(now + SETTLE_NS)
        assert verdict is not None
        now += 6 * S
    assert list(verdict.absent) == ["mm1-1"]
