"""A tape as a file that is mapped into memory.

The file: a line that says what it is, the length of the header in 8 bytes, the header as JSON (`_Header`), then
the columns it names, each beginning at a multiple of 64 bytes. All little-endian.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.instruments import Instrument
from mmkit.tape.rows import FeedStats
from mmkit.tape.tape import NAMES, Place, Tape, narrowed, refuse_going_back

if TYPE_CHECKING:
    from mmkit.tape.index import Facts

_MAGIC = b"mmkit tape 2\n"
_ALIGNED = 64

TYPES: dict[str, str] = {
    "ts_exchange": "<i8",
    "ts_local": "<i8",
    "kind": "u1",
    "price": "<i4",
    "quantity": "<i4",
    "large": "<i8",
}
"""The columns of a tape, with their types on disk."""

_INDEXED = 500_000
"""Rows from which on a tape is saved with its index. Making it loads compiled code, which takes longer than
the reference engine takes for fewer rows."""


_AT_ONCE = 1 << 20
"""Rows that are worked on at a time."""


class _Header(msgspec.Struct):
    instrument: Instrument
    stats: FeedStats
    facts: dict[str, Any] | None
    counts: dict[str, int]
    """Values of each column, in the order of the file."""

    @staticmethod
    def decode(raw: bytes) -> _Header:
        try:
            return msgspec.json.decode(raw, type=_Header)
        except msgspec.MsgspecError as error:
            raise DataError(f"the header of a tape cannot be read: {error}") from error


def load(path: Path) -> Tape:
    """Memory-map the tape at `path`.

    Raises:
        DataError: if it is no tape, is of another version, or is shorter than it says.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise DataError(
                f"{path}: not a tape of this version of mmkit; delete it and it is rebuilt"
            )
        found = os.fstat(file.fileno()).st_size
        size = int.from_bytes(file.read(8), "little")
        header = _Header.decode(file.read(min(size, found)))
        types = _types(indexed=header.facts is not None)
        if not _is_possible(header.counts, types):
            raise DataError(f"{path}: its columns do not fit together; delete it and it is rebuilt")
        places: dict[str, int] = {}
        at = file.tell()
        for name, count in header.counts.items():
            at += -at % _ALIGNED
            places[name] = at
            at += np.dtype(types[name]).itemsize * count
        if found != at:
            raise DataError(
                f"{path}: {found} bytes where {at} were expected; delete it and it is rebuilt"
            )
        buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    parts: dict[str, npt.NDArray[Any]] = {
        name: np.frombuffer(buffer, dtype=types[name], count=count, offset=places[name])
        for name, count in header.counts.items()
    }
    mapped = {
        name: (buffer, places[name], part.itemsize, len(part)) for name, part in parts.items()
    }
    tape = Tape.of_narrow(header.instrument, header.stats, parts, mapped)
    if header.facts is not None:
        from mmkit.tape.index import PARTS, Facts, Index

        # Put where `Tape.index` would keep it.
        try:
            facts = msgspec.convert(header.facts, Facts)
        except msgspec.ValidationError as error:
            raise DataError(
                f"{path}: the header of a tape cannot be read: {error}; delete it and it is rebuilt"
            ) from error
        tape.__dict__["index"] = Index(facts, **{name: parts[name] for name in PARTS})
    return tape


def _types(*, indexed: bool) -> dict[str, str]:
    """Return the type of each column of a file."""
    if not indexed:
        return TYPES
    from mmkit.tape.index import PARTS

    return {**TYPES, **PARTS}


def _is_possible(counts: Mapping[str, int], types: Mapping[str, str]) -> bool:
    """Whether the columns are those of a tape, and those that belong together equally long."""
    if list(counts) != list(types) or min(counts.values()) < 0:
        return False
    together: list[tuple[str, ...]] = [NAMES]
    if "order" in types:
        together += [
            ("top_row", "top_ts", "top_bid", "top_ask"),
            ("exchange_row", "exchange_bid", "exchange_ask"),
        ]
    same = all(len({counts[name] for name in names}) == 1 for names in together)
    return same and ("order" not in types or counts["order"] in (0, counts["kind"]))


def save(tape: Tape, path: Path) -> None:
    """Write a tape to `path`; it appears there whole or not at all."""
    columns: dict[str, npt.NDArray[Any] | Path] = {
        "ts_exchange": tape.ts_exchange,
        "ts_local": tape.ts_local,
        "kind": tape.kind,
        "price": tape.narrow_price,
        "quantity": tape.narrow_quantity,
        "large": tape.large,
    }
    facts = None
    if "index" in tape.__dict__ or len(tape) >= _INDEXED:
        from mmkit.tape.index import PARTS

        index = tape.index
        facts = index.facts
        columns |= {name: getattr(index, name) for name in PARTS}
    _write(path, tape.instrument, tape.stats, facts, columns)


