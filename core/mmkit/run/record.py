"""Live market data written to disk, for days."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from mmkit.clock import Clock, SystemClock
from mmkit.errors import MmkitError
from mmkit.run.assembly import services, told_of
from mmkit.run.record_market import RecordedMarket
from mmkit.run.stopping import on_stop

if TYPE_CHECKING:
    from mmkit.config import Config

FLUSH_S = 0.75
"""How often everything is handed to the system. A kill may lose so much; a second is promised."""
SNAPSHOT_EVERY_S = 1.0
"""Between two requests for the snapshots that a day begins with. One of Binance's weighs 50 on spot, 20 on
USD-M: so they take half of what it allows an address a minute (6000, 2400), however many symbols there are."""
_OPENING = 8  # markets that ask for their instrument at once
_INTERRUPTED = "interrupted"


class Recorded(msgspec.Struct, kw_only=True):
    """What was recorded of one market.

    Attributes:
        market: Its name in the configuration.
        venue: ccxt's exchange id.
        kind: ``spot``, ``usdm`` or ``coinm``.
        symbol: ccxt's unified symbol.
        failed: Why it was not recorded at the end; empty if it was.
        failures: How often it failed; it may have been recorded again since.
        tick: Smallest price step; a capture does not carry it. Empty if it never began.
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
    failed: str
    failures: int
    tick: str = ""
    lot: str = ""
    raw: str = ""
    rows_in: str = ""
    messages: int = 0
    rows: int = 0
    gaps: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    parts: int = 0
    parts_bytes: int = 0


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
        markets: By their names in the configuration.
        clock: The run's.
        start_ns: When it began.
        recent: The last lines of the log, oldest first, with their times.
    """

    def __init__(self, markets: Mapping[str, RecordedMarket], clock: Clock, start_ns: int) -> None:
        self.markets, self.clock, self.start_ns = markets, clock, start_ns
        self.recent: list[tuple[int, str]] = []

    @property
    def messages(self) -> int:
        """Messages of all markets so far."""
        recordings = [one.recording for one in self.markets.values()]
        return sum(one.messages for one in recordings if one is not None)

    def remember(self, ts_local: int, line: str) -> None:
        """Keep `line` among the last few."""
        self.recent.append((ts_local, line))
        del self.recent[:-40]


Watcher = Callable[[LiveRecording], contextlib.AbstractAsyncContextManager[None]]
"""Shows a session while it goes on."""


async def record(
    config: Config,
    *,
    duration_ns: int | None = None,
    watcher: Watcher | None = None,
    clock: Clock | None = None,
) -> tuple[Summary, MmkitError | None, bool]:
    """Record every market of the configuration until `duration_ns` has passed, Ctrl-C or SIGTERM.

    A market that fails ends no other: it is tried again when there is hope. A disk that takes no more ends
    all of them.

    Returns:
        What was recorded; what ended it early, or else what the first market that is not recorded at the
        end failed with; and whether it was interrupted.

    Raises:
        MmkitError: if no market could begin.
    """
    clock = clock or SystemClock()
    async with contextlib.AsyncExitStack() as stack:
        endpoints = await stack.enter_async_context(services(config, clock))
        markets: dict[str, RecordedMarket] = {}
        stack.push_async_callback(_close, markets)
        for name in config.markets:
            markets[name] = RecordedMarket(config, name, clock, endpoints)
        live = LiveRecording(markets, clock, clock.now_ns())
        async with watcher(live) if watcher else contextlib.nullcontext():
            failure, ended = await _Loop(live).run(duration_ns)
        failed = next((one.failure for one in markets.values() if one.failure is not None), None)
        if (failure := failure or failed) and not _begun(live):
            raise failure
        return _summary(live, ended), failure, ended == _INTERRUPTED


async def _close(markets: Mapping[str, RecordedMarket]) -> None:
    for market in markets.values():
        await market.close_source()
        if market.recording is not None:
            market.recording.close()


def _begun(live: LiveRecording) -> bool:
    return any(one.recording is not None for one in live.markets.values())


class _Loop:
    """Lets every market run, and hands what it brings to the system, until something ends it."""

    def __init__(self, live: LiveRecording) -> None:
        self._live = live
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._begin_day: asyncio.Queue[RecordedMarket] = asyncio.Queue()

    async def run(self, duration_ns: int | None) -> tuple[MmkitError | None, str]:
        """Return what ended all of it, if something did, and why it ended, in words."""
        loop = asyncio.get_running_loop()
        opening = asyncio.Semaphore(_OPENING)
        jobs = [one.run(opening, self._look) for one in self._live.markets.values()]
        jobs += [self._flush(), self._ask_snapshots()]
        tasks = [loop.create_task(self._guard(job)) for job in jobs]
        with on_stop(partial(self._end, _INTERRUPTED)):
            try:
                seconds = None if duration_ns is None else duration_ns / 1e9
                await asyncio.wait([self._ended], timeout=seconds)
                self._end("time was up")
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        error = self._ended.exception()
        if error is not None and not isinstance(error, MmkitError):
            raise error
        ended = str(error) if error else self._ended.result()
        return self._stop(ended, error), ended

    async def _guard(self, job: Coroutine[None, None, None]) -> None:
        """Let what a job raises end everything."""
        try:
            await job
        except Exception as error:  # noqa: BLE001 - `run` raises it, or returns it if it is ours
            if not self._ended.done():
                self._ended.set_exception(error)

    def _end(self, why: str) -> None:
        if not self._ended.done():
            self._ended.set_result(why)

    def _look(self) -> None:
        """End it if there is nothing left to wait for."""
        markets = self._live.markets.values()
        # That none can begin is for the user to know now, not after days of trying again.
        hopeless = not _begun(self._live) and all(one.failure for one in markets)
        if hopeless or all(one.lost for one in markets):
            self._end("every market failed" if len(markets) > 1 else "the market failed")

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            for name, market in self._live.markets.items():
                if (recording := market.recording) is None:
                    continue
                with told_of(name):
                    recording.flush()
                if recording.turned():
                    self._begin_day.put_nowait(market)

    async def _ask_snapshots(self) -> None:
        """Ask for a snapshot where a new day's file has begun, so that it can be read without the one before."""
        while True:
            market = await self._begin_day.get()
            market.ask_snapshot()
            await asyncio.sleep(SNAPSHOT_EVERY_S)

    def _stop(self, why: str, failure: MmkitError | None) -> MmkitError | None:
        """Write down that it ends; one that cannot does not keep the others from it."""
        for name, market in self._live.markets.items():
            if market.recording is None:
                continue
            try:
                with told_of(name):
                    market.recording.stop(self._live.clock.now_ns(), why)
            except MmkitError as error:
                failure = failure or error
        return failure


def _summary(live: LiveRecording, ended: str) -> Summary:
    seconds = (live.clock.now_ns() - live.start_ns) / 1e9
    markets = [_recorded(market) for market in live.markets.values()]
    return Summary(seconds=round(seconds, 3), ended=ended, markets=markets)


def _recorded(market: RecordedMarket) -> Recorded:
    told = Recorded(
        market=market.name,
        venue=market.spec.venue,
        kind=market.spec.market,
        symbol=market.symbol,
        failed=str(market.failure or ""),
        failures=market.failures,
    )
    if (one := market.recording) is not None:
        told.tick, told.lot = f"{one.instrument.tick:f}", f"{one.instrument.lot:f}"
        told.raw = str(one.place.raw) if one.has_raw else ""
        told.rows_in = str(one.place.partition)
        told.messages, told.rows, told.gaps = one.messages, one.rows, one.gaps
        told.raw_bytes, told.stored_bytes = one.raw.size, one.raw.stored
        told.parts, told.parts_bytes = one.parts
    return told
