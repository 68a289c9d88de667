"""The log: lines on stderr, ``time level logger key=value ...``. It tells state changes, not ticks."""

from __future__ import annotations

import logging
import sys
import time

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
