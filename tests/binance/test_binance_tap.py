"""What a live source hands to a recorder, read back, makes the rows that it made itself."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from binance_venue import Venue
from faulty import Faulty
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from mmkit.clock import SystemClock
from mmkit.config import load_config
from mmkit.recording.market import Recording
from mmkit.run.assembly import data_source
from mmkit.tape import KIND, NAMES, GapReason, Kind, Row

STREAMS = ["depth", "trade", "bookTicker"]
# A trade that is told twice is refused by whoever reads it back.
FAULTS = ("dropped", "crossed", "altered", "wrong ticker", "other symbol", "odd")


class Wrong(Venue):
    """A venue that sends hundreds of messages at once, some of them wrong."""

    def __init__(self, share: float) -> None:
        super().__init__(self._flood)
        self._said = Faulty("spot", 5, share, FAULTS)
        self.sent: list[bytes] = []

    def book(self) -> str:
        return self._said.snapshot().decode()

    async def _flood(self, venue: Venue, socket: ServerConnection, number: int) -> None:
        with suppress(ConnectionClosed):
            for _ in range(1000):
                for raw in self._said.say(150):
                    self.sent.append(raw)
                    await socket.send(raw.decode())
                await asyncio.sleep(0.05)


class Recorded(NamedTuple):
    """The rows that were told, and those that the recording makes."""

    told: list[Row]
    stored: list[Row]
    read_back: list[Row]
    handed: list[bytes]


async def record(venue: Venue, userdir: Path, checks: int, **config: Any) -> Recorded:
    async with venue.open():
        source = venue.source(streams=STREAMS, **config)
        recording = Recording(userdir, await source.instrument(), raw=True)
        handed: list[bytes] = []

        def tap(raw: bytes, ts_local: int, url: str = "") -> None:
            if not url:
                handed.append(raw)
            recording.message(raw, ts_local, url)

        assert source.tap(tap)
        clock = SystemClock()
        recording.begin(clock.now_ns())
        told: list[Row] = []
        try:
            async with asyncio.timeout(30), aclosing(source.stream()) as stream:  # type: ignore[type-var]
                async for rows in stream:
                    recording.take(rows)
                    told += rows
                    if len(told) > 6000 and gaps(told)[GapReason.CHECK] >= checks:
                        break
            recording.stop(clock.now_ns(), "enough")
        finally:
            recording.close()
    frame = pd.read_parquet(userdir / "data" / "rows").sort_values("ts_local", kind="stable")
    stored: list[Row] = [
        tuple(map(int, row))  # type: ignore[misc]
        for row in frame[list(NAMES)].itertuples(index=False)
    ]
    paths = sorted((userdir / "data").glob("*/*/*/raw/*.zst"))
    return Recorded(told, stored, await read_back(userdir, paths), handed)


async def read_back(userdir: Path, paths: list[Path]) -> list[Row]:
    sections = {
        "instrument": {
            "venue": "binance",
            "market": "spot",
            "symbol": "BTC/USDT",
            "tick": "0.1",
            "lot": "0.001",
        },
        "data": {
            "plugin": "capture",
            "paths": [str(path) for path in paths],
            "clock_offset": "0s",
            "streams": STREAMS,
        },
        "strategy": {"plugin": "join_best", "size": "0.01", "max_position": "0.05"},
    }
    config = userdir / "read.json"
    config.write_text(json.dumps(sections))  # YAML too
    found = data_source(load_config([config], userdir=userdir), SystemClock())
    return list((await found.tape()).rows())


def gaps(rows: list[Row]) -> Counter[GapReason]:
    return Counter(GapReason(row[3]) for row in rows if row[2] & KIND == Kind.GAP)


@pytest.mark.parametrize("confirm", [False, True])
def test_bursts_with_books_that_cannot_be_right_are_read_back_row_by_row(
    tmp_path: Path, confirm: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mmkit.binance")
    venue = Wrong(0.001)
    found = asyncio.run(record(venue, tmp_path, 3, confirm=confirm))
    assert "compiled reader in use" in caplog.text
    assert gaps(found.told)[GapReason.CHECK] >= 3
    assert gaps(found.told)[GapReason.SEQUENCE] > 0
    assert found.stored[:-1] == found.told
    assert found.read_back[:-1] == found.told


def test_every_message_is_handed_over_once_and_in_order_whatever_piled_up(tmp_path: Path) -> None:
    venue = Wrong(0.0)
    found = asyncio.run(record(venue, tmp_path, 0))
    assert found.handed == venue.sent[: len(found.handed)]
    assert len(found.handed) > 1000
    assert found.read_back[:-1] == found.told


def test_a_message_that_makes_the_book_wrong_is_not_handed_over_but_is_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    venue = Wrong(0.001)
    found = asyncio.run(record(venue, tmp_path, 3))
    left_out = Counter(venue.sent) - Counter(found.handed)
    words = [one.getMessage() for one in caplog.records if "cannot be right" in one.getMessage()]
    assert len(words) >= 3
    for one in words:
        shown = one.partition("; since '")[2][:120]
        assert any(shown in raw.decode() or "lastUpdateId" in shown for raw in left_out), one


def test_answers_of_polling_are_not_handed_over_so_that_rows_alone_are_recorded() -> None:
    venue = Venue(None)  # type: ignore[arg-type]
    source = venue.source(mode="rest", url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1")
    assert not source.tap(lambda raw, ts_local, url="": None)
