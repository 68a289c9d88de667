"""The first reading of capture files: what is there, and how far the recorder's clock is off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from decimal import Decimal
from math import gcd
from urllib.parse import parse_qs, urlsplit

from mmkit.errors import CaptureError, FeedError
from mmkit.interfaces import MessageInfo, WireFormat
from mmkit_capture.files import CaptureFile, Line

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
        if not found.lines:
            found.first_local = line.ts_local
        found.lines += 1
        found.last_local = line.ts_local
        info = inform(file, line, wire, numbers is not None)
        if info is None:
            continue
        if info.symbol:
            found.symbols[info.symbol] += 1
            if info.stream.startswith("depth"):
                found.books.add(info.symbol)
        elif info.stream == "snapshot" and found.nameless is None:
            found.nameless = line.number
        if info.symbol not in ("", native) or (not info.symbol and info.stream != "snapshot"):
            continue
        found.streams[info.stream] += 1
        if info.ts_exchange is not None:
            distance = line.ts_local - info.ts_exchange
            found.nearest[info.stream] = min(distance, found.nearest.get(info.stream, distance))
        if numbers is not None:
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


def common_step(texts: set[str]) -> Decimal | None:
    """Return the largest step that every number is a multiple of; `None` if all are zero."""
    places = max((len(text.partition(".")[2].rstrip("0")) for text in texts), default=0)
    step = 0
    for text in texts:
        step = gcd(step, int(Decimal(text).scaleb(places)))
    return Decimal(step).scaleb(-places) if step else None
