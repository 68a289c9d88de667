"""The live source against real sockets: what comes, what is lost, what is wrong from the start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket as sockets
from collections.abc import Callable
from decimal import Decimal
from http import HTTPStatus

import binance_venue
import pytest
from aiohttp import web
from binance_fixtures import MS, book_of, envelope, snapshot
from binance_venue import Venue, collect, listing, source, spec_of
from websockets.asyncio.server import ServerConnection

from mmkit.clock import SystemClock
from mmkit.errors import ConfigError, FeedError
from mmkit.tape import KIND, SELL, GapReason, Kind, Row
from mmkit_binance import line, rest
from mmkit_binance import sockets as connections
from mmkit_binance.endpoints import SANDBOX, addresses, routes, stream_names


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """First contact gives up after five tries all the same, but not after 4.5 s."""
    monkeypatch.setattr(rest, "FIRST_DELAYS_S", (0.01, 0.01, 0.02, 0.02))
    monkeypatch.setattr(connections, "FIRST_DELAYS_S", (0.01, 0.01, 0.02, 0.02))


def gaps(rows: list[Row]) -> list[GapReason]:
    return [GapReason(row[3]) for row in rows if row[2] & KIND == Kind.GAP]


def known_again(losses: int) -> Callable[[list[Row]], bool]:
    """Return whether the book has become known after so many losses."""

    def until(rows: list[Row]) -> bool:
        kinds = [row[2] & KIND for row in rows]
        return kinds.count(Kind.SNAPSHOT) > losses and book_of(rows).known

    return until


def check_book(venue: Venue, rows: list[Row]) -> None:
    """Check that the book is one that the venue had."""
    book = book_of(rows)
    assert book.known
    (quantity,) = book.bids.levels.values()
    assert 100_000 <= quantity <= venue.last * 1000
    assert book.asks.levels == {1010: 1000}


@pytest.fixture(autouse=True, params=["yielded", "handed over"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all of this hold for rows that are yielded, and for those that are handed over."""
    monkeypatch.setattr(binance_venue, "WAY", [request.param])


async def steady(venue: Venue, socket: ServerConnection, number: int) -> None:
    await venue.flow(socket)


def run(venue: Venue, until: Callable[[list[Row]], bool], **config: object) -> list[Row]:
    async def inside() -> list[Row]:
        async with venue.open():
            return await collect(venue.source(**config), until)

    return asyncio.run(inside())


# --- what comes ---------------------------------------------------------------------------------


def test_the_book_becomes_known_and_follows_the_venue() -> None:
    venue = Venue(steady)
    rows = run(venue, lambda rows: known_again(0)(rows) and len(rows) > 20)
    assert gaps(rows) == [GapReason.START]
    check_book(venue, rows)
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    assert venue.connected == [
        "/stream?streams=btcusdt@depth@100ms/btcusdt@trade&timeUnit=MICROSECOND"
    ]
    assert venue.asked[0] == "/api/v3/exchangeInfo?symbol=BTCUSDT"
    assert venue.asked[-1] == "/api/v3/depth?symbol=BTCUSDT&limit=1000"


def test_usdm_connects_to_each_route_for_its_streams() -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        assert socket.request is not None
        if "/public/" in socket.request.path:
            await venue.flow(socket)
        trade = {
            "e": "aggTrade",
            "E": venue.now_ms(),
            "T": venue.now_ms(),
            "s": "BTCUSDT",
            "p": "100.00",
            "q": "0.5",
            "m": True,
        }
        for _ in range(1000):
            await socket.send(envelope("btcusdt@aggTrade", trade))
            await asyncio.sleep(0.01)

    venue = Venue(script, "usdm")
    rows = run(
        venue,
        lambda rows: book_of(rows).known and any(row[2] & KIND == Kind.TRADE for row in rows),
    )
    assert sorted(venue.connected) == [
        "/market/stream?streams=btcusdt@aggTrade",
        "/public/stream?streams=btcusdt@depth@100ms",
    ]
    assert venue.asked[0] == "/fapi/v1/exchangeInfo"
    check_book(venue, rows)
    assert next(row[2] & SELL for row in rows if row[2] & KIND == Kind.TRADE) == SELL


