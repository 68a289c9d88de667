"""hftbacktest's events: an ``.npz`` with the key ``data``, one row of 64 bytes an event.

Format: hftbacktest 2.4.4, ``hftbacktest/types.py`` (``event_dtype`` and the flags) and
``hftbacktest/data/validation.py`` (``correct_event_order``: a row that the two clocks order differently is split in
two). Prices and quantities are floats, times ns since the epoch.

What hftbacktest does not know becomes what it does: where the book becomes unknown, every level is taken away; what a
snapshot does not hold is taken away before it. Best prices of a stream of their own, mark prices, fundings and prints
off the book are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from mmkit.errors import DataError, OffGrid
from mmkit.formats.tables import decimals
from mmkit.instruments import Instrument
from mmkit.tape import KIND, LAST, NAMES, SELL, FeedStats, Kind, Tape

DEPTH, TRADE, SNAPSHOT = 1, 2, 4
EXCHANGE, LOCAL, BUYS, SELLS = 1 << 31, 1 << 30, 1 << 29, 1 << 28
_TYPE = 0xFF

EVENT = np.dtype(
    [
        ("ev", "<u8"),
        ("exch_ts", "<i8"),
        ("local_ts", "<i8"),
        ("px", "<f8"),
        ("qty", "<f8"),
        ("order_id", "<u8"),
        ("ival", "<i8"),
        ("fval", "<f8"),
    ]
)

Columns = dict[str, npt.NDArray[Any]]
Ints = npt.NDArray[np.int64]

_OFF_GRID = 1e-6
"""Of a step; floats of prices lie some 1e-9 of a step beside it."""


def save_events(tape: Tape, path: Path) -> list[str]:
    """Write a tape as events; return what was left out, in words.

    Raises:
        OSError: if it cannot be written.
    """
    events = events_of(tape)
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with unfinished.open("wb") as file:
            np.savez_compressed(file, data=events)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    what = tape.kind & KIND
    words = []
    for kind in (Kind.BEST, Kind.MARK, Kind.FUNDING, Kind.OFF_BOOK):
        if count := int((what == kind).sum()):
            words.append(f"{count:,} rows of {kind.name.lower()} were left out: it has none")
    return words


def events_of(tape: Tape) -> npt.NDArray[Any]:
    """Return a tape as events, in both orders, dtype `EVENT`."""
    rows = _rows(tape)
    count = len(rows["kind"])
    events = np.zeros(count, EVENT)
    events["ev"] = rows["kind"]
    events["exch_ts"], events["local_ts"] = rows["ts_exchange"], rows["ts_local"]
    events["px"] = decimals(rows["price"], tape.instrument.tick)
    events["qty"] = decimals(rows["quantity"], tape.instrument.lot)
    order = np.argsort(events["exch_ts"], kind="stable")
    taken, flags = _both_orders(order)
    both: npt.NDArray[Any] = events[taken]
    both["ev"] |= flags
    return both


def _rows(tape: Tape) -> Columns:
    """Return what hftbacktest has events for, ``kind`` being its type and side, in local order."""
    what = tape.kind & KIND
    price, quantity = tape.price, tape.quantity
    side = np.where(tape.kind & SELL, SELLS, BUYS).astype(np.uint64)
    event = np.select([what == Kind.TRADE, what == Kind.LEVEL], [TRADE, DEPTH], 0).astype(np.uint64)
    special = np.flatnonzero((what == Kind.SNAPSHOT) | (what == Kind.GAP)).tolist()
    # Each part: the rows up to a special one, then what that takes away.
    columns: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in NAMES}
    alive = np.empty(0, np.int64)  # levels: price, and the side in the lowest bit
    start = 0
    for end in [*special, len(tape)]:
        levels = start + np.flatnonzero(what[start:end] == Kind.LEVEL)
        alive = _alive(alive, _keys(tape, price, levels), quantity[levels])
        kept = start + np.flatnonzero(event[start:end])
        _add(columns, tape, kept, price[kept], quantity[kept], (event | side)[kept])
        if end == len(tape):
            break
        gone = alive
        if what[end] == Kind.SNAPSHOT:
            filled = end + int(np.argmax(tape.kind[end:] & LAST != 0))
            told = end + np.flatnonzero(what[end : filled + 1] == Kind.LEVEL)
            event[told] = SNAPSHOT
            gone = np.setdiff1d(alive, _keys(tape, price, told))
        sides = np.where(gone & 1, SELLS, BUYS).astype(np.uint64) | np.uint64(DEPTH)
        _add(
            columns, tape, np.full(len(gone), end), gone >> 1, np.zeros(len(gone), np.int64), sides
        )
        alive = np.setdiff1d(alive, gone) if what[end] == Kind.SNAPSHOT else alive[:0]
        start = end
        what[end] = 0  # done with
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def _keys(tape: Tape, price: Ints, rows: Ints) -> Ints:
    keys: Ints = price[rows] << 1 | (tape.kind[rows] & SELL != 0)
    return keys


def _alive(before: Ints, keys: Ints, quantities: Ints) -> Ints:
    """Return which levels there are after some were told anew; the last word counts."""
    told, at = np.unique(keys[::-1], return_index=True)
    there = quantities[::-1][at] > 0
    return np.union1d(np.setdiff1d(before, told[~there]), told[there])


def _add(
    columns: dict[str, list[npt.NDArray[Any]]],
    tape: Tape,
    rows: Ints,
    price: Ints,
    quantity: Ints,
    kind: npt.NDArray[np.uint64],
) -> None:
    columns["ts_exchange"].append(tape.ts_exchange[rows])
    columns["ts_local"].append(tape.ts_local[rows])
    columns["price"].append(price)
    columns["quantity"].append(quantity)
    columns["kind"].append(kind)


@njit(cache=True)
def _both_orders(order: Any) -> Any:
    """Return row numbers and flags, so that either clock's part is in that clock's order.

    Args:
        order: The rows, which are in local order, in that of the venue's clock.
    """
    count = len(order)
    taken = np.empty(2 * count, np.int64)
    flags = np.empty(2 * count, np.uint64)
    done = np.zeros(count, np.bool_)  # told to the exchange
    out = venue = local = 0
    while local < count:
        if venue < count and order[venue] == local:
            taken[out], flags[out] = local, EXCHANGE | LOCAL
            done[local] = True
            venue += 1
            local += 1
        elif done[local]:
            taken[out], flags[out] = local, LOCAL
            local += 1
        else:
            taken[out], flags[out] = order[venue], EXCHANGE
            done[order[venue]] = True
            venue += 1
        out += 1
    return taken[:out], flags[:out]


def load_events(path: Path, instrument: Instrument) -> Tape:
    """Read events as a tape.

    Of a row that was split, the part that is received carries both times, so it alone is the row. Consecutive
    changes of the book with the same times are one message. The book becomes known with the first snapshot; in a
    file without any it is known from the first event on, as hftbacktest takes it.

    Raises:
        DataError: if it holds no events, or others than changes of the book, snapshots of it and trades.
        OffGrid: if a price or quantity is not on the instrument's grid.
    """
    try:
        with np.load(path) as found:
            events = found["data"].astype(EVENT)
    except (KeyError, ValueError, TypeError, OSError, EOFError) as error:
        raise DataError(
            f"{path}: an .npz with hftbacktest's events under 'data' was expected; {error}"
        ) from error
    flagged = events["ev"] & (EXCHANGE | LOCAL) != 0
    if flagged.any():
        events = events[events["ev"] & LOCAL != 0]
    if not len(events):
        raise DataError(f"{path}: holds no events")
    what = (events["ev"] & _TYPE).astype(np.int64)
    if (other := np.flatnonzero(~np.isin(what, (DEPTH, TRADE, SNAPSHOT)))).size:
        row = int(other[0])
        raise DataError(
            f"{path}: event {row}: changes of the book (1), trades (2) and snapshots (4) were expected; found type "
            f"{what[row]}; leave such events out"
        )
    return Tape(instrument, *_told(path, events, what, instrument))


def _told(
    path: Path, events: npt.NDArray[Any], what: Ints, instrument: Instrument
) -> tuple[Columns, FeedStats]:
    ts_exchange, ts_local = events["exch_ts"], events["local_ts"]
    ends = np.ones(len(events), np.bool_)
    same = (np.diff(ts_exchange) == 0) & (np.diff(ts_local) == 0) & (np.diff(what) == 0)
    ends[:-1] = ~(same & (what[:-1] != TRADE))
    kind = np.where(what == TRADE, Kind.TRADE, Kind.LEVEL).astype(np.uint8)
    kind |= np.where(events["ev"] & SELLS != 0, SELL, 0).astype(np.uint8)
    kind |= np.where(ends, LAST, 0).astype(np.uint8)
    columns: Columns = {
        "ts_exchange": ts_exchange.astype(np.int64),
        "ts_local": ts_local.astype(np.int64),
        "kind": kind,
        "price": _steps(path, events["px"], instrument, "price"),
        "quantity": _steps(path, events["qty"], instrument, "quantity"),
    }
    begun = np.concatenate([[True], ends[:-1]])
    snapshots = np.flatnonzero(begun & (what == SNAPSHOT))
    stats = FeedStats(messages=int(ends.sum()), snapshots=len(snapshots))
    head = {"ts_exchange": int(ts_exchange.min()), "ts_local": int(ts_local[0])}
    first: dict[str, list[int]] = {name: [] for name in NAMES}
    marks = [(Kind.GAP | LAST)]
    if not len(snapshots):
        marks.append(Kind.SNAPSHOT | LAST)
        stats.notes.append(
            "the events hold no snapshot: the book was taken as known from the first on"
        )
    for mark in marks:
        for name in NAMES:
            first[name].append(head.get(name, mark if name == "kind" else 0))
    for name in NAMES:
        told = columns[name]
        opening = told[snapshots] if name.startswith("ts") else np.zeros(len(snapshots), told.dtype)
        if name == "kind":
            opening = np.full(len(snapshots), Kind.SNAPSHOT, told.dtype)
        told = np.insert(told, snapshots, opening)
        columns[name] = np.concatenate([np.array(first[name], told.dtype), told])
    return columns, stats


def _steps(path: Path, values: npt.NDArray[np.float64], instrument: Instrument, what: str) -> Ints:
    """Return floats as whole ticks or lots."""
    step = instrument.tick if what == "price" else instrument.lot
    numerator, denominator = step.as_integer_ratio()
    exact = values * denominator / numerator
    near = np.rint(exact)
    if (
        off := np.flatnonzero(~(np.abs(exact - near) <= _OFF_GRID * np.maximum(1, near * 1e-6)))
    ).size:
        row = int(off[0])
        raise OffGrid(
            f"{path}: event {row}: {what} {values[row]} is not a multiple of {step}; is that the grid of "
            "these events?"
        )
    return near.astype(np.int64)
