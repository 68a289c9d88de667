"""Keeping a local book in step with Binance: which update may follow which, and when a snapshot fits.

Pure: no I/O, no clock. Recorded and live data go through the same object. Rules: Binance's "How to
manage a local order book correctly", for spot (corrected 2025-11-12) and for USD-M futures.

Both are told here in one vocabulary. An update covers the ids after `Update.before` up to and
including `Update.last`; on spot ``before`` is ``U - 1``, on USD-M it is ``pu``. A snapshot is the book
at `Snapshot.last`.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import NamedTuple, TypeAlias

from mmkit.tape import LAST, SELL, FeedStats, GapReason, Kind, Row

LevelRow: TypeAlias = tuple[int, int, int]
"""``(kind, price, quantity)``: a row without its times."""

Step: TypeAlias = tuple[int | None, list[Row]]
"""The book's update id after some rows, and the rows; `None` when the book is unknown after them."""

BUFFERED_UPDATES = 10_000
"""Updates kept while no snapshot fits: a quarter of an hour of ``depth@100ms``."""

REPEATS = 20
"""Old updates in a row that are taken for repetitions. More of them: the venue began to count anew."""


class Update(NamedTuple):
    """One message of the diff stream. Times in ns."""

    before: int
    last: int
    ts_exchange: int
    levels: list[LevelRow]


class Snapshot(NamedTuple):
    """The whole book at one update id. `ts_exchange` is `None` on spot, which does not tell it."""

    last: int
    ts_exchange: int | None
    levels: list[LevelRow]


class SpotRules:
    """Binance spot: ids are consecutive."""

    @staticmethod
    def continues(update: Update, last: int) -> bool:
        """Whether nothing is missing between `last` and the update: ``U <= last + 1``."""
        return update.before <= last

    @staticmethod
    def covered(update: Update, snapshot: int) -> bool:
        """Whether a snapshot already holds the update: ``u <= lastUpdateId``."""
        return update.last <= snapshot


class FuturesRules:
    """Binance USD-M and COIN-M: ids jump, and each update names the one before it."""

    @staticmethod
    def continues(update: Update, last: int) -> bool:
        """Whether nothing is missing between `last` and the update: ``pu == last``."""
        return update.before == last

    @staticmethod
    def covered(update: Update, snapshot: int) -> bool:
        """Whether a snapshot already holds the update: ``u < lastUpdateId``, strictly.

        An update with ``u == lastUpdateId`` is the bridge, and the next one's ``pu`` is its ``u``.
        """
        return update.last < snapshot


