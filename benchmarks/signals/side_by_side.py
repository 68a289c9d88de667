"""What one call takes, of several candidates in turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

ROUNDS = 40
"""Each of them times every candidate in turn, so that a slow moment of the machine meets all."""
WARM = 50
"""Calls before them that are not timed: the one before has filled the caches with its own."""


class Taken(NamedTuple):
    """What a call takes, in us: of each round, and of those the median.

    Attributes:
        median: Of the clock on the wall.
        p99: Of the clock on the wall.
        cpu_p99: Of the processor, which leaves out the time in which neighbours had it.
    """

    median: float
    p99: float
    cpu_p99: float


def side_by_side(calls: int, **candidates: Callable[[int], object]) -> dict[str, Taken]:
    """Return what one call of each takes, by name.

    The two clocks are read in rounds of their own: reading one would count in the other.

    Args:
        calls: Of each candidate, in all rounds.
        candidates: Given the number of the call in its round.
    """
    clocks = (time.perf_counter_ns, time.thread_time_ns)
    taken: dict[str, tuple[list[tuple[float, float]], ...]] = {
        name: ([], []) for name in candidates
    }
    for number in range(2 * ROUNDS):
        for name, call in candidates.items():
            us = _timed(call, max(calls // (2 * ROUNDS), 1), clocks[number % 2])
            taken[name][number % 2].append((float(np.median(us)), float(np.percentile(us, 99))))
    found = {}
    for name, (wall, cpu) in taken.items():
        middle, p99 = np.median(wall, axis=0).tolist()
        found[name] = Taken(middle, p99, float(np.median(cpu, axis=0)[1]))
    return found


def _timed(call: Callable[[int], object], calls: int, clock: Callable[[], int]) -> list[float]:
    for number in range(WARM):
        call(number)
    us = []
    for number in range(calls):
        begun = clock()
        call(number)
        us.append((clock() - begun) / 1e3)
    return us


def lines(title: str, taken: dict[str, Taken]) -> tuple[str, ...]:
    """Return the table."""
    head = f"{title:40}{'median, us':>12}{'P99':>9}{'P99, CPU':>10}"
    return (
        head,
        *(
            f"  {name:38}{one.median:12.1f}{one.p99:9.1f}{one.cpu_p99:10.1f}"
            for name, one in taken.items()
        ),
    )
