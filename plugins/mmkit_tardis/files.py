"""One CSV file of Tardis's: its cells as exact whole numbers, a block at a time."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
import numpy.typing as npt

from mmkit.errors import CaptureError, OffGrid
from mmkit.instruments import Instrument
from mmkit.tape import SCALE
from mmkit.tape.cells import decimals, filled, integers, steps
from mmkit.tape.paths import unreadable
from mmkit_tardis.datasets import As, Dataset, dataset_of
from mmkit_tardis.names import EXCHANGES, hint

if TYPE_CHECKING:
    import pyarrow as pa

_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 22  # bytes of text at a time
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)
NEVER_US = 9 * 10**15
"""Microseconds; a time beyond it is none."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Some lines of a file, whole messages only: a message is the lines of one local_timestamp.

    Attributes:
        line: Number of its first line.
        ts_exchange: Times of the exchange, ns.
        ts_local: Times of Tardis's recorder, ns; they never go back.
        cells: The used columns, as whole numbers.
        there: Of the optional ones, whether the cell was not empty.
    """

    line: int
    ts_exchange: Ints
    ts_local: Ints
    cells: Mapping[str, Ints]
    there: Mapping[str, npt.NDArray[np.bool_]]

    def __len__(self) -> int:
        return len(self.ts_local)

    def part(self, begin: int, end: int | None = None) -> Block:
        """Return the lines from place `begin` up to `end`."""
        at = slice(begin, end)
        return Block(
            self.line + begin,
            self.ts_exchange[at],
            self.ts_local[at],
            {name: cells[at] for name, cells in self.cells.items()},
            {name: there[at] for name, there in self.there.items()},
        )

    def then(self, other: Block) -> Block:
        """Return these lines and those that follow them."""
        return Block(
            self.line,
            np.concatenate([self.ts_exchange, other.ts_exchange]),
            np.concatenate([self.ts_local, other.ts_local]),
            {name: np.concatenate([c, other.cells[name]]) for name, c in self.cells.items()},
            {name: np.concatenate([t, other.there[name]]) for name, t in self.there.items()},
        )


class TardisFile:
    """One dataset file, plain or gzip. Reading it again starts anew.

    Args:
        path: Where it is.
        exchange: Tardis's id of the exchange that is expected.
        symbol: Tardis's name of the instrument that is expected.

    Raises:
        CaptureError: if it cannot be read, or is not one of the datasets that are.
    """

    def __init__(self, path: Path, exchange: str, symbol: str) -> None:
        self.path, self._exchange, self._symbol = path, exchange, symbol
        try:
            with path.open("rb") as raw, _unpacked(raw) as file:
                header = file.readline().decode("utf-8", "replace").strip()
                first = file.readline().split(b",", 4)
        except _DAMAGED as error:
            raise self._damaged(error) from error
        except OSError as error:
            raise unreadable(path, error) from error
        self.dataset: Dataset | None = (
            dataset_of(path, tuple(header.split(","))) if header else None
        )
        """What it holds; `None` if the file is empty, which is how Tardis says that there is no data."""
        self.first_us = int(first[3]) if len(first) == 5 and first[3].isdigit() else 0
        """Its first local time, microseconds; 0 if it has none that can be read."""

    def blocks(self, instrument: Instrument) -> Iterator[Block]:
        """Yield the whole file.

        Raises:
            CaptureError: if the file is damaged or a line is not as it should be; it names the line.
            OffGrid: if a price or amount is not on the instrument's grid; it names the line.
        """
        import pyarrow as pa

        if self.dataset is None:
            return
        waiting: Block | None = None
        try:
            for table, line in self._tables(_types(self.dataset, instrument)):
                block = self._block(table, line, instrument)
                whole = block if waiting is None else waiting.then(block)
                back = np.flatnonzero(whole.ts_local[1:] < whole.ts_local[:-1])
                if back.size:
                    self._went_back(whole, int(back[0]) + 1)
                # The last message may go on in the next block.
                cut = int(np.searchsorted(whole.ts_local, whole.ts_local[-1]))
                if cut:
                    yield whole.part(0, cut)
                waiting = whole.part(cut)
        except pa.ArrowInvalid as error:
            self._explain(instrument, str(error))
        if waiting is not None:
            yield waiting

    def decimals(self, kinds: Mapping[As, set[str]]) -> None:
        """Add every distinct decimal of each kind of cell, as it is written."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.dataset is None:
            return
        names = {name: how for name, how in self.dataset.used.items() if how in kinds}
        try:
            for table, _ in self._tables(dict.fromkeys(names, pa.string())):
                for name, how in names.items():
                    kinds[how].update(filter(None, pc.unique(table.column(name)).to_pylist()))
        except pa.ArrowInvalid as error:
            self._explain(None, str(error))

    def _tables(self, types: Mapping[str, Any]) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Yield the used columns and the number of the first line, a block at a time."""
        import pyarrow as pa
        from pyarrow import csv

        assert self.dataset is not None
        head = {
            "exchange": pa.string(),
            "symbol": pa.string(),
            "timestamp": pa.int64(),
            "local_timestamp": pa.int64(),
        }
        line = 2
        try:
            with self.path.open("rb") as raw, _unpacked(raw) as file:
                file.readline()
                try:
                    reader = csv.open_csv(
                        file,
                        csv.ReadOptions(
                            use_threads=False,
                            block_size=_BLOCK,
                            column_names=list(self.dataset.header),
                        ),
                        csv.ParseOptions(ignore_empty_lines=False),
                        csv.ConvertOptions(
                            column_types={**head, **types},
                            include_columns=[*head, *types],
                            null_values=[""],
                            true_values=["true"],
                            false_values=["false"],
                        ),
                    )
                except pa.ArrowInvalid as error:
                    if "Empty CSV" in str(error):
                        return
                    raise
                for table in reader:
                    if not table.num_rows:
                        continue
                    self._check_whose(table, line)
                    yield table, line
                    line += table.num_rows
        except _DAMAGED as error:
            raise self._damaged(error) from error
        except OSError as error:
            raise unreadable(self.path, error) from error

    def _check_whose(self, table: pa.RecordBatch, line: int) -> None:
        import pyarrow.compute as pc

        for name, expected in (("exchange", self._exchange), ("symbol", self._symbol)):
            same = pc.equal(table.column(name), expected).to_numpy(zero_copy_only=False)
            if not same.all():
                place = int(np.flatnonzero(~same)[0])
                found = table.column(name)[place].as_py()
                if not found:
                    self._explain(None, f"no {name}")
                self._refuse_whose(line + place, name, found)

    def _refuse_whose(self, line: int, name: str, found: str) -> NoReturn:
        where = f"{self.path}:{line}"
        if name == "exchange":
            known = (
                "check 'instrument.venue' and 'instrument.market', or set 'data.exchange'"
                if found in EXCHANGES
                else hint(found, EXCHANGES)
            )
            raise CaptureError(
                f"{where}: exchange '{self._exchange}' was expected; found '{found}'; {known}"
            )
        raise CaptureError(
            f"{where}: symbol '{self._symbol}' was expected; found '{found}'; change "
            "'instrument.symbol' or 'data.paths', or set 'data.symbol' to what Tardis calls it"
        )

    def _block(self, table: pa.RecordBatch, line: int, instrument: Instrument) -> Block:
        import pyarrow.compute as pc

        assert self.dataset is not None
        cells: dict[str, Ints] = {}
        there: dict[str, npt.NDArray[np.bool_]] = {}
        times = {}
        for name in ("timestamp", "local_timestamp"):
            column = table.column(name)
            times[name] = integers(column)
            if column.null_count or ((times[name] < 0) | (times[name] > NEVER_US)).any():
                self._explain(instrument, f"{name} is no time")
        for name, how in self.dataset.used.items():
            column = table.column(name)
            if name in self.dataset.optional:
                there[name] = filled(column)
            elif column.null_count:
                self._explain(instrument, f"{name} is empty")
            if how == "flag":
                cells[name] = column.cast("int8").to_numpy(zero_copy_only=False).astype(np.int64)
            elif how == "side":
                found = pc.index_in(column, _array(self.dataset.sides))
                if found.null_count:
                    self._explain(instrument, "no side")
                cells[name] = found.to_numpy(zero_copy_only=False).astype(np.int64)
            elif how == "int":
                cells[name] = integers(column)
            else:
                cells[name] = self._numbers(column, how, instrument)
        self._refuse_halves(there, line)
        return Block(line, times["timestamp"] * 1000, times["local_timestamp"] * 1000, cells, there)

    def _refuse_halves(self, there: Mapping[str, npt.NDArray[np.bool_]], line: int) -> None:
        """Refuse a price without its amount, and an amount without its price."""
        for name in there:
            other = name.replace("price", "amount")
            if other != name and other in there and (half := there[name] != there[other]).any():
                raise CaptureError(
                    f"{self.path}:{line + int(np.argmax(half))}: {name} and {other}: both or neither were "
                    "expected; found one of them empty"
                )

    def _numbers(self, column: pa.Array, how: As, instrument: Instrument) -> Ints:
        """Return decimals in whole steps."""
        found, wrong = steps(column, _step(how, instrument))
        if how == "price":
            wrong |= (found <= 0) & filled(column)
        elif how == "quantity":
            wrong |= found < 0
        if wrong.any():
            self._explain(instrument, f"a {how} is wrong")
        return found

    def _explain(self, instrument: Instrument | None, reason: str) -> NoReturn:
        """Read the file line by line and say which is wrong, and how.

        Raises:
            CaptureError: always, but for `OffGrid`.
        """
        assert self.dataset is not None
        header = self.dataset.header
        with self.path.open("rb") as raw, _unpacked(raw) as file:
            file.readline()
            for number, text in enumerate(file, 2):
                found = text.decode("utf-8", "backslashreplace").rstrip("\r\n").split(",")
                where = f"{self.path}:{number}"
                if len(found) != len(header):
                    raise CaptureError(
                        f"{where}: {len(header)} columns of {self.dataset.name} were expected; found "
                        f"{len(found)}; was the file cut when it was copied?"
                    )
                row = dict(zip(header, found, strict=True))
                for name, expected in (("exchange", self._exchange), ("symbol", self._symbol)):
                    if row[name] != expected:
                        self._refuse_whose(number, name, row[name])
                for name in ("timestamp", "local_timestamp"):
                    if not row[name].isdigit() or int(row[name]) > NEVER_US:
                        self._wrong(where, name, "a time in microseconds", row[name])
                for name, how in self.dataset.used.items():
                    if row[name] or name not in self.dataset.optional:
                        self._check_cell(where, name, how, row[name], instrument)
        raise CaptureError(f"{self.path}: cannot be read as {self.dataset.name}: {reason}")

    def _check_cell(
        self, where: str, name: str, how: As, text: str, instrument: Instrument | None
    ) -> None:
        assert self.dataset is not None
        if how == "flag":
            if text not in {"true", "false"}:
                self._wrong(where, name, "true or false", text)
            return
        if how == "side":
            if text not in self.dataset.sides:
                self._wrong(where, name, " or ".join(self.dataset.sides), text)
            return
        if how == "int":
            if not text.isdigit():
                self._wrong(where, name, "a whole number", text)
            return
        try:
            number = Decimal(text)
        except InvalidOperation:
            number = Decimal("nan")
        least = {"price": "above zero", "quantity": "of zero or more"}.get(how, "")
        if (
            not number.is_finite()
            or (how == "price" and number <= 0)
            or (how == "quantity" and number < 0)
        ):
            self._wrong(where, name, f"a number {least}".strip(), text)
        if abs(number) * SCALE > 2**63:
            self._wrong(where, name, "a number that fits 64 bits", text)
        if how == "scaled":
            if number * SCALE % 1:
                self._wrong(where, name, "a number of at most 8 decimals", text)
        elif instrument is not None:
            try:
                instrument.ticks(number) if how == "price" else instrument.lots(number)
            except OffGrid as error:
                raise OffGrid(
                    f"{where}: {error}; are 'instrument.tick' and 'instrument.lot' those of this market?"
                ) from error

    def _wrong(self, where: str, name: str, expected: str, found: str) -> NoReturn:
        shown = f"'{found[:40]}'" if found else "an empty cell"
        raise CaptureError(f"{where}: {name}: {expected} was expected; found {shown}")

    def _went_back(self, block: Block, place: int) -> NoReturn:
        before, after = (int(block.ts_local[at]) // 1000 for at in (place - 1, place))
        raise CaptureError(
            f"{self.path}:{block.line + place}: local_timestamp goes back by {before - after} us, from "
            f"{before} to {after}; a dataset is in the order in which it was received"
        )

    def _damaged(self, error: Exception) -> CaptureError:
        return CaptureError(
            f"{self.path}: the gzip data is damaged or cut short ({error}); check it with "
            f"'gzip -t {self.path.name}' and download it anew"
        )


def _unpacked(raw: IO[bytes]) -> IO[bytes]:
    packed = raw.read(2) == _GZIP
    raw.seek(0)
    return cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw


def _step(how: As, instrument: Instrument) -> Decimal:
    if how == "scaled":
        return Decimal(1) / SCALE
    return instrument.tick if how == "price" else instrument.lot


def _types(dataset: Dataset, instrument: Instrument) -> dict[str, Any]:
    """Return how each used column is parsed: decimals with as many places as a step has, so exactly or not at all."""
    import pyarrow as pa

    def of(how: As) -> Any:
        if how == "int":
            return pa.int64()
        if how == "flag":
            return pa.bool_()
        if how == "side":
            return pa.string()
        return decimals(_step(how, instrument))

    return {name: of(how) for name, how in dataset.used.items()}


def _array(words: tuple[str, ...]) -> Any:
    import pyarrow as pa

    return pa.array(words)
