"""The best prices and their quantities over time, from a tape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmkit.book import Book
from mmkit.tape import KIND, LAST, Kind, Tape

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tops:
    """The top of the book after every message that changed it, in the order of the venue's clock.

    The last row is the end of the tape, with what held before it.

    Attributes:
        ts: When, ns since the epoch, by the venue's clock.
        bid: Best bid in ticks; 0 while the book is unknown or a side of it is empty.
        ask: Best ask in ticks; 0 likewise.
        bid_quantity: Lots at the best bid; 0 likewise.
        ask_quantity: Lots at the best ask; 0 likewise.
        span: Counts the spans in which the book was known without interruption; -1 where it is not.
    """

    ts: Ints
    bid: Ints
    ask: Ints
    bid_quantity: Ints
    ask_quantity: Ints
    span: Ints

    def at(self, times: Ints) -> Ints:
        """Return the row that holds at each of `times`, one of that time included; -1 before the first."""
        return np.searchsorted(self.ts, times, side="right") - 1


_UNKNOWN = (0, 0, 0, 0)


def tops_of(tape: Tape) -> Tops:
    """Return the top of the book over the whole of `tape`.

    Rows are taken in the order of the venue's clock, as a quote there meets them. A book that is crossed
    after a message counts as unknown.
    """
    book = Book()
    bids, asks = book.bids, book.asks
    best = _UNKNOWN
    span, known_before = -1, False
    rows: list[tuple[int, int, int, int, int, int]] = []
    in_book = (Kind.LEVEL, Kind.SNAPSHOT, Kind.GAP)
    for row in tape.rows(tape.exchange_order()):
        kind = row[2]
        what = kind & KIND
        if what in in_book or kind & LAST:
            book.apply(row)
        if not (kind & LAST or what == Kind.GAP):
            continue
        bid, ask = bids.best, asks.best
        if book.known and bid is not None and ask is not None and bid < ask:
            now = (bid, ask, bids.levels[bid], asks.levels[ask])
        else:
            now = _UNKNOWN
        if now != best:
            known = now is not _UNKNOWN
            if known and not known_before:
                span += 1
            known_before, best = known, now
            rows.append((row[0], *now, span if known else -1))
    if rows:
        end = max(rows[-1][0], int(tape.ts_exchange.max()))
        rows.append((end, *rows[-1][1:]))
    table = np.array(rows, dtype=np.int64).reshape(-1, 6)
    return Tops(*(np.ascontiguousarray(table[:, column]) for column in range(6)))
