"""Tapes put into the dataset: all of their rows, or none.

Parts are written beside the dataset first. Then one small file says which parts come and which go (`Pending`);
from then on the import has happened: readers see it as a whole, and whoever imports next moves what was not moved.
"""

from __future__ import annotations

import shutil
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from mmkit.errors import DataError
from mmkit.instruments import Instrument
from mmkit.recording.append import explained
from mmkit.recording.dataset import (
    STAGED,
    Listed,
    Pending,
    days_in_words,
    listed,
    partition_of,
    pending,
    pending_file,
    span_in_words,
)
from mmkit.recording.parts import Origin, Part, parquet, put
from mmkit.recording.place import DAY_NS, Lock, Place, day_of
from mmkit.recording.rows import PART_ROWS
from mmkit.tape import NAMES, RECORD, Tape
from mmkit.tape.pieces import Piece
from mmkit.units import format_time

_FULL = "nothing was imported, and what was there is as it was. Free some space and start again"
_UNMOVED = "what was imported is there, and the next import moves it into place. Free some space"
_BUSY = "is being imported into by another process ({}); wait for it"


class Given(NamedTuple):
    """A tape to be imported, and the names of the files that it was read from."""

    tape: Tape
    files: list[str]


class Put(NamedTuple):
    """What an import has done.

    Attributes:
        partition: The market's folder in the dataset.
        parts: Files written.
        size: Their bytes.
        days: Their UTC days.
        replaced_rows: Rows that went for it.
        replaced_days: Their days.
    """

    partition: Path
    parts: int
    size: int
    days: list[str]
    replaced_rows: int
    replaced_days: list[str]


def put_tapes(
    userdir: Path,
    tapes: Sequence[Given],
    *,
    replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
    part_rows: int = PART_ROWS,
) -> Put:
    """Put tapes of one market into the dataset, all or none.

    Args:
        userdir: The user's folder.
        tapes: At least one; they do not overlap.
        replace: Whether what is there goes, on the days on which it overlaps a tape, all of them whole.
        progress: Told the rows written and the rows in all.
        part_rows: About the most rows of a part.

    Raises:
        DataError: if a tape is empty, they are of different instruments or overlap; if the market is there with another
            grid, or rows of that time are, unless they are to be replaced.
        RunError: if another process imports into the market, or the disk does not take it. All is as it was then.
    """
    tapes = sorted(_checked(tapes), key=lambda one: int(one.tape.ts_local[0]))
    instrument = tapes[0].tape.instrument
    place = Place(userdir, instrument)
    with closing(_Held(place.folder)):
        settle(place.partition, place.importing)
        _refuse_other_instrument(place, instrument)
        gone = _replaced(place, tapes) if replace else []
        _refuse_overlap(place, tapes, gone)
        rows = sum(one.described().rows for one in gone)
        try:
            come, size = _staged(place, tapes, progress, part_rows)
            with explained(place.importing, _FULL):
                names = [_below(place.partition, one.path) for one in gone]
                _begin(place.importing, Pending(come, names))
        finally:
            # After a failure this sweeps up; after `_begin` it moves the parts to where they belong.
            with explained(place.partition, _UNMOVED):
                settle(place.partition, place.importing)
    days = list(dict.fromkeys(name.partition("/")[0][len("day=") :] for name in come.values()))
    before = list(dict.fromkeys(day_of(one.first_ns) for one in gone))
    return Put(place.partition, len(come), size, days, rows, before)


def settle(partition: Path, importing: Path) -> None:
    """Move what an import has still to move; what was prepared and never begun is cleared away.

    Raises:
        DataError: if what is there cannot be read.
        OSError: if the disk does not take it.
    """
    if not importing.exists():
        return
    left = pending(importing)
    if left is not None:
        # A part that goes may have the name of one that comes, and that one may have been moved already.
        for name in set(left.go) - set(left.come.values()):
            (partition / name).unlink(missing_ok=True)
        for staged, name in left.come.items():
            path = importing / STAGED / staged
            if path.exists():
                (partition / name).parent.mkdir(parents=True, exist_ok=True)
                path.replace(partition / name)
        pending_file(importing).unlink()
    shutil.rmtree(importing)
    for name in left.go if left is not None else ():
        day = (partition / name).parent
        if day.is_dir() and not any(day.iterdir()):
            day.rmdir()


