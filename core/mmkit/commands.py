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
    """Put a limit order on the book."""

    side: Side
    price: int
    quantity: int
    time_in_force: TimeInForce = TimeInForce.POST_ONLY


class CancelOrder(Command, frozen=True, kw_only=True, tag=True):
    """Take an order off the book."""


AnyCommand: TypeAlias = SubmitOrder | CancelOrder
