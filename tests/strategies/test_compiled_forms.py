"""The compiled form of a strategy decides like the plain one, on any book and position."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies_on_books import NEXO, SIZES, TOPS, quotes

from mmkit.decision import BEST_ASK, BEST_BID, POSITION
from mmkit.instruments import Instrument
from mmkit.interfaces import Quotes, Strategy
from mmkit.testing import BTCUSDT, build_strategy
from mmkit_strategies.avellaneda_stoikov import AvellanedaStoikov
from mmkit_strategies.glft import Glft

AS: dict[str, Any] = {**SIZES, "gamma": 0.1, "k": 0.5, "sigma": "2ticks", "horizon": "10s"}
GLFT: dict[str, Any] = {**SIZES, "A": 0.9, "k": 0.3, "gamma": 0.01, "sigma": "0.3ticks"}


def compiled(strategy: Strategy, bid: int, ask: int, position: int) -> Quotes:
    module, name = strategy.decision.split(":")
    view = np.zeros(16, np.int64)
    view[BEST_BID], view[BEST_ASK], view[POSITION] = bid, ask, position
    parameters = np.array(strategy.parameters(), np.float64)
    wanted = np.zeros(70, np.int64)
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


@pytest.mark.parametrize(("bid", "ask"), [(-1, 9), (9, -1), (9, 9), (9, 8)])
def test_without_two_sides_that_do_not_cross_the_compiled_forms_quote_nothing(
    bid: int, ask: int
) -> None:
    for strategy in (build_strategy(Glft, **GLFT), build_strategy(AvellanedaStoikov, **AS)):
        assert compiled(strategy, bid, ask, 0) == Quotes()


def test_what_has_no_compiled_form_says_so() -> None:
    assert build_strategy(Glft, **GLFT, solution="exact").decision == ""
    assert build_strategy(AvellanedaStoikov, **AS, horizon_is="fixed").decision == ""
