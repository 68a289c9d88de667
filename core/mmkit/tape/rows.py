"""What a row of market data says.

A row is ``(ts_exchange, ts_local, kind, price, quantity)``:

===========  =====  ==========================================================================
column       dtype  meaning
===========  =====  ==========================================================================
ts_exchange  int64  the venue's clock, ns since the epoch
ts_local     int64  our clock with its offset from the venue's removed, ns since the epoch
kind         uint8  what happened (`Kind`), with the side and the last-row-of-message bit
price        int64  ticks
quantity     int64  lots; for a level the new total, 0 removes it
===========  =====  ==========================================================================

Live messages become the same rows, a few at a time (`Row` tuples), so one engine serves both.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import msgspec

Row: TypeAlias = tuple[int, int, int, int, int]
"""``(ts_exchange, ts_local, kind, price, quantity)``, as in the table above."""

NEVER = 2**63 - 1
"""A time later than any other: what has no next event says it is due then."""


class Kind(IntEnum):
    """The low four bits of a row's ``kind``."""

    LEVEL = 1
    """A book level has a new total quantity."""
    TRADE = 2
    """A trade on the book; the side is the aggressor's."""
    SNAPSHOT = 3
    """The book is about to be told anew: forget every level. LEVEL rows follow, up to the last of
    the message."""
    GAP = 4
    """The book is unknown from here until a snapshot is complete. ``price`` is a `GapReason`."""
    BEST = 5
    """The best price and its quantity, from a stream of its own. Does not change the book."""
    MARK = 6
    """A mark price: ``quantity`` is the price times 1e8 (it is not on the tick grid)."""
    FUNDING = 7
    """A funding rate: ``quantity`` is the rate times 1e8, ``price`` the time of the next funding in
    seconds since the epoch."""
    OFF_BOOK = 8
    """A print that did not meet the book, such as a liquidation taken over by an insurance fund.
    It fills nobody."""


class GapReason(IntEnum):
    """Why the book is unknown: the ``price`` of a GAP row."""

    START = 0
    """No snapshot has arrived yet."""
    SEQUENCE = 1
    """An update is missing."""
    CONNECTION = 2
    """The connection was lost."""
    SILENCE = 3
    """Nothing arrived for longer than the watchdog allows."""
    RECORDER = 4
    """Nothing was recorded: the recorder had stopped, or was cut off."""
    CHECK = 5
    """The book could not be right: it was crossed, or the venue told other best prices again and again."""


KIND = 0x0F
"""Mask of the bits that hold the `Kind`."""
SELL = 0x10
"""Set for asks, and for trades whose aggressor sold."""
LAST = 0x80
"""Set on the last row of a message: only then is the book complete. The rows of one message share
``ts_local``."""

SCALE = 10**8
"""Fixed-point scale of MARK and FUNDING rows. Binance sends both with at most 8 decimals."""


class FeedStats(msgspec.Struct, kw_only=True):
    """What reading one feed found; part of every report.

    Attributes:
        messages: Messages of the chosen symbol and streams.
        gaps: Times that updates were missing or the connection was lost; while waiting for a snapshot, too.
        snapshots: Snapshots the book was built from.
        stale_snapshots: Snapshots that were older than the first update kept; refused.
        refused_snapshots: Snapshots that the next one disagreed with, or that could not be read; refused.
        tickers_compared: Best-price messages whose update id equals the book's.
        tickers_different: Those of them whose best price or size differed from the book's.
        off_book: Prints that did not meet the book.
        ignored: Messages of streams or symbols that were not asked for.
        clock_offset_ns: What was added to the recorder's clock, one figure a file, in order.
        notes: Anything else the reader of a report must know, in words.
    """

    messages: int = 0
    gaps: int = 0
    snapshots: int = 0
    stale_snapshots: int = 0
    refused_snapshots: int = 0
    tickers_compared: int = 0
    tickers_different: int = 0
    off_book: int = 0
    ignored: int = 0
    clock_offset_ns: list[int] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
