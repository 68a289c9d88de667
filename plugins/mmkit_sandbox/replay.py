"""An exchange that plays recorded captures: what the streams said, when they said it."""

from __future__ import annotations

import heapq
import logging
import math
from collections import deque
from collections.abc import Container, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec

from mmkit.errors import CaptureError
from mmkit_sandbox.capture import Line, read_lines
from mmkit_sandbox.channel import DIFF_INTERVALS, Channel, StreamKind, parse_stream
from mmkit_sandbox.exchange import Depth, Exchange, Mark, Message, PriceLevel, PublicTrade
from mmkit_sandbox.listing import SPOT, USDM, Listing
from mmkit_sandbox.replaybook import Diff, ReplayedBook, Snapshot

_log = logging.getLogger(__name__)

_MS = 1_000_000
_PAUSE_NS = 120 * 10**9  # longer than any silence of a live market in the captures (43.5 s)
_KEPT_TRADES = 1000  # the most that GET trades answers with
_GRID_SAMPLE = 20_000  # levels that the grid is inferred from: a snapshot or two, and what follows
_PLACES = 8  # Binance writes no more

# The currencies Binance quotes in, longest first, so that BTCFDUSD is BTC in FDUSD.
_QUOTES = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL")


class _Envelope(msgspec.Struct):
    """What a line may hold: a message of a combined stream, or a snapshot."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    last_update_id: int | None = msgspec.field(default=None, name="lastUpdateId")


class _Stamp(msgspec.Struct):
    """When a message was sent, and on USD-M the two fields that spot does not have."""

    E: int = 0
    e: str = ""
    pu: int | None = None


class _Trade(msgspec.Struct):
    t: int
    p: str
    q: str
    T: int
    m: bool


class _MarkPrice(msgspec.Struct):
    E: int
    p: str
    i: str = "0"
    P: str = "0"
    r: str = "0"
    T: int = 0


_envelope = msgspec.json.Decoder(_Envelope).decode
_stamp = msgspec.json.Decoder(_Stamp).decode
_diff = msgspec.json.Decoder(Diff).decode
_snapshot = msgspec.json.Decoder(Snapshot).decode
_trade = msgspec.json.Decoder(_Trade).decode
_mark = msgspec.json.Decoder(_MarkPrice).decode


class _Scan:
    """What one reading of a file finds out before it is played."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.market = ""
        self.first_ts = 0
        self.messages = 0
        self.offset_ns: int | None = None
        self.streams: dict[str, None] = {}
        self.snapshots: dict[str, list[Snapshot]] = {}
        anonymous: list[Snapshot] = []
        for line in read_lines(path):
            try:
                self._read(line, anonymous)
            except msgspec.MsgspecError as error:
                raise CaptureError(
                    f"{path}:{line.number}: not a Binance message: {error}"
                ) from error
        self.symbols = list(dict.fromkeys(name.partition("@")[0].upper() for name in self.streams))
        if anonymous and len(self.symbols) == 1:
            self.snapshots.setdefault(self.symbols[0], []).extend(anonymous)
        elif anonymous:
            _log.warning(
                "snapshots without a symbol left out: the file has several; file=%s symbols=%s",
                path,
                ",".join(self.symbols),
            )
        self.market = self.market or SPOT

    def _read(self, line: Line, anonymous: list[Snapshot]) -> None:
        self.first_ts = self.first_ts or line.ts
        if line.url:
            address = urlsplit(line.url)
            if address.path.endswith("/depth"):
                self.market = USDM if "/fapi/" in address.path else self.market
                symbol = parse_qs(address.query).get("symbol", [""])[0]
                self.snapshots.setdefault(symbol, []).append(_snapshot(line.json))
            return
        envelope = _envelope(line.json)
        if envelope.last_update_id is not None:
            anonymous.append(_snapshot(line.json))
        elif envelope.stream:
            self.messages += 1
            self.streams[envelope.stream] = None
            stamp = _stamp(envelope.data)
            if stamp.pu is not None or (stamp.e == "bookTicker"):
                self.market = USDM
            if stamp.E:
                offset = stamp.E * _MS - line.ts
                self.offset_ns = offset if self.offset_ns is None else max(self.offset_ns, offset)


class _Due(NamedTuple):
    """A message and when it is played, in ns of the exchange's clock."""

    due: int
    file: int
    number: int
    market: str
    stream: str
    data: msgspec.Raw


