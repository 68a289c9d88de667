"""Looks at recorded market data and says what is wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from mmkit.errors import DataError
from mmkit.events import MAIN
from mmkit.interfaces import DataSource
from mmkit.quality import Finding, SourceCheck, of_stats
from mmkit.quality.picture import Picture
from mmkit.quality.tape import TapeCheck
from mmkit.run.assembly import told_of
from mmkit.run.sources import configured_sources, source_of_paths
from mmkit.tape import KIND, LAST, Gap, Kind, Tape, unknown_ns
from mmkit.units import format_time

if TYPE_CHECKING:
    from mmkit.run.sources import Named

SHOWN = 3
"""Places of each kind that are told in words; JSON has up to 1,000."""


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """What one market's data is like.

    Attributes:
        market: Its name in the configuration.
        symbol: What it is about.
        venue: Where.
        rows: Of the tape.
        updates: Messages of the book.
        trades: On the book.
        start_ns: The first local time, ns since the epoch; 0 if there is no row.
        end_ns: The last.
        unknown_ns: How long the book is unknown.
        usual_ns: The median time between two updates of the book.
        longest_ns: The longest.
        tickers_compared: Best prices of a stream of their own that were compared with the rebuilt book.
        errors: Kinds of findings that are errors.
        findings: Everything that was found.
    """

    market: str
    symbol: str
    venue: str
    rows: int
    updates: int
    trades: int
    start_ns: int
    end_ns: int
    unknown_ns: int
    usual_ns: int
    longest_ns: int
    tickers_compared: int
    errors: int
    findings: tuple[Finding, ...]


class Looked(msgspec.Struct, frozen=True):
    """What was found, and in what.

    Attributes:
        quality: What was found.
        tape: The data; `None` if nothing could be made of it.
        unknown: When the book is unknown, local time, ns.
    """

    quality: Quality
    tape: Tape | None
    unknown: list[tuple[int, int]]


def check_data(
    paths: Sequence[str],
    config: Sequence[Path],
    overrides: Sequence[str] = (),
    *,
    userdir: Path | None = None,
    instrument: str | None = None,
    plugin: str = "capture",
) -> list[Looked]:
    """Check files, or what a configuration names.

    Args:
        paths: Files of a data source, which are one recording, and kept tapes; none for the configuration's.
        config: As of `mmkit.config.load_config`.
        overrides: Likewise.
        userdir: Likewise.
        instrument: As of `mmkit.run.sources.source_of_paths`.
        plugin: Likewise.

    Raises:
        ConfigError: if the configuration cannot be used.
        DataError: if there is nothing to be looked at.
    """
    tapes = [Path(path) for path in paths if path.endswith(".tape")]
    others = [path for path in paths if not path.endswith(".tape")]
    looked = [look_at_tape(path) for path in tapes]
    named: list[Named] = []
    if others:
        named = [
            source_of_paths(
                others, config, overrides, userdir=userdir, instrument=instrument, plugin=plugin
            )
        ]
    elif not tapes:
        named = configured_sources(config, overrides, userdir=userdir)
    for market, spec, source, _ in named:
        with told_of(market):
            looked.append(asyncio.run(look(source, market, spec.symbol, spec.venue)))
    return looked


async def look(source: DataSource, market: str, symbol: str, venue: str) -> Looked:
    """Check what a source holds.

    Raises:
        DataError: if there is nothing to be looked at.
        UsageError: if it is a live source.
    """
    try:
        return looked_at(await source.check(), market, symbol, venue)
    finally:
        await source.close()


def look_at_tape(path: Path) -> Looked:
    """Check a kept tape.

    Raises:
        DataError: if it is none.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    tape = Tape.load(path)
    instrument = tape.instrument
    found = SourceCheck(tape, of_stats(tape.stats))
    return looked_at(found, path.name, instrument.symbol, instrument.venue)


