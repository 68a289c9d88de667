"""What many schedules of chaos came to, in virtual time or of real processes, and how that is told."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

_S = 1_000_000_000


class Lived(Protocol):
    """What became of a schedule."""

    @property
    def seed(self) -> int:
        """Of it."""

    @property
    def violations(self) -> Sequence[str]:
        """What was not as it has to be, in words."""

    @property
    def faults(self) -> Counter[str]:
        """What went wrong, by kind."""

    @property
    def orders(self) -> int:
        """How many were sent."""

    @property
    def fills(self) -> int:
        """How many there were."""

    @property
    def back_ns(self) -> int:
        """How long after the last fault there were quotes."""


class Tally:
    """Adds outcomes up: what is counted of each of the two kinds."""

    def __init__(self) -> None:
        self._began_s = time.perf_counter()
        self.schedules = self.orders = self.fills = 0
        self.slowest_back_ns = 0
        self.faults: Counter[str] = Counter()
        self.violations: list[tuple[int, str]] = []
        """Seed and words."""

    def count(self, outcome: Lived) -> None:
        """Take in what there is of either kind."""
        self.schedules += 1
        self.orders += outcome.orders
        self.fills += outcome.fills
        self.slowest_back_ns = max(self.slowest_back_ns, outcome.back_ns)
        self.faults += outcome.faults
        self.violations += [(outcome.seed, words) for words in outcome.violations]

    @property
    def wall_s(self) -> float:
        """Since it began."""
        return time.perf_counter() - self._began_s

    def one_object(self, **besides: Any) -> str:
        """Return it as one JSON object, with what the kind has besides."""
        return msgspec.json.encode(
            {
                "schedules": self.schedules,
                "orders": self.orders,
                "fills": self.fills,
                "faults": dict(sorted(self.faults.items())),
                "violations": [
                    {"seed": seed, "violation": words} for seed, words in self.violations
                ],
                "slowest_back_s": round(self.slowest_back_ns / _S, 3),
                "wall_s": round(self.wall_s, 3),
            }
            | besides
        ).decode()

    def lines(self, first: str, speed: str) -> str:
        """Return it in words, with what the kind has besides: what was done, and how fast."""
        faults = ", ".join(f"{kind} {count}" for kind, count in self.faults.most_common())
        seeds = len({seed for seed, _ in self.violations})
        return "\n".join(
            (
                f"{self.schedules} schedules, {first}",
                f"went wrong: {faults or 'nothing'}",
                f"quotes were back after {self.slowest_back_ns / _S:.1f} s at the most",
                speed,
                f"{len(self.violations)} violations" + (f" in {seeds} schedules" if seeds else ""),
            )
        )