def test_coinm_is_inverse_and_counts_contracts() -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        await venue.flow(socket)

    venue = Venue(script, "coinm")

    async def inside() -> list[Row]:
        async with venue.open():
            live = venue.source()
            found = await live.instrument()
            assert (found.native, found.kind, found.settle) == ("BTCUSD_PERP", "inverse", "BTC")
            assert found.contract_size == 100
            return await collect(live, known_again(0))

    check_book(venue, asyncio.run(inside()))
    assert venue.connected == [
        "/stream?streams=btcusd_perp@depth@100ms/btcusd_perp@aggTrade",
    ]
    assert venue.asked[0] == "/dapi/v1/exchangeInfo"
    assert venue.asked[-1] == "/dapi/v1/depth?symbol=BTCUSD_PERP&limit=1000"
    words = instrument_refusal(Venue(script, "coinm"), "coinm", contract_size=Decimal(10))
    assert words == "instrument.contract_size: the venue's is 100; found 10; remove it"


def test_rows_are_stamped_when_they_are_taken_so_that_time_never_goes_back() -> None:
    async def inside() -> None:
        clock = SystemClock()
        async with Venue(steady).open() as venue:
            stream = venue.source(clock).stream()
            resumed = clock.now_ns()
            for _ in range(30):
                rows = await anext(stream)
                assert resumed < rows[0][1] <= rows[-1][1] < clock.now_ns()
                # Messages pile up while the run is busy; their times are still after that.
                await asyncio.sleep(0.02)
                resumed = clock.now_ns()
            await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(inside())


def test_the_venues_times_are_moved_by_the_difference_between_the_clocks() -> None:
    venue = Venue(steady)
    venue.ahead_ms = 5000
    found: list[int] = []

    async def inside() -> list[Row]:
        async with venue.open():
            live = venue.source()
            rows = await collect(live, lambda rows: known_again(0)(rows) and len(rows) > 20)
            found.extend(live.stats.clock_offset_ns)
            return rows

    rows = asyncio.run(inside())
    assert abs(found[0] - 5000 * MS) < 50 * MS
    assert all(-50 * MS < row[1] - row[0] < 500 * MS for row in rows)


def test_a_difference_that_cannot_be_told_from_noise_is_none() -> None:
    venue = Venue(steady)
    offsets: list[int] = []

    async def inside() -> None:
        async with venue.open():
            live = venue.source()
            await collect(live, known_again(0))
            offsets.extend(live.stats.clock_offset_ns)

    asyncio.run(inside())
    assert offsets == [0]


def test_a_stale_snapshot_is_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    venue = Venue(steady)
    old = web.Response(text=snapshot(50, [(90.0, 1)]), content_type="application/json")
    venue.answers["depth"] = [old]
    rows = run(venue, known_again(0))
    check_book(venue, rows)
    assert "stale snapshot, asking again" in caplog.text


# --- what is lost -------------------------------------------------------------------------------


def test_a_normal_close_is_a_loss_and_the_book_is_rebuilt() -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        await venue.flow(socket, 20 if number == 1 else 10_000)
        await socket.close(1000, "see you")

    venue = Venue(script)
    rows = run(venue, known_again(1))
    assert gaps(rows) == [GapReason.START, GapReason.CONNECTION]
    assert len(venue.connected) == 2
    check_book(venue, rows)


def test_an_abrupt_end_is_a_loss_and_the_book_is_rebuilt() -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        await venue.flow(socket, 20 if number == 1 else 10_000)
        socket.transport.abort()

    venue = Venue(script)
    rows = run(venue, known_again(1))
    assert gaps(rows) == [GapReason.START, GapReason.CONNECTION]
    check_book(venue, rows)


