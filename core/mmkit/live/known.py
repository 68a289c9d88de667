"""What is known of one order, and how it is written down."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from mmkit.accounts import OrderState
from mmkit.commands import OrderType, TimeInForce
from mmkit.events import Side


class Stage(StrEnum):
    """How far an order is, as far as we know."""

    INTENDED = "intended"
    """Written down, and perhaps on its way: if nothing more is known after a crash, nobody knows its fate."""
    UNSURE = "unsure"
    """Its answer did not come; it is being asked for."""
    LOST = "lost"
    """It has been asked for and not been found, which proves nothing: it may be on the book."""
    OPEN = "open"
    """On the book by the venue's record."""
    DONE = "done"
    """Over, by the venue's record, and every fill of it is known."""


class KnownOrder(msgspec.Struct, kw_only=True):
    """One order. Prices in ticks, quantities in lots, times in ns since the epoch by the run's clock.

    Attributes:
        client_id: What the venue knows it by from the start.
        order_id: The engine's number; 0 for an order of an earlier run.
        side: Buy or sell.
        price: Limit, as it is now; of a market order the worst price that it was judged by.
        quantity: As it is now.
        time_in_force: As placed.
        intended_ns: When it was written down.
        stage: How far it is.
        venue_id: The venue's number; empty while it is not known.
        executed: The most that a record of the venue has said was traded.
        filled: Of it, what is known trade by trade.
        end: What the venue's record says it ended as; `None` while it may still trade.
        why: Why it ended, or why it is not known what became of it.
        cancel_wanted: It is to go: we ask until the venue's record says that it is gone.
        order_type: As placed.
        reduce_only: As placed.
        amend_price: What an amend is to make its price, of which nobody knows yet whether it has been done.
        amend_quantity: Likewise its quantity; 0 if there is no such amend.
        amended_ns: When the last amend was written down; 0 for none.
        terms_ns: Of when, by the venue's clock, the record was by which price and quantity are known; 0 as placed.
    """

    client_id: str
    order_id: int
    side: Side
    price: int
    quantity: int
    time_in_force: TimeInForce
    intended_ns: int
    stage: Stage = Stage.INTENDED
    venue_id: str = ""
    executed: int = 0
    filled: int = 0
    end: OrderState | None = None
    why: str = ""
    cancel_wanted: bool = False
    order_type: OrderType = OrderType.LIMIT
    reduce_only: bool = False
    amend_price: int = 0
    amend_quantity: int = 0
    amended_ns: int = 0
    terms_ns: int = 0

    @property
    def amending(self) -> bool:
        """Whether it may be as it was, or as an amend wants it."""
        return self.amend_quantity > 0

    @property
    def most(self) -> int:
        """Its quantity, or that of an amend of unknown fate if that is more, in lots."""
        return max(self.quantity, self.amend_quantity)

    @property
    def remaining(self) -> int:
        """What may still be traded, as far as fills are known and whatever becomes of an amend, in lots."""
        return self.most - self.filled


class KnownFill(msgspec.Struct, frozen=True, kw_only=True):
    """One trade of one of our orders, as it is written down; money as the venue wrote it.

    Attributes:
        trade_id: The venue's number.
        client_id: Of the order.
        side: Buy or sell.
        price: In ticks.
        quantity: In lots.
        fee: In `fee_asset`.
        fee_asset: Empty if nothing was charged.
        maker: Whether it rested.
        ts_ns: By the venue's clock.
    """

    trade_id: str
    client_id: str
    side: Side
    price: int
    quantity: int
    fee: Decimal
    fee_asset: str
    maker: bool
    ts_ns: int
