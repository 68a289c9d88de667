"""The compiled form of a strategy decides like the plain one, on any book and position."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies_on_books import NEXO, SIZES, TOPS, quotes

import mmkit_strategies
from mmkit.decision import BEST_ASK, BEST_BID, LEVELS, MOST_LEVELS, NOW, POSITION
from mmkit.instruments import Instrument
from mmkit.interfaces import Quotes, Strategy
from mmkit.testing import BTCUSDT, build_strategy
from mmkit_strategies.avellaneda_stoikov import AvellanedaStoikov
from mmkit_strategies.glft import Glft
from mmkit_strategies.grid import Grid
from mmkit_strategies.imbalance import Imbalance
from mmkit_strategies.join_best import JoinBest
from mmkit_strategies.skewed import Skewed

AS: dict[str, Any] = {**SIZES, "gamma": 0.1, "k": 0.5, "sigma": "2ticks", "horizon": "10s"}
GLFT: dict[str, Any] = {**SIZES, "A": 0.9, "k": 0.3, "gamma": 0.01, "sigma": "0.3ticks"}


def numbers(strategy: Strategy) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what a compiled decision is given; no signal holds."""
    return np.array([*strategy.parameters(), 0.0, 0.0, 0.0], np.float64)


def compiled(
    strategy: Strategy,
    bid: int,
    ask: int,
    position: int,
    quantities: tuple[int, int] = (5, 5),
    *,
    now: int = 0,
    parameters: np.ndarray[Any, np.dtype[np.float64]] | None = None,
) -> Quotes:
    module, name = strategy.decision.split(":")
    view = np.zeros(16, np.int64)
    view[NOW], view[BEST_BID], view[BEST_ASK], view[POSITION] = now, bid, ask, position
    view[LEVELS : LEVELS + 4] = bid, quantities[0], ask, quantities[1]
    if parameters is None:
        parameters = numbers(strategy)
    wanted = np.zeros(2 + 4 * MOST_LEVELS, np.int64)
    decide = getattr(import_module(module), name)
    decide.ctypes(
        *(
            array.ctypes.data_as(pointer)
            for array, pointer in zip(
                (view, parameters, wanted), decide.ctypes.argtypes, strict=True
            )
        )
    )
    count, n = wanted[:2].tolist(), 2 + 2 * int(wanted[:2].sum())
    levels = [(price, lots) for price, lots in wanted[2:n].reshape(-1, 2).tolist()]
    return Quotes(bids=levels[: count[0]], asks=levels[count[0] :])


logs = st.floats(-5, 1).map(lambda power: 10**power)
sigmas = st.sampled_from(["0ticks", "0.1ticks", "7ticks", "0.3bps", "2%", "0.07"])


@settings(deadline=None)  # the first call may compile
@given(
    top=TOPS,
    position=st.integers(-1500, 1500),
    A=logs,
    k=logs,
    gamma=logs,
    xi=st.none() | logs,
    sigma=sigmas,
    instrument=st.sampled_from((BTCUSDT, NEXO)),
)
def test_glft_compiled_is_glft(
    top: tuple[int, int],
    position: int,
    A: float,  # noqa: N803
    k: float,
    gamma: float,
    xi: float | None,
    sigma: str,
    instrument: Instrument,
) -> None:
    bid, ask = top[0], sum(top)
    changes = {"A": A, "k": k, "gamma": gamma, "xi": xi, "sigma": sigma}
    strategy = build_strategy(Glft, instrument, **{**GLFT, **changes})
    assert compiled(strategy, bid, ask, position) == quotes(
        strategy, bid, ask, position, instrument
    )


@settings(deadline=None)  # the first call may compile
@given(
    top=TOPS,
    position=st.integers(-1500, 1500),
    k=logs,
    gamma=logs,
    sigma=sigmas,
    horizon=st.sampled_from(["1ms", "7s", "8h"]),
    instrument=st.sampled_from((BTCUSDT, NEXO)),
)
def test_avellaneda_stoikov_compiled_is_avellaneda_stoikov(
    top: tuple[int, int],
    position: int,
    k: float,
    gamma: float,
    sigma: str,
    horizon: str,
    instrument: Instrument,
) -> None:
    bid, ask = top[0], sum(top)
    changes = {"k": k, "gamma": gamma, "sigma": sigma, "horizon": horizon}
    strategy = build_strategy(AvellanedaStoikov, instrument, **{**AS, **changes})
    assert compiled(strategy, bid, ask, position) == quotes(
        strategy, bid, ask, position, instrument
    )


@settings(deadline=None)  # the first call may compile
@given(
    began=st.integers(1_600_000_000_000_000_000, 1_900_000_000_000_000_000),
    steps=st.lists(st.integers(0, 30_000_000_000), min_size=1, max_size=20),
    horizon=st.sampled_from(["1ms", "7s", "8h", "100ns"]),
    position=st.integers(-1500, 1500),
)
def test_avellaneda_stoikov_compiled_remembers_when_a_fixed_horizon_began(
    began: int, steps: list[int], horizon: str, position: int
) -> None:
    strategy = build_strategy(
        AvellanedaStoikov, **{**AS, "horizon": horizon, "horizon_is": "fixed"}
    )
    memory, now = numbers(strategy), began
    for step in steps:
        now += step
        assert compiled(strategy, 599_990, 600_010, position, now=now, parameters=memory) == quotes(
            strategy, 599_990, 600_010, position, now=now
        )


