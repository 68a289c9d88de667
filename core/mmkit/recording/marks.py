r"""Lines of a recorder: its messages, and its own marks between them.

::

    1723161255030314667 {"stream":...}                              a message
    https://host/depth?symbol=X -> 1723161255030314667: {...}       a REST answer
    mmkit: 1723161255030314667 start {"symbol":...}                 a session begins here
    mmkit: 1723161255030314667 day {"symbol":...}                   it goes on in this file
    mmkit: 1723161255030314667 gap connection the words why         nothing is known from here on

A reader of captures takes in the gaps (`gap_of`) and passes over the other marks.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from mmkit.instruments import Instrument
from mmkit.tape import GapReason

MARK = b"mmkit:"
"""How a line that is no message begins."""


def message_line(raw: bytes, ts_local: int, url: str) -> bytes:
    """Return a message as a line; a line break in it, which JSON takes for a space, becomes one."""
    if b"\n" in raw or b"\r" in raw:
        raw = raw.replace(b"\n", b" ").replace(b"\r", b" ")
    if url:
        return b"%b -> %d: %b\n" % (url.encode(), ts_local, raw)
    return b"%d %b\n" % (ts_local, raw)


def gap_line(ts_local: int, reason: GapReason, words: str) -> bytes:
    """Return the mark of a gap."""
    plain = " ".join(words.split())
    return b"%b %d gap %b %b\n" % (MARK, ts_local, reason.name.lower().encode(), plain.encode())


def head_line(ts_local: int, what: Literal["start", "day"], instrument: Instrument) -> bytes:
    """Return the mark of a beginning, which says what is recorded."""
    return b"%b %d %b %b\n" % (MARK, ts_local, what.encode(), msgspec.json.encode(instrument))


def gap_of(mark: bytes) -> tuple[int, GapReason, str] | None:
    """Return time, reason and words of a mark; `None` if it is not one of a gap.

    Raises:
        ValueError: if it is no mark at all.
    """
    tag, stamp, what, *rest = mark.strip().split(b" ", 3)
    ts_local = int(stamp)
    if tag != MARK:
        raise ValueError(mark)
    if what != b"gap":
        return None
    name, _, words = b"".join(rest).decode("utf-8", "replace").partition(" ")
    try:
        return ts_local, GapReason[name.upper()], words
    except KeyError:
        raise ValueError(mark) from None


def time_of(line: bytes) -> int:
    """Return the local time of a line, ns.

    Raises:
        ValueError: if it is none that is written here.
    """
    if line.startswith(MARK):
        return int(line.split(b" ", 2)[1])
    if not line[:1].isdigit():
        line = line.partition(b" -> ")[2]
    return int(line.partition(b" ")[0].removesuffix(b":"))
