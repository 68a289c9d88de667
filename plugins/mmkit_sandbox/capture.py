"""Reads recorded captures line by line, as they were written: plain, gzip, xz or zstd.

A line is one of these; the time is the recorder's, in s, ms, us or ns since the epoch::

    <time> {"stream": ..., "data": {...}}          a message of a combined stream
    <time> {"lastUpdateId": ..., "bids": ...}      a snapshot, of the file's only symbol
    <time>: {...}                                  either of them, as cryptofeed writes it
    <url> -> <time>: {...}                         the answer to a REST request
    mmkit: <time> ...                              a recorder's own mark, which no stream said
"""

from __future__ import annotations

import contextlib
import gzip
import logging
import lzma
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from mmkit.errors import CaptureError
from mmkit.recording.frames import DAMAGED, MAGIC, Frames
from mmkit.recording.marks import MARK

_LINE = re.compile(rb"(?:(?P<url>https?://\S+) -> )?(?P<time>\d+(?:\.\d+)?):? ?(?P<json>[{\[].*)")
_COMMENT = (b"wss://", b"ws://", b"configuration:", MARK)
_log = logging.getLogger(__name__)


class Line(NamedTuple):
    """One line of a capture.

    Attributes:
        number: In the file, from 1.
        ts: The recorder's time, in ns.
        json: What was received, as it was.
        url: Of the request it answers; empty for a message of a stream.
    """

    number: int
    ts: int
    json: bytes
    url: str


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a capture.

    A last zstd frame that is not whole is being recorded, or its recorder was killed: it is left out.

    Raises:
        CaptureError: if the file is missing, cut short, or has a line that is none of the above.
    """
    number = 0
    try:
        with _open(path) as lines:
            for number, text in enumerate(lines, start=1):  # told in the error below
                match = _LINE.match(text)
                if match is not None:
                    url = match["url"].decode() if match["url"] else ""
                    yield Line(number, _nanoseconds(match["time"]), match["json"].strip(), url)
                elif text.strip() and not text.startswith(_COMMENT):
                    raise CaptureError(
                        f"{path}:{number}: expected '<time> <json>', found {text[:60]!r}"
                    )
    except FileNotFoundError:
        raise CaptureError(f"{path}: there is no such file") from None
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, DAMAGED, OSError) as error:
        raise CaptureError(
            f"{path}: cannot be read on after line {number}: {error}; if the file was cut short, "
            "copy it anew"
        ) from error


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Iterable[bytes]]:
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        magic = file.read(6)
        file.seek(0)
        if magic.startswith(b"\x1f\x8b"):
            yield stack.enter_context(gzip.open(file, "rb"))
        elif magic == b"\xfd7zXZ\x00":
            yield stack.enter_context(lzma.open(file, "rb"))
        elif magic.startswith(MAGIC):
            yield _of_frames(path, Frames(file))
        else:
            yield file


def _of_frames(path: Path, frames: Frames) -> Iterator[bytes]:
    rest = b""
    for content in frames:
        *lines, rest = (rest + content).split(b"\n")
        yield from lines
    if rest:
        yield rest
    if frames.unfinished:
        _log.warning(
            "a last frame that is not whole is left out; file=%s bytes=%d", path, frames.unfinished
        )


def _nanoseconds(text: bytes) -> int:
    """Return a time in ns; its magnitude tells the unit, which is unambiguous from 1973 to 5138."""
    whole, _, fraction = text.partition(b".")
    time = int(whole)
    for below, unit in ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3)):
        if time < below:
            places = len(str(unit)) - 1
            return time * unit + int((fraction + b"0" * places)[:places] or b"0")
    return time
