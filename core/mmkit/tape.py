"""Market data as numpy columns, one row per change of a book level or trade.

A row is ``(ts_exchange, ts_local, kind, price, quantity)``:

===========  =====  ==========================================================================
column       dtype  meaning
===========  =====  ==========================================================================
ts_exchange  int64  the venue's clock, ns since the epoch
ts_local     int64  our clock with its offset from the venue's removed, ns since the epoch
kind         uint8  what happened (`Kind`), with the side and the last-row-of-message bit
price        int64  ticks
quantity     int64  lots; for a level the new total, 0 removes it
===========  =====  ==========================================================================

Live messages become the same rows, a few at a time (`Row` tuples), so one engine serves both.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.instruments import Instrument

Row: TypeAlias = tuple[int, int, int, int, int]
"""``(ts_exchange, ts_local, kind, price, quantity)``, as in the table above."""

NEVER = 2**63 - 1
"""A time later than any other: what has no next event says it is due then."""


class Kind(IntEnum):
    """The low four bits of a row's ``kind``."""

    LEVEL = 1
    """A book level has a new total quantity."""
    TRADE = 2
    """A trade on the book; the side is the aggressor's."""
    SNAPSHOT = 3
    """The book is about to be told anew: forget every level. LEVEL rows follow, up to the last of
    the message."""
    GAP = 4
    """The book is unknown from here until a snapshot is complete. ``price`` is a `GapReason`."""
    BEST = 5
    """The best price and its quantity, from a stream of its own. Does not change the book."""
    MARK = 6
    """A mark price: ``quantity`` is the price times 1e8 (it is not on the tick grid)."""
    FUNDING = 7
    """A funding rate: ``quantity`` is the rate times 1e8, ``price`` the time of the next funding in
    seconds since the epoch."""
    OFF_BOOK = 8
    """A print that did not meet the book, such as a liquidation taken over by an insurance fund.
    It fills nobody."""


class GapReason(IntEnum):
    """Why the book is unknown: the ``price`` of a GAP row."""

    START = 0
    """No snapshot has arrived yet."""
    SEQUENCE = 1
    """An update is missing."""
    CONNECTION = 2
    """The connection was lost."""
    SILENCE = 3
    """Nothing arrived for longer than the watchdog allows."""


KIND = 0x0F
"""Mask of the bits that hold the `Kind`."""
SELL = 0x10
"""Set for asks, and for trades whose aggressor sold."""
LAST = 0x80
"""Set on the last row of a message: only then is the book complete."""

SCALE = 10**8
"""Fixed-point scale of MARK and FUNDING rows. Binance sends both with at most 8 decimals."""

RECORD = np.dtype(
    [
        ("ts_exchange", "<i8"),
        ("ts_local", "<i8"),
        ("price", "<i8"),
        ("quantity", "<i8"),
        ("kind", "u1"),
    ]
)
"""One row on disk in a run's journal: 33 bytes, little-endian, appended while the run goes on."""

COLUMNS: tuple[tuple[str, str], ...] = (
    ("ts_exchange", "<i8"),
    ("ts_local", "<i8"),
    ("price", "<i8"),
    ("quantity", "<i8"),
    ("kind", "u1"),
)

_MAGIC = b"mmkit tape 1\n"


class FeedStats(msgspec.Struct, kw_only=True):
    """What reading one feed found; part of every report.

    Attributes:
        messages: Messages of the chosen symbol and streams.
        gaps: Times that updates were missing or the connection was lost; while waiting for a snapshot, too.
        snapshots: Snapshots the book was built from.
        stale_snapshots: Snapshots that were older than the first update kept; refused.
        tickers_compared: Best-price messages whose update id equals the book's.
        tickers_different: Those of them whose best price or size differed from the book's.
        off_book: Prints that did not meet the book.
        ignored: Messages of streams or symbols that were not asked for.
        clock_offset_ns: What was added to the recorder's clock, one figure a file, in order.
        notes: Anything else the reader of a report must know, in words.
    """

    messages: int = 0
    gaps: int = 0
    snapshots: int = 0
    stale_snapshots: int = 0
    tickers_compared: int = 0
    tickers_different: int = 0
    off_book: int = 0
    ignored: int = 0
    clock_offset_ns: list[int] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)


