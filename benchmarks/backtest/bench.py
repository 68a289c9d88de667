"""What the measurements share: places, the peer, and taking turns with it."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mmkit.tape import Tape

from .feed import kept_tape
from .mm_strategy import SIM, mid_quoter
from .ours import run
from .outcome import Outcome
from .peer import Peer
from .places import REPOSITORY, Places


@dataclass(frozen=True)
class Time:
    """How long something took: by the clock on the wall, and of processors, in s."""

    wall: float
    cpu: float


class Bench:
    """Everything a measurement needs. Close it at the end."""

    def __init__(self, repeats: int) -> None:
        self.repeats = repeats
        self.places = Places()
        self._outcomes: dict[str, Outcome] = {}

    @cached_property
    def peer(self) -> Peer:
        """hftbacktest, in a process of its own."""
        return Peer(self.places.peer_python())

    def close(self) -> None:
        """End the peer's process, if it has begun."""
        if "peer" in self.__dict__:
            self.peer.close()

    def tape_path(self, feed: str) -> Path:
        """Return the kept tape of a feed, built if need be."""
        made = self.places.feed(feed)
        return kept_tape(made.npy, made.snapshot, self.places.tapes)

    def outcome(self, feed: str) -> Outcome:
        """Return what the plain strategy makes of a feed; run once, and remembered."""
        if feed not in self._outcomes:
            self._outcomes[feed] = run(Tape.load(self.tape_path(feed)), mid_quoter(), SIM)
        return self._outcomes[feed]

    def remember(self, feed: str, outcome: Outcome) -> None:
        """Spare `outcome` a run."""
        self._outcomes[feed] = outcome

    def turns(self, *players: Callable[[], Time]) -> list[Time]:
        """Let `players` take turns, `repeats` times; return the median of each."""
        taken: list[list[Time]] = [[] for _ in players]
        for _ in range(self.repeats):
            for times, player in zip(taken, players, strict=True):
                times.append(player())
        return [
            Time(
                statistics.median(time.wall for time in times),
                statistics.median(time.cpu for time in times),
            )
            for times in taken
        ]


def timed(work: Callable[[], object]) -> Time:
    """Return how long `work` takes in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Time(time.perf_counter() - wall, time.process_time() - cpu)


def process(command: Sequence[str | Path]) -> tuple[Time, str]:
    """Return how long a process took from start to end, and what it printed.

    Raises:
        subprocess.CalledProcessError: if it failed.
    """
    began = time.perf_counter()
    # S603 does not apply: the commands are ours.
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert child.stdout is not None
    printed = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, list(map(str, command)))
    return Time(wall, used.ru_utime + used.ru_stime), printed


def ratio_note(ours: Time, theirs: Time, repeats: int) -> str:
    """Return the two medians in words."""
    return (
        f"ours {ours.wall:.2f} s (CPU {ours.cpu:.2f}), theirs {theirs.wall:.2f} s "
        f"(CPU {theirs.cpu:.2f}); medians of {repeats}"
    )
