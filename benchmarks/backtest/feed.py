"""hftbacktest's event arrays as a tape. For the benchmark only: no plugin, and nothing but numpy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.tape import LAST, SELL, Kind, Tape
from mmkit.testing import BTCUSDT

# hftbacktest 2.4.4, hftbacktest/types.py
_TRADE, _SOLD, _LOCAL = 2, 1 << 28, 1 << 30
_TYPE = 0xFF
_TICKS, _LOTS = 10, 1000  # a unit of price is ten ticks of 0.1, one of quantity a thousand lots


def load_feed(events: Path, snapshot: Path, limit: int | None = None) -> Tape:
    """Return the events of a feed, or the first `limit` of them, as a tape of BTCUSDT.

    A row that hftbacktest split in two, because the two clocks order it differently, has a part that only
    the exchange sees; the part seen here carries both times, so it alone is the row. Each event is a
    message of its own, as it is there. The snapshot goes first as one message, at the earliest time of
    any event: hftbacktest applies it before the run begins.

    Args:
        events: ``.npy``, or ``.npz`` with the key ``data``.
        snapshot: ``.npz`` with the key ``data``.
        limit: How many events at most.
    """
    rows = _read(events)[:limit]
    local = rows["ev"] & _LOCAL != 0
    if not local.all():
        rows = rows[local]
    book = _read(snapshot)
    after = _columns(rows)
    after["kind"] |= LAST
    start_ns = min(after["ts_local"].min(), after["ts_exchange"].min())
    before = _columns(book)
    before["kind"][-1] |= LAST
    before["ts_local"][:] = before["ts_exchange"][:] = start_ns
    head: dict[str, Any] = {
        "ts_exchange": start_ns,
        "ts_local": start_ns,
        "kind": Kind.SNAPSHOT,
        "price": 0,
        "quantity": 0,
    }
    columns = {
        name: np.concatenate([np.array([head[name]], dtype=column.dtype), before[name], column])
        for name, column in after.items()
    }
    return Tape(BTCUSDT, columns)


def kept_tape(events: Path, snapshot: Path, tapes: Path) -> Path:
    """Return the file that holds a feed's tape; builds it unless it is there and can be read."""
    kept = tape_path(events, tapes)
    try:
        if kept.exists():
            Tape.load(kept)
            return kept
    except DataError:
        pass  # of another version, or cut short: built anew
    load_feed(events, snapshot).save(kept)
    return kept


def tape_path(events: Path, tapes: Path) -> Path:
    """Return where the tape of an event file is kept, by its name, size and time of change."""
    found = os.stat(events)
    return tapes / f"{events.name}.{found.st_size}.{found.st_mtime_ns}.tape"


def _read(path: Path) -> npt.NDArray[Any]:
    loaded = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None)
    array: npt.NDArray[Any] = loaded["data"] if path.suffix == ".npz" else loaded
    return array


def _columns(rows: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    event = rows["ev"]
    kind = np.where(event & _TYPE == _TRADE, np.uint8(Kind.TRADE), np.uint8(Kind.LEVEL))
    kind |= np.where(event & _SOLD != 0, np.uint8(SELL), np.uint8(0))
    return {
        "ts_exchange": np.array(rows["exch_ts"], dtype=np.int64),
        "ts_local": np.array(rows["local_ts"], dtype=np.int64),
        "kind": kind,
        "price": np.rint(rows["px"] * _TICKS).astype(np.int64),
        "quantity": np.rint(rows["qty"] * _LOTS).astype(np.int64),
    }
