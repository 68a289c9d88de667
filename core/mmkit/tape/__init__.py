"""Market data as rows of a few integers: what they say, in memory and on disk."""

from __future__ import annotations

from mmkit.tape.gaps import Gap, gaps_of, unknown_ns
from mmkit.tape.records import RECORD, messages_from_records, records, tape_from_records
from mmkit.tape.rows import KIND, LAST, NEVER, SCALE, SELL, FeedStats, GapReason, Kind, Row
from mmkit.tape.tape import NAMES, RELEASED, Tape

__all__ = [
    "KIND",
    "LAST",
    "NAMES",
    "NEVER",
    "RECORD",
    "RELEASED",
    "SCALE",
    "SELL",
    "FeedStats",
    "Gap",
    "GapReason",
    "Kind",
    "Row",
    "Tape",
    "gaps_of",
    "messages_from_records",
    "records",
    "tape_from_records",
    "unknown_ns",
]
