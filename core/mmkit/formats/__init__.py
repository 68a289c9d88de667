"""Tapes in the formats of others: hftbacktest's events, Parquet and CSV, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmkit.errors import DataError, UsageError

if TYPE_CHECKING:
    from mmkit.instruments import Instrument
    from mmkit.tape import Tape

SUFFIXES = (".tape", ".npz", ".parquet", ".csv")
"""Of files that can be written and read: a kept tape, hftbacktest's events, tables."""


def save(tape: Tape, path: Path) -> list[str]:
    """Write a tape in the format that the file's name says; return what was left out or changed, in words.

    Raises:
        UsageError: if the name says none.
        DataError: if the format cannot hold the tape.
        OSError: if it cannot be written.
    """
    match _suffix(path):
        case ".npz":
            from mmkit.formats.hftbacktest import save_events

            return save_events(tape, path)
        case ".tape":
            tape.save(path)
        case suffix:
            from mmkit.formats.tables import save_table

            save_table(tape, path, suffix)
    return []


def load(path: Path, instrument: Instrument | None = None) -> Tape:
    """Read a file of one of the formats.

    Args:
        path: The file.
        instrument: What it is about; hftbacktest's events do not say, the others do.

    Raises:
        UsageError: if the file's name says no format, or `instrument` is missing.
        DataError: if it is not what its name says.
    """
    suffix = _suffix(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    match suffix:
        case ".npz":
            from mmkit.formats.hftbacktest import load_events

            if instrument is None:
                raise UsageError(
                    f"{path}: hftbacktest's events do not say what they are about; give --instrument with "
                    "tick and lot, such as binance:usdm:BTC/USDT:USDT,tick=0.1,lot=0.001"
                )
            return load_events(path, instrument)
        case ".tape":
            from mmkit.tape import Tape

            return Tape.load(path)
        case _:
            from mmkit.formats.tables import load_table

            return load_table(path, suffix)


def is_ours(path: Path) -> bool:
    """Whether a file is of one of the formats, by its name; of a .csv, which others write too, by its first line."""
    suffix = path.suffix.lower()
    if suffix != ".csv" or not path.is_file():
        return suffix in SUFFIXES
    from mmkit.formats.tables import COMMENT

    with path.open("rb") as file:
        return file.read(len(COMMENT)) == COMMENT.encode()


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"{path}: a name that ends in one of {', '.join(SUFFIXES)} was expected; found '{path.name}'"
        )
    return suffix
