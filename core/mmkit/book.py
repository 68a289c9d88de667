"""The order book by price level, and its best prices."""

from __future__ import annotations

from heapq import heapify, heappop, heappush, nsmallest
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmkit.tape import KIND, LAST, SELL, Kind, Row


class Ladder:
    """One side of the book: quantity by price, and the best price.

    Best is highest for bids, lowest for asks. A heap with late deletion keeps it: a price is pushed
    when it appears and popped once it is on top and gone, so a change costs O(log n).
    """

    __slots__ = ("_heap", "_sign", "levels")

    def __init__(self, sign: int) -> None:
        self.levels: dict[int, int] = {}
        """Lots by price in ticks. Every quantity is above zero."""
        self._sign = sign
        self._heap: list[int] = []

    def set(self, price: int, quantity: int) -> int:
        """Make `quantity` the total at `price`, 0 to remove it; return the total before."""
        levels = self.levels
        if quantity:
            before = levels.get(price, 0)
            levels[price] = quantity
            if not before:
                heappush(self._heap, self._sign * price)
                if len(self._heap) > 4 * len(levels) + 64:
                    # Dead entries deep in the heap: a level that flickers leaves one each time.
                    self._heap = [self._sign * alive for alive in levels]
                    heapify(self._heap)
            return before
        return levels.pop(price, 0)

    def fill(self, prices: npt.NDArray[np.int64], quantities: npt.NDArray[np.int64]) -> None:
        """Take in the levels of an empty side, in order of price; every quantity is above zero."""
        self.levels = dict(zip(prices.tolist(), quantities.tolist(), strict=True))
        # What is sorted is a heap.
        self._heap = (self._sign * prices)[:: self._sign].tolist()

    @property
    def best(self) -> int | None:
        """The best price in ticks, or `None` if the side is empty."""
        heap, levels, sign = self._heap, self.levels, self._sign
        while heap:
            price = sign * heap[0]
            if price in levels:
                return price
            heappop(heap)
        return None

    def clear(self) -> None:
        """Forget every level."""
        self.levels.clear()
        self._heap.clear()

    def top(self, count: int) -> list[tuple[int, int]]:
        """Return the best `count` levels as ``(price, quantity)``, best first."""
        prices = nsmallest(count, self.levels, key=self._sign.__mul__)
        return [(price, self.levels[price]) for price in prices]


class Depth(NamedTuple):
    """The best levels of a book, as a strategy sees them: pairs of ticks and lots, best first."""

    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]


class Book:
    """Both sides of one instrument's book, fed by rows of the tape.

    `known` is False from a GAP row until the last row of a snapshot; until then the prices must not
    be traded on.
    """

    __slots__ = ("_filling", "asks", "bids", "known")

    def __init__(self) -> None:
        self.bids = Ladder(-1)
        self.asks = Ladder(+1)
        self.known = False
        self._filling = False

    def apply(self, row: Row) -> int:
        """Take one row in; return the quantity that a LEVEL row replaced, 0 for other kinds."""
        kind = row[2]
        what = kind & KIND
        before = 0
        if what == Kind.LEVEL:
            before = (self.asks if kind & SELL else self.bids).set(row[3], row[4])
        elif what == Kind.SNAPSHOT:
            self.bids.clear()
            self.asks.clear()
            self._filling = True
        elif what == Kind.GAP:
            self.bids.clear()
            self.asks.clear()
            self.known = self._filling = False
        if kind & LAST and self._filling:
            self._filling = False
            self.known = True
        return before

    @property
    def best_bid(self) -> int | None:
        """Highest bid in ticks, or `None`."""
        return self.bids.best

    @property
    def best_ask(self) -> int | None:
        """Lowest ask in ticks, or `None`."""
        return self.asks.best
