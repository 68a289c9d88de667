"""Quote one market around the prices of another, and hedge there what is filled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from pydantic import Field

from mmkit.errors import OffGrid, StrategyError
from mmkit.events import MAIN
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import (
    Context,
    Level,
    MarketView,
    Quotes,
    Strategy,
    StrategyConfig,
    Target,
)
from mmkit.units import Distance, Exact

_NOTHING = Decimal(0)


class CrossVenueConfig(StrategyConfig):
    """Keys of `cross_venue`."""

    hedge: str = Field("hedge", description="Name of the market to hedge in, under 'markets'.")
    edge: Distance = Field(
        description="How much better than what the hedge costs each quote is, such as 8bps: fees of both sides, and "
        "what is to be earned."
    )
    size: Exact = Field(gt=0, description="Quantity of each quote, a decimal in quotes.")
    max_position: Exact = Field(
        gt=0, description="Stop adding at this position, a decimal in quotes."
    )
    hedge_base: Exact | None = Field(
        None,
        ge=0,
        description="What the hedge's account has of the base currency at the start, where no venue tells: spot only.",
    )
    hedge_settle: Exact | None = Field(
        None, ge=0, description="Likewise of its settlement currency (on spot quote)."
    )
    leverage: Exact = Field(
        Decimal(1), ge=1, description="Value of contracts for each unit of margin, of the hedge."
    )


class CrossVenue(Strategy):
    """Bid below what the hedge sells for, offer above what it is bought for; take the opposite position there.

    A quote whose fill could not be hedged, as the hedge's account has not the funds, is not made. Until its fill is
    hedged the position is open: what happens in between is the risk of it, and `edge` has to pay for it.
    """

    Config = CrossVenueConfig

    def __init__(self, config: CrossVenueConfig, context: Context) -> None:
        super().__init__(config, context)
        own, other = context.instrument, context.markets[config.hedge]
        for one in (own, other):
            if one.kind is ContractKind.INVERSE:
                raise OffGrid(
                    f"{one.symbol}: a spot or linear market was expected; an inverse contract counts in another currency"
                )
        if (own.base, own.quote) != (other.base, other.quote):
            raise OffGrid(
                f"a hedge of {own.base}/{own.quote} was expected; found {other.symbol}, whose prices are of something else"
            )
        self._own, self._other, self._hedge = own, other, config.hedge
        self._edge = config.edge
        self._size, self._most = own.lots(config.size), own.lots(config.max_position)
        self._told = {
            asset: amount
            for asset, amount in (
                (other.base, config.hedge_base),
                (other.quote, config.hedge_settle),
            )
            if amount is not None
        }
        self._leverage = config.leverage

    def quote(self, view: MarketView) -> Mapping[str, Quotes | Target]:
        """Quote what can be hedged, and hedge what is held."""
        other = view.markets[self._hedge]
        hedge = {self._hedge: self._target(other.position, self._hedged(view.position))}
        if other.best_bid is None or other.best_ask is None:
            return hedge
        bid, ask = self._bid(view, other.best_bid), self._ask(view, other.best_ask)
        sells, buys = self._room(other)
        # What the hedge would have to trade altogether if this quote were filled.
        if other.position - self._hedged(view.position + self._size) > sells:
            bid = None
        if self._hedged(view.position - self._size) - other.position > buys:
            ask = None
        return {MAIN: Quotes(bid=bid, ask=ask), **hedge}

    def _hedged(self, position: int) -> int:
        """Return the position of the hedge, in its lots, that is opposite to ours; what is no whole lot stays open."""
        lots = self._other.floor_lots(self._own.quantity(abs(position)))
        return -lots if position > 0 else lots

    def _target(self, held: int, wanted: int) -> Target:
        """Return the hedge; one of a contract that only comes down says so, which needs no margin and no least value."""
        contract = self._other.kind is not ContractKind.SPOT
        down = held * wanted >= 0 and abs(wanted) < abs(held)
        return Target(wanted, reduce_only=contract and down)

    def _bid(self, view: MarketView, sold_at: int) -> Level | None:
        if view.position + self._size > self._most or view.best_ask is None:
            return None
        price = float(self._other.price(sold_at) / self._own.tick)
        price -= self._edge.ticks(price, self._own)
        own = min(math.floor(price), view.best_ask - 1)
        return (own, self._size) if own >= 1 else None

    def _ask(self, view: MarketView, bought_at: int) -> Level | None:
        if view.position - self._size < -self._most or view.best_bid is None:
            return None
        price = float(self._other.price(bought_at) / self._own.tick)
        price += self._edge.ticks(price, self._own)
        return (max(math.ceil(price), view.best_bid + 1), self._size)

    def _room(self, other: MarketView) -> tuple[int, int]:
        """Return the lots that the hedge can still sell, and buy."""
        funds = other.funds or self._spent(other)
        if not funds:
            raise StrategyError(
                f"nobody has said what the account of '{self._hedge}' has to hedge with; write it down: hedge_settle, "
                "and on spot hedge_base"
            )
        instrument, ask = other.instrument, other.best_ask
        assert ask is not None  # only asked while there is one
        money = funds.get(instrument.settle, _NOTHING)
        if instrument.kind is ContractKind.SPOT:
            return (
                _lots(instrument, funds.get(instrument.base, _NOTHING)),
                _lots(instrument, money / instrument.price(ask)),
            )
        most = _lots(
            instrument, money * self._leverage / instrument.price(ask) / instrument.contract_size
        )
        return most + other.position, most - other.position

    def _spent(self, other: MarketView) -> dict[str, Decimal]:
        """Return what a simulated account has now, by what was told of its start."""
        instrument, now = other.instrument, dict(self._told)
        if not now:
            return now
        if instrument.kind is not ContractKind.SPOT:
            now[instrument.settle] = now.get(instrument.settle, _NOTHING) + other.equity
            return now
        held = instrument.quantity(other.position)
        now[instrument.base] = now.get(instrument.base, _NOTHING) + held
        if other.best_bid is not None and other.best_ask is not None:
            # Equity is cash and what the position is worth at mid.
            mid = (instrument.price(other.best_bid) + instrument.price(other.best_ask)) / 2
            paid = other.equity - held * instrument.contract_size * mid
            now[instrument.quote] = now.get(instrument.quote, _NOTHING) + paid
        return now


def _lots(instrument: Instrument, quantity: Decimal) -> int:
    return instrument.floor_lots(quantity) if quantity > 0 else 0
