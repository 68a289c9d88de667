"""ccxt's whole books and lists of trades as rows of the tape. Pure: no I/O, no clock.

Formats: ccxt manual, "Order Book Structure" and "Public Trades" (ccxt 4.5.90). A book is a whole book each time;
what a row tells is what has changed since the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from mmkit.instruments import Instrument
from mmkit.tape import LAST, SELL, FeedStats, GapReason, Kind, Row
from mmkit_ccxt.grid import FinerSizes, Grid

_REMEMBERED_IDS = 10_000
"""Ids of trades kept to know a repetition by; ccxt itself keeps 1000 trades."""
_MS = 1_000_000

Levels = tuple[tuple[float, float], ...]
"""Price and size, as ccxt has them."""


class WholeBook(NamedTuple):
    """A copy of ccxt's order book, which goes on changing. `timestamp` in ms, if the venue tells it."""

    bids: Levels
    asks: Levels
    timestamp: int | None


def copy_of(book: Mapping[str, Any], depth: int | None) -> WholeBook:
    """Return a copy of ccxt's order book, of its best `depth` levels a side."""
    sides = [
        tuple((level[0], level[1]) for level in islice(book[side], depth))
        for side in ("bids", "asks")
    ]
    return WholeBook(sides[0], sides[1], book.get("timestamp"))


