"""`mmkit data` as a person runs it."""

import gzip
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from in_process import mmkit
from processes import SHARED, write_config

from mmkit.quality import CODES

ROOT = Path(__file__).resolve().parents[2]
CAPTURE = SHARED / "binance_spot_nexousdt" / "nexousdt_20240723.dat.gz"
NEXO = 'instrument: {venue: binance, market: spot, symbol: NEXO/USDT, tick: "0.001", lot: "0.01"}'
CONFIG = f"""
{NEXO}
data: {{plugin: capture, paths: ["{CAPTURE}"]}}
strategy: {{plugin: join_best, every: 1s, size: "1", max_position: "5"}}
"""
WHAT = "binance:spot:NEXO/USDT,tick=0.001,lot=0.01"


def cut(folder: Path) -> Path:
    """Return a copy of the capture that ends in the middle of its packed data."""
    path = folder / "cut.gz"
    raw = CAPTURE.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    return path


# --- check ----------------------------------------------------------------------------------------


def test_clean_data_ends_with_0_and_data_with_an_error_with_4(tmp_path: Path) -> None:
    clean = mmkit("data", "check", CAPTURE, "--instrument", WHAT, cwd=tmp_path)
    assert (clean.status, clean.stderr) == (0, "")
    assert "clean: no errors" in clean.stdout
    assert f"note   clock_offset: {CODES['clock_offset'].meaning}" in clean.stdout

    broken = mmkit("data", "check", cut(tmp_path), "--instrument", WHAT, cwd=tmp_path)
    assert broken.status == 4
    assert f"error  unreadable: {CODES['unreadable'].meaning}" in broken.stdout
    assert re.search(rf"^ +{tmp_path}/cut\.gz:\d+: the gzip data is damaged", broken.stdout, re.M)


def test_without_paths_it_is_the_data_of_the_configuration_in_every_market(tmp_path: Path) -> None:
    again = "markets:\n  other:\n    instrument: {venue: binance, market: spot, symbol: NKN/USDT, tick: '0.00001', lot: '0.1'}\n"
    paths = ", ".join(f'"{SHARED}/binance_30s/BINANCE.{n}.xz"' for n in ("http.0.0", "ws.1.0"))
    config = f"{CONFIG}{again}    data: {{plugin: capture, paths: [{paths}]}}\n"
    userdir = write_config(tmp_path / "user_data", config)
    found = mmkit("data", "check", "-c", userdir / "config.yml", "--json", cwd=tmp_path)
    assert found.status == 0
    assert found.json["ok"] is True
    assert [(m["market"], m["symbol"], m["errors"]) for m in found.json["markets"]] == [
        ("main", "NEXO/USDT", 0),
        ("other", "NKN/USDT", 0),
    ]


def test_with_paths_the_configuration_says_what_is_in_them(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data", CONFIG.replace(str(CAPTURE), "gone.gz"))
    found = mmkit("data", "check", CAPTURE, "-c", userdir / "config.yml", "--json", cwd=tmp_path)
    assert found.json["markets"][0]["rows"] > 1000


def test_every_finding_of_json_has_a_kind_a_count_and_places(tmp_path: Path) -> None:
    found = mmkit("data", "check", cut(tmp_path), "--instrument", WHAT, "--json", cwd=tmp_path)
    assert found.status == 4
    [market] = found.json["markets"]
    assert found.json["ok"] is False
    assert market["errors"] == 1
    for finding in market["findings"]:
        assert finding["grade"] == CODES[finding["code"]].grade
        assert finding["count"] >= len(finding["places"]) >= 1
        assert all(place["where"] for place in finding["places"])


def test_the_picture_is_an_svg_with_a_lane_for_each_finding(tmp_path: Path) -> None:
    path = tmp_path / "out.svg"
    found = mmkit(
        "data", "check", CAPTURE, "--instrument", WHAT, "--picture", path, "--json", cwd=tmp_path
    )
    told = [
        "".join(text.itertext()) for text in ElementTree.parse(path).iter() if "text" in text.tag
    ]
    timed = [
        f"{finding['code']} ({finding['count']:,})"
        for finding in found.json["markets"][0]["findings"]
        if finding["places"][0]["at_ns"] is not None
    ]
    assert timed
    assert set(timed) <= set(told)
    assert {"book known", "updates", "trades", "NEXO/USDT at binance"} <= set(told)


def test_a_picture_of_another_format_is_refused(tmp_path: Path) -> None:
    found = mmkit("data", "check", CAPTURE, "--picture", "out.png", cwd=tmp_path)
    assert found.status == 2
    assert "a file that ends in .svg was expected; found 'out.png'" in found.stderr


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("binance", "VENUE:MARKET:SYMBOL was expected; found 'binance'"),
        ("binance:usdm:BTC/USDT", "market usdm settles in USDT"),
        ("binance:spot:BTC/USDT,tik=1", "tik"),
    ],
)
def test_an_instrument_that_is_none_is_a_mistake(what: str, words: str, tmp_path: Path) -> None:
    found = mmkit("data", "check", CAPTURE, "--instrument", what, cwd=tmp_path)
    assert found.status == 3
    assert words in found.stderr


