"""Where two wanted prices come to lie on the grid of a real book."""

from __future__ import annotations

import math

from mmkit.interfaces import Quotes

NOISE = 1e-6
"""In ticks: a price so near a whole one is that one, or rounding a sum of floats moved one side alone."""

UNQUOTED = 1e300
"""In place of an infinite distance where only finite numbers can be told; nobody quotes so far away."""


def two_sided(
    best_bid: int,
    best_ask: int,
    own_bid: float,
    own_ask: float,
    *,
    size: int,
    position: int,
    max_position: int,
) -> Quotes:
    """Return one quote a side at the wanted prices, on the grid and never taking.

    A bid is rounded down and an ask up: never closer than asked for. One that would cross the book stops
    at its nearest tick inside the spread. A bid below one tick, and an ask as far above mid as zero is
    below it, are not quoted: nobody would come. The side that would add beyond the limit is not quoted.

    Args:
        best_bid: In ticks.
        best_ask: In ticks, above `best_bid`.
        own_bid: Wanted, in ticks; minus infinity for none.
        own_ask: Wanted, in ticks, not below `own_bid`; infinity for none.
        size: Of each quote, in lots.
        position: In lots.
        max_position: In lots.

    Raises:
        ValueError: if a price is no number, or the wanted bid lies above the wanted ask.
    """
    if not own_bid <= own_ask:
        raise ValueError(f"wanted a bid at {own_bid} and an ask at {own_ask} ticks")
    if own_ask - own_bid < 1:
        # Closer than one tick, both could be rounded to the same price.
        center = (own_bid + own_ask) / 2
        own_bid, own_ask = center - 0.5, center + 0.5
    own_bid, own_ask = own_bid + NOISE, own_ask - NOISE
    bid = ask = None
    if own_bid >= 1 and position < max_position:
        bid = (math.floor(min(own_bid, best_ask - 1)), size)
    if own_ask <= best_bid + best_ask - 1 and position > -max_position:
        ask = (math.ceil(max(own_ask, best_bid + 1)), size)
    return Quotes(bid=bid, ask=ask)
