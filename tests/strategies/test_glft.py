from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
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

from mmkit.errors import StrategyError
from mmkit.instruments import Instrument
from mmkit.interfaces import NO_QUOTES, Strategy
from mmkit.testing import BTCUSDT, build_strategy, check_strategy
from mmkit_strategies.glft import Glft, asymptotic_half_spread_and_skew, exact_distances

CONFIG: dict[str, Any] = {**SIZES, "A": 0.9, "k": 0.3, "gamma": 0.01, "sigma": "0.3ticks"}
EXACT: dict[str, Any] = {**CONFIG, "solution": "exact"}

# tables.json, glft.paper_param_sets (arXiv 1105.3115): k 0.3, gamma 0.01, T 600 s, Q 30;
# inventory: bid exact, bid approximate, ask exact, ask approximate.
PAPER = {
    (0.3, 0.9): {
        -20: [1.9592, 1.9556, 4.6655, 4.6702],
        -5: [2.9725, 2.9736, 3.6535, 3.6522],
        0: [3.313, 3.3129, 3.313, 3.3129],
        5: [3.6535, 3.6522, 2.9725, 2.9736],
        20: [4.6655, 4.6702, 1.9592, 1.9556],
    },
    (1.0, 0.2): {
        -20: [-4.4149, -6.0788, 11.2454, 13.1166],
        -5: [1.1002, 1.1195, 5.9185, 5.9183],
        0: [3.5257, 3.5189, 3.5257, 3.5189],
        5: [5.9185, 5.9183, 1.1002, 1.1195],
        20: [11.2454, 13.1166, -4.4149, -6.0788],
    },
}


def strategy(instrument: Instrument = BTCUSDT, **changes: Any) -> Strategy:
    return build_strategy(Glft, instrument, **{**CONFIG, **changes})


# --- the formulas ---


def test_the_closed_form_gives_the_published_numbers_to_the_printed_digits() -> None:
    # tables.json, glft.closed_form_point_published: hftbacktest's notebook.
    half_spread, skew = asymptotic_half_spread_and_skew(
        2.986162360812285, 0.04235741115084049, 0.05, 10.69, xi=0.05, delta=1
    )
    assert f"{half_spread:.14f}" == "20.47208533844371"
    assert f"{skew:.14f}" == "9.76326865029227"


@pytest.mark.parametrize(("sigma", "A"), PAPER)
def test_exact_and_approximate_distances_at_the_papers_parameters(sigma: float, A: float) -> None:  # noqa: N803
    bids, asks = exact_distances(A, 0.3, 0.01, sigma, 30, 600)
    half_spread, skew = asymptotic_half_spread_and_skew(A, 0.3, 0.01, sigma)
    computed = {
        q: [
            round(value, 4)
            for value in (
                float(bids[q + 30]),
                half_spread + skew * q,
                float(asks[q + 30]),
                half_spread - skew * q,
            )
        ]
        for q in PAPER[sigma, A]
    }
    assert computed == PAPER[sigma, A]


parameters = {
    "A": st.floats(0.05, 5),
    "k": st.floats(0.05, 2),
    "gamma": st.floats(1e-3, 0.5),
    "sigma": st.floats(0, 2),
    "most": st.integers(1, 8),
    "remaining": st.floats(0, 100),
}


