"""The dataset of rows: tapes put into it come back as they were, whole or not at all."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mmkit.errors import DataError, RunError
from mmkit.recording import imports
from mmkit.recording.dataset import days_in_words, importing, listed, market_of
from mmkit.recording.imports import Given, put_tapes
from mmkit.recording.place import DAY_NS, Lock, Place, day_of
from mmkit.recording.reading import held, read
from mmkit.recording.rows import RowLog, gap_row
from mmkit.tape import KIND, LAST, NAMES, NEVER, SELL, FeedStats, GapReason, Kind, Row, Tape
from mmkit.testing import BTCUSDT

DAY = 1_795_651_200 * 10**9  # 2026-11-26T00:00Z
HOUR = 3600 * 10**9
KILLS = int(os.environ.get("IMPORT_KILLS", "12"))
PLENTY = settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@st.composite
def rows_of(draw: st.DrawFn, start_ns: int = DAY) -> list[Row]:
    """Messages of every kind, some of one instant, some days apart, with times of both clocks that cross."""
    rows: list[Row] = []
    local = start_ns + draw(st.integers(0, 2 * DAY_NS))
    message = st.sampled_from(
        ["levels", "levels", "trade", "snapshot", "gap", "best", "mark", "off_book"]
    )
    step = st.sampled_from([0, 1, 7, 10**9, 11 * HOUR, 60 * HOUR])
    for what in [
        *draw(st.sampled_from([["gap", "snapshot"], ["gap"], []])),
        *draw(st.lists(message, min_size=1, max_size=25)),
    ]:
        local += draw(step)
        at = local - draw(st.integers(0, 12))
        price = st.integers(100, 109) | st.just(2**40)
        side = draw(st.sampled_from([0, int(SELL)]))
        if what in ("levels", "snapshot"):
            told = [
                (
                    Kind.LEVEL | draw(st.sampled_from([0, int(SELL)])),
                    draw(price),
                    draw(st.integers(0 if what == "levels" else 1, 3)),
                )
                for _ in range(draw(st.integers(1, 4)))
            ]
            if what == "snapshot":
                told.insert(0, (int(Kind.SNAPSHOT), 0, 0))
        elif what in ("trade", "off_book"):
            kind = Kind.TRADE if what == "trade" else Kind.OFF_BOOK
            told = [(kind | side, draw(price), draw(st.integers(1, 9)))]
        elif what == "gap":
            told = [(int(Kind.GAP), draw(st.integers(0, 5)), 0)]
        elif what == "best":
            told = [(int(Kind.BEST), 101, 2), (Kind.BEST | SELL, 102, 3)]
        else:
            told = [(int(Kind.MARK), 0, 10**13 + 7), (int(Kind.FUNDING), 1_700_000_000, -5)]
        told[-1] = (told[-1][0] | LAST, *told[-1][1:])
        rows += [(at, local, *one) for one in told]
    return rows


def tape_of(rows: Iterable[Row], **stats: Any) -> Tape:
    return Tape.from_rows(BTCUSDT, rows, FeedStats(notes=["a note"], snapshots=2, **stats))


def put(userdir: Path, *tapes: Iterable[Row], **options: Any) -> imports.Put:
    return put_tapes(userdir, [Given(tape_of(rows), ["a.gz"]) for rows in tapes], **options)


def back(userdir: Path, start_ns: int = 0, end_ns: int = NEVER) -> Tape:
    root = Place(userdir, BTCUSDT).dataset
    return read(market_of(root, BTCUSDT.spec()), userdir / "room.tape", start_ns, end_ns)


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def everything(userdir: Path) -> dict[str, bytes]:
    data = userdir / "data"
    return {
        str(path.relative_to(data)): path.read_bytes()
        for path in data.rglob("*")
        if path.is_file() and path.name != "import.lock"
    }


def told(ts: int, quantity: int = 1) -> list[Row]:
    """A message of the book that is known after it."""
    return [
        (ts, ts, Kind.SNAPSHOT, 0, 0),
        (ts, ts, Kind.LEVEL, 100, quantity),
        (ts, ts, Kind.LEVEL | SELL | LAST, 101, quantity),
    ]


def session(first: int, last: int) -> list[Row]:
    return [(first, first, Kind.GAP | LAST, GapReason.START, 0), *told(first + 1), *told(last, 2)]


# --- what was put in comes back ----------------------------------------------------------------------


@PLENTY
@given(rows=rows_of(), part_rows=st.sampled_from([1, 2, 5, 1000]))
def test_what_was_imported_comes_back_row_for_row_with_what_its_reader_found(
    tmp_path: Path, rows: list[Row], part_rows: int
) -> None:
    userdir = fresh(tmp_path / "u")
    done = put(userdir, rows, part_rows=part_rows)

    tape = back(userdir)

    assert list(tape.rows()) == rows
    assert (tape.instrument, tape.stats) == (BTCUSDT, tape_of(rows).stats)
    days = sorted({day_of(row[1]) for row in rows})
    assert done.days == held(done.partition).days == days
    reasons = [row[3] for row in rows if row[2] & KIND == Kind.GAP]
    assert held(done.partition).gaps == sum(reason != GapReason.START for reason in reasons)
    for path in (userdir / "data/rows").rglob("*.parquet"):
        frame = pd.read_parquet(path)
        assert {day_of(at) for at in frame["ts_local"]} == {path.parent.name[len("day=") :]}
        assert f"part-{frame['ts_local'].iloc[0]}" == path.stem


def books(rows: Sequence[Row]) -> list[Any]:
    """Return what is known after each row, as slow and obvious as can be."""
    known, sides, found = False, ({}, {}), []
    for _, _, kind, price, quantity in rows:
        match kind & KIND:
            case Kind.GAP:
                known = False
            case Kind.SNAPSHOT:
                known, sides = True, ({}, {})
            case Kind.LEVEL if known:
                side = sides[1 if kind & SELL else 0]
                side[price] = quantity
                if not quantity:
                    del side[price]
        found.append((dict(sides[0]), dict(sides[1])) if known else None)
    return found


@PLENTY
@given(rows=rows_of(), part_rows=st.sampled_from([1, 3, 1000]), data=st.data())
def test_from_any_moment_on_the_rows_are_the_same_and_so_is_the_book(
    tmp_path: Path, rows: list[Row], part_rows: int, data: st.DataObject
) -> None:
    userdir = fresh(tmp_path / "u")
    put(userdir, rows, part_rows=part_rows)
    times = sorted({row[1] for row in rows})
    start = data.draw(st.sampled_from(times)) + data.draw(st.sampled_from([0, 0, 1]))
    end = data.draw(st.sampled_from([*times, NEVER]))
    wanted = [n for n, row in enumerate(rows) if start <= row[1] < end]
    if not wanted:
        with pytest.raises(DataError, match="were expected; there are"):
            back(userdir, start, end)
        return

    found = list(back(userdir, start, end).rows())

    added = len(found) - len(wanted)
    assert found[added:] == [rows[n] for n in wanted]
    before = books(rows)[wanted[0] - 1] if wanted[0] else None
    if added:
        assert found[0][2:4] == (Kind.GAP | LAST, GapReason.START)
        assert books(found)[added - 1] == before
        # A book that is known is told at the very beginning, else there is but the GAP.
        assert {row[1] for row in found[:added]} == {found[1][1] if before is None else start}
        assert added == 1 or before is not None
        assert found[added - 1][2] & LAST
    else:
        assert before is None
    assert books(found)[added:] == [books(rows)[n] for n in wanted]


def test_the_book_at_a_moment_is_made_of_all_parts_since_the_snapshot(tmp_path: Path) -> None:
    rows = session(DAY, DAY + 1)
    changes = [(100, 7), (99, 4), (98, 2), (99, 0), (100, 8)]
    rows += [
        (DAY + 2 + n, DAY + 2 + n, Kind.LEVEL | LAST, price, quantity)
        for n, (price, quantity) in enumerate(changes)
    ]
    put(tmp_path, rows, part_rows=1)
    start = DAY + 6

    found = list(back(tmp_path, start).rows())

    at = DAY + 5  # of the last change before
    assert found == [
        (at, start, Kind.GAP | LAST, GapReason.START, 0),
        (at, start, Kind.SNAPSHOT, 0, 0),
        (at, start, Kind.LEVEL, 98, 2),
        (at, start, Kind.LEVEL, 100, 7),
        (at, start, Kind.LEVEL | SELL | LAST, 101, 2),
        (DAY + 6, DAY + 6, Kind.LEVEL | LAST, 100, 8),
    ]


@pytest.mark.parametrize("first", [DAY + 3, DAY + 9])
def test_a_part_that_begins_before_is_overlapped_too(tmp_path: Path, first: int) -> None:
    put(tmp_path, session(DAY, DAY + 9))
    with pytest.raises(DataError, match="there are no rows yet was expected"):
        put(tmp_path, session(first, DAY + 20))
    put(tmp_path, session(DAY + 10, DAY + 20))


@PLENTY
@given(data=st.data())
def test_between_two_imports_stands_a_gap_and_nothing_else(
    tmp_path: Path, data: st.DataObject
) -> None:
    userdir = fresh(tmp_path / "u")
    one = data.draw(rows_of())
    other = data.draw(rows_of(one[-1][1] + 1))
    for rows in data.draw(st.permutations([one, other])):
        put(userdir, rows, part_rows=3)
    newest = max(row[0] for row in one if row[1] // DAY_NS == one[-1][1] // DAY_NS)

    tape = back(userdir)

    found = list(tape.rows())
    if one[-1][2] & KIND == Kind.GAP:
        assert found == one + other
    else:
        mark = found[len(one)]
        assert mark[1:] == gap_row(0, one[-1][1] + 1)[1:]
        assert one[-1][0] <= mark[0] <= newest
        assert [*found[: len(one)], *found[len(one) + 1 :]] == one + other
        assert tape.stats.gaps == 1
    assert tape.stats.snapshots == 4
    assert tape.stats.notes[0] == "a note"
    gaps = [row[3] for row in found if row[2] & KIND == Kind.GAP]
    assert held(market_of(userdir / "data/rows", BTCUSDT.spec())).gaps == sum(
        reason != GapReason.START for reason in gaps
    )


def test_a_day_that_somebody_took_away_is_a_gap_and_is_named(tmp_path: Path) -> None:
    log = RowLog(Place(tmp_path, BTCUSDT), BTCUSDT)
    rows = session(DAY, DAY + 1) + [row for n in range(1, 5) for row in told(DAY + n * DAY_NS)]
    for row in rows:
        log.add([row])
        log.flush()
    log.finish()
    assert list(back(tmp_path).rows()) == rows
    partition = market_of(tmp_path / "data/rows", BTCUSDT.spec())
    shutil.rmtree(partition / "day=2026-11-28")

    tape = back(tmp_path)

    assert [(gap.reason, gap.begin) for gap in tape.gaps[1:]] == [
        (GapReason.RECORDER, DAY + DAY_NS + 1)
    ]
    assert tape.stats.notes == ["there are no rows of 2026-11-28"]
    assert tape.stats.gaps == 1
    assert held(partition).gaps == 1
    assert (
        days_in_words(held(partition).days) == "2026-11-26 to 2026-11-27, 2026-11-29 to 2026-11-30"
    )
    late = back(tmp_path, DAY - DAY_NS, DAY + 9 * DAY_NS).stats.notes
    assert late[1:] == [
        "rows from 2026-11-25 on were asked for; the first are of 2026-11-26",
        "rows until 2026-12-04 were asked for; the last are of 2026-11-30",
    ]


def test_a_part_of_an_import_that_somebody_took_away_is_a_gap(tmp_path: Path) -> None:
    rows = session(DAY, DAY + 1) + told(DAY + 5) + told(DAY + 9)
    put(tmp_path, rows, part_rows=3)
    parts = listed(market_of(tmp_path / "data/rows", BTCUSDT.spec()))
    parts[2].path.unlink()

    tape = back(tmp_path)

    assert [gap.reason for gap in tape.gaps] == [GapReason.START, GapReason.RECORDER]
    # What its reader had counted is not true of a part.
    assert tape.stats.snapshots == sum(row[2] & KIND == Kind.SNAPSHOT for row in tape.rows())


def test_recorded_and_imported_rows_of_a_day_are_one_tape(tmp_path: Path) -> None:
    log = RowLog(Place(tmp_path, BTCUSDT), BTCUSDT)
    recorded = [*session(DAY + HOUR, DAY + 2 * HOUR), gap_row(DAY, DAY + 3 * HOUR)]
    for row in recorded:
        log.add([row])
    log.finish()
    morning, evening = session(DAY, DAY + 9), session(DAY + 4 * HOUR, DAY + 5 * HOUR)
    put(tmp_path, evening, morning)

    found = list(back(tmp_path).rows())

    assert found == [*morning, gap_row(DAY + 9, DAY + 10), *recorded, *evening]
    lines = pl.scan_parquet(tmp_path / "data/rows", hive_partitioning=True).collect()
    count = duckdb.sql(
        f"select count(*) from read_parquet('{tmp_path}/data/rows/**/*.parquet', hive_partitioning = true)"
    ).fetchall()
    assert (
        len(pd.read_parquet(tmp_path / "data/rows")) == len(lines) == count[0][0] == len(found) - 1
    )


def test_it_is_read_while_it_is_recorded_and_what_is_there_is_whole(tmp_path: Path) -> None:
    log = RowLog(Place(tmp_path, BTCUSDT), BTCUSDT, part_rows=30)
    rows = [row for n in range(300) for row in told(DAY + n * 10**6)]

    def record() -> None:
        for start in range(0, len(rows), 3):
            log.add(rows[start : start + 3])
            log.flush()
            time.sleep(0.002)
        log.finish()

    thread = threading.Thread(target=record)
    thread.start()
    seen = [0]
    while thread.is_alive() or seen[-1] < len(rows):
        try:
            found = list(back(tmp_path).rows())
        except DataError as error:
            assert "found no rows there" in str(error)  # noqa: PT017
            continue
        assert found == rows[: len(found)]
        assert len(found) % 3 == 0
        seen.append(len(found))
    thread.join()
    assert len(set(seen)) > 3
    assert seen == sorted(seen)


# --- whole, or not at all ----------------------------------------------------------------------------


@PLENTY
@given(data=st.data())
def test_what_overlaps_is_refused_and_nothing_else_is(tmp_path: Path, data: st.DataObject) -> None:
    userdir = fresh(tmp_path / "u")
    one, other = data.draw(rows_of()), data.draw(rows_of())
    put(userdir, one, part_rows=3)
    before = everything(userdir)
    overlap = one[0][1] <= other[-1][1] and other[0][1] <= one[-1][1]
    # Within a hole between two parts there is room.
    firsts = [
        (part.first_ns, part.last_ns)
        for part in held(market_of(userdir / "data/rows", BTCUSDT.spec())).parts
    ]
    overlap = overlap and any(a <= other[-1][1] and other[0][1] <= b for a, b in firsts)
    if not overlap:
        put(userdir, other)
        kept = [row for row in back(userdir).rows() if row[3:] != (GapReason.RECORDER, 0)]
        assert sorted(kept) == sorted(r for r in one + other if r[3:] != (GapReason.RECORDER, 0))
        return
    with pytest.raises(DataError, match="a time of which there are no rows yet was expected"):
        put(userdir, other)
    assert everything(userdir) == before
    kept_days = [
        row
        for row in one
        if day_of(row[1])
        not in {day_of(a) for a, b in firsts if a <= other[-1][1] and other[0][1] <= b}
    ]

    done = put(userdir, other, replace=True)

    frame = pd.concat(pd.read_parquet(path) for path in done.partition.rglob("*.parquet"))
    assert sorted(map(tuple, frame[list(NAMES)].to_numpy().tolist())) == sorted(kept_days + other)
    assert done.replaced_rows == len(one) - len(kept_days)
    assert not importing(done.partition).exists()


def test_another_grid_is_refused(tmp_path: Path) -> None:
    put(tmp_path, session(DAY, DAY + 9))
    finer = replace(BTCUSDT, tick=Decimal("0.01"))
    tape = Tape.from_rows(finer, session(DAY + HOUR, DAY + 2 * HOUR))
    before = everything(tmp_path)
    with pytest.raises(DataError, match=r"tick 0\.1 and 0\.01 .*nothing was imported"):
        put_tapes(tmp_path, [Given(tape, ["b.gz"])])
    assert everything(tmp_path) == before
    with pytest.raises(DataError, match=r"a\.gz: the instrument of b\.gz was expected; found tick"):
        put_tapes(
            tmp_path, [Given(tape, ["b.gz"]), Given(tape_of(session(DAY, DAY + 9)), ["a.gz"])]
        )


def test_a_market_whose_grid_changes_is_read_in_two(tmp_path: Path) -> None:
    for tick, day in ((BTCUSDT.tick, DAY), (Decimal("0.2"), DAY + DAY_NS)):
        log = RowLog(Place(tmp_path, BTCUSDT), replace(BTCUSDT, tick=tick))
        log.add(session(day, day + 9))
        log.finish()
    with pytest.raises(DataError, match=r"found tick 0\.1 and 0\.2 from 2026-11-27T00:00"):
        back(tmp_path)
    assert back(tmp_path, end_ns=DAY + DAY_NS).instrument.tick == Decimal("0.1")
    later = back(tmp_path, DAY + DAY_NS)
    assert later.instrument.tick == Decimal("0.2")
    assert list(later.rows()) == session(DAY + DAY_NS, DAY + DAY_NS + 9)


def test_rows_that_are_no_part_yet_are_not_overlapped(tmp_path: Path) -> None:
    log = RowLog(Place(tmp_path, BTCUSDT), BTCUSDT)
    log.add(session(DAY + HOUR, DAY + 2 * HOUR - 1)[:4])
    log.flush()
    with pytest.raises(DataError, match="has not made a part of yet"):
        put(tmp_path, session(DAY, DAY + 3 * HOUR))
    put(tmp_path, session(DAY, DAY + 9))
    put(tmp_path, session(DAY + 3 * HOUR, DAY + 4 * HOUR))
    log.close()


def test_two_imports_at_once_are_refused(tmp_path: Path) -> None:
    lock = Lock(Place(tmp_path, BTCUSDT).folder, "import.lock")
    with pytest.raises(RunError, match=rf"imported into by another process \({os.getpid()}\)"):
        put(tmp_path, session(DAY, DAY + 9))
    lock.release()
    put(tmp_path, session(DAY, DAY + 9))


@pytest.mark.parametrize("at", range(1, 5))
def test_interrupted_while_it_writes_nothing_has_happened(tmp_path: Path, at: int) -> None:
    put(tmp_path, session(DAY, DAY + 9))
    before, done = everything(tmp_path), 0

    def interrupt(_rows: int, _all: int) -> None:
        nonlocal done
        done += 1
        if done == at:
            raise KeyboardInterrupt

    rows = session(DAY + 10, DAY + 11) + told(DAY + 12) + told(DAY + 13)
    with pytest.raises(KeyboardInterrupt):
        put(tmp_path, rows, part_rows=3, progress=interrupt)
    assert everything(tmp_path) == before
    assert not importing(market_of(tmp_path / "data/rows", BTCUSDT.spec())).exists()


def long_session(quantity: int) -> list[Row]:
    return [row for n in range(60) for row in told(DAY + n * DAY_NS, quantity)]


def _replacing(userdir: Path) -> None:
    for quantity in range(2, 1000):
        put(userdir, long_session(quantity), replace=True)


def test_killed_at_any_moment_it_is_the_old_or_the_new(tmp_path: Path) -> None:
    chance = random.Random(4)
    put(tmp_path, long_session(1))
    begun = 0
    for kill in range(KILLS):
        process = multiprocessing.get_context("fork").Process(target=_replacing, args=(tmp_path,))
        process.start()
        time.sleep(chance.uniform(0.05, 0.4))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        partition = Place(tmp_path, BTCUSDT).partition
        begun += importing(partition).exists()

        found = list(back(tmp_path).rows())

        assert found == long_session(found[1][4]), f"kill {kill}"
    assert begun  # some were killed after they had begun
    # The next one clears up.
    put(tmp_path, long_session(1), replace=True)
    assert list(back(tmp_path).rows()) == long_session(1)
    assert {name.split("/")[0] for name in everything(tmp_path)} == {"rows"}
    assert len(everything(tmp_path)) == 60


@pytest.mark.parametrize("moved", range(4))
def test_an_import_that_was_cut_off_while_it_moved_its_parts_is_there_whole(
    tmp_path: Path, moved: int
) -> None:
    old, new = long_session(1)[:12], long_session(2)[:9]
    put(tmp_path, old)
    partition = Place(tmp_path, BTCUSDT).partition
    go = [f"{one.path.parent.name}/{one.path.name}" for one in listed(partition)]
    last = listed(partition)[-1].path
    other = tmp_path / "other"
    put(other, new)
    staged = importing(partition) / "parts"
    staged.mkdir(parents=True)
    come = {}
    for number, path in enumerate(sorted(Place(other, BTCUSDT).partition.rglob("*.parquet"))):
        name = f"{path.parent.name}/{path.name}"
        come[path.name] = name
        path.replace(partition / name if number < moved else staged / path.name)
    imports._begin(importing(partition), imports.Pending(come, go))

    if moved == 3:
        last.unlink()
    assert list(back(tmp_path).rows()) == new
    imports.settle(partition, importing(partition))
    assert list(back(tmp_path).rows()) == new
    assert not importing(partition).exists()
    assert not last.parent.exists()


# --- what cannot be read is refused ------------------------------------------------------------------


def test_every_part_that_cannot_be_right_is_refused_by_name(tmp_path: Path) -> None:
    put(tmp_path, session(DAY, DAY + 9), session(DAY + 10, DAY + 19))
    partition = Place(tmp_path, BTCUSDT).partition
    one, other = listed(partition)
    raw = one.path.read_bytes()

    one.path.write_bytes(raw[:-20])
    with pytest.raises(DataError, match=rf"{one.path.name}: a part of a dataset was expected"):
        back(tmp_path)
    one.path.write_bytes(raw[:300] + b"x" * 60 + raw[360:])
    with pytest.raises(DataError, match=rf"{one.path.name}: "):
        back(tmp_path)
    pd.DataFrame({"price": [1.0]}).to_parquet(one.path)
    with pytest.raises(DataError, match="missing are ts_exchange"):
        back(tmp_path)
    pd.read_parquet(other.path).to_parquet(one.path)
    with pytest.raises(DataError, match="found no notes on what it holds"):
        back(tmp_path)
    one.path.write_bytes(raw)
    one.path.rename(one.path.with_name(f"part-{DAY + 12}.parquet"))
    with pytest.raises(DataError, match=rf"rows from {DAY + 12} on were expected, by its name"):
        back(tmp_path)
    one.path.with_name(f"part-{DAY + 12}.parquet").rename(one.path)
    stray = one.path.with_name("mine.parquet")
    stray.write_bytes(raw)
    with pytest.raises(
        DataError, match=r"mine\.parquet: a part of the dataset, part-<ns>\.parquet"
    ):
        back(tmp_path)
    stray.unlink()
    put(tmp_path / "b", session(DAY + 5, DAY + 15))
    [overlap] = listed(Place(tmp_path / "b", BTCUSDT).partition)
    shutil.copy(overlap.path, one.path.parent)
    with pytest.raises(DataError, match="parts of one market do not overlap"):
        back(tmp_path)


def test_a_tape_too_long_for_memory_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmkit.tape.columns._KEPT", 1)
    monkeypatch.setattr("mmkit.tape.columns._CHUNK", 16)
    rows = session(DAY, DAY + 1) + [row for n in range(2, 90) for row in told(DAY + n)]
    put(tmp_path, rows, part_rows=10)
    tape = back(tmp_path)
    assert list(tape.rows()) == rows
    assert not tape.kind.flags.writeable  # mapped from a file
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
