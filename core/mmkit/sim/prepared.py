"""A tape made ready for the compiled engine: narrow columns, and the best prices after every row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from mmkit.tape import Kind, Tape

NONE = -1
"""In a column of best prices: that side of the book is empty."""
UNKNOWN = -2
"""In a column of best prices: the book is unknown."""

WIDEST = 64_000_000
"""Ticks between the lowest and the highest price; beyond it a ladder by price takes too much memory."""
MOST_SNAPSHOTS = 1_000
"""Each clears the ladder, which the compiled engine does slowly; partial depth is nothing but snapshots."""

_LEVEL, _SNAPSHOT, _GAP = int(Kind.LEVEL), int(Kind.SNAPSHOT), int(Kind.GAP)
_KIND, _SELL, _LAST = 0x0F, 0x10, 0x80


class Prepared:
    """Columns of one tape. Prices count from `base`, so that a ladder is an array.

    Attributes:
        base: What to add to a price of these columns for one in ticks.
        span: Prices are below it.
        order: Row numbers in exchange order.
        best_local: Best bid and ask after each row in local order, shape ``(rows, 2)``.
        best_exchange: The same in exchange order; after the n-th row of `order`.
        special: Row numbers, in local order, at which the book becomes unknown or known.
        last: Row numbers, in local order, that end a message.
    """

    def __init__(self, tape: Tape) -> None:
        kinds = np.asarray(tape.kind) & _KIND
        priced = (kinds == _LEVEL) | (kinds == int(Kind.TRADE))
        prices = tape.price[priced]
        low, high = (int(prices.min()), int(prices.max())) if prices.size else (1, 1)
        self.tape = tape
        self.base = low - 1
        self.span = high - low + 3
        self.ts_exchange = np.ascontiguousarray(tape.ts_exchange)
        self.ts_local = np.ascontiguousarray(tape.ts_local)
        self.kind = np.ascontiguousarray(tape.kind)
        self.quantity = np.ascontiguousarray(tape.quantity)
        # A GAP's reason and the like stay what they are: nothing compares them with a price.
        self.price = np.where(priced, tape.price - self.base, tape.price).astype(np.int64)
        self.order = tape.exchange_order()
        self.best_local = np.empty((len(tape), 2), np.int32)
        self.best_exchange = self.best_local
        self.snapshots = int((kinds == _SNAPSHOT).sum())
        if not self.fits:
            return
        in_order = np.arange(len(tape))
        _best_prices(in_order, self.kind, self.price, self.quantity, self.span, self.best_local)
        if not np.array_equal(self.order, in_order):
            self.best_exchange = np.empty((len(tape), 2), np.int32)
            _best_prices(
                self.order, self.kind, self.price, self.quantity, self.span, self.best_exchange
            )
        known = self.best_local[:, 0] != UNKNOWN
        changes = np.flatnonzero(known[1:] != known[:-1]) + 1
        gaps = np.flatnonzero(kinds == _GAP)
        first = np.flatnonzero(known[:1])
        self.special: npt.NDArray[np.int64] = np.unique(np.concatenate([first, changes, gaps]))
        self.last: npt.NDArray[np.int64] = np.flatnonzero(self.kind & _LAST)

    @property
    def fits(self) -> bool:
        """Whether the compiled engine can take it."""
        return self.span <= WIDEST and self.snapshots <= MOST_SNAPSHOTS


@njit(cache=True, nogil=True)
def _best_prices(order: Any, kind: Any, price: Any, quantity: Any, span: int, best: Any) -> None:
    """Fill `best` with the best bid and ask after each row of `order`."""
    bids = np.zeros(span, np.int64)
    asks = np.zeros(span, np.int64)
    bid, ask = NONE, NONE
    known, filling = False, False
    for n in range(len(order)):
        row = order[n]
        what = kind[row] & _KIND
        if what == _LEVEL:
            at, total = price[row], quantity[row]
            if kind[row] & _SELL:
                asks[at] = total
                if total > 0:
                    if ask == NONE or at < ask:
                        ask = at
                elif at == ask:
                    ask += 1
                    while ask < span and asks[ask] == 0:
                        ask += 1
                    if ask >= span:
                        ask = NONE
            else:
                bids[at] = total
                if total > 0:
                    bid = max(bid, at)
                elif at == bid:
                    bid -= 1
                    while bid >= 0 and bids[bid] == 0:
                        bid -= 1
                    if bid < 0:
                        bid = NONE
        elif what in (_SNAPSHOT, _GAP):
            if bid != NONE or ask != NONE:
                bids[:] = 0
                asks[:] = 0
            bid, ask = NONE, NONE
            filling = what == _SNAPSHOT
            if what == _GAP:
                known = False
        if filling and kind[row] & _LAST:
            filling, known = False, True
        if known:
            best[n, 0], best[n, 1] = bid, ask
        else:
            best[n, 0], best[n, 1] = UNKNOWN, UNKNOWN
