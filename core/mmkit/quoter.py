"""From what a strategy wants to the fewest commands that get there."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from mmkit.commands import (
    AmendOrder,
    Amends,
    AnyCommand,
    CancelOrder,
    OrderType,
    SubmitOrder,
    TimeInForce,
)
from mmkit.errors import StrategyError
from mmkit.events import MAIN, Side
from mmkit.interfaces import NO_QUOTES, Level, Quotes, Target
from mmkit.orders import Order

ORDERS_PER_10S = 300
"""Binance's order count limit of USD-M futures, 300 in 10 s; cancels do not count.
Source: Binance USD-M REST, exchangeInfo ``rateLimits``."""
_WINDOW_NS = 10_000_000_000

_TOO_LARGE = 2**63
_IN_LOTS = ("lots", "instrument.lots converts a decimal size, instrument.floor_lots rounds one")
_HINTS = {
    "bid price": ("ticks", "instrument.floor_ticks rounds a bid"),
    "ask price": ("ticks", "instrument.ceil_ticks rounds an ask"),
}


class Quoter:
    """Compares wanted and working orders; remembers only how many orders were sent lately.

    - A working order at a wanted price and quantity stays, and keeps its place in the queue. One that
      was filled in part stays too.
    - Any other working order is canceled, and its replacement is sent in the same breath; or it is amended, where
      that is asked for and the venue can, and then it is to trade as much as the replacement would be.
    - While a side has a command under way whose answer is not known, nothing is added to it: what the
      answer brings may be what was wanted.
    - Past the venue's rate limit new orders wait, and amends are no way around it; cancels never wait.
    """

    def __init__(self, orders_per_10s: int = ORDERS_PER_10S) -> None:
        self.amends = Amends.NOTHING
        """What may be done by amending."""
        self.orders_per_10s = orders_per_10s
        """The venue's rate limit of new orders and amends."""
        self._sent: deque[int] = deque()
        self._next_id = 1
        self.held_back = 0
        """Orders not sent because of the rate limit."""

    def towards(
        self,
        wanted: Quotes | Target,
        working: Sequence[Order],
        position: int,
        touch: tuple[int | None, int | None],
        now: int,
    ) -> list[AnyCommand]:
        """Return the commands that lead from `working` to `wanted`; cancels first, then amends.

        Args:
            wanted: What the strategy returned.
            working: Our orders that may still trade.
            position: In lots.
            touch: Best bid and best ask in ticks; what a `Target` takes from.
            now: The time of the run, ns since the epoch.

        Raises:
            StrategyError: if a price or quantity cannot be quoted.
        """
        if isinstance(wanted, Target):
            return self._reach(wanted, working, position, touch, now)
        if not isinstance(wanted, Quotes):
            raise StrategyError(
                f"quote() must return Quotes or Target, found {type(wanted).__name__}; "
                "return NO_QUOTES for nothing"
            )
        bids, asks = checked_levels(wanted)
        cancels: list[AnyCommand] = []
        amends: list[list[AnyCommand]] = []
        submits: list[AnyCommand] = []
        rising = False
        for side, levels in ((Side.BUY, bids), (Side.SELL, asks)):
            blocked = False
            stale: list[Order] = []
            for order in working:
                if order.side is not side:
                    continue
                if order.in_flight:
                    blocked = True
                elif order.amending is not None:
                    blocked = True
                    if not levels:
                        cancels.append(CancelOrder(ts_local=now, order_id=order.order_id))
                elif (
                    levels.get(order.price) == order.asked
                    and order.reduce_only is wanted.reduce_only
                ):
                    del levels[order.price]
                else:
                    stale.append(order)
            amended: list[AnyCommand] = []
            for order in stale:
                price = None if blocked else self._amendable(order, levels, wanted.reduce_only)
                if price is not None and self._may_send(now):
                    quantity = order.filled + levels.pop(price)
                    self._sent.append(now)
                    rising = rising or price > order.price
                    amended.append(
                        AmendOrder(
                            ts_local=now, order_id=order.order_id, price=price, quantity=quantity
                        )
                    )
                else:
                    cancels.append(CancelOrder(ts_local=now, order_id=order.order_id))
            amends.append(amended)
            if not blocked:
                submits.extend(
                    self._submit(
                        side,
                        price,
                        quantity,
                        TimeInForce.POST_ONLY,
                        now,
                        reduce_only=wanted.reduce_only,
                    )
                    for price, quantity in levels.items()
                    if self._may_send(now)
                )
        # Whoever is ahead in the direction of the market makes room: a bid may be amended to where our ask was.
        first, second = reversed(amends) if rising else amends
        return cancels + first + second + submits

    def _amendable(self, order: Order, levels: Mapping[int, int], reduce_only: bool) -> int | None:
        """Return the price of the first level that an order can be amended to, if the venue can."""
        if self.amends is Amends.NOTHING or not order.amendable:
            return None
        if order.reduce_only is not reduce_only:
            return None
        if self.amends is Amends.PRICE_AND_QUANTITY:
            return next(iter(levels), None)
        wanted = levels.get(order.price)
        less = wanted is not None and order.filled + wanted < order.quantity
        return order.price if less else None

    def not_sent(self) -> None:
        """Say that one of the orders just returned was not sent, so that it counts for no limit."""
        self._sent.pop()

    def pull(self, working: Sequence[Order], now: int) -> list[AnyCommand]:
        """Return cancels of everything that can be canceled now."""
        return [
            CancelOrder(ts_local=now, order_id=order.order_id)
            for order in working
            if not order.in_flight
        ]

    def _reach(
        self,
        wanted: Target,
        working: Sequence[Order],
        position: int,
        touch: tuple[int | None, int | None],
        now: int,
    ) -> list[AnyCommand]:
        commands = self.pull(working, now)
        target = whole(wanted.position, "target position")
        if wanted.reduce_only:
            target = min(max(target, min(position, 0)), max(position, 0))
        missing = target - position
        if not missing or working:
            # What is still out, canceled or not, may yet change the position.
            return commands
        side = Side.BUY if missing > 0 else Side.SELL
        price = touch[1] if side is Side.BUY else touch[0]
        if price is not None and self._may_send(now):
            commands.append(
                self._submit(
                    side,
                    price,
                    abs(missing),
                    TimeInForce.IOC,
                    now,
                    order_type=wanted.order_type,
                    reduce_only=wanted.reduce_only,
                )
            )
        return commands

    def _submit(
        self,
        side: Side,
        price: int,
        quantity: int,
        time_in_force: TimeInForce,
        now: int,
        *,
        order_type: OrderType = OrderType.LIMIT,
        reduce_only: bool = False,
    ) -> SubmitOrder:
        command = SubmitOrder(
            ts_local=now,
            order_id=self._next_id,
            side=side,
            price=price,
            quantity=quantity,
            time_in_force=time_in_force,
            order_type=order_type,
            reduce_only=reduce_only,
        )
        self._next_id += 1
        self._sent.append(now)
        return command

    def _may_send(self, now: int) -> bool:
        sent = self._sent
        while sent and sent[0] <= now - _WINDOW_NS:
            sent.popleft()
        if len(sent) < self.orders_per_10s:
            return True
        self.held_back += 1
        return False


