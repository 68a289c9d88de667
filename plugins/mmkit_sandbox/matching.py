"""A limit order book that matches by price, then by time. No I/O and no clock: the time is handed in."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import NamedTuple

from mmkit.events import Liquidity, Side


class TimeInForce(StrEnum):
    """What becomes of the part of an order that does not trade at once."""

    GTC = "gtc"
    """It rests until it is filled or canceled."""
    IOC = "ioc"
    """It expires."""
    POST_ONLY = "post_only"
    """It rests; an order that would trade at once is refused as a whole."""


class Order:
    """An order the exchange has taken in.

    Attributes:
        order_id: The exchange's number, one sequence for all owners.
        owner: Whose it is.
        side: Buy or sell.
        price: In ticks.
        quantity: As submitted, in lots.
        remaining: Not yet filled, in lots.
    """

    __slots__ = ("order_id", "owner", "price", "quantity", "remaining", "side")

    def __init__(self, order_id: int, owner: str, side: Side, price: int, quantity: int) -> None:
        self.order_id, self.owner, self.side = order_id, owner, side
        self.price, self.quantity, self.remaining = price, quantity, quantity


class Trade(NamedTuple):
    """One fill as the public sees it. Price in ticks, quantity in lots, time in ns."""

    trade_id: int
    ts: int
    price: int
    quantity: int
    aggressor: Side
    taker_order_id: int


class Change(NamedTuple):
    """A price level's new total in lots; 0 when the level is gone."""

    side: Side
    price: int
    total: int


class ReportKind(StrEnum):
    """What happened to an order."""

    ACCEPTED = "accepted"
    """It rests on the book."""
    FILLED = "filled"
    """It traded, in whole or in part."""
    CANCELED = "canceled"
    """Its owner canceled it."""
    EXPIRED = "expired"
    """What an immediate-or-cancel order could not trade has lapsed."""
    REJECTED = "rejected"
    """It was refused and never traded."""


class Report(NamedTuple):
    """What an owner is told about an order.

    Attributes:
        ts: When it happened, in ns.
        kind: What happened.
        owner: Whose order it is.
        order_id: The exchange's number.
        side: Buy or sell.
        price: Of the fill if there was one, otherwise of the order, in ticks; 0 for a market order.
        quantity: Filled, canceled, expired, accepted or rejected now, in lots.
        remaining: May still trade afterwards, in lots.
        trade_id: Of the fill, or 0.
        liquidity: Of the fill, or `None`.
        reason: Why it was rejected, or empty.
    """

    ts: int
    kind: ReportKind
    owner: str
    order_id: int
    side: Side
    price: int
    quantity: int
    remaining: int
    trade_id: int = 0
    liquidity: Liquidity | None = None
    reason: str = ""


class _Level:
    """The orders at one price, first come first served."""

    __slots__ = ("orders", "total")

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.total = 0


class _BookSide:
    """The levels of one side; `ranks` is sorted so that the best price comes last."""

    __slots__ = ("levels", "ranks", "sign")

    def __init__(self, sign: int) -> None:
        self.levels: dict[int, _Level] = {}
        self.ranks: list[int] = []
        self.sign = sign

    @property
    def best(self) -> int | None:
        return self.ranks[-1] * self.sign if self.ranks else None

    def level(self, price: int) -> _Level:
        level = self.levels.get(price)
        if level is None:
            level = self.levels[price] = _Level()
            insort(self.ranks, price * self.sign)
        return level

    def drop(self, price: int) -> None:
        del self.levels[price]
        rank = price * self.sign
        if self.ranks[-1] == rank:
            self.ranks.pop()
        else:
            del self.ranks[bisect_left(self.ranks, rank)]


