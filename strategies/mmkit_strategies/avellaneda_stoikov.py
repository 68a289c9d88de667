"""Quote around the reservation price of Avellaneda and Stoikov (2008)."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from mmkit.interfaces import NO_QUOTES, Context, MarketView, Quotes, Strategy
from mmkit.units import Distance, Duration, Exact
from mmkit_strategies.placement import two_sided
from mmkit_strategies.signal_skew import SignalSkew, SignalSkewConfig

_SECOND = 1_000_000_000  # in ns


def reservation_price(
    mid: float, inventory: float, gamma: float, sigma: float, remaining: float
) -> float:
    """Return ``r = s - q gamma sigma^2 (T - t)``, equation (3.17) of the paper, in the unit of `mid`.

    Plain arithmetic: numpy arrays of `mid` and `inventory` give an array.

    Args:
        mid: s, in any unit of price, say ticks; the others follow it.
        inventory: q, in orders.
        gamma: Risk aversion, 1 / (price x order).
        sigma: Price / sqrt(time).
        remaining: T - t, in the same unit of time.
    """
    return mid - inventory * gamma * sigma * sigma * remaining


def optimal_spread(gamma: float, sigma: float, k: float, remaining: float) -> float:
    """Return ``gamma sigma^2 (T - t) + (2 / gamma) ln(1 + gamma / k)``, equation (3.18), ask less bid.

    Args:
        gamma: Risk aversion, 1 / (price x order).
        sigma: Price / sqrt(time).
        k: How fast fills fall off with the distance, 1 / price: intensity ``A exp(-k distance)``.
        remaining: T - t, in the same unit of time.
    """
    return gamma * sigma * sigma * remaining + 2 / gamma * math.log1p(gamma / k)


class AvellanedaStoikovConfig(SignalSkewConfig):
    """Keys of `avellaneda_stoikov`. Prices count in ticks, time in seconds, inventory in `size`s."""

    gamma: float = Field(
        gt=0, le=1e6, allow_inf_nan=False, description="Risk aversion, per tick and `size` held."
    )
    k: float = Field(
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="How fast fills fall off with the distance from mid, per tick.",
    )
    sigma: Distance = Field(
        description="How far mid moves in one second (standard deviation), such as 3ticks or 0.5bps."
    )
    horizon: Duration = Field(
        gt=0, description="T: how long the inventory may be carried, such as 60s."
    )
    horizon_is: Literal["rolling", "fixed"] = Field(
        "rolling",
        description="rolling: the end is always one horizon away. fixed: it comes nearer from the first "
        "time the strategy is asked, and the next horizon begins when it is reached.",
    )
    size: Exact = Field(gt=0, description="Quantity of each quote, a decimal in quotes.")
    max_position: Exact = Field(
        gt=0, description="Stop adding at this position, a decimal in quotes."
    )


class AvellanedaStoikov(Strategy):
    """Quote at ``r -+ spread / 2``, which leans against the inventory the more there is time to lose.

    M. Avellaneda and S. Stoikov, "High-frequency trading in a limit order book", Quantitative Finance
    8(3), 2008, 217-224, section 3.2. The paper has a day that ends; markets that never close have
    `horizon_is`. The paper's quotes may lie beyond mid when the inventory is large; here they stop where
    they would take (`mmkit_strategies.placement`).

    `gamma`, `k` and `sigma` belong to one instrument: ``mmkit calibrate intensity`` measures the last two.
    """

    Config = AvellanedaStoikovConfig
    decision = "mmkit_strategies.around_mid_compiled:avellaneda_stoikov"

    def __init__(self, config: AvellanedaStoikovConfig, context: Context) -> None:
        super().__init__(config, context)
        self._signal = SignalSkew(config, context)
        self.decision_signal = self._signal.name
        self._gamma, self._k, self._sigma = config.gamma, config.k, config.sigma
        self._horizon = config.horizon
        self._fixed = config.horizon_is == "fixed"
        self._began: int | None = None
        self._instrument = context.instrument
        self._size = context.instrument.lots(config.size)
        self._max_position = context.instrument.lots(config.max_position)

    def parameters(self) -> tuple[float, ...]:
        """Limits, volatility, constants and room for a memory, for the compiled decision."""
        return (
            self._size,
            self._max_position,
            *self._sigma.formula(self._instrument),
            self._gamma,
            self._horizon / _SECOND,
            optimal_spread(self._gamma, 0.0, self._k, 0.0),
            self._horizon if self._fixed else 0,
            *(0, 0, 0),
            *self._signal.parameters(),
        )

    def quote(self, view: MarketView) -> Quotes:
        """Quote both sides, but not the one that would add beyond the limit."""
        bid, ask = view.best_bid, view.best_ask
        if bid is None or ask is None or bid >= ask:
            return NO_QUOTES
        mid, position = (bid + ask) / 2, view.position
        sigma = self._sigma.ticks(mid, self._instrument)
        remaining = self._remaining(view.now)
        center = reservation_price(mid, position / self._size, self._gamma, sigma, remaining)
        center += self._signal.ticks(view, mid)
        away = optimal_spread(self._gamma, sigma, self._k, remaining) / 2
        return two_sided(
            bid,
            ask,
            center - away,
            center + away,
            size=self._size,
            position=position,
            max_position=self._max_position,
        )

    def _remaining(self, now: int) -> float:
        """Return T - t in seconds."""
        if not self._fixed:
            return self._horizon / _SECOND
        if self._began is None:
            self._began = now
        return (self._horizon - (now - self._began) % self._horizon) / _SECOND
