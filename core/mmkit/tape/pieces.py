"""Rows as columns, some at a time: put together and in order, on their way to a tape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mmkit.tape.rows import LAST, GapReason, Kind
from mmkit.tape.tape import NAMES

Piece = dict[str, npt.NDArray[Any]]
"""The five columns of some rows, by name."""


def piece(ts_exchange: Any, ts_local: Any, kind: Any, price: Any, quantity: Any) -> Piece:
    """Return rows as columns."""
    return {
        "ts_exchange": np.asarray(ts_exchange, np.int64),
        "ts_local": np.asarray(ts_local, np.int64),
        "kind": np.asarray(kind).astype(np.uint8),
        "price": np.asarray(price, np.int64),
        "quantity": np.asarray(quantity, np.int64),
    }


NOTHING = piece([], [], [], [], [])
"""No rows."""


def gap(reason: GapReason, ts_exchange: int, ts_local: int) -> Piece:
    """Return a GAP row: the book is unknown from here on."""
    return piece([ts_exchange], [ts_local], [Kind.GAP | LAST], [reason], [0])


def beginning(rows: Piece) -> Piece:
    """Return the first row of a tape, given those that follow: the book is not known yet."""
    return gap(GapReason.START, int(rows["ts_exchange"][0]), int(rows["ts_local"][0]))


def joined(pieces: Sequence[Piece]) -> Piece:
    """Return rows one after the other."""
    return {name: np.concatenate([each[name] for each in pieces]) for name in NAMES}


def merged(streams: Iterable[Iterator[Piece]]) -> Iterator[Piece]:
    """Yield the rows of all streams in order of ts_local; of one instant, stream by stream as they are given.

    Args:
        streams: Each in order of ts_local, in pieces of at least one row that end with the last row of an instant.
    """
    sources = list(streams)
    waiting = [next(source, None) for source in sources]
    while any(each is not None for each in waiting):
        # Up to here every stream is known: what comes later in each is later.
        cut = min(int(each["ts_local"][-1]) for each in waiting if each is not None)
        pieces: list[Piece] = []
        for n, each in enumerate(waiting):
            if each is None:
                continue
            count = int(np.searchsorted(each["ts_local"], cut, "right"))
            pieces.append({name: column[:count] for name, column in each.items()})
            rest = {name: column[count:] for name, column in each.items()}
            waiting[n] = rest if len(rest["kind"]) else next(sources[n], None)
        together = joined(pieces)
        order = np.argsort(together["ts_local"], kind="stable")
        yield {name: column[order] for name, column in together.items()}


def by_instant(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield the same rows in pieces that end with the last row of an instant, as `merged` needs them."""
    waiting = NOTHING
    for each in pieces:
        whole = joined([waiting, each])
        cut = int(np.searchsorted(whole["ts_local"], whole["ts_local"][-1]))
        if cut:
            yield {name: column[:cut] for name, column in whole.items()}
        waiting = {name: column[cut:] for name, column in whole.items()}
    if len(waiting["kind"]):
        yield waiting
