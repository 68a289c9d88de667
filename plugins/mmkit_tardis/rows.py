"""Blocks of each kind of dataset as rows of a tape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from mmkit.tape import LAST, SELL, FeedStats, GapReason, Kind
from mmkit.tape.pieces import NOTHING, Piece, gap, joined, piece
from mmkit_tardis.datasets import INCREMENTAL, Dataset
from mmkit_tardis.files import Block

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_DAY = 86_400_000_000_000
JUST_BEFORE = 1
"""ns by which a trade is ahead of the book's update of the same time, or what was traded would be taken off the book
twice. Tardis's times are whole microseconds, so that nothing else changes places."""


class Rows(Protocol):
    """Makes rows of one kind of dataset; keeps what one block has to know of the one before."""

    def begin_file(self) -> None:
        """Say that the next block is the first of a file."""

    def take(self, block: Block) -> Piece:
        """Return the rows of a block, in order of ts_local; whole messages."""


def rows_of(dataset: Dataset, stats: FeedStats, *, is_book: bool) -> Rows:
    """Return what makes rows of a kind of dataset; `stats` is told what is found.

    Args:
        dataset: Which.
        stats: Told what is found.
        is_book: Whether best prices are the book, as there is no other.
    """
    if dataset is INCREMENTAL:
        return BookRows(stats)
    if dataset.what == "book":
        return SnapshotRows(stats, len(dataset.columns) // 4)
    if dataset.what == "best prices":
        return BestRows(stats, is_book=is_book)
    if dataset.what == "derivative":
        return DerivativeRows(stats)
    return TradeRows(stats, liquidations=dataset.what == "liquidations")


class BookRows:
    """Changes of the book and snapshots of it.

    A run of snapshot lines begins a new book; what comes before the first of a file is skipped. A snapshot in the
    middle of a file follows a lost connection, so the book is unknown from the last message before it; as it is
    where a file does not begin with a snapshot, or a day is missing.
    """

    def __init__(self, stats: FeedStats) -> None:
        self._stats = stats
        self.skipped = 0
        """Lines before the first snapshot of a file."""
        self._begun = self._known = self._in_snapshot = False
        self._time = self._end = 0  # of the last message, by both clocks

    def begin_file(self) -> None:
        """Say that the next block is the first of a file."""
        self._begun = self._in_snapshot = False

    def take(self, block: Block) -> Piece:
        """Return the rows of a block."""
        snapshot = block.cells["is_snapshot"].astype(bool)
        if self._begun:
            return self._rows(block, snapshot, begins_file=False)
        lost = NOTHING
        missing = int(block.ts_local[0]) // _DAY > self._end // _DAY + 1
        if self._known and (missing or not snapshot[0]):
            lost = self._gap()
            self._known = False
        skipped = int(np.argmax(snapshot)) if snapshot.any() else len(block)
        self.skipped += skipped
        if skipped == len(block):
            return lost
        self._begun = True
        return joined([lost, self._rows(block.part(skipped), snapshot[skipped:], begins_file=True)])

    def _gap(self) -> Piece:
        self._stats.gaps += 1
        return gap(GapReason.CONNECTION, self._time, self._end)

    def _rows(self, block: Block, snapshot: Bools, *, begins_file: bool) -> Piece:
        begins = snapshot & ~np.concatenate([[self._in_snapshot], snapshot[:-1]])
        message = begins | (np.diff(block.ts_local, prepend=-1) != 0)
        times = _book_times(block.ts_exchange, message, self._time)
        lost = begins.copy()
        lost[0] &= not begins_file
        place, local = np.arange(len(block)), block.ts_local
        level = Kind.LEVEL + SELL * block.cells["side"] + LAST * np.append(message[1:], True)
        told, gaps = int(begins.sum()), int(lost.sum())
        nothing, none = np.zeros(told, np.int64), np.zeros(gaps, np.int64)
        # Gap, snapshot and level of one line stand in this order.
        order = np.argsort(np.concatenate([place[lost] * 3, place[begins] * 3 + 1, place * 3 + 2]))
        made = piece(
            np.concatenate([_before(times, self._time)[lost], times[begins], times])[order],
            np.concatenate([_before(local, self._end)[lost], local[begins], local])[order],
            np.concatenate([none + (Kind.GAP | LAST), nothing + Kind.SNAPSHOT, level])[order],
            np.concatenate([none + GapReason.CONNECTION, nothing, block.cells["price"]])[order],
            np.concatenate([none, nothing, block.cells["amount"]])[order],
        )
        self._stats.gaps += gaps
        self._stats.snapshots += told
        self._stats.messages += int(message.sum())
        self._known, self._in_snapshot = True, bool(snapshot[-1])
        self._time, self._end = int(times[-1]), int(local[-1])
        return made


class SnapshotRows:
    """Whole books of so many levels, one a line."""

    def __init__(self, stats: FeedStats, depth: int) -> None:
        self._stats, self._time = stats, 0
        self._levels = [(f"bids[{n}]", int(Kind.LEVEL)) for n in range(depth)]
        self._levels += [(f"asks[{n}]", Kind.LEVEL | SELL) for n in range(depth)]

    def begin_file(self) -> None:
        """Nothing of one file has to do with the next."""

    def take(self, block: Block) -> Piece:
        """Return the rows of a block."""
        times = _book_times(block.ts_exchange, np.ones(len(block), np.bool_), self._time)
        self._time = int(times[-1])
        self._stats.messages += len(block)
        self._stats.snapshots += len(block)
        levels = [
            _Part.of(block, kind, f"{level}.price", f"{level}.amount")
            for level, kind in self._levels
        ]
        return _by_line(times, block.ts_local, [_Part.always(Kind.SNAPSHOT, len(block)), *levels])


class BestRows:
    """Best prices: beside a book, or in its place as a book of one level."""

    def __init__(self, stats: FeedStats, *, is_book: bool) -> None:
        self._stats, self._is_book, self._time = stats, is_book, 0

    def begin_file(self) -> None:
        """Nothing of one file has to do with the next."""

    def take(self, block: Block) -> Piece:
        """Return the rows of a block."""
        self._stats.messages += len(block)
        kind = int(Kind.LEVEL if self._is_book else Kind.BEST)
        parts = [
            _Part.of(block, kind, "bid_price", "bid_amount"),
            _Part.of(block, kind | SELL, "ask_price", "ask_amount"),
        ]
        if not self._is_book:
            return _by_line(block.ts_exchange, block.ts_local, parts)
        times = _book_times(block.ts_exchange, np.ones(len(block), np.bool_), self._time)
        self._time = int(times[-1])
        self._stats.snapshots += len(block)
        return _by_line(times, block.ts_local, [_Part.always(Kind.SNAPSHOT, len(block)), *parts])


class TradeRows:
    """Trades; or liquidations, which are among the trades as well and so fill nobody.

    A trade of which Tardis does not know the aggressor fills nobody either.
    """

    def __init__(self, stats: FeedStats, *, liquidations: bool) -> None:
        self._stats, self._liquidations = stats, liquidations

    def begin_file(self) -> None:
        """Nothing of one file has to do with the next."""

    def take(self, block: Block) -> Piece:
        """Return the rows of a block."""
        side, last = block.cells["side"], np.diff(block.ts_local, append=-1) != 0
        off_book = side == 2
        if self._liquidations:
            off_book = np.ones(len(block), np.bool_)
        self._stats.off_book += int(off_book.sum())
        self._stats.messages += int(last.sum())
        kind = np.where(off_book, int(Kind.OFF_BOOK), int(Kind.TRADE))
        kind = kind + SELL * (side == 1) + LAST * last
        times = block.ts_exchange - JUST_BEFORE
        return piece(times, block.ts_local, kind, block.cells["price"], block.cells["amount"])


class DerivativeRows:
    """Mark prices and funding rates."""

    def __init__(self, stats: FeedStats) -> None:
        self._stats = stats

    def begin_file(self) -> None:
        """Nothing of one file has to do with the next."""

    def take(self, block: Block) -> Piece:
        """Return the rows of a block."""
        self._stats.messages += len(block)
        cells, there = block.cells, block.there
        mark = _Part(
            there["mark_price"], int(Kind.MARK), 0 * cells["mark_price"], cells["mark_price"]
        )
        funding = _Part(
            there["funding_rate"] & there["funding_timestamp"],
            int(Kind.FUNDING),
            cells["funding_timestamp"] // 1_000_000,
            cells["funding_rate"],
        )
        return _by_line(block.ts_exchange, block.ts_local, [mark, funding])


class _Part(NamedTuple):
    """What a line may make: one row, where it is `there`."""

    there: Bools
    kind: int
    price: Ints
    quantity: Ints

    @classmethod
    def of(cls, block: Block, kind: int, price: str, quantity: str) -> _Part:
        return cls(block.there[price], kind, block.cells[price], block.cells[quantity])

    @classmethod
    def always(cls, kind: int, count: int) -> _Part:
        nothing = np.zeros(count, np.int64)
        return cls(np.ones(count, np.bool_), int(kind), nothing, nothing)


def _by_line(times: Ints, local: Ints, parts: Sequence[_Part]) -> Piece:
    """Return the rows of lines that make several each; every line is a message."""
    there = np.stack([part.there for part in parts], axis=1)
    line, which = np.nonzero(there)
    kind = np.array([part.kind for part in parts])[which]
    kind += LAST * (np.diff(line, append=-1) != 0)
    return piece(
        times[line],
        local[line],
        kind,
        np.stack([part.price for part in parts], axis=1)[there],
        np.stack([part.quantity for part in parts], axis=1)[there],
    )


def _book_times(ts_exchange: Ints, message: Bools, least: int) -> Ints:
    """Return times of the book that never go back and are one for each message.

    In the order of the exchange's clock, in which it is simulated, no update is then before its snapshot.
    """
    begins = np.flatnonzero(message)
    each = np.maximum(np.maximum.reduceat(ts_exchange, begins), least)
    return np.repeat(np.maximum.accumulate(each), np.diff(begins, append=len(message)))


def _before(column: Ints, first: int) -> Ints:
    """Return for each line the value of the one ahead of it."""
    return np.concatenate([[first], column[:-1]])
