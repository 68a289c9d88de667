"""Capture files: how they are packed, and what a line of one looks like.

A line is one of::

    1723161255030314667 {"stream":...}                      local time, message
    1633998512.0633569: {"stream":...}                      the same, as cryptofeed writes it
    https://host/depth?symbol=X -> 1633998512.3: {...}      a REST answer
    wss://host/stream?streams=... <-> 1633998511.1          a connection: nothing to read
    mmkit: 1723161255030314667 gap connection why           a recorder's mark (`mmkit.recording.marks`)

Local time is in seconds, milliseconds, microseconds or nanoseconds, told apart by its size.
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from mmkit.errors import CaptureError
from mmkit.recording.frames import DAMAGED, MAGIC, Frames
from mmkit.recording.marks import MARK, gap_of
from mmkit.tape import NEVER
from mmkit.tape.paths import unreadable

_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, DAMAGED)
"""What reading a missing, damaged or cut-off file raises."""
_PACKED = 1 << 17  # bytes unpacked at a time
_EXCERPT = 80
_HEADERS = (b"wss://", b"ws://", b"https://", b"http://", b"configuration:")
_URLS = (b"https://", b"http://")
GAP = "mmkit:gap"
"""The `Line.url` of a gap that a recorder has marked."""


class Line(NamedTuple):
    """One line that carries a message.

    Attributes:
        number: Counted from 1.
        ts_local: The recorder's clock, ns since the epoch.
        url: Where a REST answer came from; empty for a streamed message; `GAP` for a gap.
        body: The message as it was received; of a gap its number (`mmkit.tape.GapReason`) and why.
    """

    number: int
    ts_local: int
    url: str
    body: bytes


class CaptureFile:
    """One raw capture, plain, gz, xz or zst. Reading it again starts anew.

    Attributes:
        path: Where it is.
        skipped: Lines of the last reading that carry no message.
        unfinished: Bytes of a last zstd frame that is being written, or was when its writer was killed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped = self.unfinished = 0

    def lines(self) -> Iterator[Line]:
        """Yield the lines that carry a message.

        Raises:
            CaptureError: if the file is missing, cut short or damaged, if a line cannot be read, or
                if local time goes back.
        """
        self.skipped = self.unfinished = 0
        last = 0
        for number, raw in self.raw_lines():
            line = self.parse(number, raw)
            if line is None:
                self.skipped += 1
                continue
            if line.ts_local < last:
                raise CaptureError(
                    f"{self.path}:{number}: local time goes back by {last - line.ts_local} ns, from "
                    f"{last} to {line.ts_local}; a capture is in the order in which it was received"
                )
            last = line.ts_local
            yield line

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield what was packed, so many bytes at a time; raises `UNREADABLE`."""
        with self.path.open("rb") as file:
            packing, unpacked = _unpack(file)
            if packing == "zstd":
                frames = Frames(file)
                yield from frames
                self.unfinished = frames.unfinished
                return
            if packing == "gzip":
                yield from _inflated(file, size)
                return
            while chunk := unpacked.read(size):
                yield chunk

    def raw_lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield all lines with their numbers, from 1 on, as they lie in the file.

        Raises:
            CaptureError: if the file is missing, cut short or damaged.
        """
        number, packing = 0, ""
        try:
            with self.path.open("rb") as probe:
                packing, file = _unpack(probe)
                for raw in self._zstd_lines(probe) if packing == "zstd" else file:
                    number += 1
                    yield number, raw
        except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, DAMAGED) as error:
            raise CaptureError(
                f"{self.path}: the {packing} data is damaged or cut short after line {number} "
                f"({error}); check it with '{packing} -t {self.path.name}' and copy it anew"
            ) from error
        except OSError as error:
            raise unreadable(self.path, error) from error

    def _zstd_lines(self, file: IO[bytes]) -> Iterator[bytes]:
        frames, rest = Frames(file), b""
        for chunk in frames:
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
        self.unfinished = frames.unfinished
        if rest:
            yield rest

    def parse(self, number: int, raw: bytes) -> Line | None:
        """Return what a line says; `None` if it carries no message.

        Raises:
            CaptureError: if it is neither.
        """
        text = raw.strip()
        if not text:
            return None
        url = ""
        if text.startswith(MARK):
            try:
                gap = gap_of(text)
            except ValueError as error:
                raise self._broken(number, text) from error
            return gap and Line(number, gap[0], GAP, f"{gap[1]:d} {gap[2]}".encode())
        if not text[:1].isdigit():
            if not text.startswith(_HEADERS):
                raise self._broken(number, text)
            head, arrow, rest = text.partition(b" -> ")
            if not arrow:
                return None
            if head.startswith(_URLS):
                url = head.decode("utf-8", "replace")
            text = rest
        stamp, _, body = text.partition(b" ")
        ts_local = _nanoseconds(stamp.removesuffix(b":"))
        body = body.lstrip()
        if ts_local is None or not body:
            raise self._broken(number, text)
        if not body.isascii():
            try:
                body.decode()
            except UnicodeDecodeError as error:
                raise CaptureError(
                    f"{self.path}:{number}: UTF-8 was expected; found byte "
                    f"0x{body[error.start]:02x} at position {error.start} of the message; is this a "
                    "raw capture?"
                ) from error
        return Line(number, ts_local, url, body)

    def _broken(self, number: int, text: bytes) -> CaptureError:
        shown = text[:_EXCERPT].decode("utf-8", "backslashreplace")
        return CaptureError(
            f"{self.path}:{number}: '<local time> <json>' was expected; found {shown!r}; if the line "
            "was cut when the recorder stopped, remove it"
        )


def is_packed(start: bytes) -> bool:
    """Whether a file that begins like this is gzip, xz or zstd."""
    return start.startswith((_GZIP, _XZ, MAGIC))


def _unpack(file: IO[bytes]) -> tuple[str, IO[bytes]]:
    start = file.read(len(_XZ))
    file.seek(0)
    if start.startswith(_GZIP):
        return "gzip", cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if start.startswith(MAGIC):
        return "zstd", file
    if start == _XZ:
        return "xz", cast("IO[bytes]", lzma.LZMAFile(file))
    return "plain", file


def _inflated(file: IO[bytes], size: int) -> Iterator[bytes]:
    """Yield the content of a gzip file; whatever is odd about it is an error.

    `gzip.GzipFile` unpacks 8 KB at a time before Python 3.12, which takes a fifth longer.
    """
    file.seek(0)
    raw = file.read(_PACKED)
    while raw:  # one member after the other
        member = zlib.decompressobj(31)  # with gzip's header and checksum
        while not member.eof:
            if not raw and not (raw := file.read(_PACKED)):
                raise EOFError
            if chunk := member.decompress(raw, size):
                yield chunk
            raw = member.unconsumed_tail
        raw = member.unused_data or file.read(_PACKED)


def _nanoseconds(text: bytes) -> int | None:
    """Return a local time in ns, exactly; `None` if it is none.

    Seconds of this century have 10 digits, milliseconds 13, microseconds 16, nanoseconds 19.
    """
    whole, _, fraction = text.partition(b".")
    if not whole.isdigit() or (fraction and not fraction.isdigit()):
        return None
    digits = len(whole)
    places = 9 if digits <= 11 else 6 if digits <= 14 else 3 if digits <= 17 else 0
    time = int(whole + fraction[:places].ljust(places, b"0"))
    return time if time < NEVER else None