def looked_at(found: SourceCheck, market: str, symbol: str, venue: str) -> Looked:
    """Add to what a source says of its data what the tape tells."""
    tape, notes = found.tape, found.notes
    rows = updates = trades = start = end = usual = longest = compared = 0
    gaps: tuple[Gap, ...] = ()
    if tape is not None and len(tape):
        check = TapeCheck(tape, notes, found.where, found.remarks)
        check.run()
        what = tape.kind & KIND
        told = np.isin(what, (Kind.LEVEL, Kind.SNAPSHOT)) & (tape.kind & LAST != 0)
        rows, updates = len(tape), int(told.sum())
        trades = int((what == Kind.TRADE).sum())
        start, end = int(tape.ts_local[0]), int(tape.ts_local[-1])
        gaps = tape.gaps
        _, after = check.intervals()
        if len(after):
            usual, longest = int(np.median(after)), int(after.max())
        compared = tape.stats.tickers_compared
    findings = notes.findings()
    quality = Quality(
        market=market,
        symbol=symbol,
        venue=venue,
        rows=rows,
        updates=updates,
        trades=trades,
        start_ns=start,
        end_ns=end,
        unknown_ns=unknown_ns(gaps),
        usual_ns=usual,
        longest_ns=longest,
        tickers_compared=compared,
        errors=sum(finding.grade == "error" for finding in findings),
        findings=tuple(findings),
    )
    return Looked(quality, tape, [(gap.begin, gap.end) for gap in gaps])


def quality_json(qualities: Sequence[Quality]) -> bytes:
    """Return what was found as one JSON object: ``ok``, and ``markets``, each a `Quality`."""
    ok = not any(quality.errors for quality in qualities)
    return msgspec.json.encode({"ok": ok, "markets": list(qualities)})


def quality_picture(looked: Sequence[Looked]) -> str:
    """Return a picture of what the data covers, as SVG.

    Raises:
        DataError: if there is no data at all.
    """
    picture, drawn = Picture(), False
    for one in looked:
        if one.tape is not None and len(one.tape):
            quality = one.quality
            name = "" if quality.market == MAIN else f"{quality.market}: "
            picture.market(
                f"{name}{quality.symbol} at {quality.venue}",
                one.tape,
                one.unknown,
                quality.findings,
            )
            drawn = True
    if not drawn:
        raise DataError("nothing could be made of the data, so there is nothing to draw")
    return picture.svg()


def quality_text(quality: Quality, *, several: bool) -> str:
    """Return what was found, for people."""
    name = f"{quality.market}: " if several else ""
    lines = [f"{name}{quality.symbol} at {quality.venue}"]
    if quality.rows:
        span = (quality.end_ns - quality.start_ns) / 1e9
        lines += [
            f"  {format_time(quality.start_ns)} to {format_time(quality.end_ns)}, {span:,.1f} s",
            f"  {quality.rows:,} rows, {quality.updates:,} updates of the book, {quality.trades:,} trades, "
            f"{quality.tickers_compared:,} best prices compared",
            f"  book unknown for {quality.unknown_ns / 1e9:,.3f} s" + _intervals(quality),
        ]
    for finding in quality.findings:
        times = f" ({finding.count:,} times)" if finding.count > 1 else ""
        lines.append(f"  {finding.grade:<5}  {finding.code}: {finding.meaning}{times}")
        for place in finding.places[:SHOWN]:
            words = f": {place.words}" if place.words else ""
            lines.append(f"           {place.where}{words}")
        if (more := finding.count - SHOWN) > 0:
            lines.append(f"           and {more:,} more, which --json lists")
    lines.append(_verdict(quality))
    return "\n".join(lines)


def _intervals(quality: Quality) -> str:
    if not quality.longest_ns:
        return ""
    return (
        f"; an update every {quality.usual_ns / 1e9:,.3f} s as a rule, "
        f"{quality.longest_ns / 1e9:,.3f} s apart at most"
    )


def _verdict(quality: Quality) -> str:
    errors = quality.errors
    notes = len(quality.findings) - errors
    told = f"{notes} kind{'' if notes == 1 else 's'} of notes"
    if not errors:
        return f"  clean: no errors, {told}"
    return f"  {errors} kind{'' if errors == 1 else 's'} of errors, {told}"
