"""Bytes added to a file, all of them or none."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mmkit.errors import RunError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says when there is no room."""


def append(file: IO[bytes], content: bytes) -> None:
    """Write all of `content` at the end of an unbuffered file, or nothing: a part cannot be read back.

    Raises:
        OSError: if the disk does not take it.
    """
    end = file.tell()
    rest = memoryview(content)
    try:
        while rest:
            # On a disk that is nearly full the system takes a part, and says so by its size alone.
            rest = rest[file.write(rest) :]
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(end)
        raise


_RECORDING = (
    "recording stopped, and what was written before is intact. Free some space and start again: it goes on "
    "where it ended"
)


@contextlib.contextmanager
def explained(path: Path, full: str = _RECORDING) -> Iterator[None]:
    """Turn an `OSError` into words.

    Args:
        path: What was written.
        full: What a full disk means, and what to do.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise RunError(f"{path}: the disk is full ({error.strerror}); {full}") from error
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from error
