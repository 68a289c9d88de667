"""Matching of our own orders against recorded or live market data, which they do not change.

A resting order is filled, at its own price, as soon as one of these is seen:

1. a trade at a worse price than its own: the aggressor would have met us first;
2. a trade at its price, once the queue model says that everything ahead has traded;
3. a level of the other side at or through its price: the market moved through it.

Without partial fills the whole order trades at once; with them, rule 2 trades no more than came through.
A taking order trades at the prices on the book, which it does not remove. These are hftbacktest's rules
for its no-partial-fill and partial-fill exchanges, but for one: of two own orders at one price the
earlier one is filled first, and what filled it does not fill the other.

We never trade with ourselves: an order that would meet one of ours is rejected.

A market order trades at whatever prices are on the book; what finds nothing is canceled. A reduce-only order is
rejected unless it, and those that rest already, are for no more than the position that they bring down; a fill of
another order that leaves less than that takes it off the book (as Binance USD-M does).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from mmkit.book import Book
from mmkit.commands import OrderType, SubmitOrder, TimeInForce
from mmkit.events import SELF_TRADE, Liquidity, Side
from mmkit.sim.queue import QueueModel, QueuePosition
from mmkit.tape import KIND, LAST, SELL, Kind, Row

NOT_THERE = "the order is not on the book"
UNKNOWN = "the book is unknown at this moment, so nothing can be matched"
WOULD_TAKE = "post-only order would have taken"
NOT_REDUCING = "reduce-only order is for more than there is to reduce"


class Resting:
    """One of our orders on the book. Prices in ticks, quantities in lots."""

    __slots__ = ("arrived", "filled", "order", "order_id", "position", "price", "remaining", "side")

    def __init__(self, order: SubmitOrder, remaining: int, arrived: int, front: float) -> None:
        self.order_id = order.order_id
        self.side = order.side
        self.price = order.price
        self.remaining = remaining
        self.order = order
        self.filled = order.quantity - remaining
        self.arrived = arrived
        """When it reached the venue, by the venue's clock, ns."""
        self.position = QueuePosition(front)


class Fill(NamedTuple):
    """A trade of one of our orders.

    Attributes:
        order_id: Ours.
        side: The order's.
        price: In ticks.
        quantity: In lots.
        remaining: What the order has left, in lots.
        liquidity: Maker or taker.
    """

    order_id: int
    side: Side
    price: int
    quantity: int
    remaining: int
    liquidity: Liquidity


class Arrival(NamedTuple):
    """What became of an order when it reached the venue.

    Attributes:
        fills: What it took at once.
        rejected: Why it was refused, or `None`.
        resting: Whether it, or the rest of it, is on the book now.
    """

    fills: list[Fill]
    rejected: str | None
    resting: bool


class Amended(NamedTuple):
    """What became of an amend when it reached the venue.

    Attributes:
        fills: What the order took at once.
        rejected: Why it was not done, or `None`.
        canceled: Whether the order is off the book because of it.
        remaining: What the order has left, in lots.
    """

    fills: list[Fill]
    rejected: str | None
    canceled: bool
    remaining: int


