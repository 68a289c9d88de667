"""A journal of orders that is kept in memory: for exchanges that are in memory too."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mmkit.errors import RunError
from mmkit.live.anchor import Anchor
from mmkit.live.known import KnownFill, KnownOrder, Stage
from mmkit.live.store import LEAST_ROOM, Found


class MemoryStore:
    """What `mmkit.live.store.Store` does, without a disk. It outlives the process that is made believe to die.

    What is written is copied as bytes, so that what changes later in memory does not change here.
    """

    def __init__(self) -> None:
        self._open: dict[str, bytes] = {}
        self._over: dict[str, bytes] = {}
        self._fills: dict[str, bytes] = {}
        self._runs: dict[str, int] = {}
        self._anchor: bytes | None = None

    def found(self) -> Found:
        """Return what is in it."""
        fills = self.fills()
        return Found(
            [msgspec.json.decode(one, type=KnownOrder) for _, one in sorted(self._open.items())],
            list(self._fills),
            max((one.ts_ns for one in fills), default=0),
            min(self._runs.values(), default=0),
        )

    def fills(self) -> list[KnownFill]:
        """Return every fill, in order of time."""
        fills = [msgspec.json.decode(one, type=KnownFill) for one in self._fills.values()]
        return sorted(fills, key=lambda one: (one.ts_ns, len(one.trade_id), one.trade_id))

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
            self._fills.setdefault(fill.trade_id, msgspec.json.encode(fill))

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