def _write(
    path: Path,
    instrument: Instrument,
    stats: FeedStats,
    facts: Facts | None,
    columns: Mapping[str, npt.NDArray[Any] | Path],
) -> None:
    """Write a tape's file, of columns in memory or in files of their own."""
    types = _types(indexed=facts is not None)
    counts = {
        name: column.stat().st_size // np.dtype(types[name]).itemsize
        if isinstance(column, Path)
        else len(column)
        for name, column in columns.items()
    }
    header = msgspec.json.encode(
        _Header(
            instrument,
            stats,
            None if facts is None else msgspec.to_builtins(facts),
            counts,
        )
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            file.write(_MAGIC + len(header).to_bytes(8, "little") + header)
            for name, column in columns.items():
                file.write(b"\0" * (-file.tell() % _ALIGNED))
                if isinstance(column, Path):
                    with column.open("rb") as part:
                        shutil.copyfileobj(part, file, 1 << 20)
                else:
                    file.write(np.ascontiguousarray(column, dtype=types[name]).data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


class TapeWriter:
    """Writes a tape piece by piece: a month needs no more memory than a piece.

    What is not finished leaves nothing behind::

        with TapeWriter(path, instrument) as writer:
            writer.add(columns)
            tape = writer.finish(stats)

    Args:
        path: Where the file will be; columns on their way lie in a folder beside it.
        instrument: What the rows are about.
    """

    def __init__(self, path: Path, instrument: Instrument) -> None:
        self._path, self._instrument = path, instrument
        path.parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(
            tempfile.mkdtemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent)
        )
        self._files: dict[str, IO[bytes]] = {}
        self._large = self._rows = 0
        self._last: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def add(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add rows: the five columns by name, equal in length.

        Raises:
            DataError: if ``ts_local`` goes back, or the columns differ in length.
        """
        if len({len(columns[name]) for name in NAMES}) != 1:
            raise DataError("the columns of a tape must be of equal length")
        ts_local = columns["ts_local"]
        refuse_going_back(np.concatenate([self._last, ts_local]), self._rows - len(self._last))
        self._rows += len(ts_local)
        self._last = np.array(ts_local[-1:], np.int64)
        for name in ("ts_exchange", "ts_local", "kind"):
            self._write(name, columns[name])
        for name in ("price", "quantity"):
            narrow, large = narrowed(columns[name], self._large)
            self._large += len(large)
            self._write(name, narrow)
            self._write("large", large)

    def delay(self, start: int, stop: int, by: int, least: int) -> None:
        """Add `by` ns to the local times of rows from `start` to `stop`; none is then before `least`."""
        self._files["ts_local"].flush()
        for begin in range(start, stop, _AT_ONCE):
            count = min(_AT_ONCE, stop - begin)
            # Mapped piece by piece: what is mapped counts as memory until it is let go.
            part = np.memmap(
                self._folder / "ts_local", TYPES["ts_local"], "r+", 8 * begin, (count,)
            )
            part += by
            np.maximum(part, least, out=part)
        times = np.memmap(self._folder / "ts_local", TYPES["ts_local"], "r")
        self._last = np.array(times[-1:], np.int64)

    def finish(self, stats: FeedStats) -> Tape:
        """Write the file and return the tape, mapped from it."""
        for name, dtype in TYPES.items():
            self._write(name, np.empty(0, dtype))  # so that there is a file
        self._close()
        files = {name: self._folder / name for name in TYPES}
        parts = {name: np.empty(0, dtype) for name, dtype in TYPES.items()}
        places: dict[str, Place] = {}
        for name, dtype in TYPES.items():
            if files[name].stat().st_size:  # an empty file cannot be mapped
                with files[name].open("rb") as file:
                    buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                parts[name] = np.frombuffer(buffer, dtype)
                places[name] = (buffer, 0, parts[name].itemsize, len(parts[name]))
        tape = Tape.of_narrow(self._instrument, stats, parts, places)
        facts: Facts | None = None
        if self._rows >= _INDEXED:
            from mmkit.tape.index import PARTS, make_index

            facts = make_index(tape, lambda name, part: self._write(name, part, PARTS[name]))
            for name, dtype in PARTS.items():
                self._write(name, np.empty(0, dtype), dtype)
                files[name] = self._folder / name
            self._close()
        _write(self._path, self._instrument, stats, facts, files)
        return load(self._path)

    def close(self) -> None:
        """Leave nothing behind but a finished tape."""
        self._close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> TapeWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self, name: str, column: npt.NDArray[Any], dtype: str = "") -> None:
        if name not in self._files:
            self._files[name] = (self._folder / name).open("wb")
        self._files[name].write(np.ascontiguousarray(column, dtype=dtype or TYPES[name]).data)

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