class Tape:
    """The market data of one instrument over one span of time, in order of ``ts_local``.

    Args:
        instrument: What the rows are about.
        columns: The five columns by name, equal in length. Not copied; treat as read-only.
        stats: What was found while reading the source.

    Raises:
        DataError: if ``ts_local`` ever goes back, or the columns differ in length.
    """

    def __init__(
        self,
        instrument: Instrument,
        columns: dict[str, npt.NDArray[Any]],
        stats: FeedStats | None = None,
    ) -> None:
        self.instrument = instrument
        self.stats = stats or FeedStats()
        self.ts_exchange: npt.NDArray[np.int64] = columns["ts_exchange"]
        self.ts_local: npt.NDArray[np.int64] = columns["ts_local"]
        self.price: npt.NDArray[np.int64] = columns["price"]
        self.quantity: npt.NDArray[np.int64] = columns["quantity"]
        self.kind: npt.NDArray[np.uint8] = columns["kind"]
        if len({len(column) for column in columns.values()}) != 1:
            raise DataError("the columns of a tape must be of equal length")
        back = np.flatnonzero(self.ts_local[1:] < self.ts_local[:-1])
        if back.size:
            row = int(back[0]) + 1
            raise DataError(
                f"row {row}: ts_local goes back by {int(self.ts_local[row - 1] - self.ts_local[row])} ns; "
                "a tape is in the order in which it was received"
            )

    @classmethod
    def from_rows(
        cls, instrument: Instrument, rows: Iterable[Row], stats: FeedStats | None = None
    ) -> Tape:
        """Build a tape from `Row` tuples in the order of ``ts_local``."""
        table = np.array(list(rows), dtype=np.int64).reshape(-1, 5)
        columns: dict[str, npt.NDArray[Any]] = {
            "ts_exchange": np.ascontiguousarray(table[:, 0]),
            "ts_local": np.ascontiguousarray(table[:, 1]),
            "kind": table[:, 2].astype(np.uint8),
            "price": np.ascontiguousarray(table[:, 3]),
            "quantity": np.ascontiguousarray(table[:, 4]),
        }
        return cls(instrument, columns, stats)

    def __len__(self) -> int:
        return len(self.kind)

    def rows(
        self, index: npt.NDArray[np.int64] | None = None, chunk: int = 65_536
    ) -> Iterator[Row]:
        """Yield the rows as tuples of Python integers, in local order or in that of `index`."""
        columns = (self.ts_exchange, self.ts_local, self.kind, self.price, self.quantity)
        for start in range(0, len(self), chunk):
            part = slice(start, start + chunk) if index is None else index[start : start + chunk]
            yield from zip(*(column[part].tolist() for column in columns), strict=True)

    def exchange_order(self) -> npt.NDArray[np.int64]:
        """Return the row numbers in order of ``ts_exchange``; rows of one instant keep their order."""
        return np.argsort(self.ts_exchange, kind="stable")

    def save(self, path: Path) -> None:
        """Write the tape to `path`; it appears there whole or not at all."""
        header = msgspec.json.encode(
            {"rows": len(self), "instrument": self.instrument, "stats": self.stats}
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with unfinished.open("wb") as file:
                file.write(_MAGIC + len(header).to_bytes(8, "little") + header)
                file.write(b"\0" * (-file.tell() % 64))
                for name, dtype in COLUMNS:
                    file.write(np.ascontiguousarray(getattr(self, name), dtype=dtype).data)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> Tape:
        """Memory-map the tape at `path`.

        Raises:
            DataError: if it is no tape, is of another version, or is shorter than it says.
        """
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
            if magic != _MAGIC:
                raise DataError(
                    f"{path}: not a tape of this version of mmkit; delete it and it is rebuilt"
                )
            found = os.fstat(file.fileno()).st_size
            size = int.from_bytes(file.read(8), "little")
            header = _Header.decode(file.read(min(size, found)))
            start = file.tell() + (-file.tell() % 64)
            row_bytes = sum(np.dtype(dtype).itemsize for _, dtype in COLUMNS)
            expected = start + header.rows * row_bytes
            if found != expected:
                raise DataError(
                    f"{path}: {found} bytes where {expected} were expected; delete it and it is rebuilt"
                )
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        columns: dict[str, npt.NDArray[Any]] = {}
        for name, dtype in COLUMNS:
            columns[name] = np.frombuffer(buffer, dtype=dtype, count=header.rows, offset=start)
            start += columns[name].nbytes
        return cls(header.instrument, columns, header.stats)


class _Header(msgspec.Struct):
    rows: int
    instrument: Instrument
    stats: FeedStats

    @staticmethod
    def decode(raw: bytes) -> _Header:
        try:
            return msgspec.json.decode(raw, type=_Header)
        except msgspec.MsgspecError as error:
            raise DataError(f"the header of a tape cannot be read: {error}") from error


def records(rows: Iterable[Row]) -> bytes:
    """Return rows as the bytes of `RECORD`s, ready to be appended to a journal."""
    packed = [
        (ts_exchange, ts_local, price, quantity, kind)
        for ts_exchange, ts_local, kind, price, quantity in rows
    ]
    return np.array(packed, dtype=RECORD).tobytes()


def tape_from_records(instrument: Instrument, raw: bytes, stats: FeedStats | None = None) -> Tape:
    """Read back what `records` wrote; a record cut short by a crash at the very end is left out."""
    table = np.frombuffer(raw, dtype=RECORD, count=len(raw) // RECORD.itemsize)
    return Tape(instrument, {name: np.ascontiguousarray(table[name]) for name, _ in COLUMNS}, stats)
