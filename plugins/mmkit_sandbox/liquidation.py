"""Liquidations: which orders of the flow are taken for one, and when they are told.

Source: USD-M and COIN-M Futures API, "Liquidation Order Streams": of each symbol the latest liquidation
within 1000 ms, and nothing if there was none.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from mmkit.events import Side
from mmkit_sandbox.matching import Trade

SHARE = 0.2
"""Of the orders that sweep levels; about one in ten seconds with the default flow."""
EVERY_MS = 1000


class Sweep(NamedTuple):
    """An order that takes every level up to a price: immediate or cancel, price in ticks, quantity in lots."""

    order_id: int
    side: Side
    price: int
    quantity: int


class Liquidation(NamedTuple):
    """A sweep that closed somebody's position by force.

    Attributes:
        order: The order.
        average: What it traded at on average, in ticks.
        last: Lots of its last trade.
        filled: Lots traded.
        ts_ms: When.
    """

    order: Sweep
    average: float
    last: int
    filled: int
    ts_ms: int


class Liquidations:
    """Draws liquidations from the sweeps of a market, and keeps the latest until it is told.

    Args:
        random: Its own: whether a sweep is called a liquidation changes nothing in the market.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._latest: Liquidation | None = None

    def consider(self, sweep: Sweep, trades: Sequence[Trade], now_ms: int) -> None:
        """Take in a sweep and all its trades."""
        own = [trade for trade in trades if trade.taker_order_id == sweep.order_id]
        if self._random.random() >= SHARE or not own:
            return
        filled = sum(trade.quantity for trade in own)
        average = sum(trade.price * trade.quantity for trade in own) / filled
        self._latest = Liquidation(sweep, average, own[-1].quantity, filled, now_ms)

    def take(self) -> Liquidation | None:
        """Return the latest one that has not been told, `None` if there is none."""
        latest, self._latest = self._latest, None
        return latest
