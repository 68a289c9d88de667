"""Streams against the sandbox over loopback: replaced without a hole, watched, many, changed while they run."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import binance_venue
import pytest
from binance_fixtures import book_of, envelope
from binance_venue import Venue, collect, source, spec_of
from hypothesis import given
from hypothesis import strategies as st
from sandboxed import Exchange, check_whole, exchange, payloads, take
from websockets.asyncio.server import ServerConnection

from mmkit.errors import FeedError
from mmkit.tape import KIND, GapReason, Kind, Row
from mmkit_binance.endpoints import addresses, stream_names
from mmkit_binance.order import Seam
from mmkit_binance.pace import Pace
from mmkit_binance.sockets import Item, What
from mmkit_binance.streams import Streams
from mmkit_binance.watch import Finding, Watch

ALL = {
    "spot": ("depth", "trade", "aggTrade", "bookTicker"),
    "usdm": ("depth", "aggTrade", "trade", "bookTicker", "markPrice"),
}


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mmkit.binance")


def gaps(rows: list[Row]) -> list[GapReason]:
    return [GapReason(row[3]) for row in rows if row[2] & KIND == Kind.GAP]


def whats(items: list[Item]) -> list[What]:
    return [item.what for item in items if item.what is not What.MESSAGE]


def check_everything(found: Exchange, market: str, items: list[Item], *symbols: str) -> None:
    """Check every stream of the symbols that was heard against what the exchange said."""
    heard = payloads(items)
    assert heard
    for name, messages in heard.items():
        symbol, _, kind = name.partition("@")
        assert symbol.upper() in symbols
        check_whole(messages, found.said[market, symbol.upper(), kind.partition("@")[0]])


# --- replaced without a hole --------------------------------------------------------------------


async def all_of(
    streams: Streams, handed_on: bool, until: Callable[[list[Item]], bool]
) -> list[Item]:
    """Return what is iterated over and, if it is to be, what is handed on, in order."""
    items: list[Item] = []

    async def read() -> None:
        async for item in streams:
            items.append(item)

    def take(item: Item) -> bool:
        items.append(item)
        return True

    if handed_on:
        streams.offer(take)
    reading = asyncio.create_task(read())
    async with asyncio.timeout(20):
        while not until(items):
            await asyncio.sleep(0.01)
    reading.cancel()
    return items


@pytest.mark.parametrize("handed_on", [False, True])
@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_a_connection_is_replaced_and_no_message_is_lost_or_told_twice(
    market: str, handed_on: bool
) -> None:
    async def inside() -> None:
        async with exchange("BTC/USDT" if market == "spot" else "BTC/USDT:USDT") as found:
            names = stream_names(market, "BTCUSDT", ALL[market], "100ms")
            async with Streams(found.at(market), market, names, lifetime_s=0.5) as streams:
                most = 2 if market == "spot" else 4
                so_many: list[int] = []

                def enough(items: list[Item]) -> bool:
                    # Some more, so that the last seam is among what is compared.
                    if streams.renewed >= most and not so_many:
                        so_many.append(len(items) + 100)
                    return bool(so_many) and len(items) > so_many[0]

                items = await all_of(streams, handed_on, enough)
            assert set(whats(items)) == {What.OPENED}
            assert len(whats(items)) == (1 if market == "spot" else 2)
            assert len(payloads(items)) == len(ALL[market])
            check_everything(found, market, items, "BTCUSDT")

    asyncio.run(inside())


def test_a_shutdown_that_is_announced_costs_nothing() -> None:
    async def inside() -> None:
        async with exchange("BTC/USDT") as found:
            names = stream_names("spot", "BTCUSDT", ALL["spot"], "100ms")
            async with Streams(found.at("spot"), "spot", names) as streams:
                items = await take(streams, lambda items: len(items) > 100)
                found.sandbox.announce_shutdown(close_after_s=1.5)
                items += await take(streams, lambda _: streams.renewed == 1)
                items += await take(streams, lambda more: len(more) > 300)
            assert whats(items) == [What.OPENED]
            check_everything(found, "spot", items, "BTCUSDT")

    asyncio.run(inside())


@pytest.mark.parametrize("way", ["yielded", "handed over"])
def test_through_several_connections_the_book_stays_known_and_is_the_exchanges(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binance_venue, "WAY", [way])

    async def inside() -> None:
        async with exchange("BTC/USDT") as found:
            live = source(
                spec_of("spot"),
                endpoint="sandbox",
                endpoints={"sandbox": found.url},
                streams=["depth", "trade", "bookTicker"],
                lifetime="500ms",
                snapshot_limit=5000,
            )
            begun = asyncio.get_running_loop().time()
            rows = await collect(live, lambda _: asyncio.get_running_loop().time() > begun + 4)
            assert gaps(rows) == [GapReason.START]
            assert live.stats.gaps == 0
            assert live.stats.tickers_compared > 10
            assert live.stats.tickers_different == 0
            assert book_of(rows).known
            # In microseconds: read as milliseconds they would be of another century.
            assert all(abs(row[1] - row[0]) < 10**9 for row in rows)

    asyncio.run(inside())


def test_an_end_without_notice_is_a_loss() -> None:
    async def inside() -> None:
        async with exchange("BTC/USDT") as found:
            names = stream_names("spot", "BTCUSDT", ("depth",), "100ms")
            async with Streams(found.at("spot"), "spot", names) as streams:
                await take(streams, lambda items: len(items) > 5)
                server: Any = found.sandbox
                for connection in list(server._server._connections):
                    connection.end(1001, "Going away")
                items = await take(streams, lambda items: What.OPENED in whats(items))
            assert whats(items) == [What.LOST, What.OPENED]

    asyncio.run(inside())


def trade(number: int) -> bytes:
    return envelope("btcusdt@trade", {"e": "trade", "E": number, "t": number}).encode()


def diff(number: int) -> bytes:
    data = {"e": "depthUpdate", "E": number, "U": 10 * number - 9, "u": 10 * number}
    return envelope("btcusdt@depth", {**data, "b": [], "a": []}).encode()


@given(
    begun=st.integers(1, 10),
    last_old=st.integers(0, 20),
    last_new=st.integers(0, 25),
    message=st.sampled_from([trade, diff]),
)
def test_a_seam_is_whole_or_is_known_not_to_be(
    begun: int, last_old: int, last_new: int, message: Any
) -> None:
    """The old one has said 1 to `last_old`; the new one `begun` to `last_new`."""
    seam = Seam()
    for number in range(1, last_old + 1):
        seam.old(message(number), also_new=False)
    for number in range(begun, last_new + 1):
        seam.new(message(number))
    overlaps = begun <= last_new
    if overlaps and last_old and begun <= last_old + 1:
        assert seam.met
        told = [message(number) for number in range(1, last_old + 1)] + seam.news()
        assert told == [message(number) for number in range(1, max(last_old, last_new) + 1)]
    elif overlaps:
        assert seam.behind() == {"btcusdt@trade" if message is trade else "btcusdt@depth"}
        assert not seam.met


def test_a_stream_that_only_the_old_one_says_is_no_seam() -> None:
    seam = Seam()
    seam.old(trade(1), also_new=False)
    seam.old(diff(1), also_new=True)
    seam.new(trade(2))
    assert seam.behind() == {"btcusdt@depth"}


# --- watched ------------------------------------------------------------------------------------


def test_a_stream_on_the_wrong_route_is_an_error_by_name_that_says_which_is_right() -> None:
    """What a client of before April 2026 does: the address has no route, and everything is acknowledged."""

    async def inside() -> None:
        async with exchange("BTC/USDT:USDT") as found:
            at = found.at("usdm")
            # Both routes lead to what carries /public only.
            wrong = at._replace(
                stream=at.stream.replace("/fstream", "/fstream/public/stream?ignored=")
            )
            names = ["btcusdt@markPrice@1s"]
            async with Streams(wrong, "usdm", names, deliver_within_s=0.5) as streams:
                items = await take(streams, lambda items: What.NEVER in whats(items))
            (error,) = [item.content for item in items if item.what is What.NEVER]
            assert "'btcusdt@markPrice@1s' were expected within" in str(error)
            assert "found none, although the venue has accepted the stream" in str(error)
            assert "USD-M carries markPrice on /market only" in str(error)

    asyncio.run(inside())


def test_a_run_ends_with_the_name_of_the_stream_that_never_delivers() -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        await venue.flow(socket)

    async def inside() -> None:
        async with Venue(script).open() as venue:
            live = venue.source(streams=["depth", "bookTicker"], deliver_within="300ms")
            await collect(live, lambda _: False)

    with pytest.raises(FeedError, match=r"'btcusdt@bookTicker' were expected within 0 s"):
        asyncio.run(inside())


def test_a_book_that_stops_while_trades_go_on_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        data = {"e": "trade", "s": "BTCUSDT", "p": "100.00", "q": "0.5", "m": True}
        for count in range(10_000):
            if number > 1 or count < 20:
                await socket.send(venue.diff())
            now = {"E": venue.now_ms(), "T": venue.now_ms(), "t": count}
            await socket.send(envelope("btcusdt@trade", data | now))
            await asyncio.sleep(0.01)

    async def inside() -> list[Row]:
        async with Venue(script).open() as venue:
            return await collect(
                venue.source(silence="400ms"),
                lambda rows: gaps(rows).count(GapReason.SILENCE) == 1 and book_of(rows).known,
            )

    rows = asyncio.run(inside())
    assert gaps(rows) == [GapReason.START, GapReason.SILENCE]
    assert "stream has stopped while others go on: btcusdt@depth@100ms" in caplog.text


def findings(watch: Watch, now: float) -> list[tuple[str, Finding]]:
    return [(found.name, found.finding) for found in watch.look(now)]


def test_what_may_be_quiet_is_no_error() -> None:
    watch = Watch(silence_s=30, within_s=60)
    names = ["a@depth", "a@bookTicker", "a@markPrice", "a@trade", "a@forceOrder", "a@kline_1m"]
    watch.ask(names, 100)
    assert findings(watch, 159) == []
    assert findings(watch, 160) == [
        ("a@depth", Finding.NEVER),
        ("a@bookTicker", Finding.NEVER),
        ("a@markPrice", Finding.NEVER),
        ("a@trade", Finding.UNHEARD),
        ("a@forceOrder", Finding.UNHEARD),
        ("a@kline_1m", Finding.UNHEARD),
    ]
    assert findings(watch, 300) == []  # told once
    watch.heard["a@trade"] = 301
    assert findings(watch, 302) == [("a@trade", Finding.AGAIN)]


def test_time_without_a_connection_does_not_count() -> None:
    watch = Watch(silence_s=30, within_s=60)
    watch.ask(["a@depth"], 0.0)
    watch.closed(["a@depth"], 10)
    assert findings(watch, 1000) == []
    watch.opened(["a@depth"], 1000)
    assert findings(watch, 1049) == []
    assert findings(watch, 1050) == [("a@depth", Finding.NEVER)]


def test_a_stream_that_stops_is_stalled_only_if_another_proves_it() -> None:
    watch = Watch(silence_s=30, within_s=60)
    watch.ask(["a@depth", "a@trade", "b@depth", "b@markPrice"], 0.0)
    watch.heard.update({"a@depth": 1, "a@trade": 1, "b@depth": 1, "b@markPrice": 1})
    watch.heard.update({"b@markPrice": 31})
    # Nothing has been traded in either: both books may be as they were.
    assert findings(watch, 31) == [("a@depth", Finding.QUIET), ("b@depth", Finding.QUIET)]
    watch.heard.update({"a@depth": 40, "b@depth": 40, "a@trade": 50, "b@markPrice": 70})
    assert findings(watch, 45) == [("a@depth", Finding.AGAIN), ("b@depth", Finding.AGAIN)]
    # A trade after the last update, and still none: suspected, and certain a little later.
    assert findings(watch, 70) == [("b@depth", Finding.QUIET)]
    watch.heard["b@markPrice"] = 71
    assert findings(watch, 72) == [("a@depth", Finding.STALLED)]


# --- many, and changed while they run -----------------------------------------------------------


def test_fifty_symbols_over_several_connections_lose_nothing() -> None:
    bases = [f"C{number:02d}" for number in range(50)]

    async def inside() -> None:
        async with exchange(*(f"{base}/USDT" for base in bases)) as found:
            names = [
                name
                for base in bases
                for name in stream_names("spot", f"{base}USDT", ("depth", "trade"), "100ms")
            ]
            async with Streams(found.at("spot"), "spot", names, most=24, lifetime_s=1.0) as streams:
                assert streams.connections == 5
                items = await take(
                    streams,
                    lambda items: streams.renewed >= 5 and len(payloads(items[-4000:])) > 95,
                    timeout_s=30,
                )
            assert set(whats(items)) == {What.OPENED}
            check_everything(found, "spot", items, *(f"{base}USDT" for base in bases))

    asyncio.run(inside())


def test_streams_come_and_go_while_others_run() -> None:
    async def inside() -> None:
        async with exchange("BTC/USDT", "ETH/USDT") as found:
            first = stream_names("spot", "BTCUSDT", ("depth", "trade"), "100ms")
            more = stream_names("spot", "ETHUSDT", ("depth", "trade"), "100ms")
            async with Streams(found.at("spot"), "spot", first, most=3) as streams:
                await take(streams, lambda items: len(items) > 20)
                taking = asyncio.ensure_future(
                    take(streams, lambda items: len(payloads(items)) == 4)
                )
                await streams.subscribe(*more, *first)  # what is there is left alone
                items = await taking
                assert streams.connections == 2  # three on the first
                assert streams.names == [*first, *more]
                check_everything(found, "spot", items, "BTCUSDT", "ETHUSDT")
                taking = asyncio.ensure_future(take(streams, lambda items: len(items) > 150))
                await streams.unsubscribe(*first)
                items = await taking
                assert set(payloads(items[-40:])) == set(more)
                await streams.unsubscribe(more[1])
                assert streams.connections == 1

    asyncio.run(inside())


def test_more_streams_than_an_address_can_hold_are_subscribed_to_within_the_limits() -> None:
    """The sandbox ends a connection that sends more than five messages in a second."""

    async def inside() -> None:
        async with exchange("BTC/USDT") as found:
            nothing = [f"nothing{number:04d}usdt@trade" for number in range(900)]
            names = [*nothing, *stream_names("spot", "BTCUSDT", ("depth",), "100ms")]
            async with Streams(found.at("spot"), "spot", names) as streams:
                assert streams.connections == 1
                items = await take(streams, lambda items: len(payloads(items)) == 1)
                assert whats(items) == [What.OPENED]
                (socket,) = found.sandbox._server._connections  # type: ignore[union-attr]
                assert len(socket.session.subscriptions) == 901

    asyncio.run(inside())


def test_a_pace_lets_so_many_pass_and_no_more() -> None:
    async def inside() -> None:
        loop = asyncio.get_running_loop()
        pace = Pace(5, 0.2)
        passed = []

        async def one() -> None:
            await pace.wait()
            passed.append(loop.time())

        await asyncio.gather(*(one() for _ in range(17)))
        for first, sixth in zip(passed, passed[5:], strict=False):
            assert sixth - first >= 0.199
        assert passed[-1] - passed[0] < 1.0

    asyncio.run(inside())


async def refuse(venue: Venue, socket: ServerConnection, number: int) -> None:
    async for request in socket:
        answer = {"code": 2, "msg": "no such thing", "id": json.loads(request)["id"]}
        await socket.send(json.dumps(answer))


def test_what_the_venue_refuses_is_an_error() -> None:
    async def inside() -> None:
        async with Venue(refuse).open() as venue:
            at = addresses("binance", "spot", "sandbox", {}, url=venue.url, rest_url=venue.rest_url)
            async with Streams(at, "spot", ["btcusdt@depth"]) as streams:
                await take(streams, lambda items: What.OPENED in whats(items))
                await streams.subscribe("ethusdt@depth")

    with pytest.raises(FeedError, match="SUBSCRIBE of ethusdt@depth: an acknowledgement was exp"):
        asyncio.run(inside())


def test_what_the_venue_refuses_of_streams_that_the_address_cannot_hold_is_told() -> None:
    async def inside() -> None:
        async with Venue(refuse).open() as venue:
            at = addresses("binance", "spot", "sandbox", {}, url=venue.url, rest_url=venue.rest_url)
            names = [f"nothing{number:04d}usdt@trade" for number in range(300)]
            async with Streams(at, "spot", names) as streams:
                items = await take(streams, lambda items: What.NEVER in whats(items))
            assert "SUBSCRIBE of nothing" in str(items[-1].content)
            assert "found code 2, 'no such thing'" in str(items[-1].content)

    asyncio.run(inside())
