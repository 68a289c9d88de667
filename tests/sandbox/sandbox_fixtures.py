"""What the sandbox's tests share: where the captures are, a running sandbox, and a client's own book."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from mmkit.clock import SystemClock
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import ServiceContext
from mmkit_sandbox.service import Config, Sandbox

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
USDM_CAPTURE = DATA / "binance_usdm" / "btcusdt_20240718.gz"
SPOT_CAPTURE = DATA / "binance_spot_nexousdt" / "nexousdt_20240723.dat.gz"
BOTH = ("BTC/USDT", "BTC/USDT:USDT")
NATIVE = {"spot": "BTCUSDT", "usdm": "BTCUSDT", "coinm": "BTCUSD_PERP"}
"""What Binance calls BTC's market, by kind of market."""


def service(**config: Any) -> Sandbox:
    spec = InstrumentSpec(venue="binance", market="usdm", symbol="BTC/USDT:USDT")
    context = ServiceContext(spec, SystemClock(), Path("user_data"))
    return Sandbox(Config(**config), context)


class Client:
    """Talks to a running sandbox."""

    def __init__(self, url: str, session: aiohttp.ClientSession, sandbox: Sandbox) -> None:
        self.url, self.session, self.sandbox = url, session, sandbox

    async def get(self, path: str) -> Any:
        async with self.session.get(self.url + path) as response:
            return await response.json()

    async def status(self, path: str) -> tuple[int, Any]:
        async with self.session.get(self.url + path) as response:
            return response.status, await response.json()

    def connect(self, path: str, **options: Any) -> Any:
        return self.session.ws_connect(self.url + path, max_msg_size=0, **options)

    async def listen(self, path: str, seconds: float) -> list[Any]:
        """Return what a connection says within `seconds`."""
        heard: list[Any] = []
        async with self.connect(path) as socket:
            try:
                async with asyncio.timeout(seconds):
                    async for message in socket:
                        heard.append(message.json())
            except TimeoutError:
                pass
        return heard


@asynccontextmanager
async def running(**config: Any) -> AsyncIterator[Client]:
    sandbox = service(**({"symbols": BOTH} | config))
    url = await sandbox.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(url, session, sandbox)
    finally:
        await sandbox.stop()


def recorded(path: Path) -> Iterator[bytes]:
    """Yield the JSON of a capture's lines as it was written."""
    with gzip.open(path, "rb") as file:
        for line in file:
            yield line.partition(b" ")[2].strip()


class LocalBook:
    """A client's book by Binance's rules, as slow and obvious as can be.

    "How to manage a local order book correctly", spot and USD-M; raises AssertionError on a gap.
    """

    def __init__(self, market: str, snapshot: dict[str, Any]) -> None:
        self.market, self.update_id = market, snapshot["lastUpdateId"]
        self.synchronised = False
        self.bids = {float(price): float(quantity) for price, quantity in snapshot["bids"]}
        self.asks = {float(price): float(quantity) for price, quantity in snapshot["asks"]}

    def apply(self, diff: dict[str, Any]) -> None:
        first, last = diff["U"], diff["u"]
        if self.market == "spot":
            if last <= self.update_id:
                return
            expected = self.update_id + 1
            assert first == expected if self.synchronised else first <= expected <= last, diff
        else:
            if last < self.update_id:
                return
            follows = diff["pu"] == self.update_id
            assert follows or (not self.synchronised and first <= self.update_id <= last), diff
        self.synchronised = True
        self.update_id = last
        for side, levels in ((self.bids, diff["b"]), (self.asks, diff["a"])):
            for price, quantity in levels:
                if float(quantity) == 0:
                    side.pop(float(price), None)
                else:
                    side[float(price)] = float(quantity)

    def top(self, count: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        bids = sorted(self.bids.items(), reverse=True)[:count]
        return bids, sorted(self.asks.items())[:count]


def remember(exchange: Any, market: str) -> dict[int, Any]:
    """Return a dict that fills with the exchange's own best 20 levels, by update id, as time passes."""
    listing = exchange.listing(market, NATIVE[market])
    states: dict[int, Any] = {}
    advance = exchange.advance

    def remembering(*arguments: Any) -> Any:
        said = advance(*arguments)
        depth = exchange.depth(listing, 20)
        states[depth.last_update_id] = top_of({"bids": depth.bids, "asks": depth.asks}, 20)
        return said

    exchange.advance = remembering
    return states


def top_of(depth: dict[str, Any], count: int) -> Any:
    """Return the best levels of an answer to GET depth, as `LocalBook.top` does."""
    return tuple(
        [(float(price), float(quantity)) for price, quantity in depth[side][:count]]
        for side in ("bids", "asks")
    )


def decode(data: bytes) -> Any:
    return msgspec.json.decode(data)
