"""What should be done at the venue. Immutable values; prices are ticks, quantities lots."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import msgspec

from mmkit.events import MAIN, Side


class TimeInForce(StrEnum):
    """How long an order lives and whether it may take."""

    POST_ONLY = "post_only"
    """Rests or is rejected; never takes (Binance: GTX, LIMIT_MAKER)."""
    GTC = "gtc"
    """Takes what it crosses, rests with what is left."""
    IOC = "ioc"
    """Takes what it crosses, the rest is canceled."""


class OrderType(StrEnum):
    """Whether an order has a limit."""

    LIMIT = "limit"
    MARKET = "market"
    """Trades at once at whatever prices there are; what finds nothing to trade with is canceled."""


class Amends(StrEnum):
    """What a venue can change of an order that is on its book; it stays the same order."""

    NOTHING = "nothing"
    SHRINK = "shrink"
    """Its quantity, to less (Binance spot: ``order.amend.keepPriority``)."""
    PRICE_AND_QUANTITY = "price_and_quantity"
    """Both (Binance USD-M: ``PUT /fapi/v1/order``)."""


class Command(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something to be done at the venue.

    Attributes:
        ts_local: When it was decided, by the run's clock, ns since the epoch.
        order_id: Ours; counts from 1 within a run, in each market.
        market: Where, by the name under ``markets``; `MAIN` for the market of ``instrument``.
    """

    ts_local: int
    order_id: int
    market: str = MAIN


class SubmitOrder(Command, frozen=True, kw_only=True, tag=True):
    """Send an order to the book.

    Attributes:
        side: Buy or sell.
        price: Its limit. A market order has none: of one it is the worst price that it is expected to trade at, by
            which risk checks judge it, and is not sent (`mmkit.quoter` says how it is found).
        quantity: To be traded.
        time_in_force: How long it lives; `IOC` for a market order.
        order_type: Limit or market.
        reduce_only: It brings the position down and never turns it round: the venue refuses it otherwise, and takes
            it off the book once it could. Contracts only.
    """

    side: Side
    price: int
    quantity: int
    time_in_force: TimeInForce = TimeInForce.POST_ONLY
    order_type: OrderType = OrderType.LIMIT
    reduce_only: bool = False


class CancelOrder(Command, frozen=True, kw_only=True, tag=True):
    """Take an order off the book."""


class AmendOrder(Command, frozen=True, kw_only=True, tag=True):
    """Change an order that is on the book; it is answered once, by `OrderAmended` or `AmendRejected`.

    Attributes:
        price: From now on.
        quantity: Of the whole order from now on, what has been traded of it included.
    """

    price: int
    quantity: int


AnyCommand: TypeAlias = SubmitOrder | CancelOrder | AmendOrder