@settings(deadline=None)  # the first call may compile
@given(
    top=TOPS,
    position=st.integers(-1500, 1500),
    A=st.floats(-1, 1).map(lambda power: 10**power),
    k=st.floats(-1, 0.3).map(lambda power: 10**power),
    gamma=st.floats(-4, -1).map(lambda power: 10**power),
    sigma=st.sampled_from(["0ticks", "0.1ticks", "2ticks", "0.07"]),
    horizon=st.sampled_from(["1s", "60s"]),
)
def test_glft_compiled_is_glft_when_solved_exactly(
    top: tuple[int, int],
    position: int,
    A: float,  # noqa: N803
    k: float,
    gamma: float,
    sigma: str,
    horizon: str,
) -> None:
    bid, ask = top[0], sum(top)
    changes = {"A": A, "k": k, "gamma": gamma, "sigma": sigma, "horizon": horizon}
    strategy = build_strategy(Glft, **{**GLFT, **changes}, solution="exact")
    assert strategy.decision.endswith(":glft_exact")
    assert compiled(strategy, bid, ask, position) == quotes(strategy, bid, ask, position)


distances = st.sampled_from(["0ticks", "0.4ticks", "2.5ticks", "7ticks", "0.3bps", "2%", "0.07"])


@settings(deadline=None)  # the first call may compile
@given(
    top=TOPS,
    position=st.integers(-1500, 1500),
    levels=st.integers(1, 100),
    half_spread=distances,
    spacing=distances,
    skew=distances,
    instrument=st.sampled_from((BTCUSDT, NEXO)),
)
def test_grid_compiled_is_grid(
    top: tuple[int, int],
    position: int,
    levels: int,
    half_spread: str,
    spacing: str,
    skew: str,
    instrument: Instrument,
) -> None:
    bid, ask = top[0], sum(top)
    changes = {"levels": levels, "half_spread": half_spread, "spacing": spacing, "skew": skew}
    strategy = build_strategy(Grid, instrument, **{**SIZES, **changes})
    assert compiled(strategy, bid, ask, position) == quotes(
        strategy, bid, ask, position, instrument
    )


tables = st.lists(st.lists(st.floats(-3, 3), min_size=3, max_size=3), max_size=3)


@settings(deadline=None)  # the first call may compile
@given(
    top=TOPS,
    position=st.integers(-1500, 1500),
    quantities=st.tuples(st.integers(1, 10**14), st.integers(1, 10**14)),
    half_spread=distances,
    skew=distances,
    adjustment=tables,
    instrument=st.sampled_from((BTCUSDT, NEXO)),
)
def test_imbalance_compiled_is_imbalance(
    top: tuple[int, int],
    position: int,
    quantities: tuple[int, int],
    half_spread: str,
    skew: str,
    adjustment: list[list[float]],
    instrument: Instrument,
) -> None:
    bid, ask = top[0], sum(top)
    changes = {"half_spread": half_spread, "skew": skew, "adjustment": adjustment}
    strategy = build_strategy(Imbalance, instrument, **{**SIZES, **changes})
    assert compiled(strategy, bid, ask, position, quantities) == quotes(
        strategy,
        bid,
        ask,
        position,
        instrument,
        bid_quantity=quantities[0],
        ask_quantity=quantities[1],
    )


@settings(deadline=None)  # the first call may compile
@given(
    top=TOPS,
    position=st.integers(-1500, 1500),
    half_spread=distances,
    skew=distances,
    instrument=st.sampled_from((BTCUSDT, NEXO)),
)
def test_skewed_and_join_best_compiled_are_themselves(
    top: tuple[int, int], position: int, half_spread: str, skew: str, instrument: Instrument
) -> None:
    bid, ask = top[0], sum(top)
    for strategy in (
        build_strategy(JoinBest, instrument, **SIZES),
        build_strategy(Skewed, instrument, **SIZES, half_spread=half_spread, skew=skew),
    ):
        assert compiled(strategy, bid, ask, position) == quotes(
            strategy, bid, ask, position, instrument
        )


def test_every_bundled_strategy_with_a_compiled_form_is_compared_here() -> None:
    bundled = [provider.build for provider in mmkit_strategies.register_strategies()]
    compared = {AvellanedaStoikov, Glft, Grid, Imbalance, JoinBest, Skewed}
    assert {strategy for strategy in bundled if getattr(strategy, "decision", "")} == compared


@pytest.mark.parametrize(("bid", "ask"), [(-1, 9), (9, -1), (9, 9), (9, 8)])
def test_without_two_sides_that_do_not_cross_the_compiled_forms_quote_nothing(
    bid: int, ask: int
) -> None:
    grid = {"levels": 2, "half_spread": "1ticks", "spacing": "1ticks"}
    for strategy in (
        build_strategy(Glft, **GLFT),
        build_strategy(AvellanedaStoikov, **AS),
        build_strategy(Grid, **SIZES, **grid),
        build_strategy(Imbalance, **SIZES, half_spread="1ticks"),
    ):
        assert compiled(strategy, bid, ask, 0) == Quotes()


def test_what_has_no_compiled_form_says_so() -> None:
    changing = {**GLFT, "sigma": "0.3bps"}
    assert build_strategy(Glft, **changing, solution="exact").decision == ""
