"""Keep one order at the best price of each side."""

from __future__ import annotations

from pydantic import Field

from mmkit.interfaces import NO_QUOTES, Context, MarketView, Quotes, Strategy, StrategyConfig
from mmkit.units import Exact


class JoinBestConfig(StrategyConfig):
    """Keys of `join_best`."""

    size: Exact = Field(gt=0, description="Quantity of each quote, a decimal in quotes.")
    max_position: Exact = Field(
        gt=0, description="Stop adding at this position, a decimal in quotes."
    )


class JoinBest(Strategy):
    """Join the queue at the best bid and the best ask; add nothing beyond the position limit.

    An order stays while its price is the best and is canceled when it is not. Earns the spread when both
    sides fill, loses when the market moves on after one has.
    """

    Config = JoinBestConfig
    decision = "mmkit_strategies.join_best_compiled:decide"

    def __init__(self, config: JoinBestConfig, context: Context) -> None:
        super().__init__(config, context)
        self._size = context.instrument.lots(config.size)
        self._max_position = context.instrument.lots(config.max_position)

    def parameters(self) -> tuple[float, float]:
        """Size and limit, in lots, for the compiled decision."""
        return (self._size, self._max_position)

    def quote(self, view: MarketView) -> Quotes:
        """Quote both touches, but not the side that would add beyond the limit."""
        bid, ask = view.best_bid, view.best_ask
        if bid is None or ask is None or bid >= ask:
            return NO_QUOTES
        return Quotes(
            bid=(bid, self._size) if view.position < self._max_position else None,
            ask=(ask, self._size) if view.position > -self._max_position else None,
        )
