"""What goes wrong in one schedule of chaos, and when: from one seed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from mmkit_sandbox.channel import StreamKind
from mmkit_sandbox.faults import Fault, FaultKind

_S = 1_000_000_000
_MS = 1_000_000
_UNHEARD = 0.15
"""Share of schedules in which nothing at all tells of an order for minutes, in some of them for hours."""
_HOURS = 0.1

LASTS: dict[FaultKind, tuple[float, float]] = {
    FaultKind.LOST_REQUEST: (0, 0),
    FaultKind.LOST_ANSWER: (0, 0),
    FaultKind.TIMEOUT: (0, 0),
    FaultKind.HIDDEN: (1, 120),
    FaultKind.CLOCK: (0, 5),
    FaultKind.NO_FUNDS: (0, 5),
    FaultKind.BUSY: (0.5, 5),
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
        market: ``spot`` or ``usdm``.
        lasts_ns: How long there is trading with things going wrong.
        faults: What goes wrong at the venue and on the line, in order of time.
        crash_at: After how many steps the process dies, counted from its start: the first, the second, ...
        size: Of each quote, in lots.
        levels: On each side.
        amends: Whether orders are amended where the exchange can.
        takes: Whether the position is closed now and then, by a market order, of contracts a reduce-only one.
    """

    market: str
    lasts_ns: int
    faults: list[Fault]
    crash_at: list[int]
    size: int
    levels: int
    amends: bool = False
    takes: bool = False

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
    # Apart from the rest, which stays as it was for each seed.
    orders = Random(f"orders {seed}")  # noqa: S311  # not for secrets
    return Schedule(
        market=random.choice(("spot", "usdm")),
        lasts_ns=round(lasts_s * _S),
        faults=faults,
        crash_at=[random.randrange(1, 150) for _ in range(crashes)],
        size=random.choice((20, 100, 400)),
        levels=random.choice((1, 1, 2)),
        amends=orders.random() < 0.5,
        takes=orders.random() < 0.5,
    )


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
