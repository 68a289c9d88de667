"""Several markets in one run, as a person runs them: the strategy and the configuration of the documentation."""

import contextlib
import gzip
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from processes import SHARED, Ended, journal, mmkit, newest_run, start, write_config

from mmkit import MarketView, Quotes, Strategy, sweep

DOCS = Path(__file__).resolve().parents[2] / "docs"
# Of one recorder, at one time.
CAPTURES = {
    "usdm": SHARED / "binance_usdm" / "btcusdt_20240808.gz",
    "spot": SHARED / "binance_spot" / "btcusdt_20240808.gz",
}
UNTIL_NS = 1_723_161_295_000_000_000
"""Forty seconds of the first, forty-one of the second."""


def block(page: str, heading: str, language: str) -> str:
    """The first block of code under a heading of the documentation."""
    text = (DOCS / page).read_text()
    section = re.search(rf"^#+ {heading}$(.*?)(?=^##|\Z)", text, re.M | re.S)
    assert section is not None, f"docs/{page} has no heading '{heading}'"
    found = re.search(rf"^```{language}\n(.*?)^```$", section[1], re.M | re.S)
    assert found is not None, f"docs/{page} has no {language} under '{heading}'"
    return found[1]


CONFIG = block("config.md", "Several markets", "yaml")
STRATEGY = block("plugins.md", "On several markets", "python")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where slices of the captures lie, under the names that the documentation has."""
    folder = tmp_path_factory.mktemp("captures")
    for name, capture in CAPTURES.items():
        with gzip.open(capture, "rt") as lines, (folder / f"{name}.gz").open("w") as out:
            for line in lines:
                if int(line[:19]) > UNTIL_NS:
                    break
                out.write(line)
    return folder


def user_folder(folder: Path, config: str) -> Path:
    userdir = write_config(folder / "user_data", config)
    (userdir / "strategies" / "hedged.py").write_text(STRATEGY)
    return userdir


def backtest(folder: Path, data: Path, *more: object, config: str = CONFIG) -> Ended:
    userdir = user_folder(folder, config.replace("[data/", f"[{data}/"))
    return mmkit("backtest", "-c", userdir / "config.yml", *more, cwd=folder)


def exact(ended: Ended) -> dict[str, Any]:
    """What was printed with ``--json``, every decimal with all its digits."""
    assert ended.status == 0, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout, parse_float=Decimal)
    return report


# --- a backtest of two captures -------------------------------------------------------------------


def test_two_captures_are_run_together_and_every_figure_follows_from_the_journal(
    tmp_path: Path, data: Path
) -> None:
    report = exact(backtest(tmp_path, data, "--json", "--journal", "all"))

    entries = journal(tmp_path / report["folder"])
    assert [entry["ts_local"] for entry in entries] == sorted(e["ts_local"] for e in entries)
    grids = {
        "main": (Decimal("0.1"), Decimal("0.001"), Decimal("0.0002")),
        "spot": (Decimal("0.01"), Decimal("0.00001"), Decimal("0.001")),
    }
    reports = {"main": report, **report["markets"]}
    for market, (tick, lot, rate) in grids.items():
        own, told = [e for e in entries if e["market"] == market], reports[market]
        sides = {e["order_id"]: e["side"] for e in own if e["type"] == "SubmitOrder"}
        fills = [e for e in own if e["type"] == "OrderFilled"]
        signed = [f["quantity"] * (1 if sides[f["order_id"]] == "buy" else -1) for f in fills]
        values = [f["price"] * tick * f["quantity"] * lot for f in fills]
        cash = -sum(q * lot * f["price"] * tick for q, f in zip(signed, fills, strict=True))
        assert len(fills) == told["fills"] > 5
        assert len(sides) == told["orders"]
        assert sum(signed) * lot == told["position"]
        assert sum(abs(q) for q in signed) * lot == told["volume"]
        assert sum(values) == told["turnover"]
        assert sum(values) * rate == sum(Decimal(f["fee"]) for f in fills) == told["fees"]
        open_value = told["equity"] + told["fees"] - cash
        assert open_value == told["realized_pnl"] + told["unrealized_pnl"] - cash
        # What the position is worth is mid, which lies between what was paid in these seconds.
        prices = [f["price"] * tick for f in fills]
        if told["position"]:
            assert min(prices) * Decimal("0.999") < open_value / told["position"]
            assert open_value / told["position"] < max(prices) * Decimal("1.001")
        else:
            assert open_value == 0
    spot = report["markets"]["spot"]
    assert report["equity_of_all"] == report["equity"] + spot["equity"]
    assert report["maker_fills"] == report["fills"]
    assert spot["taker_fills"] == spot["fills"]
    assert (report["currency"], spot["currency"]) == ("USDT", "USDT")
    # What is under way at the end of the data is the only difference.
    assert abs(report["position"] + spot["position"]) <= Decimal("0.02")


def test_the_report_for_people_tells_each_market_and_all_together(
    tmp_path: Path, data: Path
) -> None:
    ended = backtest(tmp_path, data)

    assert ended.status == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0] == "strategy       hedged on BTC/USDT:USDT"
    spot = lines.index("spot           BTC/USDT")
    for part in (lines[:spot], lines[spot:]):
        assert sum(line.startswith("equity  ") for line in part) == 1
    kept = json.loads(
        (newest_run(tmp_path / "user_data") / "report.json").read_text(), parse_float=Decimal
    )
    total = f"{kept['equity_of_all']:,.8f}".rstrip("0")
    assert f"equity of all  {total} USDT" in lines
    events = next(line for line in lines if line.startswith("events"))
    own = kept["events"] - kept["markets"]["spot"]["events"]
    assert own > kept["markets"]["spot"]["events"] > 0
    assert f"{own:,} rows ({kept['events']:,} in all), " in events


def test_the_run_ends_where_the_first_data_ends_and_says_what_was_left_out(
    tmp_path: Path, data: Path
) -> None:
    lines = (data / "usdm.gz").read_text().splitlines(keepends=True)
    half = tmp_path / "half"
    half.mkdir()
    (half / "usdm.gz").write_text("".join(lines[: len(lines) // 2]))
    (half / "spot.gz").write_text((data / "spot.gz").read_text())

    report = exact(backtest(tmp_path, half, "--json", "--journal", "all"))

    last_ns = int(lines[len(lines) // 2 - 1][:19]) + 1_275_000_000
    entries = journal(tmp_path / report["folder"])
    assert max(e["ts_local"] for e in entries if e["type"] == "SubmitOrder") <= last_ns
    notes = report["markets"]["spot"]["feed"]["notes"]
    assert any("were left out: the data of 'main' ends there" in note for note in notes)
    assert not any("left out" in note for note in report["feed"]["notes"])


def test_data_with_no_time_in_common_is_refused_with_both_times(tmp_path: Path, data: Path) -> None:
    earlier = SHARED / "binance_usdm" / "btcusdt_20240718.gz"
    config = CONFIG.replace("data/usdm.gz", str(earlier))

    ended = backtest(tmp_path, data, config=config)

    assert ended.status == 4
    assert "data of one time was expected in all markets; that of 'main' ends at 2024-07-1" in (
        ended.stderr
    )
    assert "that of 'spot' begins at 2024-08-08T23:54:1" in ended.stderr


@pytest.mark.parametrize(
    ("old", "new", "status", "said"),
    [
        ("hedge: spot", "hedge: spto", 3, "strategy.hedge: a market of this run was expected; found 'spto'"),
        (', tick: "0.01", lot: "0.00001"', "", 3, "markets.spot.instrument: a capture does not carry tick"),
        ("data/spot.gz", "data/nothing.gz", 4, "market 'spot': "),
        ('"BTC/USDT",', '"ETH/USDT",', 4, "market 'spot': "),
        ("capture, paths: [data/spot.gz], clock_offset: 1275ms", "binance", 2, "market 'spot': the configured data source is live"),
    ],
    ids=["no such market", "no grid", "no file", "another symbol", "live data"],
)  # fmt: skip
def test_what_is_wrong_in_one_market_is_told_with_its_name(
    old: str, new: str, status: int, said: str, tmp_path: Path, data: Path
) -> None:
    assert old in CONFIG
    ended = backtest(tmp_path, data, config=CONFIG.replace(old, new))
    assert (ended.status, "Traceback" in ended.stderr) == (status, False), ended.stderr
    assert said in ended.stderr


def test_the_bracket_says_which_of_its_figures_are_of_all_markets(
    tmp_path: Path, data: Path
) -> None:
    ended = backtest(tmp_path, data, "--bracket")
    assert ended.status == 0, ended.stderr
    assert "Equity is of all markets together, the other figures of the main one." in ended.stdout


def test_calibrate_measures_the_market_that_is_named(tmp_path: Path, data: Path) -> None:
    userdir = user_folder(tmp_path, CONFIG.replace("[data/", f"[{data}/"))
    command = ("calibrate", "intensity", "-c", userdir / "config.yml")

    main = mmkit(*command, cwd=tmp_path)
    spot = mmkit(*command, "--market", "spot", cwd=tmp_path)
    refused = mmkit(*command, "--market", "spto", cwd=tmp_path)

    assert main.stdout.startswith("BTC/USDT:USDT: "), main.stderr
    assert spot.stdout.startswith("BTC/USDT: "), spot.stderr
    assert refused.status == 2
    assert "found 'spto'; it has main, spot" in refused.stderr


def test_a_sweep_has_the_equity_of_all_markets(data: Path) -> None:
    class Everywhere(Strategy):
        def quote(self, view: MarketView) -> dict[str, Quotes]:
            markets = {"main": view, **view.markets}
            return {
                name: Quotes(bid=(one.best_bid, 10), ask=(one.best_ask, 10))
                for name, one in markets.items()
                if one.best_bid is not None and one.best_ask is not None
            }

    config = yaml.safe_load(CONFIG.replace("[data/", f"[{data}/"))
    config["strategy"] = {"plugin": "Everywhere"}
    sets = {"strategy.every": ["1s", "2s"]}

    tried = sweep(config, sets, strategy=Everywhere)

    assert len(tried.tried) == 2
    for one, row in zip(tried.tried, tried.frame().itertuples(), strict=True):
        spot = one.report.markets["spot"]
        assert spot.fills > 0
        assert one.report.equity_of_all == one.report.equity + spot.equity
        assert row.equity_of_all == float(one.report.equity_of_all)


# --- a dry run on two exchanges -------------------------------------------------------------------

DRY = """
instrument: {{venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}}
data: {{plugin: binance, url: "ws://127.0.0.1:{usdm}/fstream", rest_url: "http://127.0.0.1:{usdm}"}}
markets:
  spot:
    instrument: {{venue: binance, market: spot, symbol: "BTC/USDT"}}
    data: {{plugin: binance, url: "ws://127.0.0.1:{spot}", rest_url: "http://127.0.0.1:{spot}"}}
