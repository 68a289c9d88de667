"""A trader's process that is killed, at real sockets and over a bad line, loses nothing; and what would is found out."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mmkit.live.known import Stage
from mmkit.live.store import Store
from mmkit_sandbox.channel import StreamKind
from mmkit_sandbox.chaoscommand import chaos
from mmkit_sandbox.chaosprocess import ProcessChaos, ProcessOutcome
from mmkit_sandbox.chaosprocessproxy import LineFault, LineFaultKind, Proxy
from mmkit_sandbox.chaosprocessreport import ProcessTally, lines_of_process
from mmkit_sandbox.chaosprocessschedule import (
    LINE_LASTS,
    VENUE_LASTS,
    Death,
    ProcessSchedule,
    process_schedule,
)
from mmkit_sandbox.chaosprocessvenue import ProcessVenue
from mmkit_sandbox.faults import Fault, FaultKind
from mmkit_sandbox.listing import Listing

_S = 1_000_000_000
QUIET = ProcessSchedule(
    market="spot",
    plugin="binance",
    strategy={"plugin": "join_best", "every": "100ms", "size": "0.005", "max_position": "0.05"},
    lasts_ns=6 * _S,
    faults=[],
    line=[],
    deaths=[Death(None, 8)],
    pauses_s=[0.1],
    ending="SIGINT",
)
SPOT = QUIET._replace(
    plugin="ccxt",
    faults=[
        Fault(_S, FaultKind.TIMEOUT, 0, StreamKind.USER.value),
        Fault(2 * _S, FaultKind.DUPLICATE, _S, StreamKind.USER.value),
    ],
    line=[LineFault(_S // 2, LineFaultKind.CUT)],
    ending="stop",
)
USDM = QUIET._replace(
    market="usdm",
    faults=[Fault(2 * _S, FaultKind.DROP, _S, StreamKind.USER.value)],
    line=[
        LineFault(_S // 2, LineFaultKind.STALL_ANSWERS, _S // 2),
        LineFault(2 * _S, LineFaultKind.CUT_AFTER_REQUEST),
    ],
    ending="SIGTERM",
)
FAR = QUIET._replace(
    # Its orders rest: when the process is killed, the first ten are on the book, and it knows.
    strategy=QUIET.strategy
    | {"plugin": "grid", "levels": 5, "half_spread": "30bps", "spacing": "5bps"},
    deaths=[Death(None, 14)],
)


def with_handler(name: str) -> str:
    """Return a plugin that has orders handled by one of the broken handlers."""
    return (
        f"import sys\n\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"from broken_handlers import {name}\n\nfrom mmkit.live.venue import LiveVenue\n\n"
        f"LiveVenue.__init__.__defaults__ = ({name}, '')\n"
    )


def lose_some(journal: Path) -> None:
    """Take an order that is over from a journal of orders."""
    connection = sqlite3.connect(journal, isolation_level=None)
    connection.execute(
        "DELETE FROM orders WHERE client_id = (SELECT min(client_id) FROM orders WHERE over = 1)"
    )
    connection.close()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ProcessOutcome]:
    """Return what became of some schedules, run at once, as most of their time is waiting."""
    folder = tmp_path_factory.mktemp("chaos")
    whole: dict[str, dict[str, Any]] = {
        "spot": {"plan": SPOT},
        "usdm": {"plan": USDM},
        "forgets": {"plan": FAR, "plugin": with_handler("ForgetsWhatWasOpen")},
        "tampered": {"plan": QUIET, "between": lose_some},
    }

    async def main() -> list[ProcessOutcome]:
        return await asyncio.gather(
            *(ProcessChaos(1, folder / name, **one).run() for name, one in whole.items())
        )

    return dict(zip(whole, asyncio.run(main()), strict=True))


@pytest.mark.parametrize("name", ["spot", "usdm"])
def test_a_process_that_is_killed_and_badly_connected_loses_nothing(
    lived: dict[str, ProcessOutcome], name: str
) -> None:
    outcome = lived[name]
    assert outcome.violations == [], outcome.trace
    assert (outcome.kills, outcome.starts >= 2) == (1, True)
    assert outcome.orders > 8
    assert outcome.fills > 0
    assert outcome.faults["kill"] == 1
    assert sum(kind.startswith("line_") for kind in outcome.faults) >= 1
    assert outcome.folder is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("forgets", "is not over for us"),
        ("tampered", "the venue has an order that we do not know of"),
    ],
)
def test_what_is_broken_is_caught_and_what_was_written_is_kept(
    lived: dict[str, ProcessOutcome], name: str, words: str
) -> None:
    outcome = lived[name]
    assert any(words in one for one in outcome.violations), outcome.trace
    assert outcome.folder is not None
    assert "asked to end" in (outcome.folder / "trace.txt").read_text()
    assert (outcome.folder / "life-1.txt").stat().st_size > 0
    assert any(str(outcome.folder) in line for line in lines_of_process(outcome))


def test_the_tally_has_the_shape_of_that_of_virtual_time(lived: dict[str, ProcessOutcome]) -> None:
    tally = ProcessTally()
    for one in lived.values():
        tally.add(one)
    told = json.loads(tally.json())
    virtual = json.loads(CliRunner().invoke(chaos, ["--seeds", "1", "--json"]).output)
    shared = {"schedules", "orders", "fills", "faults", "violations", "slowest_back_s", "wall_s"}
    assert shared <= told.keys() & virtual.keys()
    assert told["schedules"] == len(lived)
    assert told["kills"] == told["faults"]["kill"] == sum(one.kills for one in lived.values())
    assert {one["violation"] for one in told["violations"]} == {
        words for one in lived.values() for words in one.violations
    }


def test_a_journal_tells_every_order_of_every_run(lived: dict[str, ProcessOutcome]) -> None:
    folder = lived["forgets"].folder
    assert folder is not None
    (path,) = folder.glob("user_data/orders/*.sqlite")
    store = Store(path)
    orders = store.orders()
    left = store.found().orders
    store.close()
    assert len(orders) > 8
    assert len({one.client_id.partition("-")[0] for one in orders}) == 2
    assert [one for one in orders if one.stage is not Stage.DONE] == left


def test_interrupted_the_command_leaves_no_process_and_says_what_there_was(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from mmkit.cli import main; sys.exit(main())",
            *("chaos", "--processes", "4", "--jobs", "2", "--json"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    for _ in range(200):
        if len(traders(tmp_path)) == 2:
            break
        time.sleep(0.05)
    assert len(traders(tmp_path)) == 2
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors.decode()
    assert json.loads(output)["schedules"] == 0
    assert traders(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def traders(folder: Path) -> list[str]:
    """Return the command lines of the processes that work in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().replace("\0", " ")
        except OSError:
            continue  # it has just ended
        if str(folder) in words:
            found.append(words)
    return found


