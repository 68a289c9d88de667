"""Market data from files into the user's dataset of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from mmkit.discovery import USERDIR, userdir_of
from mmkit.instruments import Instrument
from mmkit.recording.dataset import days_in_words
from mmkit.recording.imports import put_tapes
from mmkit.recording.place import DAY_NS, dataset_of, day_of
from mmkit.report import format_span
from mmkit.run.given import given_tapes
from mmkit.tape import GapReason
from mmkit.units import format_size, format_time


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What was imported.

    Attributes:
        venue: ccxt's exchange id.
        market: spot, usdm or coinm.
        symbol: ccxt's unified symbol.
        tick: Smallest price step.
        lot: Smallest quantity step.
        rows: How many.
        start_ns: The first local time, ns since the epoch.
        end_ns: The last.
        days: UTC days, by local time.
        gaps: Times that the book becomes unknown, but for the beginning.
        parts: Files written.
        size: Their bytes.
        path: The market's folder in the dataset.
        replaced_rows: Rows that went for it.
        replaced_days: Their days.
        notes: What reading the files found.
        config: What a configuration reads it with, as YAML.
    """

    venue: str
    market: str
    symbol: str
    tick: str
    lot: str
    rows: int
    start_ns: int
    end_ns: int
    days: list[str]
    gaps: int
    parts: int
    size: int
    path: str
    replaced_rows: int
    replaced_days: list[str]
    notes: list[str]
    config: str


def import_data(
    given: Sequence[str],
    config: Sequence[Path],
    overrides: Sequence[str] = (),
    *,
    userdir: Path | None = None,
    market: str,
    instrument: str | None = None,
    plugin: str = "capture",
    replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Read files, or what a configuration names, and keep them as rows.

    Args:
        given: As of `mmkit.run.given.given_tapes`.
        config: Likewise.
        overrides: Likewise.
        userdir: Likewise.
        market: Likewise.
        instrument: Likewise.
        plugin: Likewise.
        replace: As of `mmkit.recording.imports.put_tapes`.
        progress: Told the rows written and the rows in all.

    Raises:
        MmkitError: as `given_tapes` and `mmkit.recording.imports.put_tapes`.
    """
    tapes = given_tapes(
        given,
        config,
        overrides,
        userdir=userdir,
        market=market,
        instrument=instrument,
        plugin=plugin,
    )
    home = userdir or _home(config)
    done = put_tapes(home, tapes, replace=replace, progress=progress)
    of = tapes[0].tape.instrument
    start = min(int(one.tape.ts_local[0]) for one in tapes)
    end = max(int(one.tape.ts_local[-1]) for one in tapes)
    return Imported(
        venue=of.venue,
        market=of.market,
        symbol=of.symbol,
        tick=f"{of.tick:f}",
        lot=f"{of.lot:f}",
        rows=sum(len(one.tape) for one in tapes),
        start_ns=start,
        end_ns=end,
        days=done.days,
        gaps=sum(gap.reason != GapReason.START for one in tapes for gap in one.tape.gaps),
        parts=done.parts,
        size=done.size,
        path=str(done.partition),
        replaced_rows=done.replaced_rows,
        replaced_days=done.replaced_days,
        notes=list(dict.fromkeys(note for one in tapes for note in one.tape.stats.notes)),
        config=_yaml(of, start, end, home),
    )


def imported_json(done: Imported) -> bytes:
    """Return what was imported as one JSON object."""
    return msgspec.json.encode(done)


def imported_text(done: Imported) -> str:
    """Return what was imported, for people."""
    gaps = f"{done.gaps} gap{'' if done.gaps == 1 else 's'}"
    parts = f"{done.parts} part{'' if done.parts == 1 else 's'}"
    lines = [
        f"{done.symbol} ({done.venue} {done.market}), {done.rows:,} rows, {gaps}",
        f"  time      {format_time(done.start_ns)} to {format_time(done.end_ns)} "
        f"({format_span(done.end_ns - done.start_ns)}), days {days_in_words(done.days)}",
        f"  rows      {parts} ({format_size(done.size)}) in {done.path}",
    ]
    if done.replaced_rows:
        lines.append(
            f"  replaced  {done.replaced_rows:,} rows of {days_in_words(done.replaced_days)}"
        )
    lines += [f"  note      {note}" for note in done.notes]
    first, *more = done.config.splitlines()
    return "\n".join([*lines, f"  to read   {first}", *(f"            {line}" for line in more)])


def _home(config: Sequence[Path]) -> Path:
    """Return the user's folder, as a run with this configuration would choose it."""
    return userdir_of(config[0]) if config else Path(USERDIR)


def _yaml(of: Instrument, start_ns: int, end_ns: int, home: Path) -> str:
    elsewhere = f', path: "{dataset_of(home)}"' if home != Path(USERDIR) else ""
    after = day_of((end_ns // DAY_NS + 1) * DAY_NS)
    return (
        f'instrument: {{venue: {of.venue}, market: {of.market}, symbol: "{of.symbol}"}}\n'
        f"data: {{plugin: rows, from: {day_of(start_ns)}, to: {after}{elsewhere}}}"
    )
