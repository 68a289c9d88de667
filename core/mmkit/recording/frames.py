"""Files of zstd frames, one after the other (RFC 8878): each can be read without the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cache
from typing import IO

import zstandard

MAGIC = b"\x28\xb5\x2f\xfd"
"""How a frame begins."""
DAMAGED = zstandard.ZstdError
"""What reading a damaged frame raises."""
_READ = 1 << 16
_HELD = 1 << 24  # bytes of content; a frame of ours holds a second

_LEVEL = 3  # level 9 takes 3 to 15 % less room, at two to four times the cost


def frame(content: bytes) -> bytes:
    """Return `content` as a frame with a checksum."""
    return _packer(threading.get_ident()).compress(content)


@cache
def _packer(thread: int) -> zstandard.ZstdCompressor:  # not to be used by two threads at once
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)


class Frames:
    """Reads the content of whole frames.

    A last frame that is not whole is being written at this moment, or its writer was killed: its content
    is left out, and `unfinished` says so. Where there is no whole frame before it, or it holds more than
    16 MiB, the file is not of a recorder's making, and it is an error.

    Args:
        file: At its beginning.

    Attributes:
        end: The place after the last whole frame so far.
        unfinished: Bytes of a last frame that is not whole; known at the end.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._read = 0
        self.end = 0
        self.unfinished = 0

    def __iter__(self) -> Iterator[bytes]:
        """Yield the content, a frame at a time, large ones in pieces.

        Raises:
            EOFError: if the file ends in a frame that cannot be left out.
            DAMAGED: if a frame is damaged.
        """
        unpacker = zstandard.ZstdDecompressor()
        raw = b""
        while raw or (raw := self._more()):
            parts: list[bytes] = []
            held, given = 0, False
            one = unpacker.decompressobj()
            while True:
                parts.append(one.decompress(raw))
                held += len(parts[-1])
                if one.eof:
                    break
                if held > _HELD:
                    yield b"".join(parts)
                    parts, held, given = [], 0, True
                if not (raw := self._more()):
                    if given or not self.end:
                        raise EOFError("the file ends within a frame")
                    self.unfinished = self._read - self.end
                    return
            raw = one.unused_data
            self.end = self._read - len(raw)
            yield b"".join(parts)

    def _more(self) -> bytes:
        raw = self._file.read(_READ)
        self._read += len(raw)
        return raw