def test_a_live_source_has_nothing_to_check(tmp_path: Path) -> None:
    live = CONFIG.replace(f'plugin: capture, paths: ["{CAPTURE}"]', "plugin: binance")
    userdir = write_config(tmp_path / "user_data", live)
    found = mmkit("data", "check", "-c", userdir / "config.yml", cwd=tmp_path)
    assert found.status == 2
    assert "the configured data source is live" in found.stderr


def test_every_kind_of_finding_is_in_the_documentation_with_its_grade() -> None:
    text = (ROOT / "docs" / "data.md").read_text()
    for code, (grade, meaning) in CODES.items():
        assert f"| `{code}` | {grade} | {meaning} |" in text, code


# --- list -----------------------------------------------------------------------------------------


def test_a_list_tells_of_a_file_what_its_kept_tape_tells(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data", CONFIG)
    (userdir / "data").mkdir()
    (userdir / "data" / "other.gz").write_bytes(b"x" * 1234)
    listed = ("data", "list", "-c", userdir / "config.yml", "--json")
    before = {Path(one["path"]).name: one for one in mmkit(*listed, cwd=tmp_path).json["files"]}
    assert before.keys() == {CAPTURE.name, "other.gz"}
    assert (before[CAPTURE.name]["kind"], before[CAPTURE.name]["tape"]) == ("capture", "")
    assert (before["other.gz"]["kind"], before["other.gz"]["size"]) == ("file", 1234)

    assert mmkit("backtest", "-c", userdir / "config.yml", cwd=tmp_path).status == 0
    [after] = [one for one in mmkit(*listed, cwd=tmp_path).json["files"] if one["symbol"]]
    checked = mmkit("data", "check", CAPTURE, "--instrument", WHAT, "--json", cwd=tmp_path)
    [market] = checked.json["markets"]
    assert Path(after["path"]) == CAPTURE.resolve()
    assert after["size"] == CAPTURE.stat().st_size
    assert Path(after["tape"]).exists()
    for key in ("symbol", "venue", "rows", "start_ns", "end_ns"):
        assert after[key] == market[key]
    assert after["gaps"] == 0
    told = mmkit(*listed[:-1], cwd=tmp_path).stdout
    assert f"kept tape: {after['tape']}" in told
    assert f"{after['rows']:,} rows, 0 gaps" in told
    assert "other.gz\n  file, 1.2 kB, not looked at yet" in told


def test_a_tape_whose_source_is_gone_is_listed_by_itself_and_a_damaged_one_says_so(
    tmp_path: Path,
) -> None:
    userdir = write_config(tmp_path / "user_data", CONFIG)
    assert mmkit("backtest", "-c", userdir / "config.yml", cwd=tmp_path).status == 0
    [tape] = (userdir / "data" / "tapes").glob("*.tape")
    gone = tape.rename(userdir / "data" / "gone.gz.11111111-22222222.tape")
    (userdir / "data" / "bad.tape").write_bytes(b"no tape")
    (userdir / "config.yml").unlink()
    found = {
        Path(one["path"]).name: one
        for one in mmkit("data", "list", "--json", cwd=tmp_path).json["files"]
    }
    assert found.keys() == {gone.name, "bad.tape"}
    assert (found[gone.name]["kind"], found[gone.name]["symbol"]) == ("tape", "NEXO/USDT")
    assert "not a tape of this version" in found["bad.tape"]["note"]


def test_files_of_the_configuration_that_are_not_there_are_listed_as_that(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data", CONFIG.replace(str(CAPTURE), "gone-*.gz"))
    [found] = mmkit("data", "list", "-c", userdir / "config.yml", "--json", cwd=tmp_path).json[
        "files"
    ]
    assert found["symbol"] == "NEXO/USDT"
    assert found["note"] == "gone-*.gz: no file matches; check 'data.paths'"


def test_where_there_is_nothing_a_list_says_where_it_looked(tmp_path: Path) -> None:
    listed = mmkit("data", "list", cwd=tmp_path)
    assert listed.status == 0
    assert listed.stdout == "nothing under user_data/data, and no files in the configuration\n"


# --- convert --------------------------------------------------------------------------------------

JULY = SHARED / "binance_usdm" / "btcusdt_20240718.gz"
BTC = "binance:usdm:BTC/USDT:USDT,tick=0.1,lot=0.001"


def as_hftbacktest_converts(capture: Path) -> tuple[list[tuple[int, ...]], int]:
    """Do what hftbacktest 2.4.4's ``binancefutures.convert`` does; return events, and when the snapshot came.

    Its rules: every update and every trade that met the market becomes rows; the smallest latency below zero is
    taken off; a row that the two clocks order differently is split in two.
    """
    rows, snapshot = [], 0
    with gzip.open(capture) as file:
        for line in file:
            local, message = int(line[:19]), json.loads(line[20:])
            data = message.get("data")
            if data is None:
                snapshot = local
            elif data["e"] == "trade" and data["X"] == "MARKET":
                side = 1 << 28 if data["m"] else 1 << 29
                rows.append(
                    (2 | side, data["T"] * 10**6, local, float(data["p"]), float(data["q"]))
                )
            elif data["e"] == "depthUpdate":
                for key, side in (("b", 1 << 29), ("a", 1 << 28)):
                    for price, quantity in data[key]:
                        rows.append(
                            (1 | side, data["T"] * 10**6, local, float(price), float(quantity))
                        )
    behind = -min(0, *(row[2] - row[1] for row in rows))
    rows = [(row[0], row[1], row[2] + behind, *row[3:]) for row in rows]
    by_exchange = sorted(range(len(rows)), key=lambda n: rows[n][1])
    events, venue, ours = [], 0, 0
    while venue < len(rows) or ours < len(rows):
        exchange = rows[by_exchange[venue]] if venue < len(rows) else None
        here = rows[ours] if ours < len(rows) else None
        if exchange and here and exchange[1:3] == here[1:3]:
            events.append((here[0] | 1 << 31 | 1 << 30, *here[1:]))
            venue, ours = venue + 1, ours + 1
        elif exchange and (here is None or exchange[1:3] < here[1:3]):
            events.append((exchange[0] | 1 << 31, *exchange[1:]))
            venue += 1
        else:
            assert here is not None
            events.append((here[0] | 1 << 30, *here[1:]))
            ours += 1
    return events, snapshot + behind


def test_after_the_snapshot_every_event_is_that_of_hftbacktests_converter(tmp_path: Path) -> None:
    done = mmkit("data", "convert", JULY, "e.npz", "--instrument", BTC, "--json", cwd=tmp_path).json
    assert (done["path"], done["symbol"], done["notes"]) == ("e.npz", "BTC/USDT:USDT", [])
    with np.load(tmp_path / "e.npz") as found:
        events = found["data"]
    theirs, snapshot = as_hftbacktest_converts(JULY)
    # And the snapshot, 2 x 1000 levels and 2 rows that clear the book, each split in two: its own count in
    # ../shared/oracle/README.md is 80,846.
    assert len(theirs) + 2 * 2002 == 80_846
    ours = events[events["local_ts"] > snapshot]
    theirs = [event for event in theirs if event[2] > snapshot]
    names = ["ev", "exch_ts", "local_ts", "px", "qty"]
    assert len(theirs) > 70_000
    assert ours[names].tolist() == theirs


def test_what_was_converted_can_be_converted_back_and_checked(tmp_path: Path) -> None:
    what = ("--instrument", WHAT)
    assert mmkit("data", "convert", CAPTURE, "a.parquet", *what, cwd=tmp_path).status == 0
    for chain in (("a.parquet", "a.csv"), ("a.csv", "a.tape"), ("a.tape", "b.parquet")):
        done = mmkit("data", "convert", *chain, cwd=tmp_path)
        assert (done.status, done.stderr) == (0, "")
        assert re.match(rf"{chain[1]}: [\d,]+ rows of NEXO/USDT, [\d,]+ bytes$", done.stdout)
    one, other = (pd.read_parquet(tmp_path / name) for name in ("a.parquet", "b.parquet"))
    pd.testing.assert_frame_equal(one, other)
    [raw] = mmkit("data", "check", CAPTURE, *what, "--json", cwd=tmp_path).json["markets"]
    [tape] = mmkit("data", "check", "a.tape", "--json", cwd=tmp_path).json["markets"]
    for key in ("symbol", "rows", "updates", "trades", "longest_ns", "unknown_ns", "errors"):
        assert tape[key] == raw[key]


def test_without_in_the_data_of_the_configuration_is_converted(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data", CONFIG)
    done = mmkit("data", "convert", "c.csv", "-c", userdir / "config.yml", "--json", cwd=tmp_path)
    assert done.json["rows"] == len(pd.read_csv(tmp_path / "c.csv", comment="#"))


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        ((CAPTURE, "x.json"), 2, "one of .tape, .npz, .parquet, .csv was expected; found 'x.json'"),
        (("x.csv", "x.csv"), 2, "another file than IN was expected"),
        (("gone.parquet", "x.csv"), 4, "gone.parquet: there is no such file"),
        (("a.tape", "b.tape", "x.csv"), 2, "found a.tape, b.tape"),
        ((CAPTURE, "no/such/x.csv"), 4, "cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_converted_is_refused(
    words: tuple[object, ...], status: int, told: str, tmp_path: Path
) -> None:
    done = mmkit("data", "convert", *words, "--instrument", WHAT, cwd=tmp_path)
    assert done.status == status
    assert told in done.stderr
