"""What goes wrong with a trader's process in one schedule, and when: from one seed."""

from __future__ import annotations

import math
from random import Random
from typing import Any, Literal, NamedTuple

from mmkit_sandbox.channel import StreamKind
from mmkit_sandbox.chaosprocessproxy import LineFault, LineFaultKind
from mmkit_sandbox.faults import Fault, FaultKind
from mmkit_sandbox.listing import SPOT

_S = 1_000_000_000
_MS = 1_000_000

VENUE_LASTS: dict[FaultKind, tuple[float, float]] = {
    FaultKind.LOST_REQUEST: (0, 0),
    FaultKind.LOST_ANSWER: (0, 0),
    FaultKind.TIMEOUT: (0, 0),
    FaultKind.HIDDEN: (1, 8),
    FaultKind.CLOCK: (0, 2),
    FaultKind.NO_FUNDS: (0, 2),
    FaultKind.BUSY: (0.5, 3),
    FaultKind.MAINTENANCE: (0.5, 4),
    FaultKind.HTTP_429: (0.5, 3),
    FaultKind.HTTP_418: (1, 4),
    FaultKind.HTML: (0, 1),
    FaultKind.EMPTY: (0, 1),
    FaultKind.CUT: (0, 1),
    FaultKind.DROP: (0, 3),
    FaultKind.DUPLICATE: (0, 3),
    FaultKind.REORDER: (0, 3),
    FaultKind.DELAY: (0.1, 3),
    FaultKind.SILENT: (1, 5),
    FaultKind.STALL: (1, 4),
    FaultKind.CLOSE_1006: (0, 0),
    FaultKind.HALF_OPEN: (0, 0),
    FaultKind.REFUSE: (0.5, 3),
    FaultKind.RESTART: (0.5, 3),
}
"""What the sandbox does on request, and for how long, in seconds."""
LINE_LASTS: dict[LineFaultKind, tuple[float, float]] = {
    LineFaultKind.CUT: (0, 0),
    LineFaultKind.CUT_AFTER_REQUEST: (0, 0),
    LineFaultKind.CUT_IN_THE_MIDDLE: (0, 0),
    LineFaultKind.STALL_REQUESTS: (0.2, 9),
    LineFaultKind.STALL_ANSWERS: (0.2, 9),
    LineFaultKind.STALL: (0.2, 9),
    LineFaultKind.DELAY: (1, 5),
    LineFaultKind.REFUSE: (0.5, 4),
    LineFaultKind.SILENT: (0, 0),
}
"""What goes wrong on the line, and for how long, in seconds."""

Ending = Literal["SIGINT", "SIGTERM", "stop"]


class Death(NamedTuple):
    """When a process is killed.

    Attributes:
        after_s: After its start; `None` if it is an order that decides.
        order: At so many orders of it, counted from 1, that have got to the venue: before that one is answered.
    """

    after_s: float | None
    order: int = 0

    def __str__(self) -> str:
        return f"at order {self.order}" if self.after_s is None else f"after {self.after_s:.2f} s"


class ProcessSchedule(NamedTuple):
    """One course of events.

    Attributes:
        market: ``spot`` or ``usdm``.
        plugin: The account's: ``binance`` or ``ccxt``.
        strategy: Of the run, as in its configuration.
        lasts_ns: How long things go wrong, from the first order on; that is what times count from.
        faults: At the venue, in order of time.
        line: On the line, likewise.
        deaths: Of the first process, the second, ...
        pauses_s: Between a death and the next start.
        ending: How the last one is ended.
    """

    market: str
    plugin: str
    strategy: dict[str, Any]
    lasts_ns: int
    faults: list[Fault]
    line: list[LineFault]
    deaths: list[Death]
    pauses_s: list[float]
    ending: Ending


def process_schedule(seed: int) -> ProcessSchedule:
    """Return the schedule of a seed: market and account in turns, everything else by chance."""
    random = Random(f"process schedule {seed}")  # noqa: S311  # not for secrets
    lasts_s = random.uniform(6, 12)
    times = [random.uniform(0, lasts_s) for _ in range(random.randrange(3, 9))]
    faults, line = [], []
    for at_s in sorted(times):
        at_ns = round(at_s * 1000) * _MS
        if random.random() < 0.5:
            kind = random.choice(list(VENUE_LASTS))
            lasts_ns = _lasts_ns(random, VENUE_LASTS[kind])
            faults.append(Fault(at_ns, kind, lasts_ns, StreamKind.USER.value))
        else:
            way = random.choice(list(LINE_LASTS))
            share = random.choice((0.5, 1.0))
            line.append(LineFault(at_ns, way, _lasts_ns(random, LINE_LASTS[way]), share))
    deaths = [_death(random) for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 3)))]
    return ProcessSchedule(
        market=(SPOT, "usdm")[seed % 2],
        plugin=("binance", "ccxt")[seed // 2 % 2],
        strategy=_strategy(random),
        lasts_ns=round(lasts_s * _S),
        faults=faults,
        line=line,
        deaths=deaths,
        pauses_s=[random.uniform(0, 1) for _ in deaths],
        ending=random.choice(("SIGINT", "SIGTERM", "stop")),
    )


def _death(random: Random) -> Death:
    if random.random() < 0.5:
        return Death(None, random.randrange(1, 16))
    return Death(random.uniform(1, 7))


def _strategy(random: Random) -> dict[str, Any]:
    every = random.choice(("100ms", "200ms", "400ms"))
    size = random.choice(("0.002", "0.005", "0.01"))
    common = {"every": every, "size": size, "max_position": "0.05"}
    if random.random() < 0.6:
        return {"plugin": "join_best", **common}
    return {
        "plugin": "grid",
        "levels": random.choice((2, 3)),
        "half_spread": random.choice(("0bps", "0.3bps")),
        "spacing": "1bps",
        **common,
    }


def _lasts_ns(random: Random, bounds: tuple[float, float]) -> int:
    least, most = bounds
    if not most or (not least and random.random() < 0.5):
        return 0
    # Short ones are as likely as long ones, whatever the scale.
    low = max(least, 0.1)
    return round(low * math.exp(random.random() * math.log(most / low)) * 1000) * _MS
