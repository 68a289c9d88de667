"""The market of Avellaneda and Stoikov (2008), section 3.3, with its own rule for fills.

Mid moves by ``+-sigma sqrt(dt)`` each step. A quote at distance delta from mid is filled, for one unit,
with probability ``A exp(-k delta) dt``: there is no book, no queue and no latency. Prices are in the
paper's unit and time in days.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from mmkit.interfaces import MarketView, Quotes, Strategy
from mmkit.testing import BTCUSDT, build_strategy
from mmkit_strategies.avellaneda_stoikov import (
    AvellanedaStoikov,
    optimal_spread,
    reservation_price,
)

Floats = npt.NDArray[np.float64]

S0, T, SIGMA, DT, K, A = 100.0, 1.0, 2.0, 0.005, 1.5, 140.0
STEPS = round(T / DT)
PATHS = 1000

Quoted = Callable[[Floats, Floats, float], tuple[Floats, Floats]]
"""Bid and ask for mids, inventories and the time left."""


@dataclass(frozen=True)
class Outcome:
    """A row of the paper's tables."""

    avg_spread: float
    profit: float
    std_profit: float
    final_q: float
    std_final_q: float


def simulate(quoted: Quoted, seed: int, paths: int = PATHS) -> Outcome:
    """Quote through `paths` days and return what came of them."""
    dice = np.random.default_rng(seed)
    mid, cash, inventory = np.full(paths, S0), np.zeros(paths), np.zeros(paths)
    spreads = []
    for step in range(STEPS):
        bid, ask = quoted(mid, inventory, T - step * DT)
        spreads.append(float(np.mean(ask - bid)))
        bought = dice.random(paths) < A * np.exp(-K * (mid - bid)) * DT
        sold = dice.random(paths) < A * np.exp(-K * (ask - mid)) * DT
        cash += np.where(sold, ask, 0) - np.where(bought, bid, 0)
        inventory += bought.astype(float) - sold
        mid = mid + SIGMA * math.sqrt(DT) * dice.choice((-1.0, 1.0), paths)
    profit = cash + inventory * mid
    return Outcome(
        float(np.mean(spreads)),
        float(profit.mean()),
        float(profit.std(ddof=1)),
        float(inventory.mean()),
        float(inventory.std(ddof=1)),
    )


def inventory_strategy(gamma: float) -> Quoted:
    """The paper's strategy, from the bundled formulas: the spread around the reservation price."""

    def quoted(mid: Floats, inventory: Floats, left: float) -> tuple[Floats, Floats]:
        # Plain arithmetic: arrays go through a formula that is annotated for one price.
        center = cast(
            Floats, reservation_price(cast(Any, mid), cast(Any, inventory), gamma, SIGMA, left)
        )
        away = optimal_spread(gamma, SIGMA, K, left) / 2
        return center - away, center + away

    return quoted


def symmetric_strategy(gamma: float) -> Quoted:
    """The paper's benchmark: the time average of that spread, around mid."""
    lefts = [T - step * DT for step in range(STEPS)]
    away = sum(optimal_spread(gamma, SIGMA, K, left) for left in lefts) / STEPS / 2
    return lambda mid, inventory, left: (mid - away, mid + away)


TICKS = 1000
"""Ticks to the paper's unit of price, so that the grid hardly matters."""
_DAY = 1_000_000_000
"""The paper's day is a second here, in ns."""


def bundled_strategy(gamma: float) -> Quoted:
    """The bundled `avellaneda_stoikov` itself, asked for every path and step through its `quote`.

    There is no book in the paper: here its best prices are ten away from mid on either side, so that a
    quote beyond mid stays where the formula wants it.
    """
    far = 10 * TICKS
    strategies: list[Strategy] = []

    def quoted(mid: Floats, inventory: Floats, left: float) -> tuple[Floats, Floats]:
        if not strategies:
            strategies.extend(
                build_strategy(
                    AvellanedaStoikov,
                    gamma=gamma / TICKS,
                    k=K / TICKS,
                    sigma=f"{SIGMA * TICKS:g}ticks",
                    horizon="1s",
                    horizon_is="fixed",
                    size=str(BTCUSDT.lot),
                    max_position="1000",
                )
                for _ in mid
            )
        now = round((T - left) * _DAY)
        bids, asks = [], []
        for strategy, price, held in zip(strategies, mid.tolist(), inventory.tolist(), strict=True):
            ticks = round(price * TICKS)
            view = SimpleNamespace(
                best_bid=ticks - far, best_ask=ticks + far, position=int(held), now=now
            )
            answer = strategy.quote(cast(MarketView, view))
            assert isinstance(answer, Quotes)
            bids.append(answer.bids[0][0] / TICKS)
            asks.append(answer.asks[0][0] / TICKS)
        return np.array(bids), np.array(asks)

    return quoted
