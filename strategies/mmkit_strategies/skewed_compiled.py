"""`mmkit_strategies.skewed`, compiled."""

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
    """As `Skewed.quote`.

    Parameters: size and max_position in lots; then half spread, skew and signal_skew, each as the numerator
    and the denominator of a share of mid, and as a number of ticks; then what the signal says.
    """
    bid, ask, position = view[BEST_BID], view[BEST_ASK], view[POSITION]
    if bid < 0 or ask < 0 or bid >= ask:
        return
    size = int(parameters[0])
    mid = (bid + ask) / 2
    # One of the two terms is 0: a distance is a share of the price or a number of ticks.
    half_spread = parameters[2] * mid / parameters[3] + parameters[4]
    skew = parameters[5] * mid / parameters[6] + parameters[7]
    center = mid - skew * position / size
    center += _lean(parameters, 8, 11, mid)
    away = max(half_spread, 0.5)
    own_bid = min(math.floor(center - away), ask - 1)
    own_ask = max(math.ceil(center + away), bid + 1)
    n = 2
    if position < parameters[1] and own_bid > 0:
        wanted[0] = 1
        wanted[n], wanted[n + 1] = own_bid, size
        n += 2
    if position > -parameters[1]:
        wanted[1] = 1
        wanted[n], wanted[n + 1] = own_ask, size
