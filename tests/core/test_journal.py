from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from core_rows import BTCUSDT, INVERSE, SPOT, ask, bid, sold
from hypothesis import given
from hypothesis import strategies as st
from scripted import Entry

from mmkit.commands import CancelOrder, SubmitOrder, TimeInForce
from mmkit.errors import DataError, RunError
from mmkit.events import (
    ALERTS,
    CancelRejected,
    FeedLost,
    FeedRestored,
    FundingPaid,
    HighVolatility,
    LargeTrade,
    Liquidity,
    OneSidedTrades,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderRejected,
    PriceAnomaly,
    Side,
    Statistics,
    StrongFlow,
)
from mmkit.interfaces import RunInfo
from mmkit.journal import Journal, RecordedRun, RunRecord, new_run_folder
from mmkit.tape import records

AT: dict[str, int] = {"ts_exchange": 2**62, "ts_local": 2**62 + 1}
ENTRIES: list[Entry] = [
    *(
        SubmitOrder(
            ts_local=1, order_id=2, side=side, price=3, quantity=4, time_in_force=time_in_force
        )
        for side in Side
        for time_in_force in TimeInForce
    ),
    CancelOrder(ts_local=5, order_id=6),
    OrderAccepted(order_id=1, **AT),
    OrderRejected(order_id=1, reason='post-only "order"\nwould have taken\r\u2028 ü', **AT),
    *(
        OrderFilled(
            order_id=1,
            price=3,
            quantity=4,
            remaining=5,
            liquidity=liquidity,
            fee=Decimal(fee),
            **AT,
        )
        for liquidity in Liquidity
        for fee in ("0.000010", "-1E-9", "0", "0.3333333333333333333333333333333333")
    ),
    OrderCanceled(order_id=1, **AT),
    CancelRejected(order_id=1, reason="gone", **AT),
    FeedLost(reason="sequence", **AT),
    FeedRestored(**AT),
    *(
        FundingPaid(
            rate=Decimal(rate), mark=Decimal("0.10"), position=-3, amount=Decimal("1E-9"), **AT
        )
        for rate in ("0.00010000", "-1E-7")
    ),
    Statistics(mean=600_000.1, deviation=1 / 3, z=-1e-9, price=600_000, sold=7, **AT),
    Statistics(**AT),
    PriceAnomaly(side=Side.BUY, price=7, mean=2.0, deviation=0.0, z=5.0, prices=20, **AT),
    LargeTrade(side=Side.SELL, price=7, quantity=2**60, suppressed=3, **AT),
    HighVolatility(mean=0.1, deviation=0.2, volatility=20_000.0, market="spot", **AT),
    OneSidedTrades(side=Side.BUY, buys=3, sells=1, bought=30, sold=1, **AT),
    StrongFlow(side=Side.SELL, flow_bought=1, flow_sold=9, flow_trades=4, **AT),
    CancelOrder(ts_local=5, order_id=6, market="spot"),
    FeedRestored(market="a name of its own", **AT),
]


def info(command: str = "trade", **changes: Any) -> RunInfo:
    values: dict[str, Any] = {
        "run_id": "20261121-101500-trade",
        "command": command,
        "folder": "somewhere",
        "instrument": BTCUSDT,
        "strategy": "join_best",
    }
    return RunInfo(**{**values, **changes})


def recorded(folder: Path, entries: list[Entry], *, each: int = 1) -> RecordedRun:
    journal = Journal(folder, market=True)
    for number, entry in enumerate(entries):
        journal.note(entry)
        if number % each == 0:
            journal.flush()
    journal.write_record(RunRecord(info=info()))
    journal.close()
    return RecordedRun(folder)


def exact(entry: Entry) -> tuple[Any, ...]:
    """Two decimals may be equal and be written differently; here they must not."""
    values = [getattr(entry, name) for name in entry.__struct_fields__]
    return (type(entry), *((type(value), str(value)) for value in values))


def test_every_kind_of_command_and_event_is_read_back_as_it_was_noted(tmp_path: Path) -> None:
    assert {type(entry) for entry in ENTRIES} == {
        *(SubmitOrder, CancelOrder, OrderAccepted, OrderRejected, OrderFilled, OrderCanceled),
        *(CancelRejected, FeedLost, FeedRestored, FundingPaid, Statistics, *ALERTS),
    }
    back = recorded(tmp_path, ENTRIES, each=3).entries()
    assert back == ENTRIES
    assert [exact(entry) for entry in back] == [exact(entry) for entry in ENTRIES]


