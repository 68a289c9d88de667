"""Files of data.binance.vision: trades and best prices without a book.

``{SYMBOL}-{kind}-{date}.zip`` or the ``.csv`` out of it, with ``.zip.CHECKSUM`` beside it if it was fetched. Columns:
binance-public-data, README. Times are milliseconds; on spot microseconds from 2025-01-01 on. Older files have no line of
names. There is no local time.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from hashlib import file_digest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np

from mmkit.errors import CaptureError, OffGrid
from mmkit.instruments import Instrument
from mmkit.tape import LAST, SELL, FeedStats, GapReason, Kind
from mmkit.tape.cells import Ints, decimals, integers, steps
from mmkit.tape.paths import unreadable
from mmkit.tape.pieces import Piece, gap, joined, piece

if TYPE_CHECKING:
    import pyarrow as pa

As = Literal["id", "price", "quantity", "time", "flag", ""]
"""What a column holds; nothing is made of an empty one."""

_NAME = re.compile(
    r"(?P<symbol>[A-Z0-9]+(_[A-Z0-9]+)?)-(?P<kind>\w+)-\d{4}-\d{2}(-\d{2})?(?P<packed>\.zip|\.csv)"
)
KINDS = {"trades": "trade", "aggTrades": "aggTrade", "bookTicker": "bookTicker"}
"""The kinds that are read, each with the venue's name of its stream."""
_TRADES: tuple[As, ...] = ("id", "price", "quantity", "", "time", "flag")
_AGGREGATES: tuple[As, ...] = ("id", "price", "quantity", "", "", "time", "flag")
_BEST: tuple[As, ...] = ("id", "price", "quantity", "price", "quantity", "time", "")
_SAME: Mapping[As, str] = {
    "id": r"((agg|aggregate)?_?trade_?|update_?)?id",
    "price": r"(best_(bid|ask)_)?price",
    "quantity": r"(best_(bid|ask)_)?(qty|quantity)",
    "time": r"(transact(ion)?_?)?time(stamp)?",
    "flag": r"is_?buyer_?maker",
    "": ".*",
}
"""What the columns may be called, whatever the case."""
_BLOCK = 1 << 22  # bytes of text at a time
_DAY = 86_400_000_000_000
_MS, _US = (10**12, 10**14), (10**15, 10**17)
"""What a time in milliseconds and one in microseconds lie between: the years 2001 to 5138."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError)


def is_dump(path: Path) -> bool:
    """Return whether a file is called as those of data.binance.vision are."""
    return _NAME.fullmatch(path.name) is not None


@dataclass
class Found:
    """What reading the dumps found on the way.

    Attributes:
        missing: Trades that are not there, by their ids.
        moved: Lines whose time was before that of the line ahead of them.
    """

    missing: int = 0
    moved: int = 0


@dataclass
class DumpFile:
    """One dump. Reading it again starts anew.

    Raises:
        CaptureError: if it is of another symbol or a kind that is not read, or is not what its checksum says.
    """

    path: Path
    instrument: Instrument
    kind: str = field(init=False)
    columns: tuple[As, ...] = field(init=False)

    def __post_init__(self) -> None:
        name = _NAME.fullmatch(self.path.name)
        assert name is not None
        self.kind = name["kind"]
        symbol = self.instrument.native
        if self.instrument.market == "coinm" and "_" not in symbol:
            symbol = f"{symbol}_PERP"
        if self.instrument.venue != "binance":
            raise CaptureError(
                f"{self.path}: dumps of data.binance.vision are Binance's, so that 'instrument.venue: binance' was "
                f"expected; found '{self.instrument.venue}'"
            )
        if self.kind not in KINDS:
            why = (
                ": its depths are sums over bands of the price, not a book"
                if self.kind == "bookDepth"
                else ""
            )
            raise CaptureError(
                f"{self.path}: one of {', '.join(KINDS)} was expected; found {self.kind}, which does not become "
                f"rows{why}"
            )
        if name["symbol"] != symbol:
            raise CaptureError(
                f"{self.path}: a dump of '{symbol}' was expected; found that of '{name['symbol']}'; change "
                "'instrument.symbol' or 'data.paths'"
            )
        spot: tuple[As, ...] = ("",) if self.instrument.market == "spot" else ()
        self.columns = {
            "trades": _TRADES + spot,
            "aggTrades": _AGGREGATES + spot,
            "bookTicker": _BEST,
        }[self.kind]
        self._check_sum()

    def _check_sum(self) -> None:
        beside = self.path.with_name(f"{self.path.name}.CHECKSUM")
        try:
            if not beside.exists():
                return
            expected = beside.read_text().partition(" ")[0].strip().lower()
            with self.path.open("rb") as file:
                found = file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise unreadable(self.path, error) from error
        if found != expected:
            raise CaptureError(
                f"{self.path}: the SHA-256 {expected[:64]} was expected, as {beside.name} says; found {found}; "
                "download it anew"
            )

    def first(self) -> tuple[int, int]:
        """Return time, ns, and id of the first line; zeros if there is none."""
        with ExitStack() as stack:
            file, header = self._open(stack)
            if header:
                file.readline()
            cells = file.readline().decode("utf-8", "replace").strip().split(",")
        time, identity = (
            int(cells[place]) if len(cells) > place and cells[place].isdigit() else 0
            for place in (self.columns.index("time"), 0)
        )
        return _nanoseconds(time) or 0, identity

    def decimals(self, found: Mapping[As, set[str]]) -> None:
        """Add every distinct decimal of each kind of column, as it is written."""
        import pyarrow as pa
        import pyarrow.compute as pc

        types = {n: pa.string() for n, how in enumerate(self.columns) if how in found}
        try:
            for table, _ in self._tables(types):
                for n, place in enumerate(types):
                    texts = pc.unique(table.column(n)).to_pylist()
                    found[self.columns[place]].update(filter(None, texts))
        except pa.ArrowInvalid as error:
            self._explain(str(error), grid=False)

    def pieces(self, told: Found, after: _After) -> Iterator[Piece]:
        """Yield the rows, in order of time.

        Args:
            told: What is found is added to it.
            after: Where the file ahead of it has ended; moved on.

        Raises:
            CaptureError: if the file is damaged, a line is not as it should be, or ids do not go up.
            OffGrid: if a price or quantity is not on the grid.
        """
        import pyarrow as pa

        instrument = self.instrument
        types: dict[int, Any] = {}
        for n, how in enumerate(self.columns):
            if how in ("id", "time"):
                types[n] = pa.int64()
            elif how == "flag":
                types[n] = pa.bool_()
            elif how:
                types[n] = decimals(instrument.tick if how == "price" else instrument.lot)
        try:
            for table, line in self._tables(types):
                cells: dict[str, list[Ints]] = {}
                for n, place in enumerate(types):
                    how = self.columns[place]
                    numbers = self._numbers(table.column(n), how)
                    cells.setdefault(how, []).append(numbers)
                times = self._times(cells["time"][0], told, after)
                self._check_ids(cells["id"][0], line, told, after)
                made = self._trades if self.kind != "bookTicker" else self._best
                rows = made(times, cells)
                if after.lost:
                    rows = joined([gap(GapReason.CONNECTION, after.lost, after.lost), rows])
                    after.lost = 0
                yield rows
        except pa.ArrowInvalid as error:
            self._explain(str(error))

    def _tables(self, types: Mapping[int, Any]) -> Iterator[tuple[pa.RecordBatch, int]]:
        import pyarrow as pa
        from pyarrow import csv

        names = [str(n) for n in range(len(self.columns))]
        with ExitStack() as stack:
            file, header = self._open(stack)
            line = 1
            if header:
                file.readline()
                line = 2
            try:
                reader = csv.open_csv(
                    file,
                    csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=names),
                    csv.ParseOptions(ignore_empty_lines=False),
                    csv.ConvertOptions(
                        column_types={str(n): each for n, each in types.items()},
                        include_columns=[str(n) for n in types],
                        null_values=[""],
                        true_values=["true", "True", "TRUE"],
                        false_values=["false", "False", "FALSE"],
                    ),
                )
            except pa.ArrowInvalid as error:
                if "Empty CSV" in str(error):
                    return
                raise
            try:
                for table in reader:
                    if table.num_rows:
                        yield table, line
                        line += table.num_rows
            except _DAMAGED as error:
                raise self._damaged(error) from error

    def _open(self, stack: ExitStack) -> tuple[IO[bytes], bool]:
        """Return the text from its beginning, and whether its first line names the columns.

        Raises:
            CaptureError: if the file cannot be read, or names other columns.
        """
        try:
            first = stack.enter_context(self._unpacked(stack)).readline()
            file = stack.enter_context(self._unpacked(stack))
        except _DAMAGED as error:
            raise self._damaged(error) from error
        except OSError as error:
            raise unreadable(self.path, error) from error
        names = first.decode("utf-8", "replace").strip().split(",")
        if not first or names[0][:1].isdigit():
            return file, False
        fit = len(names) == len(self.columns) and all(
            re.fullmatch(_SAME[how], name.strip(), re.IGNORECASE)
            for how, name in zip(self.columns, names, strict=True)
        )
        if not fit:
            raise CaptureError(
                f"{self.path}:1: {self._expected} was expected; found {','.join(names)[:160]}; is "
                "'instrument.market' right?"
            )
        return file, True

    def _unpacked(self, stack: ExitStack) -> IO[bytes]:
        if self.path.suffix != ".zip":
            return self.path.open("rb")
        archive = stack.enter_context(zipfile.ZipFile(self.path))
        held = [name for name in archive.namelist() if name.endswith(".csv")]
        if len(held) != 1:
            raise CaptureError(
                f"{self.path}: one .csv was expected in it; found {', '.join(archive.namelist()) or 'nothing'}"
            )
        return archive.open(held[0])

    @property
    def _expected(self) -> str:
        return f"{self.kind} of {self.instrument.market}, of {len(self.columns)} columns,"

    def _numbers(self, column: pa.Array, how: As) -> Ints:
        if column.null_count:
            self._explain(f"an empty {how}")
        if how in ("id", "time"):
            return integers(column)
        if how == "flag":
            return integers(column.cast("int64"))
        instrument = self.instrument
        found, wrong = steps(column, instrument.tick if how == "price" else instrument.lot)
        wrong |= found < 0
        if how == "price" and self.kind != "bookTicker":
            wrong |= found == 0
        if wrong.any():
            self._explain(f"a {how} is wrong")
        return found

    def _times(self, found: Ints, told: Found, after: _After) -> Ints:
        """Return times in ns that never go back."""
        micro = (found >= _US[0]) & (found < _US[1])
        if not (micro | ((found >= _MS[0]) & (found < _MS[1]))).all():
            self._explain("a time is none")
        times = found * np.where(micro, 1000, 1_000_000)
        missing = after.time and int(times[0]) // _DAY > after.time // _DAY + 1
        if self.kind == "bookTicker" and missing:
            after.lost = after.time
        before = np.concatenate([[after.time], times[:-1]])
        ordered = np.maximum.accumulate(np.maximum(times, after.time))
        told.moved += int((times < np.maximum.accumulate(before)).sum())
        after.time = int(ordered[-1])
        return ordered

    def _check_ids(self, ids: Ints, line: int, told: Found, after: _After) -> None:
        before = np.concatenate([[after.last_id if after.last_id >= 0 else ids[0] - 1], ids[:-1]])
        if (back := ids <= before).any():
            place = int(np.argmax(back))
            raise CaptureError(
                f"{self.path}:{line + place}: an id above {before[place]} was expected, as ids go up from line to line "
                f"and from file to file; found {ids[place]}; do two of 'data.paths' hold the same time?"
            )
        if self.kind != "bookTicker":
            told.missing += int((ids - before - 1).sum())
        after.last_id = int(ids[-1])

    def _trades(self, times: Ints, cells: Mapping[str, list[Ints]]) -> Piece:
        kind = (Kind.TRADE | LAST) + SELL * cells["flag"][0]
        return piece(times, times, kind, cells["price"][0], cells["quantity"][0])

    def _best(self, times: Ints, cells: Mapping[str, list[Ints]]) -> Piece:
        """Return each line as a book of one level; a side without quantity is empty."""
        (bid, ask), (bids, asks) = cells["price"], cells["quantity"]
        kinds = [int(Kind.SNAPSHOT), int(Kind.LEVEL), Kind.LEVEL | SELL | LAST]
        count, nothing = len(times), np.zeros(len(times), np.int64)
        return piece(
            np.repeat(times, 3),
            np.repeat(times, 3),
            np.tile(kinds, count),
            np.stack([nothing, bid, ask], axis=1).reshape(-1),
            np.stack([nothing, bids, asks], axis=1).reshape(-1),
        )

    def _explain(self, reason: str, *, grid: bool = True) -> NoReturn:
        """Read the file line by line and say which is wrong, and how.

        Raises:
            CaptureError: always, but for `OffGrid`.
        """
        with ExitStack() as stack:
            file, header = self._open(stack)
            for number, raw in enumerate(file, 1):
                if number == 1 and header:
                    continue
                cells = raw.decode("utf-8", "backslashreplace").rstrip("\r\n").split(",")
                where = f"{self.path}:{number}"
                if len(cells) != len(self.columns):
                    raise CaptureError(
                        f"{where}: {self._expected} was expected; found {len(cells)} columns; is "
                        "'instrument.market' right, or was the file cut?"
                    )
                for how, text in zip(self.columns, cells, strict=True):
                    self._check_cell(where, how, text, grid=grid)
        raise CaptureError(f"{self.path}: {self._expected} was expected; found that {reason}")

    def _check_cell(self, where: str, how: As, text: str, *, grid: bool) -> None:
        expected = ""
        if how == "flag" and text.lower() not in {"true", "false"}:
            expected = "true or false"
        elif how == "id" and not text.isdigit():
            expected = "an id"
        elif how == "time" and not (text.isdigit() and _nanoseconds(int(text))):
            expected = "a time in milliseconds or microseconds"
        elif how in ("price", "quantity"):
            try:
                number = Decimal(text)
            except InvalidOperation:
                number = Decimal("nan")
            if not number.is_finite() or number < 0 or number > 10**12:
                expected = f"a {how}"
            elif how == "price" and not number and self.kind != "bookTicker":
                expected = "a price above zero"
            elif grid:
                try:
                    (self.instrument.ticks if how == "price" else self.instrument.lots)(number)
                except OffGrid as error:
                    raise OffGrid(
                        f"{where}: {error}; are 'instrument.tick' and 'instrument.lot' those of this time?"
                    ) from error
        if expected:
            raise CaptureError(f"{where}: {expected} was expected; found '{text[:40]}'")

    def _damaged(self, error: Exception) -> CaptureError:
        return CaptureError(
            f"{self.path}: the zip is damaged or cut short ({error}); check it with 'unzip -t "
            f"{self.path.name}' and download it anew"
        )


@dataclass
class _After:
    """Where the files read so far end.

    Attributes:
        last_id: The last id; -1 before there is any.
        time: The last time, ns.
        lost: Since when the best prices are not known, as a day is missing; 0 if none is.
    """

    last_id: int = -1
    time: int = 0
    lost: int = 0


def pieces_of(files: list[DumpFile], told: Found) -> Iterator[Piece]:
    """Yield the rows of all files of one kind, in order of time; raises as `DumpFile.pieces`."""
    after = _After()
    for file in sorted(files, key=DumpFile.first):
        yield from file.pieces(told, after)


def note(stats: FeedStats, told: Found, kinds: set[str]) -> None:
    """Add to the notes what the reader of a report must know of dumps."""
    stats.notes.append(
        "dumps hold no local time: everything is received when it happened, or data.clock_offset later"
    )
    if "bookTicker" not in kinds:
        stats.notes.append("the book is never known: dumps of trades hold none")
    if told.missing:
        stats.notes.append(f"{told.missing} trades are missing, by their ids")
    if told.moved:
        stats.notes.append(
            f"{told.moved} lines were before the line ahead of them and moved to its time"
        )


def _nanoseconds(time: int) -> int | None:
    if _US[0] <= time < _US[1]:
        return time * 1000
    return time * 1_000_000 if _MS[0] <= time < _MS[1] else None