def wanted_by_market(answer: object, markets: Sequence[str]) -> dict[str, Quotes | Target]:
    """Return what a strategy wants in each of `markets`: nothing where it says nothing.

    Args:
        answer: What it returned: for the main market, or for several by name.
        markets: Their names, `MAIN` among them.

    Raises:
        StrategyError: if it names a market that there is not.
    """
    given: Mapping[str, Any] = answer if isinstance(answer, Mapping) else {MAIN: answer}
    if unknown := [name for name in given if name not in markets]:
        raise StrategyError(
            f"quote() wants something in {unknown[0]!r}; the markets of this run are {', '.join(markets)}"
        )
    return {name: given.get(name, NO_QUOTES) for name in markets}


def checked_levels(wanted: Quotes) -> tuple[dict[int, int], dict[int, int]]:
    """Return quantities by price of the bids and of the asks, in the order in which they are wanted.

    Raises:
        StrategyError: if a price or quantity cannot be quoted, or the two sides cross.
    """
    bids, asks = _levels(wanted.bids, "bid"), _levels(wanted.asks, "ask")
    if bids and asks and max(bids) >= min(asks):
        raise StrategyError(
            f"quote() returned a bid at {max(bids)} and an ask at {min(asks)} ticks: "
            "they would trade with each other"
        )
    return bids, asks


def _levels(levels: Sequence[Level], name: str) -> dict[int, int]:
    wanted: dict[int, int] = {}
    for level in levels:
        try:
            price, quantity = level
        except (TypeError, ValueError):
            raise StrategyError(
                f"quote() returned the {name} {level!r}; a pair (price in ticks, quantity in lots) was expected"
            ) from None
        price, quantity = whole(price, f"{name} price"), whole(quantity, f"{name} quantity")
        if price <= 0 or quantity <= 0:
            raise StrategyError(
                f"quote() returned a {name} of {quantity} lots at {price} ticks; both must be above 0"
            )
        if price in wanted:
            raise StrategyError(
                f"quote() returned two {name}s at {price} ticks; add their quantities up"
            )
        wanted[price] = quantity
    return wanted


def whole(value: object, what: str) -> int:
    """Return a number of ticks or lots that a strategy returned.

    Raises:
        StrategyError: if it is no whole number.
    """
    if type(value) is int and -_TOO_LARGE < value < _TOO_LARGE:
        return value
    unit, hint = _HINTS.get(what, _IN_LOTS)
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise StrategyError(
            f"quote() returned the {what} {value!r}, a {type(value).__name__}; a whole number of {unit} was "
            f"expected ({hint})"
        )
    if abs(number) >= _TOO_LARGE:
        raise StrategyError(
            f"quote() returned a {what} of {len(str(abs(number)))} digits; less than 2**63 {unit} were expected"
        )
    return number
