"""What may be found in recorded market data, how bad it is, and where it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    from mmkit.tape import FeedStats, Tape

Grade = Literal["error", "note"]
"""An error makes a backtest wrong, or blind for a while; a note is true of sound data, too."""


class Code(NamedTuple):
    """One kind of finding."""

    grade: Grade
    meaning: str


CODES: dict[str, Code] = {
    # The files.
    "unreadable": Code("error", "a file is cut short or damaged"),
    "broken_line": Code("error", "a line that is no message of the venue"),
    "time_back": Code("error", "local time goes back"),
    "recorded_twice": Code("error", "a stream that two files hold at once"),
    "off_grid": Code("error", "a price or quantity off the grid of tick and lot"),
    # The ids of the venue.
    "missing_update": Code("error", "an update of the book is missing"),
    "missing_trade": Code("error", "trade ids that are not contiguous"),
    "repeated_trade": Code("error", "a trade that is told twice"),
    "trade_order": Code("error", "trades out of the order of their ids"),
    "repeated_update": Code("note", "an update that was told before; left out"),
    "ids_reset": Code("note", "the venue began to count anew"),
    # The snapshot.
    "no_snapshot": Code("error", "no snapshot fits the updates, so the book is never known"),
    "stale_snapshot": Code("note", "a snapshot older than the stream; left out"),
    "unknown_at_start": Code("note", "the book is unknown until the first snapshot"),
    # The recorder.
    "connection_lost": Code("error", "the recorder lost its connection"),
    "silence": Code("error", "the recorder heard nothing for too long"),
    "not_recorded": Code("error", "the recorder had stopped, or was cut off"),
    "clock_step": Code("error", "the recorder's clock was set while it recorded"),
    "clock_offset": Code("note", "the recorder's clock was behind the venue's; removed"),
    # The book.
    "crossed": Code("error", "the best bid is above the best ask"),
    "book_doubted": Code("error", "the book could not be right, and the recorder built it anew"),
    "locked": Code("error", "the best bid equals the best ask"),
    "ticker_different": Code("error", "a best price that differs from the rebuilt book's"),
    "price_range": Code("error", "prices too far apart for one book"),
    "one_sided": Code("note", "a side of the book is empty"),
    "quiet": Code("note", "no update of the book for long, for this symbol"),
    # The trades.
    "far_trade": Code("error", "a trade far outside the book"),
    "outside_trade": Code(
        "note", "a trade outside the book as last told, which lags behind trades"
    ),
    "off_book": Code("note", "a print that did not meet the book; fills nobody"),
    # What the reader says.
    "grid_taken": Code("note", "tick and lot were taken from the data"),
    "skipped_lines": Code("note", "lines that carry no message"),
    "reader": Code("note", "what the reader noted"),
}
"""Every kind, by its code; ``docs/data.md`` lists them."""

_KEPT = 1000
"""Places kept of each kind; all are counted."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where something was found.

    Attributes:
        where: ``file:line``, or a time where no line is known.
        at_ns: Local time, ns since the epoch; `None` if it is not known.
        words: What was found there.
    """

    where: str
    at_ns: int | None = None
    words: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found of one kind.

    Attributes:
        code: Which, of `CODES`.
        grade: How bad it is.
        meaning: What it is, in words.
        count: How often.
        places: Where, in the order in which it was found; the first 1,000.
    """

    code: str
    grade: Grade
    meaning: str
    count: int
    places: tuple[Place, ...]


class Notebook:
    """Takes findings in; of one kind at one place there is one."""

    def __init__(self) -> None:
        self._places: dict[str, dict[str, Place]] = {}
        self._beyond: dict[str, int] = {}

    def add(self, code: str, where: str, words: str = "", at_ns: int | None = None) -> None:
        """Note something; `code` is one of `CODES`."""
        assert code in CODES
        places = self._places.setdefault(code, {})
        if where in places:
            return
        if len(places) < _KEPT:
            places[where] = Place(where=where, at_ns=at_ns, words=words)
        else:
            self._beyond[code] = self._beyond.get(code, 0) + 1

    def drop(self, code: str, where: str) -> None:
        """Forget what turned out to be something else."""
        self._places.get(code, {}).pop(where, None)

    def findings(self) -> list[Finding]:
        """Return what was found, in the order of `CODES`."""
        return [
            Finding(
                code=code,
                grade=CODES[code].grade,
                meaning=CODES[code].meaning,
                count=len(places) + self._beyond.get(code, 0),
                places=tuple(places.values()),
            )
            for code in CODES
            if (places := self._places.get(code))
        ]


@dataclass(frozen=True)
class SourceCheck:
    """What a data source says of its data.

    Attributes:
        tape: What could be made of the data; `None` if nothing could.
        notes: What was found that the tape does not tell.
        where: The place of a row of the tape, such as ``file:line``; `None` if only its time is known.
        remarks: What else is to be said of a place, such as why a print did not meet the book.
    """

    tape: Tape | None
    notes: Notebook
    where: Callable[[int], str] | None = None
    remarks: Mapping[str, str] = field(default_factory=dict)


def of_stats(stats: FeedStats) -> Notebook:
    """Return what a reader counted, for a source that knows no places."""
    notes = Notebook()
    for number, offset in enumerate(stats.clock_offset_ns, 1):
        if offset:
            notes.add("clock_offset", f"file {number}", f"by {offset / 1e6:,.3f} ms")
    if stats.tickers_different:
        words = f"{stats.tickers_different} of {stats.tickers_compared} compared"
        notes.add("ticker_different", "somewhere", words)
    if stats.stale_snapshots:
        notes.add("stale_snapshot", "somewhere", f"{stats.stale_snapshots} of them")
    for note in stats.notes:
        notes.add("reader", note)
    return notes
