"""``bytes_per_row``: how much is mapped for a row of a kept tape, and the memory that a month of them takes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from mmkit.tape import Tape

from .bench import Bench, process
from .outcome import Finding, log

_FEED = "day"
_DAYS = 30


def bytes_per_row(bench: Bench) -> Finding:
    """The size of a kept tape by its rows; all of it is mapped."""
    log("bytes_per_row")
    kept = bench.tape_path(_FEED)
    size, rows = kept.stat().st_size, len(Tape.load(kept))
    return Finding(
        size / rows,
        (f"{_FEED}: {size:,} bytes for {rows:,} rows", *_month(kept, bench.places.tapes)),
    )


def _month(day: Path, folder: Path) -> list[str]:
    """Return what a day and a month of it take of memory, in words."""
    needed = 3 * _DAYS * day.stat().st_size
    if shutil.disk_usage(folder).free < needed:
        return [f"{_DAYS} days: not measured, {needed / 1e9:.0f} GB of disk are needed for a while"]
    lines = []
    for days in (1, _DAYS):
        path = folder / f"{days}_days.tape"
        try:
            built = _process(day, path, str(days))
            ran = _process(day, path, "run")
        finally:
            path.unlink(missing_ok=True)
        lines.append(
            f"{days} days, {built['rows']:,} rows: at most {built['peak_mb']:.0f} MB to write, "
            f"{ran['peak_mb']:.0f} MB to run over ({ran['orders']:,} orders)"
        )
    return lines


def _process(*arguments: Path | str) -> dict[str, Any]:
    _, printed = process([sys.executable, "-m", "benchmarks.backtest.month_process", *arguments])
    said: dict[str, Any] = json.loads(printed)
    return said
