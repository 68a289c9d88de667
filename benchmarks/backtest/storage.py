"""``bytes_per_row``: how much is mapped for a row of a kept tape."""

from __future__ import annotations

from mmkit.tape import Tape

from .bench import Bench
from .outcome import Finding, log

_FEED = "day"


def bytes_per_row(bench: Bench) -> Finding:
    """The size of a kept tape by its rows; all of it is mapped."""
    log("bytes_per_row")
    kept = bench.tape_path(_FEED)
    size, rows = kept.stat().st_size, len(Tape.load(kept))
    return Finding(
        size / rows,
        (
            f"{_FEED}: {size:,} bytes for {rows:,} rows",
            "not measured: the peak memory of a month streamed by day, as there is no such streaming yet",
        ),
    )
