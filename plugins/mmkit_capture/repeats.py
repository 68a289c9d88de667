"""What was recorded twice: a stream in two files at once, or a trade twice in one file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate, combinations
from pathlib import Path
from typing import NamedTuple

from mmkit.errors import CaptureError

TRADES = ("trade", "aggTrade")
"""Streams of which every message counts: one that comes twice is volume that never was."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Run(NamedTuple):
    """Messages of a stream that follow each other without a hole.

    Attributes:
        first: The first of the venue's ids that they account for.
        last: The last.
        begin: The venue's time of the first message, ns since the epoch.
        end: That of the last.
    """

    first: int
    last: int
    begin: int
    end: int


@dataclass
class StreamSpan:
    """When one file holds a stream, and what of it.

    Attributes:
        first_local: By the recorder's clock, ns.
        last_local: Likewise.
        runs: In the order in which they were recorded.
        numbered: Whether every message has ids; without them only the times tell.
        repeated: Line of the first message that the file has told already.
    """

    first_local: int
    last_local: int
    runs: list[Run] = field(default_factory=list)
    numbered: bool = True
    repeated: int | None = None

    def add(self, run: Run, line: int) -> None:
        """Take in messages from `line` on that follow each other.

        Ids told before at an earlier time are not the same ones: a testnet or a sandbox that is reset
        counts from 1 again.
        """
        if self.runs:
            newest = self.runs[-1]
            told = newest.first <= run.first <= newest.last
            if told and run.begin <= newest.end:
                self.repeated = self.repeated or line
            if run.first == newest.last + 1 or (told and run.begin <= newest.end):
                end, last = max(newest.end, run.end), max(newest.last, run.last)
                self.runs[-1] = newest._replace(last=last, end=end)
                return
        self.runs.append(run)

    def shared(self, other: StreamSpan) -> str:
        """Return what both hold, in words; empty for nothing.

        Ids tell it exactly, whatever the two clocks say. Without them it is the time in which both were
        recorded.
        """
        if not (self.numbered and other.numbered):
            begin = max(self.first_local, other.first_local)
            end = min(self.last_local, other.last_local)
            return f"{_utc(begin)} to {_utc(end)}" if begin < end else ""
        theirs = sorted(other.runs)
        firsts = [run.first for run in theirs]
        furthest = list(accumulate((run.last for run in theirs), max))
        for mine in sorted(self.runs):
            at = bisect_right(firsts, mine.last) - 1
            while at >= 0 and furthest[at] >= mine.first:
                run = theirs[at]
                first, last = max(mine.first, run.first), min(mine.last, run.last)
                begin, end = max(mine.begin, run.begin), min(mine.end, run.end)
                if first <= last and begin <= end:
                    return f"{_utc(begin)} to {_utc(end)}, ids {first} to {last}"
                at -= 1
        return ""


def refuse_repeats(
    files: Sequence[tuple[Path, Mapping[str, StreamSpan]]], streams: Sequence[str]
) -> None:
    """Refuse what would be counted twice.

    Args:
        files: Each with its streams.
        streams: Those that become rows.

    Raises:
        CaptureError: if two files hold the same part of a stream, or a file holds a trade twice.
    """
    for path, spans in files:
        for name in TRADES:
            if name in streams and name in spans and (line := spans[name].repeated):
                raise CaptureError(
                    f"{path}:{line}: each trade was expected once; found one of '{name}' that an "
                    "earlier line has told already, as if two connections were recorded into one "
                    f"file; record one, or choose 'data.streams' without '{name}'"
                )
    for (path, spans), (other_path, others) in combinations(files, 2):
        for name in streams:
            if name in spans and name in others and (shared := spans[name].shared(others[name])):
                raise CaptureError(
                    f"{path} and {other_path}: one recording of each stream was expected; found "
                    f"'{name}' in both ({shared}), so it would be counted twice; list one of the two "
                    "under 'data.paths', or have each recorder take streams of its own"
                )


def _utc(ns: int) -> str:
    """Return a time to the microsecond."""
    return (_EPOCH + timedelta(microseconds=ns // 1000)).isoformat().replace("+00:00", "Z")
