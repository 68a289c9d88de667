"""The server over real sockets: REST, routes, limits, the end."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import aiohttp
import pytest
from sandbox_fixtures import BOTH, NATIVE, Client, LocalBook, remember, running, service

from mmkit.errors import ConfigError, VenueError
from mmkit_sandbox import connection
from mmkit_sandbox.channel import parse_stream
from mmkit_sandbox.exchange import Message


def test_rest_answers_as_binance_does() -> None:
    async def main() -> None:
        async with running() as client:
            assert await client.status("/api/v3/ping") == (200, {})
            assert await client.status("/fapi/v1/ping") == (200, {})
            for path in ("/api/v3/time", "/fapi/v1/time"):
                told = (await client.get(path))["serverTime"]
                assert abs(told - time.time() * 1000) < 1000
            assert (await client.get("/dapi/v1/exchangeInfo"))["symbols"] == []
            await asyncio.sleep(0.5)
            spot = await client.get("/api/v3/depth?symbol=BTCUSDT")
            assert list(spot) == ["lastUpdateId", "bids", "asks"]
            assert (len(spot["bids"]), len(spot["asks"])) == (100, 100)
            usdm = await client.get("/fapi/v1/depth?symbol=BTCUSDT&limit=20")
            assert list(usdm) == ["lastUpdateId", "E", "T", "bids", "asks"]
            assert len(usdm["bids"]) == 20
            more = await client.get("/api/v3/depth?symbol=BTCUSDT&limit=100000")
            assert 100 < len(more["bids"]) <= 5000
            trades = await client.get("/fapi/v1/trades?symbol=BTCUSDT&limit=1")
            assert set(trades[0]) == {"id", "price", "qty", "quoteQty", "time", "isBuyerMaker"}
            best = await client.get("/fapi/v1/ticker/bookTicker?symbol=BTCUSDT")
            assert float(best["bidPrice"]) < float(best["askPrice"])
            assert [one["symbol"] for one in await client.get("/api/v3/ticker/bookTicker")] == [
                "BTCUSDT"
            ]
            by_id = [
                (await client.get(f"{path}/aggTrades?symbol=BTCUSDT&fromId=2&limit=3"))
                for path in ("/api/v3", "/fapi/v1")
            ]
            assert [[one["a"] for one in trades] for trades in by_id] == [[2, 3, 4]] * 2
            assert [set(trades[0]) ^ set("apqflTm") for trades in by_id] == [{"M"}, set()]
            mark = await client.get("/fapi/v1/premiumIndex?symbol=BTCUSDT")
            assert float(mark["markPrice"]) == pytest.approx(float(best["bidPrice"]), rel=0.001)

    asyncio.run(main())


def test_coin_m_answers_as_binance_does_in_lists() -> None:
    async def main() -> None:
        async with running(symbols=("BTC/USD:BTC", "ETH/USD:ETH", "BTC/USDT:USDT")) as client:
            await asyncio.sleep(0.5)
            assert await client.status("/dapi/v1/ping") == (200, {})
            symbols = (await client.get("/dapi/v1/exchangeInfo"))["symbols"]
            told = [
                (one["symbol"], one["pair"], one["marginAsset"], one["contractSize"])
                for one in symbols
            ]
            assert told == [
                ("BTCUSD_PERP", "BTCUSD", "BTC", 100),
                ("ETHUSD_PERP", "ETHUSD", "ETH", 10),
            ]
            assert {one["contractStatus"] for one in symbols} == {"TRADING"}
            filters = {one["filterType"]: one for one in symbols[0]["filters"]}
            assert filters["PRICE_FILTER"]["tickSize"] == "0.1"
            assert filters["LOT_SIZE"]["stepSize"] == "1"
            assert "MIN_NOTIONAL" not in filters
            depth = await client.get("/dapi/v1/depth?symbol=BTCUSD_PERP&limit=5")
            assert set(depth) == {"lastUpdateId", "symbol", "pair", "E", "T", "bids", "asks"}
            assert len(depth["bids"]) == 5
            (trade,) = await client.get("/dapi/v1/trades?symbol=BTCUSD_PERP&limit=1")
            base = int(trade["qty"]) * 100 / float(trade["price"])
            assert float(trade["baseQty"]) == pytest.approx(base, abs=1e-8)
            for path, one in (
                ("ticker/bookTicker", {"bidPrice", "askQty", "lastUpdateId", "time"}),
                ("premiumIndex", {"markPrice", "lastFundingRate", "nextFundingTime", "time"}),
            ):
                for query, names in (
                    ("?symbol=ETHUSD_PERP", ["ETHUSD_PERP"]),
                    ("?pair=BTCUSD", ["BTCUSD_PERP"]),
                    ("", ["BTCUSD_PERP", "ETHUSD_PERP"]),
                ):
                    found = await client.get(f"/dapi/v1/{path}{query}")
                    assert [each["symbol"] for each in found] == names
                    assert all(set(each) >= one | {"pair"} for each in found)

    asyncio.run(main())


def test_exchange_info_tells_the_grid() -> None:
    async def main() -> None:
        async with running() as client:
            for path, tick, lot in (
                ("/api/v3", "0.01000000", "0.00001000"),
                ("/fapi/v1", "0.10", "0.001"),
            ):
                (symbol,) = (await client.get(path + "/exchangeInfo"))["symbols"]
                filters = {one["filterType"]: one for one in symbol["filters"]}
                assert filters["PRICE_FILTER"]["tickSize"] == tick
                assert filters["LOT_SIZE"]["stepSize"] == lot
                assert (symbol["baseAsset"], symbol["quoteAsset"]) == ("BTC", "USDT")
            (perpetual,) = (await client.get("/fapi/v1/exchangeInfo"))["symbols"]
            assert perpetual["contractType"] == "PERPETUAL"
            assert perpetual["marginAsset"] == "USDT"
            found = await client.get('/api/v3/exchangeInfo?symbols=["BTCUSDT"]')
            assert len(found["symbols"]) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "status", "code", "words"),
    [
        ("/api/v3/depth", 400, -1102, "Mandatory parameter 'symbol'"),
        ("/api/v3/depth?symbol=ETHUSDT", 400, -1121, "Invalid symbol."),
        ("/fapi/v1/trades?symbol=ETHUSDT", 400, -1121, "Invalid symbol."),
        ("/api/v3/depth?symbol=btcusdt", 400, -1100, "Illegal characters"),
        ("/api/v3/depth?symbol=BTCUSDT&limit=x", 400, -1100, "'limit'"),
        ("/api/v3/depth?symbol=BTCUSDT&limit=0", 400, -1130, "'limit'"),
        ("/fapi/v1/depth?symbol=BTCUSDT&limit=7", 400, -4021, "7 is not valid depth limit"),
        ("/api/v3/exchangeInfo?symbol=NOPE", 400, -1121, "Invalid symbol."),
        ("/dapi/v1/depth?symbol=BTCUSD", 400, -1121, "Invalid symbol."),
        ("/fapi/v1/aggTrades?symbol=BTCUSDT&fromId=x", 400, -1100, "'fromId'"),
        ("/api/v3/order", 401, -2014, "API-key format invalid."),
        ("/dapi/v1/forceOrders", 404, -5000, "invalid"),
        ("/nothing", 404, -5000, "invalid"),
        ("/ws", 400, -5000, "WebSocket"),
    ],
)
def test_a_wrong_request_gets_binances_error(path: str, status: int, code: int, words: str) -> None:
    async def main() -> None:
        async with running() as client:
            found, body = await client.status(path)
            assert (found, body["code"]) == (status, code)
            assert words in body["msg"]

    asyncio.run(main())


def test_requests_are_weighed() -> None:
    async def main() -> None:
        async with running() as client:
            used = []
            for _ in range(2):
                url = client.url + "/api/v3/depth?symbol=BTCUSDT&limit=5000"
                async with client.session.get(url) as response:
                    used.append(int(response.headers["X-MBX-USED-WEIGHT-1M"]))
            assert used[0] == 250
            assert used[1] in {250, 500}  # 250 if a minute has just begun

    asyncio.run(main())


CARRIED = {
    "/ws/btcusdt@bookTicker": {None},
    "/ws/btcusdt@bookTicker/btcusdt@depth@100ms": {None},
    "/stream/ws/btcusdt@bookTicker": {None},
    "/stream?streams=btcusdt@depth@100ms/btcusdt@depth20@100ms": {"depth@100ms", "depth20@100ms"},
    "/fstream/public/ws/btcusdt@depth@100ms": {None},
    "/fstream/public/stream?streams=btcusdt@depth@100ms/btcusdt@aggTrade": {"depth@100ms"},
    "/fstream/market/stream?streams=btcusdt@markPrice@1s/btcusdt@trade": {"markPrice@1s"},
    "/fstream/stream?streams=btcusdt@depth/btcusdt@markPrice@1s": {"depth"},
    "/fstream/market/ws/btcusdt@depth": set(),
    "/fstream/public/ws/btcusdt@markPrice@1s": set(),
    "/fstream/private/ws?listenKey=x": set(),
    "/ws/btcusdt@no_such_stream": set(),
    "/ws/ethusdt@trade": set(),
}


def test_an_address_carries_its_streams_and_stays_silent_about_others() -> None:
    async def main() -> None:
        async with running() as client:
            # Long enough for a mark price, which comes every second.
            heard = await asyncio.gather(*(client.listen(path, 1.3) for path in CARRIED))
            names = [
                {name and name.partition("@")[2] for name in (one.get("stream") for one in said)}
                for said in heard
            ]
            assert dict(zip(CARRIED, names, strict=True)) == CARRIED

    asyncio.run(main())


@pytest.mark.parametrize(
    "path", ["/ws", "/ws/0", "/stream/ws/1", "/fstream/public/ws/2", "/fstream/ws"]
)
def test_a_connection_can_subscribe_and_is_acknowledged_first(path: str) -> None:
    async def main() -> None:
        async with running() as client, client.connect(path) as socket:
            names = ["btcusdt@depth@100ms", "btcusdt@bookTicker"]
            await socket.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
            assert await socket.receive_json(timeout=1) == {"result": None, "id": 1}
            assert "u" in await socket.receive_json(timeout=1)
            await socket.send_json({"method": "UNSUBSCRIBE", "params": names, "id": 2})
            while (await socket.receive_json(timeout=1)).get("id") != 2:
                pass
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.receive(), 0.3)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("market", "stream", "rest"),
    [
        ("spot", "/stream?streams=btcusdt@depth@100ms", "/api/v3/depth?limit=5000"),
        ("usdm", "/fstream/public/stream?streams=btcusdt@depth@100ms", "/fapi/v1/depth?limit=1000"),
        ("coinm", "/dstream/stream?streams=btcusd_perp@depth@100ms", "/dapi/v1/depth?limit=1000"),
    ],
)
def test_a_client_that_synchronises_has_the_exchanges_book(
    market: str, stream: str, rest: str
) -> None:
    async def main() -> int:
        compared = 0
        symbols = (*BOTH, "BTC/USD:BTC")
        async with running(symbols=symbols) as client, client.connect(stream) as socket:
            states = remember(client.sandbox.exchange, market)
            diffs = [(await socket.receive_json())["data"] for _ in range(2)]
            local = LocalBook(market, await client.get(f"{rest}&symbol={NATIVE[market]}"))
            diffs += [(await socket.receive_json())["data"] for _ in range(12)]
            for diff in diffs:
                local.apply(diff)
                if local.synchronised and local.update_id in states:
                    assert local.top(20) == states[local.update_id]
                    compared += 1
        return compared

    assert asyncio.run(main()) >= 2


def test_too_many_messages_end_the_connection() -> None:
    async def flood(client: Client, path: str, count: int) -> Any:
        async with client.connect(path) as socket:
            for number in range(count):
                await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
            async for message in socket:
                if message.json()["id"] == count - 1:
                    return None
            return socket.close_code

    async def main() -> None:
        async with running() as client:
            assert await flood(client, "/ws", 5) is None
            assert await flood(client, "/ws", 6) == 1008
            assert await flood(client, "/fstream/public/ws", 10) is None
            assert await flood(client, "/fstream/public/ws", 11) == 1008

    asyncio.run(main())


def test_the_server_pings_and_ends_a_connection_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(connection._PING_EVERY, "spot", 0.25)
    monkeypatch.setitem(connection._PONG_WITHIN, "spot", 0.6)

    async def main() -> None:
        async with running() as client:
            async with client.connect("/ws", autoping=False) as socket:
                pings = []
                async for message in socket:
                    pings.append(message.data)
                assert socket.close_code == 1008
            assert len(pings) >= 2
            assert all(int(payload) > 1_600_000_000_000 for payload in pings)
            async with client.connect("/ws") as socket:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(socket.receive(), 1.2)

    asyncio.run(main())


def test_a_clients_ping_is_answered_with_its_payload() -> None:
    async def main() -> None:
        async with running() as client, client.connect("/ws", autoping=False) as socket:
            await socket.ping(b"hello")
            message = await socket.receive(timeout=1)
            assert (message.type, message.data) == (aiohttp.WSMsgType.PONG, b"hello")

    asyncio.run(main())


def test_a_port_in_use_is_named_with_what_to_do() -> None:
    async def main() -> None:
        async with running() as client:
            port = int(client.url.rpartition(":")[2])
            with pytest.raises(VenueError, match=rf"port {port} is in use .*--port 8788"):
                await service(port=port).start()

    asyncio.run(main())


def test_an_address_that_is_not_ours_is_an_error_in_words() -> None:
    with pytest.raises(VenueError, match=r"cannot listen on 203\.0\.113\.1"):
        asyncio.run(service(host="203.0.113.1").start())


def test_a_symbol_that_cannot_be_listed_is_a_mistake_in_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"services\.sandbox\.symbols: .*'BTC/USDT'"):
        service(symbols=("BTCUSDT",))


def test_the_service_lists_the_runs_instrument_unless_told_otherwise() -> None:
    listed = service().listings
    assert [(one.market, one.symbol) for one in listed] == [("usdm", "BTCUSDT")]


def test_it_stops_at_once_and_tells_its_clients() -> None:
    async def main() -> None:
        sandbox = service()
        url = await sandbox.start()
        async with aiohttp.ClientSession() as session:
            sockets = [
                await session.ws_connect(url + "/fstream/public/ws/btcusdt@bookTicker")
                for _ in range(3)
            ]

            async def read_on(socket: aiohttp.ClientWebSocketResponse) -> int | None:
                async for message in socket:
                    assert message.type is aiohttp.WSMsgType.TEXT
                return socket.close_code

            reading = [asyncio.create_task(read_on(socket)) for socket in sockets[:2]]
            await asyncio.sleep(0.1)
            began = time.monotonic()
            await sandbox.stop()  # the third client does not even read
            assert time.monotonic() - began < 0.6
            assert await asyncio.gather(*reading) == [1001, 1001]
        # The port is free again.
        again = service(port=int(url.rpartition(":")[2]))
        await again.start()
        await again.stop()

    asyncio.run(main())


def test_a_client_that_does_not_read_is_cut_off_and_the_others_miss_nothing() -> None:
    stream = "btcusdt@depth@100ms"
    channel = parse_stream("usdm", stream)
    assert channel is not None

    async def main() -> None:
        async with running() as client:
            served = client.sandbox._server
            assert served is not None
            path = f"/fstream/public/ws/{stream}"
            async with client.connect(path) as reads, client.connect(path) as stands_still:
                await reads.receive_json()
                await stands_still.receive_json()
                stands_still._response.connection.transport.pause_reading()
                heard = []
                for number in range(60):
                    served._publish([Message(channel, b'{"n":%d%s}' % (number, b" " * 1_000_000))])
                    while (said := await reads.receive_json()).get("n") != number:
                        heard.append(said)
                assert len(served._connections) == 1
                stands_still._response.connection.transport.abort()
                assert all(b["pu"] == a["u"] for a, b in itertools.pairwise(heard))

    asyncio.run(main())


def test_spot_tells_its_times_in_microseconds_when_asked_to() -> None:
    async def main() -> None:
        async with running() as client:
            path = "/stream?streams=btcusdt@trade/btcusdt@depth@100ms"
            (plain, micro) = await asyncio.gather(
                client.listen(path, 1.0), client.listen(path + "&timeUnit=microsecond", 1.0)
            )
            told = {one["stream"]: one["data"]["E"] for one in micro}
            assert len(told) == 2
            assert all(10**15 < time < 10**16 for time in told.values())
            assert all(one["data"]["E"] < 10**14 for one in plain)
            heads = {"X-MBX-TIME-UNIT": "MICROSECOND"}
            async with client.session.get(client.url + "/api/v3/time", headers=heads) as response:
                body = await response.json()
            assert abs(body["serverTime"] - time.time() * 1e6) < 1e6

    asyncio.run(main())


@pytest.mark.parametrize("combined", [True, False])
def test_a_shutdown_is_announced_in_the_clients_form_and_then_happens(combined: bool) -> None:
    async def main() -> None:
        async with running() as client:
            path = "/stream?streams=btcusdt@depth" if combined else "/ws/btcusdt@depth"
            async with client.connect(path) as socket:
                await asyncio.sleep(0.1)
                client.sandbox.announce_shutdown(close_after_s=0.1)
                while True:
                    notice = (await socket.receive()).json()
                    if "serverShutdown" in str(notice):
                        break
                data = notice.pop("data") if combined else notice
                assert notice == ({"stream": "!serverShutdown"} if combined else data)
                assert data["e"] == "serverShutdown"
                while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
                assert socket.close_code == 1001

    asyncio.run(main())
