"""The journal of orders on a real disk, with real processes."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

import mmkit
from mmkit.commands import TimeInForce
from mmkit.errors import RunError
from mmkit.events import Side
from mmkit.live.anchor import Anchor
from mmkit.live.known import KnownFill, KnownOrder, Stage
from mmkit.live.memory import MemoryStore
from mmkit.live.store import VERSION, Store

WRITER = Path(__file__).with_name("keep_writing.py")


@contextmanager
def writer(path: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    env = {**os.environ, "PYTHONPATH": str(Path(mmkit.__file__).parents[1])}
    command = [sys.executable, str(WRITER), str(path), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            yield process
        finally:
            process.kill()


def order(number: int, stage: Stage = Stage.INTENDED) -> KnownOrder:
    return KnownOrder(
        client_id=f"mm1-{number}",
        order_id=number,
        side=Side.SELL,
        price=650_000,
        quantity=3,
        time_in_force=TimeInForce.POST_ONLY,
        intended_ns=number,
        stage=stage,
    )


def fill(number: int) -> KnownFill:
    return KnownFill(
        trade_id=str(number),
        client_id="mm1-1",
        side=Side.SELL,
        price=650_000,
        quantity=1,
        fee=Decimal("-0.00000001"),
        fee_asset="BNB",
        maker=True,
        ts_ns=number,
    )


def test_what_a_process_said_it_had_written_is_there_after_it_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "orders.sqlite"
    said = 0
    for after in (3, 40, 150):
        with writer(path) as process:
            assert process.stdout is not None
            for _ in range(after):
                said = int(process.stdout.readline().removeprefix("mm1-"))
            process.send_signal(signal.SIGKILL)
            for line in process.stdout.read().splitlines():
                said = int(line.removeprefix("mm1-"))
        store = Store(path)
        there = {one.client_id for one in store.found().orders}
        store.close()
        assert there >= {f"mm1-{number}" for number in range(1, said + 1)}
        assert len(there) <= said + 1
    assert said >= 193


def test_a_second_run_is_refused_and_told_who_has_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "orders.sqlite"
    with writer(path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(RunError, match=f"in use by process {process.pid}"):
            Store(path)
    Store(path).close()


def test_a_disk_that_is_full_is_said_and_what_was_written_before_is_there(tmp_path: Path) -> None:
    path = tmp_path / "orders.sqlite"
    with writer(path, "200000") as process:
        assert process.stdout is not None
        *written, refused = process.stdout.read().splitlines()
        assert process.wait(10) == 0
    assert refused.startswith(f"refused {path}: the journal of orders cannot be written")
    assert "make room" in refused
    store = Store(path)
    assert {one.client_id for one in store.found().orders} == set(written)
    store.close()
    assert len(written) > 10


def test_a_journal_of_another_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "orders.sqlite"
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(RunError, match=f"version {VERSION} was expected; found version"):
        Store(path)
    assert path.read_bytes() == before


def test_another_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    text, other = tmp_path / "text", tmp_path / "other.sqlite"
    text.write_text("a letter\n" * 1000)
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE letters (words TEXT)")
    connection.close()
    for path in (text, other):
        before = path.read_bytes()
        with pytest.raises(RunError, match=r"cannot be opened|another file"):
            Store(path)
        assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be kept there"):
        Store(tmp_path / "file" / "orders.sqlite")


def test_a_run_of_the_same_name_is_refused(tmp_path: Path) -> None:
    for store in (Store(tmp_path / "orders.sqlite"), MemoryStore()):
        store.begin("mm1", 7)
        with pytest.raises(RunError, match="a run 'mm1' already"):
            store.begin("mm1", 8)
        assert store.found().first_run_ns == 7
        store.close()


def test_the_journal_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "orders.sqlite"
    store = Store(path)
    store.write([order(1)], [])
    for one in tmp_path.iterdir():
        assert one.stat().st_mode & 0o077 == 0, one
    store.close()


def test_what_is_decided_is_synced_and_what_the_venue_tells_is_synced_with_it(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "orders.sqlite")
    said: list[str] = []
    store._connection.set_trace_callback(said.append)

    def synced(*orders: KnownOrder, fills: Sequence[KnownFill] = ()) -> bool:
        said.clear()
        store.write(orders, fills)
        assert said.count("COMMIT") == 1
        level = [one for one in said[: said.index("COMMIT")] if one.startswith("PRAGMA")]
        # Whatever comes next, an anchor or the name of a run, is synced again.
        assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        return level != ["PRAGMA synchronous=NORMAL"]

    assert synced(order(1))
    assert not synced(order(1, Stage.OPEN))
    assert not synced(fills=[fill(1)])
    assert synced(order(1, Stage.OPEN), order(2)), "one of them is new"
    # What is decided anew on an order that is there, such as another price, is as a new order.
    assert synced(replace(order(1, Stage.OPEN), price=650_001))
    assert not synced(replace(order(1, Stage.OPEN), price=650_001, cancel_wanted=True))
    assert not synced(order(1, Stage.DONE))
    store.close()
    again = Store(tmp_path / "orders.sqlite")
    assert [one.client_id for one in again.found().orders] == ["mm1-2"]
    again.close()


def test_memory_keeps_what_the_disk_keeps(tmp_path: Path) -> None:
    disk, memory = Store(tmp_path / "orders.sqlite"), MemoryStore()
    for store in (disk, memory):
        store.write([order(1), order(2)], [fill(12), fill(2)])
        store.write([order(2, Stage.DONE)], [fill(12)])
        store.keep(Anchor(rest={"BTC": Decimal(1)}, locked={}))
        store.keep(Anchor(rest={"BTC": Decimal("0.1")}, locked={}, position=Decimal(-3)))
    disk.close()
    disk = Store(tmp_path / "orders.sqlite")
    found, kept = disk.found(), memory.found()
    assert found._replace(trade_ids=[]) == kept._replace(trade_ids=[])
    assert sorted(found.trade_ids) == sorted(kept.trade_ids)
    assert [one.client_id for one in found.orders] == ["mm1-1"]
    assert disk.fills() == memory.fills() == [fill(2), fill(12)]
    assert disk.anchor() == memory.anchor()
    assert disk.anchor() is not None
    disk.close()


def test_a_commit_takes_less_time_than_a_quote_may_wait(tmp_path: Path) -> None:
    store = Store(tmp_path / "orders.sqlite")
    took = []
    for number in range(100):
        began = time.perf_counter()
        store.write([order(number)], [])
        took.append(time.perf_counter() - began)
    store.close()
    assert sorted(took)[50] < 0.05
