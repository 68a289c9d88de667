from __future__ import annotations

import pytest
from core_rows import ask, bid, bought, gap
from hypothesis import given
from hypothesis import strategies as st

from mmkit.book import Book, Ladder
from mmkit.tape import LAST, SELL, GapReason, Kind, Row
from mmkit.testing import snapshot_rows

changes = st.lists(st.tuples(st.integers(1, 12), st.sampled_from((0, 0, 1, 2, 3))), max_size=80)


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


@pytest.mark.parametrize("sign", [-1, 1])
def test_levels_that_flicker_a_million_times_do_not_grow_the_ladder(sign: int) -> None:
    ladder = Ladder(sign)
    best = 500
    ladder.set(best, 1)
    for step in range(20_000):
        # Behind the best, so that nothing pops the dead entries.
        price = best + sign * (1 + step % 7)
        ladder.set(price, 5)
        ladder.set(price, 0)
        assert len(ladder._heap) < 200
    assert (ladder.best, ladder.levels) == (best, {best: 1})
    ladder.set(best + sign * 3, 2)
    ladder.set(best, 0)
    assert ladder.best == best + sign * 3


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
