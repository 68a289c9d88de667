"""An exchange whose answer to GET depth is not the book that was asked for."""

from __future__ import annotations

from collections.abc import Container, Sequence
from random import Random

from mmkit_sandbox.channel import Channel
from mmkit_sandbox.exchange import (
    AggTrade,
    Depth,
    Exchange,
    Mark,
    Message,
    PriceLevel,
    PublicTrade,
)
from mmkit_sandbox.faults import FaultKind
from mmkit_sandbox.listing import Listing

STALE_AGE_NS = 5_000_000_000
"""How old a stale snapshot is."""


class WrongBooks(Exchange):
    """Another exchange, but for its books.

    Args:
        exchange: The other one.
        kind: What is wrong with a book; one of `mmkit_sandbox.faults.SNAPSHOTS`.
        now_ns: The exchange's time.
        random: Decides what is left to chance.
    """

    def __init__(self, exchange: Exchange, kind: FaultKind, now_ns: int, random: Random) -> None:
        self._exchange, self._kind, self._now_ns = exchange, kind, now_ns
        self._random = random
        self.listings = exchange.listings

    def advance(self, now_ns: int, wanted: Container[Channel]) -> list[Message]:
        """Let everything happen that is due by `now_ns`."""
        return self._exchange.advance(now_ns, wanted)

    def trades(self, listing: Listing, limit: int) -> list[PublicTrade]:
        """Return the latest trades, oldest first."""
        return self._exchange.trades(listing, limit)

    def agg_trades(self, listing: Listing) -> Sequence[AggTrade]:
        """Return the aggregate trades that are remembered, oldest first."""
        return self._exchange.agg_trades(listing)

    def mark(self, listing: Listing) -> Mark | None:
        """Return a perpetual's mark price."""
        return self._exchange.mark(listing)

    def depth(self, listing: Listing, limit: int) -> Depth | None:
        """Return a book that is stale, of another symbol, or altered."""
        if self._kind is FaultKind.STALE:
            return self._exchange.depth_before(listing, self._now_ns - STALE_AGE_NS, limit)
        right = self._exchange.depth(listing, limit)
        if right is None:
            return None
        if self._kind is FaultKind.ALTERED:
            return self._altered(right)
        others = [
            other
            for other in self.listings
            if other.market == listing.market and other is not listing
        ]
        if others:
            return self._exchange.depth(self._random.choice(others), limit)
        return _elsewhere(right, listing, self._random)

    def _altered(self, right: Depth) -> Depth:
        """Return the book with some quantities doubled and some levels left out."""
        random = self._random

        def altered(levels: list[PriceLevel]) -> list[PriceLevel]:
            found = []
            for price, quantity in levels:
                chance = random.random()
                if chance < 0.1:
                    continue
                # "1.50" twice over is "3.00": the same number of places, still on the grid.
                places = len(quantity.partition(".")[2])
                found.append(
                    (price, f"{2 * float(quantity):.{places}f}" if chance < 0.3 else quantity)
                )
            return found

        return right._replace(bids=altered(right.bids), asks=altered(right.asks))


def _elsewhere(right: Depth, listing: Listing, random: Random) -> Depth:
    """Return a book that might be another symbol's: other prices on the same grid, and ids that might fit."""
    away = round(random.choice((-0.5, -0.01, 0.01, 1.0)) * float(listing.price / listing.tick))
    ticks = float(listing.tick)

    def moved(levels: list[PriceLevel]) -> list[PriceLevel]:
        return [(listing.price_text(round(float(p) / ticks) + away), q) for p, q in levels]

    return right._replace(
        last_update_id=right.last_update_id + random.randint(-20, 20),
        bids=moved(right.bids),
        asks=moved(right.asks),
    )
