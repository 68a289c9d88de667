"""Binance's market data as it happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
from pydantic import BeforeValidator, Field

from mmkit.errors import ConfigError, FeedError, Mistake
from mmkit.instruments import Instrument
from mmkit.interfaces import DataSource, PluginConfig, SourceContext, WireFormatContext
from mmkit.tape import FeedStats, GapReason, Row
from mmkit.units import Duration
from mmkit_binance.endpoints import Endpoint, Route, Speed, addresses, routes, speed_mistakes
from mmkit_binance.listing import not_listed, parse_listing
from mmkit_binance.messages import decode
from mmkit_binance.rest import RequestError, Rest, patiently
from mmkit_binance.sockets import Connection, Item, What
from mmkit_binance.wire import BinanceConfig, BinanceWire, stream_mistakes

_log = logging.getLogger("mmkit.binance")

_WAITING = 10_000  # messages received and not yet taken; then the reading waits
_TIME_SAMPLES = 5
_QUIET_S = 1.0
"""A market without an update for so long after connecting gets its snapshot all the same."""
_SNAPSHOT_DELAYS_S = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
_USDM_LIMITS = (5, 10, 20, 50, 100, 500, 1000)
_INVALID_SYMBOL = b"-1121"


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class BinanceSourceConfig(PluginConfig):
    """What may be written beside ``plugin: binance``."""

    endpoint: Endpoint = Field("live", description="live, testnet, demo, or the local sandbox.")
    streams: Annotated[tuple[str, ...], BeforeValidator(_listed)] | None = Field(
        None,
        description="Which streams become rows; by default depth and trade, on USD-M depth and "
        "aggTrade, as trade is not documented there.",
    )
    speed: Speed = Field("100ms", description="How often depth is told.")
    snapshot_limit: int = Field(
        1000, ge=5, le=5000, description="Levels a side in a snapshot; 5000 on spot, 1000 on USD-M."
    )
    silence: Duration = Field(
        30_000_000_000,
        gt=0,
        description="Connect anew when nothing has arrived for so long; longer for a quiet market.",
    )
    url: str | None = Field(None, description="Root of the streams, in place of the endpoint's.")
    rest_url: str | None = Field(
        None, description="Root of REST up to /api or /fapi, in place of the endpoint's."
    )


class _ServerTime(msgspec.Struct):
    time: int = msgspec.field(name="serverTime")


_server_time = msgspec.json.Decoder(_ServerTime)


class BinanceSource(DataSource):
    """Streams over websockets, snapshots over REST, synchronised anew after every loss."""

    def __init__(self, config: BinanceSourceConfig, context: SourceContext) -> None:
        spec = context.spec
        self._config, self._context = config, context
        self._addresses = addresses(
            spec.venue,
            spec.market,
            config.endpoint,
            context.endpoints,
            url=config.url,
            rest_url=config.rest_url,
        )
        self._streams = config.streams or (
            "depth",
            "aggTrade" if spec.market == "usdm" else "trade",
        )
        mistakes = [
            *stream_mistakes(spec.venue, spec.market, self._streams),
            *speed_mistakes(spec.market, config.speed),
        ]
        if spec.market == "usdm" and config.snapshot_limit not in _USDM_LIMITS:
            there = ", ".join(map(str, _USDM_LIMITS))
            found = f"one of {there} was expected on usdm; found {config.snapshot_limit}"
            mistakes.append(Mistake("", "data.snapshot_limit", found))
        if mistakes:
            raise ConfigError(mistakes)
        self._instrument: Instrument | None = None
        self.stats = FeedStats()

    async def instrument(self) -> Instrument:
        """Return the instrument as the venue lists it; asked once.

        Raises:
            ConfigError: if it is not listed, or the user's grid is another.
            FeedError: if the venue cannot be asked.
        """
        if self._instrument is None:
            spec = self._context.spec
            # USD-M's exchangeInfo knows no such parameter and lists everything.
            only = {"symbol": spec.base + spec.quote} if spec.market == "spot" else {}
            async with Rest(self._addresses) as rest:
                try:
                    raw = await patiently("exchangeInfo", lambda: rest.get("exchangeInfo", **only))
                except RequestError as error:
                    if _INVALID_SYMBOL in str(error).encode():
                        raise ConfigError([not_listed(spec, [])]) from error
                    raise
            self._instrument = parse_listing(raw, spec)
        return self._instrument

    async def stream(self) -> AsyncIterator[list[Row]]:
        """Yield rows as they arrive, for ever.

        Every time is on the run's clock: a message is stamped in the moment it is taken from those
        received, and the venue's times are moved by the difference between the clocks, measured once.

        Raises:
            FeedError: if the venue cannot be reached at first, or sends what cannot be read.
        """
        instrument = await self.instrument()
        async with Rest(self._addresses) as rest:
            offset = await self._measure_offset(rest)
            wire = BinanceWire(
                BinanceConfig(), WireFormatContext(instrument=instrument, streams=self._streams)
            )
            self.stats = wire.stats
            self.stats.clock_offset_ns = [offset]
            connections = routes(
                self._addresses,
                instrument.market,
                instrument.native,
                self._streams,
                self._config.speed,
            )
            feed = _Feed(self._config, wire, rest, instrument, connections)
            try:
                feed.start(self._addresses)
                async for rows in feed.rows(self._context.clock.now_ns, offset):
                    yield rows
            finally:
                await feed.stop()

    async def _measure_offset(self, rest: Rest) -> int:
        """Return how far the venue's clock is ahead of ours, ns; 0 if that cannot be told from noise."""
        now_ns = self._context.clock.now_ns
        best: tuple[int, int] | None = None
        for _ in range(_TIME_SAMPLES):
            sent = now_ns()
            raw = await patiently("time", lambda: rest.get("time"))
            received = now_ns()
            # The venue cuts its time down to the millisecond: half of one on average.
            server = decode(_server_time, raw, "the server's time").time * 1_000_000 + 500_000
            sample = (received - sent, server - (sent + received) // 2)
            best = min(best, sample) if best else sample
        assert best is not None
        round_trip, offset = best
        certain = round_trip // 2 + 500_000
        _log.info("clock offset_ns=%d uncertain_ns=%d", offset, certain)
        return offset if abs(offset) > certain else 0


class _Snapshot(NamedTuple):
    """An answer to a request for the book, and after which loss it was asked for."""

    generation: int
    raw: bytes


class _Feed:
    """The connections of one stream and the order in which what they bring is taken in."""

    def __init__(
        self,
        config: BinanceSourceConfig,
        wire: BinanceWire,
        rest: Rest,
        instrument: Instrument,
        routes: Sequence[Route],
    ) -> None:
        self._config, self._wire, self._rest, self._instrument = config, wire, rest, instrument
        self._routes = routes
        self._queue: asyncio.Queue[Item] = asyncio.Queue(_WAITING)
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: list[Connection] = []
        self._closed = {route.name for route in routes}
        self._missing: set[str] = (
            set()
        )  # streams that have delivered nothing since they were opened
        self._generation = 0  # losses so far
        self._snapshot_task: asyncio.Task[None] | None = None
        self._snapshots_asked = 0  # since the book was last known
        self._synchronised = False
        self._told_loss = True  # before the first message there is nothing to lose
        self._opened = self._heard = asyncio.get_running_loop().time()

    def start(self, addresses: Any) -> None:
        for route in self._routes:
            connection = Connection(route, addresses, self._queue.put)
            self._connections.append(connection)
            self._spawn(connection.run())
        self._spawn(self._watch())

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def rows(self, now_ns: Any, offset: int) -> AsyncIterator[list[Row]]:
        while True:
            item = await self._queue.get()
            # From here to the yield nothing is awaited: no timer of the run can come between.
            now = now_ns()
            rows = self._take(item, now + offset)
            if offset:
                rows = [(row[0] - offset, now, *row[2:]) for row in rows]
            self._ask_for_snapshot()
            if rows:
                yield rows

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
            silence = self._config.silence / 1e9
            _log.warning("silence: nothing arrived seconds=%.1f, connecting anew", silence)
            rows = self._lose(GapReason.SILENCE, ts_local)
        elif item.what is What.OPENED:
            assert item.route is not None
            _log.info("connected route=%s url=%s", item.route.name, item.route.url)
            self._closed.discard(item.route.name)
            self._missing.update(item.route.streams)
            loop = asyncio.get_running_loop()
            self._opened = self._heard = loop.time()
            loop.call_later(_QUIET_S + 0.05, self._check_later)
            loop.call_later(self._config.silence / 1e9, self._warn_of_missing)
            rows = []
        elif item.what is What.FAILED:
            raise item.content
        else:
            rows = []
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
            _log.info("synchronised symbol=%s", self._instrument.symbol)
        elif self._synchronised and not known:
            _log.warning("gap: the book is unknown symbol=%s", self._instrument.symbol)
        self._synchronised = known

    def _take_snapshot(self, snapshot: _Snapshot, ts_local: int) -> list[Row]:
        self._snapshot_task = None
        if snapshot.generation != self._generation:
            return []  # asked for before the connection was lost
        stale = self._wire.stats.stale_snapshots
        rows = self._wire.snapshot(snapshot.raw, ts_local)
        if self._wire.stats.stale_snapshots > stale:
            _log.warning("stale snapshot, asking again symbol=%s", self._instrument.symbol)
        return rows

    def _ask_for_snapshot(self) -> None:
        if self._snapshot_task is not None or self._closed or not self._wire.wants_snapshot:
            return
        quiet = asyncio.get_running_loop().time() - self._opened >= _QUIET_S
        if not self._wire.buffering and not quiet:
            return
        delay = 0.0
        if self._snapshots_asked:
            delay = _SNAPSHOT_DELAYS_S[min(self._snapshots_asked, len(_SNAPSHOT_DELAYS_S)) - 1]
        self._snapshots_asked += 1
        self._snapshot_task = self._spawn(self._fetch_snapshot(self._generation, delay))

    async def _fetch_snapshot(self, generation: int, delay: float) -> None:
        await asyncio.sleep(delay)

        def ask() -> Coroutine[Any, Any, bytes]:
            return self._rest.get(
                "depth", symbol=self._instrument.native, limit=self._config.snapshot_limit
            )

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
        silence = self._config.silence / 1e9
        while True:
            await asyncio.sleep(max(0.01, self._heard + silence - loop.time()))
            if self._closed or loop.time() - self._heard < silence:
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

    def _check_later(self) -> None:
        if not self._queue.full():
            self._queue.put_nowait(Item(What.CHECK))

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
