"""An account at a real venue, in one market: what is asked of it, what it answers, what it tells by itself.

Prices, quantities and money are decimals as the venue writes them, times ns since the epoch by the venue's clock.
Nothing here decides: what an order's fate is, is for `mmkit.live` to find out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

import msgspec

from mmkit.clock import Clock
from mmkit.commands import Amends, TimeInForce
from mmkit.errors import VenueError
from mmkit.events import Liquidity, Side
from mmkit.instruments import Instrument

CLIENT_ID = r"^[a-zA-Z0-9_-]{1,32}$"
"""What a client order id of ours looks like: short enough for every venue that there is."""


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """An order to be put on the book.

    Attributes:
        client_id: Ours; never used twice.
        side: Buy or sell.
        price: In quote currency, on the grid; `None` for a market order.
        quantity: On the grid.
        time_in_force: `POST_ONLY` rests or is refused.
        reduce_only: Only as far as it brings the position down; contracts only.
    """

    client_id: str
    side: Side
    price: Decimal | None
    quantity: Decimal
    time_in_force: TimeInForce = TimeInForce.POST_ONLY
    reduce_only: bool = False


class Amendment(msgspec.Struct, frozen=True, kw_only=True):
    """What an order on the book is to be changed to.

    Attributes:
        client_id: Of the order, which keeps it.
        side: Of the order.
        price: In quote currency, on the grid.
        quantity: Of the whole order, what has been traded of it included; on the grid.
    """

    client_id: str
    side: Side
    price: Decimal
    quantity: Decimal


class OrderState(StrEnum):
    """What the venue's record says of an order."""

    OPEN = "open"
    """On the book, filled in part or not at all."""
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    """The venue took it off: the rest of an IOC, a post-only that would have taken, a rule of the venue."""
    REJECTED = "rejected"


class OrderRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The venue's own record of an order.

    Attributes:
        client_id: As it was placed with; that of others for a foreign order.
        venue_id: The venue's number, as text.
        side: Buy or sell.
        price: In quote currency; 0 for a market order.
        quantity: As placed.
        executed: So much of it has been traded.
        state: What became of it.
        ts_ns: When this was last true.
    """

    client_id: str
    venue_id: str
    side: Side
    price: Decimal
    quantity: Decimal
    executed: Decimal
    state: OrderState
    ts_ns: int


class FillRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One trade of ours.

    Attributes:
        trade_id: The venue's number, as text; unique within the market.
        venue_id: Of the order.
        client_id: Of the order; empty where the venue does not tell it with a trade.
        side: Buy or sell.
        price: In quote currency.
        quantity: Traded now.
        fee: In `fee_asset`; negative for a rebate.
        fee_asset: Such as ``BNB``; empty if nothing was charged.
        liquidity: Maker or taker.
        ts_ns: When.
    """

    trade_id: str
    venue_id: str
    client_id: str
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    liquidity: Liquidity
    ts_ns: int


class FundingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One funding payment of a perpetual contract.

    Attributes:
        funding_id: The venue's number, as text; unique within the market.
        amount: Received, in `asset`; negative is paid.
        asset: Such as ``USDT``.
        ts_ns: When.
    """

    funding_id: str
    amount: Decimal
    asset: str
    ts_ns: int


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What the account has of an asset.

    With contracts, both together are the wallet: what was paid in, realised profit, fees and funding, without the profit of
    open positions (Binance USD-M: ``balance`` of ``/fapi/v3/balance``).

    Attributes:
        free: Not committed.
        locked: In open orders; of contracts, what the wallet has besides, so that it may be below zero.
    """

    free: Decimal
    locked: Decimal


