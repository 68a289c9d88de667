"""Marked keys, everything run with them, and a search: in what was printed, logged, written, and raised.

Live runs are searched in test_live_runs.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from in_process import mmkit
from processes import SHARED, write_config

MARKS = {"SCAN_KEY": "MARKEDKEY71625", "SCAN_SECRET": "MARKEDSECRET71625"}
CAPTURE = SHARED / "binance_usdm" / "btcusdt_20240718.gz"
CONFIG = """
mode: dry_run
instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT", tick: "0.1", lot: "0.001"}
services: [{plugin: sandbox}]
data: {plugin: binance, endpoint: sandbox}
venue: {plugin: PLUGIN, endpoint: sandbox, key: "${SCAN_KEY}", secret: "${SCAN_SECRET}"}
strategy: {plugin: join_best, every: 100ms, size: "0.01", max_position: "0.05"}
"""
RAISES = (
    "import os\n\nfrom mmkit import Strategy\n\n\n"
    "class Raises(Strategy):\n"
    "    def quote(self, view):\n"
    "        return 1 / 0\n"
)


@pytest.mark.parametrize("plugin", ["ccxt", "binance"])
def test_no_key_is_found_in_anything_that_a_dry_run_or_a_backtest_leaves(
    plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in MARKS.items():
        monkeypatch.setenv(name, value)
    userdir = write_config(tmp_path / "user_data", CONFIG.replace("PLUGIN", plugin))
    (userdir / "strategies" / "raises.py").write_text(RAISES)
    config = ("-c", userdir / "config.yml")
    backtest = ("--set", "data.plugin=capture", "--set", f'data.paths=["{CAPTURE}"]')

    ended = {
        "show": mmkit("config", "show", *config, cwd=tmp_path),
        "check": mmkit("config", "check", *config, "--set", "mode=live", cwd=tmp_path),
        "wrong": mmkit("config", "check", *config, "--set", "venue.keys=1", cwd=tmp_path),
        "trade": mmkit("trade", *config, "--duration", "2s", "-vv", cwd=tmp_path),
        "raises": mmkit("trade", *config, "-s", "raises", "-vv", cwd=tmp_path),
        "backtest": mmkit("backtest", *config, *backtest, "-v", "--journal", "all", cwd=tmp_path),
        "parity": mmkit("parity", "last", "-v", "--userdir", userdir, cwd=tmp_path),
        "unasked": mmkit("trade", *config, "--set", "mode=live", "-vv", cwd=tmp_path),
    }

    # That each did what it was meant to: a search where nothing happened finds nothing.
    assert {name: one.status for name, one in ended.items() if name != "parity"} == {
        "show": 0,
        "check": 3,
        "wrong": 3,
        "trade": 0,
        "raises": 1,
        "backtest": 0,
        "unasked": 3,
    }
    assert "***" in ended["show"].stdout
    assert "ZeroDivisionError" in ended["raises"].stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"journal.jsonl", "report.json", "config.yml"} <= {path.name for path in written}
    for mark in MARKS.values():
        for name, one in ended.items():
            assert mark not in one.stdout + one.stderr, name
        assert [path for path in written if mark.encode() in path.read_bytes()] == []
