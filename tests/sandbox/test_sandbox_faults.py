"""Faults over real sockets: the live source against a sandbox in which things go wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, NamedTuple

import aiohttp
import pytest
from sandbox_fixtures import running, service

from mmkit.book import Book
from mmkit.clock import SystemClock
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import SourceContext
from mmkit.tape import KIND, GapReason, Kind, Row
from mmkit_binance.live import BinanceSource, BinanceSourceConfig
from mmkit_binance.wire import BinanceWire
from mmkit_sandbox.faults import parse_fault
from mmkit_sandbox.listing import SPOT, USDM
from mmkit_sandbox.simulation import SimulatedExchange

SEQUENCE, CONNECTION, SILENCE = GapReason.SEQUENCE, GapReason.CONNECTION, GapReason.SILENCE

SYMBOLS = {SPOT: "BTC/USDT", USDM: "BTC/USDT:USDT"}


class Scenario(NamedTuple):
    """What goes wrong, and the gaps it makes."""

    market: str
    faults: tuple[str, ...]
    gaps: set[GapReason]


SCENARIOS = [
    Scenario(SPOT, ("0s drop",), {SEQUENCE}),
    Scenario(USDM, ("0s drop",), {SEQUENCE}),
    Scenario(USDM, ("0s duplicate 500ms",), set()),
    Scenario(SPOT, ("0s reorder",), {SEQUENCE}),
    Scenario(USDM, ("0s delay",), {SEQUENCE}),
    Scenario(SPOT, ("0s stall 600ms any",), set()),
    Scenario(USDM, ("0s silent 700ms",), {SEQUENCE}),
    Scenario(SPOT, ("0s silent 4s",), {SILENCE}),
    Scenario(SPOT, ("0s drop", "0s html"), {SEQUENCE}),
    Scenario(USDM, ("0s drop", "0s empty"), {SEQUENCE}),
    Scenario(SPOT, ("0s drop", "0s cut"), {SEQUENCE}),
    Scenario(USDM, ("0s drop", "0s http_429"), {SEQUENCE}),
    Scenario(SPOT, ("0s drop", "0s http_418 900ms"), {SEQUENCE}),
    Scenario(USDM, ("0s drop", "0s stale"), {SEQUENCE}),
    Scenario(SPOT, ("0s drop", "0s other_symbol"), {SEQUENCE}),
    Scenario(USDM, ("0s drop", "0s altered"), {SEQUENCE}),
    Scenario(SPOT, ("0s half_open",), {SILENCE}),
    Scenario(USDM, ("0s shutdown any",), set()),
    Scenario(SPOT, ("0s close_1000",), {CONNECTION}),
    Scenario(USDM, ("0s close_1001",), {CONNECTION}),
    Scenario(SPOT, ("0s close_1006",), {CONNECTION}),
    Scenario(USDM, ("0s close_1008",), {CONNECTION}),
    Scenario(SPOT, ("0s refuse 800ms", "0s close_1006"), {CONNECTION}),
    Scenario(USDM, ("0s restart 500ms",), {CONNECTION}),
]


async def endured(scenario: Scenario, wires: dict[int, BinanceWire], handed_over: bool) -> str:
    """Return what went wrong with the client; empty if its book was never wrong and came back."""
    symbol = SYMBOLS[scenario.market]
    sandbox = service(symbols=(symbol,), faults={"at": ["1h drop"]})
    url = await sandbox.start()
    exchange, trouble = sandbox.exchange, sandbox.trouble
    assert isinstance(exchange, SimulatedExchange)
    assert trouble is not None
    listing = exchange.listings[0]
    before = exchange.market(listing)
    context = SourceContext(
        spec=InstrumentSpec(venue="binance", market=scenario.market, symbol=symbol),
        clock=SystemClock(),
        userdir=None,  # type: ignore[arg-type]
        wire_formats=None,  # type: ignore[arg-type]
        endpoints={"sandbox": url},
    )
    config = BinanceSourceConfig.model_validate(
        {"endpoint": "sandbox", "silence": "2s", "snapshot_limit": 1000}
    )
    source = BinanceSource(config, context)
    book, gaps = Book(), set[GapReason]()
    compared = since = 0
    last = len(scenario.faults)
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def take(rows: list[Row]) -> None:
        nonlocal compared, since
        for row in rows:
            book.apply(row)
            if row[2] & KIND == Kind.GAP and row[3] != GapReason.START:
                gaps.add(GapReason(row[3]))
        known = book.known and any(row[2] & KIND == Kind.LEVEL for row in rows)
        if not known or ended.done():
            return
        update_id = wires[id(source.stats)].sync.book
        assert update_id is not None
        # What was sent before a restart may be read after it, up to the lost connection.
        market = exchange.market(listing) if CONNECTION in gaps else before
        assert market.truth is not None
        truth = market.truth.at(update_id)
        if truth is None or (book.bids.levels, book.asks.levels) != truth[2:]:
            ended.set_result(f"wrong while trusted at {update_id}")
            return
        compared += 1
        if compared == 5:
            for text in scenario.faults:
                trouble.begin(parse_fault(text))
        # Once everything has happened, a second and more of a book that is right.
        since += trouble.count >= last
        if since >= 15:
            ended.set_result("")

    async def read() -> None:
        async with contextlib.aclosing(source.stream()) as stream:  # type: ignore[type-var]
            async for rows in stream:
                take(rows)

    if handed_over:
        source.deliver(take)
    reading = asyncio.create_task(read())
    try:
        async with asyncio.timeout(20):
            await asyncio.wait({ended, reading}, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        return f"not known again; gaps {gaps}; {list(trouble.happened)}"
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await sandbox.stop()
    if not ended.done():
        return f"the stream ended: {reading!r}"
    if wrong := ended.result():
        return wrong
    # After a silence we hang up; what came in between is a connection that was lost.
    allowed = scenario.gaps | ({CONNECTION} if SILENCE in scenario.gaps else set())
    if not scenario.gaps <= gaps <= allowed:
        return f"gaps: expected {scenario.gaps}, found {gaps}"
    return ""


@pytest.mark.parametrize("handed_over", [False, True])
def test_after_every_fault_the_live_book_is_the_exchanges_again_and_never_wrong_before(
    monkeypatch: pytest.MonkeyPatch, handed_over: bool
) -> None:
    wires: dict[int, BinanceWire] = {}
    build = BinanceWire.__init__

    def noted(self: BinanceWire, *arguments: Any) -> None:
        build(self, *arguments)
        wires[id(self.stats)] = self

    monkeypatch.setattr(BinanceWire, "__init__", noted)

    async def main() -> dict[tuple[str, ...], str]:
        async def one(number: int, scenario: Scenario) -> str:
            await asyncio.sleep(0.05 * number)  # not everything at the same moment
            return await endured(scenario, wires, handed_over)

        found = await asyncio.gather(*(one(*item) for item in enumerate(SCENARIOS)))
        return {
            (scenario.market, *scenario.faults): problem
            for scenario, problem in zip(SCENARIOS, found, strict=True)
            if problem
        }

    assert asyncio.run(main()) == {}


def test_the_truth_and_what_went_wrong_can_be_asked_for() -> None:
    async def main() -> None:
        async with running(faults={"at": ["0s drop", "0s html"]}) as client:
            path = "/sandbox/truth?market=usdm&symbol=BTCUSDT"
            now = await client.get(path)
            assert now["bids"]
            assert await client.get(f"{path}&updateId={now['lastUpdateId']}") == now
            status, body = await client.status(f"{path}&updateId=1")
            assert (status, body["code"]) == (404, -1000)
            assert (await client.status("/sandbox/truth?symbol=NOPE"))[0] == 400
            async with client.session.get(client.url + "/fapi/v1/ping") as answer:
                assert (answer.status, answer.content_type) == (200, "text/html")
            heard = await client.listen("/fstream/public/ws/btcusdt@depth@100ms", 0.4)
            assert heard
            told = await client.get("/sandbox/faults")
            assert [(one["fault"], one["what"]) for one in told] == [
                ("0s html depth", "GET ping"),
                ("0s drop depth", "depth"),
            ]

    asyncio.run(main())


def test_without_faults_the_truth_of_now_can_be_asked_for_and_no_other() -> None:
    async def main() -> None:
        async with running() as client:
            path = "/sandbox/truth?market=spot&symbol=BTCUSDT"
            now = await client.get(path)
            status, _ = await client.status(f"{path}&updateId={now['lastUpdateId']}")
            assert status == 404
            assert await client.get("/sandbox/faults") == []

    asyncio.run(main())


def test_a_ban_says_how_long_and_ends() -> None:
    async def main() -> None:
        async with running(faults={"at": ["0s http_418 1s"]}) as client:
            async with client.session.get(client.url + "/api/v3/ping") as answer:
                assert answer.status == 418
                assert answer.headers["Retry-After"] == "1"
                assert json.loads(await answer.read())["code"] == -1003
            await asyncio.sleep(1.2)
            assert await client.status("/api/v3/ping") == (200, {})

    asyncio.run(main())


def test_a_half_open_connection_takes_no_ping_and_no_close_and_stays() -> None:
    async def main() -> None:
        async with running(faults={"at": ["300ms half_open"]}) as client:
            path = "/fstream/public/ws/btcusdt@depth@100ms"
            async with client.connect(path, autoping=False) as socket:
                assert await socket.receive(timeout=0.6)
                await asyncio.sleep(0.5)
                await socket.ping(b"anybody?")
                heard = 0
                with contextlib.suppress(TimeoutError):
                    while True:
                        message = await socket.receive(timeout=0.4)
                        assert message.type is aiohttp.WSMsgType.TEXT  # from before
                        heard += 1
                assert heard < 6
                assert not socket.closed
                # Another connection is served.
                assert await client.listen(path, 0.3)
                socket._response.connection.transport.abort()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fault", "code"), [("close_1000", 1000), ("close_1001", 1001), ("close_1008", 1008)]
)
def test_a_connection_is_closed_with_the_code_that_was_asked_for(fault: str, code: int) -> None:
    async def main() -> None:
        async with (
            running(faults={"at": [f"200ms {fault}"]}) as client,
            client.connect("/ws/btcusdt@depth@100ms") as socket,
        ):
            async for _ in socket:
                pass
            assert socket.close_code == code

    asyncio.run(main())


def test_while_it_refuses_nobody_connects_and_what_is_open_stays() -> None:
    async def main() -> None:
        async with running(faults={"at": ["200ms refuse 600ms"]}) as client:
            async with client.connect("/ws/btcusdt@depth@100ms") as socket:
                await asyncio.sleep(0.4)
                with pytest.raises(aiohttp.ClientConnectionError):
                    await client.get("/api/v3/ping")
                with pytest.raises(aiohttp.ClientError):
                    await client.connect("/ws/btcusdt@trade")
                assert await socket.receive_json(timeout=1)
            await asyncio.sleep(0.6)
            assert await client.status("/api/v3/ping") == (200, {})

    asyncio.run(main())
