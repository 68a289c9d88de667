"""Every stream of every market at every speed: what the sandbox says arrives whole, and is one market."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from binance_fixtures import sides
from binance_venue import source, spec_of
from sandboxed import Exchange, check_whole, exchange, payloads, take

from mmkit.book import Book
from mmkit.tape import KIND, GapReason, Kind, Row
from mmkit_binance.endpoints import _SPEEDS, Speed, stream_names
from mmkit_binance.streams import Streams
from mmkit_sandbox.channel import parse_stream

PARTIAL = {"100ms": "depth5", "250ms": "depth10", "500ms": "depth20", "1000ms": "depth20"}
"""Which partial depth is asked for at which speed."""


async def arrive_whole(found: Exchange, market: str, native: str) -> set[str]:
    """Ask for every stream at every speed over real connections; return the names that have spoken."""
    names = {
        name
        for speed, partial in PARTIAL.items()
        if speed in _SPEEDS[market]
        for name in stream_names(market, native, ["depth", partial], speed)  # type: ignore[arg-type]
    }
    others = ["trade", "aggTrade", "bookTicker", "kline_1m", "kline_1M"]
    others += ["kline_1s"] if market == "spot" else ["markPrice", "forceOrder"]
    names |= set(stream_names(market, native, others, "100ms"))
    # Not liquidations, of which there is one in ten seconds.
    expected = {name for name in names if "forceOrder" not in name}
    heard: set[str] = set()

    def until(items: list[Any]) -> bool:
        heard.update(payloads(items[-1:]))
        return heard >= expected and len(items) > 500

    async with Streams(found.at(market), market, names) as streams:
        items = await take(streams, until, timeout_s=20)
    for name, told in payloads(items).items():
        channel = parse_stream(market, name)
        assert channel is not None
        check_whole(told, found.told[channel])
    return heard


@pytest.mark.parametrize("market", ["spot", "usdm", "coinm"])
def test_every_stream_at_every_speed_arrives_whole(market: str) -> None:
    async def inside() -> None:
        async with exchange(spec_of(market).symbol) as found:
            native = "BTCUSD_PERP" if market == "coinm" else "BTCUSDT"
            heard = await arrive_whole(found, market, native)
            assert len(heard) >= (9 if market == "spot" else 12)

    asyncio.run(inside())


async def follow(found: Exchange, market: str, speed: Speed) -> None:
    """Take in every stream of a market as a run does; compare the book with the exchange's at its end."""
    streams = ["depth", "aggTrade", "bookTicker", "kline_1m"]
    streams += ["kline_1s"] if market == "spot" else ["markPrice", "forceOrder"]
    live = source(
        spec_of(market),
        endpoint="sandbox",
        endpoints={"sandbox": found.url},
        streams=streams,
        speed=speed,
        confirm=False,
    )
    grid = await live.instrument()
    served: Any = found.sandbox.exchange
    (listing,) = served.listings
    channel = parse_stream(market, stream_names(market, grid.native, ["depth"], speed)[0])
    assert channel is not None
    rows: list[Row] = []
    book = Book()
    equal, kinds = 0, set[int]()
    expected = {Kind.GAP, Kind.SNAPSHOT, Kind.LEVEL, Kind.TRADE, Kind.BEST}
    if market != "spot":
        expected |= {Kind.MARK, Kind.FUNDING}
    stream = live.stream()
    async with asyncio.timeout(20):
        async for made in stream:
            rows += made
            for row in made:
                book.apply(row)
                kinds.add(row[2] & KIND)
            if not book.known or all(row[2] & KIND != Kind.LEVEL for row in made):
                continue
            # What the stream has told last is what the book is now.
            truth = served.depth_at(listing, json.loads(found.told[channel][-1])["u"])
            whole = tuple(
                {grid.ticks(price): grid.lots(quantity) for price, quantity in side}
                for side in (truth.bids, truth.asks)
            )
            equal += sides(book) == whole
            if equal >= 3 and kinds >= expected and live.stats.tickers_compared:
                break
    await stream.aclose()  # type: ignore[attr-defined]
    assert kinds == expected
    assert [GapReason(row[3]) for row in rows if row[2] & KIND == Kind.GAP] == [GapReason.START]
    assert live.stats.tickers_different == 0


@pytest.mark.parametrize("market", ["spot", "usdm", "coinm"])
def test_at_every_speed_the_book_is_the_exchanges(market: str) -> None:
    async def inside() -> None:
        # A fault that never comes makes the exchange remember its books.
        faults = {"at": ["99h drop"]}
        async with exchange(spec_of(market).symbol, faults=faults) as found:
            await asyncio.gather(*(follow(found, market, speed) for speed in _SPEEDS[market]))  # type: ignore[arg-type]

    asyncio.run(inside())
