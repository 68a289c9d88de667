"""Market data as numpy columns, one row per change of a book level or trade."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.instruments import Instrument
from mmkit.tape.rows import FeedStats, Row

if TYPE_CHECKING:
    from mmkit.tape.gaps import Gap
    from mmkit.tape.index import Index

Ints = npt.NDArray[np.int64]

NAMES = ("ts_exchange", "ts_local", "kind", "price", "quantity")
"""The columns, in the order of a `Row`."""
NARROW = 2**31
"""Prices and quantities below it take four bytes."""
RELEASED = 4_000_000
"""Rows after which what has been gone through of a long tape is released."""
_LONG = 16_000_000
"""Rows, half a gigabyte. What is shorter stays in memory for the next run over it."""

Place = tuple[mmap.mmap, int, int, int]
"""Where a column lies: in what, from which byte on, the bytes of a value, and how many values."""


class Tape:
    """The market data of one instrument over one span of time, in order of ``ts_local``.

    Prices and quantities are kept in four bytes each (`narrow_price`, `narrow_quantity`). The few that do
    not fit, or are below zero, lie in `large`: a narrow value of ``-1 - n`` means ``large[n]``.

    Args:
        instrument: What the rows are about.
        columns: The five columns by name, equal in length. Treat as read-only.
        stats: What was found while reading the source.

    Raises:
        DataError: if ``ts_local`` ever goes back, or the columns differ in length.
    """

    def __init__(
        self,
        instrument: Instrument,
        columns: Mapping[str, npt.NDArray[Any]],
        stats: FeedStats | None = None,
    ) -> None:
        if len({len(columns[name]) for name in NAMES}) != 1:
            raise DataError("the columns of a tape must be of equal length")
        narrow_price, large_prices = narrowed(columns["price"], 0)
        narrow_quantity, large_quantities = narrowed(columns["quantity"], len(large_prices))
        self._hold(
            instrument,
            stats or FeedStats(),
            {
                "ts_exchange": columns["ts_exchange"],
                "ts_local": columns["ts_local"],
                "kind": columns["kind"],
                "price": narrow_price,
                "quantity": narrow_quantity,
                "large": np.concatenate([large_prices, large_quantities]),
            },
        )
        refuse_going_back(self.ts_local)

    def _hold(
        self,
        instrument: Instrument,
        stats: FeedStats,
        parts: Mapping[str, npt.NDArray[Any]],
        places: Mapping[str, Place] | None = None,
    ) -> None:
        self.instrument = instrument
        self.stats = stats
        self._places = places or {}
        self.ts_exchange: Ints = parts["ts_exchange"]
        self.ts_local: Ints = parts["ts_local"]
        self.kind: npt.NDArray[np.uint8] = parts["kind"]
        self.narrow_price: npt.NDArray[np.int32] = parts["price"]
        self.narrow_quantity: npt.NDArray[np.int32] = parts["quantity"]
        self.large: Ints = parts["large"]

    @classmethod
    def of_narrow(
        cls,
        instrument: Instrument,
        stats: FeedStats,
        parts: Mapping[str, npt.NDArray[Any]],
        places: Mapping[str, Place] | None = None,
    ) -> Tape:
        """Return the tape of columns that are narrow already, ``large`` among them; nothing is checked.

        Args:
            instrument: What the rows are about.
            stats: What was found while reading the source.
            parts: The columns, by name.
            places: Where those lie that are mapped from a file, by name, those of the index too.
        """
        tape = cls.__new__(cls)
        tape._hold(instrument, stats, parts, places)
        return tape

    @classmethod
    def from_rows(
        cls, instrument: Instrument, rows: Iterable[Row], stats: FeedStats | None = None
    ) -> Tape:
        """Build a tape from `Row` tuples in the order of ``ts_local``."""
        table = np.array(list(rows), dtype=np.int64).reshape(-1, len(NAMES))
        columns: dict[str, npt.NDArray[Any]] = {
            name: np.ascontiguousarray(table[:, place]) for place, name in enumerate(NAMES)
        }
        columns["kind"] = columns["kind"].astype(np.uint8)
        return cls(instrument, columns, stats)

    @classmethod
    def load(cls, path: Path) -> Tape:
        """Memory-map the tape at `path`.

        Raises:
            DataError: if it is no tape, is of another version, or is shorter than it says.
        """
        from mmkit.tape.file import load

        return load(path)

    def save(self, path: Path) -> None:
        """Write the tape to `path`; it appears there whole or not at all."""
        from mmkit.tape.file import save

        save(self, path)

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def long(self) -> bool:
        """Whether it is mapped, and so long that whoever has gone through a part should `release` it."""
        return bool(self._places) and len(self) >= _LONG

    def release(self, names: Iterable[str], count: int) -> None:
        """Give back the memory of the first values of some columns; whoever reads them again has them read again.

        What is mapped counts as memory of the process from when it is read, so that a month would take that of
        a month.

        Args:
            names: Columns, those of the index too; one that is not mapped is left alone.
            count: How many values.
        """
        page = mmap.PAGESIZE
        for name in names:
            if place := self._places.get(name):
                buffer, offset, size, values = place
                first = offset + -offset % page
                length = (offset + size * min(count, values)) // page * page - first
                if length > 0 and hasattr(buffer, "madvise"):  # which Windows has not
                    buffer.madvise(mmap.MADV_DONTNEED, first, length)

    @cached_property
    def price(self) -> Ints:
        """Ticks, by row; of a GAP the reason, of a FUNDING row a time."""
        return self.widened(self.narrow_price)

    @cached_property
    def quantity(self) -> Ints:
        """Lots, by row; of a level the new total."""
        return self.widened(self.narrow_quantity)

    @cached_property
    def index(self) -> Index:
        """What an engine wants to know beforehand; compiled code makes it unless it was loaded."""
        from mmkit.tape.index import index_of

        return index_of(self)

    @cached_property
    def gaps(self) -> tuple[Gap, ...]:
        """When the book is unknown; the whole tape is looked through, once."""
        from mmkit.tape.gaps import gaps_of

        return tuple(gaps_of(self))

    @property
    def start_ns(self) -> int:
        """The first time on either clock: where both of a backtest begin, as hftbacktest has it."""
        return int(min(self.ts_local[0], self._first_exchange))

    @property
    def end_ns(self) -> int:
        """The last time on either clock."""
        return int(max(self.ts_local[-1], self._last_exchange))

    @cached_property
    def _first_exchange(self) -> int:
        if "index" in self.__dict__:
            return self.index.facts.first_exchange
        return int(self.ts_exchange.min())

    @cached_property
    def _last_exchange(self) -> int:
        if "index" in self.__dict__:
            return self.index.facts.last_exchange
        return int(self.ts_exchange.max())

    def rows(
        self, index: npt.NDArray[np.integer[Any]] | None = None, chunk: int = 65_536
    ) -> Iterator[Row]:
        """Yield the rows as tuples of Python integers, in local order or in that of `index`."""
        columns: tuple[npt.NDArray[Any], ...] = (
            self.ts_exchange,
            self.ts_local,
            self.kind,
            self.narrow_price,
            self.narrow_quantity,
        )
        released = 0
        for start in range(0, len(self), chunk):
            part = slice(start, start + chunk) if index is None else index[start : start + chunk]
            if self.long and start >= released + RELEASED:
                released = start
                self.release(NAMES, start if index is None else int(index[start]) - RELEASED)
                self.release(("order",), start)
            ts_exchange, ts_local, kind, price, quantity = (column[part] for column in columns)
            yield from zip(
                ts_exchange.tolist(),
                ts_local.tolist(),
                kind.tolist(),
                self.widened(price).tolist(),
                self.widened(quantity).tolist(),
                strict=True,
            )

    def exchange_order(self) -> npt.NDArray[np.integer[Any]]:
        """Return the row numbers in order of ``ts_exchange``; rows of one instant keep their order."""
        if "index" in self.__dict__:
            order = self.index.order
            return order if len(order) else np.arange(len(self))
        return np.argsort(self.ts_exchange, kind="stable")

    def widened(self, narrow: npt.NDArray[np.int32]) -> Ints:
        """Return what narrow prices or quantities stand for."""
        wide = narrow.astype(np.int64)
        if len(self.large):
            low = np.flatnonzero(narrow < 0)
            wide[low] = self.large[-1 - wide[low]]
        return wide


def narrowed(wide: npt.NDArray[Any], taken: int) -> tuple[npt.NDArray[np.int32], Ints]:
    """Return a column in four bytes a value, and the values that do not fit.

    Args:
        wide: Whole numbers.
        taken: How many large values there are already.
    """
    wide = np.asarray(wide, np.int64)
    narrow = wide.astype(np.int32)
    # A value that is above the limit may come out of the cast as anything, so it is compared back.
    misfits = np.flatnonzero((narrow < 0) | (narrow != wide))
    narrow[misfits] = -1 - np.arange(taken, taken + len(misfits))
    return narrow, wide[misfits]


def refuse_going_back(ts_local: Ints, first_row: int = 0) -> None:
    """Raise `DataError` if a time is before the one ahead of it."""
    back = np.flatnonzero(ts_local[1:] < ts_local[:-1])
    if back.size:
        row = int(back[0]) + 1
        raise DataError(
            f"row {first_row + row}: ts_local goes back by {int(ts_local[row - 1] - ts_local[row])} ns; "
            "a tape is in the order in which it was received"
        )
