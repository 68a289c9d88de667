"""What many schedules of chaos in virtual time came to, and how that is told."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

from mmkit_sandbox.chaos import Outcome
from mmkit_sandbox.chaostally import Tally

_S = 1_000_000_000


class VirtualTally(Tally):
    """Adds outcomes up."""

    def __init__(self) -> None:
        super().__init__()
        self._cpu_s = time.process_time()
        self.crashes = self.virtual_ns = 0
        self.markets: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        """Take in one."""
        self.count(outcome)
        self.crashes += outcome.crashes
        self.virtual_ns += outcome.virtual_ns
        self.markets[outcome.market] += 1

    @property
    def per_core_s(self) -> float:
        """Schedules in a second of one core."""
        return self.schedules / max(time.process_time() - self._cpu_s, 1e-9)

    def json(self) -> str:
        """Return it as one JSON object."""
        return self.one_object(
            markets=dict(sorted(self.markets.items())),
            crashes=self.crashes,
            virtual_s=round(self.virtual_ns / _S, 3),
            schedules_per_s=round(self.schedules / self.wall_s, 2),
            schedules_per_core_s=round(self.per_core_s, 2),
        )

    def text(self) -> str:
        """Return it in words."""
        return self.lines(
            f"{self.virtual_ns / _S / 3600:.1f} h of virtual time, {self.orders} orders, {self.fills} fills, the process "
            f"died {self.crashes} times",
            f"{self.per_core_s:.1f} schedules a second and core, {self.wall_s:.1f} s",
        )


class Traced(Protocol):
    """What became of a schedule, in virtual time or of a real process."""

    @property
    def seed(self) -> int:
        """Of it."""

    @property
    def violations(self) -> Sequence[str]:
        """What was not as it has to be, in words."""

    @property
    def trace(self) -> Sequence[str]:
        """What happened, a line each."""


def lines_of(outcome: Traced) -> Iterator[str]:
    """Yield what happened in a schedule, a line each."""
    verdict = f"{len(outcome.violations)} violations" if outcome.violations else "well"
    yield f"seed {outcome.seed}: {verdict}"
    for line in outcome.trace:
        yield f"  {line}"
    for words in outcome.violations:
        yield f"seed {outcome.seed}: {words}"
