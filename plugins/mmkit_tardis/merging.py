"""Rows of several files in the order in which they were received."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mmkit.errors import CaptureError
from mmkit.instruments import Instrument
from mmkit.tape import FeedStats
from mmkit.units import format_time
from mmkit_tardis.files import TardisFile
from mmkit_tardis.rows import Columns, Rows, joined


class Chain:
    """The files of one kind of dataset, one after the other.

    Attributes:
        nearest: The smallest ``local - exchange`` of their lines, ns; `None` before there is any.
    """

    def __init__(self, files: Sequence[TardisFile], rows: Rows) -> None:
        self._files = sorted(files, key=lambda file: file.first_us)
        self.rows = rows
        self.nearest: int | None = None

    def columns(self, instrument: Instrument) -> Iterator[Columns]:
        """Yield their rows, some at a time, in order of ts_local.

        Raises:
            CaptureError: if two of them hold the same time, or one cannot be read.
            OffGrid: if a price or amount is not on the grid.
        """
        end, before = -1, self._files[0]
        for file in self._files:
            self.rows.begin_file()
            for block in file.blocks(instrument):
                first = int(block.ts_local[0])
                if file is not before and first <= end:
                    assert file.dataset is not None
                    raise CaptureError(
                        f"{file.path}:{block.line}: {file.dataset.name} after {format_time(end)}, where "
                        f"{before.path} ends, was expected; found {format_time(first)}: what both hold would be "
                        "counted twice; leave one of them out of 'data.paths'"
                    )
                nearest = int((block.ts_local - block.ts_exchange).min())
                self.nearest = nearest if self.nearest is None else min(nearest, self.nearest)
                made = self.rows.take(block)
                end, before = int(block.ts_local[-1]), file
                if len(made["kind"]):
                    yield made


def merged(streams: Iterable[Iterator[Columns]]) -> Iterator[Columns]:
    """Yield the rows of all streams in order of ts_local; of one instant, stream by stream as they are given."""
    sources = list(streams)
    waiting = [next(source, None) for source in sources]
    while any(piece is not None for piece in waiting):
        # Up to here every stream is known: what comes later in each is later.
        cut = min(int(piece["ts_local"][-1]) for piece in waiting if piece is not None)
        pieces: list[Columns] = []
        for n, piece in enumerate(waiting):
            if piece is None:
                continue
            count = int(np.searchsorted(piece["ts_local"], cut, "right"))
            pieces.append({name: column[:count] for name, column in piece.items()})
            rest = {name: column[count:] for name, column in piece.items()}
            waiting[n] = rest if len(rest["kind"]) else next(sources[n], None)
        together = joined(pieces)
        order = np.argsort(together["ts_local"], kind="stable")
        yield {name: column[order] for name, column in together.items()}


def note_skipped(stats: FeedStats, skipped: int) -> None:
    """Note the lines of the book that came before a snapshot."""
    if skipped:
        stats.notes.append(
            f"{skipped} lines of incremental_book_L2 before the first snapshot of their file were skipped"
        )
