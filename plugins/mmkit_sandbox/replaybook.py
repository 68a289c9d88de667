"""The book of a recorded symbol, rebuilt from its snapshots and the diffs played so far."""

from __future__ import annotations

from collections import deque

import msgspec

from mmkit_sandbox.exchange import Depth, PriceLevel


class Snapshot(msgspec.Struct, frozen=True):
    """A recorded answer to GET depth. ``E`` and ``T`` are there on futures only."""

    last_update_id: int = msgspec.field(name="lastUpdateId")
    bids: list[PriceLevel]
    asks: list[PriceLevel]
    E: int = 0
    T: int = 0


class Diff(msgspec.Struct, frozen=True):
    """A recorded ``depthUpdate``. ``T`` and ``pu`` are there on futures only."""

    E: int
    U: int
    u: int
    b: list[PriceLevel]
    a: list[PriceLevel]
    T: int = 0
    pu: int = -1


class ReplayedBook:
    """Follows the diffs from the first snapshot on.

    A snapshot may be newer than the diffs being played: it was recorded while they arrived. It is
    given out all the same, as a client that synchronises drops the diffs it already contains.
    When a diff is missing, the book goes on from the next snapshot in the capture; until then it is
    not known.

    Continuity: Binance, "How to manage a local order book correctly", spot and USD-M; a futures' diff
    whose ``pu`` is the snapshot's id continues it too.
    """

    def __init__(self, snapshots: list[Snapshot]) -> None:
        self._snapshots = deque(snapshots)
        self._bids: dict[float, PriceLevel] = {}
        self._asks: dict[float, PriceLevel] = {}
        self._update_id = 0
        self._ts_ms = 0
        self._bridged = False
        self.known = False
        """Whether `depth` has an answer."""
        self.gaps = 0
        """How often a diff was missing."""
        self._take_snapshot(0)

    def apply(self, diff: Diff) -> None:
        """Play one diff."""
        if self.known and diff.u <= self._update_id:
            return
        if not (self.known and self._continues(diff)):
            if self.known and self._bridged:
                self.gaps += 1
            # The diff itself is not in the book, so a snapshot that ends before it will not do.
            self._take_snapshot(diff.U - 1)
            if not self.known or diff.u <= self._update_id or not self._continues(diff):
                return
        self._change(self._bids, diff.b)
        self._change(self._asks, diff.a)
        self._update_id, self._ts_ms, self._bridged = diff.u, diff.T or diff.E, True

    def depth(self, limit: int) -> Depth | None:
        """Return the book, or `None` if it is not known."""
        if not self.known:
            return None
        bids = sorted(self._bids, reverse=True)[:limit]
        asks = sorted(self._asks)[:limit]
        return Depth(
            self._update_id,
            self._ts_ms,
            [self._bids[price] for price in bids],
            [self._asks[price] for price in asks],
        )

    def _continues(self, diff: Diff) -> bool:
        if diff.pu >= 0:
            bridges = not self._bridged and diff.U <= self._update_id <= diff.u
            return bridges or diff.pu == self._update_id
        return self._update_id + 1 >= diff.U

    def _take_snapshot(self, at_least: int) -> None:
        self.known = self._bridged = False
        while self._snapshots:
            snapshot = self._snapshots.popleft()
            if snapshot.last_update_id >= at_least:
                self._bids = {float(level[0]): level for level in snapshot.bids}
                self._asks = {float(level[0]): level for level in snapshot.asks}
                self._update_id, self._ts_ms = snapshot.last_update_id, snapshot.T
                self.known = True
                return

    @staticmethod
    def _change(side: dict[float, PriceLevel], levels: list[PriceLevel]) -> None:
        # Keyed by number, as snapshot and diffs may write the same price differently.
        for level in levels:
            price = float(level[0])
            if float(level[1]):
                side[price] = level
            else:
                side.pop(price, None)
