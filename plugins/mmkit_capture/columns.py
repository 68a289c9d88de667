"""Rows on their way to becoming columns."""

from __future__ import annotations

from mmap import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

from mmkit.tape import COLUMNS, Row

_CHUNK = 1 << 20
"""Rows of a piece. What of it is not filled takes no memory, and a tape that fits one is not copied."""
_WAITING = 1 << 16
"""Rows kept as tuples, which take ten times the room."""
_ORDER = ("ts_exchange", "ts_local", "kind", "price", "quantity")


class Columns:
    """Takes rows in, one after the other or as columns.

    They lie in pieces of one size, so that there is never more than the tape, a piece, and one column twice.
    """

    def __init__(self) -> None:
        self._pieces: list[dict[str, npt.NDArray[Any]]] = []
        self._filled = _CHUNK  # of the last piece
        self._rows: list[Row] = []

    def __len__(self) -> int:
        filled = len(self._pieces) * _CHUNK - (_CHUNK - self._filled) if self._pieces else 0
        return filled + len(self._rows)

    def add(self, rows: list[Row]) -> None:
        """Add some rows."""
        self._rows += rows
        if len(self._rows) >= _WAITING:
            self._pack()

    def add_columns(self, columns: dict[str, npt.NDArray[Any]]) -> None:
        """Add the rows of some columns, which are copied."""
        self._pack()
        done, count = 0, len(columns["kind"])
        while done < count:
            if self._filled == _CHUNK:
                self._pieces.append({name: _room(dtype) for name, dtype in COLUMNS})
                self._filled = 0
            some = min(count - done, _CHUNK - self._filled)
            for name, piece in self._pieces[-1].items():
                piece[self._filled : self._filled + some] = columns[name][done : done + some]
            self._filled += some
            done += some

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return them all; nothing can be added afterwards."""
        self._pack()
        count = len(self)
        if len(self._pieces) == 1:
            return {name: column[:count] for name, column in self._pieces.pop().items()}
        whole: dict[str, npt.NDArray[Any]] = {}
        for name, dtype in COLUMNS:
            column = whole[name] = np.empty(count, dtype)
            for number, piece in enumerate(self._pieces):
                part = column[number * _CHUNK : (number + 1) * _CHUNK]
                part[:] = piece.pop(name)[: len(part)]
        return whole

    def _pack(self) -> None:
        if self._rows:
            table = np.array(self._rows, dtype=np.int64).T
            self._rows = []
            self.add_columns(dict(zip(_ORDER, table, strict=True)))


def _room(dtype: str) -> npt.NDArray[Any]:
    """Return room for a piece of a column; let go, it is the system's again, which the heap's might not be."""
    return np.frombuffer(mmap(-1, _CHUNK * np.dtype(dtype).itemsize), dtype)
