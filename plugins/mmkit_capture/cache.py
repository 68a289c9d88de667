"""Where a built tape is kept, so that the next run maps it into memory instead of building it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from hashlib import file_digest, sha256
from pathlib import Path

from mmkit.errors import CaptureError, DataError
from mmkit.tape import Tape

_log = logging.getLogger("mmkit.capture")


def digest(paths: Sequence[Path], *meaning: bytes) -> str:
    """Return a name for what the files hold and how they are read: 16 hex digits of a SHA-256.

    Raises:
        CaptureError: if a file cannot be read.
    """
    total = sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                total.update(file_digest(file, "sha256").digest())
        except OSError as error:
            raise CaptureError(f"{path}: cannot be read: {error.strerror}") from error
    for part in meaning:
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()[:16]


def place(source: Path, key: str, userdir: Path) -> Path:
    """Return where the tape of `source` belongs: beside it, or under `userdir` if that is read-only."""
    name = f"{source.name}.{key}.tape"
    folder = source.parent
    # Root may write anywhere; a folder whose mode forbids it to everyone is meant to stay as it is.
    if os.access(folder, os.W_OK) and folder.stat().st_mode & 0o222:
        return folder / name
    return userdir / "data" / "tapes" / name


def load(path: Path) -> Tape | None:
    """Return the kept tape; `None` if there is none, or it is damaged, which is said in the log."""
    if not path.exists():
        return None
    try:
        return Tape.load(path)
    except (DataError, OSError, ValueError, OverflowError, MemoryError) as error:
        _log.warning("kept tape is damaged, building it anew path=%s reason=%s", path, error)
        return None


def keep(tape: Tape, path: Path) -> None:
    """Keep a tape for the next time; what prevents it is said in the log and no more."""
    try:
        tape.save(path)
    except OSError as error:
        _log.warning("tape not kept path=%s reason=%s", path, error)
