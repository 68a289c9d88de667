"""Parts of the dataset: Parquet files of rows, each of which appears whole or not at all.

The columns are those of a `mmkit.tape.Row`: ``ts_exchange``, ``ts_local``, ``price``, ``quantity`` int64, ``kind``
uint8. Metadata: ``mmkit.instrument`` is `mmkit.instruments.Instrument` as JSON; ``mmkit.gaps`` how many
GAP rows there are but for those of reason START; of what was imported ``mmkit.import`` is an `Origin`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.instruments import Instrument
from mmkit.tape import KIND, NAMES, FeedStats, GapReason, Kind
from mmkit.tape.pieces import Piece

_INSTRUMENT, _GAPS, _ORIGIN = "mmkit.instrument", "mmkit.gaps", "mmkit.import"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Which import a part comes from; one that was recorded has none.

    Attributes:
        id: The same in all parts of one tape.
        number: Of this part, from 0 on.
        of: How many parts there are.
        files: Names of the files that were read.
        stats: What was found in reading them; in part 0.
    """

    id: str
    number: int
    of: int
    files: list[str]
    stats: FeedStats | None = None


class Part(NamedTuple):
    """What a part says of itself without being read through.

    Attributes:
        path: Where it is.
        size: Bytes.
        rows: How many.
        first_ns: The first ``ts_local``.
        last_ns: The last.
        instrument: What it is about.
        gaps: Times that the book becomes unknown in it, but for where a session begins.
        origin: Where it comes from; `None` if it was recorded.
    """

    path: Path
    size: int
    rows: int
    first_ns: int
    last_ns: int
    instrument: Instrument
    gaps: int
    origin: Origin | None


def parquet(
    columns: Mapping[str, npt.NDArray[Any]] | npt.NDArray[Any],
    instrument: Instrument,
    origin: Origin | None = None,
) -> memoryview:
    """Return rows as the content of a part.

    Args:
        columns: By name, equal in length, or the fields of `mmkit.tape.RECORD`s.
        instrument: What they are about.
        origin: Where they come from, if they were imported.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({name: np.ascontiguousarray(columns[name]) for name in NAMES})
    gaps = (columns["kind"] & KIND == Kind.GAP) & (columns["price"] != GapReason.START)
    told = {_INSTRUMENT: msgspec.json.encode(instrument), _GAPS: str(int(gaps.sum())).encode()}
    if origin is not None:
        told[_ORIGIN] = msgspec.json.encode(origin)
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata(told),
        sink,
        compression="zstd",
        use_dictionary=["kind"],
        column_encoding={name: "DELTA_BINARY_PACKED" for name in NAMES if name != "kind"},
    )
    return memoryview(sink.getvalue())


def put(content: memoryview, unfinished: Path, path: Path) -> None:
    """Write a file, which appears whole; raises `OSError`, and leaves nothing then.

    Args:
        content: Its bytes.
        unfinished: Where they are until all of them are written; on the same disk.
        path: Where they belong.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def described(path: Path) -> Part:
    """Return what a part says of itself.

    Raises:
        DataError: if it is none, or is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        size = path.stat().st_size
        with pq.ParquetFile(path) as file:
            found = file.metadata
            names, told = file.schema_arrow.names, file.schema_arrow.metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    if missing := [name for name in NAMES if name not in names]:
        raise DataError(
            f"{path}: rows with the columns {', '.join(NAMES)} were expected; missing are "
            f"{', '.join(missing)}; move the file out of the dataset"
        )
    if not found.num_rows:
        raise DataError(f"{path}: rows were expected; found none; move the file out of the dataset")
    try:
        instrument = msgspec.json.decode(told.get(_INSTRUMENT.encode(), b""), type=Instrument)
        gaps = msgspec.json.decode(told.get(_GAPS.encode(), b""), type=int)
        raw = told.get(_ORIGIN.encode())
        origin = None if raw is None else msgspec.json.decode(raw, type=Origin)
    except msgspec.MsgspecError as error:
        raise DataError(
            f"{path}: a part that 'mmkit record' or 'mmkit data import' wrote was expected; found no notes "
            f"on what it holds that can be read ({error}); move the file out of the dataset"
        ) from error
    place = names.index("ts_local")
    times = [found.row_group(n).column(place).statistics for n in range(found.num_row_groups)]
    if any(one is None or not one.has_min_max for one in times):
        raise DataError(
            f"{path}: a part that 'mmkit record' or 'mmkit data import' wrote was expected; found one "
            "without the span of its times; move the file out of the dataset"
        )
    first, last = min(one.min for one in times), max(one.max for one in times)
    return Part(path, size, found.num_rows, first, last, instrument, gaps, origin)


def columns_of(path: Path, names: tuple[str, ...] = NAMES) -> Piece:
    """Return columns of a part, all of its rows.

    Raises:
        DataError: if it is damaged, or not there any more.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            table = file.read(list(names))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    return {name: table[name].to_numpy() for name in names}


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: was there a moment ago, and has been replaced; start again")
    return DataError(
        f"{path}: a part of a dataset was expected; it cannot be read: {' '.join(str(error).split())}; "
        "copy it anew, or move it out of the dataset, which leaves a gap"
    )
