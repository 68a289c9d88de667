"""Connections that many symbols share, over loopback: who is told what, and who comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from binance_fixtures import book_of, envelope
from binance_venue import Venue, source, spec_of
from sandboxed import Exchange, check_whole, exchange, payloads, take
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from mmkit.tape import KIND, GapReason, Kind, Row
from mmkit_binance import group, roster, subscription
from mmkit_binance.endpoints import Addresses, addresses, stream_names
from mmkit_binance.group import Groups, Terms
from mmkit_binance.sockets import Item, What
from mmkit_binance.subscription import Subscription

BASES = [f"C{number:02d}" for number in range(6)]
STREAMS = {"spot": ("depth", "trade"), "usdm": ("depth", "aggTrade")}


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mmkit.binance")


def whats(items: list[Item]) -> list[What]:
    return [item.what for item in items if item.what is not What.MESSAGE]


@asynccontextmanager
async def subscribed(
    at: Addresses, market: str, bases: list[str], **terms: Any
) -> AsyncIterator[tuple[Groups, dict[str, Subscription]]]:
    groups = Groups(Terms(at, market, **terms))
    found = {
        base: Subscription(groups, stream_names(market, f"{base}USDT", STREAMS[market], "100ms"))
        for base in bases
    }
    for one in found.values():
        one.start()
    try:
        yield groups, found
    finally:
        await asyncio.gather(*(one.stop() for one in found.values()))


def sockets(found: Exchange) -> list[Any]:
    server: Any = found.sandbox
    return list(server._server._connections)


def check(found: Exchange, market: str, base: str, items: list[Item]) -> None:
    """Check that a symbol was told its own streams and no others, each message once."""
    heard = payloads(items)
    native = f"{base}USDT"
    assert set(heard) == set(stream_names(market, native, STREAMS[market], "100ms"))
    for name, messages in heard.items():
        kind = name.partition("@")[2].partition("@")[0]
        check_whole(messages, found.said[market, native, kind])


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_symbols_share_one_connection_a_route_and_each_is_told_its_own(market: str) -> None:
    async def inside() -> None:
        suffix = ":USDT" if market == "usdm" else ""
        async with (
            exchange(*(f"{base}/USDT{suffix}" for base in BASES)) as found,
            subscribed(found.at(market), market, BASES, lifetime_s=1.0) as (groups, there),
        ):
            taken = await asyncio.gather(
                *(
                    take(one, lambda items: len(payloads(items)) == 2 and len(items) > 60)
                    for one in there.values()
                )
            )
            assert groups.connections == (1 if market == "spot" else 2)
            for base, items in zip(there, taken, strict=True):
                assert What.LOST not in whats(items)  # though the connection was replaced meanwhile
                check(found, market, base, items)

    asyncio.run(inside())


def test_a_loss_is_told_to_every_symbol_on_the_connection_and_to_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group, "SYMBOLS", 4)

    async def inside() -> None:
        async with (
            exchange(*(f"{base}/USDT" for base in BASES)) as found,
            subscribed(found.at("spot"), "spot", BASES) as (groups, there),
        ):
            assert groups.connections == 2
            every = list(there.values())
            await asyncio.gather(*(take(one, lambda items: len(items) > 10) for one in every))
            (shared,) = [one for one in sockets(found) if len(one.session.subscriptions) == 8]
            shared.end(1001, "Going away")
            items = await asyncio.gather(
                *(take(one, lambda items: What.OPENED in whats(items)) for one in every[:4]),
                *(take(one, lambda items: len(items) > 30) for one in every[4:]),
            )
            assert [whats(each) for each in items[:4]] == [[What.LOST, What.OPENED]] * 4
            assert [whats(each) for each in items[4:]] == [[]] * 2

    asyncio.run(inside())


def test_a_loss_on_one_route_is_not_told_to_a_symbol_that_uses_only_the_other() -> None:
    async def inside() -> None:
        async with exchange("BTC/USDT:USDT", "ETH/USDT:USDT") as found:
            groups = Groups(Terms(found.at("usdm"), "usdm"))
            book = Subscription(groups, ["btcusdt@depth@100ms"])
            trades = Subscription(groups, ["ethusdt@aggTrade"])
            for one in (book, trades):
                one.start()
                await take(one, lambda items: len(items) > 3)
            for socket in sockets(found):
                if "DEPTH" in str(socket.session.subscriptions).upper():
                    socket.end(1001, "Going away")
            told = await take(book, lambda items: What.OPENED in whats(items))
            assert whats(told) == [What.LOST, What.OPENED]
            assert whats(await take(trades, lambda items: len(items) > 10)) == []
            for one in (book, trades):
                await one.stop()

    asyncio.run(inside())


def test_a_symbol_comes_and_goes_and_the_others_lose_nothing() -> None:
    async def inside() -> None:
        async with (
            exchange(*(f"{base}/USDT" for base in BASES)) as found,
            subscribed(found.at("spot"), "spot", BASES[:3]) as (groups, there),
        ):
            stays = there[BASES[0]]
            items = await take(stays, lambda items: len(items) > 20)
            for base in BASES[3:]:
                names = stream_names("spot", f"{base}USDT", STREAMS["spot"], "100ms")
                comes = Subscription(groups, names)
                comes.start()
                check(found, "spot", base, await take(comes, lambda told: len(payloads(told)) == 2))
                await comes.stop()
            await there[BASES[1]].stop()
            items += await take(stays, lambda more: len(more) > 100)
            assert groups.connections == 1
            (socket,) = sockets(found)
            assert len(socket.session.subscriptions) == 4  # of the two that are left
            assert whats(items) == [What.OPENED]
            check(found, "spot", BASES[0], items)
            await asyncio.gather(*(one.stop() for one in there.values()))
            assert groups.connections == 0

    asyncio.run(inside())


def test_a_symbol_that_is_not_taken_loses_its_own_messages_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscription, "WAITING", 20)
    monkeypatch.setattr(group, "PATIENCE_S", 0.2)

    async def inside() -> None:
        async with (
            exchange(*(f"{base}/USDT" for base in BASES)) as found,
            subscribed(found.at("spot"), "spot", BASES) as (_, there),
        ):
            slow, *others = there.values()
            # Six times what the slow one may have waiting.
            taken = await asyncio.gather(
                *(take(one, lambda items: len(items) > 120, timeout_s=30) for one in others)
            )
            for base, items in zip(BASES[1:], taken, strict=True):
                assert whats(items) == [What.OPENED]
                check(found, "spot", base, items)
            items = await take(slow, lambda items: len(items) > 20)
            assert whats(items) == [What.OPENED, What.OVERRUN]
            check(found, "spot", BASES[0], items)  # whole again from then on

    asyncio.run(inside())


def test_a_book_that_stalls_gets_a_connection_of_its_own_and_the_others_keep_theirs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The venue says nothing more of one symbol's depth on the first connection, but its trades go on."""
    alone = asyncio.Event()
    answering: list[asyncio.Future[None]] = []

    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        answering.append(asyncio.ensure_future(answer(socket)))
        if number > 1:
            alone.set()
        with contextlib.suppress(ConnectionClosed):
            for count in range(10_000):
                for symbol in ("a", "b"):
                    name = f"{symbol}usdt"
                    if symbol == "b" or number > 1 or count < 20:
                        await socket.send(envelope(f"{name}@depth@100ms", {"u": count}))
                    await socket.send(envelope(f"{name}@trade", {"t": count}))
                await asyncio.sleep(0.01)

    async def answer(socket: ServerConnection) -> None:
        async for request in socket:
            asked.append(json.loads(request))
            await socket.send(json.dumps({"result": None, "id": asked[-1]["id"]}))

    asked: list[dict[str, Any]] = []

    async def inside() -> None:
        async with Venue(script).open() as venue:
            at = addresses("binance", "spot", "sandbox", {}, url=venue.url, rest_url=venue.rest_url)
            async with subscribed(at, "spot", ["A", "B"], behind_s=0.3) as (groups, there):
                taking = asyncio.ensure_future(take(there["B"], lambda _: alone.is_set()))
                stalled = await take(there["A"], lambda items: whats(items).count(What.OPENED) == 2)
                assert whats(stalled) == [What.OPENED, What.STALLED, What.OPENED]
                more = await take(there["A"], lambda more: len(more) > 4)
                assert "ausdt@depth@100ms" in {item.stream for item in more}
                assert whats(await taking) == [What.OPENED]
                assert len(venue.connected) == groups.connections == 2
                assert ("UNSUBSCRIBE", ["ausdt@depth@100ms", "ausdt@trade"]) in [
                    (one["method"], one["params"]) for one in asked
                ]

    asyncio.run(inside())
    assert "stream has stopped while others go on: ausdt@depth@100ms" in caplog.text