class SimExchange:
    """The book of market data with our orders in it.

    Args:
        queue: How our orders move up.
        partial_fills: Whether a trade may fill a part of an order.
    """

    def __init__(self, queue: QueueModel, *, partial_fills: bool) -> None:
        self._queue = queue
        self._partial = partial_fills
        self.book = Book()
        self.position = 0
        """What our orders have traded here comes to, in lots; negative is short."""
        self._expired: list[int] = []
        self._reducing = False
        self._orders: dict[int, Resting] = {}
        # Of the two sides, by price; the orders of one price in order of arrival.
        self._bids: dict[int, list[Resting]] = {}
        self._asks: dict[int, list[Resting]] = {}
        # Totals by price before a snapshot began: what the queue models compare the snapshot with.
        self._before: tuple[dict[int, int], dict[int, int]] | None = None

    def on_row(self, row: Row) -> list[Fill]:
        """Take in one row of market data; return what it filled.

        A row that is older than an order, by the venue's clock, cannot fill it.
        """
        kind = row[2]
        what = kind & KIND
        fills: list[Fill] = []
        if what == Kind.LEVEL:
            fills = self._on_level(row)
            self._expire_what_no_longer_reduces(fills)
        elif what == Kind.TRADE:
            fills = self._on_trade(row)
            self._expire_what_no_longer_reduces(fills)
        else:
            if what == Kind.SNAPSHOT:
                self._before = (dict(self.book.bids.levels), dict(self.book.asks.levels))
            self.book.apply(row)
        if kind & LAST and self._before is not None:
            self._on_snapshot_told(self._before)
            self._before = None
        return fills

    def arrive(self, order: SubmitOrder, at: int) -> Arrival:
        """Take in an order that reaches the venue at `at`, by the venue's clock, ns."""
        if not self.book.known:
            return Arrival([], UNKNOWN, resting=False)
        market = order.order_type is OrderType.MARKET
        crosses = self._crosses(order.side, None if market else order.price)
        if order.reduce_only and order.quantity > self._reducible(order.side):
            return Arrival([], NOT_REDUCING, resting=False)
        if crosses and order.time_in_force is TimeInForce.POST_ONLY:
            return Arrival([], WOULD_TAKE, resting=False)
        fills = list(self._take(order)) if crosses else []
        if self._meets_own(order.side, fills[-1].price if market and fills else order.price):
            return Arrival([], SELF_TRADE, resting=False)
        self._hold(fills)
        self._expire_what_no_longer_reduces(fills)
        remaining = fills[-1].remaining if fills else order.quantity
        if market or not remaining or order.time_in_force is TimeInForce.IOC:
            return Arrival(fills, None, resting=False)
        self._rest(order, remaining, at)
        self._reducing = self._reducing or order.reduce_only
        return Arrival(fills, None, resting=True)

    def cancel(self, order_id: int) -> bool:
        """Take an order off the book; return whether it was there."""
        resting = self._orders.get(order_id)
        if resting is None:
            return False
        self._remove(resting)
        return True

    def amend(self, order_id: int, price: int, quantity: int, at: int) -> Amended:
        """Take in an amend that reaches the venue at `at`: a smaller quantity keeps its place, all else goes to the end.

        Args:
            order_id: Ours.
            price: From now on, in ticks.
            quantity: Of the whole order from now on, in lots.
            at: By the venue's clock, ns.
        """
        resting = self._orders.get(order_id)
        if resting is None:
            return Amended([], NOT_THERE, canceled=False, remaining=0)
        left, before = quantity - resting.filled, resting.remaining
        refused = self._amend_refused(resting, price, left)
        if refused is not None:
            return Amended([], refused, canceled=False, remaining=before)
        if left <= 0:
            self._remove(resting)
            return Amended([], "more than that has been traded", canceled=True, remaining=before)
        if price == resting.price and left < before:
            resting.remaining = left
            return Amended([], None, canceled=False, remaining=left)
        crosses = self._crosses(resting.side, price)
        self._remove(resting)
        if crosses and resting.order.time_in_force is TimeInForce.POST_ONLY:
            return Amended([], WOULD_TAKE, canceled=True, remaining=before)
        order = replace(resting.order, price=price, quantity=left)
        fills = list(self._take(order)) if crosses else []
        self._hold(fills)
        left = fills[-1].remaining if fills else left
        if left:
            again = self._rest(order, left, at)
            again.order, again.filled = resting.order, quantity - left
        self._expire_what_no_longer_reduces(fills)
        return Amended(fills, None, canceled=False, remaining=left)

    def _amend_refused(self, resting: Resting, price: int, left: int) -> str | None:
        """Return why an order must stay as it is."""
        if not self.book.known:
            return UNKNOWN
        if (price, left) == (resting.price, resting.remaining):
            return "there is nothing to change"
        if left <= 0:
            return None
        if resting.order.reduce_only and left - resting.remaining > self._reducible(resting.side):
            return NOT_REDUCING
        return SELF_TRADE if self._meets_own(resting.side, price) else None

    def expired(self) -> list[int]:
        """Return the orders that the venue has taken off the book by itself, each once."""
        expired, self._expired = self._expired, []
        return expired

    def resting(self, order_id: int) -> Resting | None:
        """Return one of our orders on the book; `None` if it is not there."""
        return self._orders.get(order_id)

    def _crosses(self, side: Side, price: int | None) -> bool:
        """Whether an order at a price, or at any if that is `None`, would trade at once."""
        if side is Side.BUY:
            touch = self.book.best_ask
            return touch is not None and (price is None or price >= touch)
        touch = self.book.best_bid
        return touch is not None and (price is None or price <= touch)

    def _hold(self, fills: Iterable[Fill]) -> None:
        for fill in fills:
            self.position += fill.side.sign * fill.quantity

    def _rest(self, order: SubmitOrder, left: int, at: int) -> Resting:
        """Put what is left of an order at the end of the queue at its price."""
        ladder = self.book.bids if order.side is Side.BUY else self.book.asks
        ahead = self._queue.ahead(ladder.levels.get(order.price, 0))
        resting = self._orders[order.order_id] = Resting(order, left, at, ahead)
        self._side(order.side).setdefault(order.price, []).append(resting)
        return resting

    def _meets_own(self, side: Side, limit: int) -> bool:
        """Whether one of ours rests on the other side at a price or a better one."""
        if side is Side.BUY:
            return any(price <= limit for price in self._asks)
        return any(price >= limit for price in self._bids)

    def _reducible(self, side: Side) -> int:
        """Return the lots by which an order may still reduce the position."""
        held = -side.sign * self.position
        waiting = sum(one.remaining for one in self._orders.values() if one.order.reduce_only)
        return held - waiting

    def _expire_what_no_longer_reduces(self, fills: list[Fill]) -> None:
        """Take reduce-only orders off the book that are for more than there is left to reduce."""
        if not self._reducing or not fills:
            return
        for resting in [one for one in self._orders.values() if one.order.reduce_only]:
            if resting.remaining > -resting.side.sign * self.position:
                self._remove(resting)
                self._expired.append(resting.order_id)

    def _take(self, order: SubmitOrder) -> Iterable[Fill]:
        ladder, buy = (self.book.asks, True) if order.side is Side.BUY else (self.book.bids, False)
        if not self._partial:
            best = ladder.best
            assert best is not None  # it crosses, so there is one
            yield Fill(order.order_id, order.side, best, order.quantity, 0, Liquidity.TAKER)
            return
        remaining = order.quantity
        limited = order.order_type is OrderType.LIMIT
        for price, quantity in ladder.top(len(ladder.levels)):
            if not remaining or (limited and (price > order.price if buy else price < order.price)):
                return
            taken = min(remaining, quantity)
            remaining -= taken
            yield Fill(order.order_id, order.side, price, taken, remaining, Liquidity.TAKER)

    def _on_level(self, row: Row) -> list[Fill]:
        ts_exchange, _, kind, price, quantity = row
        ask = kind & SELL
        before = self.book.apply(row)
        if self._before is not None:
            before = self._before[1 if ask else 0].get(price, 0)
        if self._orders:
            for resting in (self._asks if ask else self._bids).get(price, ()):
                self._queue.level(resting.position, before, quantity)
        if not quantity or not self._orders:
            return []
        # Rule 3: a level of the other side at or through our price.
        others = self._bids if ask else self._asks
        crossed = [
            resting
            for own_price, orders in others.items()
            if (own_price >= price if ask else own_price <= price)
            for resting in orders
            if resting.arrived <= ts_exchange
        ]
        fills: list[Fill] = []
        for resting in crossed:
            fills += self._fill(resting, resting.remaining)
        return fills

    def _on_snapshot_told(self, before: tuple[dict[int, int], dict[int, int]]) -> None:
        """Take in that a level which a snapshot passes over is empty.

        Beyond the last level that it tells, nothing is known: a partial book ends somewhere.
        """
        for ours, totals, ladder, sign in (
            (self._bids, before[0], self.book.bids, 1),
            (self._asks, before[1], self.book.asks, -1),
        ):
            if not ours or not ladder.levels:
                continue
            last = min(sign * price for price in ladder.levels)
            for price, orders in ours.items():
                if price not in ladder.levels and sign * price > last:
                    for resting in orders:
                        self._queue.level(resting.position, totals.get(price, 0), 0)

    def _on_trade(self, row: Row) -> list[Fill]:
        ts_exchange, _, kind, price, quantity = row
        sold = kind & SELL
        ours = self._bids if sold else self._asks
        if not ours:
            return []
        fills: list[Fill] = []
        for own_price in list(ours):
            orders = [resting for resting in ours[own_price] if resting.arrived <= ts_exchange]
            if own_price == price:
                fills += self._on_trade_at(orders, quantity)
            elif own_price > price if sold else own_price < price:
                for resting in orders:
                    fills += self._fill(resting, resting.remaining)
        return fills

    def _on_trade_at(self, orders: list[Resting], quantity: int) -> list[Fill]:
        """Rule 2 for our orders at one price, earliest first."""
        fills: list[Fill] = []
        used = 0
        for resting in orders:
            self._queue.trade(resting.position, quantity)
            # What filled an earlier one of ours has moved this one past nobody else.
            resting.position.front += used
            through = self._queue.fillable(resting.position)
            if not through:
                continue
            filled = min(through, resting.remaining) if self._partial else resting.remaining
            used = min(used + filled, quantity)
            fills += self._fill(resting, filled)
        return fills

    def _fill(self, resting: Resting, quantity: int) -> list[Fill]:
        """Return the fill of a resting order; nothing if it is reduce-only and there is nothing left to reduce."""
        if resting.order.reduce_only:
            quantity = min(quantity, max(-resting.side.sign * self.position, 0))
            if not quantity:
                return []
        resting.remaining -= quantity
        resting.filled += quantity
        self.position += resting.side.sign * quantity
        if not resting.remaining:
            self._remove(resting)
        return [
            Fill(
                resting.order_id,
                resting.side,
                resting.price,
                quantity,
                resting.remaining,
                Liquidity.MAKER,
            )
        ]

    def _remove(self, resting: Resting) -> None:
        del self._orders[resting.order_id]
        side = self._side(resting.side)
        side[resting.price].remove(resting)
        if not side[resting.price]:
            del side[resting.price]

    def _side(self, side: Side) -> dict[int, list[Resting]]:
        return self._bids if side is Side.BUY else self._asks
