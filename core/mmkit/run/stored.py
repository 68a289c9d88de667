"""What recorded data there is: under the user's folder, and where a configuration points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from mmkit.errors import DataError
from mmkit.recording.dataset import days_in_words, partitions
from mmkit.recording.place import dataset_of
from mmkit.recording.reading import held
from mmkit.report import format_span
from mmkit.run.sources import Named
from mmkit.tape import GapReason, Tape
from mmkit.units import format_size, format_time

FOLDER = "data"
"""Of the user's folder."""
TAPES = "tapes"
"""Of that: kept tapes of files in folders that are read-only."""
_KINDS = {".parquet": "parquet", ".npz": "hftbacktest", ".csv": "csv"}


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A file of recorded data, or a market of the dataset of rows, as far as can be told without reading it through.

    What a tape tells of a file, its kept one or itself, is `None` or empty where there is none.

    Attributes:
        path: Where it is; of a market of the dataset its folder.
        kind: ``rows`` of the dataset; else ``tape``, the name of the data source that the configuration reads it with, or by the name of the file.
        size: Bytes.
        tape: Its kept tape; empty if there is none.
        venue: ccxt's id.
        market: spot, usdm or coinm.
        symbol: ccxt's unified symbol.
        start_ns: First local time, ns since the epoch.
        end_ns: Last local time.
        rows: Of the tape.
        gaps: In it, but for the time before the first snapshot.
        days: UTC days of which there are rows, of a market of the dataset.
        parts: Its files.
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
    days: list[str] = msgspec.field(default_factory=list)
    parts: int | None = None
    note: str = ""


def stored(userdir: Path, sources: Sequence[Named]) -> list[Stored]:
    """Return every market of the dataset, and every other file of recorded data, one entry for each tape that is
    kept of it.

    Args:
        userdir: The user's folder.
        sources: Data sources of a configuration; live ones have no files.
    """
    found: dict[Path, str] = {}
    markets: dict[Path, None] = {}
    missing: list[Stored] = []
    for named in sources:
        try:
            files = named.source.files()
        except DataError as error:
            missing.append(_nothing(named, str(error)))
            continue
        for path in files:
            if (partition := _partition(path)) is not None:
                markets[partition.resolve()] = None
            elif path.is_file():
                found[path.resolve()] = named.source_name
            else:
                missing.append(_nothing(named, "there is no such file", path))
    folder = userdir / FOLDER
    for path in partitions(dataset_of(userdir)):
        markets[path.resolve()] = None
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if _is_of_a_market(path, folder):
            continue
        if path.is_file() and not path.name.startswith(".") and path.suffix != ".part":
            found.setdefault(path.resolve(), _KINDS.get(path.suffix, "file"))
    tapes = {path for path in found if path.suffix == ".tape"}
    entries = [*missing, *map(_market, markets)]
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


def _partition(path: Path) -> Path | None:
    """Return the folder of the market if this is a part of a dataset."""
    folder = path.parent.parent
    names = [one.name.partition("=")[0] for one in (path.parent, folder, *folder.parents[:2])]
    return folder if names == ["day", "symbol", "market", "venue"] else None


def _is_of_a_market(path: Path, folder: Path) -> bool:
    """Whether a file belongs to the dataset, or is the working of a recorder or an import."""
    names = path.relative_to(folder).parts
    if names[0] == dataset_of(Path()).name:
        return True
    return len(names) > 3 and names[3] in {"open", "import", "lock", "import.lock"}


def _market(partition: Path) -> Stored:
    try:
        there = held(partition)
    except DataError as error:
        return Stored(path=str(partition), kind="rows", size=0, note=str(error))
    parts = there.parts
    if not parts:
        return Stored(path=str(partition), kind="rows", size=0, note="there are no rows in it")
    instrument = parts[-1].instrument
    return Stored(
        path=str(partition),
        kind="rows",
        size=sum(part.size for part in parts),
        venue=instrument.venue,
        market=instrument.market,
        symbol=instrument.symbol,
        start_ns=parts[0].first_ns,
        end_ns=parts[-1].last_ns,
        rows=there.rows,
        gaps=there.gaps,
        days=there.days,
        parts=len(parts),
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
    lines = [f"{entry.path or '(no files)'}", f"  {entry.kind}, {format_size(entry.size)}, {what}"]
    if entry.start_ns is not None and entry.end_ns is not None and entry.rows is not None:
        span = format_span(entry.end_ns - entry.start_ns)
        lines.append(
            f"  {format_time(entry.start_ns)} to {format_time(entry.end_ns)} ({span}), {entry.rows:,} rows, "
            f"{entry.gaps} gaps"
        )
    if entry.days:
        count = len(entry.days)
        lines.append(
            f"  {count} day{'' if count == 1 else 's'}: {days_in_words(entry.days)} ({entry.parts:,} parts)"
        )
    if entry.tape and entry.tape != entry.path:
        lines.append(f"  kept tape: {entry.tape}")
    if entry.note:
        lines.append(f"  {entry.note}")
    return lines