@pytest.mark.parametrize("combined", [True, False])
def test_a_server_that_says_it_shuts_down_is_left_without_a_gap(combined: bool) -> None:
    notice: dict[str, object] = {"e": "serverShutdown", "E": 1}

    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        await venue.flow(socket, 20 if number == 1 else 10_000)
        await socket.send(envelope("!serverShutdown", notice) if combined else json.dumps(notice))
        await socket.wait_closed()

    venue = Venue(script)
    # The old connection says no more, and the first update of the new one follows its last.
    rows = run(venue, lambda rows: len(rows) > 100)
    assert gaps(rows) == [GapReason.START]
    assert len(venue.connected) == 2
    check_book(venue, rows)


def test_a_server_that_shuts_down_before_another_is_reached_is_a_loss(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        await venue.flow(socket, 20 if number == 1 else 10_000)
        await socket.send(envelope("!serverShutdown", {"e": "serverShutdown", "E": 1}))
        socket.transport.abort()

    venue = Venue(script)
    rows = run(venue, known_again(1))
    assert gaps(rows) == [GapReason.START, GapReason.CONNECTION]
    assert "after the server said that it shuts down" in caplog.text
    check_book(venue, rows)


def test_silence_is_a_loss_and_the_book_is_rebuilt(caplog: pytest.LogCaptureFixture) -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        if number > 1:
            await venue.flow(socket)
        await venue.flow(socket, 20)
        await socket.wait_closed()

    venue = Venue(script)
    rows = run(venue, known_again(1), silence="300ms")
    # Hanging up is our own doing and not told as another loss.
    assert gaps(rows) == [GapReason.START, GapReason.SILENCE]
    check_book(venue, rows)


def test_a_stream_that_never_delivers_is_named(caplog: pytest.LogCaptureFixture) -> None:
    venue = Venue(steady)

    def until(rows: list[Row]) -> bool:
        return "delivered nothing" in caplog.text

    run(venue, until, deliver_within="200ms")
    assert "streams that have delivered nothing: btcusdt@trade" in caplog.text
    assert len(venue.connected) == 1


def test_a_stream_of_trades_that_tells_none_although_there_are_some_is_an_error_by_name() -> None:
    venue = Venue(steady)

    def until(rows: list[Row]) -> bool:
        # Of before the stream was asked for there may be some; then there is one that it should have told.
        if len(rows) > 50 and not venue.traded_ms:
            venue.traded_ms = [venue.now_ms() - 60_000]
        if any("trades" in path for path in venue.asked):
            venue.traded_ms = [venue.now_ms()]
        return False

    words = "messages of 'btcusdt@trade' were expected .* over REST, 'trades' has a trade of 20"
    with pytest.raises(FeedError, match=words):
        run(venue, until, deliver_within="300ms")


def test_a_stream_that_says_nothing_gives_no_book_however_often_it_is_opened() -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        await socket.wait_closed()

    venue = Venue(script)
    rows = run(venue, lambda rows: len(rows) == 2, silence="100ms")
    assert gaps(rows) == [GapReason.SILENCE] * 2
    assert not any("depth" in path for path in venue.asked)


def test_a_missing_update_is_a_gap_and_the_book_is_rebuilt() -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        await venue.flow(socket, 20)
        await socket.send(venue.diff(skip=3))
        await venue.flow(socket)

    venue = Venue(script)
    rows = run(venue, known_again(1))
    assert gaps(rows) == [GapReason.START, GapReason.SEQUENCE]
    assert len(venue.connected) == 1
    check_book(venue, rows)


def test_after_losing_one_route_the_book_stays_unknown_until_it_is_back() -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        assert socket.request is not None
        if "/public/" in socket.request.path:
            await venue.flow(socket)
        await socket.send(envelope("btcusdt@aggTrade", {"s": "ETHUSDT"}).replace("btc", "eth"))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(socket.wait_closed(), 0.2 if number <= 2 else None)

    venue = Venue(script, "usdm")
    rows = run(venue, known_again(1))
    assert gaps(rows) == [GapReason.START, GapReason.CONNECTION]
    assert [path.split("/")[1] for path in venue.connected].count("market") == 2


def test_a_snapshot_that_fails_once_data_has_flowed_is_asked_for_until_it_comes() -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        await venue.flow(socket, 20)
        busy = [web.Response(status=429, headers={"Retry-After": "0"}) for _ in range(2)]
        venue.answers["depth"] = [*busy, web.Response(status=HTTPStatus.BAD_GATEWAY)]
        await socket.send(venue.diff(skip=3))
        await venue.flow(socket)

    venue = Venue(script)
    check_book(venue, run(venue, known_again(1)))


def test_a_snapshot_asked_for_before_a_loss_is_not_used_after_it() -> None:
    answered = asyncio.Event()

    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        if number == 1:
            await socket.send(venue.diff())
            await asyncio.sleep(0.1)  # the snapshot is asked for
            venue.last += 50
            await socket.close()
            answered.set()
            return
        await asyncio.sleep(0.2)
        await venue.flow(socket)

    async def inside() -> list[Row]:
        async with Venue(script).open() as venue:
            venue.held["depth"] = answered
            stream = venue.source().stream()
            rows = await anext(stream)
            await asyncio.sleep(0.3)  # both the loss and the answer wait to be taken
            async with asyncio.timeout(10):
                while not book_of(rows).known or len(rows) < 20:
                    rows += await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]
            check_book(venue, rows)
            return rows

    assert gaps(asyncio.run(inside())) == [GapReason.START, GapReason.CONNECTION]


