"""What happened: to our orders, and to the market data feed. Immutable values.

Times are nanoseconds since the Unix epoch; prices are ticks, quantities lots. An event reaches the
engine at its ``ts_local``, never earlier.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

import msgspec

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
    """

    order_id: int
    price: int
    quantity: int
    remaining: int
    liquidity: Liquidity
    fee: Decimal


class OrderCanceled(Event, frozen=True, kw_only=True, tag=True):
    """The order is off the book: we asked for it, or the rest of it could not rest."""

    order_id: int


class CancelRejected(Event, frozen=True, kw_only=True, tag=True):
    """There was nothing left to cancel, most often because the order was filled on the way."""

    order_id: int
    reason: str


class FundingPaid(Event, frozen=True, kw_only=True, tag=True):
    """Longs and shorts of a perpetual contract have paid each other; at ``ts_exchange`` it was due.

    Attributes:
        rate: Of the position's value; longs pay it if it is positive.
        mark: The price the position was valued at, in quote currency.
        position: Ours at the venue, in lots; negative is short.
        amount: Received, in the settlement currency; negative is paid.
    """

    rate: Decimal
    mark: Decimal
    position: int
    amount: Decimal


class FeedLost(Event, frozen=True, kw_only=True, tag=True):
    """The book is unknown from now on; every quote is pulled until `FeedRestored`."""

    reason: str


class FeedRestored(Event, frozen=True, kw_only=True, tag=True):
    """The book is known again."""


OrderEvent: TypeAlias = OrderAccepted | OrderRejected | OrderFilled | OrderCanceled | CancelRejected
VenueEvent: TypeAlias = OrderEvent | FundingPaid
"""What a venue reports."""
AnyEvent: TypeAlias = VenueEvent | FeedLost | FeedRestored
