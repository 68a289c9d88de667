"""Live market data written to disk, for days."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from mmkit.clock import Clock, SystemClock
from mmkit.errors import FeedError, MmkitError
from mmkit.interfaces import DataSource
from mmkit.recording.market import Recording
from mmkit.run.assembly import live_sources, told_of

if TYPE_CHECKING:
    from mmkit.config import Config

_log = logging.getLogger("mmkit.record")

FLUSH_S = 0.75
"""How often everything is handed to the system. A kill may lose so much; a second is promised."""


class Recorded(msgspec.Struct, kw_only=True):
    """What was recorded of one market.

    Attributes:
        market: Its name in the configuration.
        venue: ccxt's exchange id.
        kind: ``spot``, ``usdm`` or ``coinm``.
        symbol: ccxt's unified symbol.
        tick: Smallest price step; a capture does not carry it.
        lot: Smallest quantity step.
        raw: Folder of the raw messages; empty if the source has none.
        rows_in: Folder of the rows.
        messages: Messages received.
        rows: Rows made of them.
        gaps: Times that the book became unknown.
        raw_bytes: Size of the messages.
        stored_bytes: What they take on disk.
        parts: Parquet files written.
        parts_bytes: Their size.
    """

    market: str
    venue: str
    kind: str
    symbol: str
    tick: str
    lot: str
    raw: str
    rows_in: str
    messages: int
    rows: int
    gaps: int
    raw_bytes: int
    stored_bytes: int
    parts: int
    parts_bytes: int


class Summary(msgspec.Struct, kw_only=True):
    """What one session of recording came to.

    Attributes:
        seconds: How long it was.
        ended: Why it ended, in words.
        markets: Each market, in the order of the configuration.
    """

    seconds: float
    ended: str
    markets: list[Recorded]


class LiveRecording:
    """What a session shows while it goes on.

    Attributes:
        recordings: By market.
        clock: The run's.
        start_ns: When it began.
    """

    def __init__(self, recordings: Mapping[str, Recording], clock: Clock, start_ns: int) -> None:
        self.recordings, self.clock, self.start_ns = recordings, clock, start_ns


Watcher = Callable[[LiveRecording], contextlib.AbstractAsyncContextManager[None]]
"""Shows a session while it goes on."""


async def record(
    config: Config,
    *,
    duration_ns: int | None = None,
    watcher: Watcher | None = None,
    clock: Clock | None = None,
) -> tuple[Summary, MmkitError | None, bool]:
    """Record every market of the configuration until `duration_ns` has passed, Ctrl-C, SIGTERM, or a failure.

    Returns:
        What was recorded; what ended it early, if something did; and whether it was interrupted.

    Raises:
        MmkitError: if it could not begin.
    """
    clock = clock or SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        sources = await stack.enter_async_context(live_sources(config, clock))
        recordings: dict[str, Recording] = {}
        for market, source in sources.items():
            with told_of(market):
                recordings[market] = await _open(config, source)
            stack.callback(recordings[market].close)
        for market, recording in recordings.items():
            with told_of(market):
                recording.begin(clock.now_ns())
        live = LiveRecording(recordings, clock, clock.now_ns())
        async with watcher(live) if watcher else contextlib.nullcontext():
            failure, interrupted = await _Loop(live, sources).run(duration_ns)
        ended = str(failure) if failure else "interrupted" if interrupted else "time was up"
        return _summary(live, ended), failure, interrupted


async def _open(config: Config, source: DataSource) -> Recording:
    instrument = await source.instrument()
    waiting: list[Recording] = []

    def tap(raw: bytes, ts_local: int, url: str = "") -> None:
        waiting[0].message(raw, ts_local, url)

    has_raw = source.tap(tap)
    if not has_raw:
        _log.warning(
            "the source has no raw messages, only rows are kept symbol=%s", instrument.symbol
        )
    waiting.append(Recording(config.userdir, instrument, raw=has_raw))
    return waiting[0]


class _Loop:
    """Lets every source run, and hands what it brings to the system, until something ends it."""

    def __init__(self, live: LiveRecording, sources: Mapping[str, DataSource]) -> None:
        self._live, self._sources = live, sources

    async def run(self, duration_ns: int | None) -> tuple[MmkitError | None, bool]:
        """Return what failed, if something did, and whether a signal ended it."""
        loop = asyncio.get_running_loop()
        interrupted = asyncio.Event()
        tasks = {
            *(loop.create_task(self._pump(market)) for market in self._sources),
            loop.create_task(self._flush()),
            loop.create_task(_wait(interrupted)),
        }
        signals = (signal.SIGINT, signal.SIGTERM)
        for number in signals:
            loop.add_signal_handler(number, interrupted.set)
        try:
            seconds = None if duration_ns is None else duration_ns / 1e9
            done, _ = await asyncio.wait(
                tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            failure = _failure(done)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for number in signals:
                loop.remove_signal_handler(number)
        why = "interrupted" if interrupted.is_set() else "its time was up"
        return self._stop(f"{failure}" if failure else why, failure), interrupted.is_set()

    async def _pump(self, market: str) -> None:
        recording = self._live.recordings[market]
        with told_of(market):
            async for rows in self._sources[market].stream():
                recording.take(rows)
            raise FeedError("the data source ended by itself; a live one goes on for ever")

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            for market, recording in self._live.recordings.items():
                with told_of(market):
                    recording.flush()
                    if recording.turned():
                        # So that the new day's file can be read without the one before.
                        self._sources[market].ask_snapshot()

    def _stop(self, why: str, failure: MmkitError | None) -> MmkitError | None:
        """Write down that it ends; one that cannot does not keep the others from it."""
        for market, recording in self._live.recordings.items():
            try:
                with told_of(market):
                    recording.stop(self._live.clock.now_ns(), why)
            except MmkitError as error:
                failure = failure or error
        return failure


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def _failure(done: set[asyncio.Task[None]]) -> MmkitError | None:
    """Return the error that ended it; re-raise one that is no error of ours to explain."""
    for task in done:
        error = task.exception()
        if isinstance(error, MmkitError):
            return error
        if error is not None:
            raise error
    return None


def _summary(live: LiveRecording, ended: str) -> Summary:
    markets = []
    for name, one in live.recordings.items():
        parts, parts_bytes = one.parts
        instrument = one.instrument
        markets.append(
            Recorded(
                market=name,
                venue=instrument.venue,
                kind=instrument.market,
                symbol=instrument.symbol,
                tick=f"{instrument.tick:f}",
                lot=f"{instrument.lot:f}",
                raw=str(one.place.raw) if one.has_raw else "",
                rows_in=str(one.place.partition),
                messages=one.messages,
                rows=one.rows,
                gaps=one.gaps,
                raw_bytes=one.raw.size,
                stored_bytes=one.raw.stored,
                parts=parts,
                parts_bytes=parts_bytes,
            )
        )
    seconds = (live.clock.now_ns() - live.start_ns) / 1e9
    return Summary(seconds=round(seconds, 3), ended=ended, markets=markets)
