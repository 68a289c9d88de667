"""A recording of many markets when one of them fails: real sources, a real exchange over loopback."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from processes import mmkit
from recorder import captured, dataset, exchange, marks, raw_files, raw_lines, sessions, userdir_for
from test_record import Later
from websockets.asyncio.server import ServerConnection, serve

from mmkit.clock import Clock
from mmkit.config import Config, load_config
from mmkit.recording.marks import time_of
from mmkit.recording.place import DAY_NS
from mmkit.run import record as recording
from mmkit.run import record_market
from mmkit.run.record import Recorded, Summary, record
from mmkit.tape import GapReason
from mmkit_binance import rest

SECOND = 10**9
BOTH = ("--symbol", "BTC/USDT:USDT", "--symbol", "ETH/USDT:USDT")


def with_eth(userdir: Path, url: str, ws: str) -> Config:
    """Return the configuration with a second market, of another server."""
    eth = {
        "instrument": {"venue": "binance", "market": "usdm", "symbol": "ETH/USDT:USDT"},
        "data": {"plugin": "binance", "endpoint": "sandbox", "url": ws, "rest_url": url},
    }
    more = userdir / "more.yml"
    more.write_text(json.dumps({"markets": {"eth": eth}}))
    return load_config([userdir / "config.yml", more])


def files_of(userdir: Path, native: str) -> list[Path]:
    return [path for path in raw_files(userdir) if native in path.parts]


def is_whole(userdir: Path, one: Recorded, seconds: float) -> None:
    """Check that a market was recorded for so long without a gap, and can be read back."""
    native = one.symbol.replace("/", "").partition(":")[0]
    rows = dataset(userdir, native)
    grid = {"symbol": one.symbol, "tick": one.tick, "lot": one.lot}
    assert captured(userdir, files_of(userdir, native), **grid)[1:-1] == rows[1:-1]
    assert marks(rows) == [(rows[-1][1], GapReason.RECORDER)]
    assert rows[-1][1] - rows[0][1] > seconds * SECOND
    assert (one.failed, one.failures, one.gaps) == ("", 0, 0)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_symbol_that_is_not_listed_is_named_and_the_other_is_recorded_all_the_same(
    tmp_path: Path,
) -> None:
    with exchange(tmp_path, "--symbol", "BTC/USDT:USDT") as url:
        userdir = userdir_for(tmp_path, url)
        command = ("record", "-c", userdir / "config.yml", *BOTH, "--duration", "2s", "--json")
        told = mmkit(*command, cwd=tmp_path)

    assert told.status == 3
    btc, eth = (Recorded(**one) for one in told.json["markets"])
    assert told.json["ended"] == "time was up"
    assert "ETH/USDT:USDT" in eth.failed
    assert (eth.failures, eth.messages, eth.rows_in) == (1, 0, "")
    assert btc.failed == ""
    assert btc.messages > 15
    named = "failed, not tried again symbol=ETH/USDT:USDT reason="
    assert told.stderr.index(named) < told.stderr.index("connected route=")
    assert "Traceback" not in told.stderr
    assert not files_of(userdir, "ETHUSDT")


def test_when_every_market_has_failed_for_good_it_ends_at_once(tmp_path: Path) -> None:
    with exchange(tmp_path, "--symbol", "SOL/USDT:USDT") as url:
        userdir = userdir_for(tmp_path, url)
        began = time.monotonic()
        ended = mmkit(
            "record", "-c", userdir / "config.yml", *BOTH, "--duration", "1h", cwd=tmp_path
        )

    assert time.monotonic() - began < 20
    assert ended.status == 3
    for symbol in ("BTC/USDT:USDT", "ETH/USDT:USDT"):
        assert f"not tried again symbol={symbol}" in ended.stderr
    assert not raw_files(userdir)


def test_a_message_that_cannot_be_read_ends_that_market_with_a_gap_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    garbage = '{"stream":"ethusdt@depth@100ms","data":{"e":"depthUpdate","U":"no number"}}'

    async def talk(one: ServerConnection) -> None:
        await asyncio.sleep(0.5)
        await one.send(garbage)
        await one.wait_closed()

    async def run(url: str, userdir: Path) -> Summary:
        async with serve(talk, "127.0.0.1", 0, close_timeout=0.1) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            config = with_eth(userdir, url, f"ws://127.0.0.1:{port}")
            summary, failure, interrupted = await record(config, duration_ns=3 * SECOND)
        assert failure is not None
        assert failure.exit_code == 5
        assert str(failure).startswith("market 'eth': ws://")
        assert not interrupted
        return summary

    with exchange(tmp_path, *BOTH) as url, caplog.at_level(logging.ERROR, "mmkit.record"):
        userdir = userdir_for(tmp_path, url)
        summary = asyncio.run(run(url, userdir))

    btc, eth = summary.markets
    is_whole(userdir, btc, 2)
    assert eth.failed.startswith("market 'eth': ws://")
    (line,) = [one for one in caplog.messages if "failed, not tried again" in one]
    assert "symbol=ETH/USDT:USDT" in line
    lines = raw_lines(files_of(userdir, "ETHUSDT")[0])
    assert lines[-2].endswith(garbage.encode())
    assert b"gap recorder the market failed: " in lines[-1]
    # It is the end of that market, and was written down when it happened.
    assert time_of(lines[-1]) - time_of(lines[-2]) < SECOND / 2
    assert dataset(userdir)[-1][1] - time_of(lines[-1]) > 1.5 * SECOND


def test_a_host_that_is_not_there_at_the_start_is_tried_until_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "FIRST_DELAYS_S", (0.01,))
    monkeypatch.setattr(record_market, "FIRST_PAUSE_S", 0.3)
    port = free_port()
    late = f"http://127.0.0.1:{port}"

    async def run(userdir: Path, url: str) -> tuple[Summary, object]:
        config = with_eth(userdir, late, f"ws://127.0.0.1:{port}/fstream")
        task = asyncio.create_task(record(config, duration_ns=6 * SECOND))
        await asyncio.sleep(0.8)
        assert not files_of(userdir, "ETHUSDT")
        with exchange(tmp_path, "--port", port, *BOTH):
            summary, failure, _ = await task
        return summary, failure

    with exchange(tmp_path) as url:
        userdir = userdir_for(tmp_path, url)
        summary, failure = asyncio.run(run(userdir, url))

    assert failure is None
    btc, eth = summary.markets
    is_whole(userdir, btc, 5)
    assert eth.failures >= 1
    assert (eth.failed, eth.gaps) == ("", 0)
    assert eth.messages > 10


FLAKY = """
import asyncio
from decimal import Decimal
from mmkit import DataSource, PluginConfig, Provider, hookimpl
from mmkit.errors import VenueError
from mmkit.tape import LAST, FeedStats, Kind