strategy: {{plugin: hedged, every: 100ms}}
"""


@contextlib.contextmanager
def sandbox(folder: Path, symbol: str, seed: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """One exchange in a process of its own, and its port."""
    options = ("--port", "0", "--json", "--symbol", symbol, "--seed", seed)
    process = start("sandbox", *options, cwd=folder)
    assert process.stdout is not None
    try:
        port = urlsplit(json.loads(process.stdout.readline())["url"]).port
        assert port is not None
        yield process, port
    finally:
        process.terminate()
        process.communicate(timeout=10)


@pytest.fixture
def exchanges(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A user's folder configured for two exchanges, and the process of the second."""
    with (
        sandbox(tmp_path, "BTC/USDT:USDT", 3) as (_, usdm),
        sandbox(tmp_path, "BTC/USDT", 4) as (second, spot),
    ):
        yield user_folder(tmp_path, DRY.format(usdm=usdm, spot=spot)), second


def wait_for(userdir: Path, *words: str, seconds: float = 20) -> None:
    """Wait until a line of the journal holds all the words."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for path in (userdir / "results").glob("*/journal.jsonl"):
            if any(all(w in line for w in words) for line in path.read_text().splitlines()):
                return
        time.sleep(0.1)
    raise AssertionError(f"no entry with {words} in time")


def left_open(entries: list[dict[str, Any]]) -> set[tuple[str, int]]:
    """The orders that have not ended."""
    orders: set[tuple[str, int]] = set()
    for entry in entries:
        key = (entry["market"], entry.get("order_id", 0))
        match entry["type"]:
            case "SubmitOrder":
                orders.add(key)
            case "OrderCanceled" | "OrderRejected":
                orders.discard(key)
            case "OrderFilled" if entry["remaining"] == 0:
                orders.discard(key)
    return orders


def test_a_dry_run_on_two_exchanges_is_replayed_to_the_last_bit_and_can_be_measured(
    exchanges: tuple[Path, subprocess.Popen[str]], tmp_path: Path
) -> None:
    userdir, _ = exchanges

    ended = mmkit(
        *("trade", "-c", userdir / "config.yml", "--duration", "10s", "--json"), cwd=tmp_path
    )

    assert ended.status == 0, ended.stderr
    report = ended.json
    assert report["fills"] > 0
    assert report["markets"]["spot"]["fills"] > 0
    compared = mmkit("parity", report["folder"], "--json", cwd=tmp_path)
    assert compared.status == 0, compared.stderr
    assert compared.json["equal"] is True, compared.json["first_difference"]
    assert compared.json["events"] == report["events"] > report["markets"]["spot"]["events"] > 0
    entries = journal(Path(report["folder"]))
    assert compared.json["entries"] == len(entries)

    run = report["folder"]
    for market, told in (("main", report), ("spot", report["markets"]["spot"])):
        commands = told["orders"] + told["cancels"]
        measured = mmkit("calibrate", "latency", run, "--market", market, "--json", cwd=tmp_path)
        if commands < 20:  # how many there are is up to the market
            assert measured.status == 4
            assert f"{commands} commands of the run were answered" in measured.stderr
            continue
        assert measured.status == 0, measured.stderr
        assert measured.json["market"] == market
        assert measured.json["entry"]["count"] == commands
        shown = mmkit("calibrate", "latency", run, "--market", market, cwd=tmp_path)
        name, place = ("", "sim") if market == "main" else (", market spot", "markets.spot.sim")
        assert f"{report['run_id']}{name}: " in shown.stdout
        assert f"# under {place}:" in shown.stdout
    fitted = mmkit("calibrate", "queue", run, "--market", "spot", cwd=tmp_path)
    assert fitted.status == 4
    assert "0 orders of the run rested" in fitted.stderr  # it only takes there
    for command in ("latency", "queue"):
        refused = mmkit("calibrate", command, run, "--market", "spto", cwd=tmp_path)
        assert refused.status == 1
        assert "the run has no market 'spto'; it has main, spot" in refused.stderr


BOTH = """
from mmkit import Quotes, Strategy
from mmkit.events import FeedLost


