"""A local exchange in a process of its own, somebody else who listens to it, and what was recorded of it."""

from __future__ import annotations

import asyncio
import datetime
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from processes import start, write_config
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from mmkit.clock import SystemClock
from mmkit.config import load_config
from mmkit.recording.frames import Frames
from mmkit.run.assembly import data_source
from mmkit.tape import KIND, NAMES, SELL, GapReason, Kind, Row

CONFIG = """
instrument: {{venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}}
data: {{plugin: binance, endpoint: sandbox, url: "{ws}", rest_url: "{url}"}}
strategy: {{plugin: join_best, every: 100ms, size: "0.01", max_position: "0.05"}}
"""
STREAMS = {"public": "btcusdt@depth@100ms", "market": "btcusdt@aggTrade"}


@contextmanager
def exchange(tmp_path: Path, *arguments: object) -> Iterator[str]:
    """Run ``mmkit sandbox`` in a process; give its address."""
    process = start("sandbox", "--json", "--port", 0, *arguments, cwd=tmp_path)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.communicate(timeout=10)


def userdir_for(tmp_path: Path, url: str) -> Path:
    ws = "ws" + url.removeprefix("http") + "/fstream"
    return write_config(tmp_path / "user_data", CONFIG.format(url=url, ws=ws))


class Witness:
    """Listens to the same streams in threads of its own, and is not killed.

    Attributes:
        heard: By route, when each message came (ns, the machine's clock) and the message.
    """

    def __init__(self, url: str) -> None:
        self.heard: dict[str, list[tuple[int, bytes]]] = {route: [] for route in STREAMS}
        root = "ws" + url.removeprefix("http") + "/fstream"
        self._open = ExitStack()
        self._sockets = {
            route: self._open.enter_context(
                connect(f"{root}/{route}/stream?streams={stream}", proxy=None)
            )
            for route, stream in STREAMS.items()
        }
        self._threads = [
            threading.Thread(target=self._listen, args=(route,), daemon=True) for route in STREAMS
        ]
        for thread in self._threads:
            thread.start()

    def _listen(self, route: str) -> None:
        try:
            while True:
                message = self._sockets[route].recv(decode=False)
                assert isinstance(message, bytes)
                self.heard[route].append((time.time_ns(), message))
        except ConnectionClosed:
            pass

    def close(self) -> None:
        self._open.close()
        for thread in self._threads:
            thread.join(5)


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def recorded_lines(userdir: Path) -> int:
    """Return how many lines have reached the system so far."""
    return sum(len(raw_lines(path)) for path in raw_files(userdir))


def raw_files(userdir: Path) -> list[Path]:
    return sorted((userdir / "data").glob("*/*/*/raw/*.zst"))


def raw_lines(path: Path) -> list[bytes]:
    """Return the lines of a file's whole frames."""
    with path.open("rb") as file:
        return b"".join(Frames(file)).splitlines()


def dataset(userdir: Path, symbol: str = "BTCUSDT") -> list[Row]:
    """Return the recorded rows of a symbol."""
    frame = pd.read_parquet(userdir / "data" / "rows", filters=[("symbol", "==", symbol)])
    frame = frame.sort_values("ts_local", kind="stable")
    return [tuple(map(int, row)) for row in frame[list(NAMES)].itertuples(index=False)]  # type: ignore[misc]


def captured(userdir: Path, paths: Sequence[Path] = (), **instrument: str) -> list[Row]:
    """Return the rows that the capture source makes of the raw messages."""
    spec = {
        "venue": "binance",
        "market": "usdm",
        "symbol": "BTC/USDT:USDT",
        "tick": "0.1",
        "lot": "0.001",
    } | instrument
    paths = paths or raw_files(userdir)
    data = {"plugin": "capture", "paths": [str(path) for path in paths], "clock_offset": "0s"}
    sections: dict[str, Any] = {
        "instrument": spec,
        "data": data,
        "strategy": {"plugin": "join_best", "size": "0.01", "max_position": "0.05"},
    }
    config = userdir / "read.json"
    config.write_text(json.dumps(sections))  # YAML too
    source = data_source(load_config([config], userdir=userdir), SystemClock())
    return list(asyncio.run(source.tape()).rows())


def sessions(rows: Sequence[Row]) -> list[list[Row]]:
    """Return what lies between the recorder's own gaps, without the GAP that each session begins with."""
    found: list[list[Row]] = [[]]
    for row in rows:
        if row[2] & KIND == Kind.GAP and row[3] == GapReason.RECORDER:
            found.append([])
        elif row[2] & KIND != Kind.GAP or row[3] != GapReason.START:
            found[-1].append(row)
    return found


def marks(rows: Sequence[Row]) -> list[tuple[int, GapReason]]:
    """Return time and reason of the gaps but for those that sessions begin with."""
    gaps = [(row[1], GapReason(row[3])) for row in rows if row[2] & KIND == Kind.GAP]
    return [gap for gap in gaps if gap[1] != GapReason.START]


def books(rows: Sequence[Row], depth: int = 20) -> dict[int, Any]:
    """Return the best levels after each update, by its exchange time, as slow and obvious as can be."""
    sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
    known = False
    found = {}
    for time_ns, _, kind, price, quantity in rows:
        match kind & KIND:
            case Kind.GAP:
                known = False
            case Kind.SNAPSHOT:
                known = True
                sides[0].clear()
                sides[1].clear()
            case Kind.LEVEL if known:
                side = sides[1 if kind & SELL else 0]
                side[price] = quantity
                if not quantity:
                    del side[price]
                if kind & 0x80:
                    bids = sorted(sides[0].items(), reverse=True)[:depth]
                    found[time_ns] = (bids, sorted(sides[1].items())[:depth])
    return found


def logged_ns(stderr: str, words: str) -> int | None:
    """Return when a line of the log that holds `words` was written, ns."""
    for line in stderr.splitlines():
        if words in line:
            moment = datetime.datetime.fromisoformat(line.split(" ", 1)[0])
            return int(moment.timestamp() * 1000) * 10**6
    return None
