"""What arrives over a run's connections about one instrument, taken in one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, NamedTuple

from mmkit.errors import FeedError
from mmkit.tape import GapReason, Row
from mmkit_binance.allowance import depth_weight
from mmkit_binance.burst import Burst
from mmkit_binance.rest import RequestError, Rest, patiently
from mmkit_binance.sockets import Item, What
from mmkit_binance.streams import Streams
from mmkit_binance.wire import BinanceWire

_log = logging.getLogger("mmkit.binance")

_AT_ONCE = 1000  # messages; then others of the run have their turn
_SNAPSHOT_DELAYS_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


class _Snapshot(NamedTuple):
    """An answer to a request for the book, and after which loss it was asked for."""

    generation: int
    raw: bytes


class Feed:
    """The order in which what the streams and the snapshots bring is taken in.

    Args:
        wire: New; takes every message in.
        rest: Asked for snapshots.
        native: The venue's own name of the instrument.
        streams: Of this instrument; not started yet.
        snapshot_limit: Levels a side in a snapshot.
    """

    def __init__(
        self,
        wire: BinanceWire,
        rest: Rest,
        native: str,
        streams: Streams,
        *,
        snapshot_limit: int,
    ) -> None:
        self._wire, self._rest, self._native = wire, rest, native
        self._streams, self._snapshot_limit = streams, snapshot_limit
        self._burst = Burst(wire)
        self._generation = 0  # losses so far
        self._snapshot_task: asyncio.Task[None] | None = None
        self._snapshots_asked = 0  # since the book was last known
        self._synchronised = False
        self._left: set[str] = set()  # routes that we hang up, which has been told
        self._told_loss = True  # before the first message there is nothing to lose

    def start(self) -> None:
        """Open the connections."""
        self._streams.start()

    async def stop(self) -> None:
        """Close the connections; return when everything that was started has ended."""
        if self._snapshot_task is not None:
            self._snapshot_task.cancel()
            await asyncio.gather(self._snapshot_task, return_exceptions=True)
        await self._streams.stop()

    async def rows(self, now_ns: Callable[[], int], offset: int) -> AsyncIterator[list[Row]]:
        """Yield what arrives as rows.

        Args:
            now_ns: The run's clock.
            offset: How far the venue's clock is ahead of it; taken off the venue's times.

        Raises:
            FeedError: if a first contact failed, a message cannot be read, or a stream that must speak
                never has.
        """
        async for item in self._streams:
            # From here to the yield nothing is awaited: no timer of the run can come between.
            now = now_ns()
            rows = self._take(item, now + offset)
            if offset:
                rows = [(row[0] - offset, now, *row[2:]) for row in rows]
            self._ask_for_snapshot()
            if rows:
                yield rows

    def _take(self, item: Item, ts_local: int) -> list[Row]:
        rows: list[Row] = []
        match item.what:
            case What.MESSAGE:
                self._told_loss = False
                # What has piled up is taken in together: nothing is gained by doing it later.
                more = [one.content for one in self._streams.more(_AT_ONCE)]
                try:
                    rows = self._burst.take([item.content, *more], ts_local)
                except FeedError as error:
                    assert item.route is not None
                    raise FeedError(f"{item.route.url}: {error}") from error
            case What.SNAPSHOT:
                rows = self._take_snapshot(item.content, ts_local)
            case What.LOST:
                assert item.route is not None
                # Once is enough when nothing has arrived since, as when silence made us hang up, or only
                # streams that went on while we did.
                ours = item.route.name in self._left and not self._synchronised
                self._left.discard(item.route.name)
                if not (self._told_loss or ours):
                    rows = self._lose(GapReason.CONNECTION, ts_local)
            case What.SILENCE | What.STALLED:
                if item.route is not None:
                    self._left.add(item.route.name)
                rows = self._lose(GapReason.SILENCE, ts_local)
            case What.OPENED:
                pass
            case _:
                raise item.content
        self._note_state()
        return rows

    def _lose(self, reason: int, ts_local: int) -> list[Row]:
        self._generation += 1
        self._told_loss = True
        self._snapshots_asked = 0
        if self._snapshot_task is not None:
            self._snapshot_task.cancel()
            self._snapshot_task = None
        return self._wire.lost(reason, ts_local)

    def _note_state(self) -> None:
        known = not self._wire.wants_snapshot
        if known and not self._synchronised:
            self._snapshots_asked = 0
            _log.info("synchronised symbol=%s", self._native)
        elif self._synchronised and not known:
            _log.warning("gap: the book is unknown symbol=%s", self._native)
        self._synchronised = known

    def _take_snapshot(self, snapshot: _Snapshot, ts_local: int) -> list[Row]:
        if snapshot.generation != self._generation:
            return []  # asked for before the connection was lost
        self._snapshot_task = None
        stale = self._wire.stats.stale_snapshots
        rows = self._wire.snapshot(snapshot.raw, ts_local)
        if self._wire.stats.stale_snapshots > stale:
            _log.warning("stale snapshot, asking again symbol=%s", self._native)
        return rows

    def _ask_for_snapshot(self) -> None:
        # Not before the first update: a snapshot tells nothing of a stream that stays silent.
        waiting = self._wire.wants_snapshot and self._wire.buffering
        if self._snapshot_task is not None or self._streams.closed or not waiting:
            return
        delay = 0.0
        if self._snapshots_asked:
            delay = _SNAPSHOT_DELAYS_S[min(self._snapshots_asked, len(_SNAPSHOT_DELAYS_S)) - 1]
        self._snapshots_asked += 1
        self._snapshot_task = self._streams.spawn(self._fetch_snapshot(self._generation, delay))

    async def _fetch_snapshot(self, generation: int, delay: float) -> None:
        await asyncio.sleep(delay)

        def ask() -> Coroutine[Any, Any, bytes]:
            limit = self._snapshot_limit
            weight = depth_weight(self._wire.instrument.market, limit)
            return self._rest.get("depth", weight=weight, symbol=self._native, limit=limit)

        while True:
            try:
                raw = await patiently("depth", ask)
                break
            except RequestError as error:
                if not self._wire.stats.snapshots:
                    await self._streams.put(Item(What.FAILED, None, error))
                    return
                _log.warning("no snapshot, trying on reason=%s", error)
                await asyncio.sleep(max(error.retry_after_s, _SNAPSHOT_DELAYS_S[-1]))
        await self._streams.put(Item(What.SNAPSHOT, None, _Snapshot(generation, raw)))
