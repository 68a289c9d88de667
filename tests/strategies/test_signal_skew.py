"""Quotes lean to where a signal says the mid will go, in every strategy that quotes around a center."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkit.errors import UnknownSignal
from mmkit.interfaces import Quotes, Strategy
from mmkit.testing import build_strategy, market_view
from mmkit_strategies.avellaneda_stoikov import AvellanedaStoikov
from mmkit_strategies.glft import Glft
from mmkit_strategies.grid import Grid
from mmkit_strategies.imbalance import Imbalance
from mmkit_strategies.skewed import Skewed

SIZES = {"size": "0.005", "max_position": "0.03"}
STRATEGIES: list[tuple[type[Strategy], dict[str, Any]]] = [
    (Skewed, {"half_spread": "4.3ticks", "skew": "1ticks"}),
    (Grid, {"half_spread": "4.3ticks", "levels": 3, "spacing": "2ticks", "skew": "1ticks"}),
    (Imbalance, {"half_spread": "4.3ticks"}),
    (AvellanedaStoikov, {"gamma": 0.1, "k": 1.5, "sigma": "1ticks", "horizon": "5s"}),
    (Glft, {"A": 1.0, "k": 0.5, "gamma": 0.05, "sigma": "1ticks"}),
    (Glft, {"A": 1.0, "k": 0.5, "gamma": 0.05, "sigma": "1ticks", "solution": "exact"}),
]
EACH = pytest.mark.parametrize(("strategy", "config"), STRATEGIES)
# So wide that no quote is held up at the touch.
WIDE = {"bids": ((599_800, 7),), "asks": ((600_200, 5),)}


def asked(
    strategy: type[Strategy], config: dict[str, Any], said: Any = None, position: int = 0
) -> Quotes:
    built = build_strategy(strategy, signals=["direction"], **SIZES, **config)
    view = market_view(**WIDE, position=position, signals={"direction": said} if said else None)
    answer = built.quote(view)
    assert isinstance(answer, Quotes)
    return answer


def moved(quotes: Quotes, ticks: int) -> Quotes:
    return Quotes(
        bids=[(price + ticks, lots) for price, lots in quotes.bids],
        asks=[(price + ticks, lots) for price, lots in quotes.asks],
    )


@EACH
@given(
    ticks=st.integers(1, 12),
    eighths=st.integers(-8, 8),
    position=st.integers(-25, 25),
)
def test_both_quotes_move_by_the_skew_times_up_less_down(
    strategy: type[Strategy], config: dict[str, Any], ticks: int, eighths: int, position: int
) -> None:
    up, down = max(eighths, 0) / 8, max(-eighths, 0) / 8
    said = (down, 1 - up - down, up)
    # In whole ticks, which no rounding hides.
    leaning = asked(strategy, {**config, "signal_skew": f"{8 * ticks}ticks"}, said, position)
    assert leaning == moved(asked(strategy, config, said, position), ticks * eighths)


@EACH
def test_without_a_signal_quotes_are_as_without_the_skew(
    strategy: type[Strategy], config: dict[str, Any]
) -> None:
    plain = asked(strategy, config)
    assert plain.bids
    assert plain.asks
    assert asked(strategy, {**config, "signal_skew": "5ticks"}) == plain
    assert asked(strategy, {**config, "signal_skew": "5ticks"}, (0.4, 0.2, 0.4)) == plain
    assert asked(strategy, {**config, "signal_skew": "5ticks"}, (0.0, 0.0, 1.0)) != plain


@EACH
def test_a_skew_by_a_signal_that_the_run_does_not_have_is_refused(
    strategy: type[Strategy], config: dict[str, Any]
) -> None:
    build_strategy(strategy, **SIZES, **config)
    with pytest.raises(UnknownSignal, match="found 'direction'; there is trees"):
        build_strategy(strategy, signals=["trees"], **SIZES, **config, signal_skew="1bps")


@EACH
@given(
    bid=st.integers(599_990, 600_009),
    spread=st.integers(1, 4),
    up=st.floats(0, 1),
    skew=st.integers(0, 100),
)
def test_a_leaning_quote_never_takes(
    strategy: type[Strategy], config: dict[str, Any], bid: int, spread: int, up: float, skew: int
) -> None:
    built = build_strategy(
        strategy, signals=["direction"], **SIZES, **config, signal_skew=f"{skew}ticks"
    )
    view = market_view(
        bids=((bid, 3),), asks=((bid + spread, 4),), signals={"direction": (1 - up, 0.0, up)}
    )
    answer = built.quote(view)
    assert isinstance(answer, Quotes)
    assert all(price < bid + spread for price, _ in answer.bids)
    assert all(price > bid for price, _ in answer.asks)
