"""`mmkit_strategies.grid`, compiled."""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from mmkit.decision import BEST_ASK, BEST_BID, POSITION, decision


# Here, beside those who call it: compiled code is kept until its own file changes.
@njit
def _lean(parameters: Any, skew: int, said: int, mid: float) -> float:
    """As `SignalSkew.ticks`, with its parameters from `skew` on, and what the signal says from `said` on."""
    away = parameters[skew] * mid / parameters[skew + 1] + parameters[skew + 2]
    return float(away * (parameters[said + 2] - parameters[said]))


@decision
def decide(view: Any, parameters: Any, wanted: Any) -> None:
    """As `Grid.quote`, in the same order of operations.

    Parameters: size and max_position in lots; the number of levels; half spread, spacing, skew and
    signal_skew, each as the numerator and the denominator of a share of mid, and as a number of ticks; then what the
    signal says.
    """
    bid, ask, position = view[BEST_BID], view[BEST_ASK], view[POSITION]
    if bid < 0 or ask < 0 or bid >= ask:
        return
    size, max_position, levels = int(parameters[0]), int(parameters[1]), int(parameters[2])
    mid = (bid + ask) / 2
    half_spread = parameters[3] * mid / parameters[4] + parameters[5]
    spacing = parameters[6] * mid / parameters[7] + parameters[8]
    skew = parameters[9] * mid / parameters[10] + parameters[11]
    center = mid - skew * position / size
    center += _lean(parameters, 12, 15, mid)
    away = max(half_spread, 0.5)
    step = max(1, round(spacing))
    first_bid = min(math.floor(center - away), ask - 1)
    first_ask = max(math.ceil(center + away), bid + 1)
    n = 2
    for side in range(2):
        room = max_position + position if side else max_position - position
        count = min(levels, max(1, room // size)) if room > 0 else 0
        for level in range(count):
            price = first_ask + level * step if side else first_bid - level * step
            if price > 0:
                wanted[side] += 1
                wanted[n], wanted[n + 1] = price, size
                n += 2