class MatchingBook:
    """One symbol's orders, matched by price and then by time.

    An order trades at the resting order's price. `trades` and `changes` gather what the public will
    be told; `take_trades` and `take_changes` hand it over. Owners who `listen` are told about their
    own orders at once. An owner's order may trade with another order of the same owner, as on
    Binance with self-trade prevention NONE.
    """

    def __init__(self, first_order_id: int = 1, first_trade_id: int = 1) -> None:
        self._sides = {Side.BUY: _BookSide(1), Side.SELL: _BookSide(-1)}
        self._orders: dict[int, Order] = {}
        self._listeners: dict[str, Callable[[Report], None]] = {}
        self._order_id, self._trade_id = first_order_id, first_trade_id
        self._trades: list[Trade] = []
        self._changes: list[Change] = []

    def listen(self, owner: str, listener: Callable[[Report], None]) -> None:
        """Report everything that happens to the orders of `owner` to `listener`, as it happens."""
        self._listeners[owner] = listener

    def listeners(self) -> list[tuple[str, Callable[[Report], None]]]:
        """Return who is told about their orders, and how."""
        return list(self._listeners.items())

    def submit(
        self,
        owner: str,
        side: Side,
        price: int | None,
        quantity: int,
        now_ns: int,
        *,
        time_in_force: TimeInForce = TimeInForce.GTC,
    ) -> int:
        """Take in an order and match it; return its number.

        Args:
            owner: Whose it is.
            side: Buy or sell.
            price: In ticks; `None` for a market order, which must be immediate-or-cancel.
            quantity: In lots.
            now_ns: The exchange's time.
            time_in_force: What becomes of the part that does not trade at once.

        Raises:
            ValueError: if price or quantity is not above zero, or a market order is to rest.
        """
        if quantity <= 0 or (price is not None and price <= 0):
            raise ValueError(f"price and quantity must be above zero, found {price}, {quantity}")
        if price is None and time_in_force is not TimeInForce.IOC:
            raise ValueError("a market order cannot rest; it must be immediate-or-cancel")
        order_id = self._order_id
        self._order_id += 1
        order = Order(order_id, owner, side, price or 0, quantity)
        heard = owner in self._listeners
        if time_in_force is TimeInForce.POST_ONLY and self._crosses(side, price):
            if heard:
                reason = "the order would trade at once, and it is post-only"
                self._report(order, ReportKind.REJECTED, now_ns, quantity, reason=reason)
            return order_id
        if heard and time_in_force is not TimeInForce.IOC:
            self._report(order, ReportKind.ACCEPTED, now_ns, quantity)
        if self._crosses(side, price):
            self._match(order, price, now_ns)
        if order.remaining:
            if time_in_force is TimeInForce.IOC:
                expired, order.remaining = order.remaining, 0
                if heard:
                    self._report(order, ReportKind.EXPIRED, now_ns, expired)
            else:
                self._rest(order)
        return order_id

    def cancel(self, order_id: int, now_ns: int, owner: str | None = None) -> int:
        """Take an order off the book; return the lots canceled, 0 if there is no such order.

        With an `owner`, an order of anybody else counts as none.
        """
        order = self._orders.get(order_id)
        if order is None or (owner is not None and order.owner != owner):
            return 0
        canceled, order.remaining = order.remaining, 0
        self._remove(order, canceled)
        if order.owner in self._listeners:
            self._report(order, ReportKind.CANCELED, now_ns, canceled)
        return canceled

    @property
    def next_ids(self) -> tuple[int, int]:
        """The numbers of the next order and of the next trade."""
        return self._order_id, self._trade_id

    def crosses(self, side: Side, price: int | None) -> bool:
        """Return whether an order would trade at once; price in ticks, `None` for a market order."""
        return self._crosses(side, price)

    def reduce(self, order_id: int, quantity: int) -> None:
        """Take lots off a resting order, which keeps its place in the queue; some must remain.

        Raises:
            ValueError: if nothing would remain, or there is no such order.
        """
        order = self._orders.get(order_id)
        if order is None or not 0 < quantity < order.remaining:
            raise ValueError(f"order {order_id} cannot be reduced by {quantity} lots")
        order.quantity -= quantity
        order.remaining -= quantity
        self._remove(order, quantity)

    def amend(
        self, order_id: int, price: int, quantity: int, now_ns: int, *, post_only: bool = False
    ) -> bool:
        """Give a resting order another price and other lots to trade; it goes to the end of the queue.

        It may trade at once, and then it is the taker. Returns `False` if it was to be post-only and
        would have: it is off the book then.

        Raises:
            ValueError: if price or quantity is not above zero, or there is no such order.
        """
        order = self._orders.get(order_id)
        if order is None or price <= 0 or quantity <= 0:
            raise ValueError(f"order {order_id} cannot have price {price} and {quantity} lots")
        was, order.remaining = order.remaining, 0
        self._remove(order, was)
        order.quantity += quantity - was
        order.price, order.remaining = price, quantity
        if self._crosses(order.side, price):
            if post_only:
                order.remaining = 0
                return False
            self._match(order, price, now_ns)
        if order.remaining:
            self._rest(order)
        return True

    def adopt(self, order: Order) -> bool:
        """Let an order of another book rest here, behind those at its price; `False` if it would trade."""
        if self._crosses(order.side, order.price):
            return False
        self._rest(order)
        return True

    def order(self, order_id: int) -> Order | None:
        """Return a resting order, or `None`."""
        return self._orders.get(order_id)

    def open_orders(self, owner: str) -> list[Order]:
        """Return the resting orders of one owner, oldest first."""
        return [order for order in self._orders.values() if order.owner == owner]

    def orders_at(self, side: Side, price: int) -> list[Order]:
        """Return the orders at one price, first in the queue first."""
        level = self._sides[side].levels.get(price)
        return list(level.orders.values()) if level else []

    def total(self, side: Side, price: int) -> int:
        """Return the lots at one price."""
        level = self._sides[side].levels.get(price)
        return level.total if level else 0

    def best(self, side: Side) -> int | None:
        """Return the best price of a side in ticks, or `None` if it is empty."""
        return self._sides[side].best

    def levels(self, side: Side) -> Iterator[tuple[int, int]]:
        """Yield ``(price, total)`` in ticks and lots, best first."""
        book_side = self._sides[side]
        sign, levels = book_side.sign, book_side.levels
        for rank in reversed(book_side.ranks):
            price = rank * sign
            yield price, levels[price].total

    def __len__(self) -> int:
        return len(self._orders)

    def take_trades(self) -> list[Trade]:
        """Return the trades since the last call."""
        trades, self._trades = self._trades, []
        return trades

    def take_changes(self) -> list[Change]:
        """Return the level changes since the last call, in order; a level may occur more than once."""
        changes, self._changes = self._changes, []
        return changes

    def _rest(self, order: Order) -> None:
        level = self._sides[order.side].level(order.price)
        level.orders[order.order_id] = order
        level.total += order.remaining
        self._orders[order.order_id] = order
        self._changes.append(Change(order.side, order.price, level.total))

    def _crosses(self, side: Side, price: int | None) -> bool:
        opposite = self._sides[_OTHER[side]]
        best = opposite.best
        return best is not None and (price is None or (price - best) * opposite.sign <= 0)

    def _match(self, taker: Order, limit: int | None, now_ns: int) -> None:
        side = _OTHER[taker.side]
        while taker.remaining and self._crosses(taker.side, limit):
            price = self._sides[side].best
            assert price is not None  # `_crosses` has just seen one
            for maker in self.orders_at(side, price):
                if not maker.remaining:
                    continue  # its owner has canceled it when told of the fill before
                quantity = min(taker.remaining, maker.remaining)
                self._fill(taker, maker, quantity, now_ns)
                if not taker.remaining:
                    break

    def _fill(self, taker: Order, maker: Order, quantity: int, now_ns: int) -> None:
        trade = Trade(self._trade_id, now_ns, maker.price, quantity, taker.side, taker.order_id)
        self._trade_id += 1
        self._trades.append(trade)
        taker.remaining -= quantity
        maker.remaining -= quantity
        self._remove(maker, quantity)
        for order, liquidity in ((maker, Liquidity.MAKER), (taker, Liquidity.TAKER)):
            if order.owner in self._listeners:
                self._report(
                    order, ReportKind.FILLED, now_ns, quantity, trade=trade, liquidity=liquidity
                )

    def _remove(self, order: Order, quantity: int) -> None:
        """Take lots of an order off its level; the order goes when nothing of it remains."""
        book_side = self._sides[order.side]
        level = book_side.levels[order.price]
        level.total -= quantity
        self._changes.append(Change(order.side, order.price, level.total))
        if not order.remaining:
            del level.orders[order.order_id], self._orders[order.order_id]
            if not level.orders:
                book_side.drop(order.price)

    def _report(
        self,
        order: Order,
        kind: ReportKind,
        now_ns: int,
        quantity: int,
        *,
        trade: Trade | None = None,
        liquidity: Liquidity | None = None,
        reason: str = "",
    ) -> None:
        remaining = 0 if kind is ReportKind.REJECTED else order.remaining
        self._listeners[order.owner](
            Report(
                ts=now_ns,
                kind=kind,
                owner=order.owner,
                order_id=order.order_id,
                side=order.side,
                price=trade.price if trade else order.price,
                quantity=quantity,
                remaining=remaining,
                trade_id=trade.trade_id if trade else 0,
                liquidity=liquidity,
                reason=reason,
            )
        )


_OTHER = {Side.BUY: Side.SELL, Side.SELL: Side.BUY}
