"""Quote symmetrically around mid, shifted by the inventory."""

from __future__ import annotations

import math

from pydantic import Field

from mmkit.interfaces import NO_QUOTES, Context, MarketView, Quotes, Strategy
from mmkit.units import Distance, Exact
from mmkit_strategies.signal_skew import SignalSkew, SignalSkewConfig


class SkewedConfig(SignalSkewConfig):
    """Keys of `skewed`."""

    half_spread: Distance = Field(
        description="Distance from the center to each quote, such as 5bps."
    )
    skew: Distance = Field(
        Distance.parse("0ticks"),
        description="How far the center moves, against the inventory, for each `size` held.",
    )
    size: Exact = Field(gt=0, description="Quantity of each quote, a decimal in quotes.")
    max_position: Exact = Field(
        gt=0, description="Stop adding at this position, a decimal in quotes."
    )


class Skewed(Strategy):
    """Quote at ``center -+ half_spread``, where ``center = mid - skew x position / size``.

    A long position lowers both quotes, so the ask fills sooner and the inventory comes back. Linear in
    the position, like the reservation price of Avellaneda and Stoikov, "High-frequency trading in a limit
    order book", Quantitative Finance 8(3), 2008. Never crosses the book: a quote that would stops at the
    own side's nearest tick inside the spread.
    """

    Config = SkewedConfig
    decision = "mmkit_strategies.skewed_compiled:decide"

    def __init__(self, config: SkewedConfig, context: Context) -> None:
        super().__init__(config, context)
        self._signal = SignalSkew(config, context)
        self.decision_signal = self._signal.name
        self._half_spread, self._skew = config.half_spread, config.skew
        self._instrument = context.instrument
        self._size = context.instrument.lots(config.size)
        self._max_position = context.instrument.lots(config.max_position)

    def parameters(self) -> tuple[float, ...]:
        """Limits and distances for the compiled decision."""
        instrument = self._instrument
        return (
            self._size,
            self._max_position,
            *self._half_spread.formula(instrument),
            *self._skew.formula(instrument),
            *self._signal.parameters(),
        )

    def quote(self, view: MarketView) -> Quotes:
        """Quote both sides, but not the one that would add beyond the limit."""
        bid, ask = view.best_bid, view.best_ask
        if bid is None or ask is None or bid >= ask:
            return NO_QUOTES
        position = view.position
        mid = (bid + ask) / 2
        center = mid - self._skew.ticks(mid, self._instrument) * position / self._size
        center += self._signal.ticks(view, mid)
        # Half a tick at least: closer than that, both quotes could have the same price.
        away = max(self._half_spread.ticks(mid, self._instrument), 0.5)
        # A bid is rounded down and an ask up: never closer than asked for.
        own_bid = min(math.floor(center - away), ask - 1)
        own_ask = max(math.ceil(center + away), bid + 1)
        return Quotes(
            bid=(own_bid, self._size) if position < self._max_position and own_bid > 0 else None,
            ask=(own_ask, self._size) if position > -self._max_position else None,
        )
