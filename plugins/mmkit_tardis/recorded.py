"""Tardis's files as one tape."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

from mmkit.errors import CaptureError
from mmkit.instruments import Instrument
from mmkit.tape import FeedStats, Tape, kept
from mmkit.tape.columns import Columns
from mmkit.tape.pieces import beginning, merged
from mmkit_tardis.chain import Chain
from mmkit_tardis.datasets import Dataset
from mmkit_tardis.files import TardisFile
from mmkit_tardis.rows import BookRows, rows_of

_log = logging.getLogger("mmkit.tardis")

ClockOffset = Literal["auto"] | int


async def build(
    instrument: Instrument, files: Sequence[TardisFile], clock_offset: ClockOffset, place: Path
) -> Tape:
    """Return what all files hold, in order of local_timestamp; it is kept at `place`.

    Raises:
        CaptureError: if a file cannot be read, or is not what is expected.
        OffGrid: if a price or amount does not fit the grid.
    """
    begun = time.perf_counter()
    stats = FeedStats()
    chains = _chains(files, stats)
    with kept.building(place), closing(Columns(instrument, place)) as columns:
        for rows in merged(chain.columns(instrument) for chain in chains):
            if not len(columns):
                columns.add_columns(beginning(rows))
            columns.add_columns(rows)
            await asyncio.sleep(0)  # so that Ctrl-C is heard
        if not len(columns):
            raise _no_rows(files, chains)
        _offset(clock_offset, chains, columns, stats)
        _note(files, chains, stats)
        tape = kept.made(columns, stats, place)
    _log.info(
        "tape built rows=%d seconds=%.1f path=%s", len(tape), time.perf_counter() - begun, place
    )
    return tape


def _offset(
    configured: ClockOffset, chains: Sequence[Chain], columns: Columns, stats: FeedStats
) -> None:
    if isinstance(configured, int):
        offset = configured
    else:
        nearest = min((c.nearest for c in chains if c.nearest is not None), default=0)
        # A clock that is ahead cannot be told from latency.
        offset = max(0, -nearest)
    stats.clock_offset_ns = [offset]
    if offset:
        columns.delay(0, len(columns), offset, 0)
        stats.notes.append(f"{offset} ns were added to the clock of Tardis's recorder")


def _chains(files: Sequence[TardisFile], stats: FeedStats) -> list[Chain]:
    """Return the files by what they hold; of one instant, what comes first is first.

    Raises:
        CaptureError: if two data types tell of the same.
    """
    by_type: dict[str, list[TardisFile]] = {}
    by_what: dict[str, Dataset] = {}
    for file in files:
        if (dataset := file.dataset) is None:
            continue
        other = by_what.setdefault(dataset.what, dataset)
        if other is not dataset:
            raise CaptureError(
                f"{file.path}: one data type that tells of the {dataset.what} was expected; found {other.name} "
                f"and {dataset.name}; choose with 'data.types', such as 'types: [{other.name}, trades]'"
            )
        by_type.setdefault(dataset.name, []).append(file)
    datasets = sorted(by_what.values(), key=lambda dataset: dataset.rank)
    no_book = "book" not in by_what
    return [Chain(by_type[each.name], rows_of(each, stats, is_book=no_book)) for each in datasets]


def _note(files: Sequence[TardisFile], chains: Sequence[Chain], stats: FeedStats) -> None:
    """Add to the notes what only the whole tells."""
    for chain in chains:
        if isinstance(chain.rows, BookRows) and (skipped := chain.rows.skipped):
            stats.notes.append(
                f"{skipped} lines of the book before the first snapshot of their file were skipped"
            )
    for file in files:
        if file.dataset is None:
            stats.notes.append(f"{file.path.name}: is empty: there was no data that day")
    if not stats.snapshots:
        stats.notes.append("the book is never known: the files hold neither a book nor best prices")


def _no_rows(files: Sequence[TardisFile], chains: Sequence[Chain]) -> CaptureError:
    paths = names([file.path for file in files])
    skipped = sum(chain.rows.skipped for chain in chains if isinstance(chain.rows, BookRows))
    if skipped:
        return CaptureError(
            f"{paths}: a snapshot of the book was expected; found none in {skipped} lines: a day's file begins "
            "with one; was it cut at the front?"
        )
    return CaptureError(
        f"{paths}: lines were expected; found none, which is how Tardis says that there is no data of that day"
    )


def names(paths: Sequence[Path]) -> str:
    """Return paths for a message."""
    return ", ".join(str(path) for path in paths)
