"""`mmkit backtest` as a person runs it, on recorded order books."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest
from processes import SHARED, journal, mmkit, write_config

CAPTURE = SHARED / "binance_usdm" / "btcusdt_20240718.gz"
CONFIG = f"""
instrument: {{venue: binance, market: usdm, symbol: "BTC/USDT:USDT", tick: "0.1", lot: "0.001"}}
data: {{plugin: capture, paths: ["{CAPTURE}"]}}
strategy: {{plugin: join_best, every: 1s, size: "0.01", max_position: "0.05"}}
sim: {{fees: {{maker: "0", taker: "0"}}, partial_fills: false, queue: {{model: risk_averse}}}}
"""


def backtest(folder: Path, *more: object, config: str = CONFIG):
    userdir = write_config(folder / "user_data", config)
    return mmkit("backtest", "-c", userdir / "config.yml", *more, cwd=folder)


def test_the_same_backtest_twice_gives_the_same_report_but_for_its_duration(tmp_path: Path) -> None:
    first, second = (backtest(tmp_path, "--json").json for _ in range(2))

    timed = ("wall_s", "events_per_s", "run_id", "folder")
    assert {k: v for k, v in first.items() if k not in timed} == {
        k: v for k, v in second.items() if k not in timed
    }
    assert first["fills"] > 0
    assert first["wall_s"] > 0


def test_the_run_folder_holds_the_configuration_the_journal_and_the_report(tmp_path: Path) -> None:
    report = backtest(tmp_path, "--json", "--journal", "all").json

    folder = Path(report["folder"])
    if not folder.is_absolute():
        folder = tmp_path / folder
    assert {path.name for path in folder.iterdir()} == {
        "run.json",
        "config.yml",
        "journal.jsonl",
        "report.json",
    }
    orders = [entry for entry in journal(folder) if entry["type"] == "SubmitOrder"]
    assert len(orders) == report["orders"]


def test_unless_asked_for_all_the_journal_keeps_what_moves_money(tmp_path: Path) -> None:
    report = backtest(tmp_path, "--json").json
    everything = backtest(tmp_path, "--json", "--journal", "all").json

    kept = journal(tmp_path / report["folder"])
    assert {entry["type"] for entry in kept} == {"OrderFilled", "FeedLost", "FeedRestored"}
    assert kept == [
        entry
        for entry in journal(tmp_path / everything["folder"])
        if entry["type"] in ("OrderFilled", "FeedLost", "FeedRestored")
    ]


def test_after_data_and_plain_differ_only_in_what_a_report_may_overtake(tmp_path: Path) -> None:
    plain = backtest(tmp_path, "--json").json
    after = backtest(tmp_path, "--json", "--set", "sim.fill_reports=after_data").json

    assert (plain["events"], plain["trades"], plain["gaps"]) == (
        after["events"],
        after["trades"],
        after["gaps"],
    )
    assert after["fills"] > 0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda raw: b"", "empty"),
        (lambda raw: raw[: len(raw) // 2], "cut short"),
        (lambda raw: gzip.compress(b"12 {not json\n"), "spoilt.gz:1"),
    ],
    ids=["empty", "truncated in a gzip block", "a broken line"],
)
def test_a_spoilt_capture_is_a_data_error_that_names_the_file(
    tmp_path: Path, spoil, words: str
) -> None:
    spoilt = tmp_path / "spoilt.gz"
    spoilt.write_bytes(spoil(CAPTURE.read_bytes()))

    ended = backtest(tmp_path, config=CONFIG.replace(str(CAPTURE), str(spoilt)))

    assert ended.status == 4, ended.stderr
    assert "spoilt.gz" in ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_capture_of_another_symbol_lists_those_it_holds(tmp_path: Path) -> None:
    ended = backtest(tmp_path, config=CONFIG.replace("BTC/USDT:USDT", "ETH/USDT:USDT"))

    assert ended.status == 4
    assert "btcusdt" in ended.stderr.lower()


def test_a_grid_that_the_prices_are_not_on_is_refused_with_the_line(tmp_path: Path) -> None:
    ended = backtest(tmp_path, config=CONFIG.replace('tick: "0.1"', 'tick: "0.5"'))

    assert ended.status == 4
    assert "btcusdt_20240718.gz" in ended.stderr
    assert "0.5" in ended.stderr


def test_without_a_grid_the_error_proposes_the_one_that_the_data_fits(tmp_path: Path) -> None:
    ended = backtest(tmp_path, config=CONFIG.replace(', tick: "0.1", lot: "0.001"', ""))

    assert ended.status == 3
    assert 'tick: "0.1"' in ended.stderr
    assert 'lot: "0.001"' in ended.stderr


def test_a_live_source_is_refused_with_what_a_backtest_needs(tmp_path: Path) -> None:
    live = CONFIG.replace(f'{{plugin: capture, paths: ["{CAPTURE}"]}}', "{plugin: binance}")

    ended = backtest(tmp_path, config=live)

    assert ended.status == 2
    assert "recorded data" in ended.stderr


def test_recorded_data_is_refused_by_trade_with_what_it_needs(tmp_path: Path) -> None:
    userdir = write_config(tmp_path / "user_data", CONFIG)

    ended = mmkit("trade", "-c", userdir / "config.yml", "--duration", "5s", cwd=tmp_path)

    assert ended.status == 2
    assert "mmkit backtest" in ended.stderr


BIG = f"""
instrument: {{venue: binance, market: usdm, symbol: "BTC/USDT:USDT", tick: "0.1", lot: "0.001"}}
data: {{plugin: capture, paths: ["{SHARED / "binance_usdm" / "btcusdt_20240808.gz"}"]}}
strategy: {{plugin: skewed, every: 100ms, half_spread: 1ticks, skew: 1ticks, size: "0.01", max_position: "0.05"}}
risk: {{max_position: "0.05", max_order: "0.02", price_band: 1%, max_drawdown: "100", stale_after: 5s}}
"""


def test_the_compiled_engine_and_the_reference_write_the_same_journal_to_the_byte(
    tmp_path: Path,
) -> None:
    compiled, reference = (
        backtest(tmp_path, "--json", "--journal", "all", "--engine", engine, config=BIG).json
        for engine in ("compiled", "reference")
    )

    assert (compiled["engine"], reference["engine"]) == ("compiled", "reference")
    assert compiled["fills"] > 50
    timed = ("wall_s", "events_per_s", "run_id", "folder", "engine")
    assert {name: value for name, value in compiled.items() if name not in timed} == {
        name: value for name, value in reference.items() if name not in timed
    }
    journals = [
        (tmp_path / report["folder"] / "journal.jsonl").read_bytes()
        for report in (compiled, reference)
    ]
    assert journals[0] == journals[1]


MANY = """
from mmkit import Quotes, Strategy


