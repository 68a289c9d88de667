"""The messages of one instrument, in order of local time, as a tape: one message at a time.

`mmkit_capture.fast` does the same many at a time. This is the reference.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from heapq import merge
from pathlib import Path

from mmkit.errors import CaptureError, FeedError, OffGrid
from mmkit.instruments import Instrument
from mmkit.interfaces import WireFormat
from mmkit.tape import KIND, FeedStats, Kind, Row
from mmkit.tape.columns import Columns
from mmkit_capture.files import GAP, Line
from mmkit_capture.survey import PAUSE, FileSurvey, requested_book

VERSION = 2
"""Raised whenever the same sources would give other rows."""

_NOTES = 20  # gaps named one by one in a report


@dataclass(frozen=True)
class Source:
    """One file and what is added to its local times, ns."""

    survey: FileSurvey
    offset: int


class Taker:
    """Hands messages to the wire format one at a time, and notes where the book becomes unknown."""

    def __init__(self, instrument: Instrument, wire: WireFormat) -> None:
        self._native, self._wire = instrument.native, wire
        self._snapshots = 0
        self._unknown_since = ""

    def take(self, path: Path, line: Line, ts_local: int) -> list[Row]:
        """Return the rows that a line makes.

        Raises:
            CaptureError: if the message is not of the venue's format.
            OffGrid: if a price or quantity does not fit the instrument's grid.
        """
        stats = self._wire.stats
        self._settle(stats)
        gaps = stats.gaps
        where = f"{path}:{line.number}"
        rows = rows_of(self._native, self._wire, line, ts_local, where)
        self._settle(stats)
        if stats.gaps > gaps:
            if not any(row[2] & KIND == Kind.SNAPSHOT for row in rows):
                self._unknown_since = where
            if stats.gaps <= _NOTES:
                stats.notes.append(
                    f"{where}: {line.body.partition(b' ')[2].decode('utf-8', 'replace')}"
                    if line.url == GAP
                    else f"{where}: at least one update of the book is missing before this"
                )
        return rows

    def end(self) -> None:
        """Note what can only be said at the end."""
        stats = self._wire.stats
        self._settle(stats)
        if stats.gaps > _NOTES:
            stats.notes.append(f"{stats.gaps - _NOTES} more gaps are not listed")
        if self._unknown_since:
            stats.notes.append(f"the book is unknown from {self._unknown_since} to the end")

    def _settle(self, stats: FeedStats) -> None:
        if stats.snapshots > self._snapshots:
            self._snapshots, self._unknown_since = stats.snapshots, ""


def rows_of(native: str, wire: WireFormat, line: Line, ts_local: int, where: str) -> list[Row]:
    """Return the rows that a line makes.

    Args:
        native: The venue's own name of the instrument.
        wire: Takes the message in.
        line: What was received.
        ts_local: When.
        where: What an error says of the line's place.

    Raises:
        CaptureError: if the message is not of the venue's format.
        OffGrid: if a price or quantity does not fit the instrument's grid.
    """
    try:
        if not line.url:
            return wire.message(line.body, ts_local)
        if line.url == GAP:
            return wire.lost(int(line.body.partition(b" ")[0]), ts_local)
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


@dataclass(frozen=True)
class Built:
    """Everything a tape is made of.

    Attributes:
        columns: The rows; to be closed.
        stats: What was found on the way.
        sources: In order of their first local time.
    """

    columns: Columns
    stats: FeedStats
    sources: Sequence[Source]


def build(
    instrument: Instrument, sources: Sequence[Source], wire: WireFormat, columns: Columns
) -> Generator[None, None, Built]:
    """Read the files again, in parallel or one after the other as their times say.

    Args:
        instrument: What the rows are about.
        sources: In order of their first local time.
        wire: New; takes every message in.
        columns: Empty; takes the rows in, and is closed if that fails.

    Raises:
        CaptureError: if a message is not of the venue's format.
        OffGrid: if a price or quantity does not fit the instrument's grid.
    """
    taker = Taker(instrument, wire)
    last = 0
    moved: dict[int, int] = {}
    with ExitStack() as unless_done:
        unless_done.callback(columns.close)
        for taken, (local, index, line) in enumerate(_merged(sources), 1):
            if taken % PAUSE == 0:
                yield
            source = sources[index]
            at = local + source.offset
            if at < last:
                moved[index] = max(moved.get(index, 0), last - at)
                at = last
            last = at
            columns.add(taker.take(source.survey.file.path, line, at))
        unless_done.pop_all()
    taker.end()
    note_moved(wire.stats, [(sources[index], amount) for index, amount in moved.items()])
    wire.stats.clock_offset_ns = [source.offset for source in sources]
    return Built(columns, wire.stats, sources)


def note_moved(stats: FeedStats, moved: Sequence[tuple[Source, int]]) -> None:
    """Note the files that begin before the one ahead of them ends, and by how many ns."""
    for source, amount in moved:
        stats.notes.append(
            f"{source.survey.file.path}: begins up to {amount} ns before the file ahead of it "
            "ends, clock offsets removed; those times were moved to that end"
        )


def _merged(sources: Sequence[Source]) -> Iterator[tuple[int, int, Line]]:
    """Yield the lines of all files by the recorder's clock: the order in which they were received.

    Offsets do not count here: estimated file by file, they may differ by more than what lies between
    the last message of one file and the first of the next.
    """

    def numbered(index: int, source: Source) -> Iterator[tuple[int, int, Line]]:
        for line in source.survey.file.lines():
            yield line.ts_local, index, line

    return merge(*(numbered(index, source) for index, source in enumerate(sources)))
