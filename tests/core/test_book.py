from __future__ import annotations

import pytest
from core_rows import ask, bid, bought, gap
from hypothesis import given
from hypothesis import strategies as st

from mmkit.book import Book, Ladder
from mmkit.tape import KIND, LAST, SELL, GapReason, Kind, Row
from mmkit.testing import snapshot_rows

# Close together, and so far apart that the next best is nowhere near.
prices = st.one_of(st.integers(1, 12), st.integers(1, 500), st.sampled_from([1, 2**40, 2**62]))
changes = st.lists(st.tuples(prices, st.sampled_from((0, 0, 1, 2, 3))), max_size=80)


@given(sign=st.sampled_from((-1, 1)), changes=changes)
def test_a_ladder_equals_a_plain_dictionary_after_every_change(
    sign: int, changes: list[tuple[int, int]]
) -> None:
    ladder, slow = Ladder(sign), dict[int, int]()
    for price, quantity in changes:
        assert ladder.set(price, quantity) == slow.get(price, 0)
        slow[price] = quantity
        slow = {price: quantity for price, quantity in slow.items() if quantity}
        prices = sorted(slow, reverse=sign < 0)
        assert ladder.levels == slow
        assert ladder.best == (prices[0] if prices else None)
        for count in (0, 1, 3, 99):
            assert ladder.top(count) == [(price, slow[price]) for price in prices[:count]]


kinds = st.sampled_from([Kind.LEVEL, Kind.LEVEL, Kind.LEVEL, Kind.TRADE, Kind.SNAPSHOT, Kind.GAP])
some_rows = st.lists(
    st.builds(
        lambda kind, side, last, price, quantity: (0, 0, kind | side | last, price, quantity),
        *(kinds, st.sampled_from([0, SELL]), st.sampled_from([0, 0, LAST])),
        *(st.integers(1, 9), st.integers(0, 3)),
    ),
    max_size=40,
)


@given(before=some_rows, rows=some_rows, stop=st.integers(0, 40))
def test_levels_taken_in_together_are_those_taken_in_one_by_one(
    before: list[Row], rows: list[Row], stop: int
) -> None:
    one_by_one, together = applied(*before), applied(*before)
    taken = together.take(rows, stop)
    assert taken <= min(stop, len(rows))
    assert all(row[2] & KIND == Kind.LEVEL for row in rows[:taken])
    for row in rows:
        one_by_one.apply(row)
    for row in rows[taken:]:
        together.apply(row)
    for side in ("bids", "asks"):
        assert getattr(together, side).levels == getattr(one_by_one, side).levels
    assert together.known == one_by_one.known
    assert (together.best_bid, together.best_ask) == (one_by_one.best_bid, one_by_one.best_ask)


def test_an_empty_side_has_no_best_price() -> None:
    book = Book()
    assert (book.best_bid, book.best_ask, book.known) == (None, None, False)


def applied(*rows: Row) -> Book:
    book = Book()
    for row in rows:
        book.apply(row)
    return book


SNAPSHOT = snapshot_rows([(100, 5), (99, 7)], [(102, 3)])


def test_a_book_is_known_only_after_the_last_row_of_a_snapshot() -> None:
    book = Book()
    for row in SNAPSHOT[:-1]:
        book.apply(row)
        assert not book.known
    book.apply(SNAPSHOT[-1])
    assert book.known
    assert (book.bids.levels, book.asks.levels) == ({100: 5, 99: 7}, {102: 3})


def test_levels_without_a_snapshot_do_not_make_a_book_known() -> None:
    book = applied(bid(100, 5), ask(102, 3))
    assert not book.known


def test_a_gap_makes_the_book_unknown_and_empty() -> None:
    book = applied(*SNAPSHOT, gap())
    assert (book.known, book.bids.levels, book.asks.levels) == (False, {}, {})


def test_a_gap_in_the_middle_of_a_snapshot_undoes_it() -> None:
    book = applied(*SNAPSHOT[:-1], gap(), SNAPSHOT[-1])
    assert not book.known


def test_a_book_is_known_again_after_a_gap_and_a_snapshot() -> None:
    book = applied(*SNAPSHOT, gap(reason=GapReason.CONNECTION), *snapshot_rows([(98, 1)], []))
    assert (book.known, book.bids.levels, book.asks.levels) == (True, {98: 1}, {})


def test_a_snapshot_replaces_every_level() -> None:
    book = applied(*SNAPSHOT, *snapshot_rows([(90, 1)], [(91, 2)]))
    assert (book.known, book.bids.levels, book.asks.levels) == (True, {90: 1}, {91: 2})


def test_an_empty_snapshot_is_one_row_and_makes_an_empty_book_known() -> None:
    book = applied(*SNAPSHOT, gap(), (0, 0, Kind.SNAPSHOT | LAST, 0, 0))
    assert (book.known, book.best_bid, book.best_ask) == (True, None, None)


@pytest.mark.parametrize("kind", [Kind.TRADE, Kind.BEST, Kind.MARK, Kind.FUNDING, Kind.OFF_BOOK])
@pytest.mark.parametrize("side", [0, SELL])
def test_rows_that_are_no_levels_change_no_book(kind: Kind, side: int) -> None:
    book = applied(*SNAPSHOT)
    assert book.apply((0, 0, kind | side | LAST, 100, 1)) == 0
    assert (book.known, book.bids.levels, book.asks.levels) == (True, {100: 5, 99: 7}, {102: 3})


def test_a_level_row_returns_the_quantity_that_it_replaced() -> None:
    book = applied(*SNAPSHOT)
    assert [book.apply(row) for row in (bid(100, 9), bid(100, 0), bid(100, 0), ask(102, 1))] == [
        *(5, 9, 0, 3)
    ]
    assert book.apply(bought(102, 1)) == 0
