"""`avellaneda_stoikov`, `glft` and `imbalance`, compiled."""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from mmkit.decision import BEST_ASK, BEST_BID, LEVELS, NOW, POSITION, decision
from mmkit_strategies.placement import NOISE, UNQUOTED

_SECOND = 1_000_000_000  # in ns


# Here, beside those who call it: compiled code is kept until its own file changes.
@njit
def _two_sided(
    view: Any, wanted: Any, own_bid: float, own_ask: float, size: float, max_position: float
) -> None:
    """As `mmkit_strategies.placement.two_sided`, in the same order of operations."""
    bid, ask, position = view[BEST_BID], view[BEST_ASK], view[POSITION]
    if own_ask - own_bid < 1:
        between = (own_bid + own_ask) / 2
        own_bid, own_ask = between - 0.5, between + 0.5
    own_bid, own_ask = own_bid + NOISE, own_ask - NOISE
    n = 2
    if own_bid >= 1 and position < max_position:
        wanted[0] = 1
        wanted[n], wanted[n + 1] = math.floor(min(own_bid, ask - 1)), int(size)
        n += 2
    if own_ask <= bid + ask - 1 and position > -max_position:
        wanted[1] = 1
        wanted[n], wanted[n + 1] = math.ceil(max(own_ask, bid + 1)), int(size)


@njit
def _lean(parameters: Any, skew: int, said: int, mid: float) -> float:
    """As `SignalSkew.ticks`, with its parameters from `skew` on, and what the signal says from `said` on."""
    away = parameters[skew] * mid / parameters[skew + 1] + parameters[skew + 2]
    return float(away * (parameters[said + 2] - parameters[said]))


@decision
def avellaneda_stoikov(view: Any, parameters: Any, wanted: Any) -> None:
    """As `AvellanedaStoikov.quote`, in the same order of operations.

    Parameters: size and max_position in lots; sigma as the numerator and the denominator of a share of mid,
    and as a number of ticks; gamma; the horizon in seconds; the fixed part of the spread; a fixed horizon in ns, 0
    for a rolling one; then the run's memory: whether the strategy has been asked, and when it first was, in
    seconds and ns, as a float does not hold both; then signal_skew and what the signal says.
    """
    bid, ask, position = view[BEST_BID], view[BEST_ASK], view[POSITION]
    if bid < 0 or ask < 0 or bid >= ask:
        return
    mid = (bid + ask) / 2
    sigma = parameters[2] * mid / parameters[3] + parameters[4]
    gamma, remaining = parameters[5], parameters[6]
    horizon = int(parameters[8])
    if horizon > 0:
        now = view[NOW]
        if parameters[9] == 0:
            parameters[9] = 1.0
            parameters[10], parameters[11] = float(now // _SECOND), float(now % _SECOND)
        began = int(parameters[10]) * _SECOND + int(parameters[11])
        remaining = (horizon - (now - began) % horizon) / _SECOND
    center = mid - position / parameters[0] * gamma * sigma * sigma * remaining
    center += _lean(parameters, 12, 15, mid)
    away = (gamma * sigma * sigma * remaining + parameters[7]) / 2
    _two_sided(view, wanted, center - away, center + away, parameters[0], parameters[1])


@decision
def glft(view: Any, parameters: Any, wanted: Any) -> None:
    """As `Glft.quote` with the closed form, in the same order of operations.

    Parameters: size and max_position in lots; sigma as the numerator and the denominator of a share of mid,
    and as a number of ticks; c1 and c2 of the closed form; signal_skew and what the signal says.
    """
    bid, ask, position = view[BEST_BID], view[BEST_ASK], view[POSITION]
    if bid < 0 or ask < 0 or bid >= ask:
        return
    mid = (bid + ask) / 2
    sigma = parameters[2] * mid / parameters[3] + parameters[4]
    half_spread, skew = parameters[5] + 0.5 * sigma * parameters[6], sigma * parameters[6]
    inventory = position / parameters[0]
    shift = _lean(parameters, 7, 10, mid)
    own_bid = mid - (half_spread + skew * inventory) + shift
    own_ask = mid + (half_spread - skew * inventory) + shift
    _two_sided(view, wanted, own_bid, own_ask, parameters[0], parameters[1])


@njit
def _between(parameters: Any, first: int, place: float) -> float:
    """As `mmkit_strategies.glft._between`, of the values from `first` on."""
    low = math.floor(place)
    share = place - low
    if share == 0:
        return float(parameters[first + low])
    near, far = parameters[first + low], parameters[first + low + 1]
    if near >= UNQUOTED or far >= UNQUOTED:
        return float(min(near, far))
    return float(near + share * (far - near))


@decision
def glft_exact(view: Any, parameters: Any, wanted: Any) -> None:
    """As `Glft.quote` with the exact solution for a sigma in ticks, in the same order of operations.

    Parameters: size and max_position in lots; Q, the largest inventory in orders; signal_skew; the distances of
    the bid for each inventory from -Q to Q, and those of the ask; then what the signal says.
    """
    bid, ask, position = view[BEST_BID], view[BEST_ASK], view[POSITION]
    if bid < 0 or ask < 0 or bid >= ask:
        return
    mid = (bid + ask) / 2
    most = int(parameters[2])
    place = min(max(position / parameters[0] + most, 0.0), 2.0 * most)
    count = 2 * most + 1
    shift = _lean(parameters, 3, 6 + 2 * count, mid)
    own_bid = mid - _between(parameters, 6, place) + shift
    own_ask = mid + _between(parameters, 6 + count, place) + shift
    _two_sided(view, wanted, own_bid, own_ask, parameters[0], parameters[1])


@decision
def imbalance(view: Any, parameters: Any, wanted: Any) -> None:
    """As `Imbalance.quote`, in the same order of operations.

    Parameters: size and max_position in lots; half spread, skew and signal_skew, each as the numerator and
    the denominator of a share of mid, and as a number of ticks; then rows and columns of the adjustment, the table, and
    what the signal says.
    """
    bid, ask, position = view[BEST_BID], view[BEST_ASK], view[POSITION]
    if bid < 0 or ask < 0 or bid >= ask:
        return
    bid_quantity, ask_quantity = float(view[LEVELS + 1]), float(view[LEVELS + 3])
    mid = (bid + ask) / 2
    rows, columns = int(parameters[11]), int(parameters[12])
    if rows:
        share = bid_quantity / (bid_quantity + ask_quantity)
        row = min(ask - bid, rows) - 1
        price = mid + parameters[13 + row * columns + min(columns - 1, int(columns * share))]
    else:
        price = (bid * ask_quantity + ask * bid_quantity) / (bid_quantity + ask_quantity)
    half_spread = parameters[2] * mid / parameters[3] + parameters[4]
    skew = parameters[5] * mid / parameters[6] + parameters[7]
    center = price - skew * position / parameters[0]
    center += _lean(parameters, 8, 13 + rows * columns, mid)
    _two_sided(
        view, wanted, center - half_spread, center + half_spread, parameters[0], parameters[1]
    )
