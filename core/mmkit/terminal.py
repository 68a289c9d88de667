"""A terminal that is written to from a thread: one that takes no output holds up nobody.

A terminal that is stopped with Ctrl-S, a pager that is, or one that nobody reads, makes whoever writes to it wait. A run
would wait with its orders on the book, and hear neither Ctrl-C nor ``mmkit stop``.
"""

from __future__ import annotations

import io
import os
import threading
from contextlib import suppress

_NAME = "terminal"
_KEPT = 100
"""Pieces that wait to be written, besides the newest frame; what comes beyond is left out."""
_FRAME = "\x1b[H"
"""What a whole frame begins with: it goes home, and draws over the one before (ECMA-48, CUP; so does `rich.live`)."""


class Terminal(io.TextIOBase):
    """Takes what is to be shown, and never waits; a frame that has not been shown yet gives way to a newer one.

    Args:
        number: Of the file that the terminal is.
    """

    encoding = "utf-8"

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self._written: list[str] = []
        self._waiting: list[str] = []
        self._there = threading.Condition()
        self._over = False
        # It ends with the process at the latest: it may wait in a write that nobody can call back.
        self._thread = threading.Thread(target=self._write, name=_NAME, daemon=True)
        self._thread.start()

    def isatty(self) -> bool:
        """Return that it is one."""
        return True

    def fileno(self) -> int:
        """Return the number of the file."""
        return self._number

    def writable(self) -> bool:
        """Return that it is."""
        return True

    def write(self, text: str, /) -> int:
        """Keep what is to be shown with the next `flush`."""
        self._written.append(text)
        return len(text)

    def flush(self) -> None:
        """Have shown what was written since the last time, as soon as the terminal takes it."""
        piece, self._written = "".join(self._written), []
        if not piece:
            return
        with self._there:
            if piece.startswith(_FRAME) and self._waiting and self._waiting[-1].startswith(_FRAME):
                self._waiting[-1] = piece
            elif len(self._waiting) < _KEPT:
                self._waiting.append(piece)
            self._there.notify()

    def end(self, within_s: float) -> bool:
        """Take nothing more; return whether all has been shown in time. What has not been is, once the terminal takes it."""
        self.flush()
        with self._there:
            self._over = True
            self._there.notify()
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _write(self) -> None:
        while True:
            with self._there:
                while not self._waiting and not self._over:
                    self._there.wait()
                if not self._waiting:
                    return
                left = self._waiting.pop(0).encode(self.encoding, "replace")
            with suppress(OSError):  # it is gone; a run does not end because nobody looks any more
                while left:
                    # Not by the stream, whose lock would be held for as long as nobody reads.
                    left = left[os.write(self._number, left) :]


def wait_for_terminals() -> None:
    """Wait until every terminal that was given up has taken its last words, for what comes after them to be seen."""
    for thread in threading.enumerate():
        if thread.name == _NAME:
            thread.join()