class _Held:
    """The lock of a market's imports; `closing` lets go of it."""

    def __init__(self, folder: Path) -> None:
        self._lock = Lock(folder, "import.lock", _BUSY)

    def close(self) -> None:
        self._lock.release()


def _begin(importing: Path, what: Pending) -> None:
    path = pending_file(importing)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_bytes(msgspec.json.encode(what))
    unfinished.replace(path)


def _staged(
    place: Place,
    tapes: Sequence[Given],
    progress: Callable[[int, int], None] | None,
    part_rows: int,
) -> tuple[dict[str, str], int]:
    """Write the parts beside the dataset; return where each belongs, and their bytes."""
    folder = place.importing / STAGED
    everything, done, size = sum(len(one.tape) for one in tapes), 0, 0
    come: dict[str, str] = {}
    for tape, files in tapes:
        spans = list(_spans(tape, part_rows))
        origin = Origin(id=uuid.uuid4().hex, number=0, of=len(spans), files=files, stats=tape.stats)
        for number, (begin, end) in enumerate(spans):
            told = msgspec.structs.replace(
                origin, number=number, stats=None if number else origin.stats
            )
            columns: Piece = {
                "ts_exchange": tape.ts_exchange[begin:end],
                "ts_local": tape.ts_local[begin:end],
                "kind": tape.kind[begin:end],
                "price": tape.widened(tape.narrow_price[begin:end]),
                "quantity": tape.widened(tape.narrow_quantity[begin:end]),
            }
            content = parquet(columns, tape.instrument, told)
            path = place.part(int(tape.ts_local[begin]))
            with explained(folder, _FULL):
                put(content, folder / f"{path.stem}.tmp", folder / path.name)
            come[path.name] = _below(place.partition, path)
            size += len(content)
            done += end - begin
            if tape.long:
                tape.release(NAMES, begin)
            if progress is not None:
                progress(done, everything)
    return come, size


