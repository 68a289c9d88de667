"""What many schedules of chaos came to, and how that is told."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from mmkit_sandbox.chaos import Outcome

_S = 1_000_000_000


class Tally:
    """Adds outcomes up."""

    def __init__(self) -> None:
        self._began_s, self._cpu_s = time.perf_counter(), time.process_time()
        self.schedules = self.crashes = self.orders = self.fills = self.virtual_ns = 0
        self.slowest_back_ns = 0
        self.faults: Counter[str] = Counter()
        self.markets: Counter[str] = Counter()
        self.violations: list[tuple[int, str]] = []
        """Seed and words."""

    def add(self, outcome: Outcome) -> None:
        """Take in one."""
        self.schedules += 1
        self.crashes += outcome.crashes
        self.orders += outcome.orders
        self.fills += outcome.fills
        self.virtual_ns += outcome.virtual_ns
        self.slowest_back_ns = max(self.slowest_back_ns, outcome.back_ns)
        self.faults += outcome.faults
        self.markets[outcome.market] += 1
        self.violations += [(outcome.seed, words) for words in outcome.violations]

    @property
    def wall_s(self) -> float:
        """Since it began."""
        return time.perf_counter() - self._began_s

    @property
    def per_core_s(self) -> float:
        """Schedules in a second of one core."""
        return self.schedules / max(time.process_time() - self._cpu_s, 1e-9)

    def json(self) -> str:
        """Return it as one JSON object."""
        return msgspec.json.encode(
            {
                "schedules": self.schedules,
                "markets": dict(sorted(self.markets.items())),
                "orders": self.orders,
                "fills": self.fills,
                "crashes": self.crashes,
                "faults": dict(sorted(self.faults.items())),
                "violations": [
                    {"seed": seed, "violation": words} for seed, words in self.violations
                ],
                "slowest_back_s": round(self.slowest_back_ns / _S, 3),
                "virtual_s": round(self.virtual_ns / _S, 3),
                "wall_s": round(self.wall_s, 3),
                "schedules_per_s": round(self.schedules / self.wall_s, 2),
                "schedules_per_core_s": round(self.per_core_s, 2),
            }
        ).decode()


def text_of(tally: Tally) -> str:
    """Return it in words."""
    faults = ", ".join(f"{kind} {count}" for kind, count in tally.faults.most_common())
    seeds = len({seed for seed, _ in tally.violations})
    return "\n".join(
        (
            f"{tally.schedules} schedules, {tally.virtual_ns / _S / 3600:.1f} h of virtual time, "
            f"{tally.orders} orders, {tally.fills} fills, the process died {tally.crashes} times",
            f"went wrong: {faults or 'nothing'}",
            f"quotes were back after {tally.slowest_back_ns / _S:.1f} s at the most",
            f"{tally.per_core_s:.1f} schedules a second and core, {tally.wall_s:.1f} s",
            f"{len(tally.violations)} violations" + (f" in {seeds} schedules" if seeds else ""),
        )
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
