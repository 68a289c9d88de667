"""The files that recorded data is read from."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from mmkit.errors import CaptureError


def listed(patterns: Iterable[str]) -> list[Path]:
    """Return the files that ``data.paths`` names, each once; ``*`` and ``~`` work, kept tapes are left out.

    Raises:
        CaptureError: if a pattern matches nothing.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.exists() or not glob.has_magic(pattern):
            found[path] = None
            continue
        matches = sorted(glob.glob(str(path)))
        if not matches:
            raise CaptureError(f"{path}: no file matches; check 'data.paths'")
        found.update((Path(match), None) for match in matches if not match.endswith(".tape"))
    return list(found)


def unreadable(path: Path, error: OSError) -> CaptureError:
    """Return what to say of a file that cannot be opened or read."""
    if isinstance(error, FileNotFoundError):
        return CaptureError(
            f"{path}: there is no such file; check 'data.paths', which is relative to the "
            "folder mmkit is started in"
        )
    if isinstance(error, IsADirectoryError):
        return CaptureError(
            f"{path}: a file was expected; found a folder; name its files, such as '{path}/*.gz'"
        )
    return CaptureError(f"{path}: cannot be read: {error.strerror or error}")
