"""The book as it stands at some moment between rows, without an engine."""

from __future__ import annotations

import numpy as np

from mmkit.tape import KIND, LAST, SELL, GapReason, Kind
from mmkit.tape.pieces import Piece, gap, joined, piece


class Standing:
    """Takes in rows, and tells the book they lead to as a snapshot.

    Attributes:
        known: Whether there is a book.
    """

    def __init__(self) -> None:
        self.known = False
        self._keys = np.empty(0, np.int64)  # price, and the side in the lowest bit
        self._quantities = np.empty(0, np.int64)
        self._ts_exchange = 0

    def take(self, rows: Piece) -> None:
        """Take in whole messages."""
        what = rows["kind"] & KIND
        marks = np.flatnonzero((what == Kind.SNAPSHOT) | (what == Kind.GAP))
        begin = 0
        if len(marks):
            begin = int(marks[-1])
            self.known = bool(what[begin] == Kind.SNAPSHOT)
            self._keys, self._quantities = self._keys[:0], self._quantities[:0]
        if not self.known:
            return
        book = begin + np.flatnonzero(
            (what[begin:] == Kind.LEVEL) | (what[begin:] == Kind.SNAPSHOT)
        )
        if len(book):
            self._ts_exchange = int(rows["ts_exchange"][book].max())
        levels = book[what[book] == Kind.LEVEL]
        new = rows["price"][levels] << 1 | (rows["kind"][levels] & SELL != 0)
        keys = np.concatenate([self._keys, new])
        quantities = np.concatenate([self._quantities, rows["quantity"][levels]])
        # The last word on each level counts.
        self._keys, at = np.unique(keys[::-1], return_index=True)
        self._quantities = quantities[::-1][at]
        there = self._quantities > 0
        self._keys, self._quantities = self._keys[there], self._quantities[there]

    def told(self, ts_local: int) -> Piece:
        """Return the beginning of a tape at that time: a GAP (start), and the book as one message."""
        count = len(self._keys) + 1
        kind = np.full(count, Kind.LEVEL, np.uint8)
        kind[1:] |= np.where(self._keys & 1, SELL, 0).astype(np.uint8)
        kind[0] = Kind.SNAPSHOT
        kind[-1] |= LAST
        nothing = np.zeros(1, np.int64)
        book = piece(
            np.full(count, self._ts_exchange),
            np.full(count, ts_local),
            kind,
            np.concatenate([nothing, self._keys >> 1]),
            np.concatenate([nothing, self._quantities]),
        )
        return joined([gap(GapReason.START, self._ts_exchange, ts_local), book])
