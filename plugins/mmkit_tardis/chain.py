"""The files of one kind of dataset, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmkit.errors import CaptureError
from mmkit.instruments import Instrument
from mmkit.tape.pieces import Piece
from mmkit.units import format_time
from mmkit_tardis.files import TardisFile
from mmkit_tardis.rows import Rows


class Chain:
    """The files of one kind of dataset, one after the other.

    Attributes:
        nearest: The smallest ``local - exchange`` of their lines, ns; `None` before there is any.
    """

    def __init__(self, files: Sequence[TardisFile], rows: Rows) -> None:
        self._files = sorted(files, key=lambda file: file.first_us)
        self.rows = rows
        self.nearest: int | None = None

    def columns(self, instrument: Instrument) -> Iterator[Piece]:
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
