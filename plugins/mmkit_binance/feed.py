"""What arrives over a run's connections about one instrument, taken in one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, NamedTuple

from mmkit.errors import FeedError, OffGrid
from mmkit.interfaces import RawTap, Receive
from mmkit.tape import GapReason, Row
from mmkit_binance import messages
from mmkit_binance.allowance import Rank, Weight, depth_weight
from mmkit_binance.burst import Burst
from mmkit_binance.messages import decode, excerpt
from mmkit_binance.rest import RequestError, Rest, patiently
from mmkit_binance.roster import roster
from mmkit_binance.sockets import Item, What
from mmkit_binance.subscription import Subscription
from mmkit_binance.traded import Traded
from mmkit_binance.wire import BinanceWire

_log = logging.getLogger("mmkit.binance")

_AT_ONCE = 1000  # messages; then others of the run have their turn
_SNAPSHOT_DELAYS_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
_CONFIRM_DELAY_S = 0.1  # to the second snapshot: the book has moved on by then
_FIRST_SNAPSHOTS = 5  # so many that cannot be read, before any that can, are an error
_SHOWN = 300  # bytes of what made a book wrong, in the log
_DOUBTED_S = 60.0  # for so long, books that cannot be right slow the asking for snapshots


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
        tap: Handed every message that rows are made of, and the snapshots, when they are taken in.
    """

    def __init__(
        self,
        wire: BinanceWire,
        rest: Rest,
        native: str,
        streams: Subscription,
        *,
        snapshot_limit: int,
        tap: RawTap | None = None,
    ) -> None:
        self._wire, self._rest, self._native = wire, rest, native
        self._streams, self._snapshot_limit, self._tap = streams, snapshot_limit, tap
        self._burst = Burst(wire)
        self._generation = 0  # losses so far
        self._snapshot_task: asyncio.Task[None] | None = None
        self._snapshots_asked = 0  # since the book was last known
        self._doubts = 0  # books of late that could not be right
        self._doubted_at = 0.0
        self._refused = 0  # snapshots that the log knows of
        self._synchronised = False
        self._candidates: list[bytes] = []  # snapshots received while the book was unknown
        self._left: set[str] = set()  # routes that we hang up, which has been told
        self._told_loss = True  # before the first message there is nothing to lose
        self._traded = Traded(rest, wire.instrument.market, native, streams)

    def start(self) -> None:
        """Open the connections."""
        roster().put(self, known=False)
        self._streams.start()

    async def stop(self) -> None:
        """Close the connections; return when everything that was started has ended."""
        roster().remove(self)
        await self._traded.stop()
        if self._snapshot_task is not None:
            self._snapshot_task.cancel()
            await asyncio.gather(self._snapshot_task, return_exceptions=True)
        await self._streams.stop()

    async def rows(
        self, now_ns: Callable[[], int], offset: int, receive: Receive | None = None
    ) -> AsyncIterator[list[Row]]:
        """Yield what arrives as rows.

        Args:
            now_ns: The run's clock.
            offset: How far the venue's clock is ahead of it; taken off the venue's times.
            receive: Is handed rows in place of their being yielded, where they can be made at once.

        Raises:
            FeedError: if a first contact failed, a message cannot be read, or a stream that must speak
                never has.
        """
        if receive is not None:
            self._streams.offer(lambda item: self._hand_over(item, now_ns, offset, receive))
        async for item in self._streams:
            items = [item]
            if item.what is What.MESSAGE and self._synchronised:
                # What has piled up is taken in together: nothing is gained by doing it later. While the book is
                # unknown one by one, so that a recording has the snapshot where the book became known.
                items += self._streams.more(_AT_ONCE)
            while items:
                # From here to the yield nothing is awaited: no timer of the run can come between.
                if rows := self._rows(items, now_ns(), offset):
                    yield rows

    def _hand_over(
        self, item: Item, now_ns: Callable[[], int], offset: int, receive: Receive
    ) -> bool:
        """Take in a message now, as the iteration would; return False if it has to."""
        if not self._synchronised:
            return False
        try:
            rows = self._rows([item], now_ns(), offset)
        except Exception as error:  # noqa: BLE001 - raised by the iteration
            self._streams.offer(None)
            self._streams.give(Item(What.FAILED, None, error))
        else:
            if rows:
                receive(rows)
        return True

    def _rows(self, items: list[Item], now: int, offset: int) -> list[Row]:
        """Take in the first of what has happened, and what belongs to it; remove them."""
        rows = self._take(items, now, now + offset)
        if offset:
            rows = [(row[0] - offset, now, *row[2:]) for row in rows]
        self._ask_for_snapshot()
        return rows

    def ask_snapshot(self) -> None:
        """Request a snapshot, unless one is on its way or will be asked for anyway."""
        if self._snapshot_task is None and self._synchronised:
            self._snapshot_task = self._streams.spawn(self._fetch_snapshot(self._generation, 0.0))

    def _take(self, items: list[Item], now: int, ts_local: int) -> list[Row]:
        """Take in the first of what has happened, and the messages behind it that belong to it; remove them."""
        item = items[0]
        rows: list[Row] = []
        match item.what:
            case What.MESSAGE:
                self._told_loss = False
                rows = self._take_messages(items, now, ts_local)
            case What.SNAPSHOT:
                rows = self._take_snapshot(item.content, now, ts_local)
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
            case What.OVERRUN:
                _log.warning(
                    "more arrived than was taken, messages are lost symbol=%s", self._native
                )
                rows = self._lose(GapReason.CONNECTION, ts_local)
            case What.OPENED:
                pass
            case What.UNHEARD:
                self._traded.look(item, ts_local)
            case _:
                raise item.content
        if item.what is not What.MESSAGE:
            del items[0]
        known = self._synchronised
        self._note_state()
        if self._tap is not None and self._synchronised and not known:
            self._hand_over_opening(now, self._tap)
        return rows

    def _take_messages(self, items: list[Item], now: int, ts_local: int) -> list[Row]:
        tap = self._tap
        try:
            number, rows = self._burst.take([item.content for item in items], ts_local)
        except FeedError as error:
            if tap is not None:
                tap(items[0].content, now)
            assert items[0].route is not None
            raise FeedError(f"{items[0].route.shown}: {error}") from error
        taken = items[:number]
        del items[:number]
        if self._traded.looking:
            for item in taken:
                self._traded.heard(item.stream)
        doubtful = taken.pop().content if self._wire.doubt else b""
        if tap is not None:
            # All but what makes the book wrong: it makes no rows here, and whoever reads it back would make some.
            for item in taken:
                tap(item.content, now)
        return [*rows, *self._doubted(doubtful, ts_local)]

    def _doubted(self, raw: bytes, ts_local: int) -> list[Row]:
        """Return the loss of a book that cannot be right since `raw`; nothing while nothing speaks against it."""
        if not (doubt := self._wire.doubt):
            return []
        _log.warning(
            "the book cannot be right symbol=%s: %s; since %s",
            self._native,
            doubt,
            excerpt(raw, _SHOWN),
        )
        self._doubts, self._doubted_at = self._doubts + 1, asyncio.get_running_loop().time()
        return self._lose(GapReason.CHECK, ts_local)

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
        if known is not self._synchronised:
            roster().put(self, known=known)
        self._synchronised = known

    def _take_snapshot(self, snapshot: _Snapshot, now: int, ts_local: int) -> list[Row]:
        if snapshot.generation != self._generation:
            return []  # asked for before the connection was lost
        self._snapshot_task = None
        if self._tap is not None:
            if self._synchronised:
                self._tell_snapshot(snapshot.raw, now, self._tap)
            else:
                # One of them will be the book; whoever reads them back trusts the first there is.
                self._candidates = [*self._candidates[-1:], snapshot.raw]
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
        return self._doubted(snapshot.raw, ts_local) or rows

    def _ask_for_snapshot(self) -> None:
        # Not before the first update: a snapshot tells nothing of a stream that stays silent.
        waiting = self._wire.wants_snapshot and self._wire.buffering
        if not waiting or self._snapshot_task is not None or self._streams.closed:
            return
        delay = 0.0
        if asyncio.get_running_loop().time() - self._doubted_at > _DOUBTED_S:
            self._doubts = 0
        if tries := max(self._snapshots_asked, self._doubts):
            delay = _SNAPSHOT_DELAYS_S[min(tries, len(_SNAPSHOT_DELAYS_S)) - 1]
        if self._wire.sync.confirming and tries == 1:
            delay = _CONFIRM_DELAY_S
        self._snapshots_asked += 1
        self._snapshot_task = self._streams.spawn(self._fetch_snapshot(self._generation, delay))

    async def _fetch_snapshot(self, generation: int, delay: float) -> None:
        await asyncio.sleep(delay)
        limit = self._snapshot_limit
        weight = depth_weight(self._wire.instrument.market, limit)

        def ask() -> Coroutine[Any, Any, bytes]:
            # Of many symbols some books are soon known, rather than every one half known for long.
            sync = self._wire.sync
            follows = weight if sync.confirm and not sync.confirming else 0
            rank = Rank.FOLLOWS if sync.confirming else Rank.LATER
            return self._rest.get(
                "depth", weight=Weight(weight, rank, follows), symbol=self._native, limit=limit
            )

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