class ReplayedExchange(Exchange):
    """Plays captures on the exchange's own recorded clock.

    A message is due when it was received, on the recorder's clock moved onto the exchange's by the
    largest difference found between the two: no message is ever played before the time it bears.
    Streams that were not recorded stay silent; every depth stream of a symbol gets the recorded one.

    Args:
        scans: What a first reading of the files has found.
        tick: Price step, or `None` to infer it from the prices.
        lot: Quantity step, or `None` to infer it likewise.
    """

    def __init__(
        self, scans: Sequence[_Scan], tick: Decimal | None = None, lot: Decimal | None = None
    ) -> None:
        self._scans = scans
        snapshots: dict[tuple[str, str], list[Snapshot]] = {}
        streams: dict[tuple[str, str], dict[int, str]] = {}
        for scan in scans:
            for symbol, found in scan.snapshots.items():
                snapshots.setdefault((scan.market, symbol), []).extend(found)
            for name in scan.streams:
                channel = parse_stream(scan.market, name)
                if channel is not None:
                    intervals = streams.setdefault((channel.market, channel.symbol), {})
                    if channel.kind is StreamKind.DIFF:
                        intervals.setdefault(channel.interval_ms, name)
        self._books = {key: ReplayedBook(snapshots.get(key, [])) for key in streams}
        # Which recorded stream each depth stream gets: its own, or else the fastest.
        self._sources = {
            key: {
                interval: intervals.get(interval, intervals[min(intervals)])
                for interval in DIFF_INTERVALS[key[0]]
            }
            for key, intervals in streams.items()
            if intervals
        }
        self._trades: dict[tuple[str, str], deque[PublicTrade]] = {
            key: deque(maxlen=_KEPT_TRADES) for key in streams
        }
        self._marks: dict[tuple[str, str], Mark] = {}
        # Files of one recorder share a clock; one that only holds REST answers has no offset.
        known = [scan.offset_ns for scan in scans if scan.offset_ns is not None]
        self._offsets = [
            scan.offset_ns if scan.offset_ns is not None else max(known, default=0)
            for scan in scans
        ]
        self._lines = self._merge()
        self._next: _Due | None = next(self._lines, None)
        self.start_ns = self._next.due - 1 if self._next else 0
        """The exchange's time when the replay begins: nothing is due yet."""
        self.messages = sum(scan.messages for scan in scans)
        """How many messages there are to play."""
        self.streams = tuple(dict.fromkeys(name for scan in scans for name in scan.streams))
        """The streams that were recorded, such as ``btcusdt@trade``."""
        self.played = 0
        """How many have been played."""
        self.listings = [
            _infer(market, symbol, snapshots.get((market, symbol), []), scans, tick=tick, lot=lot)
            for market, symbol in streams
        ]
        for market, symbol in streams:
            if not snapshots.get((market, symbol)):
                _log.warning(
                    "the capture has no snapshot, so GET depth cannot be answered; "
                    "market=%s symbol=%s",
                    market,
                    symbol,
                )

    def advance(self, now_ns: int, wanted: Container[Channel]) -> list[Message]:
        """Play everything that is due by `now_ns`."""
        messages: list[Message] = []
        while (line := self._next) is not None and line.due <= now_ns:
            self._next = next(self._lines, None)
            self.played += 1
            self._play(line, wanted, messages)
            if self._next is None:
                _log.info(
                    "the capture has been played to its end, the streams are silent from here; "
                    "messages=%d",
                    self.played,
                )
        return messages

    def pause_until(self, now_ns: int) -> int | None:
        """Return the time of the next message if it is more than two minutes away."""
        if self._next is None or self._next.due - now_ns < _PAUSE_NS:
            return None
        return self._next.due

    def depth(self, listing: Listing, limit: int) -> Depth | None:
        """Return the book after the last message played, or `None` if it cannot be known."""
        return self._books[listing.market, listing.symbol].depth(limit)

    def trades(self, listing: Listing, limit: int) -> list[PublicTrade]:
        """Return the latest trades, oldest first."""
        return list(self._trades[listing.market, listing.symbol])[-limit:]

    def mark(self, listing: Listing) -> Mark | None:
        """Return the mark price played last, or `None` if none has been."""
        return self._marks.get((listing.market, listing.symbol))

    def _play(self, line: _Due, wanted: Container[Channel], messages: list[Message]) -> None:
        channel = parse_stream(line.market, line.stream)
        if channel is None:
            return
        key, data = (channel.market, channel.symbol), bytes(line.data)
        if channel.kind is StreamKind.DIFF:
            sources = self._sources[key]
            # The fastest recorded depth stream keeps the book.
            if line.stream == sources[min(sources)]:
                self._books[key].apply(_diff(data))
            for interval, source in sources.items():
                asked = channel._replace(interval_ms=interval)
                if source == line.stream and asked in wanted:
                    messages.append(Message(asked, data))
            return
        if channel.kind is StreamKind.TRADE:
            trade = _trade(data)
            self._trades[key].append(PublicTrade(trade.t, trade.p, trade.q, trade.T, trade.m))
        elif channel.kind is StreamKind.MARK_PRICE:
            mark = _mark(data)
            self._marks[key] = Mark(mark.p, mark.i, mark.P, mark.r, mark.T, mark.E)
        if channel in wanted:
            messages.append(Message(channel, data))

    def _merge(self) -> Iterator[_Due]:
        files = [self._file(index, scan) for index, scan in enumerate(self._scans)]
        # Line numbers break ties, so payloads are never compared.
        return heapq.merge(*files, key=lambda line: (line.due, line.file, line.number))

    def _file(self, index: int, scan: _Scan) -> Iterator[_Due]:
        offset, due = self._offsets[index], 0
        for line in read_lines(scan.path):
            if line.url:
                continue
            envelope = _envelope(line.json)
            if envelope.stream:
                # A recorder's clock may step back; what was received in order stays in order.
                due = max(due, line.ts + offset)
                yield _Due(due, index, line.number, scan.market, envelope.stream, envelope.data)


