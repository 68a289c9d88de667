"""A venue of real sockets on 127.0.0.1 that says what a test makes it say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from typing import Any

from aiohttp import web
from binance_fixtures import snapshot, spot_diff, usdm_diff
from websockets.asyncio.server import ServerConnection, serve

from mmkit.clock import Clock, SystemClock
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import SourceContext
from mmkit.tape import Row
from mmkit_binance.live import BinanceSource, BinanceSourceConfig

Script = Callable[["Venue", ServerConnection, int], Awaitable[None]]
"""What happens on a connection; the number counts connections from 1."""


class Venue:
    """A book that changes by one update id at a time, told over REST and websockets.

    Attributes:
        last: The book's update id.
        asked_at: When each of them came, by the loop's clock.
        asked: Paths and queries of the REST requests, in order.
        connected: Paths of the connections, in order.
        answers: Answers to take the place of the next ones, by the end of the path.
        ahead_ms: How far the venue's clock is ahead.
        traded_ms: When the newest trade was made that REST knows, if there is one.
        held: Answers that are ready but not sent before the event, by the end of the path.
    """

    def __init__(self, script: Script, market: str = "spot") -> None:
        self._script, self.market = script, market
        self.last = 100
        self.asked: list[str] = []
        self.asked_at: list[float] = []
        self.connected: list[str] = []
        self.answers: dict[str, list[web.Response]] = {}
        self.ahead_ms = 0
        self.traded_ms: list[int] = []
        self.held: dict[str, asyncio.Event] = {}
        self.rest_url = self.url = ""
        self._clock = SystemClock()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Venue]:
        app = web.Application()
        app.router.add_get("/{tail:.*}", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.rest_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with serve(self._stream, "127.0.0.1", 0, close_timeout=0.1) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.url = f"ws://127.0.0.1:{port}"
            yield self
        await runner.cleanup()

    def source(self, clock: Clock | None = None, **config: Any) -> BinanceSource:
        defaults: dict[str, Any] = {
            "url": self.url,
            "rest_url": self.rest_url,
            "endpoint": "sandbox",
        }
        # What is asked for is counted; test_binance_confirm.py is about the second snapshot.
        config = defaults | {"confirm": False} | config
        spec = spec_of(self.market)
        return source(spec, clock or self._clock, **config)

    def now_ms(self) -> int:
        return self._clock.now_ns() // 10**6 + self.ahead_ms

    def diff(self, skip: int = 0) -> str:
        """Return the next update, or one of those after it."""
        previous = self.last + skip
        self.last = previous + 1
        bids = [(99.0, self.last)]
        if self.market != "spot":
            made = usdm_diff(self.last, self.last, previous, self.now_ms(), bids)
            return made if self.market == "usdm" else in_coinm(made)
        return spot_diff(self.last, self.last, self.now_ms(), bids)

    def book(self) -> str:
        time = None if self.market == "spot" else self.now_ms()
        return snapshot(self.last, [(99.0, self.last)], [(101.0, 1)], time=time)

    async def flow(
        self, socket: ServerConnection, count: int = 10_000, pause: float = 0.005
    ) -> None:
        for _ in range(count):
            await socket.send(self.diff())
            await asyncio.sleep(pause)

    async def _stream(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.connected.append(socket.request.path)
        await self._script(self, socket, len(self.connected))

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        self.asked_at.append(asyncio.get_running_loop().time())
        name = request.path.rpartition("/")[2]
        if waiting := self.answers.get(name):
            return waiting.pop(0)
        newest = [{"id": 1, "price": "99.0", "qty": "1.0", "time": t} for t in self.traded_ms]
        trades = [one | {"isBuyerMaker": True} for one in newest]
        bodies = {
            "trades": json.dumps(trades),
            "time": json.dumps({"serverTime": self.now_ms()}),
            "depth": self.book(),
        }
        if name == "exchangeInfo":
            return web.json_response(listing() if self.market != "coinm" else coinm_listing())
        if held := self.held.pop(name, None):
            await held.wait()
        return web.Response(text=bodies[name], content_type="application/json")


def listing(tick: str = "0.10000000", lot: str = "0.00100000") -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": tick, "minPrice": "0.1"},
        {"filterType": "LOT_SIZE", "stepSize": lot},
    ]
    return {
        "symbols": [
            {
                "symbol": f"{base}USDT{suffix}",
                "status": "TRADING",
                "contractType": kind,
                "baseAsset": base,
                "quoteAsset": "USDT",
                "filters": filters,
            }
            for base, suffix, kind in (
                ("BTC", "_261225", "CURRENT_QUARTER"),
                ("ETH", "", "PERPETUAL"),
                ("BTC", "", "PERPETUAL"),
            )
        ]
    }


def in_coinm(message: str) -> str:
    """Return a USD-M message as COIN-M sends it: the symbol is another than the pair."""
    message = message.replace('"s": "BTCUSDT"', '"s": "BTCUSD_PERP"')
    return message.replace('"ps": "BTCUSDT"', '"ps": "BTCUSD"').replace("btcusdt@", "btcusd_perp@")


def coinm_listing() -> dict[str, Any]:
    """Return exchangeInfo as COIN-M's documentation has it, with the fields mmkit reads."""
    found = listing(tick="0.1", lot="0.001")["symbols"][2]
    quarter = {"symbol": "BTCUSD_261225", "contractType": "CURRENT_QUARTER"}
    perpetual = {"symbol": "BTCUSD_PERP", "contractType": "PERPETUAL"}
    common = {"quoteAsset": "USD", "marginAsset": "BTC", "contractSize": 100}
    return {"symbols": [{**found, **common, **one} for one in (quarter, perpetual)]}


def spec_of(market: str, symbol: str = "BTC/USDT", **grid: Decimal) -> InstrumentSpec:
    if market == "coinm":
        return InstrumentSpec(venue="binance", market=market, symbol="BTC/USD:BTC", **grid)
    suffix = ":USDT" if market == "usdm" else ""
    return InstrumentSpec(venue="binance", market=market, symbol=symbol + suffix, **grid)


def source(spec: InstrumentSpec, clock: Clock | None = None, **config: Any) -> BinanceSource:
    context = SourceContext(
        spec=spec,
        clock=clock or SystemClock(),
        userdir=None,  # type: ignore[arg-type]
        wire_formats=None,  # type: ignore[arg-type]
        endpoints=config.pop("endpoints", {}),
    )
    return BinanceSource(BinanceSourceConfig(**config), context)


WAY: list[str] = ["yielded"]
"""How `collect` gets rows: ``yielded``, or ``handed over`` where the source can."""


async def collect(
    found: BinanceSource, until: Callable[[list[Row]], bool], timeout_s: float = 10
) -> list[Row]:
    """Return the rows up to and including those with which `until` is satisfied."""
    rows: list[Row] = []
    satisfied: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(made: list[Row]) -> None:
        if not satisfied.done():
            rows.extend(made)
            if until(rows):
                satisfied.set_result(None)

    async def read() -> None:
        async with aclosing(found.stream()) as stream:  # type: ignore[type-var]
            async for made in stream:
                take(made)
        raise AssertionError("a stream does not end")

    if WAY == ["handed over"]:
        found.deliver(take)
    reading = asyncio.create_task(read())
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.wait({satisfied, reading}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        reading.cancel()
        ended = await asyncio.gather(reading, return_exceptions=True)
    if not satisfied.done():
        assert isinstance(ended[0], BaseException)
        raise ended[0]
    return rows
