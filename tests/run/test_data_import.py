"""`mmkit data import` as a person runs it, and backtests over what it kept."""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from in_process import mmkit
from processes import SHARED, Ended, start
from recorder import captured, dataset, exchange, until, userdir_for

from mmkit.tape import NAMES

USDM = [SHARED / "binance_usdm" / f"btcusdt_202407{day}.gz" for day in (18, 19)]
BTC = "binance:usdm:BTC/USDT:USDT,tick=0.1,lot=0.001"
PARTITION = "user_data/data/rows/venue=binance/market=usdm/symbol=BTCUSDT"
STRATEGY = """
strategy: {plugin: join_best, every: 1s, size: "0.01", max_position: "0.05"}
"""
RUN_OF_ITS_OWN = {"run_id", "folder", "wall_s", "events_per_s"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which two days, some minutes of each, were imported."""
    folder = tmp_path_factory.mktemp("imported")
    done = mmkit("data", "import", *USDM, "--instrument", BTC, "--json", cwd=folder)
    assert done.status == 0, done.stderr
    (folder / "imported.json").write_text(done.stdout)
    (folder / "rows.yml").write_text(done.json["config"] + STRATEGY)
    paths = ", ".join(f'"{path}"' for path in USDM)
    (folder / "capture.yml").write_text(
        'instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT", tick: "0.1", lot: "0.001"}\n'
        f"data: {{plugin: capture, paths: [{paths}]}}{STRATEGY}"
    )
    return folder


@pytest.fixture(scope="module")
def tape(home: Path) -> Path:
    """The same two days as a file."""
    done = mmkit("data", "convert", "both.tape", "-c", "rows.yml", cwd=home)
    assert done.status == 0, done.stderr
    return home / "both.tape"


def report(home: Path, config: str, *words: str) -> dict[str, Any]:
    ended = mmkit("backtest", "-c", config, "--no-folder", "--json", *words, cwd=home)
    assert ended.status == 0, ended.stderr
    return {name: value for name, value in ended.json.items() if name not in RUN_OF_ITS_OWN}


# --- what was imported is what there was ---------------------------------------------------------------


@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_a_backtest_over_imported_rows_gives_the_report_of_the_capture(
    home: Path, engine: str
) -> None:
    ours = report(home, "rows.yml", "--engine", engine)
    assert ours == report(home, "capture.yml", "--engine", engine)
    assert ours["fills"] > 10
    assert ours["engine"] == engine
    assert ours["feed"]["tickers_compared"] > 500


@pytest.mark.parametrize("suffix", [".tape", ".parquet", ".csv", ".npz"])
def test_a_file_is_read_as_it_is_and_imported_with_the_same_result(
    home: Path, tmp_path: Path, suffix: str
) -> None:
    one = USDM[0]
    path = tmp_path / f"day{suffix}"
    converted = mmkit("data", "convert", one, path, "--instrument", BTC, cwd=tmp_path)
    assert converted.status == 0, converted.stderr
    grid = ', tick: "0.1", lot: "0.001"' if suffix == ".npz" else ""
    (tmp_path / "file.yml").write_text(
        f'instrument: {{venue: binance, market: usdm, symbol: "BTC/USDT:USDT"{grid}}}\n'
        f"data: {{plugin: rows, paths: {path}}}{STRATEGY}"
    )
    what = ["--instrument", BTC] if suffix == ".npz" else []
    done = mmkit("data", "import", path, *what, "--json", cwd=tmp_path)
    assert done.status == 0, done.stderr
    (tmp_path / "rows.yml").write_text(done.json["config"] + STRATEGY)

    of_file = report(tmp_path, "file.yml")

    assert of_file == report(tmp_path, "rows.yml")
    assert of_file["fills"] > 5
    if suffix != ".npz":
        paths = f'data.paths=["{one}"]'
        assert of_file == report(home, "capture.yml", "--set", paths)


def test_several_files_of_events_are_imported_one_behind_the_other(tmp_path: Path) -> None:
    # The second capture has no snapshot of its own, so both are imported, and cut apart by `rows`.
    mmkit("data", "import", *USDM, "--instrument", BTC, cwd=tmp_path)
    for name, span in (("a.npz", "to: 2024-07-19"), ("b.npz", "from: 2024-07-19")):
        config = tmp_path / f"{name}.yml"
        config.write_text(
            'instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}\n'
            f"data: {{plugin: rows, {span}}}{STRATEGY}"
        )
        assert mmkit("data", "convert", name, "-c", config, cwd=tmp_path).status == 0
    new = ("--instrument", BTC, "--userdir", "new", "--json")
    done = mmkit("data", "import", "b.npz", "a.npz", *new, cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert done.json["days"] == ["2024-07-18", "2024-07-19"]
    assert yaml.safe_load(done.json["config"])["data"]["path"] == "new/data/rows"
    (tmp_path / "rows.yml").write_text(done.json["config"] + STRATEGY)
    found = report(tmp_path, "rows.yml")
    assert found["gaps"] == 1
    mixed = mmkit("data", "import", "a.npz", USDM[0], *new, cwd=tmp_path)
    assert (mixed.status, "found both" in mixed.stderr) == (2, True)
    twice = mmkit(
        "data", "import", "a.npz", "a.npz", "--instrument", BTC, "--userdir", "x", cwd=tmp_path
    )
    assert (twice.status, "leave one of them out" in twice.stderr) == (4, True)


def test_tables_of_tardis_are_told_from_our_own(tmp_path: Path) -> None:
    [raw] = (SHARED / "tardis").glob("*snapshot_25*.csv*")
    content = gzip.decompress(raw.read_bytes()) if raw.suffix == ".gz" else raw.read_bytes()
    path = tmp_path / "binance-futures_book_snapshot_25_2020-09-01_BTCUSDT.csv"
    path.write_bytes(content)
    what = ("--plugin", "tardis", "--instrument", BTC.replace("0.1", "0.01"))
    done = mmkit("data", "import", path, *what, "--json", cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert done.json["days"] == ["2020-09-01"]
    assert done.json["rows"] == len(dataset(tmp_path / "user_data")) > 400


def test_dumps_are_imported(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-bookTicker-2024-03-01.csv"
    path.write_text(
        "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time\n"
        "1,60000.1,2.000,60000.2,3.000,1709251200123,1709251200125\n"
        "2,60000.1,1.000,60000.2,3.000,1709251200223,1709251200225\n"
    )
    done = mmkit("data", "import", path, "--instrument", BTC, "--json", cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert done.json["days"] == ["2024-03-01"]


def test_what_is_recorded_can_be_read_as_rows_and_not_imported_once_more(tmp_path: Path) -> None:
    with exchange(tmp_path) as url:
        userdir = userdir_for(tmp_path, url)
        recorder = start(
            "record", "-c", userdir / "config.yml", "--duration", "3s", "--json", cwd=tmp_path
        )
        recorded = Ended(recorder)
    assert recorded.status == 0, recorded.stderr
    config = userdir / "rows.yml"
    config.write_text(
        'instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}\n'
        f"data: {{plugin: rows}}{STRATEGY}"
    )
    assert mmkit("data", "convert", "all.csv", "-c", config, cwd=tmp_path).status == 0
    table = pd.read_csv(tmp_path / "all.csv", comment="#")
    rows = dataset(userdir)
    assert table["ticks"].tolist() == [row[3] for row in rows]
    assert table["ts_local"].tolist() == [row[1] for row in rows]
    assert rows[:-1] == captured(userdir)[:-1]
    found = report(tmp_path, str(config))
    assert found["events"] == len(rows)
    assert found["feed"]["snapshots"] == 1

    [raw] = userdir.glob("data/binance/usdm/BTCUSDT/raw/*.zst")
    again = mmkit("data", "import", raw, "--instrument", BTC, cwd=tmp_path)
    assert again.status == 4
    assert "(from 'mmkit record')" in again.stderr


def test_check_watch_and_list_read_rows(home: Path) -> None:
    checked = mmkit("data", "check", "-c", "rows.yml", "--json", cwd=home)
    of_capture = mmkit("data", "check", "-c", "capture.yml", "--json", cwd=home)
    assert checked.json["ok"] is True
    assert checked.json["markets"][0]["rows"] == of_capture.json["markets"][0]["rows"]
    watched = mmkit("watch", "-c", "rows.yml", cwd=home)
    assert "time          07m 59s" in watched.stdout, watched.stderr
    assert watched.stdout == mmkit("watch", "-c", "capture.yml", cwd=home).stdout


def test_the_list_has_one_entry_for_a_market_with_its_days(home: Path) -> None:
    done = json.loads((home / "imported.json").read_text())
    for config in ([], ["-c", "rows.yml"]):
        there = mmkit("data", "list", *config, "--json", cwd=home)
        assert there.status == 0, there.stderr
        [entry] = [one for one in there.json["files"] if one["kind"] == "rows"]
        assert entry["path"] == str(home / PARTITION)
        assert (entry["symbol"], entry["rows"], entry["gaps"]) == ("BTC/USDT:USDT", done["rows"], 0)
        assert (entry["days"], entry["parts"]) == (["2024-07-18", "2024-07-19"], 2)
        assert (entry["start_ns"], entry["end_ns"]) == (done["start_ns"], done["end_ns"])
        assert entry["size"] == done["size"]
        assert not [
            one for one in there.json["files"] if one["path"].endswith((".parquet", "lock"))
        ]
    told = mmkit("data", "list", cwd=home).stdout
    assert "  2 days: 2024-07-18 to 2024-07-19 (2 parts)" in told
    [part, _] = sorted((home / PARTITION).rglob("*.parquet"))
    elsewhere = home / "elsewhere"
    shutil.copytree(home / PARTITION, elsewhere / "rows" / PARTITION.partition("rows/")[2])
    other = mmkit("data", "list", "-c", "rows.yml", "--set", "data.path=elsewhere/rows", cwd=home)
    assert str(elsewhere) in other.stdout
    copy = elsewhere / "rows" / part.relative_to(home / "user_data/data/rows")
    copy.write_bytes(part.read_bytes()[:100])
    other = mmkit("data", "list", "-c", "rows.yml", "--set", "data.path=elsewhere/rows", cwd=home)
    assert f"{copy.name}: a part of a dataset was expected" in other.stdout
    shutil.rmtree(elsewhere)


# --- what a person is told -----------------------------------------------------------------------------


def test_it_says_what_it_wrote_and_how_to_read_it(tmp_path: Path) -> None:
    done = mmkit("data", "import", USDM[0], "--instrument", BTC, cwd=tmp_path)
    assert done.status == 0
    assert "BTC/USDT:USDT (binance usdm), 78,489 rows, 0 gaps" in done.stdout
    assert f"in {PARTITION}\n" in done.stdout
    assert "note      btcusdt_20240718.gz: 1522101448 ns were added" in done.stdout
    lines = re.findall(r"^ {12}(\w.*|data.*)$|to read   (.*)$", done.stdout, re.M)
    config = "\n".join(a or b for a, b in lines) + STRATEGY
    (tmp_path / "bt.yml").write_text(config)
    assert report(tmp_path, "bt.yml")["events"] == 78_489


def test_what_is_there_is_not_imported_twice_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    words = ("data", "import", USDM[0], "--instrument", BTC)
    assert mmkit(*words, cwd=tmp_path).status == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}

    again = mmkit(*words, cwd=tmp_path)

    assert again.status == 4
    assert (
        "found 78,489 rows of 2024-07-18T23:57:02.506Z to 2024-07-19T00:00:00.508Z" in again.stderr
    )
    assert (
        "give '--replace': all that is there of 2024-07-18 to 2024-07-19 goes then" in again.stderr
    )
    other = mmkit(*words[:-1], BTC.replace("tick=0.1", "tick=0.01"), cwd=tmp_path)
    assert (other.status, "found tick 0.1 and 0.01" in other.stderr) == (4, True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == before
    replaced = mmkit(*words, "--replace", cwd=tmp_path)
    assert "replaced  78,489 rows of 2024-07-18 to 2024-07-19" in replaced.stdout
    frame = pd.read_parquet(tmp_path / "user_data/data/rows")
    assert len(frame[list(NAMES)]) == 78_489


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ((USDM[0],), 2, "'--instrument VENUE:MARKET:SYMBOL,tick=...,lot=...'"),
        ((), 3, "user_data/config.yml: there is no such file"),
        (
            (USDM[0], "--instrument", BTC.partition(",")[0]),
            3,
            "add to 'binance:usdm:BTC/USDT:USDT' tick=0.1, lot=0.001",
        ),
        ((USDM[0], "--instrument", BTC.replace("usdm", "usmd")), 3, "did you mean 'usdm'?"),
        ((USDM[0], "--instrument", BTC.replace("tick", "tik")), 3, "did you mean 'tick'?"),
        (
            (USDM[0], "--instrument", BTC.replace("BTC/", "ETH/")),
            4,
            "messages of 'ETHUSDT' were expected",
        ),
        ((USDM[0], "--instrument", BTC, "--plugin", "captur"), 3, "did you mean 'capture'?"),
        (("gone.gz", "--instrument", BTC), 4, "gone.gz: there is no such file"),
        (("gone.tape",), 4, "gone.tape: there is no such file"),
        (("gone.npz", "--instrument", BTC), 4, "gone.npz: there is no such file"),
        ((USDM[0], "--instrument", BTC, "--replac"), 2, "--replace"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do_and_nothing_is_written(
    tmp_path: Path, words: tuple[object, ...], status: int, said: str
) -> None:
    ended = mmkit("data", "import", *words, cwd=tmp_path)
    assert (ended.status, ended.stdout) == (status, "")
    assert said in ended.stderr
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize(
    ("override", "status", "said"),
    [
        ("data.form=2024-07-18", 3, "data.form: unknown key; did you mean 'from'?"),
        ("data.from=yesterday", 3, "a day or a time, to the microsecond, such as 2026-11-26"),
        ("data.from=2024-07-18T10:00:00.1234567", 3, "to the microsecond"),
        ("data.to=2024-07-18", 3, "'to' after 'from' was expected"),
        ("data.paths=x.tape", 3, "either 'paths', of one file, or 'path', 'from' and 'to'"),
        (
            "data.path=nowhere",
            4,
            "found no rows there; 'mmkit record' and 'mmkit data import' write them",
        ),
        ("instrument.symbol=BTC/USDC:USDC", 4, "did you mean BTC/USDT:USDT at binance (usdm)?"),
        ('instrument.tick="0.01"', 4, "tick 0.01 was expected and 0.1 found"),
        (
            "data.from=2024-07-19T12:00",
            4,
            "there are 2024-07-18T23:57:02.506Z to 2024-07-19T00:05:02.283Z",
        ),
    ],
)
def test_a_configuration_that_names_other_rows_is_refused_with_what_there_is(
    home: Path, override: str, status: int, said: str
) -> None:
    ended = mmkit("backtest", "-c", "rows.yml", "--no-folder", "--set", override, cwd=home)
    assert ended.status == status
    assert said in ended.stderr


def test_another_instrument_than_a_file_has_is_refused(home: Path, tape: Path) -> None:
    ended = mmkit("data", "import", tape, "--instrument", "binance:spot:BTC/USDT", cwd=home)
    assert (ended.status, "market spot was expected and usdm found" in ended.stderr) == (4, True)
    [part, *_] = (home / PARTITION).rglob("*.parquet")
    ended = mmkit("data", "import", part, cwd=home)
    assert (ended.status, "are read by 'data: {plugin: rows}'" in ended.stderr) == (4, True)


def test_from_the_middle_of_a_session_the_book_is_known_at_once(home: Path) -> None:
    found = report(home, "rows.yml", "--set", "data.from=2024-07-19")
    assert found["fills"] > 5
    assert found["feed"]["snapshots"] == 1
    whole = report(home, "rows.yml")
    assert found["events"] < whole["events"]
    checked = mmkit(
        "data", "check", "-c", "rows.yml", "--set", "data.from=2024-07-19", "--json", cwd=home
    )
    assert checked.json["ok"] is True
    assert checked.json["markets"][0]["unknown_ns"] == 0


def test_interrupted_it_leaves_all_or_nothing(tmp_path: Path, tape: Path) -> None:
    chance = random.Random(4)
    for number in range(4):
        userdir = tmp_path / str(number)
        staged = userdir / "data/binance/usdm/BTCUSDT/import"
        process = start("data", "import", tape, "--userdir", userdir, cwd=tmp_path)
        if number:
            until(
                lambda process=process, staged=staged: staged.exists() or process.poll() is not None
            )
            time.sleep(chance.uniform(0, 0.2))
            process.send_signal(signal.SIGINT)
        ended = Ended(process)
        # Python itself is ended by the signal once it has begun to end.
        assert ended.status in (0, 130, -signal.SIGINT), ended.stderr
        assert "Traceback" not in ended.stderr
        parts = list(userdir.rglob("*.parquet"))
        assert len(parts) in ((0, 2) if ended.status == 130 else (2,))
        assert not staged.exists()
