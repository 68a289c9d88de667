"""An order of an account, and its trades, as the exchange remembers them."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from mmkit.events import Liquidity, Side
from mmkit_sandbox.ledger import ZERO
from mmkit_sandbox.listing import Listing


class OrderKind(StrEnum):
    """Binance's order types that there are here."""

    LIMIT = "LIMIT"
    MARKET = "MARKET"
    LIMIT_MAKER = "LIMIT_MAKER"
    """Spot only: it rests or is refused."""


class Lasting(StrEnum):
    """Binance's time in force."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTX = "GTX"
    """Contracts only: it rests or is refused."""


class Status(StrEnum):
    """Binance's order status."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"


class Placing(NamedTuple):
    """What is asked for when an order is placed.

    Attributes:
        side: Buy or sell.
        kind: Its type.
        quantity: In base currency, on COIN-M in contracts.
        price: In quote currency; `None` for a market order.
        lasting: Its time in force.
        client_id: Given by the client; one is made up if empty.
        reduce_only: Contracts: only as far as it brings the position down.
        position_side: Contracts: ``BOTH`` unless the account is in hedge mode.
    """

    side: Side
    kind: OrderKind
    quantity: Decimal
    price: Decimal | None = None
    lasting: Lasting = Lasting.GTC
    client_id: str = ""
    reduce_only: bool = False
    position_side: str = "BOTH"

    @property
    def post_only(self) -> bool:
        """Whether it rests or is refused."""
        return self.kind is OrderKind.LIMIT_MAKER or self.lasting is Lasting.GTX


class AccountTrade(NamedTuple):
    """One fill of an account's order.

    Attributes:
        trade_id: The exchange's number.
        ts_ns: When.
        price: In quote currency.
        quantity: In base currency, on COIN-M in contracts.
        value: In quote currency, on COIN-M in base currency.
        fee: In `fee_asset`.
        fee_asset: In what the fee is paid.
        liquidity: Maker or taker.
        profit: Realised, in the settlement currency; contracts only.
    """

    trade_id: int
    ts_ns: int
    price: Decimal
    quantity: Decimal
    value: Decimal
    fee: Decimal
    fee_asset: str
    liquidity: Liquidity
    profit: Decimal = ZERO


class AccountOrder:
    """An order of an account.

    Attributes:
        order_id: The exchange's number.
        listing: What is traded.
        asked: How it was placed.
        client_id: The client's name for it.
        price: In quote currency; 0 for a market order.
        quantity: In base currency, on COIN-M in contracts, as it is now.
        executed: Traded of it.
        value: What that was worth, in quote currency, on COIN-M in base currency.
        status: Binance's word.
        locked: Held back for it, on spot; in quote currency for a buy.
        created_ns: When it was placed.
        updated_ns: When it last changed.
        cancel_id: The client's name for the cancel, if there was one.
        trades: Its fills, oldest first.
        hidden_until_ns: Nobody who asks is told that there is such an order before (a fault).
    """

    def __init__(
        self,
        order_id: int,
        listing: Listing,
        asked: Placing,
        client_id: str,
        now_ns: int,
    ) -> None:
        self.order_id, self.listing, self.asked, self.client_id = (
            order_id,
            listing,
            asked,
            client_id,
        )
        self.price = asked.price if asked.price is not None else ZERO
        self.quantity = asked.quantity
        self.executed = self.value = self.locked = ZERO
        self.status = Status.NEW
        self.created_ns = self.updated_ns = now_ns
        self.cancel_id = ""
        self.trades: list[AccountTrade] = []
        self.hidden_until_ns = 0

    @property
    def open(self) -> bool:
        """Whether it may still trade."""
        return self.status in {Status.NEW, Status.PARTIALLY_FILLED}

    @property
    def remaining(self) -> Decimal:
        """Not yet traded."""
        return self.quantity - self.executed

    @property
    def average(self) -> Decimal:
        """The mean price of its fills, 0 if there were none."""
        return self.listing.contract.mean(self.value, self.executed)

    def add(self, trade: AccountTrade) -> None:
        """Take note of a fill."""
        self.trades.append(trade)
        self.executed += trade.quantity
        self.value += trade.value
        self.updated_ns = trade.ts_ns
        self.status = Status.FILLED if self.executed == self.quantity else Status.PARTIALLY_FILLED
