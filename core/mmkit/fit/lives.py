"""When each of a run's orders came to the book and left it, as the venue reported it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from mmkit.commands import AnyCommand, SubmitOrder
from mmkit.events import (
    AnyEvent,
    Liquidity,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrderFilled,
    Side,
)

Moment = tuple[int, int]
"""A time by the venue's clock, ns, and the place in the journal; of two of one time the first there came first."""


@dataclass
class Life:
    """One order that rested.

    Attributes:
        order: As it was sent.
        accepted: When it came to the book.
        quantity: What of it rested, in lots.
        fills: Of what rested: when, and the lots left.
        canceled: When it was canceled, if it was.
        beside: Whether another of ours rested on its side at its price for some of that time.
    """

    order: SubmitOrder
    accepted: Moment = (0, -1)
    quantity: int = 0
    fills: list[tuple[Moment, int]] = field(default_factory=list)
    canceled: Moment | None = None
    beside: bool = False

    @property
    def ended(self) -> Moment | None:
        """When it left the book; `None` if that is not known."""
        if self.fills and self.fills[-1][1] == 0:
            return self.fills[-1][0]
        return self.canceled

    @property
    def place(self) -> tuple[Side, int]:
        """Its side and price."""
        return self.order.side, self.order.price


def lives_of(entries: Iterable[AnyCommand | AnyEvent]) -> list[Life]:
    """Return the orders of a journal that rested, as they were accepted."""
    lives: dict[int, Life] = {}
    accepted: set[int] = set()
    before: list[Life] = []
    for number, entry in enumerate(entries):
        if isinstance(entry, SubmitOrder):
            lives[entry.order_id] = Life(entry, quantity=entry.quantity)
            continue
        life = lives.get(getattr(entry, "order_id", 0))
        if life is None:
            continue
        match entry:
            case OrderAccepted():
                life.accepted = (entry.ts_exchange, number)
                accepted.add(entry.order_id)
            case OrderFilled(liquidity=Liquidity.TAKER):
                life.quantity -= entry.quantity
            case OrderFilled():
                life.fills.append(((entry.ts_exchange, number), entry.remaining))
            case OrderCanceled():
                life.canceled = (entry.ts_exchange, number)
            case OrderAmended():
                # From here on it stands elsewhere, or is for less: as one that leaves, and one that comes.
                life.canceled = (entry.ts_exchange, number)
                before.append(life)
                order = replace(life.order, price=entry.price, quantity=entry.remaining)
                lives[entry.order_id] = Life(order, life.canceled, entry.remaining)
    rested = [*before, *(lives[order_id] for order_id in accepted)]
    for life in rested:
        # A fill may be reported before it is said that the order rests, but does not happen before it does.
        life.fills = [(max(moment, life.accepted), left) for moment, left in life.fills]
    rested.sort(key=lambda life: life.accepted)
    _mark_neighbours(rested)
    return rested


def _mark_neighbours(lives: Iterable[Life]) -> None:
    """Note which orders shared their price with another of ours; `lives` are in order of acceptance."""
    never = (2**63, 0)
    latest: dict[tuple[Side, int], Life] = {}
    for life in lives:
        before = latest.get(life.place)
        if before is not None and life.accepted < (before.ended or never):
            before.beside = life.beside = True
            if (before.ended or never) > (life.ended or never):
                continue  # it outlives this one
        latest[life.place] = life
