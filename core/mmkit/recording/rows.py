"""Rows on disk: a short journal that is added to every second, and Parquet parts made of it.

A part appears whole or not at all, and its name follows from its journal's. So whatever is killed where,
a journal that is still there is either made into its part, or its part is there and it can go.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from mmkit.instruments import Instrument
from mmkit.recording.append import append, explained
from mmkit.recording.parts import parquet, put
from mmkit.recording.place import DAY_NS, Place
from mmkit.tape import LAST, RECORD, GapReason, Kind, Row, records

PART_NS = 300 * 10**9
"""A part holds the rows of so long, ns,"""
PART_ROWS = 1_000_000
"""or so many."""

_thread = ThreadPoolExecutor(1, "parts")
"""Makes the parts of all markets, one at a time, so that memory stays small."""


class RowLog:
    """Adds rows to the dataset of one market.

    Args:
        place: Where.
        instrument: What they are about; told in every part.
        part_ns: The longest time of a part.
        part_rows: About the most rows of a part.

    Attributes:
        parts: Parts written so far.
        stored: Their bytes.

    Raises:
        RunError: from every method, if the disk does not take it. What was written before is intact.
    """

    def __init__(
        self,
        place: Place,
        instrument: Instrument,
        *,
        part_ns: int = PART_NS,
        part_rows: int = PART_ROWS,
    ) -> None:
        self._place, self._instrument = place, instrument
        self._part_ns, self._part_rows = part_ns, part_rows
        self._rows: list[Row] = []
        self._journal: IO[bytes] | None = None
        self._first_ns = self._part_end = 0
        self._count = 0
        self._making: list[Future[int]] = []
        self.parts = self.stored = 0
        with explained(place.open):
            place.open.mkdir(parents=True, exist_ok=True)
        _thread.submit(_load)

    def recover(self, gap: Row | None) -> None:
        """Make parts of the journals that an earlier session left.

        Args:
            gap: Where that one was cut off, added behind what it left; if not given, its last row says.
        """
        with explained(self._place.open):
            for unfinished in self._place.open.glob("*.tmp"):
                unfinished.unlink()
            left = sorted(self._place.open.glob("*.rows"), key=lambda path: int(path.stem))
            for path in left:
                with path.open("r+b") as file:
                    table = _whole(file.read())
                    file.truncate(table.nbytes)
                if gap is None and path == left[-1] and len(table):
                    gap = gap_row(int(table["ts_exchange"][-1]), int(table["ts_local"][-1]) + 1)
            if gap is not None:
                own = self._path(gap[1])
                if own in left:  # an earlier try to recover was cut off
                    left.remove(own)
                    own.unlink()
                self.add([gap])
                self.flush()
                self._close_journal()
                left.append(own)
            for path in left:
                self._made(self._make(path))

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows as they were received, in order of ``ts_local``."""
        ts_local = rows[0][1]
        if ts_local >= self._part_end:
            self.flush()
            self.turn()
            self._first_ns = ts_local
            self._part_end = min(ts_local + self._part_ns, (ts_local // DAY_NS + 1) * DAY_NS)
        self._rows += rows

    def flush(self) -> None:
        """Hand everything added so far to the system."""
        for made in [one for one in self._making if one.done()]:
            self._making.remove(made)
            self._made(made.result())
        if not self._rows:
            return
        with explained(self._place.open):
            if self._journal is None:
                self._journal = self._path(self._first_ns).open("ab", buffering=0)
            append(self._journal, records((0, row) for row in self._rows))
        self._count += len(self._rows)
        self._rows.clear()
        if self._count >= self._part_rows:
            self.turn()

    def turn(self) -> None:
        """Have a part made of what was flushed so far, in a thread; `flush` tells if it failed."""
        if self._journal is not None:
            path = self._path(self._first_ns)
            self._close_journal()
            self._making.append(_thread.submit(self._make, path))

    def finish(self) -> None:
        """Flush, make the last part, and wait for all of them."""
        self.flush()
        self.turn()
        while self._making:
            self._made(self._making.pop(0).result())

    def close(self) -> None:
        """Let go of files; what is in no part yet is, when recording begins again.

        A part that is being made is waited for: who begins again would make it as well. If that failed, it is
        made then, and whoever asked has been told or is told then.
        """
        self._close_journal()
        wait(self._making)

    def _path(self, first_ns: int) -> Path:
        return self._place.open / f"{first_ns}.rows"

    def _close_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
        self._journal = None
        self._count = self._part_end = 0

    def _made(self, size: int) -> None:
        self.parts += size > 0
        self.stored += size

    def _make(self, journal: Path) -> int:
        """Make a part of a journal, which goes then; return its size, 0 if there was nothing to do."""
        part = self._place.part(int(journal.stem))
        size = 0
        with explained(part):
            table = np.frombuffer(journal.read_bytes(), dtype=RECORD)
            if len(table) and not part.exists():
                content = parquet(table, self._instrument)
                size = len(content)
                put(content, journal.with_suffix(".tmp"), part)
            journal.unlink()
        return size


def _load() -> None:
    """Load the library now, so that the end of a session does not wait for it."""
    import pyarrow.parquet  # noqa: F401


def gap_row(ts_exchange: int, ts_local: int) -> Row:
    """Return the row that says that nothing was recorded from here on."""
    return (ts_exchange, ts_local, Kind.GAP | LAST, GapReason.RECORDER, 0)


def _whole(raw: bytes) -> npt.NDArray[Any]:
    """Return the rows of whole messages: one that was cut short is no message."""
    table = np.frombuffer(raw, dtype=RECORD, count=len(raw) // RECORD.itemsize)
    ends = np.flatnonzero(table["kind"] & LAST)
    return table[: int(ends[-1]) + 1 if len(ends) else 0]
