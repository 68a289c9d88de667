"""The cross-check of the rebuilt book against the venue's own best prices."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from mmkit.book import Book
from mmkit.tape import SELL, FeedStats, Kind, Row

if TYPE_CHECKING:
    from mmkit_binance.fast import CompiledCheck

WAITING = 20_000
"""Tickers kept that are ahead of the book. BTCUSDT sends about 200 a second, so 100 s of them."""

DISAGREEING = 3
"""Tickers in a row that differ from the book before it is in doubt: one may be the venue's own slip."""


class Best(NamedTuple):
    """Best prices in ticks and their quantities in lots; an empty side is 0, 0."""

    bid: int
    bid_quantity: int
    ask: int
    ask_quantity: int


class TickerCheck:
    """Compares every ``bookTicker`` with a book of its own whenever both are at the same update id.

    A ticker often arrives before the update that contains it, so those ahead of the book wait for it.

    Args:
        stats: Counted into: tickers_compared, tickers_different.
    """

    doubt = ""
    """Why the book cannot be right, in words; empty while nothing speaks against it."""

    def __init__(self, stats: FeedStats) -> None:
        self._stats = stats
        self._book = Book()
        self._at: int | None = None
        self._waiting: deque[tuple[int, Best]] = deque(maxlen=WAITING)
        self._different = 0  # tickers in a row

    def applied(self, update_id: int | None, rows: list[Row]) -> None:
        """Follow the book; `update_id` is where it stands after `rows`, `None` if it is unknown."""
        for row in rows[self._book.take(rows, len(rows)) :]:
            self._book.apply(row)
        self._at = update_id
        if update_id is None:
            self.doubt, self._different = "", 0
            return
        bid, ask = self._book.bids.best, self._book.asks.best
        if bid is not None and ask is not None and bid >= ask:
            self.doubt = crossed(bid, ask, update_id)
        waiting = self._waiting
        while waiting and waiting[0][0] <= update_id:
            at, best = waiting.popleft()
            if at == update_id:
                self._compare(best)

    def ticker(self, update_id: int, best: Best) -> None:
        """Take in a ticker."""
        if self._at is None or update_id > self._at:
            self._waiting.append((update_id, best))
        elif update_id == self._at:
            self._compare(best)

    def hand_over(self, check: CompiledCheck) -> None:
        """Put another, new, in the place of this one."""
        if self._at is not None:
            bids, asks = self._book.bids.levels, self._book.asks.levels
            levels = [(int(Kind.LEVEL), *level) for level in bids.items()]
            levels += [(Kind.LEVEL | SELL, *level) for level in asks.items()]
            check.applied(self._at, [(0, 0, *row) for row in ((int(Kind.SNAPSHOT), 0, 0), *levels)])
        for update_id, best in self._waiting:
            check.ticker(update_id, best)
        check.go_on(self._different)

    def _compare(self, best: Best) -> None:
        self._stats.tickers_compared += 1
        found = self._best()
        if found == best:
            self._different = 0
            return
        self._stats.tickers_different += 1
        self._different += 1
        if self._different >= DISAGREEING:
            self.doubt = contradicted(best, found, self._at)

    def _best(self) -> Best:
        bids, asks = self._book.bids, self._book.asks
        bid, ask = bids.best, asks.best
        return Best(
            bid or 0,
            0 if bid is None else bids.levels[bid],
            ask or 0,
            0 if ask is None else asks.levels[ask],
        )


def crossed(bid: int, ask: int, update_id: int) -> str:
    """Return that the best bid is not below the best ask, in ticks."""
    return f"it is crossed: bid {bid} and ask {ask} in ticks at update {update_id}"


def contradicted(expected: Best, found: Best, update_id: int | None) -> str:
    """Return that the venue goes on telling other best prices than the book's."""
    return (
        f"the venue told other best prices {DISAGREEING} times in a row: expected {expected}, "
        f"found {found}, at update {update_id}"
    )
