"""What a `mmkit.watch.Watch` has to say. Immutable values; prices in ticks, quantities in lots, times in ns.

An average price, a deviation and the like are floats, as statistics may be; everything that is counted is whole.
"""

from __future__ import annotations

from typing import TypeAlias

from mmkit.events import Event, Side


class Statistics(Event, frozen=True, kw_only=True, tag=True):
    """What the trades received before ``ts_local`` come to; ``ts_exchange`` is that of the last of them, 0 for none.

    What is `None` cannot be told yet: too few trades since the start, or since a gap.

    Attributes:
        price: Of the last trade, in ticks.
        mean: Average of the last ``window`` trade prices, in ticks.
        deviation: Their sample standard deviation (n - 1), in ticks: the volatility.
        volatility: ``deviation / mean``, in basis points.
        z: Of the last price against the ``window`` prices before it; see `PriceAnomaly`.
        buys: How many of the last ``trades`` trades were bought by the aggressor.
        sells: How many were sold.
        bought: Lots of those bought.
        sold: Lots of those sold.
        flow_bought: Lots that aggressors bought in the last ``span``.
        flow_sold: Lots that they sold in it.
        flow_trades: Trades in it.
    """

    price: int | None = None
    mean: float | None = None
    deviation: float | None = None
    volatility: float | None = None
    z: float | None = None
    buys: int = 0
    sells: int = 0
    bought: int = 0
    sold: int = 0
    flow_bought: int = 0
    flow_sold: int = 0
    flow_trades: int = 0

    @property
    def buy_sell_ratio(self) -> float | None:
        """Trades bought for each one sold, of the last ``trades``; `None` if none was sold."""
        return self.buys / self.sells if self.sells else None

    @property
    def buy_share(self) -> float | None:
        """The part of the quantity of the last ``trades`` trades that was bought, 0 to 1; `None` without trades."""
        total = self.bought + self.sold
        return self.bought / total if total else None

    @property
    def flow(self) -> int:
        """Lots bought less lots sold in the last ``span``."""
        return self.flow_bought - self.flow_sold


class Alert(Event, frozen=True, kw_only=True, tag=True):
    """Something stands out, in the trade received at ``ts_local``.

    Attributes:
        suppressed: How many of its kind and side were kept back since the last one, within the cooldown.
    """

    suppressed: int = 0


class PriceAnomaly(Alert, frozen=True, kw_only=True, tag=True):
    """A trade price far from those before it: ``abs(z) > deviations``.

    ``z = (price - mean) / max(deviation, floor)``, the standard score over a rolling window. Mean and deviation
    are of the prices before this one: a price that is part of its own window can never be further off than
    ``(n - 1) / sqrt(n)`` deviations (Shiffler, "Maximum Z Scores and Outliers", The American Statistician 42(1),
    1988), which is 1.79 for 5 prices, so that 2.5 would never be reached before 9.

    Attributes:
        side: Buy for a price above the others, sell for one below.
        price: In ticks.
        mean: Of the prices before it, in ticks.
        deviation: Their sample standard deviation (n - 1), in ticks, before the floor.
        z: As above; negative below the mean.
        prices: How many prices there were, at most ``window``.
    """

    side: Side
    price: int
    mean: float
    deviation: float
    z: float
    prices: int


class LargeTrade(Alert, frozen=True, kw_only=True, tag=True):
    """A single trade of more than ``large_trade``.

    Attributes:
        side: The aggressor's.
        price: In ticks.
        quantity: In lots.
    """

    side: Side
    price: int
    quantity: int


class HighVolatility(Alert, frozen=True, kw_only=True, tag=True):
    """The deviation of the last prices, this one included, is above ``high_volatility``.

    Attributes:
        mean: Of those prices, in ticks.
        deviation: Their sample standard deviation (n - 1), in ticks.
        volatility: ``deviation / mean``, in basis points.
    """

    mean: float
    deviation: float
    volatility: float


class OneSidedTrades(Alert, frozen=True, kw_only=True, tag=True):
    """One side's part of the quantity of the last ``trades`` trades is above ``one_sided``.

    Attributes:
        side: That side, the aggressors'.
        buys: How many of the trades were bought by the aggressor.
        sells: How many were sold.
        bought: Lots of those bought.
        sold: Lots of those sold.
    """

    side: Side
    buys: int
    sells: int
    bought: int
    sold: int


class StrongFlow(Alert, frozen=True, kw_only=True, tag=True):
    """In the last ``span`` aggressors of one side traded more than those of the other, by more than ``strong_flow``.

    Attributes:
        side: That side.
        flow_bought: Lots that aggressors bought in it.
        flow_sold: Lots that they sold.
        flow_trades: Trades in it.
    """

    side: Side
    flow_bought: int
    flow_sold: int
    flow_trades: int


AnyAlert: TypeAlias = PriceAnomaly | LargeTrade | HighVolatility | OneSidedTrades | StrongFlow
WatchEvent: TypeAlias = Statistics | AnyAlert
ALERTS: tuple[type[AnyAlert], ...] = (
    PriceAnomaly,
    LargeTrade,
    HighVolatility,
    OneSidedTrades,
    StrongFlow,
)
"""The kinds, in the order in which one trade makes them."""