# --- what is wrong from the start ---------------------------------------------------------------


def refusal(venue: Venue, **config: object) -> str:
    with pytest.raises(FeedError) as error:
        run(venue, lambda _: False, **config)
    assert error.value.exit_code == 5
    return str(error.value)


def free_port() -> int:
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_rest_port_nobody_listens_on(caplog: pytest.LogCaptureFixture) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    words = refusal(Venue(steady), rest_url=url)
    assert words.startswith(
        f"{url}/api/v3/exchangeInfo: an answer was expected; found that nothing"
    )
    assert words.endswith("start it with 'mmkit sandbox' or add 'services: [{plugin: sandbox}]'")
    assert [record.message.count("trying again") for record in caplog.records] == [1] * 4


def test_a_stream_port_nobody_listens_on(caplog: pytest.LogCaptureFixture) -> None:
    url = f"ws://127.0.0.1:{free_port()}"
    words = refusal(Venue(steady), url=url)
    assert words.startswith(f"{url}/stream?streams=btcusdt@depth@100ms/btcusdt@trade&timeUnit=")
    assert ": a stream of market data was expected" in words
    assert "nothing listens there (connection refused), 5 times" in words
    assert "mmkit sandbox" in words
    assert caplog.text.count("reconnecting route=stream") == 4


async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        await reader.read()
    writer.close()


