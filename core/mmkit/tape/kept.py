"""Where a built tape is kept, so that the next run maps it into memory instead of building it."""

from __future__ import annotations

import contextlib
import glob
import logging
import os
from collections.abc import Iterator, Sequence
from hashlib import file_digest, sha256
from pathlib import Path

from mmkit.errors import CaptureError, DataError
from mmkit.tape.columns import Columns
from mmkit.tape.rows import FeedStats
from mmkit.tape.tape import Tape

_log = logging.getLogger("mmkit.tape")


def digest_of_files(paths: Sequence[Path]) -> str:
    """Return a name for what the files hold: 8 hex digits.

    Raises:
        CaptureError: if a file cannot be read.
    """
    digests = []
    for path in paths:
        try:
            with path.open("rb") as file:
                digests.append(file_digest(file, "sha256").digest())
        except OSError as error:
            raise CaptureError(f"{path}: cannot be read: {error.strerror}") from error
    return digest(b"".join(digests))


def digest(meaning: bytes) -> str:
    """Return a name for how files are read: 8 hex digits."""
    return sha256(meaning).hexdigest()[:8]


def place(source: Path, content: str, meaning: str, userdir: Path) -> Path:
    """Return where the tape of `source` belongs: beside it, or under `userdir` if that is read-only."""
    name = f"{source.name}.{content}-{meaning}.tape"
    folder = source.parent
    # Root may write anywhere; a folder whose mode forbids it to everyone is meant to stay as it is.
    if os.access(folder, os.W_OK) and folder.stat().st_mode & 0o222:
        return folder / name
    return userdir / "data" / "tapes" / name


def load(path: Path) -> Tape | None:
    """Return the kept tape; `None` if there is none, or none that fits, which is said in the log."""
    if not path.exists():
        _say_which_do_not_fit(path)
        return None
    try:
        return Tape.load(path)
    except (DataError, OSError, ValueError, OverflowError, MemoryError) as error:
        _log.warning("kept tape cannot be used, building it anew path=%s reason=%s", path, error)
        return None


def _say_which_do_not_fit(path: Path) -> None:
    source, key, _ = path.name.rsplit(".", 2)
    content = key.partition("-")[0]
    for other in sorted(path.parent.glob(f"{glob.escape(source)}.*.tape")):
        reason = (
            "it was built with other settings, or by another version"
            if other.name.startswith(f"{source}.{content}-")
            else "its source has changed, or another file has the same name"
        )
        _log.info("kept tape does not fit, building another path=%s reason=%s", other, reason)


@contextlib.contextmanager
def building(path: Path) -> Iterator[None]:
    """Say in words if the disk does not take a tape that is built at `path` because it is long.

    Raises:
        CaptureError: then.
    """
    try:
        yield
    except OSError as error:
        raise CaptureError(
            f"{path}: a tape too long to be kept in memory cannot be written: {error.strerror}; "
            "make room there, or give 'data.paths' fewer files"
        ) from error


def made(columns: Columns, stats: FeedStats, path: Path) -> Tape:
    """Return the tape of all rows of `columns`, which are for `path`; it is kept there.

    Raises:
        OSError: as `Columns.tape`.
    """
    tape = columns.tape(stats)
    if not columns.on_disk:
        keep(tape, path)
    return tape


def keep(tape: Tape, path: Path) -> None:
    """Keep a tape for the next time; what prevents it is said in the log and no more."""
    try:
        tape.save(path)
    except OSError as error:
        _log.warning("tape not kept path=%s reason=%s", path, error)
