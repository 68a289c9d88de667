"""What the book of a simulated market was at each of its latest update ids."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import NamedTuple

from mmkit.events import Side

Levels = dict[int, int]
"""Lots by price in ticks."""

KEPT = 50_000
"""Changes that are remembered: about five minutes of BTCUSDT."""
_MARK_EVERY = 500


class TrueBook(NamedTuple):
    """A whole book: its update id, when that change happened in ms, and lots by ticks of each side."""

    update_id: int
    ts_ms: int
    bids: Levels
    asks: Levels


class Truth:
    """Remembers every change of a book, so that it can be told as it was.

    Args:
        update_id: Where the book stands.
        ts_ms: Since when.
        bids: Its bids, lots by ticks.
        asks: Its asks.
    """

    def __init__(
        self, update_id: int, ts_ms: int, bids: Mapping[int, int], asks: Mapping[int, int]
    ) -> None:
        self._base = TrueBook(update_id, ts_ms, dict(bids), dict(asks))
        self._ids: list[int] = []
        self._times: list[int] = []
        self._changes: list[tuple[Side, int, int]] = []
        # The book after every so many changes, so that none is far from one that is known.
        self._marks: list[tuple[Levels, Levels]] = [(self._base.bids, self._base.asks)]

    @property
    def oldest(self) -> int:
        """The first update id that can be told."""
        return self._base.update_id

    @property
    def newest(self) -> int:
        """The last update id that can be told."""
        return self._ids[-1] if self._ids else self._base.update_id

    def note(self, update_id: int, ts_ms: int, side: Side, price: int, total: int) -> None:
        """Remember one change: the new total of a level."""
        self._ids.append(update_id)
        self._times.append(ts_ms)
        self._changes.append((side, price, total))
        if len(self._ids) % _MARK_EVERY == 0:
            marked = self._after(len(self._ids))
            self._marks.append((marked.bids, marked.asks))
        if len(self._ids) >= 2 * KEPT:
            self._base = self._after(KEPT)
            del self._ids[:KEPT], self._times[:KEPT], self._changes[:KEPT]
            del self._marks[: KEPT // _MARK_EVERY]

    def at(self, update_id: int) -> TrueBook | None:
        """Return the book at an update id, `None` if it is too long ago or still to come."""
        if not self.oldest <= update_id <= self.newest:
            return None
        return self._after(bisect_right(self._ids, update_id))

    def update_id(self, ts_ms: int) -> int:
        """Return where the book stood at a time, or as long ago as is remembered."""
        count = bisect_right(self._times, ts_ms)
        return self._ids[count - 1] if count else self._base.update_id

    def before(self, ts_ms: int) -> TrueBook:
        """Return the book as it was at a time, or as long ago as is remembered."""
        return self._after(bisect_right(self._times, ts_ms))

    def _after(self, count: int) -> TrueBook:
        nearest = min(count // _MARK_EVERY, len(self._marks) - 1)
        bids, asks = (dict(levels) for levels in self._marks[nearest])
        for side, price, total in self._changes[nearest * _MARK_EVERY : count]:
            levels = bids if side is Side.BUY else asks
            if total:
                levels[price] = total
            else:
                levels.pop(price, None)
        if not count:
            return self._base._replace(bids=bids, asks=asks)
        return TrueBook(self._ids[count - 1], self._times[count - 1], bids, asks)