class BookSync:
    """The state of one local book: waiting for a snapshot that fits, or synchronised.

    A snapshot fits if it is not older than the first update kept: ``before <= lastUpdateId``. On spot
    that is ``U <= lastUpdateId + 1``; on USD-M it takes in both ``U <= lastUpdateId <= u`` and
    ``pu == lastUpdateId``, and is right for the same reason: what the update covers begins where the
    snapshot's knowledge has not yet ended, and quantities are absolute.

    In the order of ``ts_exchange`` the rows of the book keep the order in which they come out here:
    a row's ``ts_exchange`` is never before that of the book row before it. In practice this only
    moves what comes out together with a snapshot.

    Args:
        rules: `SpotRules` or `FuturesRules`.
        stats: Counted into: gaps, snapshots, stale_snapshots, refused_snapshots, ignored.
        confirm: Whether a snapshot is used only once another one agrees with it. Ids tell a snapshot that
            is too old, but not one of another symbol or with wrong quantities.
    """

    def __init__(
        self, rules: type[SpotRules | FuturesRules], stats: FeedStats, confirm: bool = False
    ) -> None:
        self._rules, self._stats, self.confirm = rules, stats, confirm
        self._held: list[Snapshot] = []  # one that waits for another, or two that wait for updates
        self._buffer: deque[Update] = deque(maxlen=BUFFERED_UPDATES)
        # Those without an underscore are shared with the fast reader of recordings.
        self.chain: int | None = None  # last id of the newest update seen, applied or not
        self.book: int | None = None  # the book's update id; None while it is unknown
        self._spare: Snapshot | None = None  # newest snapshot that was not needed when it came
        self.repeats = 0  # updates in a row that were older than the chain
        self.floor = 0  # ts_exchange of the newest book row
        self.started = False
        self.seen = 0
        """Largest ts_exchange of any message so far, ns; whoever reads other streams raises it."""
        self.opened = 0
        """The update id of the snapshot that the book was last built from."""
        self.dated = False
        """Whether a snapshot without a time took `seen` for it, or ``ts_local``."""

    @property
    def synchronised(self) -> bool:
        """Whether the book is known."""
        return self.book is not None

    @property
    def buffering(self) -> bool:
        """Whether updates are waiting for a snapshot, and not the snapshots for updates."""
        return bool(self._buffer) and len(self._held) < 2

    @property
    def confirming(self) -> bool:
        """Whether a snapshot waits for another that agrees with it."""
        return bool(self._held)

    def start(self, ts_exchange: int, ts_local: int) -> list[Row]:
        """Say that a message has arrived; before the first the book is unknown, which is a GAP row."""
        self.seen = max(self.seen, ts_exchange)
        if self.started:
            return []
        return self._gap(GapReason.START, ts_exchange, ts_local)

    def update(self, update: Update, ts_local: int) -> list[Step]:
        """Take in an update of the diff stream."""
        self.seen = max(self.seen, update.ts_exchange)
        chain = self.chain
        if chain is not None:
            if update.last <= chain and self.repeats < REPEATS:
                self.repeats += 1
                self._stats.ignored += 1  # it repeats what has been seen
                return []
            if update.last <= chain or not self._rules.continues(update, chain):
                return self._missed(update, ts_local)
        elif self.book is not None and update.before > self.book:
            # The snapshot came before any update, and was older than the stream.
            return self._missed(update, ts_local)
        self.chain = update.last
        self.repeats = 0
        if self.book is None:
            self._buffer.append(update)
            return self._settled(ts_local)
        if self._rules.covered(update, self.book):
            return []
        self.book = update.last
        return [(update.last, self._rows(update.levels, update.ts_exchange, ts_local))]

    def snapshot(self, snapshot: Snapshot, ts_local: int) -> list[Step]:
        """Take in a snapshot; if it fits, it and the updates that follow it come out."""
        if self.book is not None:
            self._spare = None if self.confirm else snapshot
            self._stats.ignored += 1
            return []
        if not self._fits(snapshot):
            self._stats.stale_snapshots += 1
            return []
        if not self.confirm:
            return self._synchronise(snapshot, ts_local)
        self._held = [*self._held[-1:], snapshot]
        return self._settled(ts_local)

    def replace(self, snapshot: Snapshot, ts_local: int) -> list[Step]:
        """Take in a partial book: each tells everything it knows anew and needs no updates."""
        self.book = snapshot.last
        self._stats.snapshots += 1
        return [(snapshot.last, self._opened(snapshot, snapshot.ts_exchange or ts_local, ts_local))]

    def lost(self, reason: int, ts_local: int) -> list[Row]:
        """Say that updates may have been missed; everything starts anew."""
        if self.book is not None:
            self._stats.gaps += 1
        self._forget()
        return self._gap(reason, self.seen or ts_local, ts_local)

    def _settled(self, ts_local: int) -> list[Step]:
        """Synchronise if there are two snapshots that agree; let go of one if they do not."""
        fitting = [snapshot for snapshot in self._held if self._fits(snapshot)]
        self._stats.stale_snapshots += len(self._held) - len(fitting)
        self._held = fitting
        if len(fitting) < 2:
            return []
        older, newer = sorted(fitting, key=lambda snapshot: snapshot.last)
        agree = self._agree(older, newer)
        if agree:
            self._held.clear()
            return self._synchronise(newer, ts_local)
        if agree is False:
            # Which of the two is wrong cannot be told; the one that came last is held against the next.
            del self._held[0]
            self._stats.refused_snapshots += 1
        return []

    def _agree(self, older: Snapshot, newer: Snapshot) -> bool | None:
        """Whether the updates lead from one snapshot to the other; `None` until they have arrived.

        Compared as far from the best prices as both tell. An update that begins before `newer` and ends
        after it leaves its levels open, which is no harm: it will be applied.
        """
        expected = {(kind, price): lots for kind, price, lots in older.levels}
        found = {(kind, price): lots for kind, price, lots in newer.levels}
        first, last = _reach(older, newer)
        for update in self._buffer:
            if update.last <= older.last or update.before >= newer.last:
                continue
            for kind, price, lots in update.levels:
                expected[kind, price] = lots
                if update.last > newer.last:
                    found[kind, price] = lots
        bid = int(Kind.LEVEL)
        for level in expected.keys() | found.keys():
            kind, price = level
            told = price >= first if kind == bid else price <= last
            if told and expected.get(level, 0) != found.get(level, 0):
                return False if self.chain is not None and self.chain >= newer.last else None
        return True

    def _fits(self, snapshot: Snapshot) -> bool:
        return not self._buffer or self._buffer[0].before <= snapshot.last

    def _missed(self, update: Update, ts_local: int) -> list[Step]:
        spare = self._spare
        self._stats.gaps += 1
        self._forget()
        self.chain = update.last
        self._buffer.append(update)
        steps: list[Step] = [(None, self._gap(GapReason.SEQUENCE, update.ts_exchange, ts_local))]
        if spare is not None and self._fits(spare):
            steps += self._synchronise(spare, ts_local)
        return steps

    def _forget(self) -> None:
        self._held.clear()
        self.repeats = 0
        self.chain = self.book = self._spare = None
        self._buffer.clear()

    def _synchronise(self, snapshot: Snapshot, ts_local: int) -> list[Step]:
        self._stats.snapshots += 1
        self.opened = snapshot.last
        kept = [u for u in self._buffer if not self._rules.covered(u, snapshot.last)]
        self._buffer.clear()
        self._spare = None
        time = snapshot.ts_exchange
        if time is None:
            # Spot does not tell. The update that bridges it was sent within 100 ms of it.
            time = kept[0].ts_exchange if kept else self.seen or ts_local
            self.dated |= not kept
        steps: list[Step] = [(snapshot.last, self._opened(snapshot, time, ts_local))]
        steps += [(u.last, self._rows(u.levels, u.ts_exchange, ts_local)) for u in kept]
        self.book = kept[-1].last if kept else snapshot.last
        return steps

    def _opened(self, snapshot: Snapshot, ts_exchange: int, ts_local: int) -> list[Row]:
        return self._rows([(Kind.SNAPSHOT, 0, 0), *snapshot.levels], ts_exchange, ts_local)

    def _gap(self, reason: int, ts_exchange: int, ts_local: int) -> list[Row]:
        self.started = True
        return self._rows([(Kind.GAP, reason, 0)], ts_exchange, ts_local)

    def _rows(self, levels: list[LevelRow], ts_exchange: int, ts_local: int) -> list[Row]:
        if not levels:
            return []
        self.floor = time = max(self.floor, ts_exchange)
        rows = [(time, ts_local, kind, price, quantity) for kind, price, quantity in levels]
        kind, price, quantity = levels[-1]
        rows[-1] = (time, ts_local, kind | LAST, price, quantity)
        return rows


def _reach(*snapshots: Snapshot) -> tuple[float, float]:
    """Return the lowest bid and the highest ask to which all snapshots tell every level."""
    first, last = -inf, inf
    for snapshot in snapshots:
        bids = [price for kind, price, _ in snapshot.levels if not kind & SELL]
        asks = [price for kind, price, _ in snapshot.levels if kind & SELL]
        first, last = max(first, min(bids, default=first)), min(last, max(asks, default=last))
    return first, last
