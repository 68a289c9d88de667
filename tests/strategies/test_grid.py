from __future__ import annotations

from itertools import pairwise
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

from mmkit.errors import OffGrid
from mmkit.instruments import Instrument
from mmkit.interfaces import NO_QUOTES, Quotes, Strategy
from mmkit.testing import BTCUSDT, build_strategy, check_strategy
from mmkit_strategies.grid import Grid, grid_prices

CONFIG: dict[str, Any] = {
    **SIZES,
    "levels": 3,
    "half_spread": "4ticks",
    "spacing": "10ticks",
    "skew": "2ticks",
}


def strategy(instrument: Instrument = BTCUSDT, **changes: Any) -> Strategy:
    return build_strategy(Grid, instrument, **{**CONFIG, **changes})


def test_grid_prices_go_outwards_and_stop_above_zero() -> None:
    assert grid_prices(100, 10, 3) == [100, 110, 120]
    assert grid_prices(15, -7, 4) == [15, 8, 1]
    assert grid_prices(0, -1, 4) == grid_prices(5, 1, 0) == []


def test_quotes_by_hand() -> None:
    assert quotes(strategy()) == Quotes(
        bids=[(599_996, 100), (599_986, 100), (599_976, 100)],
        asks=[(600_004, 100), (600_014, 100), (600_024, 100)],
    )
    # 1.5 sizes long: the center is 3 ticks lower.
    assert quotes(strategy(), position=150) == Quotes(
        bids=[(599_993, 100), (599_983, 100), (599_973, 100)],
        asks=[(600_001, 100), (600_011, 100), (600_021, 100)],
    )


@pytest.mark.parametrize(
    ("position", "bids", "asks"),
    [(0, 3, 3), (700, 3, 3), (701, 2, 3), (850, 1, 3), (950, 1, 3), (1000, 0, 3), (-900, 3, 1)],
)
def test_no_more_levels_are_quoted_than_reach_the_position_limit(
    position: int, bids: int, asks: int
) -> None:
    answer = quotes(strategy(), position=position)
    assert (len(answer.bids), len(answer.asks)) == (bids, asks)


@pytest.mark.parametrize(
    "changes",
    [{}, {"levels": 20, "spacing": "0ticks", "half_spread": "0ticks"}, {"skew": "50bps"}],
)
def test_it_passes_what_every_strategy_must(changes: dict[str, Any]) -> None:
    check_strategy(Grid, **{**CONFIG, **changes})


distances = st.builds(
    lambda amount, unit: f"{amount}{unit}",
    st.integers(0, 50),
    st.sampled_from(["ticks", "bps", "%", ""]),
)


@given(
    top=TOPS,
    position=st.integers(-1500, 1500),
    levels=st.integers(1, 20),
    half_spread=distances,
    spacing=distances,
    skew=distances,
    instrument=st.sampled_from((BTCUSDT, NEXO)),
)
def test_it_never_crosses_the_book_nor_itself_and_its_levels_are_equally_far_apart(
    top: tuple[int, int],
    position: int,
    levels: int,
    half_spread: str,
    spacing: str,
    skew: str,
    instrument: Instrument,
) -> None:
    bid, ask = top[0], sum(top)
    grid = strategy(instrument, levels=levels, half_spread=half_spread, spacing=spacing, skew=skew)
    answer = quotes(grid, bid, ask, position, instrument)
    assert_crosses_nothing(answer, bid, ask)
    for side in (answer.bids, answer.asks):
        assert len({abs(a[0] - b[0]) for a, b in pairwise(side)}) <= 1
    for position_there, side in ((position, answer.bids), (-position, answer.asks)):
        # A part of a size below the limit one order is still quoted, as by the other strategies.
        assert position_there + sum(lots for _, lots in side[1:]) <= max(
            1000 if instrument is BTCUSDT else 100, position_there
        )


@given(top=TOPS, half_spread=distances, spacing=st.integers(0, 50))
def test_it_is_symmetric_around_mid_when_flat(
    top: tuple[int, int], half_spread: str, spacing: int
) -> None:
    bid, ask = top[0] + 600_000, sum(top) + 600_000
    grid = strategy(half_spread=half_spread, spacing=f"{spacing}ticks")
    assert_symmetric(quotes(grid, bid, ask), bid, ask)


@pytest.mark.parametrize(("bid", "ask"), [(None, 9), (9, None), (None, None), (9, 9), (9, 8)])
def test_without_two_sides_that_do_not_cross_nothing_is_quoted(
    bid: int | None, ask: int | None
) -> None:
    assert quotes(strategy(), bid, ask) == NO_QUOTES


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"levels": 0}, "greater than or equal to 1"),
        ({"levels": 101}, "less than or equal to 100"),
        ({"levels": 1.5}, "valid integer"),
        ({"spacing": "-1ticks"}, "a distance such as"),
        ({"half_spread": 4}, "a distance such as"),
        ({"size": "0"}, "greater than 0"),
        ({"max_position": "0"}, "greater than 0"),
    ],
)
def test_a_parameter_outside_its_range_is_refused_in_words(bad: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        strategy(**bad)


def test_a_size_off_the_lot_is_refused() -> None:
    with pytest.raises(OffGrid, match=r"quantity 0\.0105 is not a multiple"):
        strategy(size="0.0105")
