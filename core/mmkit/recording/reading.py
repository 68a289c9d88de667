"""Rows of a market read back from the dataset, as one tape."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from mmkit.errors import DataError
from mmkit.recording.dataset import (
    Listed,
    days_between,
    days_in_words,
    is_seam,
    listed,
    span_in_words,
)
from mmkit.recording.parts import Part, columns_of
from mmkit.recording.place import DAY_NS, day_of
from mmkit.recording.standing import Standing
from mmkit.tape import KIND, LAST, NEVER, FeedStats, GapReason, Kind, Tape
from mmkit.tape.columns import Columns
from mmkit.tape.pieces import Piece, beginning, gap
from mmkit.units import format_time


class Held(NamedTuple):
    """What there is of a market.

    Attributes:
        parts: All of them, in order.
        gaps: Times that the book becomes unknown, but for the beginning.
    """

    parts: list[Part]
    gaps: int

    @property
    def days(self) -> list[str]:
        """The days there are, in order."""
        return list(dict.fromkeys(day_of(part.first_ns) for part in self.parts))

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(part.rows for part in self.parts)


def held(partition: Path) -> Held:
    """Return what there is of a market; only what parts say of themselves is read.

    Raises:
        DataError: if one cannot be read.
    """
    parts = [one.described() for one in listed(partition)]
    gaps = sum(part.gaps for part in parts)
    for before, after in pairwise(parts):
        if is_seam(before, after):
            gaps += not _ends_in_gap(columns_of(before.path, ("kind",)))
    return Held(parts, gaps)


def read(partition: Path, room: Path, start_ns: int = 0, end_ns: int = NEVER) -> Tape:
    """Return the rows of a market as a tape.

    Between parts that do not belong together stands a GAP (recorder). If rows before `start_ns` are left out, the
    tape begins with a GAP (start) and, if the book is known then, with the book.

    Args:
        partition: The folder of the market.
        room: Where the tape is while it is being made, if it is too long to be kept in memory.
        start_ns: Rows received from this time on; ns since the epoch.
        end_ns: Rows received before this time.

    Raises:
        DataError: if there are none, if parts cannot be read, overlap, or are of several grids.
    """
    parts = listed(partition)
    chosen = parts[: bisect_left(parts, end_ns, key=lambda one: one.first_ns)]
    reader = _Reader(start_ns, end_ns)
    columns: Columns | None = None
    try:
        for part, rows in reader.rows(chosen[_first_needed(chosen, start_ns) :]):
            columns = columns or Columns(part.instrument, room)
            columns.add_columns(rows)
        if columns is None:
            raise _nothing(partition, parts, start_ns, end_ns)
        tape = columns.tape(reader.stats())
        if columns.on_disk:
            room.unlink()  # it is mapped, and the dataset is what is kept
    except OSError as error:
        raise DataError(
            f"{room}: a tape too long to be kept in memory cannot be written: {error.strerror}; make room "
            "there, or read fewer days"
        ) from error
    finally:
        if columns is not None:
            columns.close()
    return tape


class _Session:
    """What was read of one import, or of what was recorded between two of them."""

    def __init__(self, part: Part) -> None:
        self._id = _id(part)
        self._of = part.origin.of if part.origin is not None else 0
        self._told: FeedStats | None = None
        self._whole: list[int] = []
        self._counted = FeedStats()

    def has(self, part: Part) -> bool:
        """Whether a part belongs to it."""
        return self._id == _id(part)

    def add(self, part: Part, rows: Piece) -> None:
        """Take in what was read of a part."""
        if part.origin is not None:
            self._told = part.origin.stats or self._told
            if len(rows["kind"]) == part.rows:
                self._whole.append(part.origin.number)
        what, counted = rows["kind"] & KIND, self._counted
        gaps = (what == Kind.GAP) & (rows["price"] != GapReason.START)
        counted.messages += int((rows["kind"] & LAST != 0).sum())
        counted.gaps += int(gaps.sum())
        counted.snapshots += int((what == Kind.SNAPSHOT).sum())
        counted.off_book += int((what == Kind.OFF_BOOK).sum())

    def stats(self) -> FeedStats:
        """Return what reading its source found, if all of it was read; else what can be counted."""
        told = self._told
        if told is None:
            return self._counted
        if self._whole == list(range(self._of)):
            return told
        return replace(self._counted, notes=told.notes, clock_offset_ns=told.clock_offset_ns)


class _Reader:
    """Reads parts one after the other, and remembers what is to be told of them."""

    def __init__(self, start_ns: int, end_ns: int) -> None:
        self._start_ns, self._end_ns = start_ns, end_ns
        self._standing = Standing()
        self._left_out = False
        self._sessions: list[_Session] = []
        self._extra = FeedStats()
        self._missing: list[str] = []
        self._first: Part | None = None
        self._last_ns = 0

    def rows(self, parts: Sequence[Listed]) -> Iterator[tuple[Part, Piece]]:
        """Yield the rows from ``start_ns`` to ``end_ns``, each piece with the part that it is of, or follows."""
        before: Part | None = None
        in_gap, newest = True, 0
        for one in parts:
            part = one.described()
            if before is not None:
                _refuse_overlap(before, part)
                if is_seam(before, part):
                    yield from self._seam(before, part, newest, in_gap=in_gap)
            rows = columns_of(part.path)
            kept = self._kept(rows)
            if len(kept["kind"]):
                self._refuse_other_grid(part)
                if not self._sessions or not self._sessions[-1].has(part):
                    self._sessions.append(_Session(part))
                self._sessions[-1].add(part, kept)
                if self._first is None:
                    self._first = part
                    yield from ((part, piece) for piece in self._beginning(kept))
                self._last_ns = int(kept["ts_local"][-1])
                yield part, kept
            before, in_gap = part, _ends_in_gap(rows)
            newest = int(rows["ts_exchange"].max())

    def stats(self) -> FeedStats:
        """Return what was found, in all of what was read."""
        found = [one.stats() for one in self._sessions]
        extra = self._extra
        if self._missing:
            extra.notes.append(f"there are no rows of {days_in_words(self._missing)}")
        if self._first is not None:
            first, last = self._first.first_ns // DAY_NS, self._last_ns // DAY_NS
            if self._start_ns and self._start_ns // DAY_NS < first:
                extra.notes.append(
                    f"rows from {day_of(self._start_ns)} on were asked for; the first are of "
                    f"{day_of(first * DAY_NS)}"
                )
            if self._end_ns != NEVER and (self._end_ns - 1) // DAY_NS > last:
                extra.notes.append(
                    f"rows until {day_of(self._end_ns - 1)} were asked for; the last are of "
                    f"{day_of(last * DAY_NS)}"
                )
        if len(found) == 1 and extra == FeedStats():
            return found[0]
        return _sum([*found, extra])

    def _seam(
        self, before: Part, after: Part, newest: int, *, in_gap: bool
    ) -> Iterator[tuple[Part, Piece]]:
        if self._first is not None:
            self._missing += days_between(before, after)
        if in_gap:
            return
        at = min(before.last_ns + 1, after.first_ns)
        kept = self._kept(gap(GapReason.RECORDER, newest, at))
        if self._first is not None and len(kept["kind"]):
            self._extra.gaps += 1
            yield before, kept

    def _kept(self, rows: Piece) -> Piece:
        """Return the rows within the span; the book is made of those before it."""
        begin, end = np.searchsorted(rows["ts_local"], [self._start_ns, self._end_ns])
        if begin:
            self._left_out = True
            self._standing.take({name: column[:begin] for name, column in rows.items()})
        return {name: column[begin:end] for name, column in rows.items()}

    def _beginning(self, rows: Piece) -> Iterator[Piece]:
        """Yield what a tape begins with that leaves out rows."""
        if not self._left_out:
            return
        if self._standing.known:
            self._extra.snapshots += 1
            yield self._standing.told(self._start_ns)
        elif rows["kind"][0] & KIND != Kind.GAP:
            yield beginning(rows)

    def _refuse_other_grid(self, part: Part) -> None:
        if self._first is None or self._first.instrument == part.instrument:
            return
        one, other = self._first.instrument, part.instrument
        raise DataError(
            f"{part.path}: one instrument was expected in all parts; found {one.differences(other)} from "
            f"{format_time(part.first_ns)} on; read the time before it and from it on apart, with 'from' and 'to'"
        )


def _sum(found: Sequence[FeedStats]) -> FeedStats:
    total = FeedStats()
    for one in found:
        for name in FeedStats.__struct_fields__:
            value = getattr(one, name)
            if isinstance(value, int):
                setattr(total, name, getattr(total, name) + value)
        total.clock_offset_ns += one.clock_offset_ns
        total.notes += [note for note in one.notes if note not in total.notes]
    return total


def _id(part: Part) -> str:
    return part.origin.id if part.origin is not None else ""


def _first_needed(parts: Sequence[Listed], start_ns: int) -> int:
    """Return the part from which on the book at `start_ns` can be told."""
    number = max(bisect_left(parts, start_ns, key=lambda one: one.first_ns) - 1, 0)
    while number > 0:
        rows = columns_of(parts[number].path, ("kind", "ts_local"))
        before = rows["kind"][: int(np.searchsorted(rows["ts_local"], start_ns))] & KIND
        if ((before == Kind.SNAPSHOT) | (before == Kind.GAP)).any():
            break
        number -= 1
    return number


def _ends_in_gap(rows: Piece) -> bool:
    return bool(rows["kind"][-1] & KIND == Kind.GAP)


def _refuse_overlap(before: Part, part: Part) -> None:
    if part.first_ns < before.last_ns:
        raise DataError(
            f"{part.path}: begins {(before.last_ns - part.first_ns) / 1e9:.3f} s before {before.path} ends; parts of "
            "one market do not overlap; the clock was set back while it was recorded, or a file was put there: "
            "move one of them out of the dataset"
        )


def _nothing(partition: Path, parts: Sequence[Listed], start_ns: int, end_ns: int) -> DataError:
    asked = [f"from {format_time(start_ns)}"] if start_ns else []
    asked += [f"to {format_time(end_ns)}"] if end_ns != NEVER else []
    there = "there are none"
    if parts:
        spans = held(partition)
        first, last = spans.parts[0].first_ns, spans.parts[-1].last_ns
        there = f"there are {span_in_words(first, last)}, of {days_in_words(spans.days)}"
    return DataError(f"{partition}: rows {' '.join(asked)} were expected; {there}")
