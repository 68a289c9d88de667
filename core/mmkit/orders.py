"""Our orders, from submission to their end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy

from mmkit.commands import AmendOrder, AnyCommand, SubmitOrder
from mmkit.errors import RunError
from mmkit.events import (
    AmendRejected,
    CancelRejected,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrderEvent,
    OrderFilled,
    OrderLost,
    OrderRejected,
    Side,
)


class Order:
    """One of our orders that may still trade. Prices in ticks, quantities in lots."""

    __slots__ = (
        "amendable",
        "amending",
        "asked",
        "asked_next",
        "canceling",
        "filled",
        "order_id",
        "price",
        "quantity",
        "reduce_only",
        "remaining",
        "side",
        "submitting",
    )

    def __init__(self, command: SubmitOrder) -> None:
        self.order_id = command.order_id
        self.side: Side = command.side
        self.price = command.price
        self.quantity = command.quantity
        self.remaining = command.quantity
        self.filled = 0
        """What has been traded of it."""
        self.asked = command.quantity
        """What it was last to trade: its quantity, or when it was amended, that less what had been traded by then."""
        self.asked_next = 0
        """Likewise, once the amend that is under way is done."""
        self.reduce_only = command.reduce_only
        self.amending: AmendOrder | None = None
        """An amend is under way, and it may be as it was or as that wants it."""
        self.amendable = True
        """Whether no amend of it has been refused."""
        self.submitting = True
        """No answer to the submission yet."""
        self.canceling = False
        """A cancel is under way."""

    @property
    def in_flight(self) -> bool:
        """Whether a command about it has not been answered yet."""
        return self.submitting or self.canceling

    @property
    def most(self) -> int:
        """The lots that it may still trade, whatever becomes of an amend that is under way."""
        if self.amending is None:
            return self.remaining
        return max(self.remaining, self.amending.quantity - self.filled)

    def worst(self) -> Order:
        """Return it as it costs most, whatever becomes of an amend that is under way."""
        if self.amending is None:
            return self
        worst = copy(self)
        worst.remaining = self.most
        pick = max if self.side is Side.BUY else min
        worst.price = pick(self.price, self.amending.price)
        return worst

    def __repr__(self) -> str:
        return (
            f"Order({self.order_id} {self.side} {self.remaining}/{self.quantity} at {self.price})"
        )


class Orders:
    """Every order that may still trade, in order of submission.

    Raises `RunError` for an event about an order that was never submitted.
    """

    def __init__(self) -> None:
        self._active: dict[int, Order] = {}
        self.lost: dict[int, Order] = {}
        """Those of which nobody knows whether they are on the book: exposure, but nothing to quote with."""
        # Ended while their cancel, or an amend, was under way: its answer is still to come.
        self._ended_canceling: set[int] = set()
        self._ended_amending: set[int] = set()
        self._left_out = 0

    @property
    def active(self) -> Sequence[Order]:
        """The orders that may still trade."""
        return list(self._active.values())

    @property
    def working(self) -> Sequence[Order]:
        """The orders that may still trade, those that are lost included, in order of submission."""
        working = [one.worst() for one in self._active.values() if one.order_id != self._left_out]
        if not self.lost:
            return working
        return sorted((*working, *self.lost.values()), key=lambda one: one.order_id)

    @contextmanager
    def without(self, order_id: int) -> Iterator[Order]:
        """Leave an order out of `working` and `exposure`, to judge what is to be in its place."""
        self._left_out = order_id
        try:
            yield self._active[order_id]
        finally:
            self._left_out = 0

    def sent(self, command: AnyCommand) -> None:
        """Remember that a command has been sent."""
        if isinstance(command, SubmitOrder):
            self._active[command.order_id] = Order(command)
        elif isinstance(command, AmendOrder):
            order = self._active[command.order_id]
            order.amending, order.asked_next = command, command.quantity - order.filled
        else:
            self._active[command.order_id].canceling = True

    def apply(self, event: OrderEvent) -> Order | None:
        """Take in what happened; return the order it happened to, `None` for a cancel that came too late."""
        order_id = event.order_id
        if isinstance(event, CancelRejected) and order_id in self._ended_canceling:
            self._ended_canceling.discard(order_id)
            return None
        if isinstance(event, OrderAmended | AmendRejected) and order_id in self._ended_amending:
            self._ended_amending.discard(order_id)
            return None
        order = self._active.get(order_id) or self.lost.get(order_id)
        if order is None:
            raise RunError(f"the venue reported on order {order_id}, which is not open: {event!r}")
        match event:
            case OrderAccepted():
                order.submitting = False
            case OrderFilled():
                order.filled += event.quantity
                order.remaining = event.remaining
                if event.remaining == 0:
                    self._end(order)
            case OrderAmended():
                self._amended(order, event)
            case AmendRejected():
                order.amending, order.amendable = None, False
                order.remaining = order.quantity - order.filled
                if order.remaining <= 0:
                    self._end(order)
            case OrderCanceled():
                order.canceling = False
                self._end(order)
            case OrderRejected():
                self._end(order)
            case OrderLost():
                self.lost[order_id] = self._active.pop(order_id)
            case CancelRejected():
                order.canceling = False
        return order

    def exposure(self) -> tuple[int, int]:
        """Return the lots that open buys, and open sells, may still trade."""
        buys = sells = 0
        for order in (*self._active.values(), *self.lost.values()):
            if order.order_id == self._left_out:
                continue
            if order.side is Side.BUY:
                buys += order.most
            else:
                sells += order.most
        return buys, sells

    def _amended(self, order: Order, event: OrderAmended) -> None:
        done = order.amending
        if done is not None and (done.price, done.quantity) == (event.price, event.quantity):
            order.amending = None
            order.asked = order.asked_next
        else:
            # Something else has changed it; what is under way is still to be answered.
            order.asked = event.quantity - order.filled
        order.price, order.quantity = event.price, event.quantity
        order.remaining = event.remaining
        if event.remaining == 0:
            self._end(order)

    def _end(self, order: Order) -> None:
        if self._active.pop(order.order_id, None) is None:
            del self.lost[order.order_id]
        if order.canceling:
            self._ended_canceling.add(order.order_id)
        if order.amending is not None:
            self._ended_amending.add(order.order_id)
