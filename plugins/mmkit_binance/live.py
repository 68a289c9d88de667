"""Binance's market data as it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mmkit.errors import ConfigError, Mistake
from mmkit.instruments import Instrument
from mmkit.interfaces import (
    DataSource,
    PluginConfig,
    RawTap,
    Receive,
    SourceContext,
    WireFormatContext,
)
from mmkit.tape import FeedStats, Row
from mmkit.units import Duration
from mmkit_binance.asked import clock_offset, exchange_info
from mmkit_binance.endpoints import (
    Endpoint,
    Speed,
    absent_mistakes,
    addresses,
    speed_mistakes,
    stream_names,
)
from mmkit_binance.feed import Feed
from mmkit_binance.group import Terms, groups
from mmkit_binance.listing import not_listed, parse_listing
from mmkit_binance.poll import Poll, poll_mistakes
from mmkit_binance.rest import RequestError, Rest
from mmkit_binance.subscription import Subscription
from mmkit_binance.wire import BinanceConfig, BinanceWire, stream_mistakes

_FUTURES_LIMITS = (5, 10, 20, 50, 100, 500, 1000)
_INVALID_SYMBOL = b"-1121"


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class BinanceSourceConfig(PluginConfig):
    """What may be written beside ``plugin: binance``."""

    endpoint: Endpoint = Field("live", description="live, testnet, demo, or the local sandbox.")
    streams: Annotated[tuple[str, ...], BeforeValidator(_listed)] | None = Field(
        None,
        description="Which streams are listened to; by default depth and trade, on USD-M and COIN-M "
        "depth and aggTrade, as trade is not documented there.",
    )
    mode: Literal["stream", "rest"] = Field(
        "stream",
        description="stream: over websockets; rest: asked for again and again, every so often.",
    )
    every: Duration = Field(
        1_000_000_000,
        gt=0,
        description="How often to ask, with mode: rest; within the venue's limits.",
    )
    speed: Speed = Field("100ms", description="How often depth is told.")
    snapshot_limit: int = Field(
        1000,
        ge=5,
        le=5000,
        description="Levels a side in a snapshot; 5000 on spot, 1000 on USD-M and COIN-M.",
    )
    time_unit: Literal["microsecond", "millisecond"] | None = Field(
        None,
        description="Of the venue's times; only spot has microsecond, and by default takes it.",
    )
    lifetime: Duration = Field(
        23 * 3_600_000_000_000,
        gt=0,
        description="Replace a connection, without a loss, before the venue ends it after 24 h.",
    )
    deliver_within: Duration = Field(
        60_000_000_000,
        gt=0,
        description="A depth, bookTicker or markPrice stream that has said nothing for so long since it "
        "was asked for ends the run; other streams are named in the log.",
    )
    silence: Duration = Field(
        30_000_000_000,
        gt=0,
        description="Connect anew when nothing has arrived for so long; longer for a quiet market.",
    )
    confirm: bool = Field(
        True,
        description="Use a snapshot only once a second one agrees with it: ids do not tell one of another "
        "symbol, or with wrong quantities. Twice the weight for each synchronisation.",
    )
    url: str | None = Field(None, description="Root of the streams, in place of the endpoint's.")
    rest_url: str | None = Field(
        None, description="Root of REST up to /api, /fapi or /dapi, in place of the endpoint's."
    )


class BinanceSource(DataSource):
    """Streams over websockets, snapshots over REST, synchronised anew after every loss; or REST alone."""

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
            # REST has single trades on every market.
            "trade" if spec.market == "spot" or config.mode == "rest" else "aggTrade",
        )
        mistakes = [
            *stream_mistakes(spec.venue, spec.market, self._streams),
            *absent_mistakes(spec.market, self._streams),
            *speed_mistakes(spec.market, config.speed),
        ]
        if spec.market != "spot" and config.snapshot_limit not in _FUTURES_LIMITS:
            there = ", ".join(map(str, _FUTURES_LIMITS))
            found = f"one of {there} was expected on {spec.market}; found {config.snapshot_limit}"
            mistakes.append(Mistake("", "data.snapshot_limit", found))
        offered = (spec.venue, spec.market) == ("binance", "spot")
        if config.time_unit == "microsecond" and not offered:
            found = f"'microsecond' is not offered on {spec.venue} {spec.market}"
            mistakes.append(Mistake("", "data.time_unit", found, "leave it out"))
        self._micro = offered and config.time_unit != "millisecond"
        if config.mode == "rest" and not mistakes:
            mistakes += poll_mistakes(
                spec.market, self._streams, config.every, config.snapshot_limit
            )
        if mistakes:
            raise ConfigError(mistakes)
        self._instrument: Instrument | None = None
        self._tap: RawTap | None = None
        self._receive: Receive | None = None
        self._feed: Feed | None = None
        self.stats = FeedStats()

    async def instrument(self) -> Instrument:
        """Return the instrument as the venue lists it; asked once.

        Raises:
            ConfigError: if it is not listed, or the user's grid is another.
            FeedError: if the venue cannot be asked.
        """
        if self._instrument is None:
            spec = self._context.spec
            # The futures' exchangeInfo knows no such parameter and lists everything.
            only = spec.base + spec.quote if spec.market == "spot" else ""
            try:
                raw = await exchange_info(self._addresses, only)
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
        async with Rest(self._addresses, micro=self._micro) as rest:
            offset = await clock_offset(self._addresses, self._micro, self._context.clock)
            wire = BinanceWire(
                BinanceConfig(confirm=self._config.confirm),
                WireFormatContext(instrument=instrument, streams=self._streams),
            )
            self.stats = wire.stats
            self.stats.clock_offset_ns = [offset]
            config = self._config
            if config.mode == "rest":
                poll = Poll(
                    wire,
                    rest,
                    instrument,
                    self._streams,
                    every_s=config.every / 1e9,
                    limit=config.snapshot_limit,
                )
                try:
                    poll.start()
                    async for rows in poll.rows(self._context.clock.now_ns, offset):
                        yield rows
                finally:
                    await poll.stop()
                return
            terms = Terms(
                self._addresses,
                instrument.market,
                query="&timeUnit=MICROSECOND" if self._micro else "",
                lifetime_s=config.lifetime / 1e9,
                silence_s=config.silence / 1e9,
                deliver_within_s=config.deliver_within / 1e9,
                # Three updates that should have come. In 24 h of NEXOUSDT the longest was 1.24 s, once.
                behind_s=max(2.0, 3 * int(config.speed.removesuffix("ms")) / 1000),
            )
            names = stream_names(instrument.market, instrument.native, self._streams, config.speed)
            self._feed = feed = Feed(
                wire,
                rest,
                instrument.native,
                Subscription(groups(terms), names),
                snapshot_limit=config.snapshot_limit,
                tap=self._tap,
            )
            try:
                feed.start()
                async for rows in feed.rows(self._context.clock.now_ns, offset, self._receive):
                    yield rows
            finally:
                await feed.stop()

    def deliver(self, receive: Receive) -> None:
        """Hand rows to `receive` in the turn of the loop in which their message came."""
        self._receive = receive

    def tap(self, tap: RawTap) -> bool:
        """Hand every message to `tap` when it is taken in; answers of ``mode: rest`` are not handed over."""
        if self._config.mode == "rest":
            return False
        self._tap = tap
        return True

    def ask_snapshot(self) -> None:
        """Request a snapshot of the book, unless one is on its way."""
        if self._feed is not None:
            self._feed.ask_snapshot()