class Refusal(StrEnum):
    """Why the venue did not do what it was asked; nothing was done then."""

    WOULD_TAKE = "would_take"
    """A post-only order that would have traded at once."""
    BALANCE = "balance"
    FILTER = "filter"
    """Tick, lot, minimum notional and the like."""
    DUPLICATE = "duplicate"
    """The client order id has been used: the order it belongs to is there, or was."""
    NO_SUCH_ORDER = "no_such_order"
    RATE = "rate"
    """Too many requests or orders; `Refused.retry_ns` says until when."""
    CLOCK = "clock"
    KEY = "key"
    """Key, secret or signature."""
    PERMISSION = "permission"
    """The key may not do this, or not from here."""
    SYMBOL = "symbol"
    BUSY = "busy"
    """The venue cannot now: overload, maintenance."""
    REDUCE_ONLY = "reduce_only"
    MODE = "mode"
    """The account is set up otherwise than the order needs, such as hedge mode."""
    OTHER = "other"


class Refused(VenueError):  # noqa: N818 - says what the venue did
    """The venue has answered, and has not done it.

    Attributes:
        refusal: Why, by the venue's numeric code.
        code: The venue's numeric code; `None` if there was none.
        retry_ns: Not before so long from now; 0 if the venue does not say.
        advice: What a person may do about it, where the code tells; may be empty.
    """

    def __init__(
        self,
        refusal: Refusal,
        words: str,
        code: int | None = None,
        retry_ns: int = 0,
        advice: str = "",
    ) -> None:
        super().__init__(words)
        self.refusal, self.code, self.retry_ns, self.advice = refusal, code, retry_ns, advice


class FateUnknown(VenueError):  # noqa: N818 - says what is known
    """Nobody knows whether the venue has done it: no answer, a lost connection, a 5xx. Ask by client order id."""


