"""`avellaneda_stoikov` (rolling horizon) and `glft` (asymptotic), compiled."""

from __future__ import annotations

import math
from typing import Any

from mmkit.decision import BEST_ASK, BEST_BID, POSITION, decision
from mmkit_strategies.placement import NOISE


@decision
def avellaneda_stoikov(view: Any, parameters: Any, wanted: Any) -> None:
    """As `AvellanedaStoikov.quote` with a rolling horizon, in the same order of operations.

    Parameters: size and max_position in lots; sigma as the numerator and the denominator of a share of mid,
    and as a number of ticks; gamma; the horizon in seconds; the fixed part of the spread.
    """
    bid, ask, position = view[BEST_BID], view[BEST_ASK], view[POSITION]
    if bid < 0 or ask < 0 or bid >= ask:
        return
    mid = (bid + ask) / 2
    sigma = parameters[2] * mid / parameters[3] + parameters[4]
    gamma, remaining = parameters[5], parameters[6]
    center = mid - position / parameters[0] * gamma * sigma * sigma * remaining
    away = (gamma * sigma * sigma * remaining + parameters[7]) / 2
    # As in `mmkit_strategies.placement`.
    own_bid, own_ask = center - away, center + away
    if own_ask - own_bid < 1:
        between = (own_bid + own_ask) / 2
        own_bid, own_ask = between - 0.5, between + 0.5
    own_bid, own_ask = own_bid + NOISE, own_ask - NOISE
    n = 2
    if own_bid >= 1 and position < parameters[1]:
        wanted[0] = 1
        wanted[n], wanted[n + 1] = math.floor(min(own_bid, ask - 1)), int(parameters[0])
        n += 2
    if own_ask <= bid + ask - 1 and position > -parameters[1]:
        wanted[1] = 1
        wanted[n], wanted[n + 1] = math.ceil(max(own_ask, bid + 1)), int(parameters[0])


@decision
def glft(view: Any, parameters: Any, wanted: Any) -> None:
    """As `Glft.quote` with the closed form, in the same order of operations.

    Parameters: size and max_position in lots; sigma as the numerator and the denominator of a share of mid,
    and as a number of ticks; c1 and c2 of the closed form.
    """
    bid, ask, position = view[BEST_BID], view[BEST_ASK], view[POSITION]
    if bid < 0 or ask < 0 or bid >= ask:
        return
    mid = (bid + ask) / 2
    sigma = parameters[2] * mid / parameters[3] + parameters[4]
    half_spread, skew = parameters[5] + 0.5 * sigma * parameters[6], sigma * parameters[6]
    inventory = position / parameters[0]
    own_bid = mid - (half_spread + skew * inventory)
    own_ask = mid + (half_spread - skew * inventory)
    # As in `mmkit_strategies.placement`.
    if own_ask - own_bid < 1:
        between = (own_bid + own_ask) / 2
        own_bid, own_ask = between - 0.5, between + 0.5
    own_bid, own_ask = own_bid + NOISE, own_ask - NOISE
    n = 2
    if own_bid >= 1 and position < parameters[1]:
        wanted[0] = 1
        wanted[n], wanted[n + 1] = math.floor(min(own_bid, ask - 1)), int(parameters[0])
        n += 2
    if own_ask <= bid + ask - 1 and position > -parameters[1]:
        wanted[1] = 1
        wanted[n], wanted[n + 1] = math.ceil(max(own_ask, bid + 1)), int(parameters[0])
