"""An exchange that plays recorded captures: what the streams said, when they said it."""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Container, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec

from mmkit.errors import CaptureError
from mmkit_sandbox.capture import read_lines
from mmkit_sandbox.channel import DIFF_INTERVALS, Channel, StreamKind, parse_stream
from mmkit_sandbox.exchange import AggTrade, Depth, Exchange, Mark, Message, PublicTrade
from mmkit_sandbox.grid import infer_listing
from mmkit_sandbox.listing import Listing
from mmkit_sandbox.replaybook import ReplayedBook, Snapshot
from mmkit_sandbox.scan import Scan, agg_trade_of, diff_of, envelope, mark_of, trade_of

_log = logging.getLogger(__name__)

_MS = 1_000_000
_PAUSE_NS = 120 * 10**9  # longer than any silence of a live market in the captures (43.5 s)
_KEPT_TRADES = 1000  # the most that GET trades answers with


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
        self, scans: Sequence[Scan], tick: Decimal | None = None, lot: Decimal | None = None
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
        self._agg_trades: dict[tuple[str, str], deque[AggTrade]] = {
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
            infer_listing(
                market, symbol, snapshots.get((market, symbol), []), scans, tick=tick, lot=lot
            )
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

    def agg_trades(self, listing: Listing) -> Sequence[AggTrade]:
        """Return the latest aggregate trades, oldest first; none if they were not recorded."""
        return self._agg_trades[listing.market, listing.symbol]

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
                self._books[key].apply(diff_of(data))
            for interval, source in sources.items():
                asked = channel._replace(interval_ms=interval)
                if source == line.stream and asked in wanted:
                    messages.append(Message(asked, data))
            return
        if channel.kind is StreamKind.TRADE:
            trade = trade_of(data)
            self._trades[key].append(PublicTrade(trade.t, trade.p, trade.q, trade.T, trade.m))
        elif channel.kind is StreamKind.AGG_TRADE:
            agg = agg_trade_of(data)
            self._agg_trades[key].append(AggTrade(agg.a, agg.p, agg.q, agg.f, agg.l, agg.T, agg.m))
        elif channel.kind is StreamKind.MARK_PRICE:
            mark = mark_of(data)
            self._marks[key] = Mark(mark.p, mark.i, mark.P, mark.r, mark.T, mark.E)
        if channel in wanted:
            messages.append(Message(channel, data))

    def _merge(self) -> Iterator[_Due]:
        files = [self._file(index, scan) for index, scan in enumerate(self._scans)]
        # Line numbers break ties, so payloads are never compared.
        return heapq.merge(*files, key=lambda line: (line.due, line.file, line.number))

    def _file(self, index: int, scan: Scan) -> Iterator[_Due]:
        offset, due = self._offsets[index], 0
        for line in read_lines(scan.path):
            if line.url:
                continue
            message = envelope(line.json)
            if message.stream:
                # A recorder's clock may step back; what was received in order stays in order.
                due = max(due, line.ts + offset)
                yield _Due(due, index, line.number, scan.market, message.stream, message.data)


def open_replay(
    paths: Sequence[Path], tick: Decimal | None = None, lot: Decimal | None = None
) -> ReplayedExchange:
    """Read captures once and return the exchange that plays them, in order of time.

    Raises:
        CaptureError: if a file cannot be read to its end, or there is no message in any of them.
    """
    exchange = ReplayedExchange([Scan(path) for path in paths], tick, lot)
    if not exchange.listings:
        names = ", ".join(str(path) for path in paths)
        raise CaptureError(
            f"{names}: no message of a Binance stream found; a capture has lines such as "
            '\'1723161255030314667 {"stream":"btcusdt@depth@100ms","data":{...}}\''
        )
    return exchange