def test_virtual_and_real_schedules_exclude_each_other() -> None:
    both = CliRunner().invoke(chaos, ["--seeds", "1", "--processes", "1"])
    assert both.exit_code == 2
    assert "one of them was expected, found both" in both.output
    alone = CliRunner().invoke(chaos, ["--jobs", "2"])
    assert alone.exit_code == 2
    assert "or say '--processes N'" in alone.output


def test_the_seeds_cover_every_fault_both_markets_and_both_accounts() -> None:
    plans = [process_schedule(seed) for seed in range(300)]
    assert plans == [process_schedule(seed) for seed in range(300)]
    assert {one.kind for plan in plans for one in plan.faults} == set(VENUE_LASTS)
    assert (
        {one.kind for plan in plans for one in plan.line} == set(LINE_LASTS) == set(LineFaultKind)
    )
    assert {(plan.market, plan.plugin) for plan in plans} == {
        (market, plugin) for market in ("spot", "usdm") for plugin in ("binance", "ccxt")
    }
    assert sum(len(plan.deaths) for plan in plans) > 300


# --- the line ---


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[Proxy, int, bytearray, list[str]]]:
    """Run a server that says everything back; yield the line to it, its port, what has arrived, and what went wrong."""
    arrived = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            arrived.extend(data)
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    told: list[str] = []
    proxy = Proxy(server.sockets[0].getsockname()[1], 1, lambda kind, _: told.append(str(kind)))
    try:
        yield proxy, await proxy.start(), arrived, told
    finally:
        await proxy.stop()
        server.close()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Wait for the end of a connection, orderly or not; return what came before."""
    came = b""
    with suppress(ConnectionResetError):
        while data := await reader.read(100):
            came += data
    return came


def over_a_line(test: Callable[[Proxy, int, bytearray, list[str]], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), echo() as (proxy, port, arrived, told):
            await test(proxy, port, arrived, told)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "least_s"),
    [
        (LineFaultKind.STALL, 0.4),
        (LineFaultKind.STALL_REQUESTS, 0.4),
        (LineFaultKind.STALL_ANSWERS, 0.4),
        (LineFaultKind.DELAY, 0.02),
    ],
)
def test_a_line_that_stalls_or_delays_says_everything_in_order(
    kind: LineFaultKind, least_s: float
) -> None:
    words = [os.urandom(n) for n in (1, 70_000, 3, 200_000, 10)]

    async def test(proxy: Proxy, port: int, arrived: bytearray, told: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.05)
        proxy.begin(LineFault(0, kind, _S // 2))
        began = time.monotonic()
        for one in words:
            writer.write(one)
        whole = b"".join(words)
        assert await reader.readexactly(len(whole)) == whole == bytes(arrived)
        assert time.monotonic() - began > least_s
        assert told == [str(kind)]

    over_a_line(test)


def test_a_line_that_is_cut_after_a_request_carries_the_request_and_no_answer() -> None:
    async def test(proxy: Proxy, port: int, arrived: bytearray, told: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.05)
        proxy.begin(LineFault(0, LineFaultKind.CUT_AFTER_REQUEST))
        writer.write(b"an order")
        assert await ended(reader) == b""
        for _ in range(100):
            if arrived:
                break
            await asyncio.sleep(0.02)
        assert bytes(arrived) == b"an order"

    over_a_line(test)


def test_a_line_that_is_silent_is_cut_once_all_is_calm() -> None:
    async def test(proxy: Proxy, port: int, arrived: bytearray, told: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.05)
        proxy.begin(LineFault(0, LineFaultKind.SILENT))
        writer.write(b"an order")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await reader.read(100)
        proxy.calm()
        assert await ended(reader) == b""
        assert bytes(arrived) == b""

    over_a_line(test)


def test_a_client_that_goes_in_the_middle_of_its_request_is_no_error_of_the_sandbox(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        venue = ProcessVenue(Listing.of("BTC/USDT"), 1, lambda *_: None)
        port = await venue.start()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /api/v3/order HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsymbol="
        )
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.transport.abort()
        await asyncio.sleep(0.1)
        await venue.stop()
        assert venue.sent == {}

    asyncio.run(main())
    assert caplog.records == []
