"""Dumps of data.binance.vision as one tape."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

from mmkit.errors import CaptureError, Mistake
from mmkit.instruments import Instrument, InstrumentSpec
from mmkit.tape import KIND, FeedStats, Kind, Tape, kept
from mmkit.tape.columns import Columns
from mmkit.tape.pieces import beginning, by_instant, merged
from mmkit_capture.choice import names
from mmkit_capture.dumps import KINDS, As, DumpFile, Found, is_dump, note, pieces_of

ByKind = Mapping[str, list[DumpFile]]
"""Dumps by their kind; of one instant, the first kind is first."""

VERSION = 1
"""Raised whenever the same dumps would give other rows."""


def all_dumps(paths: Sequence[Path]) -> bool:
    """Return whether the files are dumps.

    Raises:
        CaptureError: if some of them are and some are captures.
    """
    dumps = [path for path in paths if is_dump(path)]
    if dumps and len(dumps) < len(paths):
        other = next(path for path in paths if not is_dump(path))
        raise CaptureError(
            f"{dumps[0]}, {other}: captures or dumps of data.binance.vision were expected; found both, whose "
            "clocks are not the same: dumps hold no local time; leave one of them out of 'data.paths'"
        )
    return bool(dumps)


def proposal(spec: InstrumentSpec, stand_in: Instrument, paths: Sequence[Path]) -> Mistake:
    """Return that the grid is missing, with what fits the dumps."""
    found: dict[As, set[str]] = {"price": set(), "quantity": set()}
    for path in paths:
        DumpFile(path, stand_in).decimals(found)
    return spec.missing_grid("a dump", found["price"], found["quantity"])


def chosen(
    instrument: Instrument, paths: Sequence[Path], streams: tuple[str, ...] | None
) -> ByKind:
    """Return the dumps that become rows, by kind; trades are first.

    Raises:
        CaptureError: if nothing is left, or the same trades would be told twice.
    """
    files = [DumpFile(path, instrument) for path in paths]
    there = {KINDS[file.kind] for file in files}
    if streams is not None and (missing := [name for name in streams if name not in there]):
        raise CaptureError(
            f"{names(paths)}: {', '.join(missing)} was expected, as 'data.streams' says; found only "
            f"{', '.join(sorted(there))}; dumps hold {', '.join(KINDS.values())}"
        )
    by_kind = {
        kind: [file for file in files if file.kind == kind]
        for kind, stream in KINDS.items()
        if stream in there and (streams is None or stream in streams)
    }
    if "trades" in by_kind and "aggTrades" in by_kind:
        raise CaptureError(
            f"{names(paths)}: trades or aggTrades were expected; found both, which tell of the same trades; choose "
            "with 'streams: [trade, bookTicker]'"
        )
    return by_kind


async def build(
    instrument: Instrument,
    by_kind: ByKind,
    clock_offset: Literal["auto"] | int,
    place: Path,
) -> Tape:
    """Return what all dumps hold, in order of time; it is kept at `place`.

    Args:
        instrument: What the rows are about.
        by_kind: As `chosen` returns them.
        clock_offset: How much later than it happened everything is received, ns; auto: at once.
        place: Where the tape will be.

    Raises:
        CaptureError: if a file cannot be read, or is not what is expected.
        OffGrid: if a price or quantity does not fit the grid.
        OSError: if a tape too long for memory cannot be written.
    """
    told = Found()
    stats = FeedStats()
    with closing(Columns(instrument, place)) as columns:
        # Of one instant trades are first: what was traded is still in the book they meet.
        for rows in merged(by_instant(pieces_of(files, told)) for files in by_kind.values()):
            if not len(columns):
                columns.add_columns(beginning(rows))
            columns.add_columns(rows)
            what = rows["kind"] & KIND
            snapshots, gaps = int((what == Kind.SNAPSHOT).sum()), int((what == Kind.GAP).sum())
            stats.snapshots += snapshots
            stats.gaps += gaps
            stats.messages += snapshots + int((what == Kind.TRADE).sum())
            await asyncio.sleep(0)  # so that Ctrl-C is heard
        if not len(columns):
            paths = [file.path for files in by_kind.values() for file in files]
            raise CaptureError(f"{names(paths)}: lines were expected; found none")
        offset = clock_offset if isinstance(clock_offset, int) else 0
        stats.clock_offset_ns = [offset]
        columns.delay(0, len(columns), offset, 0)
        note(stats, told, set(by_kind))
        return kept.made(columns, stats, place)
