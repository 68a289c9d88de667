"""What a recorder leaves on disk: whole after any cut, never changed again, read while it is written."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmkit.errors import DataError, RunError
from mmkit.instruments import ContractKind, Instrument
from mmkit.recording.frames import Frames, frame
from mmkit.recording.market import Recording
from mmkit.recording.marks import gap_line, gap_of, message_line, time_of
from mmkit.recording.place import DAY_NS, Place
from mmkit.recording.raw import RawLog
from mmkit.recording.rows import RowLog
from mmkit.tape import LAST, NAMES, GapReason, Kind, Row

BTC = Instrument(
    venue="binance",
    market="usdm",
    symbol="BTC/USDT:USDT",
    native="BTCUSDT",
    base="BTC",
    quote="USDT",
    kind=ContractKind.LINEAR,
    tick=Decimal("0.1"),
    lot=Decimal("0.001"),
)
DAY = 1_795_651_200 * 10**9  # 2026-11-26T00:00Z
SECOND = 10**9
NO_FIXTURE_CHECK = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def content(path: Path) -> bytes:
    with path.open("rb") as file:
        return b"".join(Frames(file))


def trade(ts: int, price: int = 600_000) -> Row:
    return (ts - 5 * 10**6, ts, Kind.TRADE | LAST, price, 3)


def dataset(userdir: Path) -> pd.DataFrame:
    return pd.read_parquet(userdir / "data" / "rows").sort_values("ts_local", kind="stable")


def as_rows(frame: pd.DataFrame) -> list[Row]:
    return [tuple(map(int, row)) for row in frame[list(NAMES)].itertuples(index=False)]  # type: ignore[misc]


# --- raw messages ---------------------------------------------------------------------------------


@NO_FIXTURE_CHECK
@given(data=st.data())
def test_cut_at_any_byte_the_whole_frames_stay_and_recording_goes_on_behind_them(
    tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "raw"
    shutil.rmtree(folder, ignore_errors=True)
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    frames, lines = [], []
    number = 0
    for size in sizes:
        some = [b'%d {"n":%d}\n' % (DAY + n, n) for n in range(number, number + size)]
        number += size
        lines.append(b"".join(some))
        frames.append(frame(lines[-1]))
    whole = b"".join(frames)
    cut = data.draw(st.integers(0, len(whole)))
    ends = np.cumsum([0, *map(len, frames)]).tolist()
    kept = max(index for index, end in enumerate(ends) if end <= cut)
    folder.mkdir()
    path = folder / "2026-11-26.zst"
    path.write_bytes(whole[:cut])

    log = RawLog(folder)

    assert path.read_bytes() == whole[: ends[kept]]
    if kept:
        assert log.found is not None
        assert log.found.last_ns == DAY + sum(sizes[:kept]) - 1
        assert log.found.cut == cut - ends[kept]
        assert not log.found.ended
    else:
        assert log.found is None
    log.add(b"%d {}\n" % (DAY + SECOND), DAY + SECOND)
    log.flush()
    log.close()
    assert path.read_bytes().startswith(whole[: ends[kept]])
    assert content(path) == b"".join(lines[:kept]) + b"%d {}\n" % (DAY + SECOND)


@pytest.mark.parametrize("place", [0.3, 0.6])
def test_damage_within_a_file_is_refused_and_nothing_is_cut(tmp_path: Path, place: float) -> None:
    frames = [frame(b'%d {"n":"%s"}\n' % (DAY + n, b"x" * 50)) for n in range(8)]
    damaged = bytearray(b"".join(frames))
    damaged[int(len(damaged) * place)] ^= 0x40
    path = tmp_path / "2026-11-26.zst"
    path.write_bytes(damaged)

    with pytest.raises(
        DataError, match=r"2026-11-26\.zst: .* damage after byte \d+.*Move the file"
    ):
        RawLog(tmp_path)

    assert path.read_bytes() == damaged


def test_a_large_file_of_someone_elses_is_not_cut(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).bytes(12 << 20)
    path = tmp_path / "2026-11-26.zst"
    path.write_bytes(frame(noise)[:-5])
    size = path.stat().st_size

    with pytest.raises(DataError, match="no recorder wrote it"):
        RawLog(tmp_path)

    assert path.stat().st_size == size


def test_each_utc_day_has_its_file(tmp_path: Path) -> None:
    log = RawLog(tmp_path)
    for ts in (DAY - 1, DAY, DAY + 5, DAY + DAY_NS):
        log.add(b"%d {}\n" % ts, ts)
    log.flush()
    log.close()

    assert {path.name: content(path).count(b"\n") for path in tmp_path.iterdir()} == {
        "2026-11-25.zst": 1,
        "2026-11-26.zst": 2,
        "2026-11-27.zst": 1,
    }


@given(ts=st.integers(10**18, 2**63 - 2), reason=st.sampled_from(GapReason), words=st.text())
def test_marks_and_messages_say_their_time_and_reason_and_are_one_line(
    ts: int, reason: GapReason, words: str
) -> None:
    line = gap_line(ts, reason, words)
    assert line.count(b"\n") == 1
    assert time_of(line) == ts
    assert gap_of(line) == (ts, reason, " ".join(words.split()))
    for url in ("", "https://host/depth?symbol=X"):
        line = message_line(b'{"a":\r\n1}', ts, url)
        assert line.count(b"\n") == 1
        assert time_of(line) == ts
        assert json.loads(line[line.index(b"{") :]) == {"a": 1}


# --- rows -----------------------------------------------------------------------------------------


def test_pandas_duckdb_and_polars_read_one_dataset_while_it_is_written(tmp_path: Path) -> None:
    eth = Instrument(
        **{name: getattr(BTC, name) for name in BTC.__struct_fields__} | {"native": "ETHUSDT"}
    )
    expected = 0
    logs = []
    for instrument in (BTC, eth):
        log = RowLog(Place(tmp_path, instrument), instrument, part_ns=10 * SECOND)
        for number in range(100):
            log.add([trade(DAY - 40 * SECOND + number * SECOND, 600_000 + number)])
            log.flush()
        logs.append(log)
        expected += 90  # the last ten seconds are not in a part yet
    for log in logs:
        while log._making:
            log.flush()
        assert list(log._place.open.glob("*.rows"))
    root = tmp_path / "data" / "rows"

    frame = pd.read_parquet(root)
    found = duckdb.sql(
        f"select day, symbol, count(*) n, max(price) p from read_parquet('{root}/**/*.parquet', "
        "hive_partitioning = true) group by all order by all"
    ).fetchall()
    lazily = pl.scan_parquet(root, hive_partitioning=True).collect()

    assert len(frame) == len(lazily) == sum(row[2] for row in found) == expected
    assert [(str(day), symbol, n) for day, symbol, n, _ in found] == [
        ("2026-11-25", "BTCUSDT", 40),
        ("2026-11-25", "ETHUSDT", 40),
        ("2026-11-26", "BTCUSDT", 50),
        ("2026-11-26", "ETHUSDT", 50),
    ]
    for name in NAMES:
        assert sorted(frame[name]) == sorted(lazily[name].to_list())
    assert {str(value) for value in frame["venue"].unique()} == {"binance"}
    metadata = pq.read_schema(next(root.rglob("*BTCUSDT*/*/*.parquet"))).metadata
    assert json.loads(metadata[b"mmkit.instrument"])["tick"] == "0.1"


@NO_FIXTURE_CHECK
@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    torn=st.integers(0, 33),
    part_s=st.integers(1, 4),
)
def test_rows_that_were_in_no_part_are_in_one_after_the_next_start(
    tmp_path: Path, counts: list[int], torn: int, part_s: int
) -> None:
    userdir = tmp_path / "user"
    shutil.rmtree(userdir, ignore_errors=True)
    place = Place(userdir, BTC)
    log = RowLog(place, BTC, part_ns=part_s * SECOND)
    expected = []
    for number, count in enumerate(counts):
        ts = DAY + number * SECOND
        rows = [(ts, ts, int(Kind.LEVEL), 600_000 + n, n) for n in range(count)]
        rows[-1] = (ts, ts, Kind.LEVEL | LAST, 1, 2)
        log.add(rows)
        log.flush()
        expected += rows
    if log._journal is not None:
        log._journal.write(b"\x01" * torn)  # what a kill in the middle of a write leaves
    for made in log._making:
        made.result()  # the threads of this process are not killed with it
    log.close()

    again = RowLog(place, BTC)
    again.recover(None)
    again.finish()

    gap = expected[-1][1] + 1
    assert as_rows(dataset(userdir)) == [
        *expected,
        (expected[-1][0], gap, Kind.GAP | LAST, GapReason.RECORDER, 0),
    ]
    assert list(place.open.iterdir()) == []


def test_a_journal_whose_part_is_there_is_not_made_into_another(tmp_path: Path) -> None:
    place = Place(tmp_path, BTC)
    log = RowLog(place, BTC)
    log.add([trade(DAY), trade(DAY)])
    log.flush()
    (journal,) = place.open.iterdir()
    copy = journal.read_bytes()
    log.finish()
    journal.write_bytes(copy)  # killed between the two steps

    again = RowLog(place, BTC)
    again.recover(None)

    kinds = [row[2] & ~LAST for row in as_rows(dataset(tmp_path))]
    assert kinds == [Kind.TRADE, Kind.TRADE, Kind.GAP]


def test_a_recovery_that_was_cut_off_is_done_again_to_the_same_effect(tmp_path: Path) -> None:
    place = Place(tmp_path, BTC)
    log = RowLog(place, BTC)
    log.add([trade(DAY)])
    log.flush()
    log.close()
    gap = (DAY, DAY + 1, Kind.GAP | LAST, int(GapReason.RECORDER), 0)
    cut_off = RowLog(place, BTC)
    cut_off.add([gap])  # all that the first try came to
    cut_off.flush()
    cut_off.close()

    again = RowLog(place, BTC)
    again.recover(gap)

    assert as_rows(dataset(tmp_path)) == [trade(DAY), gap]
    assert list(place.open.iterdir()) == []


# --- a market -------------------------------------------------------------------------------------


def session(userdir: Path, start: int, seconds: int, *, stop: bool = True) -> Recording:
    recording = Recording(userdir, BTC, raw=True)
    recording.begin(start)
    for number in range(1, seconds + 1):
        ts = start + number * SECOND
        recording.message(b'{"n":%d}' % number, ts)
        recording.take([trade(ts)])
        recording.flush()
    if stop:
        recording.stop(start + (seconds + 1) * SECOND, "interrupted")
    recording.close()
    return recording


def test_a_session_that_was_stopped_says_so_in_both(tmp_path: Path) -> None:
    session(tmp_path, DAY, 3)
    session(tmp_path, DAY + 100 * SECOND, 2)

    lines = content(Place(tmp_path, BTC).raw / "2026-11-26.zst").decode().splitlines()
    marks = [line.split(" ", 3)[1:3] for line in lines if line.startswith("mmkit:")]
    assert marks == [
        [str(DAY), "start"],
        [str(DAY + 4 * SECOND), "gap"],
        [str(DAY + 100 * SECOND), "start"],
        [str(DAY + 103 * SECOND), "gap"],
    ]
    gaps = [row for row in as_rows(dataset(tmp_path)) if row[2] == Kind.GAP | LAST]
    assert [(row[1], row[3]) for row in gaps] == [
        (DAY + 4 * SECOND, GapReason.RECORDER),
        (DAY + 103 * SECOND, GapReason.RECORDER),
    ]


def test_after_a_crash_the_gap_begins_with_the_last_message_also_across_midnight(
    tmp_path: Path,
) -> None:
    session(tmp_path, DAY - 10 * SECOND, 3, stop=False)
    session(tmp_path, DAY + 50 * SECOND, 2)

    raw = Place(tmp_path, BTC).raw
    cut_off = DAY - 7 * SECOND + 1
    before = content(raw / "2026-11-25.zst").decode().splitlines()
    assert before[-1].startswith(f"mmkit: {cut_off} gap recorder recording was cut off here")
    assert content(raw / "2026-11-26.zst").startswith(b"mmkit: %d start" % (DAY + 50 * SECOND))
    rows = as_rows(dataset(tmp_path))
    assert next(row[1] for row in rows if row[2] == Kind.GAP | LAST) == cut_off
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)


def test_on_a_full_disk_nothing_is_half_written_and_no_row_is_ahead_of_its_message(
    tmp_path: Path,
) -> None:
    raw = Place(tmp_path, BTC).raw
    recording = Recording(tmp_path, BTC, raw=True)
    (raw / "2026-11-27.zst").symlink_to("/dev/full")
    recording.begin(DAY + DAY_NS - 10 * SECOND)
    times = (DAY + DAY_NS - SECOND, DAY + DAY_NS + SECOND)
    for ts in times:
        recording.message(b"{}", ts)
        recording.take([trade(ts)])
        if ts == times[0]:
            recording.flush()
    with pytest.raises(RunError, match="the disk is full"):
        recording.flush()
    with pytest.raises(RunError, match="the disk is full"):
        recording.stop(times[1] + SECOND, "the disk is full")
    recording.close()
    (raw / "2026-11-27.zst").unlink()

    session(tmp_path, times[1] + 60 * SECOND, 1)

    lines = content(raw / "2026-11-26.zst").decode().splitlines()
    assert lines[1] == f"{times[0]} {{}}"
    assert lines[2].startswith(f"mmkit: {times[0] + 1} gap recorder recording was cut off here")
    rows = as_rows(dataset(tmp_path))
    assert rows[0] == trade(times[0])
    assert rows[1][1:4] == (times[0] + 1, Kind.GAP | LAST, GapReason.RECORDER)
    assert rows[2] == trade(times[1] + 61 * SECOND)


def test_a_second_recorder_of_the_same_market_is_refused_and_told_who_records(
    tmp_path: Path,
) -> None:
    first = Recording(tmp_path, BTC, raw=True)
    with pytest.raises(RunError, match=r"BTCUSDT: is being recorded by another process \(\d+\)"):
        Recording(tmp_path, BTC, raw=True)
    first.close()
    Recording(tmp_path, BTC, raw=True).close()


def test_a_clock_that_went_back_since_is_refused_as_the_lines_would_be(tmp_path: Path) -> None:
    session(tmp_path, DAY + 100 * SECOND, 3)
    recording = Recording(tmp_path, BTC, raw=True)
    with pytest.raises(RunError, match=r"recorded until 54\.0 s from now.*clock"):
        recording.begin(DAY + 50 * SECOND)
    recording.close()
    assert len(as_rows(dataset(tmp_path))) == 4
