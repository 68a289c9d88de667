"""What recorded data there is: under the user's folder, and where a configuration points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from mmkit.errors import DataError
from mmkit.report import format_span
from mmkit.run.sources import Named
from mmkit.tape import GapReason, Tape
from mmkit.units import format_time

FOLDER = "data"
"""Of the user's folder."""
TAPES = "tapes"
"""Of that: kept tapes of files in folders that are read-only."""
_KINDS = {".parquet": "parquet", ".npz": "hftbacktest", ".csv": "csv"}
_UNITS = ("bytes", "KB", "MB", "GB", "TB")


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A file of recorded data, as far as can be told without reading it through.

    What a tape tells of it, its kept one or itself, is `None` or empty where there is none.

    Attributes:
        path: Where it is.
        kind: ``tape``, the name of the data source that the configuration reads it with, or by the name of the file.
        size: Bytes.
        tape: Its kept tape; empty if there is none.
        venue: ccxt's id.
        market: spot, usdm or coinm.
        symbol: ccxt's unified symbol.
        start_ns: First local time, ns since the epoch.
        end_ns: Last local time.
        rows: Of the tape.
        gaps: In it, but for the time before the first snapshot.
        note: What is wrong with it, in words.
    """

    path: str
    kind: str
    size: int
    tape: str = ""
    venue: str = ""
    market: str = ""
    symbol: str = ""
    start_ns: int | None = None
    end_ns: int | None = None
    rows: int | None = None
    gaps: int | None = None
    note: str = ""


def stored(userdir: Path, sources: Sequence[Named]) -> list[Stored]:
    """Return every file of recorded data, one entry for each tape that is kept of it.

    Args:
        userdir: The user's folder.
        sources: Data sources of a configuration; live ones have no files.
    """
    found: dict[Path, str] = {}
    missing: list[Stored] = []
    for named in sources:
        try:
            files = named.source.files()
        except DataError as error:
            missing.append(_nothing(named, str(error)))
            continue
        for path in files:
            if path.is_file():
                found[path.resolve()] = named.source_name
            else:
                missing.append(_nothing(named, "there is no such file", path))
    folder = userdir / FOLDER
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and not path.name.startswith(".") and path.suffix != ".part":
            found.setdefault(path.resolve(), _KINDS.get(path.suffix, "file"))
    tapes = {path for path in found if path.suffix == ".tape"}
    entries = list(missing)
    claimed: set[Path] = set()
    for path, kind in found.items():
        if path not in tapes:
            kept = _kept_tapes(path, folder)
            claimed.update(kept)
            entries += [_entry(path, kind, tape) for tape in kept] or [_entry(path, kind, None)]
    # Tapes whose source is gone, or is somewhere else.
    entries += [_entry(path, "tape", path) for path in tapes if path not in claimed]
    return sorted(entries, key=lambda entry: (entry.path, entry.tape))


def _nothing(named: Named, note: str, path: Path | None = None) -> Stored:
    spec = named.spec
    return Stored(
        path=str(path or ""),
        kind=named.source_name,
        size=0,
        venue=spec.venue,
        market=spec.market,
        symbol=spec.symbol,
        note=note,
    )


def _kept_tapes(path: Path, folder: Path) -> list[Path]:
    """Return the tapes that are kept of a file: ``<name>.<content>-<settings>.tape``."""
    beside = path.parent.iterdir()
    under = (folder / TAPES).iterdir() if (folder / TAPES).is_dir() else ()
    return sorted({one.resolve() for one in _of(path.name, [*beside, *under])})


def _of(name: str, paths: Iterable[Path]) -> list[Path]:
    return [
        path
        for path in paths
        if path.suffix == ".tape" and path.name.rsplit(".", 2)[0] == name and path.is_file()
    ]


def _entry(path: Path, kind: str, kept: Path | None) -> Stored:
    size = path.stat().st_size
    if kept is None:
        return Stored(path=str(path), kind=kind, size=size)
    tape_path = str(kept)
    try:
        tape = Tape.load(kept)
    except (DataError, OSError, ValueError) as error:
        return Stored(path=str(path), kind=kind, size=size, tape=tape_path, note=str(error))
    instrument = tape.instrument
    return Stored(
        path=str(path),
        kind=kind,
        size=size,
        tape=tape_path,
        venue=instrument.venue,
        market=instrument.market,
        symbol=instrument.symbol,
        start_ns=int(tape.ts_local[0]) if len(tape) else None,
        end_ns=int(tape.ts_local[-1]) if len(tape) else None,
        rows=len(tape),
        gaps=sum(gap.reason != GapReason.START for gap in tape.gaps),
    )


def stored_json(entries: Sequence[Stored]) -> bytes:
    """Return the list as one JSON object: ``files``, each a `Stored`."""
    return msgspec.json.encode({"files": list(entries)})


def stored_text(entries: Sequence[Stored]) -> str:
    """Return the list for people."""
    return "\n".join(line for entry in entries for line in _lines(entry))


def _lines(entry: Stored) -> list[str]:
    what = f"{entry.symbol} at {entry.venue}" if entry.symbol else "not looked at yet"
    lines = [f"{entry.path or '(no files)'}", f"  {entry.kind}, {_size(entry.size)}, {what}"]
    if entry.start_ns is not None and entry.end_ns is not None and entry.rows is not None:
        span = format_span(entry.end_ns - entry.start_ns)
        lines.append(
            f"  {format_time(entry.start_ns)} to {format_time(entry.end_ns)} ({span}), {entry.rows:,} rows, "
            f"{entry.gaps} gaps"
        )
    if entry.tape and entry.tape != entry.path:
        lines.append(f"  kept tape: {entry.tape}")
    if entry.note:
        lines.append(f"  {entry.note}")
    return lines


def _size(count: int) -> str:
    size = float(count)
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            break
        size /= 1000
    return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