class RowMaker:
    """The state of one instrument's book and trades, as told so far.

    Args:
        instrument: Tells the grid.
        stats: Counted into, and noted into by `take_notes`.
        offset_ns: How far the venue's clock is ahead of ours; taken off its times.
        finer_sizes: What to do about sizes finer than the lot.
    """

    def __init__(
        self,
        instrument: Instrument,
        stats: FeedStats,
        offset_ns: int = 0,
        finer_sizes: FinerSizes = "refuse",
    ) -> None:
        self._stats, self._offset = stats, offset_ns
        self._grid = Grid(instrument, finer_sizes)
        # What ccxt said last, by price; floats are compared before any is converted.
        self._bids: dict[float, float] = {}
        self._asks: dict[float, float] = {}
        self._known = False
        self._floor = 0  # ts_exchange of the newest row of the book
        self._seen = 0  # largest ts_exchange of any row
        self._ids: dict[str, None] = {}
        self._since_ns = 0
        self._books = self._untimed_books = self._trades = self._untimed_trades = 0
        self._repeated = self._old = self._sideless = self._nameless = 0
        self._deepest = 0

    @property
    def known(self) -> bool:
        """Whether a whole book has been told since the last gap."""
        return self._known

    def opened(self, now_ns: int) -> None:
        """Say that streams are about to be opened: a trade from before that was not received as it happened."""
        self._since_ns = now_ns

    def lost(self, reason: int, now_ns: int) -> list[Row]:
        """Say that messages may have been missed (`mmkit.tape.GapReason`)."""
        if self._known:
            self._stats.gaps += 1
        self._known = False
        self._bids, self._asks = {}, {}
        time = now_ns if reason == GapReason.START else self._seen or now_ns
        return self._told([(Kind.GAP, reason, 0)], time, now_ns)

    def book(self, book: WholeBook, now_ns: int) -> list[Row]:
        """Take in a whole book; return what has changed, as one message.

        Raises:
            OffGrid: if a price or size that has changed is not on the grid.
        """
        self._stats.messages += 1
        self._books += 1
        time = now_ns
        if book.timestamp is None:
            self._untimed_books += 1
        else:
            time = int(book.timestamp * _MS) - self._offset
        bids, asks = dict(book.bids), dict(book.asks)
        # A size of zero is no level, however it came into the list.
        bids = {price: size for price, size in bids.items() if size}
        asks = {price: size for price, size in asks.items() if size}
        self._deepest = max(self._deepest, len(bids), len(asks))
        levels = [
            *self._changes(self._bids, bids, Kind.LEVEL),
            *self._changes(self._asks, asks, Kind.LEVEL | SELL),
        ]
        self._bids, self._asks = bids, asks
        if not self._known:
            self._known = True
            self._stats.snapshots += 1
            levels.insert(0, (Kind.SNAPSHOT, 0, 0))
        return self._told(levels, time, now_ns) if levels else []

    def trades(self, trades: Iterable[Mapping[str, Any]], now_ns: int) -> list[Row]:
        """Take in trades as ccxt lists them; those that have been told before are left out.

        Raises:
            OffGrid: if a price or size is not on the grid.
        """
        rows: list[Row] = []
        for trade in trades:
            self._stats.messages += 1
            if self._repeats(trade.get("id")):
                self._stats.ignored += 1
                self._repeated += 1
                continue
            told = trade.get("timestamp")
            time = now_ns if told is None else int(told * _MS) - self._offset
            if time < self._since_ns:
                self._stats.ignored += 1
                self._old += 1
                continue
            self._trades += 1
            self._untimed_trades += told is None
            kind: int = Kind.TRADE
            if trade.get("side") == "sell":
                kind |= SELL
            elif trade.get("side") != "buy":
                # Whom it could have filled is not known, and a guess would fill somebody.
                kind = Kind.OFF_BOOK
                self._stats.off_book += 1
                self._sideless += 1
            price, quantity = self._grid.ticks(trade["price"]), self._grid.lots(trade["amount"])
            self._seen = max(self._seen, time)
            rows.append((time, now_ns, kind | LAST, price, quantity))
        return rows

    def take_notes(self, venue: str) -> None:
        """Write what a reader of the report must know into the stats."""
        notes: list[str] = []
        for untimed, all_of_them, what in (
            (self._untimed_books, self._books, "books"),
            (self._untimed_trades, self._trades, "trades"),
        ):
            if untimed:
                notes.append(
                    f"{untimed} of {all_of_them} {what} carried no time of '{venue}'; the time of "
                    "receipt stands in for it, so their latency reads 0"
                )
        if self._books:
            notes.append(
                f"ccxt told at most {self._deepest} levels a side; deeper ones are not known, and one that "
                "moved out of reach is told as removed"
            )
        for count, words in (
            (self._repeated, "trades were told more than once by ccxt; counted once"),
            (self._old, "trades were from before the stream was opened; left out"),
            (self._sideless, "trades had no side; told as off the book, they fill nobody"),
            (self._nameless, "trades had no id, so that a repetition could not be told"),
        ):
            if count:
                notes.append(f"{count} {words}")
        if self._grid.rounded:
            notes.append(
                f"{self._grid.rounded} quantities finer than the lot were rounded up, such as "
                f"{self._grid.example}"
            )
        self._stats.notes[:] = notes

    def _changes(
        self, before: Mapping[float, float], after: Mapping[float, float], kind: int
    ) -> list[tuple[int, int, int]]:
        """Return ``(kind, price, quantity)`` of every level that is not as it was; those gone come first."""
        ticks, lots = self._grid.ticks, self._grid.lots
        gone = [(kind, ticks(price), 0) for price in before if price not in after]
        return gone + [
            (kind, ticks(price), lots(size))
            for price, size in after.items()
            if before.get(price) != size
        ]

    def _repeats(self, name: Any) -> bool:
        if name is None:
            self._nameless += 1
            return False
        if name in self._ids:
            return True
        self._ids[name] = None
        if len(self._ids) > _REMEMBERED_IDS:
            del self._ids[next(iter(self._ids))]
        return False

    def _told(
        self, levels: Sequence[tuple[int, int, int]], ts_exchange: int, now_ns: int
    ) -> list[Row]:
        self._floor = time = max(self._floor, ts_exchange)
        self._seen = max(self._seen, time)
        rows = [(time, now_ns, int(kind), price, quantity) for kind, price, quantity in levels]
        rows[-1] = (time, now_ns, rows[-1][2] | LAST, *rows[-1][3:])
        return rows
