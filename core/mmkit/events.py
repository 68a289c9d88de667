"""What happened: to our orders, to the market data feed, and in the market. Immutable values.

Times are nanoseconds since the Unix epoch; prices are ticks, quantities lots. An event reaches the
engine at its ``ts_local``, never earlier.

An average price, a deviation and the like are floats, as statistics may be; everything that is counted is whole.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

import msgspec

from mmkit.answers import AdvisorCall, AnyAnswer

MAIN = "main"
"""Name of the market of ``instrument``, beside those of ``markets``."""

SELF_TRADE = "would have traded with our own order"
"""Why a simulated venue rejects an order that would meet one of ours on its book."""


class Side(StrEnum):
    """Which side of the book an order or a trade is on."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell: what it does to a position."""
        return 1 if self is Side.BUY else -1


class Liquidity(StrEnum):
    """Whether a fill rested on the book or took from it."""

    MAKER = "maker"
    TAKER = "taker"


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something that happened.

    Attributes:
        ts_exchange: When it happened, by the venue's clock.
        ts_local: When mmkit learned of it, by the run's clock.
        market: Where, by the name under ``markets``; `MAIN` for the market of ``instrument``.
    """

    ts_exchange: int
    ts_local: int
    market: str = MAIN


class OrderAccepted(Event, frozen=True, kw_only=True, tag=True):
    """The venue has put the order on its book."""

    order_id: int


class OrderRejected(Event, frozen=True, kw_only=True, tag=True):
    """The venue refused the order; it never rested. A post-only order that would have taken is one."""

    order_id: int
    reason: str


class OrderFilled(Event, frozen=True, kw_only=True, tag=True):
    """Some or all of the order was traded.

    Attributes:
        order_id: Ours.
        price: What was paid, in ticks.
        quantity: What was traded by this fill, in lots.
        remaining: What the order has left after it, in lots; 0 ends the order.
        liquidity: Maker or taker.
        fee: Charged by the venue, in the settlement currency; negative for a rebate.
        fee_in_base: What was charged in base currency in place of it, as spot venues do of a buy; `fee` is its worth at `price`.
    """

    order_id: int
    price: int
    quantity: int
    remaining: int
    liquidity: Liquidity
    fee: Decimal
    fee_in_base: Decimal = Decimal(0)


class OrderCanceled(Event, frozen=True, kw_only=True, tag=True):
    """The order is off the book: we asked for it, or the rest of it could not rest."""

    order_id: int


class CancelRejected(Event, frozen=True, kw_only=True, tag=True):
    """There was nothing left to cancel, most often because the order was filled on the way."""

    order_id: int
    reason: str


class OrderAmended(Event, frozen=True, kw_only=True, tag=True):
    """The order has another price or quantity.

    Attributes:
        order_id: Ours.
        price: From now on, in ticks.
        quantity: Of the whole order from now on, in lots.
        remaining: What the order has left by what is known of its fills, in lots; 0 ends the order.
    """

    order_id: int
    price: int
    quantity: int
    remaining: int


class AmendRejected(Event, frozen=True, kw_only=True, tag=True):
    """The order has not been changed: it is as it was, or gone, of which another event tells."""

    order_id: int
    reason: str


class OrderLost(Event, frozen=True, kw_only=True, tag=True):
    """Nobody knows what became of the order: it may be on the book, and may trade.

    It counts as exposure until the venue's own record settles it, is not quoted with any more, and is canceled
    as soon as it is found. Only a real venue has such orders.
    """

    order_id: int
    reason: str


class VenueDown(Event, frozen=True, kw_only=True, tag=True):
    """Nothing may be sent to the venue for now, or what it does is not known: every quote is pulled until `VenueUp`.

    Told again when the reason is another one.
    """

    reason: str


class VenueUp(Event, frozen=True, kw_only=True, tag=True):
    """The venue is there again, and what happened meanwhile is known."""


class FundingPaid(Event, frozen=True, kw_only=True, tag=True):
    """Longs and shorts of a perpetual contract have paid each other; at ``ts_exchange`` it was due.

    Attributes:
        amount: Received, in the settlement currency; negative is paid.
        rate: Of the position's value; longs pay it if it is positive. `None` if the venue tells the amount alone, as real ones do.
        mark: The price the position was valued at, in quote currency; `None` likewise.
        position: Ours at the venue, in lots; negative is short. `None` likewise.
    """

    amount: Decimal
    rate: Decimal | None = None
    mark: Decimal | None = None
    position: int | None = None


class FeedLost(Event, frozen=True, kw_only=True, tag=True):
    """The book is unknown from now on; every quote is pulled until `FeedRestored`."""

    reason: str


class FeedRestored(Event, frozen=True, kw_only=True, tag=True):
    """The book is known again."""


class Signal(Event, frozen=True, kw_only=True, tag=True):
    """What a signal model says of the mid's next move.

    It holds from ``ts_local``, when it was known, until ``expires_ns``. ``ts_exchange`` is the time of its last
    sample: local time, as are all times of features.

    Attributes:
        name: Which signal, by ``signals[].as``.
        down: Probability that the mid goes down.
        flat: That it stays.
        up: That it goes up.
        expires_ns: From this time on it is not shown any more, ns since the epoch.
    """

    name: str
    down: float
    flat: float
    up: float
    expires_ns: int


class Advice(Event, frozen=True, kw_only=True, tag=True):
    """What came of one question to a language model.

    It was asked at ``ts_exchange``, by the run's clock, and known at ``ts_local``; from then on it holds until
    ``expires_ns``, if there is an answer. Without one it changes nothing: the advice before it holds as long as it did.

    Attributes:
        name: Which advisor, by ``advisors[].as``.
        question: What was asked.
        answer: What it says, within bounds; `None` if there is no advice.
        refused: Why there is none; empty if there is.
        expires_ns: From this time on it is not shown any more, ns since the epoch.
        prompt_sha256: Of what was sent.
        text: The last answer as it came, cut.
        calls: Every request that was made for it.
    """

    name: str
    question: str
    answer: AnyAnswer | None
    refused: str
    expires_ns: int
    prompt_sha256: str
    text: str
    calls: tuple[AdvisorCall, ...]


# --- what the market watch has to say -------------------------------------------------------------


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


OrderEvent: TypeAlias = (
    OrderAccepted
    | OrderRejected
    | OrderFilled
    | OrderCanceled
    | CancelRejected
    | OrderAmended
    | AmendRejected
    | OrderLost
)
VenueEvent: TypeAlias = OrderEvent | FundingPaid | VenueDown | VenueUp
"""What a venue reports."""
AnyAlert: TypeAlias = PriceAnomaly | LargeTrade | HighVolatility | OneSidedTrades | StrongFlow
WatchEvent: TypeAlias = Statistics | AnyAlert
"""What a `mmkit.watch.Watch` has to say."""
AnyEvent: TypeAlias = VenueEvent | FeedLost | FeedRestored | Signal | Advice | WatchEvent
ALERTS: tuple[type[AnyAlert], ...] = (
    PriceAnomaly,
    LargeTrade,
    HighVolatility,
    OneSidedTrades,
    StrongFlow,
)
"""The kinds, in the order in which one trade makes them."""