class Many(Strategy):
    def quote(self, view):
        levels = 129 if view.now // 1_000_000_000 % 9 == 8 else 1
        return Quotes(bids=[(view.best_bid - n, 1) for n in range(levels)], ask=(view.best_ask, 1))
"""


def test_a_strategy_that_only_the_reference_can_run_is_run_by_the_reference_from_the_start(
    tmp_path: Path,
) -> None:
    userdir = write_config(tmp_path / "user_data", BIG)
    (userdir / "strategies" / "many.py").write_text(MANY)

    command = ("backtest", "-c", userdir / "config.yml", "-s", "many", "--json", "--journal", "all")
    refused = mmkit(*command, "--engine", "compiled", cwd=tmp_path)
    ended = mmkit(*command, cwd=tmp_path)

    assert refused.status == 2
    assert "more than 128 levels a side" in refused.stderr
    assert ended.status == 0, ended.stderr
    assert ended.json["engine"] == "reference"
    assert ended.json["fills"] > 100
    orders = [
        entry
        for entry in journal(Path(tmp_path / ended.json["folder"]))
        if entry["type"] == "SubmitOrder"
    ]
    ids = [order["order_id"] for order in orders]
    assert ids == sorted(set(ids))


def with_series(folder: Path, start_s: int, seconds: int) -> str:
    """The configuration with an entry latency that was recorded every second from `start_s` on."""
    lines = [f"{(start_s + n) * 10**9},{(5 + n % 3) * 10**6}" for n in range(seconds)]
    (folder / "series.csv").write_text("\n".join(["ts_ns,latency_ns", *lines]) + "\n")
    return CONFIG.replace("sim: {", "sim: {latency: {entry: {series: series.csv, max_gap: 5s}}, ")


def test_a_latency_recorded_along_with_the_data_is_used_and_its_digest_kept(tmp_path: Path) -> None:
    plain = backtest(tmp_path, "--json").json

    covered = with_series(tmp_path, plain["start_ns"] // 10**9, 400)
    ended = backtest(tmp_path, "--json", "--journal", "all", config=covered)

    assert ended.status == 0, ended.stderr
    assert ended.json["engine"] == "reference"
    run = tmp_path / ended.json["folder"]
    entries = journal(run)
    sent = {e["order_id"]: e["ts_local"] for e in entries if e["type"] == "SubmitOrder"}
    answers = [e for e in entries if e["type"] == "OrderAccepted"]
    took = [e["ts_exchange"] - sent[e["order_id"]] for e in answers]
    assert all(5 * 10**6 <= ns <= 7 * 10**6 for ns in took)
    assert len(took) > 20
    assert len(set(took)) > 1
    raw = (tmp_path / "series.csv").read_bytes()
    kept = json.loads((run / "run.json").read_text())["files"]
    assert kept == {"series.csv": hashlib.sha256(raw).hexdigest()}


def test_a_latency_of_another_time_is_refused_before_the_run_begins(tmp_path: Path) -> None:
    ended = backtest(tmp_path, config=with_series(tmp_path, 1_700_000_000, 60))

    assert ended.status == 4
    assert (
        "series.csv: sim.latency.entry was recorded from 2023-11-14T22:13:20.000Z" in ended.stderr
    )
    assert "the data, from 2024-07-1" in ended.stderr
    assert not (tmp_path / "user_data" / "results").exists()


def test_a_broken_latency_file_is_a_data_error_with_its_line(tmp_path: Path) -> None:
    config = with_series(tmp_path, 1_700_000_000, 60)
    path = tmp_path / "series.csv"
    path.write_text(path.read_text().replace("1700000007000000000,", "1700000007000000000,x"))

    ended = backtest(tmp_path, config=config)

    assert ended.status == 4
    assert "series.csv:9: latency_ns: whole nanoseconds" in ended.stderr
    assert "Traceback" not in ended.stderr


# --- data with gaps -------------------------------------------------------------------------------


def gappy(folder: Path) -> str:
    """Return the configuration of a capture in whose middle an update is missing."""
    with gzip.open(CAPTURE, "rt") as file:
        lines = file.readlines()
    updates = [number for number, line in enumerate(lines) if '"depthUpdate"' in line]
    del lines[updates[len(updates) // 2]]
    path = folder / "gappy.txt"
    path.write_text("".join(lines))
    return CONFIG.replace(str(CAPTURE), str(path))


def test_a_backtest_over_data_with_a_gap_says_so_and_quotes_nothing_in_it(tmp_path: Path) -> None:
    config = gappy(tmp_path)
    report = backtest(tmp_path, "--json", "--journal", "all", config=config).json
    assert report["gaps"] == 1
    [words] = [note for note in report["feed"]["notes"] if "nothing was quoted then" in note]
    assert words.startswith("1 gap, the first at 2024-07-18T23:5")
    entries = journal(tmp_path / report["folder"])
    lost = [e["ts_local"] for e in entries if e["type"] == "FeedLost" and e["reason"] == "sequence"]
    kinds = [entry["type"] for entry in entries]
    begun = entries.index(next(e for e in entries if e.get("ts_local") == lost[0]))
    assert "SubmitOrder" in kinds[:begun]
    assert "SubmitOrder" not in kinds[begun:]  # the book is not known again
    told = backtest(tmp_path, config=config).stdout
    assert "1 gaps" in told
    assert words in told


def test_data_with_a_gap_is_refused_where_that_is_asked_for(tmp_path: Path) -> None:
    refused = backtest(tmp_path, "--set", "data.gaps=refuse", config=gappy(tmp_path))
    assert refused.status == 4
    assert (
        "'data.gaps: refuse' asks for data without gaps; found 1 gap, the first" in refused.stderr
    )
    assert "'mmkit data check' names the places" in refused.stderr
    assert backtest(tmp_path, "--set", "data.gaps=refuse").status == 0


def test_what_is_to_be_done_with_gaps_has_two_names(tmp_path: Path) -> None:
    mistaken = backtest(tmp_path, "--set", "data.gaps=refuze")
    assert mistaken.status == 3
    assert "data.gaps: mask or refuse was expected; found 'refuze'" in mistaken.stderr
