"""`make bench-feed` measures what it says: nothing is lost, and the last line is JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_benchmark_of_the_feed_ends_with_its_figures() -> None:
    pytest.importorskip("ccxt")
    pytest.importorskip("orjson")
    command = [sys.executable, "-m", "benchmarks.feed", "--updates", "4000", "--seconds", "2"]
    command += ["--rounds", "1"]
    run = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stderr
    *table, last = run.stdout.splitlines()
    assert any("4,000 of 4 levels, nothing lost, book as computed apart" in line for line in table)
    figures = json.loads(last)
    assert set(figures) == {"updates_per_s", "p99_us_at_5k", "vs_ccxt"}
    assert all(figure > 0 for figure in figures.values())


def test_the_benchmark_of_many_symbols_compares_every_book_and_ends_with_its_figures() -> None:
    command = [sys.executable, "-m", "benchmarks.feed.many", "--symbols", "8", "--minutes", "0.05"]
    run = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout.splitlines()[-1])
    assert (figures["symbols"], figures["books_equal"], figures["gaps"]) == (8, 8, 0)
    assert figures["connections"] == {"spot": 1, "usdm": 2}
    assert figures["refused_429"] == 0
    assert figures["updates"] > 0
    assert 0 < figures["p50_us"] <= figures["p99_us"]
