"""What many schedules of chaos with real processes came to, and how that is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmkit_sandbox.chaosprocess import ProcessOutcome
from mmkit_sandbox.chaosreport import lines_of
from mmkit_sandbox.chaostally import Tally

_S = 1_000_000_000


class ProcessTally(Tally):
    """Adds outcomes up."""

    def __init__(self) -> None:
        super().__init__()
        self.kills = self.starts = self.took_ns = 0
        self.folders: list[Path] = []
        """Where what the processes have written was kept."""

    def add(self, outcome: ProcessOutcome) -> None:
        """Take in one."""
        self.count(outcome)
        self.kills += outcome.kills
        self.starts += outcome.starts
        self.took_ns += outcome.took_ns
        if outcome.folder is not None:
            self.folders.append(outcome.folder)

    def json(self) -> str:
        """Return it as one JSON object, in the shape of that of virtual time."""
        return self.one_object(
            kills=self.kills,
            starts=self.starts,
            folders=[str(folder) for folder in self.folders],
            seconds=round(self.took_ns / _S, 3),
            schedules_per_s=round(self.schedules / self.wall_s, 4),
        )

    def text(self) -> str:
        """Return it in words."""
        return self.lines(
            f"{self.took_ns / _S / 60:.1f} min of trading, {self.orders} orders, {self.fills} fills, {self.starts} "
            f"processes started and {self.kills} of them killed",
            f"{self.wall_s:.1f} s",
        )


def lines_of_process(outcome: ProcessOutcome) -> Iterator[str]:
    """Yield what happened in a schedule, a line each."""
    yield from lines_of(outcome)
    if outcome.folder is not None:
        yield f"seed {outcome.seed}: all that was written is in {outcome.folder}"
