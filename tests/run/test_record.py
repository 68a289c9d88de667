"""`mmkit record` as a person runs it: real processes, a real exchange over loopback, a real kill."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from processes import Ended, mmkit, newest_run, start
from recorder import (
    STREAMS,
    Witness,
    books,
    captured,
    dataset,
    exchange,
    logged_ns,
    marks,
    raw_files,
    raw_lines,
    recorded_lines,
    sessions,
    until,
    userdir_for,
)

from mmkit.clock import Clock, SystemClock
from mmkit.config import load_config
from mmkit.journal import RecordedRun
from mmkit.recording.place import DAY_NS
from mmkit.run.record import record
from mmkit.tape import KIND, GapReason, Kind

KILLS = int(os.environ.get("RECORD_KILLS", "10"))
SEED = int(os.environ.get("RECORD_SEED", "4"))
SECOND = 10**9


def test_what_was_recorded_is_what_a_dry_run_saw_and_what_capture_reads(tmp_path: Path) -> None:
    with exchange(tmp_path) as url:
        userdir = userdir_for(tmp_path, url)
        config = userdir / "config.yml"
        recorder = start("record", "-c", config, "--duration", "4s", "--json", cwd=tmp_path)
        traded = mmkit("trade", "-c", config, "--duration", "2s", cwd=tmp_path)
        recorded = Ended(recorder)

    assert (recorded.status, traded.status) == (0, 0), recorded.stderr + traded.stderr
    (market,) = recorded.json["markets"]
    rows = dataset(userdir)
    assert len(rows) == market["rows"] + 1 > 500
    assert market["raw_bytes"] > market["stored_bytes"] > 0
    assert marks(rows) == [(rows[-1][1], GapReason.RECORDER)]
    from_raw = captured(userdir)
    assert from_raw[:-1] == rows[:-1]
    assert marks(from_raw) == marks(rows)
    ours, theirs = books(rows), books(list(RecordedRun(newest_run(userdir)).tape().rows()))
    common = sorted(ours.keys() & theirs.keys())
    assert len(common) > 5
    assert all(ours[moment] == theirs[moment] for moment in common)


@pytest.mark.timeout(60 + 6 * KILLS)
def test_killed_at_random_moments_it_has_everything_older_than_a_second(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(SEED)
    checked = worst = 0
    with exchange(tmp_path) as url:
        userdir = userdir_for(tmp_path, url)
        witness = Witness(url)
        kept: dict[Path, bytes] = {}
        for number in range(KILLS):
            process = start("record", "-c", userdir / "config.yml", cwd=tmp_path)
            if number % 2:  # while it records; else while it starts, mends, connects
                before = recorded_lines(userdir)
                until(lambda before=before: recorded_lines(userdir) > before + 10)
                time.sleep(chance.uniform(0.6, 2.4))
            else:
                time.sleep(chance.uniform(0.2, 1.7))
            killed_ns = time.time_ns()
            process.kill()
            ended = Ended(process)
            assert ended.status == -signal.SIGKILL, f"kill {number}: {ended.stderr}"

            # Nothing older was touched, and every file opens.
            for path, before in kept.items():
                assert path.read_bytes().startswith(before), f"kill {number}: {path}"
            for path in raw_files(userdir):
                raw_lines(path)
                kept[path] = path.read_bytes()[: whole(path)]
            for path in (userdir / "data").rglob("*.parquet"):
                assert len(pd.read_parquet(path))
                kept[path] = path.read_bytes()

            recorded = {
                line.partition(b" ")[2] for path in raw_files(userdir) for line in raw_lines(path)
            }
            for route in STREAMS:
                opened_ns = logged_ns(ended.stderr, f"connected route={route} ")
                if opened_ns is None:
                    continue
                # A connection is open a little before its first message is on its way.
                heard = [
                    (killed_ns - at, message in recorded)
                    for at, message in list(witness.heard[route])
                    if opened_ns + SECOND // 10 < at < killed_ns
                ]
                lost = max((age for age, there in heard if not there), default=0)
                assert lost < SECOND, f"kill {number}: {lost / 1e9:.3f} s of {route}"
                worst = max(worst, lost)
                checked += sum(age > SECOND for age, _ in heard)
        last = mmkit("record", "-c", userdir / "config.yml", "--duration", "2s", cwd=tmp_path)
        witness.close()

    assert last.status == 0, last.stderr
    record_property(
        "kills", f"{KILLS}: {checked} older messages, all there; {worst / 1e9:.3f} s lost"
    )
    assert checked > KILLS
    for path, before in kept.items():
        assert path.read_bytes().startswith(before)
    rows, from_raw = dataset(userdir), captured(userdir)
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    assert marks(rows) == marks(from_raw)
    for ours, theirs in zip(sessions(rows), sessions(from_raw), strict=True):
        # Raw messages are written first: a kill between the two leaves the rows behind.
        assert ours == theirs[: len(ours)]
        assert all(row[1] > theirs[-1][1] - SECOND for row in theirs[len(ours) :])
    assert len(sessions(rows)[-2]) > 100


def whole(path: Path) -> int:
    from mmkit.recording.frames import Frames

    with path.open("rb") as file:
        frames = Frames(file)
        for _ in frames:
            pass
        return frames.end


def test_a_full_disk_stops_it_in_words_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    with exchange(tmp_path) as url:
        userdir = userdir_for(tmp_path, url)
        # A small book, or the first rows alone would be too many.
        command = ("record", "-c", userdir / "config.yml", "--set", "data.snapshot_limit=50")
        full = Ended(start(*command, "--duration", "60s", cwd=tmp_path, preexec_fn=small_disk))
        (path,) = raw_files(userdir)
        before = path.read_bytes()
        lines = raw_lines(path)
        # Long enough for a busy machine to open the market, ask for the book and hear something.
        again = mmkit(*command, "--duration", "5s", cwd=tmp_path)

    assert full.status == 1
    assert "the disk is full" in full.stderr
    assert "goes on where it ended" in full.stderr
    assert "Traceback" not in full.stderr
    assert "recorded" in full.stdout
    assert len(lines) > 10
    assert whole(path) == path.stat().st_size
    assert again.status == 0, again.stderr
    assert path.read_bytes().startswith(before)
    rows, from_raw = dataset(userdir), captured(userdir)
    for found in (rows, from_raw):
        assert [reason for _, reason in marks(found)] == [GapReason.RECORDER] * 2
    # The journal of the rows was full first: what they lack, they say.
    assert 0 <= marks(from_raw)[0][0] - marks(rows)[0][0] < SECOND
    first, second = sessions(rows)[:2]
    assert len(first) > 10
    assert first == sessions(from_raw)[0][: len(first)]
    assert second == sessions(from_raw)[1]


def test_ctrl_c_ends_it_with_a_summary_that_says_how_a_backtest_reads_it(tmp_path: Path) -> None:
    with exchange(tmp_path) as url:
        userdir = userdir_for(tmp_path, url)
        process = start("record", "-c", userdir / "config.yml", cwd=tmp_path)
        until(lambda: recorded_lines(userdir) > 60)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        ended = Ended(process)

    assert time.monotonic() - began < 5
    assert ended.status == 130
    assert "interrupted" in ended.stdout
    assert "Traceback" not in ended.stderr
    (path,) = raw_files(userdir)
    assert raw_lines(path)[-1].endswith(b"gap recorder recording stopped: interrupted")
    assert marks(dataset(userdir)) == [(dataset(userdir)[-1][1], GapReason.RECORDER)]
    assert not list(path.parent.parent.glob("open/*"))

    told = ended.stdout[ended.stdout.index("to read") + len("to read") :]
    lines = [line.strip() for line in told.splitlines()[:2]]
    lines.append('strategy: {plugin: join_best, size: "0.01", max_position: "0.05"}')
    (userdir / "backtest.yml").write_text("\n".join(lines))
    report = mmkit("backtest", "-c", userdir / "backtest.yml", "--json", cwd=tmp_path)
    assert report.status == 0, report.stderr
    assert report.json["orders"] > 0
    # The recorder stopped: that is the only gap.
    assert report.json["gaps"] == 1


def test_what_was_recorded_is_played_by_the_sandbox_and_recorded_again_it_is_the_same(
    tmp_path: Path,
) -> None:
    def said(userdir: Path) -> list[bytes]:
        lines = [line for path in raw_files(userdir) for line in raw_lines(path)]
        return [line.partition(b" ")[2] for line in lines if line[:1].isdigit()]

    with exchange(tmp_path) as url:
        userdir = userdir_for(tmp_path, url)
        first = start("record", "-c", userdir / "config.yml", cwd=tmp_path)
        until(lambda: recorded_lines(userdir) > 80)
        first.terminate()
        ended = Ended(first)
    (path,) = raw_files(userdir)
    with exchange(tmp_path, "--replay", path) as url:
        again = userdir_for(tmp_path / "again", url)
        second = start("record", "-c", again / "config.yml", cwd=tmp_path)
        until(lambda: said(userdir)[-1] in said(again))
        second.terminate()
        ended_again = Ended(second)

    assert (ended.status, ended_again.status) == (130, 130), ended.stderr + ended_again.stderr
    # It is played to whoever listens: what came before both streams were heard is not heard again.
    assert len(said(again)) > 20
    assert set(said(again)) <= set(said(userdir))
    (reread,) = [rows for rows in sessions(dataset(again)) if rows]
    (rows,) = [rows for rows in sessions(dataset(userdir)) if rows]
    assert GapReason.SEQUENCE not in [reason for _, reason in marks(reread)]
    ours, theirs = books(reread), books(rows)
    shifts = {at - moment for at, moment in zip(list(ours)[-10:], list(theirs)[-10:], strict=True)}
    assert list(ours.values())[-10:] == list(theirs.values())[-10:]
    assert max(shifts) - min(shifts) <= 1_000_000  # one clock moved onto another


def test_a_lost_connection_is_a_gap_with_its_reason_in_both(tmp_path: Path) -> None:
    with exchange(tmp_path) as url:
        userdir = userdir_for(tmp_path, url)
        port = url.rpartition(":")[2]
        process = start("record", "-c", userdir / "config.yml", cwd=tmp_path)
        until(lambda: recorded_lines(userdir) > 30)
    before = recorded_lines(userdir)
    with exchange(tmp_path, "--port", port):
        until(lambda: recorded_lines(userdir) > before + 60)
        process.terminate()
        ended = Ended(process)

    assert ended.status == 130, ended.stderr
    rows, from_raw = dataset(userdir), captured(userdir)
    reasons = [reason for _, reason in marks(rows)]
    assert reasons[0] == GapReason.CONNECTION
    assert reasons[-1] == GapReason.RECORDER
    assert marks(rows) == marks(from_raw)
    assert [row[1:] for row in rows] == [row[1:] for row in from_raw]
    (path,) = raw_files(userdir)
    own = [line.split(b" ", 3)[3] for line in raw_lines(path) if line.startswith(b"mmkit: ")]
    assert own[1] == b"connection the connection was lost"


def test_connections_that_are_replaced_while_it_records_leave_no_trace(tmp_path: Path) -> None:
    with exchange(tmp_path) as url:
        userdir = userdir_for(tmp_path, url)
        command = ("record", "-c", userdir / "config.yml", "--set", "data.lifetime=700ms")
        ended = mmkit(*command, "--duration", "5s", cwd=tmp_path)

    assert ended.status == 0, ended.stderr
    assert ended.stderr.count("renewed route=public") > 1
    assert ended.stderr.count("renewed route=market") > 1
    rows, from_raw = dataset(userdir), captured(userdir)
    assert marks(rows) == [(rows[-1][1], GapReason.RECORDER)]  # no gap but the end
    assert marks(from_raw) == marks(rows)
    assert [row[1:] for row in from_raw[:-1]] == [row[1:] for row in rows[:-1]]


def test_two_symbols_at_once_and_a_second_recorder_is_refused(tmp_path: Path) -> None:
    symbols = ("--symbol", "BTC/USDT:USDT", "--symbol", "ETH/USDT:USDT")
    with exchange(tmp_path, *symbols) as url:
        userdir = userdir_for(tmp_path, url)
        command = ("record", "-c", userdir / "config.yml", *symbols)
        first = start(*command, cwd=tmp_path)
        until(lambda: len(raw_files(userdir)) == 2 and recorded_lines(userdir) > 60)
        second = mmkit(*command, "--duration", "3s", cwd=tmp_path)
        first.terminate()
        ended = Ended(first)

    assert second.status == 1
    assert f"by another process ({first.pid})" in second.stderr
    assert ended.status == 130
    for symbol, native in (("BTC/USDT:USDT", "BTCUSDT"), ("ETH/USDT:USDT", "ETHUSDT")):
        files = [path for path in raw_files(userdir) if native in path.parts]
        lot = re.search(rf'symbol: "{symbol}", tick: "(\S+)", lot: "(\S+)"', ended.stdout)
        assert lot is not None
        grid = {"tick": lot[1], "lot": lot[2]}
        assert captured(userdir, files, symbol=symbol, **grid) == dataset(userdir, native)


def test_markets_of_the_configuration_are_recorded_each_to_its_place(tmp_path: Path) -> None:
    with exchange(tmp_path) as url:
        userdir = userdir_for(tmp_path, url)
        spot = {
            "instrument": {"venue": "binance", "market": "spot", "symbol": "BTC/USDT"},
            "data": {
                "plugin": "binance",
                "endpoint": "sandbox",
                "url": "ws" + url.removeprefix("http"),
                "rest_url": url,
            },
        }
        more = userdir / "more.yml"
        more.write_text(json.dumps({"markets": {"spot": spot}}))
        config = load_config([userdir / "config.yml", more])
        summary, failure, _ = asyncio.run(record(config, duration_ns=SECOND))

    assert failure is None
    usdm, other = summary.markets
    assert (usdm.kind, other.kind) == ("usdm", "spot")
    frame = pd.read_parquet(userdir / "data" / "rows")
    counts = frame.groupby("market", observed=True).size().to_dict()
    assert counts == {"usdm": usdm.rows + 1, "spot": other.rows + 1}
    files = [path for path in raw_files(userdir) if "spot" in path.parts]
    grid = {"tick": other.tick, "lot": other.lot}
    from_raw = captured(userdir, files, market="spot", symbol="BTC/USDT", **grid)
    assert len(from_raw) == other.rows + 1


class Later(Clock):
    """The machine's clock, so much later."""

    def __init__(self, by_ns: int) -> None:
        self._clock, self._by_ns = SystemClock(), by_ns

    def now_ns(self) -> int:
        return self._clock.now_ns() + self._by_ns

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


