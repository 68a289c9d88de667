"""What a tape itself tells of its quality, whatever source it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from mmkit.quality.findings import Notebook
from mmkit.tape import KIND, LAST, GapReason, Kind, Tape
from mmkit.tape.index import NONE
from mmkit.units import format_time

Ints = npt.NDArray[np.int64]

QUIET_AT_LEAST_NS = 5_000_000_000
QUIET_TIMES = 3
"""Quiet is what is longer than five seconds and than so many times the interval that 1 in 100 exceeds."""

FAR_SHARE, FAR_TICKS = 0.01, 20
"""A trade is far outside the book if it is by more than both. On the recordings that were checked by others
trades run up to 2.6 basis points ahead of a book told every 100 ms (BTCUSDT), and 11 ticks of 8 basis points
each (NEXOUSDT); the insurance fund's print is 2 % away."""
_AROUND_NS = 1_000_000_000
"""The book a trade met may be told a little before or after it."""

STEP_NS = 500_000_000
"""The least step of the recorder's clock that can be told from a network that is slow for a while."""
_FLOOR_NS = 30_000_000_000
"""The smallest latency on either side of a step is taken over so long: a connection that stalled delivers
what waited within seconds (up to 3 s late on the recordings of 2023), a clock that was set stays so."""
_FLOOR_MESSAGES = 20


