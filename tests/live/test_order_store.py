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
from random import Random
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from small_venue import SPOT

import mmkit
from mmkit.commands import TimeInForce
from mmkit.errors import RunError
from mmkit.events import Side
from mmkit.live.anchor import Anchor
from mmkit.live.known import KnownFill, KnownOrder, Stage
from mmkit.live.ledger import Ledger
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


def fill(number: int, client_id: str = "mm1-1") -> KnownFill:
    return KnownFill(
        trade_id=str(number),
        client_id=client_id,
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
    with pytest.raises(
        RunError, match=f"version {VERSION} was expected, or 1, of which one is made; found version"
    ):
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
    assert found._replace(trades=[]) == kept._replace(trades=[])
    assert sorted(found.trades) == sorted(kept.trades) == [("mm1-1", "12"), ("mm1-1", "2")]
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


OLD = """
CREATE TABLE orders (client_id TEXT PRIMARY KEY, over INTEGER NOT NULL, entry BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX orders_not_over ON orders (over) WHERE over = 0;
CREATE TABLE fills (trade_id TEXT PRIMARY KEY, ts_ns INTEGER NOT NULL, entry BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE anchors (number INTEGER PRIMARY KEY, entry BLOB NOT NULL);
CREATE TABLE runs (tag TEXT PRIMARY KEY, start_ns INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA application_id=1835887409; PRAGMA user_version=1;
"""


def test_a_journal_of_version_1_becomes_one_of_this_version_with_all_that_was_in_it(
    tmp_path: Path,
) -> None:
    path, encode = tmp_path / "orders.sqlite", msgspec.json.encode
    fills = [fill(number, f"mm1-{number % 3}") for number in range(1, 50)]
    connection = sqlite3.connect(path)
    connection.executescript(OLD)
    connection.executemany(
        "INSERT INTO fills VALUES (?, ?, ?)",
        [(one.trade_id, one.ts_ns, encode(one)) for one in fills],
    )
    connection.execute("INSERT INTO orders VALUES ('mm1-1', 0, ?)", (encode(order(1)),))
    connection.execute("INSERT INTO runs VALUES ('mm1', 7)")
    connection.commit()
    connection.close()
    for _ in range(2):
        store = Store(path)
        found = store.found()
        assert [one.client_id for one in found.orders] == ["mm1-1"]
        assert (found.last_fill_ns, found.first_run_ns) == (49, 7)
        assert sorted(found.trades) == sorted(
            ("mm1-1", one.trade_id) for one in fills if one.client_id == "mm1-1"
        )
        assert store.fills() == store.money().fills == fills
        assert store.money().fundings == []
        store.close()


def test_the_fills_of_a_run_are_those_of_its_orders_and_of_no_other(tmp_path: Path) -> None:
    store = Store(tmp_path / "orders.sqlite")
    store.write([], [fill(1, "mm1-1"), fill(2, "mm12-1"), fill(3, "mm1-22"), fill(4, "mm0-1")])
    assert [one.ts_ns for one in store.fills_of("mm1")] == [1, 3]
    store.close()


def test_two_orders_of_ours_that_trade_with_each_other_have_a_fill_each(tmp_path: Path) -> None:
    for store in (Store(tmp_path / "orders.sqlite"), MemoryStore()):
        both = [fill(1, "mm1-1"), fill(1, "mm1-2")]
        store.write([], both)
        store.write([], both)
        assert store.fills() == both
        store.close()


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_what_was_added_up_and_the_rest_come_to_what_all_fills_come_to(
    times: list[int], luck: Random
) -> None:
    """In whatever order fills come, and wherever a run ends, with so short a tail that sums are often kept."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr("mmkit.live.ledger._TAIL", 3)
        stores = Store(Path(folder) / "orders.sqlite"), MemoryStore()
        ledgers = [Ledger(SPOT) for _ in stores]
        for number, ts_ns in enumerate(sorted(times) if luck.random() < 0.5 else times):
            one = replace(
                fill(number, f"mm1-{number}"),
                ts_ns=ts_ns,
                price=luck.randrange(1, 99),
                side=luck.choice(list(Side)),
            )
            for at, store in enumerate(stores):
                store.write([], [one])
                ledgers[at].apply(one)
                if (sums := ledgers[at].settled) is not None:
                    store.keep_sums(sums)
                if luck.random() < 0.1:
                    money = store.money()
                    ledgers[at] = Ledger(SPOT, money.fills, money.sums)
                everything = Ledger(SPOT, store.fills())
                assert ledgers[at].moved == everything.moved
                assert ledgers[at].position == everything.position
                assert ledgers[at].count == everything.count == number + 1
        stores[0].close()


@pytest.mark.skipif("MMKIT_LONG" not in os.environ, reason="a minute: writes a million fills")
def test_a_run_on_a_journal_of_a_million_fills_begins_within_a_second(tmp_path: Path) -> None:
    store = Store(tmp_path / "orders.sqlite")
    ledger = Ledger(SPOT)
    for begin in range(0, 1_000_000, 1000):
        done = [fill(number, f"mm1-{number // 3}") for number in range(begin + 1, begin + 1001)]
        store.write([], done)
        for one in done:
            ledger.apply(one)
        if ledger.settled is not None:
            store.keep_sums(ledger.settled)
    store.close()
    began = time.perf_counter()
    store = Store(tmp_path / "orders.sqlite")
    found, money = store.found(), store.money()
    again = Ledger(SPOT, money.fills, money.sums)
    took = time.perf_counter() - began
    assert again.moved == ledger.moved
    assert again.count == 1_000_000
    assert not found.trades
    began = time.perf_counter()
    everything = Ledger(SPOT, store.fills())
    whole = time.perf_counter() - began
    assert everything.moved == ledger.moved
    store.close()
    sys.stdout.write(f"{took:.3f} s, {len(money.fills)} fills read; all of them {whole:.1f} s\n")
    assert took < 1
