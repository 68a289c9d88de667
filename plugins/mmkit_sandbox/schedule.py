"""What goes wrong in one schedule of chaos, and when: from one seed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from mmkit.events import Side
from mmkit_sandbox.channel import StreamKind
from mmkit_sandbox.chaosothers import Act, Doing
from mmkit_sandbox.chaosvenue import Allowed
from mmkit_sandbox.faults import Fault, FaultKind
from mmkit_sandbox.listing import COINM, SPOT, USDM

_S = 1_000_000_000
_MS = 1_000_000
_UNHEARD = 0.15
"""Share of schedules in which nothing at all tells of an order for minutes, in some of them for hours."""
_HOURS = 0.1
_SHARED = 0.25
"""Share of schedules in which others trade on the same account."""
_LIMITED = 0.3
"""Share of those in which the venue allows little."""
_LEAST_WEIGHT = {SPOT: 700, USDM: 900, COINM: 900}
"""What it takes in a minute to find out what has happened, and to look at the account every 5 s and at funding now and then."""
UNITS = {SPOT: 20, USDM: 1, COINM: 1}
"""What is a small order in lots of contracts is one of so many times as many lots on spot."""

LASTS: dict[FaultKind, tuple[float, float]] = {
    FaultKind.LOST_REQUEST: (0, 0),
    FaultKind.LOST_ANSWER: (0, 0),
    FaultKind.TIMEOUT: (0, 0),
    FaultKind.HIDDEN: (1, 120),
    FaultKind.CLOCK: (0, 5),
    FaultKind.NO_FUNDS: (0, 5),
    FaultKind.BUSY: (0.5, 5),
    FaultKind.ERROR_1003: (0.5, 5),
    FaultKind.MAINTENANCE: (0.5, 10),
    FaultKind.HTTP_429: (0.5, 5),
    FaultKind.HTTP_418: (1, 15),
    FaultKind.DROP: (0, 5),
    FaultKind.DUPLICATE: (0, 5),
    FaultKind.REORDER: (0, 5),
    FaultKind.DELAY: (0.1, 5),
    FaultKind.SILENT: (1, 10),
    FaultKind.STALL: (1, 5),
    FaultKind.CLOSE_1006: (0, 0),
    FaultKind.HALF_OPEN: (0, 0),
    FaultKind.REFUSE: (0.5, 5),
    FaultKind.RESTART: (0.5, 5),
}
"""What can go wrong with an account, and for how long, in seconds."""


class Schedule(NamedTuple):
    """One course of events.

    Attributes:
        market: ``spot``, ``usdm`` or ``coinm``.
        lasts_ns: How long there is trading with things going wrong.
        faults: What goes wrong at the venue and on the line, in order of time.
        crash_at: After how many steps the process dies, counted from its start: the first, the second, ...
        size: Of each quote, in lots.
        levels: On each side.
        others: What others do on the same account, or from the same address, in order of time.
        allowed: What the venue allows.
        amends: Whether orders are amended where the exchange can.
        takes: Whether the position is closed now and then, by a market order, of contracts a reduce-only one.
        funded_ms: How long from one payment of funding to the next; 0 for none.
    """

    market: str
    lasts_ns: int
    faults: list[Fault]
    crash_at: list[int]
    size: int
    levels: int
    others: list[Doing]
    allowed: Allowed
    amends: bool = False
    takes: bool = False
    funded_ms: int = 0

    def planned(self) -> Iterator[Fault]:
        """Yield the faults in order of time."""
        return iter(self.faults)


def schedule(seed: int) -> Schedule:
    """Return the schedule of a seed."""
    random = Random(f"schedule {seed}")  # noqa: S311  # not for secrets
    lasts_s = random.uniform(8, 24)
    kinds = list(LASTS)
    faults = [
        _fault(random, random.choice(kinds), random.uniform(0, lasts_s))
        for _ in range(random.randrange(3, 10))
    ]
    if random.random() < _UNHEARD:
        faults += _unheard(random, random.uniform(1, lasts_s))
    faults.sort(key=lambda one: one.at_ns)
    crashes = random.choice((0, 0, 1, 1, 2, 3))
    market = random.choice((SPOT, USDM, COINM))
    size = random.choice((20, 100, 400))
    allowed = _allowed(random, market)
    # Apart from the rest, which stays as it was for each seed.
    orders = Random(f"orders {seed}")  # noqa: S311  # not for secrets
    return Schedule(
        market=market,
        lasts_ns=round(lasts_s * _S),
        faults=faults,
        crash_at=[random.randrange(1, 150) for _ in range(crashes)],
        size=size,
        levels=random.choice((1, 1, 2)),
        others=_others(random, lasts_s, size * UNITS[market], allowed),
        allowed=allowed,
        amends=orders.random() < 0.5,
        takes=orders.random() < 0.5,
        funded_ms=0 if market == SPOT else orders.choice((0, 45_000, 70_000)),
    )


def _allowed(random: Random, market: str) -> Allowed:
    """Return what the venue allows: in some schedules little enough to be felt."""
    if random.random() >= _LIMITED:
        return Allowed()
    least = _LEAST_WEIGHT[market]
    return Allowed(
        weight=random.randrange(least, 3 * least) if random.random() < 0.6 else None,
        orders_per_10s=random.randrange(4, 16) if random.random() < 0.6 else None,
    )


def _others(random: Random, lasts_s: float, lots: int, allowed: Allowed) -> list[Doing]:
    """Return what others do: in most schedules nothing."""
    acts: list[Act] = []
    if random.random() < _SHARED:
        # Most of those whom a market maker shares an account with do not trade every few seconds.
        trades = random.random() < 0.4
        acts += random.choices(
            (Act.REST, Act.REST, Act.CANCEL, *((Act.QUOTE, Act.TAKE) if trades else ())),
            k=random.randrange(1, 6),
        )
    if allowed.weight is not None:
        acts += random.choices((Act.ASK, Act.ASK, Act.ASK_ON), k=random.randrange(2))
    if allowed.orders_per_10s is not None:
        acts += [Act.HURRY] * random.randrange(2)
    done = [
        Doing(
            at_ns=round(random.uniform(0, lasts_s) * 1000) * _MS,
            act=act,
            side=random.choice((Side.BUY, Side.SELL)),
            away=random.randrange(1, 5) if act is Act.QUOTE else random.randrange(3000, 9000),
            lots=lots,
        )
        for act in acts
    ]
    return sorted(done, key=lambda one: one.at_ns)


def _unheard(random: Random, at_s: float) -> list[Fault]:
    """Return what it takes that nothing tells of an order: no answer, no query, and not the user stream."""
    hours = random.random() < _HOURS
    lasts_s = random.uniform(3600, 2 * 3600) if hours else random.uniform(20, 300)
    at_ns, user = round(at_s * 1000) * _MS, StreamKind.USER.value
    return [
        Fault(at_ns, FaultKind.HIDDEN, round(lasts_s) * _S, user),
        Fault(at_ns, random.choice((FaultKind.LOST_ANSWER, FaultKind.TIMEOUT))),
        Fault(at_ns, FaultKind.SILENT, 5 * _S, user),
    ]


def _fault(random: Random, kind: FaultKind, at_s: float) -> Fault:
    least, most = LASTS[kind]
    lasts_s = 0.0
    if most and (least or random.random() < 0.5):
        # Short ones are as likely as long ones, whatever the scale.
        low = max(least, 0.1)
        lasts_s = low * math.exp(random.random() * math.log(most / low))
    return Fault(round(at_s * 1000) * _MS, kind, round(lasts_s * 1000) * _MS, StreamKind.USER.value)