class OrderUpdate(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The user stream says what became of an order; `fill` if it was traded."""

    record: OrderRecord
    fill: FillRecord | None = None


class BalanceUpdate(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The user stream says what the account has now of some assets, after an order or a transfer."""

    balances: dict[str, Balance]
    ts_ns: int


class PositionUpdate(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The user stream says what the position is now; negative is short."""

    quantity: Decimal
    ts_ns: int


class StreamUp(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The user stream is there: what happens from now on is told. What happened before has to be asked for."""


class StreamDown(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The user stream is lost; the client is trying to have it back."""

    reason: str


AccountEvent: TypeAlias = OrderUpdate | BalanceUpdate | PositionUpdate | StreamUp | StreamDown


class Margin(StrEnum):
    """How the margin of a contract's position is kept."""

    CROSS = "cross"
    """The whole wallet answers for it."""
    ISOLATED = "isolated"
    """What was set aside for it does, and no more."""


class AccountInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue says of key and account before anything is sent.

    Attributes:
        can_trade: Whether the key may.
        can_withdraw: Whether the key may, which it should not; `None` if the venue does not tell.
        maker_fee: Share of the value, of this account; `None` if the venue does not tell.
        taker_fee: Likewise.
        hedge_mode: Whether long and short are kept apart, which mmkit does not trade; contracts only.
        orders_per_10s: The venue's limit; `None` if it does not tell.
        min_notional: Least value of an order; `None` for none.
        max_open_orders: Of this market; `None` if it does not tell.
        countdown: Whether the venue has a dead man's switch.
        halted: The venue's word for why it takes no orders in this market, such as ``BREAK``; empty if it does.
        price: What the market is at, about now, in quote currency; `None` if the venue was not asked.
        leverage: Of this market, contracts only; `None` if the venue does not tell.
        margin: Likewise, how a position's margin is kept.
        multi_assets: Whether the wallets of all assets together are margin; contracts only.
        way_out: How this venue is brought out of hedge mode, in words.
        amends: What it can change of an order.
    """

    can_trade: bool
    can_withdraw: bool | None
    maker_fee: Decimal | None
    taker_fee: Decimal | None
    hedge_mode: bool = False
    orders_per_10s: int | None = None
    min_notional: Decimal | None = None
    max_open_orders: int | None = None
    countdown: bool = False
    halted: str = ""
    price: Decimal | None = None
    leverage: Decimal | None = None
    margin: Margin | None = None
    multi_assets: bool = False
    way_out: str = ""
    amends: Amends = Amends.NOTHING


class AccountClient(ABC):
    """One account in one market of a venue. Every method may be called while others are under way.

    Each raises `Refused` if the venue says no, and `FateUnknown` if its answer did not come; a request that
    only asks is simply asked again.
    """

    ahead_ns: int = 0
    """How far the venue's clock was ahead of ours when the two were last compared."""

    @abstractmethod
    async def open(self) -> AccountInfo:
        """Connect, synchronise clocks, and say what key and account are like; changes nothing there."""

    @abstractmethod
    async def place(self, placement: Placement) -> OrderRecord:
        """Put an order on the book; return the venue's record of it.

        The request leaves while this is awaited, or never, and is told to be valid for at most 10 s (Binance: ``recvWindow``):
        what `mmkit.live` proves of orders that never arrived rests on it.
        """

    @abstractmethod
    async def cancel(self, client_id: str) -> OrderRecord | None:
        """Take an order off the book; return the venue's record of it, `None` if its answer does not hold one."""

    async def amend(self, amendment: Amendment) -> OrderRecord | None:
        """Change an order, as far as `AccountInfo.amends` says; return the venue's record of it, `None` if its answer holds none.

        It stays the same order, with the client order id and the venue's number that it had. Whatever cancels it and
        places another is no amend. The request leaves while this is awaited, or never, and is told to be valid for at
        most 10 s, as that of `place`.
        """
        raise Refused(Refusal.OTHER, "this venue amends no orders")

    @abstractmethod
    async def cancel_all(self) -> None:
        """Take every order of the account in this market off the book, those of others of its users too."""

    @abstractmethod
    async def order(self, client_id: str) -> OrderRecord | None:
        """Return the venue's record of an order, `None` if it says that there is none, which may be too early."""

    @abstractmethod
    async def open_orders(self) -> Sequence[OrderRecord]:
        """Return every open order of the account in this market, ours or not."""

    @abstractmethod
    async def fills(self, since_ns: int) -> Sequence[FillRecord]:
        """Return every trade of the account in this market since a time, oldest first, all pages."""

    async def fundings(self, since_ns: int) -> Sequence[FundingRecord]:
        """Return every funding payment in this market since a time, oldest first, all pages; none on spot.

        What the user stream says of the wallet is only the hint to ask: it has no number that could tell one from another.
        """
        return ()

    @abstractmethod
    async def balances(self) -> Mapping[str, Balance]:
        """Return what the account has, by asset; what it has nothing of may be missing."""

    @abstractmethod
    async def position(self) -> Decimal | None:
        """Return the position of a contract, negative is short; `None` on spot."""

    @abstractmethod
    def events(self) -> AsyncIterator[AccountEvent]:
        """Yield what the user stream says, without end: it reconnects, and says `StreamDown` and `StreamUp`."""

    async def countdown(self, ms: int) -> bool:
        """Have the venue cancel every order in `ms` unless this is said again; 0 stops it. `False`: it has no such thing."""
        return False

    async def most_leverage(self) -> int | None:
        """Return the highest leverage that the venue has for this market; `None` if it does not tell."""
        return None

    async def set_leverage(self, leverage: int) -> None:
        """Set the leverage of this market; contracts only."""
        raise Refused(Refusal.OTHER, "not sent: leverage cannot be set here")

    async def set_margin(self, margin: Margin) -> None:
        """Set how the margin of a position in this market is kept; as it is already is as good. Contracts only."""
        raise Refused(Refusal.OTHER, "not sent: the kind of margin cannot be set here")

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections; cancels nothing."""


@dataclass(frozen=True)
class AccountContext:
    """What an account client is built with.

    Attributes:
        instrument: What is traded, with its grid.
        clock: The run's clock.
        endpoints: Addresses that running services offer, by service.
        userdir: The user's folder.
    """

    instrument: Instrument
    clock: Clock
    endpoints: Mapping[str, str] = field(default_factory=dict)
    userdir: Path = Path("user_data")
