"""The second reading: the messages of one instrument, in order of local time, as a tape."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from typing import Any

import numpy as np
import numpy.typing as npt

from mmkit.errors import CaptureError, FeedError, OffGrid
from mmkit.instruments import Instrument
from mmkit.interfaces import WireFormat
from mmkit.tape import KIND, Kind, Row, Tape
from mmkit_capture.files import Line
from mmkit_capture.survey import PAUSE, FileSurvey, requested_book

VERSION = 1
"""Raised whenever the same sources would give other rows."""

_CHUNK = 65_536  # rows turned into numpy at a time; a tuple takes ten times the room
_NOTES = 20  # gaps named one by one in a report


@dataclass(frozen=True)
class Source:
    """One file and what is added to its local times, ns."""

    survey: FileSurvey
    offset: int


class _Columns:
    """Rows on their way to becoming columns."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._parts: list[npt.NDArray[np.int64]] = []

    def add(self, rows: list[Row]) -> None:
        self._rows += rows
        if len(self._rows) >= _CHUNK:
            self._pack()

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        self._pack()
        names = ("ts_exchange", "ts_local", "kind", "price", "quantity")
        return {
            name: np.concatenate([part[:, column] for part in self._parts]).astype(
                np.uint8 if name == "kind" else np.int64
            )
            for column, name in enumerate(names)
        }

    def _pack(self) -> None:
        self._parts.append(np.array(self._rows, dtype=np.int64).reshape(-1, 5))
        self._rows = []


def build(
    instrument: Instrument, sources: Sequence[Source], wire: WireFormat
) -> Generator[None, None, Tape]:
    """Read the files again, in parallel or one after the other as their times say.

    Args:
        instrument: What the rows are about.
        sources: In order of their first local time.
        wire: New; takes every message in.

    Raises:
        CaptureError: if a message is not of the venue's format.
        OffGrid: if a price or quantity does not fit the instrument's grid.
    """
    columns, stats = _Columns(), wire.stats
    last, taken = 0, 0
    clamped: dict[int, int] = {}
    unknown_since = ""
    for local, index, line in _merged(sources):
        taken += 1
        if taken % PAUSE == 0:
            yield
        source = sources[index]
        at = local + source.offset
        if at < last:
            clamped[index] = max(clamped.get(index, 0), last - at)
            at = last
        last = at
        where = f"{source.survey.file.path}:{line.number}"
        gaps, snapshots = stats.gaps, stats.snapshots
        rows = _rows(wire, instrument.native, line, at, where)
        if not rows:
            continue
        columns.add(rows)
        if stats.snapshots > snapshots:
            unknown_since = ""
        if stats.gaps > gaps:
            if not any(row[2] & KIND == Kind.SNAPSHOT for row in rows):
                unknown_since = where
            if stats.gaps <= _NOTES:
                stats.notes.append(
                    f"{where}: at least one update of the book is missing before this"
                )
    if stats.gaps > _NOTES:
        stats.notes.append(f"{stats.gaps - _NOTES} more gaps are not listed")
    if unknown_since:
        stats.notes.append(f"the book is unknown from {unknown_since} to the end")
    for index, amount in clamped.items():
        stats.notes.append(
            f"{sources[index].survey.file.path}: begins up to {amount} ns before the file ahead of it "
            "ends, clock offsets removed; those times were moved to that end"
        )
    stats.clock_offset_ns = [source.offset for source in sources]
    return Tape(instrument, columns.columns(), stats)


def _merged(sources: Sequence[Source]) -> Iterator[tuple[int, int, Line]]:
    """Yield the lines of all files by the recorder's clock: the order in which they were received.

    Offsets do not count here: estimated file by file, they may differ by more than what lies between
    the last message of one file and the first of the next.
    """

    def numbered(index: int, source: Source) -> Iterator[tuple[int, int, Line]]:
        for line in source.survey.file.lines():
            yield line.ts_local, index, line

    return merge(*(numbered(index, source) for index, source in enumerate(sources)))


def _rows(wire: WireFormat, native: str, line: Line, ts_local: int, where: str) -> list[Row]:
    try:
        if not line.url:
            return wire.message(line.body, ts_local)
        if requested_book(line.url) == native:
            return wire.snapshot(line.body, ts_local)
    except OffGrid as error:
        raise OffGrid(
            f"{where}: {error}; are 'instrument.tick' and 'instrument.lot' those of this capture?"
        ) from error
    except FeedError as error:
        raise CaptureError(f"{where}: {error}") from error
    wire.stats.ignored += 1
    return []
