"""Replaying real captures: what was recorded goes out as it was, and the book is exact at any time."""

from __future__ import annotations

import asyncio
import logging
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sandbox_fixtures import (
    DATA,
    SPOT_CAPTURE,
    USDM_CAPTURE,
    Client,
    LocalBook,
    decode,
    recorded,
    running,
)

from mmkit_sandbox import server
from mmkit_sandbox.channel import Channel, StreamKind, parse_stream
from mmkit_sandbox.replay import open_replay

LARGE_CAPTURE = DATA / "binance_usdm" / "btcusdt_20240808.gz"
USDM_STREAMS = ("depth@0ms", "trade", "bookTicker")
SPOT_STREAMS = ("depth@100ms", "trade", "bookTicker")


def address(symbol: str, prefix: str, streams: tuple[str, ...]) -> str:
    return f"{prefix}/stream?streams=" + "/".join(f"{symbol}@{name}" for name in streams)


async def hear(client: Client, path: str, count: int) -> list[bytes]:
    async with client.connect(path) as socket:
        return [(await socket.receive(timeout=10)).data.encode() for _ in range(count)]


@pytest.mark.parametrize(
    ("path", "where"),
    [
        (USDM_CAPTURE, address("btcusdt", "/fstream/public", USDM_STREAMS)),
        (SPOT_CAPTURE, address("nexousdt", "", SPOT_STREAMS)),
    ],
)
def test_a_replay_says_every_recorded_message_byte_for_byte(path: Path, where: str) -> None:
    expected = [line for line in recorded(path) if line.startswith(b'{"stream"')]

    async def main() -> list[bytes]:
        async with running(replay=(path,), speed=1000) as client:
            return await hear(client, where, len(expected))

    assert asyncio.run(main()) == expected


def test_every_depth_stream_gets_the_recorded_one_and_raw_is_without_envelope() -> None:
    diffs = [line for line in recorded(USDM_CAPTURE) if b"depthUpdate" in line][:200]
    payloads = [line.partition(b',"data":')[2][:-1] for line in diffs]

    async def main() -> list[list[bytes]]:
        names = ("depth@0ms", "depth@100ms", "depth", "depth@500ms")
        async with running(replay=(USDM_CAPTURE,), speed=200, hold=True) as client:
            sockets = [await client.connect("/fstream/public/ws") for _ in names]
            # Nobody has subscribed, so nothing has been played and nothing can be missed; the first
            # to subscribe starts it, and the four requests arrive within one slice of time.
            for socket, name in zip(sockets, names, strict=True):
                await socket.send_json(
                    {"method": "SUBSCRIBE", "params": [f"btcusdt@{name}"], "id": 1}
                )
            heard = []
            for socket in sockets:
                said = [(await socket.receive(timeout=10)).data.encode() for _ in range(151)]
                heard.append(said[1:])
                await socket.close()
            return heard

    for said in asyncio.run(main()):
        start = payloads.index(said[0])
        assert start < 50
        assert said == payloads[start : start + 150]


@pytest.mark.parametrize(
    ("path", "market", "symbol", "where", "rest"),
    [
        (USDM_CAPTURE, "usdm", "BTCUSDT", "/fstream/public", "/fapi/v1/depth?limit=1000"),
        (SPOT_CAPTURE, "spot", "NEXOUSDT", "", "/api/v3/depth?limit=5000"),
    ],
)
def test_a_client_that_synchronises_at_any_time_has_an_exact_book(
    path: Path, market: str, symbol: str, where: str, rest: str
) -> None:
    """From the snapshot it was given and the diffs after it, against all diffs from the beginning."""
    lines = [decode(line) for line in recorded(path)]
    snapshot = next(line for line in lines if "lastUpdateId" in line)
    whole = LocalBook(market, snapshot)
    states = {}
    for line in lines:
        if "depthUpdate" in str(line.get("data", {}).get("e")):
            whole.apply(line["data"])
            states[whole.update_id] = whole.top(20)

    async def main() -> int:
        compared = 0
        stream = f"{where}/ws/{symbol.lower()}@depth@100ms"
        async with running(replay=(path,), speed=30 if market == "usdm" else 300) as client:
            for _ in range(3):
                async with client.connect(stream) as socket:
                    diffs = [decode((await socket.receive(timeout=5)).data) for _ in range(3)]
                    given = await client.get(f"{rest}&symbol={symbol}")
                    local = LocalBook(market, given)
                    for _ in range(40):
                        diffs.append(decode((await socket.receive(timeout=5)).data))
                    for diff in diffs:
                        local.apply(diff)
                        if local.synchronised:
                            assert local.top(20) == states[local.update_id]
                            compared += 1
        return compared

    assert asyncio.run(main()) > 90