def test_after_a_loss_all_books_on_the_connection_are_the_exchanges_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "TELL_S", 0.2)

    async def inside() -> None:
        async with exchange(*(f"{base}/USDT" for base in BASES)) as found:
            rows: dict[str, list[Row]] = {base: [] for base in BASES}

            async def run(base: str) -> None:
                live = source(
                    spec_of("spot", f"{base}/USDT"),
                    endpoint="sandbox",
                    endpoints={"sandbox": found.url},
                )
                async for more in live.stream():
                    rows[base] += more

            async def until(losses: int) -> None:
                async with asyncio.timeout(20):
                    while not all(
                        gaps(rows[base]).count(GapReason.CONNECTION) == losses
                        and book_of(rows[base]).known
                        for base in BASES
                    ):
                        await asyncio.sleep(0.1)

            tasks = [asyncio.ensure_future(run(base)) for base in BASES]
            await until(0)
            (socket,) = sockets(found)
            socket.end(1006, "")
            await until(1)
            await asyncio.sleep(0.3)  # for the roster
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert len(sockets(found)) == 0
            assert all(
                gaps(each) == [GapReason.START, GapReason.CONNECTION] for each in rows.values()
            )

    asyncio.run(inside())
    assert f"{len(BASES)} of {len(BASES)} books known" in caplog.text


