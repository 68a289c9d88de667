"""Values, fees and what is received, compiled: as `mmkit.portfolio` and `mmkit.sim.fees`, in whole units."""

from __future__ import annotations

from typing import Any

from mmkit.sim.kernel.layout import DAYS
from mmkit.sim.kernel.pointers import inline, int64s

_STEP = 1_000_000
"""Inverse values have twelve decimals, made six at a time, so that no product outgrows 64 bits."""
_DAY_NS = 86_400_000_000_000
_MOST = 4e18
_MOST_MONEY = 5e17
"""A sixteenth of what 64 bits hold: equity is the sum of four amounts, and prices move between fills."""


@inline
def _half_even(whole: int, rest: int, under: int) -> int:
    """Return ``whole + rest / under``, rounded half to even."""
    twice = 2 * rest
    return whole + (1 if twice > under or (twice == under and whole & 1) else 0)


@inline
def _divided(numerator: int, under: int) -> int:
    """Return ``numerator / under`` on the grid of inverse values; neither is below zero."""
    whole, rest = numerator // under, numerator % under
    for _ in range(2):
        rest *= _STEP
        whole = whole * _STEP + rest // under
        rest %= under
    return _half_even(whole, rest, under)


@inline
def value_of(s: Any, price: int, quantity: int) -> int:
    """Return what lots are worth at a price, in the unit of cash."""
    if not s.inverse:
        return price * quantity
    return _divided(quantity * s.by, price * s.over)


@inline
def held_at_mid(s: Any) -> int:
    """Return what the position is worth at mid, in the unit of equity."""
    twice_mid = s.bid + s.ask
    if not s.inverse:
        return s.denominator * s.position * twice_mid
    value = _divided(2 * abs(s.position) * s.by, twice_mid * s.over)
    return value if s.position < 0 else -value


@inline
def fee_of(s: Any, value: int, taker: int) -> int:
    """Return the fee on a value by the tier in force, in the unit of fees."""
    fee = value * (s.taker if taker else s.maker)
    if not s.inverse:
        return fee
    return _half_even(fee // s.denominator, fee % s.denominator, s.denominator)


@inline
def reach_day(s: Any, at: int) -> None:
    """Decide the fee tier of the day, if a new one has begun at the venue; see `mmkit.sim.fees`."""
    day = at // _DAY_NS
    if s.tiers == 0 or day <= s.day:
        return
    traded = int64s(s.traded, DAYS)
    for new in range(s.day + 1, min(day, s.day + DAYS) + 1):
        traded[new % DAYS] = 0
    s.day = day
    # What was traded today counts from tomorrow on.
    volume = -traded[day % DAYS]
    for n in range(DAYS):
        volume += traded[n]
    since = min(day - s.first_day, DAYS - 1)
    needed, rates = int64s(s.needed, s.tiers * DAYS), int64s(s.rates, 2 * s.tiers)
    for tier in range(s.tiers):
        if volume >= needed[tier * DAYS + since]:
            s.maker, s.taker = rates[2 * tier], rates[2 * tier + 1]


@inline
def count_traded(s: Any, price: int, quantity: int) -> None:
    """Take in for the fee tiers what was traded."""
    if s.tiers:
        int64s(s.traded, DAYS)[s.day % DAYS] += quantity if s.inverse else price * quantity


@inline
def too_much(s: Any) -> bool:
    """Whether sums of money, or products on the way to them, come near what 64 bits hold."""
    held = abs(float(s.position))
    if s.inverse:
        price = float(max(s.bid, s.ask, 1)) * float(s.over)
        return (
            2.0 * held * float(s.by) > _MOST
            or 2.0 * price * _STEP > _MOST
            or 2.0 * held * float(s.by) / price * _STEP * _STEP > _MOST_MONEY
            or abs(float(s.cash)) > _MOST_MONEY
            or abs(float(s.fees)) + abs(float(s.funding)) > _MOST_MONEY
        )
    return (
        abs(float(s.cash)) * float(s.cash_worth) > _MOST_MONEY
        or abs(float(s.fees)) * float(s.fee_worth) + abs(float(s.funding)) > _MOST_MONEY
        or 2.0 * held * float(s.denominator) * float(max(s.bid, s.ask)) > _MOST_MONEY
    )


@inline
def too_large(s: Any, price: int, quantity: int) -> bool:
    """Whether a trade of so many lots might not fit 64 bits on the way to its fee."""
    rate = float(max(abs(s.maker), abs(s.taker), 1))
    if not s.inverse:
        return float(price) * float(quantity) * max(rate, float(s.denominator)) > _MOST
    under = float(price) * float(s.over)
    return (
        float(quantity) * float(s.by) > _MOST
        or under * _STEP > _MOST
        or float(quantity) * float(s.by) / under * _STEP * _STEP * rate > _MOST
    )
