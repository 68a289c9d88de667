"""`make bench-latency` sends real orders through both routes; the last line is JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_it_measures_both_routes_and_ends_with_its_figures(tmp_path: Path) -> None:
    pytest.importorskip("ccxt")
    command = [sys.executable, "-m", "benchmarks.latency", "--rounds", "1", "--seconds", "4"]
    run = subprocess.run(
        [*command, "--rate", "40", "--journal", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout.splitlines()[-1])
    assert figures.keys() >= {"decide_p50_us", "decide_p99_us", "ccxt_p50_us", "direct_p50_us"}
    assert figures["orders"] > 0
    for name in figures:
        if name.endswith("_p50_us"):
            assert 0 < figures[name] <= figures[name.replace("p50", "p99")], run.stdout
    # What is part of another span is no longer than it.
    for part, whole in (
        ("decide", "placed"),
        ("ccxt_own", "ccxt"),
        ("direct_own", "direct"),
    ):
        assert figures[f"{part}_p50_us"] < figures[f"{whole}_p50_us"], run.stdout
