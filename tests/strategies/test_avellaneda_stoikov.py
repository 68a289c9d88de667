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
from mmkit_strategies.avellaneda_stoikov import (
    AvellanedaStoikov,
    optimal_spread,
    reservation_price,
)

CONFIG: dict[str, Any] = {**SIZES, "gamma": 0.1, "k": 0.5, "sigma": "2ticks", "horizon": "10s"}


def strategy(instrument: Instrument = BTCUSDT, **changes: Any) -> Strategy:
    return build_strategy(AvellanedaStoikov, instrument, **{**CONFIG, **changes})


# --- the formulas ---


def test_the_formulas_by_hand() -> None:
    # gamma sigma^2 (T - t) = 0.1 x 4 x 0.5 = 0.2; 20 ln(16 / 15) = 1.29077...
    assert reservation_price(100, 3, 0.1, 2, 0.5) == pytest.approx(99.4, abs=1e-12)
    assert optimal_spread(0.1, 2, 1.5, 0.5) == pytest.approx(0.2 + 20 * math.log(16 / 15))


def test_the_spread_of_the_preprint() -> None:
    # tables.json, avellaneda_stoikov_2006_preprint: the spread at the end of the day, k = 1.5.
    printed = {0.1: 1.29, 0.01: 1.33, 0.5: 1.15}
    assert {gamma: round(optimal_spread(gamma, 2, 1.5, 0), 2) for gamma in printed} == printed


def test_without_aversion_to_risk_the_spread_is_two_over_k() -> None:
    assert optimal_spread(1e-12, 2, 1.5, 1) == pytest.approx(2 / 1.5)


positive = st.floats(1e-3, 1e3)


@given(q=st.floats(-50, 50), gamma=positive, sigma=positive, k=positive, left=st.floats(0, 1e3))
def test_the_formulas_are_the_same_in_every_unit_of_price_time_and_quantity(
    q: float, gamma: float, sigma: float, k: float, left: float
) -> None:
    # Prices in cents, time in ms, quantity in tenths of an order.
    r = reservation_price(0, q, gamma, sigma, left)
    cents, seconds, tenths = 100.0, 1000.0, 10.0
    assert reservation_price(
        0, q * tenths, gamma / cents / tenths, sigma * cents / math.sqrt(seconds), left * seconds
    ) == pytest.approx(r * cents, rel=1e-9)
    assert optimal_spread(
        gamma / cents, sigma * cents / math.sqrt(seconds), k / cents, left * seconds
    ) == pytest.approx(optimal_spread(gamma, sigma, k, left) * cents, rel=1e-9)


# --- the strategy ---


def test_quotes_by_hand() -> None:
    # sigma^2 T gamma = 4 ticks; the spread is 4 + 20 ln 1.2 = 7.6464, so 3.8232 a side.
    assert quotes(strategy()).bids == ((599_996, 100),)
    assert quotes(strategy()).asks == ((600_004, 100),)
    # Two orders long: the reservation price is 8 ticks lower, 599,992; asks stop inside the book.
    long = quotes(strategy(), position=200)
    assert (long.bids, long.asks) == (((599_988, 100),), ((600_000, 100),))


def test_a_fixed_horizon_runs_down_and_begins_anew() -> None:
    second = 1_000_000_000
    fixed = strategy(horizon_is="fixed")
    widths = []
    for at in (7, 12, 16.9, 17, 26.99):  # the first time it is asked is the beginning
        answer = quotes(fixed, 599_900, 600_100, now=int(at * second))
        widths.append(answer.asks[0][0] - answer.bids[0][0])
    # 20 ln 1.2 = 3.646 and 0.4 a second left, outwards to whole ticks: 10, 5, 0.1, 10, 0.01 s.
    assert widths == [8, 6, 4, 8, 4]


def test_a_rolling_horizon_quotes_the_same_at_any_time() -> None:
    rolling = strategy()
    assert quotes(rolling, now=0) == quotes(rolling, now=7_654_321_000)


