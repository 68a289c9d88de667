"""An exchange whose markets trade by themselves."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from mmkit.events import Side
from mmkit_sandbox.channel import Channel
from mmkit_sandbox.exchange import AggTrade, Depth, Exchange, Mark, Message, PublicTrade
from mmkit_sandbox.funding import USUAL, FundingTerms
from mmkit_sandbox.listing import Listing
from mmkit_sandbox.market import SimulatedMarket
from mmkit_sandbox.matching import Report, TimeInForce


class SimulatedExchange(Exchange):
    """Markets with an order flow of their own; the seed decides everything that happens.

    Accounts may trade in them: `submit` and `cancel` act at the time of the last `advance`.

    Args:
        listings: What is traded.
        seed: The same seed, listings and start give the same messages.
        start_ns: When the markets open.
        volatility: In basis points per square root of a second; 0.9 is about 50 % a year.
        remember: Whether the books of the last minutes can be told: `depth_at`, `depth_before`.
        liveliness: How many orders the flow sends, compared with what is usual; a tenth costs a tenth.
        funding: When holders of contracts pay each other, and how much.
    """

    def __init__(
        self,
        listings: Sequence[Listing],
        seed: int,
        start_ns: int,
        volatility: float = 0.9,
        remember: bool = False,
        liveliness: float = 1.0,
        funding: FundingTerms = USUAL,
    ) -> None:
        self.listings, self.funding = listings, funding
        self._seed, self._volatility, self._remember = seed, volatility, remember
        self._restarts, self._liveliness = 0, liveliness
        self._markets = {
            (listing.market, listing.symbol): SimulatedMarket(
                listing,
                str(seed),
                start_ns,
                volatility,
                remember=remember,
                liveliness=liveliness,
                funding=funding,
            )
            for listing in listings
        }

    def market(self, listing: Listing) -> SimulatedMarket:
        """Return the market of a listing."""
        return self._markets[listing.market, listing.symbol]

    def advance(self, now_ns: int, wanted: Container[Channel]) -> list[Message]:
        """Let everything happen that is due by `now_ns`; symbol by symbol."""
        messages: list[Message] = []
        for market in self._markets.values():
            messages += market.advance(now_ns, wanted)
        return messages

    def rest_until(self, now_ns: int) -> None:
        """Let nothing happen by itself before a time; accounts may still trade with what stands there."""
        for market in self._markets.values():
            market.rest_until(now_ns)

    def depth(self, listing: Listing, limit: int) -> Depth:
        """Return the book as it is."""
        return self.market(listing).depth(limit)

    def depth_before(self, listing: Listing, ts_ns: int, limit: int) -> Depth | None:
        """Return the book as it was at a time, or as long ago as is remembered."""
        market = self.market(listing)
        if market.truth is None:
            return None
        return market.told(market.truth.before(ts_ns // 1_000_000), limit)

    def depth_at(self, listing: Listing, update_id: int) -> Depth | None:
        """Return the whole book at an update id, `None` if that is not remembered."""
        market = self.market(listing)
        found = None if market.truth is None else market.truth.at(update_id)
        return None if found is None else market.told(found)

    def restart(self) -> None:
        """Begin anew at the last prices: other orders, and update ids from the start.

        Orders of accounts stay, unless they would trade at once: those are gone. Numbers of orders and
        trades go on, since an account must never see one twice.
        """
        self._restarts += 1
        for key, old in self._markets.items():
            new = self._markets[key] = SimulatedMarket(
                old.listing,
                f"{self._seed} restart {self._restarts}",
                old.now_ns,
                self._volatility,
                remember=self._remember,
                price=old.mid,
                first_ids=old.book.next_ids,
                liveliness=self._liveliness,
                funding=self.funding,
            )
            for owner, listener in old.book.listeners():
                new.book.listen(owner, listener)
                for order in old.book.open_orders(owner):
                    new.book.adopt(order)
            new.publish(new.now_ns)

    def trades(self, listing: Listing, limit: int) -> list[PublicTrade]:
        """Return the latest trades, oldest first."""
        return self.market(listing).trades(limit)

    def agg_trades(self, listing: Listing) -> Sequence[AggTrade]:
        """Return the latest aggregate trades, oldest first."""
        return self.market(listing).agg_trades

    def mark(self, listing: Listing) -> Mark | None:
        """Return a perpetual's mark price."""
        return self.market(listing).mark()

    def listen(self, listing: Listing, owner: str, listener: Callable[[Report], None]) -> None:
        """Report what happens to the orders of an account."""
        self.market(listing).book.listen(owner, listener)

    def submit(
        self,
        listing: Listing,
        owner: str,
        side: Side,
        price: int | None,
        quantity: int,
        *,
        time_in_force: TimeInForce = TimeInForce.GTC,
    ) -> int:
        """Take in an account's order; return its number. Price in ticks, quantity in lots."""
        market = self.market(listing)
        order_id = market.book.submit(
            owner, side, price, quantity, market.now_ns, time_in_force=time_in_force
        )
        market.publish(market.now_ns)
        return order_id

    def cancel(self, listing: Listing, owner: str, order_id: int) -> int:
        """Cancel an account's order; return the lots canceled, 0 if there is no such order of it."""
        market = self.market(listing)
        canceled = market.book.cancel(order_id, market.now_ns, owner)
        market.publish(market.now_ns)
        return canceled