@given(
    reason=st.text(),
    fee=st.decimals(allow_nan=False, allow_infinity=False),
    number=st.integers(-(2**63), 2**63 - 1),
)
def test_any_reason_fee_and_number_survives_the_journal(
    tmp_path_factory: pytest.TempPathFactory, reason: str, fee: Decimal, number: int
) -> None:
    entries: list[Entry] = [
        OrderRejected(ts_exchange=number, ts_local=number, order_id=1, reason=reason),
        OrderFilled(
            order_id=1,
            price=number,
            quantity=1,
            remaining=0,
            liquidity=Liquidity.MAKER,
            fee=fee,
            **AT,
        ),
    ]
    back = recorded(tmp_path_factory.mktemp("run"), entries).entries()
    assert [exact(entry) for entry in back] == [exact(entry) for entry in entries]


def test_more_entries_than_are_kept_in_memory_are_all_written(tmp_path: Path) -> None:
    many: list[Entry] = [CancelOrder(ts_local=number, order_id=1) for number in range(12_345)]
    assert recorded(tmp_path, many, each=100_000).entries() == many


def test_market_data_is_read_back_as_it_was_received(tmp_path: Path) -> None:
    rows = [bid(1000, 5, 1, 2), ask(1002, 3, 4, 5), sold(1000, 1, 3, 7)]
    journal = Journal(tmp_path, market=True)
    journal.market(rows[:2])
    journal.flush()
    journal.market(rows[2:])
    journal.write_record(RunRecord(info=info(instrument=INVERSE)))
    journal.close()
    tape = RecordedRun(tmp_path).tape()
    assert (list(tape.rows()), tape.instrument) == (rows, INVERSE)


def test_market_data_of_several_markets_is_read_back_each_for_itself_and_as_it_was_received(
    tmp_path: Path,
) -> None:
    main = [bid(1000, 5, 1, 2), ask(1002, 3, 4, 6)]
    spot = [bid(10, 5, 1, 3), ask(12, 3, 4, 5), bid(11, 1, 6, 7)]
    journal = Journal(tmp_path, market=True)
    for number, rows in [(0, main[:1]), (1, spot[:2]), (0, main[1:]), (1, spot[2:])]:
        journal.market(rows, number)
    journal.write_record(RunRecord(info=info(others={"spot": SPOT})))
    journal.close()

    run = RecordedRun(tmp_path)
    assert run.instruments == {"main": BTCUSDT, "spot": SPOT}
    assert list(run.tape().rows()) == main
    assert (list(run.tape("spot").rows()), run.tape("spot").instrument) == (spot, SPOT)
    of = ["main", "spot", "spot", "main", "spot"]
    rows = [main[0], spot[0], spot[1], main[1], spot[2]]
    assert run.messages() == [(name, [row]) for name, row in zip(of, rows, strict=True)]


def test_rows_of_a_market_that_the_run_does_not_know_are_refused(tmp_path: Path) -> None:
    run = recorded(tmp_path, [])
    (tmp_path / "market.rows").write_bytes(records([(0, bid(1, 1)), (3, bid(1, 1))]))
    with pytest.raises(RunError, match=r"rows of market 3, but run\.json knows 1"):
        run.messages()


@pytest.mark.parametrize(
    "times",
    [
        {},
        {"start_ns": 5, "stop_ns": None, "end_ns": None},
        {"start_ns": 2**62, "stop_ns": 2**62 + 1, "end_ns": 2**62 + 2},
    ],
)
def test_the_record_of_a_run_is_read_back_as_it_was_written(
    tmp_path: Path, times: dict[str, Any]
) -> None:
    record = RunRecord(info=info(instrument=INVERSE), **times)
    journal = Journal(tmp_path, market=True)
    journal.write_record(record)
    assert RecordedRun(tmp_path).record == record
    journal.close()


def test_what_was_flushed_is_there_while_the_run_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path, market=True)
    journal.write_record(RunRecord(info=info()))
    for entry in ENTRIES:
        journal.note(entry)
    assert RecordedRun(tmp_path).entries() == []
    journal.flush()
    assert RecordedRun(tmp_path).entries() == ENTRIES
    journal.close()


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write("report.json", b"long before")
    journal.write("report.json", b"after")
    assert (tmp_path / "report.json").read_bytes() == b"after"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.jsonl", "report.json"]
    journal.close()


# --- run folders ---

MOMENT = 1_795_256_100_000_000_000  # 2026-11-21 10:15:00 UTC


def test_run_folders_of_one_second_are_numbered(tmp_path: Path) -> None:
    made = [new_run_folder(tmp_path, "trade", MOMENT + number) for number in range(3)]
    assert [folder.relative_to(tmp_path).as_posix() for folder in made] == [
        "results/20261121-101500-trade",
        "results/20261121-101500-trade-2",
        "results/20261121-101500-trade-3",
    ]
    assert all(folder.is_dir() for folder in made)


def test_a_run_folder_that_cannot_be_made_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(RunError, match="results: cannot be written: "):
        new_run_folder(tmp_path, "trade", MOMENT)