def test_sigma_in_bps_follows_the_price() -> None:
    # 0.5 bps of 600,000 ticks is 30 ticks: gamma sigma^2 T = 0.001 x 900 x 10 = 9.
    answer = quotes(strategy(gamma=0.001, sigma="0.5bps"), position=100)
    away = optimal_spread(0.001, 30, 0.5, 10) / 2
    assert answer.bids == ((math.floor(600_000 - 9 - away), 100),)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"horizon_is": "fixed", "horizon": "3s"},
        {"sigma": "0ticks", "k": 1e6},
        {"sigma": "1%", "gamma": 10, "on": ["best", "fill"]},
    ],
)
def test_it_passes_what_every_strategy_must(changes: dict[str, Any]) -> None:
    check_strategy(AvellanedaStoikov, **{**CONFIG, **changes})


logs = st.floats(-6, 3).map(lambda power: 10**power)


@given(
    top=TOPS,
    position=st.integers(-1500, 1500),
    gamma=logs,
    k=logs,
    sigma=st.sampled_from(["0ticks", "0.1ticks", "7ticks", "0.3bps", "2%"]),
    horizon=st.sampled_from(["1ms", "1s", "8h"]),
    instrument=st.sampled_from((BTCUSDT, NEXO)),
)
def test_it_never_crosses_the_book_nor_itself_and_is_symmetric_when_flat(
    top: tuple[int, int],
    position: int,
    gamma: float,
    k: float,
    sigma: str,
    horizon: str,
    instrument: Instrument,
) -> None:
    bid, ask = top[0], sum(top)
    quoter = strategy(instrument, gamma=gamma, k=k, sigma=sigma, horizon=horizon)
    assert_crosses_nothing(quotes(quoter, bid, ask, position, instrument), bid, ask)
    assert_symmetric(quotes(quoter, bid, ask, 0, instrument), bid, ask)


@given(
    top=TOPS, less=st.integers(-999, 999), more=st.integers(-999, 999), gamma=st.floats(0.001, 1)
)
def test_a_longer_position_never_raises_a_quote(
    top: tuple[int, int], less: int, more: int, gamma: float
) -> None:
    less, more = sorted((less, more))
    bid, ask = top[0] + 600_000, sum(top) + 600_000
    short, long = (quotes(strategy(gamma=gamma), bid, ask, at) for at in (less, more))
    assert long.bids <= short.bids
    assert long.asks <= short.asks


@pytest.mark.parametrize(("position", "bids", "asks"), [(1000, 0, 1), (-1000, 1, 0)])
def test_it_adds_nothing_at_the_position_limit(position: int, bids: int, asks: int) -> None:
    answer = quotes(strategy(gamma=1e-6), position=position)
    assert (len(answer.bids), len(answer.asks)) == (bids, asks)


@pytest.mark.parametrize(("bid", "ask"), [(None, 9), (9, None), (None, None), (9, 9), (9, 8)])
def test_without_two_sides_that_do_not_cross_nothing_is_quoted(
    bid: int | None, ask: int | None
) -> None:
    assert quotes(strategy(), bid, ask) == NO_QUOTES


def test_where_half_the_spread_is_above_the_price_nothing_is_quoted() -> None:
    # sigma^2 gamma T / 2 is 50 ticks at 10 ticks; mid is 55.
    assert quotes(strategy(sigma="10ticks"), 50, 60).bids == ((3, 100),)
    assert quotes(strategy(sigma="11ticks"), 50, 60) == NO_QUOTES


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"gamma": 0}, "greater than 0"),
        ({"gamma": -0.1}, "greater than 0"),
        ({"gamma": math.nan}, "finite number"),
        ({"gamma": math.inf}, "finite number"),
        ({"k": 0}, "greater than 0"),
        ({"sigma": "-1ticks"}, "a distance such as"),
        ({"sigma": 2}, "a distance such as"),
        ({"horizon": "0s"}, "greater than 0"),
        ({"horizon": 60}, "a duration with its unit"),
        ({"horizon_is": "daily"}, "'rolling' or 'fixed'"),
        ({"size": "0"}, "greater than 0"),
        ({"max_position": "-1"}, "greater than 0"),
        ({"A": 1}, "Extra inputs are not permitted"),
    ],
)
def test_a_parameter_outside_its_range_is_refused_in_words(bad: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        strategy(**bad)
