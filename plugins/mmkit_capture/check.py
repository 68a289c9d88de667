"""What is wrong with capture files, line by line; looks on where the reader refuses."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from heapq import merge
from itertools import combinations, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from mmkit.errors import CaptureError, DataError, OffGrid
from mmkit.instruments import Instrument
from mmkit.interfaces import MessageInfo, WireFormat
from mmkit.quality import Notebook, SourceCheck
from mmkit.tape import FeedStats
from mmkit.tape.columns import Columns
from mmkit_capture.build import rows_of
from mmkit_capture.choice import clock_offsets, names
from mmkit_capture.files import CaptureFile, Line
from mmkit_capture.repeats import TRADES
from mmkit_capture.survey import PAUSE, FileSurvey, Numbers, inform


class Lines:
    """The lines of one file that can be read; what is wrong with the others is noted.

    Local time that goes back is noted, and made to go on, as a tape is in the order of receipt: one line that
    lies behind its time takes the latest so far; if those after it are early, too, the clock was set, and
    all of them are moved.
    """

    def __init__(self, file: CaptureFile, notes: Notebook) -> None:
        self.file, self._notes = file, notes

    def __iter__(self) -> Iterator[Line]:
        before = latest = moved = 0
        lines = self._parsed()
        line = next(lines, None)
        while line is not None:
            following = next(lines, None)
            if line.ts_local < before:
                words = f"by {(before - line.ts_local) / 1e9:,.6f} s"
                where = f"{self.file.path}:{line.number}"
                self._notes.add("time_back", where, words, line.ts_local)
                if following is not None and following.ts_local < before:
                    moved += before - line.ts_local
                    before = line.ts_local
            else:
                before = line.ts_local
            latest = max(latest, line.ts_local + moved)
            yield line._replace(ts_local=latest)
            line = following

    def _parsed(self) -> Iterator[Line]:
        file, notes = self.file, self._notes
        file.skipped = number = 0
        try:
            for number, raw in file.raw_lines():
                where = f"{file.path}:{number}"
                try:
                    line = file.parse(number, raw)
                except CaptureError as error:
                    notes.add("broken_line", where, _without_place(error, where))
                    continue
                if line is None:
                    file.skipped += 1
                else:
                    yield line
        except CaptureError as error:
            if not number:
                raise  # not a file at all, or nothing of it can be read
            notes.add("unreadable", f"{file.path}:{number}", _without_place(error, str(file.path)))


@dataclass
class Ids:
    """The ids of one stream of one file, as far as they have come.

    Attributes:
        first: Of the first message, and its place.
        last: The largest so far; -1 before the first.
        time: The venue's time of the newest message, ns.
        holes: Ids that were passed over, with the place of the message that did.
    """

    first: tuple[int, str] = (0, "")
    last: int = -1
    time: int = 0
    holes: dict[int, str] = field(default_factory=dict)


_HOLES = 10_000
"""Ids remembered that were passed over; what comes later than that is told as repeated."""


class Surveyor:
    """The first reading: what is there, and what the ids of the venue tell."""

    def __init__(self, wire: WireFormat, native: str, notes: Notebook) -> None:
        self._wire, self._native, self._notes = wire, native, notes
        self.remarks: dict[str, str] = {}
        self.ids: dict[tuple[Path, str], Ids] = {}

    def survey(
        self, file: CaptureFile, numbers: Numbers | None
    ) -> Generator[None, None, FileSurvey]:
        """Read a file through."""
        found = FileSurvey(file)
        for line in Lines(file, self._notes):
            if found.lines % PAUSE == 0:
                yield
            try:
                info = inform(file, line, self._wire, numbers is not None)
            except CaptureError as error:
                where = f"{file.path}:{line.number}"
                self._notes.add("broken_line", where, _without_place(error, where), line.ts_local)
                continue
            if not found.take(line, info, self._native) or info is None:
                continue
            if numbers is not None:
                numbers.prices.update(info.prices)
                numbers.quantities.update(info.quantities)
            if info.ids is not None and info.stream in ("depth", *TRADES):
                self._follow(file.path, line, info, *info.ids)
        if file.skipped:
            self._notes.add("skipped_lines", str(file.path), f"{file.skipped} lines")
        return found

    def _follow(self, path: Path, line: Line, info: MessageInfo, first: int, last: int) -> None:
        where, notes, at = f"{path}:{line.number}", self._notes, line.ts_local
        if info.off_book:
            self.remarks[where] = f"the venue calls it {info.off_book}"
        ids = self.ids.setdefault((path, info.stream), Ids())
        time = info.ts_exchange or 0
        if ids.last < 0:
            ids.first = (first, where)
        elif info.stream == "depth":
            # What is missing of them the book's own synchronisation says.
            if last <= ids.last and time <= ids.time:
                notes.add("repeated_update", where, f"up to id {last}", at)
        elif first in ids.holes:
            # It was not missing, it comes late.
            notes.drop("missing_trade", ids.holes.pop(first))
            notes.add("trade_order", where, f"id {first} comes after {ids.last}", at)
        elif first <= ids.last and time <= ids.time:
            notes.add("repeated_trade", where, f"id {first}", at)
        elif first <= ids.last:
            notes.add("ids_reset", where, f"{info.stream}: from {ids.last} to {first}", at)
            ids.last = -1
        elif first > ids.last + 1:
            missed = first - ids.last - 1
            words = f"{missed:,} missing between ids {ids.last} and {first}"
            notes.add("missing_trade", where, words, at)
            if len(ids.holes) + missed <= _HOLES:
                ids.holes |= dict.fromkeys(range(ids.last + 1, first), where)
        ids.last = max(ids.last, last)
        ids.time = max(ids.time, time)

    def compare(self, surveys: Sequence[FileSurvey], streams: Sequence[str]) -> None:
        """Note what lies between files, and what two of them hold; only of what becomes rows."""
        notes = self._notes
        twice = set()
        for one, other in combinations(surveys, 2):
            for name in streams:
                if name in one.spans and name in other.spans:
                    shared = one.spans[name].shared(other.spans[name])
                    if shared:
                        twice.add(name)
                        where = f"{one.file.path} and {other.file.path}"
                        notes.add("recorded_twice", where, f"'{name}', {shared}")
        for name in TRADES:
            of = [ids for found in surveys if (ids := self.ids.get((found.file.path, name)))]
            for before, after in pairwise(of):
                missed = after.first[0] - before.last - 1
                if missed > 0 and name not in twice:
                    words = f"{missed:,} missing between the file before it and this one"
                    notes.add("missing_trade", after.first[1], words)


class Places:
    """Which line each row comes from."""

    def __init__(self) -> None:
        self._rows, self._files, self._lines = array("q"), array("q"), array("q")
        self.paths: list[Path] = []

    def add(self, row: int, file: int, line: int) -> None:
        """Say that rows from `row` on come from a line."""
        self._rows.append(row)
        self._files.append(file)
        self._lines.append(line)

    def where(self, row: int) -> str:
        """Return ``file:line`` of a row."""
        at = bisect_right(self._rows, row) - 1
        return f"{self.paths[self._files[at]]}:{self._lines[at]}"


def check(
    surveys: Sequence[FileSurvey],
    surveyor: Surveyor,
    instrument: Instrument,
    wire: WireFormat,
    streams: Sequence[str],
    clock_offset: str | int,
    notes: Notebook,
) -> Generator[None, None, SourceCheck]:
    """Read the files again and take every message in, whatever has been found.

    Args:
        surveys: In order of their first local time.
        surveyor: Did them.
        instrument: What the rows are about.
        wire: New; takes every message in.
        streams: What becomes rows.
        clock_offset: As configured.
        notes: Takes the findings in.
    """
    surveyor.compare(surveys, streams)
    offsets = clock_offsets(surveys, streams, clock_offset)
    for found, offset in zip(surveys, offsets, strict=True):
        if offset:
            notes.add("clock_offset", str(found.file.path), f"by {offset / 1e6:,.3f} ms")
    places = Places()
    places.paths = [found.file.path for found in surveys]
    last = rows = taken = 0
    with TemporaryDirectory(prefix="mmkit-check-") as folder:
        columns = Columns(instrument, Path(folder) / "check.tape")
        try:
            for _, index, line in _merged(surveys):
                taken += 1
                if taken % PAUSE == 0:
                    yield
                last = max(last, line.ts_local + offsets[index])
                where = f"{places.paths[index]}:{line.number}"
                found_before = _counted(wire.stats)
                try:
                    made = rows_of(instrument.native, wire, line, last, where)
                except OffGrid as error:
                    notes.add("off_grid", where, _without_place(error, where), last)
                    continue
                except CaptureError as error:
                    notes.add("broken_line", where, _without_place(error, where), last)
                    continue
                if made:
                    places.add(rows, index, line.number)
                    columns.add(made)
                    rows += len(made)
                found_after = _counted(wire.stats)
                if found_after != found_before:
                    _note_counted(notes, where, last, found_before, found_after)
            _note_the_end(notes, wire.stats, places.paths, streams)
            wire.stats.clock_offset_ns = list(offsets)
            tape = columns.tape(wire.stats) if rows else None
        finally:
            columns.close()
    return SourceCheck(tape, notes, places.where, surveyor.remarks)


def _counted(stats: FeedStats) -> tuple[int, int]:
    return stats.stale_snapshots, stats.tickers_different


def _note_counted(
    notes: Notebook, where: str, at: int, before: tuple[int, int], after: tuple[int, int]
) -> None:
    if after[0] > before[0]:
        notes.add("stale_snapshot", where, "", at)
    if after[1] > before[1]:
        notes.add(
            "ticker_different", where, "or the update of the same id, whichever came first", at
        )


def _note_the_end(
    notes: Notebook, stats: FeedStats, paths: Sequence[Path], streams: Sequence[str]
) -> None:
    if "depth" in streams and not stats.snapshots:
        found = (
            f"{stats.stale_snapshots} found, all too old" if stats.stale_snapshots else "none found"
        )
        notes.add("no_snapshot", names(paths), found)
    for note in stats.notes:
        notes.add("reader", note)


def _merged(surveys: Sequence[FileSurvey]) -> Iterator[tuple[int, int, Line]]:
    """Yield the lines of all files by the recorder's clock."""
    told = Notebook()  # what is wrong with lines has been noted at the first reading

    def numbered(index: int, found: FileSurvey) -> Iterator[tuple[int, int, Line]]:
        for line in Lines(found.file, told):
            yield line.ts_local, index, line

    return merge(
        *(numbered(index, found) for index, found in enumerate(surveys)), key=lambda one: one[:2]
    )


def supposed_grid(step: Decimal | None, what: str, native: str) -> Decimal:
    """Return the step that fits the data.

    Raises:
        DataError: if there is none.
    """
    if step is None:
        raise DataError(f"no {what} of '{native}' above zero was found; write 'instrument' out")
    return step


def _without_place(error: Exception, where: str) -> str:
    """Return the words of an error that begin with its place, without it."""
    return str(error).removeprefix(f"{where}: ").removeprefix(f"{where}:")