def test_a_journal_in_a_folder_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written: No such file or directory"):
        Journal(tmp_path / "nowhere")


# --- reading what is damaged ---


def test_a_folder_that_holds_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no 'run.json' in it"):
        RecordedRun(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"info": {}}', b"\xff"])
def test_a_record_that_cannot_be_read_is_refused_with_its_path(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RunError, match=r"run\.json: "):
        RecordedRun(tmp_path)


def test_a_run_of_another_version_is_refused(tmp_path: Path) -> None:
    record = RunRecord(info=info(), version="0.0.1")
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(record))
    with pytest.raises(RunError, match=r"recorded by mmkit 0\.0\.1, this is"):
        RecordedRun(tmp_path)


@pytest.mark.parametrize(
    "line",
    [b'{"type":"OrderAccep', b'{"type":"Nobody"}', b"{}", b"\xff", b'{"type":"CancelOrder"}'],
)
def test_a_line_that_is_no_entry_is_refused_with_its_number(tmp_path: Path, line: bytes) -> None:
    run = recorded(tmp_path, ENTRIES[:2])
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(RunError, match=r"journal\.jsonl:3: "):
        run.entries()


def test_market_rows_cut_short_by_a_crash_are_read_up_to_there(tmp_path: Path) -> None:
    run = recorded(tmp_path, [])
    rows = [bid(1000, 5, 1, 2), ask(1002, 3, 4, 5)]
    (tmp_path / "market.rows").write_bytes(records((0, row) for row in rows)[:-1])
    assert list(run.tape().rows()) == rows[:1]


def test_market_rows_out_of_order_are_refused(tmp_path: Path) -> None:
    run = recorded(tmp_path, [])
    (tmp_path / "market.rows").write_bytes(records([(0, bid(1, 1, 0, 9)), (0, bid(1, 1, 0, 8))]))
    with pytest.raises(DataError, match="ts_local goes back"):
        run.tape()


# --- a full disk, for real: no file of this process may grow beyond so many bytes ---

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from mmkit.commands import CancelOrder
from mmkit.errors import RunError
from mmkit.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder, limit, what = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
journal = Journal(folder, market=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
done = 0
try:
    while done < 10_000:
        if what == "entries":
            journal.note(CancelOrder(ts_local=1_000_000_000 + done, order_id=1))
        elif what == "rows":
            journal.market([(done, done, 0x81, 600_000, 5)])
        else:
            journal.write("report.json", b"x" * (done + 1))
        if what == "file" or done % 10 == 9:
            journal.flush()
        done += 1
except RunError as error:
    print(done, journal.broken, error, sep="\\n")
    journal.close()
"""


def full_disk(folder: Path, limit: int, what: str) -> tuple[int, str]:
    """Return what had been handed over when it failed, and the words."""
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(folder), str(limit), what],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (result.returncode, result.stderr) == (0, "")
    done, broken, words = result.stdout.splitlines()
    assert broken == "True"
    return int(done), words


@pytest.mark.parametrize("what", ["entries", "rows", "file"])
def test_a_full_disk_is_an_error_in_words(tmp_path: Path, what: str) -> None:
    _, words = full_disk(tmp_path, 500, what)
    assert words == (
        f"{tmp_path}: the disk is full (File too large); quotes were pulled and what was written "
        "before is intact. Free some space, or put 'results' on another disk"
    )


@pytest.mark.parametrize("limit", [5_000, 5_049, 5_050, 5_051, 6_543])
def test_a_disk_that_takes_a_part_of_a_write_is_full(tmp_path: Path, limit: int) -> None:
    """The system may write half of what it was handed and call it a success."""
    done, _ = full_disk(tmp_path, limit, "entries")
    run = RunRecord(info=info())
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(run))
    entries = RecordedRun(tmp_path).entries()
    each = len(msgspec.json.encode(CancelOrder(ts_local=1_000_000_000, order_id=1))) + 1
    # Ten entries a flush: the first that does not fit fails, and all before it are there.
    assert done - 9 == len(entries) == limit // each // 10 * 10
    assert entries == [
        CancelOrder(ts_local=1_000_000_000 + number, order_id=1) for number in range(done - 9)
    ]


def test_a_file_that_does_not_fit_leaves_the_one_before(tmp_path: Path) -> None:
    done, _ = full_disk(tmp_path, 100, "file")
    assert done == 100
    assert (tmp_path / "report.json").read_bytes() == b"x" * 100
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "journal.jsonl",
        "market.rows",
        "report.json",
    ]


def test_after_a_failure_the_rows_before_it_can_be_read(tmp_path: Path) -> None:
    done, _ = full_disk(tmp_path, 5_000, "rows")
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(RunRecord(info=info())))
    rows = list(RecordedRun(tmp_path).tape().rows())
    assert rows == [(number, number, 0x81, 600_000, 5) for number in range(done - 9)]
