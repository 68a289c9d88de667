"""One market of a recording: opened, recorded, and tried again when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from mmkit.clock import Clock
from mmkit.errors import FeedError, MmkitError, PluginError, RunError, VenueError
from mmkit.instruments import Instrument
from mmkit.interfaces import DataSource
from mmkit.recording.market import Recording
from mmkit.run.assembly import data_source, told_of
from mmkit.tape import Row

if TYPE_CHECKING:
    from mmkit.config import Config

_log = logging.getLogger("mmkit.record")

FIRST_PAUSE_S = 5.0
"""Before a market that failed is tried again; twice as long after each further failure,"""
LONGEST_PAUSE_S = 300.0
"""but no longer than this. One that went well for so long begins with the first pause again."""


class RecordedMarket:
    """Records one market; a failure of its source is its own and ends no other's recording.

    Args:
        config: Names its source.
        name: In the configuration.
        clock: The run's.
        endpoints: Addresses of running services.

    Attributes:
        spec: What it is.
        recording: What is written; `None` until the source has told its instrument.
        failure: What it failed with; `None` while it is recorded.
        failures: How often it failed.
        lost: Whether it failed for good: it is not tried again.
        retry_ns: When it is tried again, by the run's clock; 0 if it is not waiting for that.

    Raises:
        MmkitError: if its source cannot be built.
    """

    def __init__(
        self, config: Config, name: str, clock: Clock, endpoints: Mapping[str, str]
    ) -> None:
        self.name, self.spec = name, config.markets[name].spec
        self._config, self._clock, self._endpoints = config, clock, endpoints
        with told_of(name):
            self._source: DataSource | None = self._build()
        self.recording: Recording | None = None
        self.failure: MmkitError | None = None
        self.failures = 0
        self.lost = False
        self.retry_ns = 0

    @property
    def symbol(self) -> str:
        """ccxt's unified symbol."""
        return self.spec.symbol

    async def run(self, opening: asyncio.Semaphore, failed: Callable[[], None]) -> None:
        """Record until cancelled; return if there is no hope of data.

        Args:
            opening: Held while the venue is first asked and an earlier recording is mended.
            failed: Called after each failure.

        Raises:
            RunError: if the disk does not take it, or another process records here: no market could go on.
        """
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_S
        while True:
            began = loop.time()
            try:
                with told_of(self.name):
                    await self._attempt(opening)
            except RunError:
                raise
            except MmkitError as error:
                if loop.time() - began > LONGEST_PAUSE_S:
                    pause = FIRST_PAUSE_S
                self._fail(error, pause)
            await self.close_source()
            failed()
            if self.lost:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def ask_snapshot(self) -> None:
        """Ask for a snapshot of the book, if the market is being recorded."""
        if self._source is not None and self.failure is None:
            self._source.ask_snapshot()

    async def close_source(self) -> None:
        """Let go of the source; one that cannot be is told in the log."""
        source, self._source = self._source, None
        if source is not None:
            try:
                with _of_the_plugin():
                    await source.close()
            except MmkitError as error:
                _log.warning("not closed symbol=%s reason=%s", self.symbol, error)

    async def _attempt(self, opening: asyncio.Semaphore) -> None:
        if self._source is None:
            self._source = self._build()
        async with opening:
            recording = await self._open(self._source)
        if self.failure is not None:
            _log.info("recorded again symbol=%s", self.symbol)
        self.failure, self.retry_ns = None, 0
        async with contextlib.aclosing(_rows(self._source)) as stream:
            async for rows in stream:
                recording.take(rows)

    def _build(self) -> DataSource:
        return data_source(self._config, self._clock, self._endpoints, self.name)

    async def _open(self, source: DataSource) -> Recording:
        with _of_the_plugin():
            instrument = await source.instrument()
        if self.recording is not None and instrument != self.recording.instrument:
            raise FeedError(
                f"{self.symbol}: the instrument as it was at the beginning was expected; found {instrument}, "
                f"not {self.recording.instrument}; start again to record it so"
            )
        opened: list[Recording] = []

        def tap(raw: bytes, ts_local: int, url: str = "") -> None:
            opened[0].message(raw, ts_local, url)

        has_raw = source.tap(tap)
        if self.recording is None:
            if not has_raw:
                words = "the source has no raw messages, only rows are kept symbol=%s"
                _log.warning(words, self.symbol)
            # In a thread: to read what an earlier session left of today takes seconds, and others are recorded.
            beginning = asyncio.ensure_future(asyncio.to_thread(self._begin, instrument, has_raw))
            try:
                await asyncio.shield(beginning)
            finally:
                self.recording = await beginning
        else:
            self.recording.resume(self._clock.now_ns())
        opened.append(self.recording)
        return self.recording

    def _begin(self, instrument: Instrument, has_raw: bool) -> Recording:
        recording = Recording(self._config.userdir, instrument, raw=has_raw)
        try:
            recording.begin(self._clock.now_ns())
        except BaseException:
            recording.close()
            raise
        return recording

    def _fail(self, error: MmkitError, pause: float) -> None:
        now = self._clock.now_ns()
        self.failure = error
        self.failures += 1
        self.lost = not isinstance(error, VenueError) or error.hopeless
        if self.lost:
            self.retry_ns = 0
            _log.error("failed, not tried again symbol=%s reason=%s", self.symbol, error)
        else:
            self.retry_ns = now + round(pause * 1e9)
            _log.warning(
                "failed, tried again in %.0f s symbol=%s reason=%s", pause, self.symbol, error
            )
        if self.recording is not None:
            with told_of(self.name):
                self.recording.pause(now, f"the market failed: {error}")


@contextlib.contextmanager
def _of_the_plugin() -> Iterator[None]:
    """Tell in mmkit's errors what goes wrong in a source."""
    try:
        yield
    except MmkitError:
        raise
    except Exception as error:
        _log.exception("the data source failed")
        raise PluginError(
            f"the data source was expected to bring rows or say what is wrong; found {type(error).__name__}: "
            f"{error}; that is a fault in the plugin: report it with the lines of the log"
        ) from error


async def _rows(source: DataSource) -> AsyncGenerator[list[Row]]:
    """Yield what a source does."""
    with _of_the_plugin():
        stream = source.stream()
        try:
            async for rows in stream:
                yield rows
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
    raise FeedError("the data source ended by itself; a live one goes on for ever")