def test_at_midnight_a_file_begins_that_can_be_read_by_itself(tmp_path: Path) -> None:
    with exchange(tmp_path) as url:
        userdir = userdir_for(tmp_path, url)
        config = load_config([userdir / "config.yml"])
        now = time.time_ns()
        midnight = (now // DAY_NS + 1) * DAY_NS
        clock = Later(midnight - now - 2 * SECOND)
        summary, failure, _ = asyncio.run(record(config, duration_ns=4 * SECOND, clock=clock))

    assert failure is None
    before, after = raw_files(userdir)
    assert after.stem > before.stem
    rows = dataset(userdir)
    assert len(rows) == summary.markets[0].rows + 1
    # The venue's clock is moved to ours while live, and left as it is in a capture.
    whole_rows = captured(userdir)
    assert [row[1:] for row in whole_rows] == [row[1:] for row in rows]
    shift = {ours[0] - theirs[0] for ours, theirs in zip(rows[:-1], whole_rows[:-1], strict=True)}
    assert len(shift) == 1
    alone = captured(userdir, [after])
    assert alone[0][1] >= midnight
    opened = next(at for at, row in enumerate(alone) if row[2] & KIND == Kind.SNAPSHOT)
    assert alone[opened][1] < midnight + 2 * SECOND
    ours, theirs = books(alone), books(whole_rows)
    common = ours.keys() & theirs.keys()  # the second snapshot makes rows only in the one
    assert len(common) > 10
    assert all(ours[moment] == theirs[moment] for moment in common)
    days = sorted((userdir / "data" / "rows").rglob("day=*"))
    assert [path.name for path in days] == [f"day={before.stem}", f"day={after.stem}"]
    frame = pd.read_parquet(days[1])
    assert (frame["ts_local"] >= midnight).all()
    assert np.diff(frame["ts_local"]).min() >= 0