def open_replay(
    paths: Sequence[Path], tick: Decimal | None = None, lot: Decimal | None = None
) -> ReplayedExchange:
    """Read captures once and return the exchange that plays them, in order of time.

    Raises:
        CaptureError: if a file cannot be read to its end, or there is no message in any of them.
    """
    exchange = ReplayedExchange([_Scan(path) for path in paths], tick, lot)
    if not exchange.listings:
        names = ", ".join(str(path) for path in paths)
        raise CaptureError(
            f"{names}: no message of a Binance stream found; a capture has lines such as "
            '\'1723161255030314667 {"stream":"btcusdt@depth@100ms","data":{...}}\''
        )
    return exchange


def _infer(
    market: str,
    symbol: str,
    snapshots: Sequence[Snapshot],
    scans: Sequence[_Scan],
    *,
    tick: Decimal | None,
    lot: Decimal | None,
) -> Listing:
    """List a recorded symbol: its grid is the greatest step that all its prices are multiples of."""
    prices, quantities = _Step(), _Step()
    for level in _levels(market, symbol, snapshots, scans):
        prices.take(level[0])
        quantities.take(level[1])
    base, quote = _split(symbol)
    return Listing(
        market,
        base,
        quote,
        tick=tick or prices.decimal(market),
        lot=lot or quantities.decimal(market),
        price=Decimal(prices.last or "1"),
        symbol=symbol,
    )


def _levels(
    market: str, symbol: str, snapshots: Sequence[Snapshot], scans: Sequence[_Scan]
) -> Iterator[PriceLevel]:
    """Yield book levels of a symbol, the snapshots' first, until there are enough to infer from."""
    count = 0
    for snapshot in snapshots[:2]:
        yield from snapshot.bids
        yield from snapshot.asks
        count += len(snapshot.bids) + len(snapshot.asks)
    for scan in scans:
        if scan.market != market or count > _GRID_SAMPLE:
            continue
        for line in read_lines(scan.path):
            if count > _GRID_SAMPLE:
                break
            envelope = _envelope(line.json) if not line.url else _Envelope()
            channel = parse_stream(market, envelope.stream)
            if channel is None or channel.symbol != symbol:
                continue
            if channel.kind is StreamKind.DIFF:
                diff = _diff(envelope.data)
                yield from diff.b
                yield from diff.a
                count += len(diff.b) + len(diff.a)
            elif channel.kind is StreamKind.TRADE:
                trade = _trade(envelope.data)
                yield trade.p, trade.q
                count += 1


class _Step:
    """The greatest common divisor of decimal texts."""

    def __init__(self) -> None:
        self._units = self._places = 0
        self.last = ""

    def take(self, text: str) -> None:
        """Take one number into account."""
        whole, _, fraction = text.partition(".")
        self._places = max(self._places, len(fraction))
        self._units = math.gcd(self._units, int(whole + fraction.ljust(_PLACES, "0")))
        self.last = text

    def decimal(self, market: str) -> Decimal:
        """Return it; on USD-M with as many places as the numbers were written with."""
        step = Decimal(self._units or 1).scaleb(-_PLACES)
        if market == SPOT:
            return step.normalize()
        return step.quantize(Decimal(1).scaleb(-self._places))


def _split(symbol: str) -> tuple[str, str]:
    """Return base and quote currency of one of Binance's names."""
    for quote in _QUOTES:
        if symbol.endswith(quote) and symbol != quote:
            return symbol.removesuffix(quote), quote
    return symbol, ""
