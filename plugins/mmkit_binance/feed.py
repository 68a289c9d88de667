"""What arrives over a run's connections, taken in one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from mmkit.errors import FeedError, OffGrid
from mmkit.interfaces import RawTap
from mmkit.tape import GapReason, Row
from mmkit_binance import messages
from mmkit_binance.endpoints import Addresses, Route
from mmkit_binance.messages import decode
from mmkit_binance.rest import RequestError, Rest, patiently
from mmkit_binance.sockets import Connection, Item, What
from mmkit_binance.wire import BinanceWire

_log = logging.getLogger("mmkit.binance")

_WAITING = 10_000  # messages received and not yet taken; then the reading waits
_SNAPSHOT_DELAYS_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
_CONFIRM_DELAY_S = 0.1  # to the second snapshot: the book has moved on by then
_FIRST_SNAPSHOTS = 5  # so many that cannot be read, before any that can, are an error
_DOUBTED_S = 60.0  # for so long, books that cannot be right slow the asking for snapshots


class _Snapshot(NamedTuple):
    """An answer to a request for the book, and after which loss it was asked for."""

    generation: int
    raw: bytes


class Feed:
    """The connections of one stream and the order in which what they bring is taken in.

    Args:
        wire: New; takes every message in.
        rest: Asked for snapshots.
        native: The venue's own name of the instrument.
        routes: What to connect to.
        silence_s: Connect anew when nothing has arrived for so long.
        snapshot_limit: Levels a side in a snapshot.
        tap: Handed every message that the wire format is.
        behind_s: Connect anew when trades have been told for so long without an update of the book.
    """

    def __init__(
        self,
        wire: BinanceWire,
        rest: Rest,
        native: str,
        routes: Sequence[Route],
        *,
        silence_s: float,
        snapshot_limit: int,
        tap: RawTap | None = None,
        behind_s: float = 3.0,
    ) -> None:
        self._wire, self._rest, self._native = wire, rest, native
        self._silence_s, self._snapshot_limit = silence_s, snapshot_limit
        self._behind_ns = round(behind_s * 1e9)
        self._routes, self._tap = routes, tap
        self._queue: asyncio.Queue[Item] = asyncio.Queue(_WAITING)
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: list[Connection] = []
        self._closed = {route.name for route in routes}
        # Streams that have delivered nothing since they were opened.
        self._missing: set[str] = set()
        self._generation = 0  # losses so far
        self._snapshot_task: asyncio.Task[None] | None = None
        self._snapshots_asked = 0  # since the book was last known
        self._doubts = 0  # books of late that could not be right
        self._doubted = 0.0
        self._refused = 0  # snapshots that the log knows of
        self._synchronised = False
        self._candidates: list[bytes] = []  # snapshots received while the book was unknown
        self._told_loss = True  # before the first message there is nothing to lose
        self._heard = asyncio.get_running_loop().time()

    def start(self, addresses: Addresses) -> None:
        """Open the connections."""
        for route in self._routes:
            connection = Connection(route, addresses, self._queue.put)
            self._connections.append(connection)
            self._spawn(connection.run())
        self._spawn(self._watch())

    async def stop(self) -> None:
        """Close the connections; return when everything that was started has ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def rows(self, now_ns: Callable[[], int], offset: int) -> AsyncIterator[list[Row]]:
        """Yield what arrives as rows.

        Args:
            now_ns: The run's clock.
            offset: How far the venue's clock is ahead of it; taken off the venue's times.

        Raises:
            FeedError: if a first contact failed, or a message cannot be read.
        """
        while True:
            item = await self._queue.get()
            # From here to the yield nothing is awaited: no timer of the run can come between.
            now = now_ns()
            if self._tap is not None:
                self._hand_over(item, now, self._tap)
            known = self._synchronised
            rows = self._take(item, now + offset)
            if self._tap is not None and self._synchronised and not known:
                self._hand_over_opening(now, self._tap)
            if offset:
                rows = [(row[0] - offset, now, *row[2:]) for row in rows]
            self._ask_for_snapshot()
            if rows:
                yield rows

    def ask_snapshot(self) -> None:
        """Request a snapshot, unless one is on its way or will be asked for anyway."""
        if self._snapshot_task is None and self._synchronised:
            self._snapshot_task = self._spawn(self._fetch_snapshot(self._generation, 0.0))

    def _hand_over(self, item: Item, now: int, tap: RawTap) -> None:
        if item.what is What.MESSAGE:
            tap(item.content, now)
        elif item.what is What.SNAPSHOT and item.content.generation == self._generation:
            if self._synchronised:
                self._tell_snapshot(item.content.raw, now, tap)
            else:
                # One of them will be the book; whoever reads them back trusts the first there is.
                self._candidates = [*self._candidates[-1:], item.content.raw]

    def _hand_over_opening(self, now: int, tap: RawTap) -> None:
        """Hand over the snapshot that the book has just been built from."""
        for raw in self._candidates:
            with contextlib.suppress(FeedError):  # one that cannot be read is not it
                found = decode(messages.depth_snapshot, raw, "the book")
                if found.last == self._wire.sync.opened:
                    self._tell_snapshot(raw, now, tap)
                    break
        self._candidates.clear()

    def _tell_snapshot(self, raw: bytes, now: int, tap: RawTap) -> None:
        query = f"symbol={self._native}&limit={self._snapshot_limit}"
        tap(raw, now, f"{self._rest.root}/depth?{query}")

    def _take(self, item: Item, ts_local: int) -> list[Row]:
        wire = self._wire
        if item.what is What.MESSAGE:
            self._heard = asyncio.get_running_loop().time()
            self._told_loss = False
            if self._missing:
                self._note_stream(item.content)
            try:
                rows = wire.message(item.content, ts_local)
            except FeedError as error:
                assert item.route is not None
                raise FeedError(f"{item.route.url}: {error}") from error
        elif item.what is What.SNAPSHOT:
            rows = self._take_snapshot(item.content, ts_local)
        elif item.what is What.LOST:
            assert item.route is not None
            _log.warning("lost route=%s reason=%s", item.route.name, item.content)
            self._closed.add(item.route.name)
            # Once is enough when nothing has arrived since, as when silence made us hang up.
            rows = [] if self._told_loss else self._lose(GapReason.CONNECTION, ts_local)
        elif item.what is What.SILENCE:
            _log.warning("silence: nothing arrived seconds=%.1f, connecting anew", self._silence_s)
            rows = self._lose(GapReason.SILENCE, ts_local)
        elif item.what is What.OPENED:
            assert item.route is not None
            _log.info("connected route=%s url=%s", item.route.name, item.route.url)
            self._closed.discard(item.route.name)
            self._missing.update(item.route.streams)
            loop = asyncio.get_running_loop()
            self._heard = loop.time()
            loop.call_later(self._silence_s, self._warn_of_missing)
            rows = []
        else:
            raise item.content
        if doubt := wire.doubt:
            _log.warning("the book cannot be right symbol=%s: %s", self._native, doubt)
            self._doubts, self._doubted = self._doubts + 1, asyncio.get_running_loop().time()
            # What made it so is not told.
            rows = self._lose(GapReason.CHECK, ts_local)
        elif self._synchronised and wire.pulse.behind(ts_local) > self._behind_ns:
            _log.warning(
                "silence: %d trades and no update of the book in %.1f s, connecting anew symbol=%s",
                wire.pulse.trades,
                wire.pulse.behind(ts_local) / 1e9,
                self._native,
            )
            rows += self._lose(GapReason.SILENCE, ts_local)
            for connection in self._connections:
                self._spawn(connection.drop())
        self._note_state()
        return rows

    def _lose(self, reason: int, ts_local: int) -> list[Row]:
        self._generation += 1
        self._candidates.clear()
        self._told_loss = True
        self._snapshots_asked = 0
        if self._snapshot_task is not None:
            self._snapshot_task.cancel()
            self._snapshot_task = None
        return self._wire.lost(reason, ts_local)

    def _note_state(self) -> None:
        if (refused := self._wire.stats.refused_snapshots) > self._refused:
            # Found out by the updates between them, which may have come later.
            self._refused = refused
            _log.warning("two snapshots disagree, asking again symbol=%s", self._native)
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
        try:
            rows = self._wire.snapshot(snapshot.raw, ts_local)
        except (FeedError, OffGrid) as error:
            # An answer cut short, or of another symbol; the next one may be right.
            if not self._wire.stats.snapshots and self._snapshots_asked > _FIRST_SNAPSHOTS:
                raise
            self._wire.stats.refused_snapshots += 1
            self._refused += 1
            _log.warning("snapshot refused, asking again symbol=%s reason=%s", self._native, error)
            return []
        if self._wire.stats.stale_snapshots > stale:
            _log.warning("stale snapshot, asking again symbol=%s", self._native)
        return rows

    def _ask_for_snapshot(self) -> None:
        # Not before the first update: a snapshot tells nothing of a stream that stays silent.
        waiting = self._wire.wants_snapshot and self._wire.buffering
        if self._snapshot_task is not None or self._closed or not waiting:
            return
        delay = 0.0
        if asyncio.get_running_loop().time() - self._doubted > _DOUBTED_S:
            self._doubts = 0
        if tries := max(self._snapshots_asked, self._doubts):
            delay = _SNAPSHOT_DELAYS_S[min(tries, len(_SNAPSHOT_DELAYS_S)) - 1]
        if self._wire.sync.confirming and tries == 1:
            delay = _CONFIRM_DELAY_S
        self._snapshots_asked += 1
        self._snapshot_task = self._spawn(self._fetch_snapshot(self._generation, delay))

    async def _fetch_snapshot(self, generation: int, delay: float) -> None:
        await asyncio.sleep(delay)

        def ask() -> Coroutine[Any, Any, bytes]:
            return self._rest.get("depth", symbol=self._native, limit=self._snapshot_limit)

        while True:
            try:
                raw = await patiently("depth", ask)
                break
            except RequestError as error:
                if not self._wire.stats.snapshots:
                    await self._queue.put(Item(What.FAILED, None, error))
                    return
                _log.warning("no snapshot, trying on reason=%s", error)
                await asyncio.sleep(max(error.retry_after_s, _SNAPSHOT_DELAYS_S[-1]))
        await self._queue.put(Item(What.SNAPSHOT, None, _Snapshot(generation, raw)))

    async def _watch(self) -> None:
        """Tell when nothing has arrived for too long, and name streams that deliver nothing."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(0.01, self._heard + self._silence_s - loop.time()))
            if self._closed or loop.time() - self._heard < self._silence_s:
                if self._closed:
                    self._heard = loop.time()  # a lost connection is told by itself
                continue
            self._heard = loop.time()
            await self._queue.put(Item(What.SILENCE))
            for connection in self._connections:
                await connection.drop()

    def _warn_of_missing(self) -> None:
        if self._missing:
            _log.warning(
                "streams that have delivered nothing: %s", ", ".join(sorted(self._missing))
            )

    def _note_stream(self, raw: str | bytes) -> None:
        text = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
        self._missing = {name for name in self._missing if f'"{name}"' not in text[:200]}

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        """Let a fault of ours end the stream rather than silence it."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - told to whoever reads the rows
            await self._queue.put(Item(What.FAILED, None, error))
