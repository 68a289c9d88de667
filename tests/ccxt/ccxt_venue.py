"""A venue of real sockets on 127.0.0.1 that speaks to ccxt.pro's own binance client what a test makes it say."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from mmkit.book import Book
from mmkit.clock import SystemClock
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import SourceContext
from mmkit.tape import KIND, GapReason, Kind, Row
from mmkit_ccxt.source import CcxtConfig, CcxtSource

Script = Callable[["Venue", web.WebSocketResponse, int], Awaitable[None]]
"""What happens on a connection that has asked for depth; the number counts those from 1."""


class Venue:
    """A spot book of one bid that changes by one update id at a time, told over REST and websockets.

    Attributes:
        last: The book's update id, which is also the size of its bid at 99.00, in 0.00001.
        asked: Paths of the REST requests, in order.
        answers: Answers to take the place of the next ones, by the end of the path.
        headers: Of every request and connection, as they came.
        ahead_ms: How far the venue's clock is ahead.
        trades: What is sent on a connection that asks for trades.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self.last = 100
        self.asked: list[str] = []
        self.answers: dict[str, list[web.Response]] = {}
        self.headers: list[str] = []
        self.connected = 0
        self.ahead_ms = 0
        self.trades: list[dict[str, Any]] = []
        self.deaf: set[str] = set()
        self.url = ""
        self.clock = SystemClock()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Venue]:
        app = web.Application()
        app.router.add_get("/stream/ws/{number}", self._stream)
        app.router.add_get("/{tail:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    def now_ms(self) -> int:
        return self.clock.now_ns() // 10**6 + self.ahead_ms

    def diff(self, skip: int = 0, price: str = "99.00") -> str:
        """Return the next update, or one of those after it."""
        first = self.last + 1 + skip
        self.last = first
        size = f"{self.last / 100_000:.8f}"
        found = {"e": "depthUpdate", "E": self.now_ms(), "s": "BTCUSDT", "U": first, "u": first}
        return json.dumps(found | {"b": [[price, size]], "a": []})

    def trade(self, number: int, **other: Any) -> dict[str, Any]:
        now = self.now_ms()
        found = {"e": "trade", "E": now, "T": now, "s": "BTCUSDT", "t": number, "p": "99.00"}
        return found | {"q": "0.00500000", "m": True, "M": True} | other

    async def flow(self, socket: web.WebSocketResponse, count: int = 10_000) -> None:
        for _ in range(count):
            await socket.send_str(self.diff())
            await asyncio.sleep(0.005)

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        self.headers.append(str(request.headers))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            asked = json.loads(message.data)
            (stream,) = asked["params"]
            if "subscribe" not in self.deaf:
                await socket.send_str(json.dumps({"result": None, "id": asked["id"]}))
            if "depth" in stream:
                self.connected += 1
                try:
                    await self._script(self, socket, self.connected)
                except ConnectionError:
                    break  # it was closed while we spoke
            else:
                for trade in self.trades:
                    await socket.send_str(json.dumps(trade))
        return socket

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        self.headers.append(str(request.headers))
        name = request.path.rpartition("/")[2]
        if waiting := self.answers.get(name):
            return waiting.pop(0)
        bodies: dict[str, Any] = {
            "time": {"serverTime": self.now_ms()},
            "exchangeInfo": {"symbols": [listing(base) for base in ("BTC", "ETH", "BTCDOM")]},
            "depth": {
                "lastUpdateId": self.last,
                "bids": [["99.00", f"{self.last / 100_000:.8f}"], ["98.50", "1.0"]],
                "asks": [["101.00", "0.00100000"]],
            },
        }
        return web.json_response(bodies[name])


def listing(base: str) -> dict[str, Any]:
    return {
        "symbol": f"{base}USDT",
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": "USDT",
        "orderTypes": ["LIMIT"],
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.01000000", "minPrice": "0.01"},
            {"filterType": "LOT_SIZE", "stepSize": "0.00001000", "minQty": "0.00001"},
        ],
    }


def spec_of(symbol: str = "BTC/USDT", venue: str = "binance", **other: Any) -> InstrumentSpec:
    market = "usdm" if ":" in symbol else "spot"
    return InstrumentSpec(venue=venue, symbol=symbol, **({"market": market} | other))


def source(spec: InstrumentSpec, url: str | None = None, **config: Any) -> CcxtSource:
    context = SourceContext(
        spec=spec,
        clock=SystemClock(),
        userdir=Path("user_data"),
        wire_formats=None,  # type: ignore[arg-type]
    )
    return CcxtSource(CcxtConfig(**({"endpoint": "sandbox", "url": url} | config)), context)


async def collect(
    found: CcxtSource, until: Callable[[list[Row]], bool], timeout_s: float = 10
) -> list[Row]:
    """Return the rows up to and including those with which `until` is satisfied."""
    rows: list[Row] = []
    stream = found.stream()
    try:
        async with asyncio.timeout(timeout_s):
            async for made in stream:
                rows += made
                if until(rows):
                    return rows
    finally:
        await stream.aclose()  # type: ignore[attr-defined]
        await found.close()
    raise AssertionError("a stream does not end")


def book_of(rows: list[Row]) -> Book:
    book = Book()
    for row in rows:
        book.apply(row)
    return book


def kinds_of(rows: list[Row]) -> list[Kind]:
    return [Kind(row[2] & KIND) for row in rows]


def gaps(rows: list[Row]) -> list[GapReason]:
    return [GapReason(row[3]) for row in rows if row[2] & KIND == Kind.GAP]


class StrangerError(Exception):
    """Somebody looked up, or connected to, what is not this machine."""


_watching: list[list[str]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or event not in ("socket.connect", "socket.getaddrinfo"):
        return
    host = arguments[1][0] if event == "socket.connect" else arguments[0]
    if event == "socket.connect" and not isinstance(arguments[1], tuple):
        return  # a socket of the file system
    if str(host) not in ("127.0.0.1", "localhost", "None"):
        _watching[-1].append(str(host))
        raise StrangerError(f"{event} {host}")


sys.addaudithook(_audit)


@contextmanager
def only_this_machine() -> Iterator[list[str]]:
    """Refuse every other host, in the interpreter itself; yield those that were tried."""
    _watching.append([])
    try:
        yield _watching[-1]
    finally:
        _watching.pop()