class TapeCheck:
    """Looks at one tape.

    Args:
        tape: What to look at.
        notes: Takes the findings in.
        where: The place of a row; by default its local time.
        remarks: What else is to be said of a place.
    """

    def __init__(
        self,
        tape: Tape,
        notes: Notebook,
        where: Callable[[int], str] | None = None,
        remarks: Mapping[str, str] | None = None,
    ) -> None:
        self._tape, self._notes = tape, notes
        self._where = where or self._time_of
        self._remarks = remarks or {}
        self._what = tape.kind & KIND
        self._last = (tape.kind & LAST) != 0
        index = tape.index
        self._top_row = index.top_row.astype(np.int64)
        self._bid, self._ask = index.top_bid.astype(np.int64), index.top_ask.astype(np.int64)
        self._top_ts = index.top_ts

    def run(self) -> None:
        """Do every check."""
        self._gaps()
        if len(self._top_row):
            self._tops()
            self._trades()
        else:
            self._price_range()
        self._quiet()
        self._clock()

    # --- the book -------------------------------------------------------------------------------

    def _gaps(self) -> None:
        tape = self._tape
        end = int(tape.ts_local[-1]) if len(tape) else 0
        codes = {
            GapReason.START: "unknown_at_start",
            GapReason.SEQUENCE: "missing_update",
            GapReason.CONNECTION: "connection_lost",
            GapReason.SILENCE: "silence",
            GapReason.RECORDER: "not_recorded",
            GapReason.CHECK: "book_doubted",
        }
        for gap in tape.gaps:
            if gap.reason == GapReason.RECORDER and gap.begin == end:
                continue  # the recording has ended, and nothing comes after it
            words = f"the book is unknown for {_seconds(gap.end - gap.begin)}"
            words += ", to the end" if gap.end == end else ""
            self._add(codes[gap.reason], gap.row, words)

    def _tops(self) -> None:
        bid, ask, instrument = self._bid, self._ask, self._tape.instrument
        both = (bid >= 0) & (ask >= 0)
        for code, wrong in (("crossed", both & (bid > ask)), ("locked", both & (bid == ask))):
            for first, after in _spells(wrong):
                words = f"bid {instrument.price(int(bid[first]))}, ask {instrument.price(int(ask[first]))}"
                self._add(
                    code, int(self._top_row[first]), f"{words}, {self._lasting(first, after)}"
                )
        # Of a tape that begins with its first levels told one by one, a side is empty at first.
        for first, after in _spells((bid == NONE) | (ask == NONE)):
            side = "bid" if bid[first] == NONE else "ask"
            words = f"no {side}, {self._lasting(first, after)}"
            self._add("one_sided", int(self._top_row[first]), words)

    def _lasting(self, first: int, after: int) -> str:
        if after >= len(self._top_ts):
            return "to the end"
        return f"for {_seconds(int(self._top_ts[after] - self._top_ts[first]))}"

    def _price_range(self) -> None:
        """Name the prices that keep the book from being rebuilt."""
        priced = np.flatnonzero(np.isin(self._what, (Kind.LEVEL, Kind.TRADE)))
        if not priced.size:
            return
        prices = self._tape.price[priced]
        middle = float(np.median(prices))
        for row in priced[(prices > 100 * middle) | (prices < 0)].tolist():
            price = self._tape.instrument.price(int(self._tape.price[row]))
            self._add("price_range", row, f"price {price}; the book was not looked at")

    # --- the trades -----------------------------------------------------------------------------

    def _trades(self) -> None:
        tape, instrument = self._tape, self._tape.instrument
        rows = np.flatnonzero(np.isin(self._what, (Kind.TRADE, Kind.OFF_BOOK)))
        at = np.searchsorted(self._top_row, rows) - 1
        sure = np.maximum(at, 0)
        bid, ask, price = self._bid[sure], self._ask[sure], tape.price[rows]
        # A crossed book is wrong already; trades are not judged by it.
        known = (at >= 0) & (bid >= 0) & (ask >= 0) & (bid < ask)
        above, below = price - ask, bid - price
        outside = np.where(known, np.maximum(np.maximum(above, below), 0), 0)
        for n in np.flatnonzero(self._what[rows] == Kind.OFF_BOOK).tolist():
            row = int(rows[n])
            words = f"at {instrument.price(int(price[n]))}"
            if outside[n]:
                side = "above the ask" if above[n] > 0 else "below the bid"
                words += f", {instrument.price(int(outside[n]))} {side}"
            self._add("off_book", row, words)
            outside[n] = 0
        # The furthest first, as only some places are kept.
        beside = np.flatnonzero(outside)
        for n in beside[np.argsort(-outside[beside], kind="stable")].tolist():
            row = int(rows[n])
            beyond = self._beyond(row, int(price[n]))
            if beyond > max(FAR_TICKS, FAR_SHARE * int(bid[n])):
                words = (
                    f"at {instrument.price(int(price[n]))}, {instrument.price(beyond)} outside the best "
                    "prices within a second of it"
                )
                self._add("far_trade", row, words)
                continue
            side = "above the ask" if above[n] > 0 else "below the bid"
            ticks = int(outside[n])
            words = (
                f"at {instrument.price(int(price[n]))}, {instrument.price(ticks)} "
                f"({ticks} tick{'' if ticks == 1 else 's'}) {side}"
            )
            self._add("outside_trade", row, words)

    def _beyond(self, row: int, price: int) -> int:
        """Return by how many ticks a price lies outside all best prices around a row."""
        at = int(self._tape.ts_local[row])
        first = max(int(np.searchsorted(self._top_ts, at - _AROUND_NS)) - 1, 0)
        after = int(np.searchsorted(self._top_ts, at + _AROUND_NS, "right"))
        bids, asks = self._bid[first:after], self._ask[first:after]
        known = (bids >= 0) & (bids < asks)
        bids, asks = bids[known], asks[known]
        return max(price - int(asks.max()), int(bids.min()) - price, 0)

    # --- the times ------------------------------------------------------------------------------

    def intervals(self) -> tuple[Ints, Ints]:
        """Return the rows of the book's messages, and how long each came after the one before it, ns.

        Those behind a gap are left out: it is known why nothing came.
        """
        told = np.flatnonzero(self._last & np.isin(self._what, (Kind.LEVEL, Kind.SNAPSHOT)))
        if len(told) < 2:
            return told[:0], told[:0]
        after = np.diff(self._tape.ts_local[told])
        gaps = np.cumsum(self._what == Kind.GAP)
        kept = gaps[told[1:]] == gaps[told[:-1]]
        return told[1:][kept], after[kept]

    def _quiet(self) -> None:
        rows, after = self.intervals()
        if not len(after):
            return
        usual = float(np.quantile(after, 0.99))
        least = max(QUIET_AT_LEAST_NS, QUIET_TIMES * usual)
        for n in np.flatnonzero(after > least).tolist():
            words = (
                f"{_seconds(int(after[n]))} without an update before this; usual is "
                f"{_seconds(int(np.median(after)))}, and 1 in 100 is longer than {_seconds(int(usual))}"
            )
            self._add("quiet", int(rows[n]), words)

    def _clock(self) -> None:
        tape = self._tape
        # Messages that carry the venue's own time. What came out with a snapshot waited for it, and may have
        # taken its time.
        snapshots = np.unique(tape.ts_exchange[self._what == Kind.SNAPSHOT])
        rows = np.flatnonzero(
            self._last
            & np.isin(self._what, (Kind.LEVEL, Kind.TRADE, Kind.MARK, Kind.FUNDING))
            & (tape.ts_local != tape.ts_exchange)
            & ~np.isin(tape.ts_exchange, snapshots)
        )
        local = tape.ts_local[rows]
        late = local - tape.ts_exchange[rows]
        for n in (np.flatnonzero(np.abs(np.diff(late)) >= STEP_NS) + 1).tolist():
            first = min(int(np.searchsorted(local, local[n - 1] - _FLOOR_NS)), n - _FLOOR_MESSAGES)
            after = max(int(np.searchsorted(local, local[n] + _FLOOR_NS)), n + _FLOOR_MESSAGES)
            before = late[max(first, 0) : n]
            behind = late[n:after]
            if min(len(before), len(behind)) < 2:
                continue
            step = int(behind.min() - before.min())
            if abs(step) >= STEP_NS and (step > 0) == (late[n] > late[n - 1]):
                words = f"{'ahead' if step > 0 else 'back'} by some {_seconds(abs(step))}"
                self._add("clock_step", int(rows[n]), words)

    # --- the places -----------------------------------------------------------------------------

    def _add(self, code: str, row: int, words: str) -> None:
        where = self._where(row)
        if remark := self._remarks.get(where):
            words += f" ({remark})"
        self._notes.add(code, where, words, int(self._tape.ts_local[row]))

    def _time_of(self, row: int) -> str:
        return format_time(int(self._tape.ts_local[row]))


def _spells(wrong: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first of each unbroken run of `True`, and the one behind its last."""
    edges = np.diff(np.concatenate([[0], wrong.astype(np.int8), [0]]))
    return list(
        zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True)
    )


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:,.3f} s" if ns < 100_000_000_000 else f"{ns / 1e9:,.1f} s"
