"""Raw messages that tardis-dev replays, from a server with the address and answers of Tardis's."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tardis_fixtures import DATA

import mmkit_binance
import mmkit_capture
import mmkit_tardis
from mmkit.clock import SimClock
from mmkit.errors import ConfigError, FeedError
from mmkit.instruments import Instrument, InstrumentSpec
from mmkit.interfaces import SourceContext, WireFormat, WireFormatContext
from mmkit.tape import KIND, GapReason, Kind, Tape

pytest.importorskip("tardis_dev")

CAPTURE = DATA.parent / "binance_usdm" / "btcusdt_20240808.gz"
FIRST = datetime(2024, 8, 8, 23, 54, tzinfo=UTC)
SPAN = {"start": "2024-08-08T23:54", "end": "2024-08-08T23:57"}
SPEC = InstrumentSpec(
    venue="binance",
    market="usdm",
    symbol="BTC/USDT:USDT",
    tick=Decimal("0.1"),
    lot=Decimal("0.001"),
)
KEY = "TD.very-secret"
Slices = dict[int, list[bytes]]


def wire_formats(instrument: Instrument, streams: Sequence[str]) -> WireFormat:
    providers = {found.name: found for found in mmkit_binance.register_wire_formats()}
    found = providers[instrument.venue]
    return found.build(found.config(), WireFormatContext(instrument, tuple(streams)))


def tape(plugin: Any, folder: Path, **config: Any) -> Any:
    (provider,) = plugin.register_data_sources()
    context = SourceContext(SPEC, SimClock(), folder, wire_formats)
    return provider.build(provider.config(**config), context).tape()


async def served(
    answer: Callable[[web.Request], web.Response], use: Callable[[str], Awaitable[Tape]]
) -> Tape:
    async def handler(request: web.Request) -> web.Response:
        return answer(request)

    app = web.Application()
    app.router.add_get("/v1/data-feeds/{exchange}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return await use(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
    finally:
        await runner.cleanup()


def recorded(count: int) -> list[tuple[int, str]]:
    """The first messages of a real capture: local time in 100 ns, as Tardis keeps it, and the message."""
    with gzip.open(CAPTURE, "rt") as file:
        lines = [line for _, line in zip(range(count), file, strict=False)]
    return [
        (int(stamp) // 100 * 100, text.strip())
        for line in lines
        for stamp, _, text in [line.partition(" ")]
    ]


def slices(messages: list[tuple[int, str]]) -> Slices:
    """The same as Tardis has them, by minute."""
    found: Slices = {}
    for ns, text in messages:
        time = datetime.fromtimestamp(ns // 1_000_000_000, UTC)
        if "lastUpdateId" in text:
            text = '{"stream":"btcusdt@depthSnapshot","generated":true,"data":%s}' % text  # noqa: PLW2901, UP031
        minute = (time - FIRST) // timedelta(minutes=1)
        line = f"{time:%Y-%m-%dT%H:%M:%S}.{ns % 1_000_000_000 // 100:07d}Z {text}\n".encode()
        found.setdefault(minute, []).append(line)
    return found


def answering(found: Slices, asked: list[web.Request]) -> Callable[[web.Request], web.Response]:
    def answer(request: web.Request) -> web.Response:
        asked.append(request)
        body = gzip.compress(b"".join(found.get(int(request.query["offset"]), [])))
        return web.Response(body=body, headers={"Content-Encoding": "gzip", "x-slice-size": "1"})

    return answer


def test_a_raw_replay_gives_the_rows_of_a_capture_of_the_same_messages(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    messages, asked = recorded(6_000), []
    (tmp_path / "capture.txt").write_text("".join(f"{ns} {text}\n" for ns, text in messages))
    expected = asyncio.run(
        tape(
            mmkit_capture,
            tmp_path,
            paths=str(tmp_path / "capture.txt"),
            streams=["depth", "trade"],
            clock_offset="1300ms",
        )
    )
    found = asyncio.run(
        served(
            answering(slices(messages), asked),
            lambda url: tape(
                mmkit_tardis,
                tmp_path,
                raw=True,
                channels=["depth", "trade"],
                endpoint=url,
                api_key=KEY,
                clock_offset="1300ms",
                **SPAN,
            ),
        )
    )
    assert len(found) > 10_000
    assert list(found.rows()) == list(expected.rows())
    assert found.stats.snapshots == 1
    # The key goes to Tardis and nowhere else.
    assert {request.headers["Authorization"] for request in asked} == {f"Bearer {KEY}"}
    assert json.loads(asked[0].query["filters"]) == [
        {"channel": name, "symbols": ["btcusdt"]} for name in ("depth", "depthSnapshot", "trade")
    ]
    assert KEY not in caplog.text
    assert not any(
        KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    )


def test_a_disconnect_makes_the_book_unknown(tmp_path: Path) -> None:
    messages = recorded(3_000)
    found = slices(messages)
    last = max(found)
    found[last].insert(len(found[last]) - 5, b"\n")
    made = asyncio.run(
        served(
            answering(found, []),
            lambda url: tape(
                mmkit_tardis, tmp_path, raw=True, channels="depth", endpoint=url, **SPAN
            ),
        )
    )
    gaps = [row[3] for row in made.rows() if row[2] & KIND == Kind.GAP]
    assert gaps == [GapReason.START, GapReason.CONNECTION]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, r"HTTP 401 with 'no key'; without a key .*\$\{TARDIS_API_KEY\}"),
        (404, r"HTTP 404 with 'no key'; check 'data.start'"),
    ],
)
def test_a_refusal_is_told_with_what_to_do(tmp_path: Path, status: int, words: str) -> None:
    with pytest.raises(FeedError, match=words):
        asyncio.run(
            served(
                lambda request: web.Response(status=status, text="no key"),
                lambda url: tape(mmkit_tardis, tmp_path, raw=True, endpoint=url, **SPAN),
            )
        )


def test_a_message_that_cannot_be_read_is_named_by_its_time(tmp_path: Path) -> None:
    found = {0: [b"2024-08-08T23:54:01.1234567Z <html>\n"]}
    with pytest.raises(FeedError, match=r"Tardis, at 2024-08-08T23:54:01\.1234567Z: .*web page"):
        asyncio.run(
            served(
                answering(found, []),
                lambda url: tape(mmkit_tardis, tmp_path, raw=True, endpoint=url, **SPAN),
            )
        )


def test_a_replay_without_a_snapshot_is_refused(tmp_path: Path) -> None:
    found = slices([m for m in recorded(500) if "lastUpdateId" not in m[1]])
    with pytest.raises(FeedError, match=r"found none .*Tardis has one at 00:00 UTC"):
        asyncio.run(
            served(
                answering(found, []),
                lambda url: tape(mmkit_tardis, tmp_path, raw=True, endpoint=url, **SPAN),
            )
        )


def test_without_tardis_dev_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tardis_dev", None)
    with pytest.raises(ConfigError, match=r"pip install 'mmkit\[tardis\]'"):
        asyncio.run(tape(mmkit_tardis, tmp_path, raw=True, endpoint="http://127.0.0.1:9", **SPAN))
