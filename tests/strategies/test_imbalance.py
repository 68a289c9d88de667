from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from strategies_on_books import (
    NEXO,
    SIZES,
    TOPS,
    assert_crosses_nothing,
    assert_symmetric,
    quotes,
)

from mmkit.instruments import Instrument
from mmkit.interfaces import NO_QUOTES, Strategy
from mmkit.testing import BTCUSDT, build_strategy, check_strategy
from mmkit_strategies.imbalance import Imbalance, micro_price, weighted_mid

TABLE = [[-0.4, -0.1, 0.1, 0.4], [-0.9, -0.2, 0.2, 0.9]]
CONFIG: dict[str, Any] = {**SIZES, "half_spread": "4ticks", "skew": "2ticks"}


def strategy(instrument: Instrument = BTCUSDT, **changes: Any) -> Strategy:
    return build_strategy(Imbalance, instrument, **{**CONFIG, **changes})


# --- the formulas ---


def test_the_weighted_mid_by_hand() -> None:
    assert weighted_mid(100, 104, 30, 10) == 103
    assert weighted_mid(100, 104, 10, 30) == 101
    assert weighted_mid(100, 104, 7, 7) == 102


quantities = st.integers(1, 10**9)


@given(top=TOPS, bid_quantity=quantities, ask_quantity=quantities)
def test_the_weighted_mid_lies_inside_the_spread_and_mirrors(
    top: tuple[int, int], bid_quantity: int, ask_quantity: int
) -> None:
    bid, ask = top[0], sum(top)
    price = weighted_mid(bid, ask, bid_quantity, ask_quantity)
    assert bid <= price <= ask
    assert weighted_mid(bid, ask, ask_quantity, bid_quantity) == pytest.approx(bid + ask - price)


@pytest.mark.parametrize(
    ("spread", "bid_quantity", "ask_quantity", "added"),
    [
        (1, 1, 99, -0.4),
        (1, 25, 75, -0.1),
        (1, 50, 50, 0.1),  # a quarter belongs to the bucket it begins
        (1, 99, 1, 0.4),
        (2, 99, 1, 0.9),
        (7, 1, 99, -0.9),  # wider than the table: its last row
        (1, 10**9, 1, 0.4),
    ],
)
def test_the_micro_price_by_hand(
    spread: int, bid_quantity: int, ask_quantity: int, added: float
) -> None:
    table = tuple(map(tuple, TABLE))
    found = micro_price(100, 100 + spread, bid_quantity, ask_quantity, table)
    assert found == pytest.approx(100 + spread / 2 + added)


# --- the strategy ---


def test_quotes_by_hand() -> None:
    # Three quarters on the bid of 599,998 to 600,002: the weighted mid is 600,001.
    answer = quotes(strategy(), 599_998, 600_002, bid_quantity=30, ask_quantity=10)
    assert (answer.bids, answer.asks) == (((599_997, 100),), ((600_005, 100),))
    # One size long: two ticks lower.
    long = quotes(strategy(), 599_998, 600_002, 100, bid_quantity=30, ask_quantity=10)
    assert (long.bids, long.asks) == (((599_995, 100),), ((600_003, 100),))
    # From the table: mid 600,000 and 0.9.
    table = strategy(adjustment=TABLE)
    answer = quotes(table, 599_998, 600_002, bid_quantity=30, ask_quantity=10)
    assert (answer.bids, answer.asks) == (((599_996, 100),), ((600_005, 100),))


@pytest.mark.parametrize(
    "changes",
    [{}, {"adjustment": TABLE}, {"half_spread": "0ticks", "skew": "20bps", "on": ["best"]}],
)
def test_it_passes_what_every_strategy_must(changes: dict[str, Any]) -> None:
    check_strategy(Imbalance, **{**CONFIG, **changes})


distances = st.builds(
    lambda amount, unit: f"{amount}{unit}",
    st.integers(0, 50),
    st.sampled_from(["ticks", "bps", "%", ""]),
)


@given(
    top=TOPS,
    position=st.integers(-1500, 1500),
    bid_quantity=quantities,
    ask_quantity=quantities,
    half_spread=distances,
    skew=distances,
    adjustment=st.sampled_from([[], TABLE, [[-500, 500]]]),
    instrument=st.sampled_from((BTCUSDT, NEXO)),
)
def test_it_never_crosses_the_book_nor_itself(
    top: tuple[int, int],
    position: int,
    bid_quantity: int,
    ask_quantity: int,
    half_spread: str,
    skew: str,
    adjustment: list[list[float]],
    instrument: Instrument,
) -> None:
    bid, ask = top[0], sum(top)
    quoter = strategy(instrument, half_spread=half_spread, skew=skew, adjustment=adjustment)
    touch = {"bid_quantity": bid_quantity, "ask_quantity": ask_quantity}
    answer = quotes(quoter, bid, ask, position, instrument, **touch)
    assert_crosses_nothing(answer, bid, ask)


def test_an_adjustment_that_leads_below_zero_still_quotes_no_nonsense() -> None:
    quoter = strategy(adjustment=[[-500, 500]], half_spread="50%", skew="50%")
    answer = quotes(quoter, 100, 102, bid_quantity=1, ask_quantity=9)
    assert (answer.bids, answer.asks) == ((), ((101, 100),))


@given(top=TOPS, half_spread=distances, quantity=quantities)
def test_it_is_symmetric_around_mid_when_flat_before_a_balanced_book(
    top: tuple[int, int], half_spread: str, quantity: int
) -> None:
    bid, ask = top[0], sum(top)
    answer = quotes(
        strategy(half_spread=half_spread), bid, ask, bid_quantity=quantity, ask_quantity=quantity
    )
    assert_symmetric(answer, bid, ask)


@given(top=TOPS, less=st.integers(1, 99), more=st.integers(1, 99))
def test_more_on_the_bid_never_lowers_a_quote(top: tuple[int, int], less: int, more: int) -> None:
    less, more = sorted((less, more))
    bid, ask = top[0] + 600_000, sum(top) + 600_000
    for quoter in (strategy(), strategy(adjustment=TABLE)):
        low, high = (
            quotes(quoter, bid, ask, bid_quantity=share, ask_quantity=100 - share)
            for share in (less, more)
        )
        assert low.bids <= high.bids
        assert low.asks <= high.asks


@pytest.mark.parametrize(("bid", "ask"), [(None, 9), (9, None), (None, None), (9, 9), (9, 8)])
def test_without_two_sides_that_do_not_cross_nothing_is_quoted(
    bid: int | None, ask: int | None
) -> None:
    assert quotes(strategy(), bid, ask) == NO_QUOTES


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"half_spread": "-1ticks"}, "a distance such as"),
        ({"adjustment": [[0.1], [0.1, 0.2]]}, "rows of equal length"),
        ({"adjustment": [[]]}, "rows of equal length"),
        ({"adjustment": [[math.nan]]}, "finite number"),
        ({"adjustment": [["up"]]}, "valid number"),
        ({"size": "0"}, "greater than 0"),
    ],
)
def test_a_parameter_outside_its_range_is_refused_in_words(bad: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        strategy(**bad)