def _spans(tape: Tape, part_rows: int) -> Iterator[tuple[int, int]]:
    """Yield the rows of each part: of one day, and never only a part of an instant."""
    times, begin = tape.ts_local, 0
    while begin < len(tape):
        midnight = (int(times[begin]) // DAY_NS + 1) * DAY_NS
        end = int(np.searchsorted(times, midnight))
        if end > begin + part_rows:
            at = times[begin + part_rows]
            end = int(np.searchsorted(times, at))
            if end == begin:
                end = int(np.searchsorted(times, at, "right"))
        yield begin, end
        begin = end


def _checked(tapes: Sequence[Given]) -> Sequence[Given]:
    for tape, files in tapes:
        if not len(tape):
            raise DataError(
                f"{_named(files)}: rows were expected; found none, so nothing was imported"
            )
        if words := tapes[0].tape.instrument.differences(tape.instrument):
            raise DataError(
                f"{_named(files)}: the instrument of {_named(tapes[0].files)} was expected; found {words}; import "
                "them one after the other"
            )
    ordered = sorted(tapes, key=lambda one: int(one.tape.ts_local[0]))
    for one, other in pairwise(ordered):
        if other.tape.ts_local[0] <= one.tape.ts_local[-1]:
            raise DataError(
                f"{_named(other.files)}: rows after those of {_named(one.files)}, which end at "
                f"{_time(one.tape.ts_local[-1])}, were expected; found some from {_time(other.tape.ts_local[0])} "
                "on; leave one of them out"
            )
    return tapes


def _refuse_other_instrument(place: Place, instrument: Instrument) -> None:
    there = partition_of(place.dataset, instrument.spec()) or place.partition
    parts = listed(there)
    for one in [*parts[:1], *parts[-1:]]:
        if words := one.described().instrument.differences(instrument):
            raise DataError(
                f"{there}: the instrument that is there was expected; found {words} (there, and to be imported); "
                "nothing was imported. Correct what is said of it, or import into another folder with '--userdir'"
            )


def _replaced(place: Place, tapes: Sequence[Given]) -> list[Listed]:
    """Return the parts that are there on the days on which they overlap the tapes."""
    parts = listed(place.partition)
    return _on_days_of([one for tape, _ in tapes for one in _overlapping(parts, tape)], parts)


def _on_days_of(some: Sequence[Part], parts: Sequence[Listed]) -> list[Listed]:
    days = {one.first_ns // DAY_NS for one in some}
    return [one for one in parts if one.first_ns // DAY_NS in days]


def _overlapping(parts: Sequence[Listed], tape: Tape) -> list[Part]:
    first, last = int(tape.ts_local[0]), int(tape.ts_local[-1])
    # Parts do not overlap each other, so that of those that begin before only the last can reach into it.
    begin = max(bisect_left(parts, first, key=lambda one: one.first_ns) - 1, 0)
    end = bisect_right(parts, last, key=lambda one: one.first_ns)
    found = [one.described() for one in parts[begin:end]]
    return [part for part in found if part.last_ns >= first]


def _refuse_overlap(place: Place, tapes: Sequence[Given], gone: Sequence[Listed]) -> None:
    there = listed(place.partition)
    parts = sorted(set(there) - set(gone))
    for tape, files in tapes:
        first, last = int(tape.ts_local[0]), int(tape.ts_local[-1])
        if found := _overlapping(parts, tape):
            lost = [one.described() for one in _on_days_of(found, there)]
            days = dict.fromkeys(day_of(part.first_ns) for part in lost)
            raise DataError(
                f"{place.partition}: a time of which there are no rows yet was expected; found {_rows(found)}"
                f"{_whence(found)} where those of {_named(files)}, {span_in_words(first, last)}, would be; nothing "
                f"was imported. Leave it, or give '--replace': all that is there of {days_in_words(days)} goes "
                f"then, {_rows(lost)}"
            )
        _refuse_open(place, tape, files, {one.first_ns // DAY_NS for one in gone})


def _rows(parts: Sequence[Part]) -> str:
    span = span_in_words(parts[0].first_ns, parts[-1].last_ns)
    return f"{sum(part.rows for part in parts):,} rows of {span}"


def _refuse_open(place: Place, tape: Tape, files: Sequence[str], gone: set[int]) -> None:
    """Refuse to overlap what a recorder has not made parts of yet, or to replace its day."""
    first, last = int(tape.ts_local[0]), int(tape.ts_local[-1])
    for path in sorted(place.open.glob("*.rows"), key=lambda path: int(path.stem)):
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            continue  # it has just become a part, of a time that is later than any that was looked at
        table = np.frombuffer(raw, dtype=RECORD, count=len(raw) // RECORD.itemsize)
        if not len(table):
            continue
        begin, end = int(table["ts_local"][0]), int(table["ts_local"][-1])
        if (begin <= last and end >= first) or begin // DAY_NS in gone:
            raise DataError(
                f"{path}: rows that 'mmkit record' has not made a part of yet are of the time of "
                f"{_named(files)}, or of a day that would be replaced; nothing was imported. End the recording; if it was killed, start it once more "
                "and end it"
            )


def _whence(parts: Sequence[Part]) -> str:
    names = dict.fromkeys(
        name
        for part in parts
        for name in (["'mmkit record'"] if part.origin is None else part.origin.files)
    )
    return f" (from {_named(list(names))})"


def _named(files: Sequence[str]) -> str:
    return ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")


def _below(partition: Path, path: Path) -> str:
    return path.relative_to(partition).as_posix()


def _time(ts_ns: np.int64) -> str:
    return format_time(int(ts_ns))