@settings(deadline=None)
@given(**parameters)
def test_the_exact_solution_is_that_of_the_eigendecomposition(
    A: float,  # noqa: N803
    k: float,
    gamma: float,
    sigma: float,
    most: int,
    remaining: float,
) -> None:
    bids, asks = exact_distances(A, k, gamma, sigma, most, remaining)
    inventory = np.arange(-most, most + 1)
    eta = A * (1 + gamma / k) ** -(1 + k / gamma)
    matrix = np.diag(k / 2 * gamma * sigma**2 * inventory**2.0)
    matrix -= eta * (np.eye(2 * most + 1, k=1) + np.eye(2 * most + 1, k=-1))
    values, vectors = np.linalg.eigh(matrix)
    v = vectors @ (np.exp(-(values - values[0]) * remaining) * vectors.sum(axis=0))
    # Where the value of an inventory is tiny beside the others, the decomposition has no digits left.
    trusted = v > 1e-5 * v.max()
    fixed = math.log1p(gamma / k) / gamma
    both = trusted[:-1] & trusted[1:]
    steps = np.log(np.where(trusted, v, 1.0))
    steps = (steps[:-1] - steps[1:]) / k
    np.testing.assert_allclose(bids[:-1][both], (steps + fixed)[both], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(asks[1:][both], (fixed - steps)[both], rtol=1e-6, atol=1e-6)


@settings(deadline=None)
@given(**parameters)
def test_the_distances_of_a_short_position_mirror_those_of_a_long_one(
    A: float,  # noqa: N803
    k: float,
    gamma: float,
    sigma: float,
    most: int,
    remaining: float,
) -> None:
    bids, asks = exact_distances(A, k, gamma, sigma, most, remaining)
    np.testing.assert_allclose(bids, asks[::-1], rtol=1e-9, atol=1e-9)
    # A longer position buys no closer, and bid and ask never meet.
    assert (np.diff(bids[:-1]) >= -1e-9).all()
    assert (bids + asks > 0).all()


def test_at_the_end_of_the_day_the_exact_distances_are_those_without_risk() -> None:
    bids, asks = exact_distances(0.9, 0.3, 0.01, 0.3, 4, 0)
    fixed = math.log1p(0.01 / 0.3) / 0.01
    assert bids.tolist() == [fixed] * 8 + [math.inf]
    assert asks.tolist() == [math.inf] + [fixed] * 8


def test_the_exact_distances_keep_their_digits_where_a_decomposition_has_none() -> None:
    # The value of 30 orders is 1e-30 of that of none: eigenvectors know it to 1e-16 of the largest.
    bids, _ = exact_distances(0.01, 0.3, 0.1, 2.0, 30, 600)
    assert np.isfinite(bids[:-1]).all()
    assert (np.diff(bids[:-1]) > 0).all()


# --- the strategy ---


def test_asymptotic_quotes_by_hand() -> None:
    # At mid 600,000: 3.3129 a side; the skew is 0.0679 ticks an order, 5 orders long.
    assert quotes(strategy()).bids == ((599_996, 100),)
    assert quotes(strategy()).asks == ((600_004, 100),)
    long = quotes(strategy(sigma="3ticks"), 599_950, 600_050, position=500)
    half_spread, skew = asymptotic_half_spread_and_skew(0.9, 0.3, 0.01, 3)
    assert long.bids == ((math.floor(600_000 - half_spread - 5 * skew), 100),)
    assert long.asks == ((math.ceil(600_000 + half_spread - 5 * skew), 100),)


def test_exact_quotes_are_those_of_the_solution_also_between_two_sizes() -> None:
    exact = strategy(solution="exact", sigma="3ticks")
    bids, asks = exact_distances(0.9, 0.3, 0.01, 3, 10, 600)
    for position in (0, 300, -700):
        answer = quotes(exact, 599_900, 600_100, position)
        q = position // 100 + 10
        assert answer.bids == ((math.floor(600_000 - bids[q]), 100),)
        assert answer.asks == ((math.ceil(600_000 + asks[q]), 100),)
    assert isinstance(exact, Glft)
    assert exact.distances(2.5, 3) == pytest.approx(
        ((bids[12] + bids[13]) / 2, (asks[12] + asks[13]) / 2)
    )
    # Half an order below the limit the bid is that of the last inventory which has one.
    assert exact.distances(9.5, 3)[0] == bids[19]
    assert exact.distances(12, 3) == (math.inf, asks[20])


def test_sigma_in_bps_is_solved_anew_when_the_price_has_moved() -> None:
    exact = strategy(solution="exact", sigma="0.05bps")
    for mid in (600_000, 300_000):
        bids, _ = exact_distances(0.9, 0.3, 0.01, mid * 5e-6, 10, 600)
        answer = quotes(exact, mid - 100, mid + 100, position=500)
        assert answer.bids == ((math.floor(mid - bids[15]), 100),)


def test_more_orders_at_once_are_the_same_as_larger_orders() -> None:
    # q in units of `delta` with gamma per unit, or q in orders with gamma per order.
    half_spread, skew = asymptotic_half_spread_and_skew(2, 0.3, 0.01, 3, xi=0.02, delta=4)
    of_orders = asymptotic_half_spread_and_skew(2, 0.3, 0.04, 3, xi=0.08)
    assert (half_spread, 4 * skew) == pytest.approx(of_orders)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        {**CONFIG, "xi": 1e-6},
        EXACT,
        {**EXACT, "sigma": "1bps", "max_position": "0.1", "on": ["best", "fill"]},
    ],
)
def test_it_passes_what_every_strategy_must(config: dict[str, Any]) -> None:
    check_strategy(Glft, **config)


