"""A journal of orders that is kept in memory: for exchanges that are in memory too."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mmkit.accounts import FundingRecord
from mmkit.errors import RunError
from mmkit.live.anchor import Anchor
from mmkit.live.days import Day
from mmkit.live.known import KnownFill, KnownOrder, Stage
from mmkit.live.ledger import Sums, when
from mmkit.live.store import LEAST_ROOM, Found, Money


class MemoryStore:
    """What `mmkit.live.store.Store` does, without a disk. It outlives the process that is made believe to die.

    What is written is copied as bytes, so that what changes later in memory does not change here.
    """

    def __init__(self) -> None:
        self._open: dict[str, bytes] = {}
        self._over: dict[str, bytes] = {}
        self._fills: dict[tuple[str, str], bytes] = {}
        self._fundings: dict[str, bytes] = {}
        self._sums: bytes | None = None
        self._days: dict[int, bytes] = {}
        self._runs: dict[str, int] = {}
        self._anchor: bytes | None = None

    def found(self) -> Found:
        """Return what is in it."""
        fills = self.fills()
        return Found(
            [msgspec.json.decode(one, type=KnownOrder) for _, one in sorted(self._open.items())],
            [one for one in self._fills if one[0] in self._open],
            max((one.ts_ns for one in fills), default=0),
            min(self._runs.values(), default=0),
        )

    def fills(self) -> list[KnownFill]:
        """Return every fill, in order of time."""
        fills = [msgspec.json.decode(one, type=KnownFill) for one in self._fills.values()]
        return sorted(fills, key=when)

    def money(self) -> Money:
        """Return what has moved money; fills that have been added up are in the sums alone."""
        sums = msgspec.json.decode(self._sums, type=Sums) if self._sums else None
        until_ns = sums.until_ns if sums is not None else -1
        fundings = [msgspec.json.decode(one, type=FundingRecord) for one in self._fundings.values()]
        return Money(
            sums,
            [one for one in self.fills() if one.ts_ns > until_ns],
            sorted(fundings, key=lambda one: (one.ts_ns, one.funding_id)),
        )

    def begin(self, tag: str, start_ns: int) -> None:
        """Note a run before its first order."""
        if tag in self._runs:
            raise RunError(f"the journal holds a run '{tag}' already")
        self._runs[tag] = start_ns

    def write(self, orders: Iterable[KnownOrder], fills: Iterable[KnownFill]) -> None:
        """Keep orders and fills."""
        for order in orders:
            self._open.pop(order.client_id, None)
            kept = self._over if order.stage is Stage.DONE else self._open
            kept[order.client_id] = msgspec.json.encode(order)
        for fill in fills:
            self._fills.setdefault((fill.client_id, fill.trade_id), msgspec.json.encode(fill))
            if self._sums and fill.ts_ns <= msgspec.json.decode(self._sums, type=Sums).until_ns:
                self._sums = None

    def write_fundings(self, fundings: Iterable[FundingRecord]) -> None:
        """Keep payments of funding."""
        for one in fundings:
            self._fundings.setdefault(one.funding_id, msgspec.json.encode(one))

    def keep_sums(self, sums: Sums) -> None:
        """Keep what all fills up to a time come to."""
        self._sums = msgspec.json.encode(sums)

    def day(self, number: int) -> Day | None:
        """Return what was kept of a day."""
        kept = self._days.get(number)
        return msgspec.json.decode(kept, type=Day) if kept else None

    def keep_day(self, day: Day) -> None:
        """Keep a day."""
        self._days[day.day] = msgspec.json.encode(day)

    def anchor(self) -> Anchor | None:
        """Return the last one that was kept."""
        return msgspec.json.decode(self._anchor, type=Anchor) if self._anchor else None

    def keep(self, anchor: Anchor) -> None:
        """Keep an anchor."""
        self._anchor = msgspec.json.encode(anchor)

    def room(self) -> int:
        """Return how many bytes there is room for: more than will be asked about."""
        return 2 * LEAST_ROOM

    def close(self) -> None:
        """Do nothing: what is in it stays."""
