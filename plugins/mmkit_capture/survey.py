"""The first reading of capture files: what is there, and how far the recorder's clock is off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from mmkit.errors import CaptureError, FeedError
from mmkit.interfaces import MessageInfo, WireFormat
from mmkit_capture.files import CaptureFile, Line
from mmkit_capture.repeats import Run, StreamSpan

PAUSE = 10_000
"""Lines read between two yields, so that whoever reads can be interrupted."""


@dataclass
class FileSurvey:
    """What one file holds.

    Attributes:
        file: The file.
        lines: Lines that carry a message.
        first_local: Local time of the first, by the recorder's clock, ns.
        last_local: Local time of the last.
        symbols: Messages by the venue's own name of the instrument.
        streams: Messages of the chosen symbol by stream.
        nearest: Smallest ``local - exchange`` of the chosen symbol by stream, ns.
        books: Symbols with updates of the book.
        nameless: Line of the first snapshot that does not say whose it is.
        spans: When and what it holds of the chosen symbol, by stream.
    """

    file: CaptureFile
    lines: int = 0
    first_local: int = 0
    last_local: int = 0
    symbols: Counter[str] = field(default_factory=Counter)
    streams: Counter[str] = field(default_factory=Counter)
    nearest: dict[str, int] = field(default_factory=dict)
    books: set[str] = field(default_factory=set)
    nameless: int | None = None
    spans: dict[str, StreamSpan] = field(default_factory=dict)

    def take(self, line: Line, info: MessageInfo | None, native: str) -> bool:
        """Take in a line and what it is about; return whether that is the chosen symbol's, `native`."""
        if not self.lines:
            self.first_local = line.ts_local
        self.lines += 1
        self.last_local = line.ts_local
        if info is None:
            return False
        if info.symbol:
            self.symbols[info.symbol] += 1
            if info.stream.startswith("depth"):
                self.books.add(info.symbol)
        elif info.stream == "snapshot" and self.nameless is None:
            self.nameless = line.number
        if info.symbol not in ("", native) or (not info.symbol and info.stream != "snapshot"):
            return False
        self.streams[info.stream] += 1
        if info.ts_exchange is not None:
            self.near(info.stream, line.ts_local - info.ts_exchange)
        span = self.span(info.stream, line.ts_local, line.ts_local)
        if info.ids is None or info.ids[0] > info.ids[1]:
            span.numbered = False
        else:
            at = info.ts_exchange or 0
            span.add(Run(*info.ids, at, at), line.number)
        return True

    def near(self, stream: str, distance: int) -> None:
        """Take notice of a ``local - exchange``, ns."""
        self.nearest[stream] = min(distance, self.nearest.get(stream, distance))

    def span(self, stream: str, first_local: int, last_local: int) -> StreamSpan:
        """Return the span of a stream, which goes on until `last_local`."""
        found = self.spans.get(stream)
        if found is None:
            found = self.spans[stream] = StreamSpan(first_local, last_local)
        found.last_local = last_local
        return found


@dataclass
class Numbers:
    """The distinct decimals of one symbol, as they are written."""

    prices: set[str] = field(default_factory=set)
    quantities: set[str] = field(default_factory=set)


def survey(
    file: CaptureFile, wire: WireFormat, native: str, numbers: Numbers | None = None
) -> Generator[None, None, FileSurvey]:
    """Read a file through once.

    Args:
        file: What to read.
        wire: Says what a message is about; takes nothing in.
        native: The chosen symbol, by the venue's own name.
        numbers: Filled with the chosen symbol's decimals if given.

    Raises:
        CaptureError: if the file cannot be read, or holds no message at all.
    """
    found = FileSurvey(file)
    for line in file.lines():
        if found.lines % PAUSE == 0:
            yield
        info = inform(file, line, wire, numbers is not None)
        if found.take(line, info, native) and info is not None and numbers is not None:
            numbers.prices.update(info.prices)
            numbers.quantities.update(info.quantities)
    if not found.lines:
        raise CaptureError(
            f"{file.path}: lines of '<local time> <json>' were expected; found none"
            + (f" among {file.skipped} lines" if file.skipped else ", the file is empty")
        )
    return found


def inform(
    file: CaptureFile, line: Line, wire: WireFormat, numbers: bool = False
) -> MessageInfo | None:
    """Return what a line's message is about; `None` if it is no market data.

    A REST answer does not name its symbol; the address it came from does.

    Raises:
        CaptureError: if the message is not of the venue's format.
    """
    if line.url and requested_book(line.url) is None:
        return None
    try:
        info = wire.describe(line.body, numbers)
    except FeedError as error:
        raise CaptureError(f"{file.path}:{line.number}: {error}") from error
    if info is not None and line.url:
        symbol = requested_book(line.url) or ""
        return MessageInfo(
            symbol=symbol,
            stream="snapshot",
            ts_exchange=info.ts_exchange,
            prices=info.prices,
            quantities=info.quantities,
        )
    return info


def requested_book(url: str) -> str | None:
    """Return the symbol of a request for a snapshot of the book; `None` for any other request."""
    parts = urlsplit(url)
    if not parts.path.endswith("/depth"):
        return None
    return (parse_qs(parts.query).get("symbol") or [""])[0].upper() or None
