"""Rows as bytes that can be appended while a run goes on: what a journal holds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mmkit.instruments import Instrument
from mmkit.tape.rows import FeedStats, Row
from mmkit.tape.tape import NAMES, Tape

RECORD = np.dtype(
    [
        ("ts_exchange", "<i8"),
        ("ts_local", "<i8"),
        ("price", "<i8"),
        ("quantity", "<i8"),
        ("kind", "u1"),
    ]
)
"""One row on disk in a run's journal: 33 bytes, little-endian, appended while the run goes on."""


def records(rows: Iterable[Row]) -> bytes:
    """Return rows as the bytes of `RECORD`s, ready to be appended to a journal."""
    packed = [
        (ts_exchange, ts_local, price, quantity, kind)
        for ts_exchange, ts_local, kind, price, quantity in rows
    ]
    return np.array(packed, dtype=RECORD).tobytes()


def tape_from_records(instrument: Instrument, raw: bytes, stats: FeedStats | None = None) -> Tape:
    """Read back what `records` wrote; a record cut short by a crash at the very end is left out."""
    table = np.frombuffer(raw, dtype=RECORD, count=len(raw) // RECORD.itemsize)
    return Tape(instrument, {name: np.ascontiguousarray(table[name]) for name in NAMES}, stats)
