"""The log: lines on stderr, ``time level logger key=value ...``. It tells state changes, not ticks."""

from __future__ import annotations

import logging
import logging.handlers
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Their debug lines tell every message on the wire, which is worth a second -v.
_LIBRARIES = (
    "aiohttp",
    "asyncio",
    "ccxt",
    "httpcore2",
    "httpx2",
    "numba",
    "openai",
    "urllib3",
    "websockets",
)


SILENT_THREADS = "silent-"
"""How the names of threads begin whose work may make a library log a secret."""


def set_up_log(verbose: int = 0, level: str = "info") -> None:
    """Send the log to stderr.

    Args:
        verbose: How many ``-v``: one shows mmkit's debug lines, two the libraries' too.
        level: The least important that is shown without ``-v``.
    """
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(lambda record: not (record.threadName or "").startswith(SILENT_THREADS))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else level.upper())
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.DEBUG if verbose > 1 else logging.WARNING)


_KEPT = 10_000
"""Lines that wait to be written; what comes beyond is left out."""
_LAST_LINES_S = 1.0
"""How long the end waits for them."""


@contextmanager
def unhurried() -> Iterator[None]:
    """Write the log from a thread, so that one whom nobody reads holds up no run.

    A pipe that is full, or a terminal that is stopped, makes whoever writes to it wait: a run would wait with its
    orders on the book. Lines that do not fit are left out and counted.
    """
    root = logging.getLogger()
    handlers = root.handlers[:]
    waiting = _Waiting()

    def write() -> None:
        while (record := waiting.lines.get()) is not None:
            for handler in handlers:
                if record.levelno >= handler.level:
                    _write(handler, record)

    thread = threading.Thread(target=write, name="log", daemon=True)
    thread.start()
    root.handlers[:] = [waiting]
    try:
        yield
    finally:
        if waiting.left_out:
            logging.getLogger("mmkit.log").warning("left_out lines=%d", waiting.left_out)
        root.handlers[:] = handlers
        with suppress(queue.Full):  # nobody reads; the thread ends with the process
            waiting.lines.put(None, timeout=_LAST_LINES_S)
        thread.join(_LAST_LINES_S)


def _write(handler: logging.Handler, record: logging.LogRecord) -> None:
    try:
        number = handler.stream.fileno() if isinstance(handler, logging.StreamHandler) else None
    except (OSError, ValueError):
        number = None
    if number is None:
        handler.handle(record)
    elif handler.filter(record):
        # Not by the stream, whose lock would be held for as long as nobody reads: Python ends by asking for it.
        with suppress(OSError):
            os.write(number, (handler.format(record) + "\n").encode())


class _Waiting(logging.handlers.QueueHandler):
    """Hands lines on, and never waits."""

    def __init__(self) -> None:
        self.lines: queue.Queue[logging.LogRecord | None] = queue.Queue(_KEPT)
        self.left_out = 0
        super().__init__(self.lines)

    def enqueue(self, record: logging.LogRecord) -> None:
        """Keep a line, if there is room."""
        try:
            self.lines.put_nowait(record)
        except queue.Full:
            self.left_out += 1
