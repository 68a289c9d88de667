"""By how much advice widens or narrows quotes: bounded, and never faster than a given pace."""

from __future__ import annotations

import math
from typing import Self

from pydantic import Field, model_validator

from mmkit.answers import Anomaly, AnyAnswer, Conditions, Volatility
from mmkit.interfaces import PluginConfig

_MINUTE = 60_000_000_000  # in ns


def _factor(default: float, of: str) -> float:
    factor: float = Field(default, gt=0, le=100, description=f"Of the spread, while {of}.")
    return factor


class VolatilityFactors(PluginConfig):
    """Factors by the level of a `mmkit.answers.Volatility`."""

    high: float = _factor(1.5, "volatility is expected to be HIGH")
    medium: float = _factor(1.0, "it is expected to be MEDIUM")
    low: float = _factor(0.7, "it is expected to be LOW")


class DirectionFactors(PluginConfig):
    """Factors by the direction of a `mmkit.answers.Volatility`."""

    up: float = _factor(1.1, "the price is expected to go UP")
    down: float = _factor(1.1, "it is expected to go DOWN")
    sideways: float = _factor(0.9, "it is expected to go SIDEWAYS")


class ConditionsFactors(PluginConfig):
    """Factors by the spread that a `mmkit.answers.Conditions` sees."""

    narrow: float = _factor(0.7, "spreads are said to be NARROW")
    normal: float = _factor(1.0, "they are said to be NORMAL")
    wide: float = _factor(1.3, "they are said to be WIDE")


class DangerFactors(PluginConfig):
    """Factors by the danger that a `mmkit.answers.Anomaly` sees."""

    high: float = _factor(1.5, "the danger is said to be HIGH")
    medium: float = _factor(1.0, "it is said to be MEDIUM")
    low: float = _factor(1.0, "it is said to be LOW")


class FactorsConfig(PluginConfig):
    """What advice does to the spread, and how much at most."""

    volatility: VolatilityFactors = VolatilityFactors()
    direction: DirectionFactors = DirectionFactors()
    conditions: ConditionsFactors = ConditionsFactors()
    danger: DangerFactors = DangerFactors()
    min: float = Field(0.5, gt=0, le=1, description="The product of all factors is never below.")
    max: float = Field(2.0, ge=1, le=100, description="It is never above.")
    per_minute: float = Field(
        0.5, gt=0, le=1e6, description="The factor changes by at most so much in a minute."
    )

    @model_validator(mode="after")
    def _are_bounded(self) -> Self:
        if not self.min <= 1 <= self.max:
            raise ValueError(f"min <= 1 <= max was expected; found {self.min} and {self.max}")
        return self

    def of(self, answer: AnyAnswer) -> float:
        """Return the factor of one answer, before bounds; 1 for a question that says nothing of spreads."""
        match answer:
            case Volatility(level=level, direction=direction):
                by_level: float = getattr(self.volatility, level.lower())
                by_direction: float = getattr(self.direction, direction.lower())
                return by_level * by_direction
            case Conditions(spread=spread):
                by_spread: float = getattr(self.conditions, spread.lower())
                return by_spread
            case Anomaly(danger=danger):
                by_danger: float = getattr(self.danger, danger.lower())
                return by_danger
            case _:
                return 1.0

    def bounded(self, factor: float) -> float:
        """Return a factor within the bounds."""
        return max(self.min, min(self.max, factor))


def moved(value: float, target: float, most: float) -> float:
    """Return `value` moved towards `target` by `most`, and not beyond it."""
    if abs(target - value) <= most:
        return target
    return value + math.copysign(most, target - value)


class SpreadFactor:
    """The factor of the spread, a function of the advice heard so far and of time, and of nothing else.

    It moves in a straight line, at `FactorsConfig.per_minute`, from 1 towards the bounded product of the factors of
    the advice that holds, and back towards 1 as that expires. When and how often it is looked at changes nothing, so
    that a backtest with the same advice has the same factor at every instant.
    """

    def __init__(self, config: FactorsConfig) -> None:
        self._config = config
        self._value, self._at = 1.0, 0
        # By name, in the order first heard: the factor, and until when it holds.
        self._held: dict[str, tuple[float, int]] = {}

    def hear(self, name: str, answer: AnyAnswer, now: int, expires_ns: int) -> None:
        """Take in advice at `now`, its ``ts_local``; it takes the place of what was heard under that name.

        Args:
            name: Of the advisor.
            answer: What it says.
            now: Not before what was heard before it; ns since the epoch.
            expires_ns: From then on it does not count any more.
        """
        self._value, self._at = self.at(now), now
        self._held[name] = (self._config.of(answer), expires_ns)

    def at(self, now: int) -> float:
        """Return the factor at `now`, ns since the epoch, not before the last advice."""
        value, at = self._value, self._at
        expiries = {end for _, end in self._held.values() if at < end < now}
        for until in (*sorted(expiries), now):
            most = self._config.per_minute * ((until - at) / _MINUTE)
            value = moved(value, self._target(at), most)
            at = until
        return value

    def _target(self, at: int) -> float:
        """Return where it moves to from `at` until the next expiry."""
        return self._config.bounded(math.prod(one for one, end in self._held.values() if end > at))
