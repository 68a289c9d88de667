"""Rows as bytes that can be appended while a run goes on: what a journal holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from mmkit.instruments import Instrument
from mmkit.tape.rows import LAST, FeedStats, Row
from mmkit.tape.tape import NAMES, Tape

RECORD = np.dtype(
    [
        ("ts_exchange", "<i8"),
        ("ts_local", "<i8"),
        ("price", "<i8"),
        ("quantity", "<i8"),
        ("kind", "u1"),
        ("market", "u1"),
    ]
)
"""One row on disk in a run's journal: 34 bytes, little-endian, appended while the run goes on."""


def records(rows: Iterable[tuple[int, Row]]) -> bytes:
    """Return rows, each with the number of its market, as the bytes of `RECORD`s."""
    packed = [
        (ts_exchange, ts_local, price, quantity, kind, market)
        for market, (ts_exchange, ts_local, kind, price, quantity) in rows
    ]
    return np.array(packed, dtype=RECORD).tobytes()


def tape_from_records(
    instrument: Instrument, raw: bytes, stats: FeedStats | None = None, market: int = 0
) -> Tape:
    """Read back what `records` wrote of one market; a record cut short by a crash at the very end is left out."""
    table = _table(raw)
    table = table[table["market"] == market]
    return Tape(instrument, {name: np.ascontiguousarray(table[name]) for name in NAMES}, stats)


def messages_from_records(raw: bytes) -> list[tuple[int, list[Row]]]:
    """Read back what `records` wrote as messages, each with the number of its market, as they were received."""
    messages: list[tuple[int, list[Row]]] = []
    message: list[Row] = []
    of = 0
    table = _table(raw)
    columns = (table[name].tolist() for name in (*NAMES, "market"))
    for *row, market in zip(*columns, strict=True):
        if message and market != of:
            messages.append((of, message))
            message = []
        of = market
        message.append((row[0], row[1], row[2], row[3], row[4]))
        if row[2] & LAST:
            messages.append((of, message))
            message = []
    if message:
        messages.append((of, message))
    return messages


def _table(raw: bytes) -> npt.NDArray[Any]:
    return np.frombuffer(raw, dtype=RECORD, count=len(raw) // RECORD.itemsize)
