"""The benchmark of single predictions measures what it says, and ends with its figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_benchmark_of_the_models_ends_with_its_figures() -> None:
    command = [sys.executable, "-m", "benchmarks.signals_models", "--calls", "400"]
    run = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stderr
    for name in ("mmkit", "onnxruntime", "torch", "booster"):
        assert f" {name} " in run.stderr
    figures = json.loads(run.stdout.splitlines()[-1])
    assert set(figures) == {
        "lstm_p99_us",
        "lstm_p99_cpu_us",
        "lstm_vs_torch",
        "lightgbm_p99_us",
        "lightgbm_p99_cpu_us",
        "lightgbm_vs_predict",
    }
    assert all(figure > 0 for figure in figures.values())