logs = st.floats(-5, 1).map(lambda power: 10**power)


@settings(deadline=None)  # every example solves anew
@given(
    top=TOPS,
    position=st.integers(-1500, 1500),
    A=logs,
    k=logs,
    gamma=logs,
    sigma=st.sampled_from(["0ticks", "0.1ticks", "7ticks", "0.3bps"]),
    solution=st.sampled_from(["asymptotic", "exact"]),
    instrument=st.sampled_from((BTCUSDT, NEXO)),
)
def test_it_never_crosses_the_book_nor_itself_and_is_symmetric_when_flat(
    top: tuple[int, int],
    position: int,
    A: float,  # noqa: N803
    k: float,
    gamma: float,
    sigma: str,
    solution: str,
    instrument: Instrument,
) -> None:
    bid, ask = top[0], sum(top)
    quoter = strategy(instrument, A=A, k=k, gamma=gamma, sigma=sigma, solution=solution)
    flat = quotes(quoter, bid, ask, 0, instrument)
    assert_symmetric(flat, bid, ask)
    assert_crosses_nothing(quotes(quoter, bid, ask, position, instrument), bid, ask)


@pytest.mark.parametrize(("bid", "ask"), [(None, 9), (9, None), (None, None), (9, 9), (9, 8)])
def test_without_two_sides_that_do_not_cross_nothing_is_quoted(
    bid: int | None, ask: int | None
) -> None:
    assert quotes(strategy(), bid, ask) == NO_QUOTES


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"A": 0}, "greater than 0"),
        ({"k": -1}, "greater than 0"),
        ({"gamma": math.nan}, "finite number"),
        ({"xi": 0}, "greater than 0"),
        ({"sigma": 1}, "a distance such as"),
        ({"solution": "numeric"}, "'asymptotic' or 'exact'"),
        ({"solution": "exact", "xi": 0.1}, "xi belongs to 'solution: asymptotic'"),
        ({"solution": "exact", "max_position": "0.25"}, "1 to 500 times size; found 0.25 and 0.1"),
        ({"solution": "exact", "max_position": "0.05"}, "1 to 500 times size"),
        ({"solution": "exact", "max_position": "50.1"}, "1 to 500 times size"),
        ({"horizon": "0s"}, "greater than 0"),
    ],
)
def test_a_parameter_outside_its_range_is_refused_in_words(bad: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        strategy(**bad)


def test_what_cannot_be_solved_is_refused_when_the_strategy_is_built() -> None:
    with pytest.raises(StrategyError, match=r"glft: the exact solution .* 'solution: asymptotic'"):
        strategy(solution="exact", A=1e-9, gamma=1e3, sigma="50000ticks", max_position="5")
