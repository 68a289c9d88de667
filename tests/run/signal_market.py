"""A market whose next move is drawn from the sizes on the second level of its book, and commands that learn it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmkit.tape import LAST, SELL, Kind, Row, Tape
from mmkit.testing import BTCUSDT

STEP = 100_000_000
START = 1_700_000_000_000_000_000

Move = Callable[[np.random.Generator, float], int]


def drawn(dice: np.random.Generator, second: float) -> int:
    """Return the next move in ticks: the more on the second bid, the likelier up."""
    return int(np.sign(second)) if dice.random() < abs(second) else 0


def blind(dice: np.random.Generator, second: float) -> int:
    """Return a next move that hangs on nothing."""
    return int(dice.integers(3)) - 1


def tape(n: int, seed: int, move: Move = drawn, *, noise_from: int | None = None) -> Tape:
    """Return a book of two levels a side, a tick wide, that changes every 100 ms; one message a change.

    Args:
        n: How many changes.
        seed: Of all that is drawn.
        move: Draws the next move from ``(bid - ask) / (bid + ask)`` of the second level.
        noise_from: From this change on everything is drawn otherwise.
    """
    dice = np.random.default_rng(seed)
    rows: list[Row] = []
    bid, before = 10_000, dict[tuple[int, int], int]()
    for step in range(n):
        if step == noise_from:
            dice = np.random.default_rng(seed + 1_000_000)
        # The first level is small beside the second, so that the sum of both tells of that.
        sizes = dice.integers(1, (10, 1_000, 10, 1_000))
        book = {
            (0, bid): int(sizes[0]),
            (0, bid - 1): int(sizes[1]),
            (int(SELL), bid + 1): int(sizes[2]),
            (int(SELL), bid + 2): int(sizes[3]),
        }
        at = START + step * STEP
        changes = [
            (int(Kind.LEVEL) | side, price, 0)
            for side, price in before
            if (side, price) not in book
        ]
        changes += [(int(Kind.LEVEL) | side, price, size) for (side, price), size in book.items()]
        if step == 0:
            changes.insert(0, (int(Kind.SNAPSHOT), 0, 0))
        message = [(at, at, kind, price, size) for kind, price, size in changes]
        message[-1] = (at, at, message[-1][2] | LAST, *message[-1][3:])
        rows += message
        before = book
        second = float(sizes[1] - sizes[3]) / float(sizes[1] + sizes[3])
        bid += move(dice, second)
    return Tape.from_rows(BTCUSDT, rows)


FEATURES = ["spread", "imbalance", {"name": "imbalance", "levels": 2}, "bid_size", {"name": "bid_volume", "levels": 2},
            "ask_size", {"name": "ask_volume", "levels": 2}, {"name": "return", "window": "500ms"}]  # fmt: skip


def configuration(folder: Path, market: Tape, name: str = "day", **training: Any) -> Path:
    """Write a tape and a configuration that trains on it; return the latter."""
    market.save(folder / f"{name}.tape")
    plain = {
        "instrument": {"venue": "binance", "market": "usdm", "symbol": "BTC/USDT:USDT"},
        "data": {"plugin": "rows", "paths": [str(folder / f"{name}.tape")]},
        "features": FEATURES,
        "sampling": "update",
        "labels": {"horizon": 1, "threshold_bps": 0},
        "training": {
            "plugin": "lightgbm",
            "out": str(folder / f"model-{name}"),
            "folds": 2,
            "rounds": 60,
            "patience": 20,
            **training,
        },
    }
    path = folder / f"{name}.yml"
    # JSON is YAML.
    path.write_text(json.dumps(plain))
    return path