class Both(Strategy):
    prices = {}

    def quote(self, view):
        for name, one in {"main": view, **view.markets}.items():
            self.prices.setdefault(name, one.best_bid - 9_000)
        return {name: Quotes(bid=(price, 10)) for name, price in self.prices.items()}

    def on_event(self, event):
        if isinstance(event, FeedLost):
            print("told", event.market, event.reason)
"""
"""Quotes far away, where it stays and nothing trades."""


def test_ctrl_c_pulls_the_quotes_of_both_markets_and_ends_at_once(
    exchanges: tuple[Path, subprocess.Popen[str]], tmp_path: Path
) -> None:
    userdir, _ = exchanges
    (userdir / "strategies" / "both.py").write_text(BOTH)
    process = start("trade", "-c", userdir / "config.yml", "-s", "both", cwd=tmp_path)
    for market in ("main", "spot"):
        wait_for(userdir, "OrderAccepted", f'"market":"{market}"')

    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    ended = Ended(process)

    assert time.monotonic() - began < 1.5
    assert ended.status == 130
    assert "Traceback" not in ended.stderr
    run = newest_run(userdir)
    entries = journal(run)
    assert left_open(entries) == set()
    stopped = max(e["ts_local"] for e in entries if e["type"] == "CancelOrder")
    last = {e["market"] for e in entries if e["type"] == "CancelOrder" and e["ts_local"] == stopped}
    assert last == {"main", "spot"}
    assert mmkit("parity", run, cwd=tmp_path).status == 0


def test_the_loss_of_one_feed_is_told_by_name_and_pulls_every_quote_until_it_is_back(
    exchanges: tuple[Path, subprocess.Popen[str]], tmp_path: Path
) -> None:
    userdir, second = exchanges
    (userdir / "strategies" / "both.py").write_text(BOTH)
    process = start("trade", "-c", userdir / "config.yml", "-s", "both", cwd=tmp_path)
    for market in ("main", "spot"):
        wait_for(userdir, "OrderAccepted", f'"market":"{market}"')
    second.terminate()
    wait_for(userdir, "FeedLost", '"reason":"connection"')
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    ended = Ended(process)

    assert ended.status == 130, ended.stderr
    assert "market=spot feed_lost reason=connection" in ended.stderr
    assert [line for line in ended.stdout.splitlines() if line.startswith("told")][2:] == [
        "told spot connection"
    ]
    run = newest_run(userdir)
    entries = journal(run)
    assert left_open(entries) == set()
    at = next(n for n, e in enumerate(entries) if e.get("reason") == "connection")
    assert (entries[at]["type"], entries[at]["market"]) == ("FeedLost", "spot")
    after = entries[at:]
    assert "SubmitOrder" not in {e["type"] for e in after}
    canceled = [(e["market"], e["ts_local"]) for e in after if e["type"] == "CancelOrder"]
    assert sorted(canceled) == [(market, entries[at]["ts_local"]) for market in ("main", "spot")]
    # The other feed went on.
    assert ended.stdout.count("gaps") == 2
    assert re.search(r"^events .* 0 gaps$", ended.stdout, re.M)
    assert re.search(r"^events .* 1 gaps$", ended.stdout, re.M)
    assert mmkit("parity", run, cwd=tmp_path).status == 0


def on_one_sandbox(folder: Path) -> Path:
    config = re.sub(r"data: \{\{.*?\}\}", "data: {{plugin: binance, endpoint: sandbox}}", DRY)
    return user_folder(folder, config.format() + "services: [{plugin: sandbox}]\n")


def test_the_service_sandbox_lists_the_symbol_of_every_market(tmp_path: Path) -> None:
    userdir = on_one_sandbox(tmp_path)

    looked = mmkit("doctor", "-c", userdir / "config.yml", cwd=tmp_path)
    ended = mmkit(
        *("trade", "-c", userdir / "config.yml", "--duration", "4s", "--json"), cwd=tmp_path
    )

    assert re.search(r"^ok +data binance +BTC/USDT:USDT, ", looked.stdout, re.M), looked.stdout
    assert re.search(r"^ok +data spot +BTC/USDT, ", looked.stdout, re.M), looked.stdout
    assert ended.status == 0, ended.stderr
    assert ended.json["orders"] > 0
    assert ended.json["markets"]["spot"]["trades"] > 0


def test_a_latency_file_of_any_market_is_kept_in_mind_for_the_replay(tmp_path: Path) -> None:
    userdir = on_one_sandbox(tmp_path)
    (tmp_path / "measured.csv").write_text("latency_ns\n2000000\n5000000\n40000000\n")
    latency = "markets.spot.sim={latency: {entry: {samples: measured.csv}}}"

    ended = mmkit(
        *("trade", "-c", userdir / "config.yml", "--duration", "3s", "--json", "--set", latency),
        cwd=tmp_path,
    )

    assert ended.status == 0, ended.stderr
    run = ended.json["folder"]
    assert mmkit("parity", run, "--json", cwd=tmp_path).json["equal"] is True
    (tmp_path / "measured.csv").write_text("latency_ns\n2000000\n5000000\n")
    changed = mmkit("parity", run, cwd=tmp_path)
    assert changed.status == 1
    assert "measured.csv: the file that" in changed.stderr


def test_a_recorded_latency_is_refused_in_a_dry_run_with_its_market(tmp_path: Path) -> None:
    userdir = on_one_sandbox(tmp_path)
    lines = [f"{1_700_000_000 + n}000000000,5000000" for n in range(3)]
    (tmp_path / "series.csv").write_text("\n".join(["ts_ns,latency_ns", *lines]))

    latency = "markets.spot.sim={latency: {response: {series: series.csv, max_gap: 1m}}}"
    ended = mmkit("trade", "-c", userdir / "config.yml", "--set", latency, cwd=tmp_path)

    assert ended.status == 3
    assert "error: markets.spot.sim.latency.response: 'series.csv' was recorded" in ended.stderr


def test_a_server_that_refuses_is_told_with_the_name_of_its_market(tmp_path: Path) -> None:
    with sandbox(tmp_path, "BTC/USDT:USDT", 3) as (_, usdm):
        with sandbox(tmp_path, "BTC/USDT", 4) as (_, spot):
            pass
        userdir = user_folder(tmp_path, DRY.format(usdm=usdm, spot=spot))
        ended = mmkit("trade", "-c", userdir / "config.yml", "--duration", "30s", cwd=tmp_path)

    assert ended.status == 5, ended.stderr
    assert f"error: market 'spot': http://127.0.0.1:{spot}" in ended.stderr
    assert "Traceback" not in ended.stderr