@pytest.mark.parametrize(
    "path",
    [
        DATA / "binance_usdm" / "btcusdt_20240808.gz",
        DATA / "binance_usdm" / "btcusdt_20230404.dat.gz",
        DATA / "binance_spot" / "btcusdt_20240808.gz",
    ],
)
def test_the_rebuilt_book_agrees_with_every_recorded_best_price(path: Path) -> None:
    replay = open_replay([path])
    (listing,) = replay.listings
    market, symbol = listing.market, listing.symbol
    ticker = Channel(market, symbol, StreamKind.BOOK_TICKER)
    diff = Channel(market, symbol, StreamKind.DIFF, 0, 100)
    best: dict[int, Any] = {}
    compared, now = 0, replay.start_ns
    end = now + 60 * 10**9
    while now < end:
        now += 5_000_000
        for channel, data in replay.advance(now, {ticker, diff}):
            said = decode(data)
            if channel == ticker:
                best[said["u"]] = said
        book = replay.depth(listing, 1)
        assert book is not None
        said = best.pop(book.last_update_id, None)
        if said is not None:
            assert book.bids == [(said["b"], said["B"])]
            assert book.asks == [(said["a"], said["A"])]
            compared += 1
    assert compared > 10
    assert replay._books[market, symbol].gaps == 0


def test_after_a_missing_diff_the_book_is_not_known_until_the_next_snapshot(tmp_path: Path) -> None:
    lines = []
    for number, line in enumerate(recorded(USDM_CAPTURE)):
        lines.append(b"%d " % (1_721_347_020_000_000_000 + number * 10**6) + line)
    diffs = [number for number, line in enumerate(lines) if b"depthUpdate" in line]
    del lines[diffs[100]]
    path = tmp_path / "capture"
    path.write_bytes(b"\n".join(lines[:3000]) + b"\n")
    replay = open_replay([path])
    (listing,) = replay.listings
    assert replay.depth(listing, 5) is not None
    replay.advance(replay.start_ns + diffs[90] * 10**6, ())
    assert replay.depth(listing, 5) is not None
    replay.advance(replay.start_ns + diffs[110] * 10**6, ())
    assert replay.depth(listing, 5) is None


def test_the_servers_clock_is_the_recorded_one_at_the_pace_of_the_replay() -> None:
    channel = parse_stream("usdm", "btcusdt@depth@0ms")
    assert channel is not None
    first = next(decode(line)["data"] for line in recorded(USDM_CAPTURE))

    async def main() -> None:
        async with running(replay=(USDM_CAPTURE,), speed=20) as client:
            begun, at = time.monotonic(), (await client.get("/fapi/v1/time"))["serverTime"]
            assert 0 <= at - first["E"] < 1000
            async with client.connect("/fstream/public/ws/btcusdt@depth") as socket:
                for _ in range(20):
                    said = await socket.receive_json(timeout=5)
                    now = (await client.get("/fapi/v1/time"))["serverTime"]
                    # No message comes before the time it bears: never is E later than the clock.
                    assert said["E"] <= now
            passed = time.monotonic() - begun
            assert now - at == pytest.approx(passed * 20 * 1000, rel=0.1)

    asyncio.run(main())