def test_a_server_that_accepts_and_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rest, connections):
        monkeypatch.setattr(module, "FIRST_CONTACT_S", 0.1)
    monkeypatch.setattr(rest, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(line, "_OPEN_TIMEOUT_S", 0.2)

    async def inside(scheme: str, key: str) -> None:
        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            async with Venue(steady).open() as venue:
                await collect(venue.source(**{key: url}), lambda _: False)
        finally:
            server.close()

    with pytest.raises(FeedError, match=r"exchangeInfo: an answer was expected; found none within"):
        asyncio.run(inside("http", "rest_url"))
    with pytest.raises(FeedError, match=r"found timed out .*, once; start it with"):
        asyncio.run(inside("ws", "url"))


def test_html_where_rest_should_be() -> None:
    venue = Venue(steady)
    venue.answers["exchangeInfo"] = [
        web.Response(text="<html>Welcome</html>", content_type="text/html") for _ in range(9)
    ]
    words = refusal(venue)
    assert "exchangeInfo: JSON was expected; found a web page, '<html>Welcome</html>'" in words


def test_html_where_the_stream_should_be() -> None:
    async def inside() -> None:
        app = web.Application()

        async def page(request: web.Request) -> web.Response:
            return web.Response(text="<html>Sign in</html>", content_type="text/html")

        app.router.add_get("/{tail:.*}", page)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            async with Venue(steady).open() as venue:
                url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
                await collect(venue.source(url=url), lambda _: False)
        finally:
            await runner.cleanup()

    with pytest.raises(FeedError, match=r"found HTTP 200 with a web page, '<html>Sign in</html>'"):
        asyncio.run(inside())


def test_a_web_page_inside_the_stream() -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        await socket.send("<html>maintenance</html>")
        await socket.wait_closed()

    words = refusal(Venue(script))
    assert "/stream?streams=" in words
    assert "a web page, '<html>maintenance</html>'" in words


def test_a_server_that_closes_at_once() -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        await socket.close(1008, "go away")

    venue = Venue(script)
    words = refusal(venue)
    assert "found the connection closed (code 1008 'go away'), 5 times" in words
    assert len(venue.connected) == 5


def test_a_stream_that_the_venue_refuses() -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        await socket.send(json.dumps({"code": 2, "msg": "Invalid request: unknown stream"}))
        await socket.wait_closed()

    assert "Invalid request: unknown stream" in refusal(Venue(script))


def test_a_snapshot_that_never_comes() -> None:
    venue = Venue(steady)
    venue.answers["depth"] = [web.Response(status=500, text="oops") for _ in range(9)]
    assert "depth: HTTP 200 was expected; found 500 with 'oops'" in refusal(venue)


def test_a_ban_is_said_with_how_long_to_wait() -> None:
    venue = Venue(steady)
    venue.answers["exchangeInfo"] = [web.Response(status=418, headers={"Retry-After": "7200"})]
    assert "(HTTP 418), too many were sent; wait 7200 s" in refusal(venue)


def test_a_place_that_is_not_served() -> None:
    venue = Venue(steady)
    venue.answers["exchangeInfo"] = [web.Response(status=451, text='{"code":0}')]
    assert "the venue does not serve this address (HTTP 451)" in refusal(venue)


# --- the instrument -----------------------------------------------------------------------------


def instrument_refusal(venue: Venue, market: str, **spec: object) -> str:
    async def inside() -> None:
        async with venue.open():
            found = spec_of(market, **spec)  # type: ignore[arg-type]
            urls = {"endpoint": "sandbox", "url": venue.url, "rest_url": venue.rest_url}
            await source(found, **urls).instrument()

    with pytest.raises(ConfigError) as error:
        asyncio.run(inside())
    return str(error.value)


def test_the_grid_is_the_venues() -> None:
    async def inside() -> None:
        async with Venue(steady, "usdm").open() as venue:
            live = venue.source()
            found = await live.instrument()
            assert (found.native, str(found.tick), str(found.lot)) == ("BTCUSDT", "0.1", "0.001")
            assert await live.instrument() is found
            assert len(venue.asked) == 1

    asyncio.run(inside())


def test_a_grid_that_is_not_the_venues_is_a_mistake() -> None:
    words = instrument_refusal(Venue(steady), "spot", tick=Decimal("0.01"), lot=Decimal("0.001"))
    assert words == "instrument.tick: the venue's is 0.1; found 0.01; remove it"


def test_a_symbol_that_is_not_listed_is_a_mistake_with_the_nearest() -> None:
    words = instrument_refusal(Venue(steady, "usdm"), "usdm", symbol="BTT/USDT")
    assert "'binance' lists no 'BTT/USDT:USDT' on usdm; did you mean BTC/USDT" in words
    venue = Venue(steady)
    error = json.dumps({"code": -1121, "msg": "Invalid symbol."})
    venue.answers["exchangeInfo"] = [web.Response(status=400, text=error)]
    words = instrument_refusal(venue, "spot", symbol="BTT/USDT")
    assert "'binance' lists no 'BTT/USDT' on spot" in words


def test_a_listing_with_steps_of_ten_is_read() -> None:
    venue = Venue(steady)
    venue.answers["exchangeInfo"] = [web.json_response(listing("10.00", "100"))]

    async def inside() -> None:
        async with venue.open():
            found = await venue.source().instrument()
            assert (str(found.tick), str(found.lot)) == ("10", "100")

    asyncio.run(inside())


# --- addresses ----------------------------------------------------------------------------------


def test_the_sandbox_is_where_its_service_says_or_at_its_usual_place() -> None:
    at = addresses("binance", "usdm", "sandbox", {"sandbox": "http://127.0.0.1:4711"})
    assert at[:2] == ("http://127.0.0.1:4711/fapi/v1", "ws://127.0.0.1:4711/fstream")
    at = addresses("binance", "spot", "sandbox", {})
    assert at[:2] == (f"{SANDBOX}/api/v3", "ws://127.0.0.1:8787")
    assert at.loopback


def test_live_usdm_streams_go_by_the_routes_of_2026() -> None:
    at = addresses("binance", "usdm", "live", {})
    streams = ("depth", "bookTicker", "aggTrade", "markPrice")
    names = stream_names("usdm", "BTCUSDT", streams, "100ms")
    assert [route.url for route in routes(at, "usdm", names)] == [
        "wss://fstream.binance.com/public/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker",
        "wss://fstream.binance.com/market/stream?streams=btcusdt@aggTrade/btcusdt@markPrice@1s",
    ]
    assert not at.loopback


def test_live_coinm_streams_have_no_route() -> None:
    at = addresses("binance", "coinm", "live", {})
    assert at.rest == "https://dapi.binance.com/dapi/v1"
    names = stream_names("coinm", "BTCUSD_PERP", ("depth", "markPrice", "kline_1m"), "250ms")
    assert [route.url for route in routes(at, "coinm", names)] == [
        "wss://dstream.binance.com/stream?streams=btcusd_perp@depth/btcusd_perp@markPrice@1s"
        "/btcusd_perp@kline_1m"
    ]


def test_every_usdm_stream_goes_by_its_own_route() -> None:
    at = addresses("binance", "usdm", "live", {})
    public = ["btcusdt@depth20@100ms", "btcusdt@trade", "!bookTicker"]
    market = ["btcusdt@kline_1m", "btcusdt@forceOrder", "!forceOrder@arr", "!markPrice@arr@1s"]
    found = {route.name: list(route.streams) for route in routes(at, "usdm", [*public, *market])}
    assert found == {"public": public, "market": market}


def test_live_spot_streams_share_a_connection() -> None:
    at = addresses("binance", "spot", "live", {})
    names = stream_names("spot", "BTCUSDT", ("depth", "trade"), "1000ms")
    assert [route.url for route in routes(at, "spot", names)] == [
        "wss://stream.binance.com:9443/stream?streams=btcusdt@depth/btcusdt@trade"
    ]


def test_every_mistake_in_the_config_is_told_before_anything_is_asked() -> None:
    with pytest.raises(ConfigError) as error:
        source(spec_of("usdm"), speed="1000ms", snapshot_limit=5000, streams=["depht"])
    assert [mistake.path for mistake in error.value.mistakes] == [
        "data.streams",
        "data.speed",
        "data.snapshot_limit",
    ]
    with pytest.raises(ConfigError, match=r"'binance' has no 'demo' for coinm; there are live"):
        addresses("binance", "coinm", "demo", {})
    with pytest.raises(ConfigError, match=r"spot has no stream 'forceOrder'"):
        source(spec_of("spot"), streams=["depth", "forceOrder"])
    with pytest.raises(ConfigError, match=r"'microsecond' is not offered on binance usdm"):
        source(spec_of("usdm"), time_unit="microsecond")
    with pytest.raises(ConfigError, match=r"'binanceus' has no 'demo' for spot; there are live"):
        addresses("binanceus", "spot", "demo", {})


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mmkit.binance")
