"""Our orders, from submission to their end."""

from __future__ import annotations

from collections.abc import Sequence

from mmkit.commands import AnyCommand, SubmitOrder
from mmkit.errors import RunError
from mmkit.events import (
    CancelRejected,
    OrderAccepted,
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
        "canceling",
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
        self.reduce_only = command.reduce_only
        self.submitting = True
        """No answer to the submission yet."""
        self.canceling = False
        """A cancel is under way."""

    @property
    def in_flight(self) -> bool:
        """Whether a command about it has not been answered yet."""
        return self.submitting or self.canceling

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
        # Ended while their cancel was under way: its rejection is still to come.
        self._ended_canceling: set[int] = set()

    @property
    def active(self) -> Sequence[Order]:
        """The orders that may still trade."""
        return list(self._active.values())

    @property
    def working(self) -> Sequence[Order]:
        """The orders that may still trade, those that are lost included, in order of submission."""
        if not self.lost:
            return self.active
        return sorted((*self._active.values(), *self.lost.values()), key=lambda one: one.order_id)

    def sent(self, command: AnyCommand) -> None:
        """Remember that a command has been sent."""
        if isinstance(command, SubmitOrder):
            self._active[command.order_id] = Order(command)
        else:
            self._active[command.order_id].canceling = True

    def apply(self, event: OrderEvent) -> Order | None:
        """Take in what happened; return the order it happened to, `None` for a cancel that came too late."""
        order_id = event.order_id
        if isinstance(event, CancelRejected) and order_id in self._ended_canceling:
            self._ended_canceling.discard(order_id)
            return None
        order = self._active.get(order_id) or self.lost.get(order_id)
        if order is None:
            raise RunError(f"the venue reported on order {order_id}, which is not open: {event!r}")
        match event:
            case OrderAccepted():
                order.submitting = False
            case OrderFilled():
                order.remaining = event.remaining
                if event.remaining == 0:
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
            if order.side is Side.BUY:
                buys += order.remaining
            else:
                sells += order.remaining
        return buys, sells

    def _end(self, order: Order) -> None:
        if self._active.pop(order.order_id, None) is None:
            del self.lost[order.order_id]
        if order.canceling:
            self._ended_canceling.add(order.order_id)
