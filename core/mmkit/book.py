"""The order book by price level, and its best prices."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmkit.tape import KIND, LAST, NEVER, SELL, Kind, Row

# As numbers: a member of an enumeration takes as long to look up as the rest of a row to take in.
_LEVEL, _SNAPSHOT, _GAP = int(Kind.LEVEL), int(Kind.SNAPSHOT), int(Kind.GAP)

_NO_PRICE = NEVER  # as an ask worse than every price; negative, as a bid
_NEAR = 32  # ticks


class Ladder:
    """One side of the book: quantity by price, and the best price.

    Best is highest for bids, lowest for asks. No level is better than `bound`, which is the best price itself
    until that level goes; the next best is then looked for from there on, tick by tick as levels are close
    together, and among all of them if nothing is near.
    """

    __slots__ = ("_sign", "bound", "levels")

    def __init__(self, sign: int) -> None:
        self.levels: dict[int, int] = {}
        """Lots by price in ticks. Every quantity is above zero."""
        self._sign = sign
        self.bound = _NO_PRICE * sign
        """No level is better."""

    def set(self, price: int, quantity: int) -> int:
        """Make `quantity` the total at `price`, 0 to remove it; return the total before."""
        levels = self.levels
        if not quantity:
            return levels.pop(price, 0)
        before = levels.get(price, 0)
        levels[price] = quantity
        if price < self.bound if self._sign > 0 else price > self.bound:
            self.bound = price
        return before

    def fill(self, prices: npt.NDArray[np.int64], quantities: npt.NDArray[np.int64]) -> None:
        """Take in the levels of an empty side, in order of price; every quantity is above zero."""
        self.levels = dict(zip(prices.tolist(), quantities.tolist(), strict=True))
        if self.levels:
            self.bound = int(prices[0 if self._sign > 0 else -1])

    @property
    def best(self) -> int | None:
        """The best price in ticks, or `None` if the side is empty."""
        if self.bound in self.levels:
            return self.bound
        return self._next_best()

    def _next_best(self) -> int | None:
        levels, sign = self.levels, self._sign
        if not levels:
            self.bound = _NO_PRICE * sign
            return None
        first = self.bound + sign
        for price in range(first, first + sign * _NEAR, sign):
            if price in levels:
                break
        else:
            price = min(levels) if sign > 0 else max(levels)
        self.bound = price
        return price

    def clear(self) -> None:
        """Forget every level."""
        self.levels.clear()
        self.bound = _NO_PRICE * self._sign

    def reach(self, quantity: int) -> int | None:
        """Return the price of the last level that so many lots would take from; `None` if there are not so many."""
        for price in sorted(self.levels, key=self._sign.__mul__):
            quantity -= self.levels[price]
            if quantity <= 0:
                return price
        return None

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
        if what == _LEVEL:
            before = (self.asks if kind & SELL else self.bids).set(row[3], row[4])
        elif what == _SNAPSHOT:
            self.bids.clear()
            self.asks.clear()
            self._filling = True
        elif what == _GAP:
            self.bids.clear()
            self.asks.clear()
            self.known = self._filling = False
        if kind & LAST and self._filling:
            self._filling = False
            self.known = True
        return before

    def take(self, rows: Sequence[Row], stop: int) -> int:
        """Take in LEVEL rows, as `apply` does one by one, before `stop` and before the first of another kind.

        Returns:
            How many.
        """
        if self._filling:
            return 0
        bids, asks = self.bids.levels, self.asks.levels
        best_bid, best_ask = self.bids.bound, self.asks.bound
        taken = 0
        for _, _, kind, price, quantity in islice(rows, stop):
            if kind & KIND != _LEVEL:
                break
            taken += 1
            if kind & SELL:
                if quantity:
                    asks[price] = quantity
                    if price < best_ask:  # noqa: PLR1730 - in half the time
                        best_ask = price
                else:
                    asks.pop(price, None)
            elif quantity:
                bids[price] = quantity
                if price > best_bid:  # noqa: PLR1730
                    best_bid = price
            else:
                bids.pop(price, None)
        self.bids.bound, self.asks.bound = best_bid, best_ask
        return taken

    @property
    def best_bid(self) -> int | None:
        """Highest bid in ticks, or `None`."""
        return self.bids.best

    @property
    def best_ask(self) -> int | None:
        """Lowest ask in ticks, or `None`."""
        return self.asks.best
