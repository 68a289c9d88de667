"""What stands behind the sockets: an exchange as an object, without I/O and without a clock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Sequence
from typing import NamedTuple

from mmkit_sandbox.channel import Channel
from mmkit_sandbox.listing import Listing

PriceLevel = tuple[str, str]
"""Price and quantity as Binance writes them."""


class Message(NamedTuple):
    """One message of a stream: the payload as it goes out, without the combined stream's envelope."""

    channel: Channel
    data: bytes


class Depth(NamedTuple):
    """The book at one moment, best levels first.

    Attributes:
        last_update_id: Of the last change that is in it.
        ts_ms: When that change happened, in ms.
        bids: Best first.
        asks: Best first.
    """

    last_update_id: int
    ts_ms: int
    bids: list[PriceLevel]
    asks: list[PriceLevel]


class PublicTrade(NamedTuple):
    """One trade as the public sees it."""

    trade_id: int
    price: str
    quantity: str
    ts_ms: int
    buyer_is_maker: bool


class AggTrade(NamedTuple):
    """What one order took at one price: the trades from `first_id` to `last_id`, together."""

    agg_id: int
    price: str
    quantity: str
    first_id: int
    last_id: int
    ts_ms: int
    buyer_is_maker: bool


class Mark(NamedTuple):
    """A perpetual's mark price and funding, as Binance writes them."""

    mark_price: str
    index_price: str
    settle_price: str
    funding_rate: str
    next_funding_ms: int
    ts_ms: int


class Exchange(ABC):
    """Markets that run on the time they are told."""

    listings: Sequence[Listing]
    """Everything that is traded here."""

    @abstractmethod
    def advance(self, now_ns: int, wanted: Container[Channel]) -> list[Message]:
        """Let everything happen that is due by `now_ns`; return what the streams say, in order.

        Only messages of `wanted` channels are returned. What happens depends neither on them nor on
        how a span of time is divided into calls.
        """

    @abstractmethod
    def depth(self, listing: Listing, limit: int) -> Depth | None:
        """Return the book at the time of the last `advance`, or `None` if it cannot be known."""

    @abstractmethod
    def trades(self, listing: Listing, limit: int) -> list[PublicTrade]:
        """Return the latest trades, oldest first."""

    @abstractmethod
    def mark(self, listing: Listing) -> Mark | None:
        """Return a perpetual's mark price, or `None` if there is none."""

    def agg_trades(self, listing: Listing) -> Sequence[AggTrade]:
        """Return the aggregate trades that are remembered, oldest first."""
        return ()

    def depth_before(self, listing: Listing, ts_ns: int, limit: int) -> Depth | None:
        """Return the book as it was at a time, `None` if that is not remembered."""
        return None

    def depth_at(self, listing: Listing, update_id: int) -> Depth | None:
        """Return the whole book at an update id, `None` if that is not remembered."""
        return None

    def restart(self) -> None:
        """Begin anew where the markets stand, with other update ids; a replay goes on as it is."""

    def pause_until(self, now_ns: int) -> int | None:
        """Return the time to go on to if nothing happens for so long that nobody wants to wait."""
        return None

    def listing(self, market: str, symbol: str) -> Listing | None:
        """Return the listing of this market and name, or `None`."""
        for listing in self.listings:
            if (listing.market, listing.symbol) == (market, symbol):
                return listing
        return None
