"""A tape as a table, one line a row: Parquet for programs, CSV for people.

==============  =======  =====================================================================
column          type     meaning
==============  =======  =====================================================================
ts_exchange     int64    ns since the epoch, as in `mmkit.tape`
ts_local        int64    likewise
kind            text     ``level``, ``trade``, ``snapshot``, ``gap``, ``best``, ``mark``, ``funding``, ``off_book``
side            text     ``bid`` or ``ask`` of levels and best prices, ``buy`` or ``sell`` of trades: the aggressor
last            boolean  whether the row ends a message
price           float    in quote currency; of kinds that are on the grid
quantity        float    likewise
ticks           int64    the tape's ``price``, exactly; of a gap its reason, of a funding the time it is due
lots            int64    the tape's ``quantity``, exactly; of mark and funding times 1e8
==============  =======  =====================================================================

The instrument and what the reader noted are in Parquet's metadata under ``mmkit``, and in CSV's first line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mmkit.errors import DataError
from mmkit.instruments import Instrument
from mmkit.tape import KIND, LAST, NAMES, SELL, FeedStats, Kind, Tape

_CHUNK = 1 << 20
"""Rows written at a time."""
_KEY = b"mmkit"
COMMENT = "# mmkit "
"""How our CSV begins."""
_KINDS = ["", *(kind.name.lower() for kind in Kind)]
_TRADES = (Kind.TRADE, Kind.OFF_BOOK)
_SIDED = (Kind.LEVEL, Kind.BEST, *_TRADES)
_SIDES = ["", "bid", "ask", "buy", "sell"]
_SCHEMA = pa.schema(
    [
        ("ts_exchange", pa.int64()),
        ("ts_local", pa.int64()),
        ("kind", pa.string()),
        ("side", pa.string()),
        ("last", pa.bool_()),
        ("price", pa.float64()),
        ("quantity", pa.float64()),
        ("ticks", pa.int64()),
        ("lots", pa.int64()),
    ]
)


class _Head(msgspec.Struct):
    instrument: Instrument
    stats: FeedStats


def save_table(tape: Tape, path: Path, suffix: str) -> None:
    """Write a tape; the file appears whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    head = msgspec.json.encode(_Head(tape.instrument, tape.stats))
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            if suffix == ".csv":
                file.write(COMMENT.encode() + head + b"\n")
                with pyarrow.csv.CSVWriter(file, _SCHEMA) as writer:
                    for batch in _batches(tape):
                        writer.write_batch(batch)
            else:
                schema = _SCHEMA.with_metadata({_KEY: head})
                with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
                    for batch in _batches(tape):
                        writer.write_batch(batch.replace_schema_metadata(schema.metadata))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_table(path: Path, suffix: str) -> Tape:
    """Read a table that `save_table` wrote.

    Raises:
        DataError: if it is none.
    """
    try:
        table, head = _read_csv(path) if suffix == ".csv" else _read_parquet(path)
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: a {suffix[1:]} table was expected; {error}") from error
    if head is None:
        raise DataError(
            f"{path}: a table that 'mmkit data convert' wrote was expected; found none of its notes on the "
            "instrument; parts that 'mmkit record' and 'mmkit data import' wrote are read by 'data: {plugin: rows}'"
        )
    try:
        found = msgspec.json.decode(head, type=_Head)
    except msgspec.MsgspecError as error:
        raise DataError(f"{path}: its notes on the instrument cannot be read: {error}") from error
    if missing := [name for name in _SCHEMA.names if name not in table.column_names]:
        raise DataError(
            f"{path}: the columns {', '.join(_SCHEMA.names)} were expected; missing are {', '.join(missing)}"
        )
    columns = {name: table[name].to_numpy() for name in ("ts_exchange", "ts_local")}
    columns["kind"] = _kinds(path, table)
    columns["price"], columns["quantity"] = table["ticks"].to_numpy(), table["lots"].to_numpy()
    return Tape(found.instrument, {name: columns[name] for name in NAMES}, found.stats)


def _batches(tape: Tape) -> Iterator[pa.RecordBatch]:
    instrument = tape.instrument
    kinds, sides = pa.array(_KINDS), pa.array(_SIDES)
    for start in range(0, len(tape), _CHUNK):
        part = slice(start, start + _CHUNK)
        kind = tape.kind[part]
        what = kind & KIND
        sided = np.isin(what, _SIDED)
        side = np.where(kind & SELL, 2, 1) + np.where(np.isin(what, _TRADES), 2, 0)
        ticks = tape.widened(tape.narrow_price[part])
        lots = tape.widened(tape.narrow_quantity[part])
        unpriced = pa.array(~sided)
        yield pa.record_batch(
            [
                pa.array(tape.ts_exchange[part]),
                pa.array(tape.ts_local[part]),
                kinds.take(pa.array(what)),
                sides.take(pa.array(np.where(sided, side, 0))),
                pa.array(kind & LAST != 0),
                pa.array(decimals(ticks, instrument.tick), mask=np.asarray(unpriced)),
                pa.array(decimals(lots, instrument.lot), mask=np.asarray(unpriced)),
                pa.array(ticks),
                pa.array(lots),
            ],
            schema=_SCHEMA,
        )
        if tape.long:
            tape.release(NAMES, start)


def decimals(steps: npt.NDArray[np.int64], step: Any) -> npt.NDArray[np.float64]:
    """Return whole steps as the floats nearest to their decimals."""
    numerator, denominator = step.as_integer_ratio()
    # Both are exact below 2**53, so that one division rounds once.
    rounded: npt.NDArray[np.float64] = steps.astype(np.float64) * numerator / denominator
    return rounded


def _kinds(path: Path, table: pa.Table) -> npt.NDArray[np.uint8]:
    """Return the tape's ``kind`` from kind, side and last."""
    wide = np.zeros(len(table), np.uint8)
    for column, values, bits in (
        ("kind", _KINDS, list(range(len(_KINDS)))),
        ("side", _SIDES, [0, 0, SELL, 0, SELL]),
    ):
        codes = pa.compute.index_in(table[column].combine_chunks(), pa.array(values))
        places = np.asarray(codes.fill_null(-1))
        if (unknown := np.flatnonzero(places < 0)).size:
            row = int(unknown[0])
            raise DataError(
                f"{path}: row {row + 1}: a {column} of {', '.join(values[1:])} was expected; found "
                f"{table[column][row].as_py()!r}"
            )
        wide |= np.array(bits, np.uint8)[places]
    return wide | np.where(table["last"].to_numpy(), LAST, 0).astype(np.uint8)


def _read_parquet(path: Path) -> tuple[pa.Table, bytes | None]:
    table = pyarrow.parquet.ParquetFile(path).read()
    return table, (table.schema.metadata or {}).get(_KEY)


def _read_csv(path: Path) -> tuple[pa.Table, bytes | None]:
    with path.open("rb") as file:
        first = file.readline()
    if not first.startswith(COMMENT.encode()):
        return pa.table({}), None
    table = pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(skip_rows=1),
        convert_options=pyarrow.csv.ConvertOptions(column_types=_SCHEMA),
    )
    return table, first[len(COMMENT) :]
