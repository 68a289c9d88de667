"""Rows on their way to becoming a tape."""

from __future__ import annotations

from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmkit.instruments import Instrument
from mmkit.tape.file import TapeWriter
from mmkit.tape.pieces import Piece
from mmkit.tape.rows import FeedStats, Row
from mmkit.tape.tape import NAMES, Tape

_CHUNK = 1 << 20
"""Rows of a piece. What of it is not filled takes no memory, and a tape that fits one is not copied."""
_KEPT = 8
"""Full pieces kept in memory; beyond them all go to disk, so that a month needs no more memory than a day."""
_WAITING = 1 << 16
"""Rows kept as tuples, which take ten times the room."""
_ORDER = ("ts_exchange", "ts_local", "kind", "price", "quantity")


class Columns:
    """Takes rows in, one after the other or as columns.

    They lie in pieces of one size, so that there is never more than the tape, a piece, and one column twice.

    Args:
        instrument: What the rows are about.
        path: Where the tape will be, if it is too long to be kept in memory.
    """

    def __init__(self, instrument: Instrument, path: Path) -> None:
        self._instrument, self._path = instrument, path
        self._writer: TapeWriter | None = None
        self._written = 0
        self._pieces: list[Piece] = []
        self._filled = _CHUNK  # of the last piece
        self._rows: list[Row] = []

    def __len__(self) -> int:
        filled = len(self._pieces) * _CHUNK - (_CHUNK - self._filled) if self._pieces else 0
        return self._written + filled + len(self._rows)

    @property
    def on_disk(self) -> bool:
        """Whether `tape` writes the file itself."""
        return self._writer is not None

    def add(self, rows: list[Row]) -> None:
        """Add some rows.

        Raises:
            OSError: if the disk does not take what memory should not hold.
        """
        self._rows += rows
        if len(self._rows) >= _WAITING:
            self._pack()

    def add_columns(self, columns: Piece) -> None:
        """Add the rows of some columns, which are copied.

        Raises:
            OSError: as `add`.
        """
        self._pack()
        done, count = 0, len(columns["kind"])
        while done < count:
            if self._filled == _CHUNK:
                if len(self._pieces) >= (_KEPT if self._writer is None else 1):
                    self._write()
                self._pieces.append(
                    {name: _room("u1" if name == "kind" else "<i8") for name in NAMES}
                )
                self._filled = 0
            some = min(count - done, _CHUNK - self._filled)
            for name, piece in self._pieces[-1].items():
                piece[self._filled : self._filled + some] = columns[name][done : done + some]
            self._filled += some
            done += some

    def delay(self, start: int, stop: int, by: int, least: int) -> None:
        """Add `by` ns to the local times of rows from `start` to `stop`; none is then before `least`.

        Raises:
            OSError: as `add`.
        """
        self._pack()
        if self._writer is not None:
            self._write()
            self._writer.delay(start, stop, by, least)
            return
        for number, piece in enumerate(self._pieces):
            first = number * _CHUNK
            part = piece["ts_local"][max(start - first, 0) : max(stop - first, 0)]
            part += by
            np.maximum(part, least, out=part)

    def tape(self, stats: FeedStats) -> Tape:
        """Return them all as a tape; nothing can be added afterwards.

        Raises:
            OSError: as `add`.
        """
        self._pack()
        if self._writer is not None:
            self._write()
            with self._writer as writer:
                return writer.finish(stats)
        return Tape(self._instrument, self._joined(), stats)

    def close(self) -> None:
        """Leave nothing behind on the disk but a finished tape."""
        if self._writer is not None:
            self._writer.close()

    def _joined(self) -> Piece:
        count = len(self)
        if len(self._pieces) == 1:
            return {name: column[:count] for name, column in self._pieces.pop().items()}
        whole: Piece = {}
        for name in NAMES:
            column = whole[name] = np.empty(count, np.uint8 if name == "kind" else np.int64)
            for number, piece in enumerate(self._pieces):
                part = column[number * _CHUNK : (number + 1) * _CHUNK]
                part[:] = piece.pop(name)[: len(part)]
        return whole

    def _pack(self) -> None:
        if self._rows:
            table = np.array(self._rows, dtype=np.int64).T
            self._rows = []
            self.add_columns(dict(zip(_ORDER, table, strict=True)))

    def _write(self) -> None:
        """Hand every piece to the disk."""
        if self._writer is None:
            self._writer = TapeWriter(self._path, self._instrument)
        for number, piece in enumerate(self._pieces, 1):
            count = self._filled if number == len(self._pieces) else _CHUNK
            self._writer.add({name: column[:count] for name, column in piece.items()})
            self._written += count
        self._pieces, self._filled = [], _CHUNK


def _room(dtype: str) -> npt.NDArray[Any]:
    """Return room for a piece of a column; let go, it is the system's again, which the heap's might not be."""
    return np.frombuffer(mmap(-1, _CHUNK * np.dtype(dtype).itemsize), dtype)
