"""The coins and the money that a spot market maker holds, and what it may quote with them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from pydantic import Field

from mmkit.events import Side
from mmkit.instruments import Instrument
from mmkit.interfaces import MarketView, PluginConfig, WorkingOrder
from mmkit.units import Exact


class BalanceConfig(PluginConfig):
    """What there is at the start."""

    base: Exact = Field(
        ge=0, description="Coins at the start, such as BTC; sells are limited by it."
    )
    quote: Exact = Field(
        ge=0, description="Money at the start, such as USDT; buys are limited by it."
    )


class Purse:
    """What is held: what there was at the start, and what the fills reported so far have made of it.

    Exact. Fees are in the quote currency, as those of a simulated exchange are.

    Args:
        config: What there was at the start.
        instrument: A spot market.
        fee: Share of the traded value that a maker pays; below 0 nothing is set aside for it.
    """

    def __init__(self, config: BalanceConfig, instrument: Instrument, fee: Fraction) -> None:
        self._base, self._quote = Fraction(config.base), Fraction(config.quote)
        self._lot = Fraction(instrument.lot) * Fraction(instrument.contract_size)
        self._tick = Fraction(instrument.tick)
        self._with_fee = 1 + max(fee, Fraction(0))

    def base(self, view: MarketView) -> Fraction:
        """Return the coins held."""
        return self._base + view.position * self._lot

    def quote(self, view: MarketView) -> Fraction:
        """Return the money held; both sides of the book have a price."""
        assert view.best_bid is not None
        assert view.best_ask is not None
        mid = Fraction(view.best_bid + view.best_ask, 2) * self._tick
        # Profit counts what is held at mid; without it there is what was paid and received.
        return self._quote + Fraction(view.equity) - view.position * self._lot * mid

    def lots(self, view: MarketView, side: Side, price: int, others: Sequence[WorkingOrder]) -> int:
        """Return how many lots can be quoted at `price` ticks, if the orders `others` may be filled, too."""
        if side is Side.SELL:
            free = self.base(view) - sum(order.remaining for order in others) * self._lot
            return max(0, int(free // self._lot))
        each = self._lot * self._tick * self._with_fee
        free = self.quote(view) - sum(order.remaining * order.price for order in others) * each
        return max(0, int(free // (each * price)))
