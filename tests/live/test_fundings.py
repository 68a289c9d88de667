"""Funding of contracts: asked for, counted once, and told to the run that it belongs to."""

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_venue import S
from test_live_venue import Desk, at_the_desk
from test_order_handler import lived, wrong

from mmkit.accounts import FundingRecord
from mmkit.events import FundingPaid, Side
from mmkit.live.fundings import Fundings
from mmkit.live.ledger import Ledger
from mmkit.testing import BTCUSDT
from mmkit.virtual_time import run

HOUR = 3600 * S


def paid(desk: Desk) -> list[Decimal]:
    return [one.amount for one in desk.heard if isinstance(one, FundingPaid)]


def test_a_wallet_that_moves_by_no_fill_has_the_payment_asked_for_and_told_once() -> None:
    async def work(desk: Desk) -> None:
        await asyncio.sleep(60)
        desk.market.fund(Decimal("-0.00412345"), desk.clock.now_ns())
        await asyncio.sleep(3)
        assert paid(desk) == [Decimal("-0.00412345")]
        assert desk.venue.books.ledger.moved == {"USDT": Decimal("-0.00412345")}
        assert desk.store.money().fundings == desk.market.fundings
        before = sum(what == "fundings" for _, what in desk.account.arrived)
        desk.market.fund(Decimal("0.5"), desk.clock.now_ns())
        desk.market.fund(
            Decimal("0.5"), desk.clock.now_ns()
        )  # two of one amount at one time are two
        await asyncio.sleep(40)
        assert paid(desk) == [Decimal("-0.00412345"), Decimal("0.5"), Decimal("0.5")]
        assert sum(what == "fundings" for _, what in desk.account.arrived) - before <= 2

    at_the_desk(work, instrument=BTCUSDT)


def test_a_payment_of_which_nobody_tells_is_found_after_the_full_hour() -> None:
    async def work(desk: Desk) -> None:
        desk.market.tell_wallet = lambda update: None
        to_the_hour = HOUR - desk.clock.now_ns() % HOUR
        await asyncio.sleep(to_the_hour / 1e9 + 0.5)
        desk.market.fund(Decimal("-1.25"), desk.clock.now_ns())
        await asyncio.sleep(15)
        assert paid(desk) == [Decimal("-1.25")]

    at_the_desk(work, instrument=BTCUSDT)


def test_what_was_paid_while_no_run_was_there_is_in_the_books_and_not_in_the_profit_of_the_next() -> (
    None
):
    async def whole() -> None:
        desk = Desk(instrument=BTCUSDT)
        desk.market.fund(Decimal(7), desk.clock.now_ns() - HOUR)  # before the first run: not ours
        await desk.venue.start()
        desk.submit(quantity=5)
        await asyncio.sleep(1)
        desk.market.fill("mm1-1", 5, desk.clock.now_ns())
        await asyncio.sleep(1)
        await desk.venue.stop(60)
        await desk.venue.close()
        await asyncio.sleep(7 * 3600)
        desk.market.fund(Decimal("-3.5"), desk.clock.now_ns())
        await asyncio.sleep(3600)
        desk.begin("mm2")
        await desk.venue.start()
        desk.hear()
        assert paid(desk) == []
        assert [one.amount for one in desk.store.money().fundings] == [Decimal("-3.5")]
        wallet = Decimal(5_000_000) + 7 + desk.venue.books.ledger.moved["USDT"]
        assert wallet == desk.market.money["USDT"]
        await desk.venue.close()

    run(whole())


def test_a_lost_order_is_proven_to_be_nothing_within_seconds_though_funding_was_paid() -> None:
    """Without funding in the books the wallet could not be counted, and the proof took an hour."""

    async def work(desk: Desk) -> None:
        desk.submit(quantity=5, side=Side.SELL)
        await asyncio.sleep(1)
        desk.market.fill("mm1-1", 5, desk.clock.now_ns())
        await asyncio.sleep(1)
        place = desk.account.place

        async def never_arrives(placement: object) -> None:
            await asyncio.sleep(60)

        desk.account.place = never_arrives  # type: ignore[assignment,method-assign]
        desk.submit(quantity=3)
        await asyncio.sleep(5)
        desk.market.fund(Decimal("0.0319"), desk.clock.now_ns())
        desk.account.place = place  # type: ignore[method-assign]
        await asyncio.sleep(50)
        assert desk.kinds()[-1] == "OrderRejected"
        assert not desk.venue.unknown
        assert paid(desk) == [Decimal("0.0319")]

    at_the_desk(work, instrument=BTCUSDT)


def test_a_wallet_that_others_move_is_counted_from_anew_once_no_funding_explains_it() -> None:
    async def work(desk: Desk) -> None:
        desk.submit()
        await asyncio.sleep(2)
        desk.market.money["USDT"] += Decimal(1000)
        await asyncio.sleep(140)
        assert desk.venue.down is None
        books = desk.venue.books
        assert books.anchor is not None
        assert books.anchor.rest["USDT"] == Decimal(5_001_000)
        assert paid(desk) == []

    at_the_desk(work, instrument=BTCUSDT)


def test_a_venue_that_does_not_answer_about_funding_is_traded_at_all_the_same() -> None:
    async def work(desk: Desk) -> None:
        desk.submit()
        await asyncio.sleep(200)
        assert desk.open() == ["mm1-1"]
        assert desk.venue.down is None

    desk = Desk

    class Silent(desk):  # type: ignore[valid-type,misc]
        def begin(self, tag: str) -> None:
            async def fundings(since_ns: int) -> list[FundingRecord]:
                raise TimeoutError

            self.account.fundings = fundings
            super().begin(tag)

    async def whole() -> None:
        silent = Silent(instrument=BTCUSDT)
        await silent.venue.start()
        silent.hear()
        await work(silent)
        await silent.venue.stop(60)
        await silent.venue.close()

    run(whole())


def test_in_another_currency_it_is_in_the_books_alone() -> None:
    fundings = Fundings(BTCUSDT, 100)
    one = FundingRecord(funding_id="1", amount=Decimal(3), asset="BNB", ts_ns=200)
    assert fundings.told([one], 300) == [one]
    assert fundings.event(one, 300) is None
    assert fundings.told([one], 400) == []


@pytest.mark.parametrize("seed", range(1, 21, 2))
def test_every_payment_is_counted_once_on_a_line_that_loses_and_repeats_and_in_runs_that_die(
    seed: int,
) -> None:
    world = lived(seed, crashes=0.01)
    assert wrong(world) == []
    assert world.venue.fundings


@given(
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["USDT", "BNB"]), st.integers(-9, 9))),
    st.lists(st.integers(0, 20), min_size=1),
)
def test_what_was_paid_since_a_time_is_its_sum_whatever_was_asked_before(
    paid: list[tuple[int, str, int]], asked: list[int]
) -> None:
    ledger, known = Ledger(BTCUSDT), list[FundingRecord]()
    for number, (ts_ns, asset, amount) in enumerate(paid):
        one = FundingRecord(
            funding_id=str(number), amount=Decimal(amount), asset=asset, ts_ns=ts_ns
        )
        ledger.fund(one)
        known.append(one)
        for since_ns in (asked[number % len(asked)], 0):
            expected: dict[str, Decimal] = {}
            for each in known:
                if each.ts_ns >= since_ns:
                    expected[each.asset] = expected.get(each.asset, Decimal(0)) + each.amount
            assert ledger.moved_since(since_ns) == expected
