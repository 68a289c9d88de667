"""What many schedules of chaos with real processes came to, and how that is told."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mmkit_sandbox.chaosprocess import ProcessOutcome
from mmkit_sandbox.chaosreport import lines_of

_S = 1_000_000_000


class ProcessTally:
    """Adds outcomes up."""

    def __init__(self) -> None:
        self._began_s = time.perf_counter()
        self.schedules = self.kills = self.starts = self.orders = self.fills = 0
        self.slowest_back_ns = self.took_ns = 0
        self.faults: Counter[str] = Counter()
        self.violations: list[tuple[int, str]] = []
        """Seed and words."""
        self.folders: list[Path] = []
        """Where what the processes have written was kept."""

    def add(self, outcome: ProcessOutcome) -> None:
        """Take in one."""
        self.schedules += 1
        self.kills += outcome.kills
        self.starts += outcome.starts
        self.orders += outcome.orders
        self.fills += outcome.fills
        self.took_ns += outcome.took_ns
        self.slowest_back_ns = max(self.slowest_back_ns, outcome.back_ns)
        self.faults += outcome.faults
        self.violations += [(outcome.seed, words) for words in outcome.violations]
        if outcome.folder is not None:
            self.folders.append(outcome.folder)

    @property
    def wall_s(self) -> float:
        """Since it began."""
        return time.perf_counter() - self._began_s

    def json(self) -> str:
        """Return it as one JSON object, in the shape of that of virtual time."""
        return msgspec.json.encode(
            {
                "schedules": self.schedules,
                "orders": self.orders,
                "fills": self.fills,
                "kills": self.kills,
                "starts": self.starts,
                "faults": dict(sorted(self.faults.items())),
                "violations": [
                    {"seed": seed, "violation": words} for seed, words in self.violations
                ],
                "folders": [str(folder) for folder in self.folders],
                "slowest_back_s": round(self.slowest_back_ns / _S, 3),
                "seconds": round(self.took_ns / _S, 3),
                "wall_s": round(self.wall_s, 3),
                "schedules_per_s": round(self.schedules / self.wall_s, 4),
            }
        ).decode()


def text_of_processes(tally: ProcessTally) -> str:
    """Return it in words."""
    faults = ", ".join(f"{kind} {count}" for kind, count in tally.faults.most_common())
    seeds = len({seed for seed, _ in tally.violations})
    return "\n".join(
        (
            f"{tally.schedules} schedules, {tally.took_ns / _S / 60:.1f} min of trading, {tally.orders} orders, "
            f"{tally.fills} fills, {tally.starts} processes started and {tally.kills} of them killed",
            f"went wrong: {faults or 'nothing'}",
            f"quotes were back after {tally.slowest_back_ns / _S:.1f} s at the most",
            f"{tally.wall_s:.1f} s",
            f"{len(tally.violations)} violations" + (f" in {seeds} schedules" if seeds else ""),
        )
    )


def lines_of_process(outcome: ProcessOutcome) -> Iterator[str]:
    """Yield what happened in a schedule, a line each."""
    yield from lines_of(outcome)
    if outcome.folder is not None:
        yield f"seed {outcome.seed}: all that was written is in {outcome.folder}"
