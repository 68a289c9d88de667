"""Several levels a side at equal distances, shifted by the inventory."""

from __future__ import annotations

import math

from pydantic import Field

from mmkit.interfaces import NO_QUOTES, Context, MarketView, Quotes, Strategy
from mmkit.units import Distance, Exact
from mmkit_strategies.signal_skew import SignalSkew, SignalSkewConfig


def grid_prices(first: int, step: int, levels: int) -> list[int]:
    """Return `levels` prices from `first` on, `step` ticks apart (negative for bids); those above zero."""
    return [price for n in range(levels) if (price := first + n * step) > 0]


class GridConfig(SignalSkewConfig):
    """Keys of `grid`."""

    levels: int = Field(ge=1, le=100, description="Quotes a side.")
    half_spread: Distance = Field(
        description="Distance from the center to the first quote, such as 5bps."
    )
    spacing: Distance = Field(
        description="Distance from one quote to the next; rounded to whole ticks, at least one."
    )
    skew: Distance = Field(
        Distance.parse("0ticks"),
        description="How far the center moves, against the inventory, for each `size` held.",
    )
    size: Exact = Field(gt=0, description="Quantity of each quote, a decimal in quotes.")
    max_position: Exact = Field(
        gt=0,
        description="Quote no more levels than reach this position if all fill, a decimal in quotes.",
    )


class Grid(Strategy):
    """Quote `levels` prices a side from ``center -+ half_spread`` outwards, `spacing` apart.

    The center is ``mid - skew x position / size``. The first bid is rounded down, the first ask up, and
    neither crosses the book; the others keep their distance to it. All levels of a side filling at
    once takes the position to `max_position` at most; but the first level is always quoted below it, as
    the other strategies do.
    """

    Config = GridConfig
    decision = "mmkit_strategies.grid_compiled:decide"

    def __init__(self, config: GridConfig, context: Context) -> None:
        super().__init__(config, context)
        self._signal = SignalSkew(config, context)
        self.decision_signal = self._signal.name
        self._levels = config.levels
        self._half_spread, self._spacing, self._skew = (
            config.half_spread,
            config.spacing,
            config.skew,
        )
        self._instrument = context.instrument
        self._size = context.instrument.lots(config.size)
        self._max_position = context.instrument.lots(config.max_position)

    def parameters(self) -> tuple[float, ...]:
        """Limits and distances for the compiled decision."""
        instrument = self._instrument
        return (
            self._size,
            self._max_position,
            self._levels,
            *self._half_spread.formula(instrument),
            *self._spacing.formula(instrument),
            *self._skew.formula(instrument),
            *self._signal.parameters(),
        )

    def quote(self, view: MarketView) -> Quotes:
        """Quote both sides, but no level that would add beyond the limit."""
        bid, ask = view.best_bid, view.best_ask
        if bid is None or ask is None or bid >= ask:
            return NO_QUOTES
        mid, position, instrument = (bid + ask) / 2, view.position, self._instrument
        center = mid - self._skew.ticks(mid, instrument) * position / self._size
        center += self._signal.ticks(view, mid)
        # Half a tick at least: closer than that, both first quotes could have the same price.
        away = max(self._half_spread.ticks(mid, instrument), 0.5)
        step = max(1, round(self._spacing.ticks(mid, instrument)))
        first_bid = min(math.floor(center - away), ask - 1)
        first_ask = max(math.ceil(center + away), bid + 1)
        bids = grid_prices(first_bid, -step, self._room(self._max_position - position))
        asks = grid_prices(first_ask, step, self._room(self._max_position + position))
        return Quotes(
            bids=[(price, self._size) for price in bids],
            asks=[(price, self._size) for price in asks],
        )

    def _room(self, lots: int) -> int:
        """Return how many levels fit between the position and the limit that is `lots` away."""
        return min(self._levels, max(1, lots // self._size)) if lots > 0 else 0
