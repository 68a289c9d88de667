"""What a strategy sees of the market watch: in a dry run, in its replay, in a backtest."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
# Which quotes it wants depends on every statistic and on what it has heard, so that a difference shows in the orders.
STRATEGY = """
from mmkit import NO_QUOTES, MarketView, Quotes, Strategy
from mmkit.events import WatchEvent


class Cautious(Strategy):
    watches = True
    heard = 0

    def on_event(self, event):
        self.heard += isinstance(event, WatchEvent)

    def quote(self, view: MarketView) -> Quotes:
        now = view.watch
        if view.best_bid is None or view.best_ask is None or now.deviation is None:
            return NO_QUOTES
        size = view.instrument.lots("0.01")
        away = round(2 * now.deviation) + now.buys % 3 + now.flow % 5 + now.flow_trades % 2
        away += self.heard % 4
        if now.z is not None and abs(now.z) > 2:
            away += 7
        return Quotes(bid=(view.best_bid - away, size), ask=(view.best_ask + away, size))
"""
LIVE = """
instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}
services: [{plugin: sandbox}]
data: {plugin: binance, endpoint: sandbox}
strategy: {plugin: cautious, every: 100ms, on: [watch]}
watch: {window: 10, span: 2s, trades: 7, large_trade: "0.01", cooldown: 200ms, every: 300ms}
"""
RECORDED = f"""
instrument: {{venue: binance, market: usdm, symbol: "BTC/USDT:USDT", tick: "0.1", lot: "0.001"}}
data: {{plugin: capture, paths: ["{DATA}/binance_usdm/btcusdt_20240808.gz"]}}
strategy: {{plugin: cautious, every: 1s}}
"""


@pytest.fixture
def userdir(tmp_path: Path) -> Path:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "cautious.py").write_text(STRATEGY)
    return tmp_path


def mmkit(*arguments: object, cwd: Path) -> tuple[int, str, str]:
    code = "import sys; from mmkit.cli import main; sys.exit(main())"
    ended = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        timeout=100,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def run(command: str, config: str, userdir: Path, *more: object) -> tuple[int, Any, str]:
    (userdir / "config.yml").write_text(config)
    status, stdout, stderr = mmkit(
        *(command, "-c", "config.yml", "--userdir", ".", "--json", *more), cwd=userdir
    )
    return status, json.loads(stdout) if stdout else None, stderr


def test_a_dry_run_that_looks_at_the_watch_and_its_replay_give_the_same(userdir: Path) -> None:
    status, report, stderr = run("trade", LIVE, userdir, "--duration", "5s")
    assert status == 0, stderr
    assert report["orders"] > 5
    lines = (userdir / report["folder"] / "journal.jsonl").read_text().splitlines()
    noted = [json.loads(line) for line in lines]
    kinds = [entry["type"] for entry in noted]
    assert report["watch"] == {kind: kinds.count(kind) for kind in report["watch"]}
    told = [entry["ts_local"] for entry in noted if entry["type"] == "Statistics"]
    assert told == list(
        range(told[0], told[-1] + 1, 300_000_000)
    )  # at every multiple, none missing
    assert told[0] % 300_000_000 == 0
    assert len(told) > 10
    assert kinds.count("LargeTrade") > 3
    assert [entry["ts_local"] for entry in noted] == sorted(e["ts_local"] for e in noted)
    status, stdout, stderr = mmkit("parity", report["folder"], "--json", cwd=userdir)
    assert status == 0, stderr
    assert json.loads(stdout)["equal"] is True


def test_a_backtest_that_looks_at_the_watch_runs_on_the_reference_engine_and_says_why(
    userdir: Path,
) -> None:
    more = ("--no-folder", "--engine", "auto", "--set", "strategy.every=50ms")
    status, report, stderr = run("backtest", RECORDED, userdir, *more)
    assert status == 0, stderr
    assert report["orders"] > 50
    assert "the reference engine runs: " in stderr
    status, _, stderr = run("backtest", RECORDED, userdir, "--no-folder", "--engine", "compiled")
    assert status == 2
    assert "the market watch, at which the strategy looks, is not compiled" in stderr


def test_who_looks_at_the_watch_without_having_said_so_is_told_what_to_say(userdir: Path) -> None:
    path = userdir / "strategies" / "cautious.py"
    path.write_text(STRATEGY.replace("    watches = True\n", ""))
    for engine in ("reference", "compiled"):
        status, _, stderr = run("backtest", RECORDED, userdir, "--no-folder", "--engine", engine)
        assert status == 1
        assert "looks at view.watch, but does not declare it; say 'watches = True'" in stderr
