"""Tables 1 to 3 of Avellaneda and Stoikov (2008), with the paper's market and fill rule.

Tolerances are those of the numbers' keeper: 3 standard errors of a run of 1000 paths. Both the paper and
this run have 1000 paths, so that a difference of the two would be allowed more; it is not needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from paper_market import (
    PATHS,
    Outcome,
    Quoted,
    bundled_strategy,
    inventory_strategy,
    simulate,
    symmetric_strategy,
)

# gamma: average spread, profit, std of profit, final inventory, std of final inventory
INVENTORY = {
    0.1: Outcome(1.49, 65.0, 6.6, 0.08, 2.9),
    0.01: Outcome(1.35, 68.6, 8.7, 0.12, 5.1),
    1.0: Outcome(3.02, 31.4, 5.0, 0.02, 1.7),
}
SYMMETRIC = {
    0.1: Outcome(1.49, 68.4, 12.7, 0.26, 8.4),
    0.01: Outcome(1.35, 68.8, 12.8, 0.09, 8.7),
    1.0: Outcome(3.02, 44.0, 11.0, 0.0, 5.1),
}
SEED = 2008
SPREAD = 0.013  # the print has two digits, and 3.02 where the formula gives 3.0317 (3.032 on ticks)


# An independent Monte Carlo of 20,000 paths (tables.json, our_check_20000_paths).
CHECK_PATHS = 20_000
CHECK = {
    (inventory_strategy, 0.1): Outcome(1.492, 64.896, 6.546, -0.003, 2.916),
    (symmetric_strategy, 0.1): Outcome(1.492, 68.195, 13.391, 0.046, 8.354),
    (inventory_strategy, 0.01): Outcome(1.349, 68.42, 8.94, 0.004, 5.188),
    (symmetric_strategy, 0.01): Outcome(1.349, 68.651, 13.568, 0.059, 8.626),
    (inventory_strategy, 1.0): Outcome(3.032, 31.494, 4.854, -0.004, 1.645),
    (symmetric_strategy, 1.0): Outcome(3.032, 43.785, 10.708, 0.052, 5.149),
}


def assert_reproduces(
    found: Outcome, printed: Outcome, paths: int, spread: float, most_std_profit: float = 0
) -> None:
    """`most_std_profit` is what every reproduction of the symmetric strategy has, above the print."""
    of_mean, of_std = 3 / math.sqrt(paths), 3 / math.sqrt(2 * paths)
    assert found.avg_spread == pytest.approx(printed.avg_spread, abs=spread)
    assert found.profit == pytest.approx(printed.profit, abs=of_mean * printed.std_profit)
    assert found.final_q == pytest.approx(printed.final_q, abs=of_mean * printed.std_final_q)
    assert found.std_final_q == pytest.approx(printed.std_final_q, abs=of_std * printed.std_final_q)
    slack = of_std * printed.std_profit
    assert found.std_profit >= printed.std_profit - slack
    assert found.std_profit <= max(printed.std_profit + slack, most_std_profit)


@pytest.mark.parametrize("gamma", INVENTORY)
@pytest.mark.parametrize("quoted", [inventory_strategy, bundled_strategy])
def test_the_inventory_strategy_has_the_papers_profit_and_inventory(
    gamma: float, quoted: Callable[[float], Quoted]
) -> None:
    assert_reproduces(simulate(quoted(gamma), SEED), INVENTORY[gamma], PATHS, SPREAD)


@pytest.mark.parametrize("gamma", SYMMETRIC)
def test_the_symmetric_strategy_has_the_papers_profit_and_inventory(gamma: float) -> None:
    # 13.4 to 13.6 in every reproduction against the 12.7 and 12.8 printed for these two.
    most = 13.6 if gamma < 1 else 0
    assert_reproduces(
        simulate(symmetric_strategy(gamma), SEED), SYMMETRIC[gamma], PATHS, SPREAD, most
    )


@pytest.mark.parametrize(("kind", "gamma"), CHECK)
def test_twenty_thousand_paths_agree_with_an_independent_monte_carlo(
    kind: Callable[[float], Quoted], gamma: float
) -> None:
    # Both sides are drawn, so the error of the difference is that of half as many paths.
    found = simulate(kind(gamma), SEED, CHECK_PATHS)
    assert_reproduces(found, CHECK[kind, gamma], CHECK_PATHS // 2, 0.0005)
