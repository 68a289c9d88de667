"""`make bench-signals` measures what it says; the last line is JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_benchmark_of_the_features_ends_with_its_figures() -> None:
    command = [sys.executable, "-m", "benchmarks.signals", "--only", "features"]
    run = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stderr
    *table, last = run.stdout.splitlines()
    assert sum("level 1" in line for line in table) == 2
    figures = json.loads(last)
    assert 0 < figures["feature_us"] < 100
    assert figures["batch_rows_per_s"] > 100_000
