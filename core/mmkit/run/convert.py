"""Market data from one format into another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from mmkit.errors import DataError, UsageError
from mmkit.formats import SUFFIXES, save
from mmkit.run.given import given_tapes, refuse_several


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """What was written.

    Attributes:
        path: The file.
        size: Bytes.
        symbol: What it is about.
        rows: Of the tape it was made of.
        notes: What was left out or changed.
    """

    path: str
    size: int
    symbol: str
    rows: int
    notes: list[str]


def convert_data(
    given: Sequence[str],
    out: Path,
    config: Sequence[Path],
    overrides: Sequence[str] = (),
    *,
    userdir: Path | None = None,
    market: str,
    instrument: str | None = None,
    plugin: str = "capture",
) -> Converted:
    """Read files, or what a configuration names, and write them as `out`.

    Args:
        given: Files of a data source, or one of `mmkit.formats.SUFFIXES`; none for the configuration's.
        out: Its name says the format.
        config: As of `mmkit.config.load_config`.
        overrides: Likewise.
        userdir: Likewise.
        market: Of the configuration.
        instrument: As of `mmkit.run.sources.source_of_paths`.
        plugin: Likewise.

    Raises:
        UsageError: if `out` says no format, or is one of the files it is made of.
        DataError: if the data cannot be used, or `out` not be written.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{out}: a name that ends in one of {', '.join(SUFFIXES)} was expected; found '{out.name}'"
        )
    if any(Path(path).resolve() == out.resolve() for path in given):
        raise UsageError(f"{out}: another file than IN was expected; it would be written over")
    refuse_several(given)
    [(tape, _)] = given_tapes(
        given,
        config,
        overrides,
        userdir=userdir,
        market=market,
        instrument=instrument,
        plugin=plugin,
    )
    try:
        notes = save(tape, out)
        size = out.stat().st_size
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from error
    return Converted(
        path=str(out), size=size, symbol=tape.instrument.symbol, rows=len(tape), notes=notes
    )


def converted_json(done: Converted) -> bytes:
    """Return what was written as one JSON object."""
    return msgspec.json.encode(done)


def converted_text(done: Converted) -> str:
    """Return what was written, for people."""
    told = f"{done.path}: {done.rows:,} rows of {done.symbol}, {done.size:,} bytes"
    return "\n".join([told, *(f"  {note}" for note in done.notes)])