def test_time_stands_still_until_somebody_subscribes() -> None:
    async def main() -> None:
        async with running(replay=(SPOT_CAPTURE,), speed=1000) as client:
            exchange = client.sandbox.exchange
            await asyncio.sleep(0.1)
            assert exchange.played == 0
            heard = await client.listen("/ws/nexousdt@bookTicker", 0.5)
            assert heard[0]["u"] == 134180603  # the first in the file
            assert exchange.played > 10

    asyncio.run(main())


def test_streams_that_were_not_recorded_stay_silent_and_the_end_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="mmkit_sandbox")

    async def main() -> None:
        async with running(replay=(SPOT_CAPTURE,), speed=10_000) as client:
            path = address("nexousdt", "", ("aggTrade", "depth20", "bookTicker"))
            heard = await client.listen(path, 2)
            assert {one["stream"] for one in heard} == {"nexousdt@bookTicker"}
            assert len(heard) == 437  # how many the file has
            depth = await client.get("/api/v3/depth?symbol=NEXOUSDT&limit=5000")
            assert len(depth["bids"]) > 20
            assert len(await client.get("/api/v3/trades?symbol=NEXOUSDT")) == 178

    asyncio.run(main())
    assert "the capture has been played to its end" in caplog.text


def test_a_slow_client_misses_nothing_because_the_replay_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_BACKLOG_WAIT", 50_000)
    diffs = sum(b"depthUpdate" in line for line in recorded(LARGE_CAPTURE))

    async def main() -> None:
        async with (
            running(replay=(LARGE_CAPTURE,), speed=5000) as client,
            client.connect("/fstream/public/ws/btcusdt@depth") as socket,
        ):
            heard = [await socket.receive_json(timeout=5)]
            transport = socket._response.connection.transport
            transport.pause_reading()
            exchange = client.sandbox.exchange
            played = -1
            while exchange.played != played:
                played = exchange.played
                await asyncio.sleep(0.5)
            assert played < exchange.messages
            transport.resume_reading()
            while len(heard) < diffs:
                heard.append(await socket.receive_json(timeout=5))
            assert all(after["pu"] == before["u"] for before, after in pairwise(heard))

    asyncio.run(main())


def test_a_client_that_reads_nothing_is_cut_off_and_the_replay_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_BACKLOG_WAIT", 50_000)
    monkeypatch.setattr(server, "_STALLED_S", 0.3)

    async def main() -> None:
        async with (
            running(replay=(LARGE_CAPTURE,), speed=5000) as client,
            client.connect("/fstream/public/ws/btcusdt@depth") as socket,
        ):
            await socket.receive_json(timeout=5)
            socket._response.connection.transport.pause_reading()
            exchange = client.sandbox.exchange
            async with asyncio.timeout(10):
                while exchange.played < exchange.messages:
                    await asyncio.sleep(0.05)
            socket._response.connection.transport.abort()

    asyncio.run(main())


def test_a_capture_without_a_snapshot_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "capture"
    lines = [line for line in recorded(USDM_CAPTURE) if b"lastUpdateId" not in line][:50]
    path.write_bytes(b"".join(b"%d %b\n" % (10**18 + n, line) for n, line in enumerate(lines)))

    async def main() -> None:
        async with running(replay=(path,)) as client:
            status, body = await client.status("/fapi/v1/depth?symbol=BTCUSDT&limit=5")
            assert (status, body["code"]) == (503, -1000)
            assert "the capture holds no snapshot" in body["msg"]

    asyncio.run(main())
    assert "no snapshot, so GET depth cannot be answered" in caplog.text


def test_a_long_pause_between_captures_is_skipped(tmp_path: Path) -> None:
    lines = [line for line in recorded(SPOT_CAPTURE) if b"bookTicker" in line][:20]
    path = tmp_path / "capture"
    path.write_bytes(
        b"".join(
            b"%d %b\n" % (10**18 + n // 10 * 3600 * 10**9, line) for n, line in enumerate(lines)
        )
    )

    async def main() -> None:
        async with running(replay=(path,)) as client:
            heard = await hear(client, "/ws/nexousdt@bookTicker", 20)
            assert len(heard) == 20

    asyncio.run(main())