tries = 0

class Flaky(DataSource):
    def __init__(self, config, context):
        self.stats, self.context = FeedStats(), context

    async def instrument(self):
        return self.context.spec.on_grid(Decimal("0.1"), Decimal("0.001"))

    async def stream(self):
        global tries
        tries += 1
        for number in range(10):
            await asyncio.sleep(0.02)
            now = self.context.clock.now_ns()
            yield [(now, now, Kind.SNAPSHOT, 0, 0), (now, now, Kind.LEVEL | LAST, 100 + number, tries)]
        if tries == 1:
            raise VenueError("gone for now")
        raise KeyError("surprise")

@hookimpl
def register_data_sources():
    return [Provider("flaky", PluginConfig, Flaky, "Fails, once with hope")]
"""


def test_what_fails_midway_is_a_gap_it_goes_on_after_a_pause_and_a_fault_of_a_plugin_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(record_market, "FIRST_PAUSE_S", 0.4)
    with exchange(tmp_path) as url:
        userdir = userdir_for(tmp_path, url)
        (userdir / "plugins").mkdir()
        (userdir / "plugins" / "flaky.py").write_text(FLAKY)
        more = userdir / "more.yml"
        instrument = {"venue": "binance", "market": "usdm", "symbol": "ETH/USDT:USDT"}
        market: dict[str, Any] = {"instrument": instrument, "data": {"plugin": "flaky"}}
        more.write_text(json.dumps({"markets": {"eth": market}}))
        config = load_config([userdir / "config.yml", more], userdir=userdir)
        summary, failure, _ = asyncio.run(record(config, duration_ns=3 * SECOND))

    btc, eth = summary.markets
    is_whole(userdir, btc, 2)
    assert failure is not None
    assert failure.exit_code == 3
    assert "KeyError" in eth.failed
    assert "a fault in the plugin" in eth.failed
    assert "surprise" in caplog.text
    assert (eth.failures, eth.gaps, eth.messages) == (2, 2, 20)
    first, second, rest_of_it = sessions(rows := dataset(userdir, "ETHUSDT"))
    assert (len(first), len(second), rest_of_it) == (20, 20, [])
    assert [reason for _, reason in marks(rows)] == [GapReason.RECORDER] * 2
    pause = second[0][1] - marks(rows)[0][0]
    assert 0.4 * SECOND < pause < 1.5 * SECOND
    assert marks(rows)[1][0] - second[-1][1] < SECOND / 2


SYMBOLS = tuple(f"{base}/USDT:USDT" for base in ("BTC", "ETH", "SOL"))


def test_at_midnight_the_snapshots_of_many_symbols_are_asked_for_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = 0.5
    monkeypatch.setattr(recording, "SNAPSHOT_EVERY_S", apart)
    options = [word for symbol in SYMBOLS for word in ("--symbol", symbol)]
    with exchange(tmp_path, *options) as url:
        userdir = userdir_for(tmp_path, url)
        config = of_symbols(load_config([userdir / "config.yml"]))
        now = time.time_ns()
        midnight = (now // DAY_NS + 1) * DAY_NS
        clock: Clock = Later(midnight - now - 3 * SECOND)
        _, failure, _ = asyncio.run(record(config, duration_ns=6 * SECOND, clock=clock))

    assert failure is None
    asked = []
    for symbol in SYMBOLS:
        before, after = files_of(userdir, symbol.replace("/", "").partition(":")[0])
        assert after.stem > before.stem
        asked += [time_of(line) for line in raw_lines(after) if b"/depth?" in line[:80]]
    asked.sort()
    assert len(asked) == len(SYMBOLS)
    assert midnight < asked[0] < midnight + 2 * SECOND
    for one, next_one in itertools.pairwise(asked):
        assert next_one - one > (apart - 0.2) * SECOND


def of_symbols(config: Config) -> Config:
    from mmkit.cli_commands.record import _of_symbols

    return _of_symbols(config, SYMBOLS)
