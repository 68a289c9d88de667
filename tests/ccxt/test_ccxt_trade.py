"""A dry run from the command line on ccxt's streams, and its replay."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CONFIG = """
instrument: {venue: %s, market: %s, symbol: "%s"}
services: [{plugin: sandbox}]
data: {plugin: ccxt, endpoint: sandbox}
strategy: {plugin: join_best, every: 100ms, size: "0.01", max_position: "0.05"}
"""


def mmkit(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = "import sys; from mmkit.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", command, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        timeout=60,
        check=False,
    )


def trade(folder: Path, text: str, *more: object) -> subprocess.CompletedProcess[str]:
    (folder / "config.yml").write_text(text)
    words = ("trade", "-c", "config.yml", "--userdir", "user_data", "--json", *more)
    return mmkit(*words, cwd=folder)


def test_a_dry_run_on_ccxts_streams_quotes_and_its_replay_is_equal_to_the_last_bit(
    tmp_path: Path,
) -> None:
    ended = trade(tmp_path, CONFIG % ("binance", "usdm", "BTC/USDT:USDT"), "--duration", "3s")

    assert ended.returncode == 0, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    assert report["orders"] > 3
    assert report["gaps"] == 0
    assert any("levels a side" in note for note in report["feed"]["notes"])
    compared = mmkit("parity", report["folder"], "--json", cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert json.loads(compared.stdout)["equal"] is True
    assert json.loads(compared.stdout)["events"] == report["events"]


def test_a_mistake_in_the_venue_is_told_in_one_line_without_a_traceback(tmp_path: Path) -> None:
    text = (CONFIG % ("binanse", "spot", "BTC/USDT")).replace("endpoint: sandbox", "endpoint: live")

    ended = trade(tmp_path, text, "--duration", "5s")

    assert ended.returncode == 3
    assert "instrument.venue: ccxt.pro knows no 'binanse'; did you mean" in ended.stderr
    assert "Traceback" not in ended.stderr