def gaps(rows: list[Row]) -> list[GapReason]:
    return [GapReason(row[3]) for row in rows if row[2] & KIND == Kind.GAP]


def test_what_every_symbol_must_know_is_asked_once() -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        await venue.flow(socket)

    async def inside() -> list[str]:
        async with Venue(script).open() as venue:
            specs = [spec_of("spot", f"{base}/USDT") for base in ("BTC", "ETH", "BTC", "ETH")]
            config = {"endpoint": "sandbox", "url": venue.url, "rest_url": venue.rest_url}
            found = [source(spec, **config) for spec in specs]
            instruments = await asyncio.gather(*(one.instrument() for one in found))
            assert [one.native for one in instruments] == ["BTCUSDT", "ETHUSDT"] * 2
            return venue.asked

    asked = asyncio.run(inside())
    assert sorted(asked) == [f"/api/v3/exchangeInfo?symbol={base}USDT" for base in ("BTC", "ETH")]


def test_many_symbols_are_looked_up_in_the_list_of_all() -> None:
    async def inside() -> list[str]:
        async with exchange(*(f"{base}/USDT" for base in BASES)) as found:
            live = [
                source(
                    spec_of("spot", f"{base}/USDT"),
                    endpoint="sandbox",
                    endpoints={"sandbox": found.url},
                )
                for base in BASES
            ]
            return [(await one.instrument()).native for one in live]

    assert asyncio.run(inside()) == [f"{base}USDT" for base in BASES]
