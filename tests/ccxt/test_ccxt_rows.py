"""Whole books and trades of ccxt's as rows, beside a slow and obvious calculation."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from ccxt_venue import book_of, kinds_of
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.errors import OffGrid
from mmkit.instruments import ContractKind, Instrument
from mmkit.tape import KIND, LAST, SELL, FeedStats, GapReason, Kind, Row
from mmkit_ccxt.grid import Grid
from mmkit_ccxt.rows import RowMaker, WholeBook, copy_of

BTCUSDT = Instrument(
    venue="binance",
    market="spot",
    symbol="BTC/USDT",
    native="BTCUSDT",
    base="BTC",
    quote="USDT",
    kind=ContractKind.SPOT,
    tick=Decimal("0.01"),
    lot=Decimal("0.00001"),
)
STEPS = ["0.1", "0.01", "0.00001", "0.00000001", "0.25", "0.5", "5", "1000"]

sizes = st.dictionaries(st.integers(9000, 9020), st.integers(0, 5), max_size=12)
books = st.lists(st.tuples(sizes, sizes), min_size=1, max_size=12)
"""Pairs of sides, each ticks to lots; 0 lots is no level."""


def whole(side_of_bids: dict[int, int], side_of_asks: dict[int, int]) -> WholeBook:
    """Return a book as ccxt has it: floats that were read from decimals."""
    bids, asks = (
        tuple(
            (float(str(BTCUSDT.price(ticks))), float(str(BTCUSDT.quantity(lots))))
            for ticks, lots in sorted(side.items(), reverse=side is side_of_bids)
        )
        for side in (side_of_bids, {ticks + 100: lots for ticks, lots in side_of_asks.items()})
    )
    return WholeBook(bids, asks, 1_000)


def obviously(levels: tuple[tuple[float, float], ...]) -> dict[int, int]:
    """Return a side in ticks and lots, a level at a time and by nothing but decimals."""
    side: dict[int, int] = {}
    for price, size in levels:
        ticks, lots = Decimal(str(price)) / BTCUSDT.tick, Decimal(str(size)) / BTCUSDT.lot
        assert ticks == int(ticks)
        assert lots == int(lots)
        if lots:
            side[int(ticks)] = int(lots)
    return side


@settings(deadline=None)
@given(books)
def test_the_rows_make_every_book_that_ccxt_showed_and_tell_only_what_changed(
    pairs: list[tuple[dict[int, int], dict[int, int]]],
) -> None:
    maker = RowMaker(BTCUSDT, FeedStats())
    rows: list[Row] = maker.lost(GapReason.START, 1)
    before: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for number, pair in enumerate(pairs):
        shown = whole(*pair)
        told = maker.book(shown, 10 + number)
        rows += told
        now = obviously(shown.bids), obviously(shown.asks)
        book = book_of(rows)
        assert book.known
        assert (book.bids.levels, book.asks.levels) == now
        changed = {
            (side, price)
            for side in (0, 1)
            for price in before[side].keys() | now[side].keys()
            if before[side].get(price) != now[side].get(price)
        }
        levels = [row for row in told if row[2] & KIND == Kind.LEVEL]
        assert {(int(bool(row[2] & SELL)), row[3]) for row in levels} == changed
        assert len(levels) == len(changed)
        # One message: one time, and the last row alone says so.
        assert len({row[1] for row in told}) <= 1
        assert [bool(row[2] & LAST) for row in told] == [False] * (len(told) - 1) + [True] * bool(
            told
        )
        before = now
    assert kinds_of(rows).count(Kind.SNAPSHOT) == 1


@settings(deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(STEPS))
def test_a_float_read_from_a_decimal_is_the_same_number_of_steps(number: int, step: str) -> None:
    instrument = Instrument(
        **{name: getattr(BTCUSDT, name) for name in BTCUSDT.__struct_fields__}
        | {"tick": Decimal(step), "lot": Decimal(step)}
    )
    value = float(str(Decimal(step) * number))
    grid = Grid(instrument, "refuse")
    assert grid.ticks(value) == grid.lots(value) == number


@pytest.mark.parametrize(
    ("level", "found"),
    [
        ((100.005, 1.0), "100.005"),
        ((100.0, 0.123456), "0.123456"),
        ((0.1 + 0.2, 1.0), "0.30000000000000004"),
        ((float("nan"), 1.0), "nan"),
        ((float("inf"), 1.0), "inf"),
        ((None, 1.0), "None"),
    ],
)
def test_what_is_off_the_grid_is_refused_and_shown(level: Any, found: str) -> None:
    maker = RowMaker(BTCUSDT, FeedStats())
    with pytest.raises(OffGrid, match=found):
        maker.book(WholeBook((level,), (), None), 1)


def test_sizes_finer_than_the_lot_are_rounded_up_only_if_one_says_so_and_are_noted() -> None:
    shown = WholeBook(((100.0, 25.426189),), (), None)
    with pytest.raises(OffGrid, match="finer_sizes: round_up"):
        RowMaker(BTCUSDT, FeedStats()).book(shown, 1)
    stats = FeedStats()
    maker = RowMaker(BTCUSDT, stats, finer_sizes="round_up")
    assert book_of(maker.book(shown, 1)).bids.levels == {10000: 2542619}
    maker.take_notes("binance")
    assert any("rounded up, such as 25.426189" in note for note in stats.notes)


def trade(number: Any, **other: Any) -> dict[str, Any]:
    found = {"id": number, "timestamp": 5_000, "price": 100.0, "amount": 0.5, "side": "buy"}
    return found | other


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=20))
def test_every_trade_is_told_once_in_the_order_of_its_first_appearance(
    lists: list[list[int]],
) -> None:
    stats = FeedStats()
    maker = RowMaker(BTCUSDT, stats)
    rows: list[Row] = []
    for number, listed in enumerate(lists):
        rows += maker.trades([trade(str(one), amount=float(one + 1)) for one in listed], number)
    everything = [one for listed in lists for one in listed]
    once = list(dict.fromkeys(everything))
    assert [row[4] for row in rows] == [(one + 1) * 100_000 for one in once]
    assert stats.ignored == len(everything) - len(once)


def test_a_selling_aggressor_is_marked_and_one_that_is_not_told_fills_nobody() -> None:
    stats = FeedStats()
    maker = RowMaker(BTCUSDT, stats)
    rows = maker.trades([trade("1", side="sell"), trade("2"), trade("3", side=None)], 7)
    assert [row[2] & ~LAST for row in rows] == [Kind.TRADE | SELL, Kind.TRADE, Kind.OFF_BOOK]
    assert stats.off_book == 1
    maker.take_notes("kraken")
    assert stats.notes == ["1 trades had no side; told as off the book, they fill nobody"]


def test_a_venues_times_are_moved_by_the_offset_and_missing_ones_are_ours_and_noted() -> None:
    stats = FeedStats()
    maker = RowMaker(BTCUSDT, stats, offset_ns=2_000_000)
    first = maker.book(WholeBook(((100.0, 1.0),), (), None), 4_000_000_000)
    second = maker.book(WholeBook(((100.0, 2.0),), (), 5_000), 4_990_000_000)
    late = maker.book(WholeBook(((100.0, 3.0),), (), 4_500), 4_995_000_000)
    (told,) = maker.trades([trade("1")], 5_100_000_000)
    assert first[0][:2] == (4_000_000_000, 4_000_000_000)
    assert second[0][:2] == (4_998_000_000, 4_990_000_000)
    assert late[0][:2] == (4_998_000_000, 4_995_000_000)  # rows of the book never go back
    assert told[:2] == (4_998_000_000, 5_100_000_000)
    maker.take_notes("kraken")
    assert stats.notes[0].startswith("1 of 3 books carried no time of 'kraken'")


def test_trades_from_before_the_streams_were_opened_are_left_out_and_counted() -> None:
    stats = FeedStats()
    maker = RowMaker(BTCUSDT, stats)
    maker.opened(5_000_000_000)
    rows = maker.trades([trade("1", timestamp=4_999), trade("2"), trade("3", timestamp=None)], 6)
    assert [row[0] for row in rows] == [5_000_000_000]
    assert stats.ignored == 2
    maker.take_notes("kraken")
    assert "2 trades were from before the stream was opened; left out" in stats.notes


def test_after_a_loss_the_whole_book_is_told_anew() -> None:
    maker = RowMaker(BTCUSDT, FeedStats())
    shown = WholeBook(((100.0, 1.0), (99.0, 2.0)), ((101.0, 1.0),), 1_000)
    assert len(maker.book(shown, 1)) == 4
    assert maker.book(shown, 2) == []
    rows = maker.lost(GapReason.CONNECTION, 3)
    assert not book_of(rows).known
    rows += maker.book(shown, 4)
    assert kinds_of(rows) == [Kind.GAP, Kind.SNAPSHOT, Kind.LEVEL, Kind.LEVEL, Kind.LEVEL]
    assert book_of(rows).bids.levels == {10000: 100_000, 9900: 200_000}


def test_a_copy_of_ccxts_book_is_cut_to_the_depth_and_does_not_change_with_it() -> None:
    book = {"bids": [[2.0, 1.0, 7], [1.0, 1.0, 8]], "asks": [], "timestamp": 3}
    copied = copy_of(book, 1)
    book["bids"][0][1] = 9.0  # type: ignore[index]
    assert copied == WholeBook(((2.0, 1.0),), (), 3)
