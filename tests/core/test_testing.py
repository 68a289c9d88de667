"""What plugin authors test with must itself hold."""

from __future__ import annotations

import itertools

import pytest
from core_rows import SPOT

from mmkit.book import Book
from mmkit.clock import SimClock, SystemClock
from mmkit.interfaces import MarketView, Quotes, Strategy
from mmkit.tape import KIND, LAST, SELL, Kind
from mmkit.testing import build_strategy, check_strategy, market_view, random_tape


@pytest.mark.parametrize("seed", range(8))
def test_a_random_market_could_be_a_real_one(seed: int) -> None:
    tape = random_tape(seed, messages=1_500)
    book, kinds = Book(), set[int]()
    for row in tape.rows():
        ts_exchange, ts_local, kind, price, quantity = row
        kinds.add(kind & KIND)
        assert ts_local > ts_exchange
        if kind & KIND == Kind.TRADE:
            best = book.best_bid if kind & SELL else book.best_ask
            assert (price, quantity > 0) == (best, True)
        book.apply(row)
        if kind & LAST and book.known:
            assert book.best_bid is not None
            assert book.best_ask is not None
            assert book.best_bid < book.best_ask
    assert kinds == {Kind.LEVEL, Kind.TRADE, Kind.SNAPSHOT, Kind.GAP}


def test_the_same_seed_is_the_same_market_and_another_is_another() -> None:
    assert list(random_tape(1).rows()) == list(random_tape(1).rows())
    assert list(random_tape(1).rows()) != list(random_tape(2).rows())
    assert random_tape(1, instrument=SPOT).instrument == SPOT


def test_a_view_shows_what_it_was_made_of() -> None:
    view = market_view(SPOT, [(10, 1), (9, 2)], [(12, 3)], position=-4, now=77)
    assert (view.now, view.instrument, view.best_bid, view.best_ask, view.position) == (
        *(77, SPOT, 10, 12),
        -4,
    )
    assert (view.book.bids, view.book.asks, list(view.orders)) == (
        ((10, 1), (9, 2)),
        ((12, 3),),
        [],
    )


def test_a_view_may_have_an_empty_side() -> None:
    assert market_view(asks=()).best_ask is None


class Dice(Strategy):
    """Decides differently each time it is built."""

    count = itertools.count()

    def quote(self, view: MarketView) -> Quotes:
        return Quotes(bid=(500_000 + next(self.count), 1))


def test_a_strategy_that_decides_by_chance_does_not_pass() -> None:
    with pytest.raises(AssertionError, match=r"the same market gave other orders \(seed 0\)"):
        check_strategy(Dice)


class Fragile(Strategy):
    """Fails where a side of the book is empty or the market far away."""

    def quote(self, view: MarketView) -> Quotes:
        raise KeyError("nothing")


def test_a_strategy_that_raises_does_not_pass() -> None:
    with pytest.raises(Exception, match=r"Fragile\.quote raised KeyError"):
        check_strategy(Fragile)


def test_a_strategy_is_built_from_the_keys_of_the_yaml() -> None:
    assert build_strategy(Dice, every="5s").wake.every == 5_000_000_000


# --- clocks ---


def test_the_system_clock_never_tells_one_time_twice() -> None:
    clock = SystemClock()
    times = [clock.now_ns() for _ in range(10_000)]
    assert all(before < after for before, after in itertools.pairwise(times))


def test_a_simulated_clock_stands_still_and_never_goes_back() -> None:
    clock = SimClock(5)
    clock.advance_to(9)
    clock.advance_to(9)
    assert clock.now_ns() == 9
    with pytest.raises(ValueError, match="time cannot go back from 9 to 8"):
        clock.advance_to(8)
