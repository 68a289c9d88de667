"""`make bench-signals` measures what it says; the last line is JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.signals", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


# Twelve seconds of the CPU's time; where a dozen others want it, a minute.
@pytest.mark.timeout(240)
def test_it_ends_with_all_its_figures() -> None:
    run = bench("--messages", "2000", "--repeats", "1", "--calls", "400", "--windows", "512")
    assert run.returncode == 0, run.stderr
    *table, last = run.stdout.splitlines()
    figures = json.loads(last)
    # What others read: names that stay.
    assert set(figures) == {
        "feature_us",
        "feature_cpu_us",
        "batch_rows_per_s",
        "batch_rows_per_cpu_s",
        "lstm_us",
        "lstm_p99_us",
        "lstm_p99_cpu_us",
        "lstm_vs_torch",
        "lstm_vs_onnxruntime",
        "lightgbm_us",
        "lightgbm_p99_us",
        "lightgbm_p99_cpu_us",
        "lightgbm_vs_predict",
        "epoch_s",
        "epoch_cpu_s",
        "epoch_vs_torch",
        "epoch_cpu_vs_torch",
    }
    assert all(figure > 0 for figure in figures.values())
    assert sum("level 1" in line for line in table) == 2
    for candidate in ("onnxruntime", "torch", "Booster.predict", "the plain loop in torch"):
        assert sum(line.startswith(f"  {candidate} ") for line in table) == 1
    # Far from what must be, for a machine that is busy: what is wrong by orders of magnitude shows.
    assert figures["feature_us"] < 100
    assert figures["batch_rows_per_s"] > 100_000
    assert figures["lstm_vs_torch"] > 1
    assert figures["lightgbm_vs_predict"] > 1


def test_a_part_is_measured_alone_and_one_that_is_not_there_is_told() -> None:
    run = bench("--only", "lightgbm", "--calls", "80")
    assert run.returncode == 0, run.stderr
    assert all(name.startswith("lightgbm") for name in json.loads(run.stdout.splitlines()[-1]))
    wrong = bench("--only", "lightgbm,lsmt")
    assert wrong.returncode == 2
    assert "lsmt is none of features, lstm, lightgbm, epoch" in wrong.stderr
