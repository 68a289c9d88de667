"""What happens later changes nothing that was decided before.

Where a report may overtake the data that caused it (`plain`), "later" is what *happens* later: a fill may be known
before its trade is received. Where it may not (`after_data`), it is what is *received* later.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from core_rows import BTCUSDT
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import anything, rows_of, with_funding

from mmkit.commands import CancelOrder, SubmitOrder
from mmkit.interfaces import Strategy
from mmkit.settings import SimSettings
from mmkit.tape import Row, Tape
from mmkit.testing import build_strategy, random_tape, run_strategy
from mmkit_strategies.avellaneda_stoikov import AvellanedaStoikov
from mmkit_strategies.glft import Glft
from mmkit_strategies.grid import Grid
from mmkit_strategies.imbalance import Imbalance
from mmkit_strategies.join_best import JoinBest
from mmkit_strategies.skewed import Skewed

SIZES = {"size": "0.005", "max_position": "0.03"}
STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "join_best": lambda: build_strategy(JoinBest, every="100ms", **SIZES),
    "skewed": lambda: build_strategy(
        Skewed, every="70ms", on=["best", "fill"], half_spread="1ticks", skew="1ticks", **SIZES
    ),
    "grid": lambda: build_strategy(
        Grid, every="200ms", levels=3, half_spread="1ticks", spacing="1ticks", **SIZES
    ),
    "imbalance": lambda: build_strategy(Imbalance, on=["best"], half_spread="1ticks", **SIZES),
    "avellaneda_stoikov": lambda: build_strategy(
        AvellanedaStoikov, every="100ms", gamma=0.1, k=1.5, sigma="1ticks", horizon="5s", **SIZES
    ),
    "glft": lambda: build_strategy(
        Glft, every="100ms", on=["trade"], A=1.0, k=0.5, gamma=0.05, sigma="1ticks", **SIZES
    ),
    "anything": lambda: anything(5, on=["trade"]),
}
SIMS = [
    {},
    {
        "latency": {
            "entry": {"quantiles": ["1ms", "400ms"]},
            "response": {"quantiles": ["0s", "2s"]},
        }
    },
]


def decided(name: str, rows: list[Row], sim: SimSettings, until: int) -> list[Any]:
    """Return the commands before `until`."""
    _, entries = run_strategy(STRATEGIES[name](), Tape.from_rows(BTCUSDT, rows), sim)
    commands = [entry for entry in entries if isinstance(entry, SubmitOrder | CancelOrder)]
    return [command for command in commands if command.ts_local < until]


def later(row: Row, moment: int, reports: str) -> bool:
    return row[1] >= moment if reports == "after_data" else row[0] >= moment


def shuffled(rows: list[Row], seed: int) -> list[Row]:
    """Return rows with the same times, and what happens at them in another order."""
    contents = [row[2:] for row in rows]
    random.Random(seed).shuffle(contents)
    return [(*row[:2], *content) for row, content in zip(rows, contents, strict=True)]


@pytest.mark.parametrize("changes", SIMS, ids=["constant", "drawn"])
@pytest.mark.parametrize("reports", ["plain", "after_data"])
@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.2, 0.9))
def test_no_order_depends_on_what_comes_later(
    name: str, reports: str, changes: dict[str, Any], seed: int, share: float
) -> None:
    rows = rows_of(with_funding(random_tape(seed, 250), seed))
    sim = SimSettings.model_validate({**changes, "fill_reports": reports})
    moment = rows[int(len(rows) * share)][0 if reports == "plain" else 1]
    before = [row for row in rows if not later(row, moment, reports)]
    after = [row for row in rows if later(row, moment, reports)]
    whole = decided(name, rows, sim, moment)

    # Once the data has ended nothing is decided any more.
    end = min(moment, before[-1][1])
    assert decided(name, before, sim, end) == [one for one in whole if one.ts_local < end]
    # Neither clock of these markets turns back, so that what is shuffled stays behind the rest.
    assert decided(name, before + shuffled(after, seed), sim, moment) == whole


@pytest.mark.parametrize("reports", ["plain", "after_data"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_what_comes_earlier_does_change_orders(name: str, reports: str) -> None:
    """The other way round, so that the test above says something."""
    rows = rows_of(with_funding(random_tape(8, 250), 8))
    sim = SimSettings.model_validate({"fill_reports": reports})
    half = len(rows) // 2
    end = rows[-1][1]
    whole = decided(name, rows, sim, end)
    assert len(whole) > 10
    assert decided(name, rows[:half] + shuffled(rows[half:], 1), sim, end) != whole
