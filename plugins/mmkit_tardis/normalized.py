"""Normalised messages of tardis-machine as rows.

Wire format: tardis-node, ``src/types.ts``: trade, book_change, book_snapshot, book_ticker, derivative_ticker,
liquidation, disconnect, error. Times are ISO 8601, with up to six decimals of a second.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import ClassVar, Literal

import msgspec

from mmkit.errors import FeedError, OffGrid
from mmkit.instruments import Instrument
from mmkit.tape import LAST, SCALE, SELL, FeedStats, GapReason, Kind, Row
from mmkit_tardis.rows import JUST_BEFORE

_log = logging.getLogger("mmkit.tardis")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXCERPT = 100


class _Level(msgspec.Struct):
    # A depth message of an exchange that has no level there leaves them out.
    price: Decimal | None = None
    amount: Decimal | None = None


class _Message(msgspec.Struct, tag_field="type", rename="camel", kw_only=True):
    exchange: str
    symbol: str
    timestamp: datetime
    local_timestamp: datetime


class _Trade(_Message, tag="trade"):
    price: Decimal
    amount: Decimal
    side: Literal["buy", "sell", "unknown"]


class _Liquidation(_Message, tag="liquidation"):
    price: Decimal
    amount: Decimal
    side: Literal["buy", "sell", "unknown"]


class _BookChange(_Message, tag="book_change"):
    is_snapshot: bool
    bids: list[_Level]
    asks: list[_Level]


class _BookSnapshot(_Message, tag="book_snapshot"):
    depth: int
    bids: list[_Level]
    asks: list[_Level]


class _BookTicker(_Message, tag="book_ticker"):
    ask_amount: Decimal | None = None
    ask_price: Decimal | None = None
    bid_price: Decimal | None = None
    bid_amount: Decimal | None = None


class _DerivativeTicker(_Message, tag="derivative_ticker"):
    mark_price: Decimal | None = None
    funding_rate: Decimal | None = None
    funding_timestamp: datetime | None = None


class _Disconnect(msgspec.Struct, tag="disconnect", tag_field="type", rename="camel"):
    exchange: str
    local_timestamp: datetime
    symbols: list[str] | None = None


class _Error(msgspec.Struct, tag="error", tag_field="type", rename="camel"):
    exchange: str
    local_timestamp: datetime
    details: str = ""
    sub_sequent_errors_count: int = 0


_Any = (
    _Trade
    | _Liquidation
    | _BookChange
    | _BookSnapshot
    | _BookTicker
    | _DerivativeTicker
    | _Disconnect
    | _Error
)
_decoder: msgspec.json.Decoder[_Any] = msgspec.json.Decoder(_Any)


class Normalized:
    """Turns messages about one instrument into rows. No I/O, no clock.

    Args:
        instrument: What the rows are about.
        exchange: Tardis's id of the exchange.
        types: The data types that were asked for.
    """

    BOOK: ClassVar = "book_change"

    def __init__(self, instrument: Instrument, exchange: str, types: tuple[str, ...]) -> None:
        self._instrument, self._exchange = instrument, exchange
        self._changes = self.BOOK in types
        self._snapshots = any(name.startswith("book_snapshot") for name in types)
        self._quotes = any(name.startswith("quote") for name in types)
        self.stats = FeedStats()
        self.skipped = 0
        """Changes of the book while it was unknown."""
        self._started = self._known = self._gap_told = False
        self._time = 0  # the latest of the book, by the exchange's clock

    def message(self, raw: bytes | str, ts_local: int | None = None) -> list[Row]:
        """Return the rows of one message.

        Args:
            raw: One JSON object.
            ts_local: When it was received, ns; `None` for when tardis-machine says that it was.

        Raises:
            FeedError: if it is no such message; it says what was found.
            OffGrid: if a price or amount is not on the grid.
        """
        try:
            found = _decoder.decode(raw)
        except msgspec.ValidationError as error:
            raise FeedError(
                f"a normalised message of tardis-machine was expected, but {_lower(error)}; found {excerpt(raw)}"
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FeedError(
                f"a message of tardis-machine as JSON was expected; found {excerpt(raw)}"
            ) from error
        local = _ns(found.local_timestamp) if ts_local is None else ts_local
        if found.exchange != self._exchange:
            self.stats.ignored += 1
            return []
        if isinstance(found, _Error):
            _log.warning(
                "tardis-machine: error=%s in_a_row=%d",
                excerpt(found.details),
                found.sub_sequent_errors_count,
            )
            return []
        if isinstance(found, _Disconnect):
            if found.symbols and self._instrument.native not in found.symbols:
                return []
            return self.lost(GapReason.CONNECTION, local)
        if found.symbol != self._instrument.native:
            self.stats.ignored += 1
            return []
        self.stats.messages += 1
        at = _ns(found.timestamp)
        if ts_local is not None:
            at = min(at, ts_local)  # the exchange's clock is ahead of ours
        try:
            rows = self._rows(found, at, local)
        except OffGrid as error:
            raise OffGrid(
                f"{error}; are 'instrument.tick' and 'instrument.lot' those of this market?"
            ) from error
        if rows and not self._started:
            self._started = True
            rows.insert(0, (rows[0][0], local, Kind.GAP | LAST, GapReason.START, 0))
        return rows

    def lost(self, reason: int, ts_local: int) -> list[Row]:
        """Say that messages may have been missed; the book is unknown until the next snapshot."""
        if not self._started or self._gap_told:
            return []  # it is unknown already, and that was said
        self._known, self._gap_told = False, True
        self.stats.gaps += 1
        return [(self._time or ts_local, ts_local, Kind.GAP | LAST, reason, 0)]

    def _rows(self, found: _Message, at: int, local: int) -> list[Row]:
        match found:
            case _BookChange():
                return self._change(found, at, local)
            case _BookSnapshot(depth=depth):
                # A quote is a book_snapshot of one level.
                if depth == 1 and self._quotes and (self._changes or self._snapshots):
                    return self._best(found.bids, found.asks, at, local)
                return self._book(found.bids, found.asks, at, local)
            case _BookTicker():
                bids = [_Level(found.bid_price, found.bid_amount)]
                asks = [_Level(found.ask_price, found.ask_amount)]
                if self._changes or self._snapshots:
                    return self._best(bids, asks, at, local)
                return self._book(bids, asks, at, local)
            case _Trade():
                return self._trade(found, at - JUST_BEFORE, local, off_book=found.side == "unknown")
            case _Liquidation():
                return self._trade(found, at, local, off_book=True)
            case _DerivativeTicker():
                return _derivative(found, at, local)
        raise AssertionError(found)

    def _change(self, found: _BookChange, at: int, local: int) -> list[Row]:
        if found.is_snapshot:
            return self._book(found.bids, found.asks, at, local)
        if not self._known:
            self.skipped += 1
            return []
        self._time = at = max(at, self._time)
        return _ended(self._levels(Kind.LEVEL, found.bids, found.asks, at, local))

    def _book(self, bids: list[_Level], asks: list[_Level], at: int, local: int) -> list[Row]:
        self.stats.snapshots += 1
        self._known, self._gap_told = True, False
        self._time = at = max(at, self._time)
        levels = self._levels(Kind.LEVEL, bids, asks, at, local)
        return _ended([(at, local, int(Kind.SNAPSHOT), 0, 0), *levels])

    def _best(self, bids: list[_Level], asks: list[_Level], at: int, local: int) -> list[Row]:
        return _ended(self._levels(Kind.BEST, bids, asks, at, local))

    def _levels(
        self, kind: int, bids: list[_Level], asks: list[_Level], at: int, local: int
    ) -> list[Row]:
        ticks, lots = self._instrument.ticks, self._instrument.lots
        rows: list[Row] = []
        for levels, what in ((bids, int(kind)), (asks, kind | SELL)):
            for level in levels:
                if level.price is None and level.amount is None:
                    continue
                if level.price is None or level.amount is None or level.amount < 0:
                    raise FeedError(
                        f"a price and an amount of zero or more were expected of a level; found {level.price} "
                        f"and {level.amount}"
                    )
                rows.append((at, local, what, ticks(level.price), lots(level.amount)))
        return rows

    def _trade(
        self, found: _Trade | _Liquidation, at: int, local: int, *, off_book: bool
    ) -> list[Row]:
        self.stats.off_book += off_book
        kind = Kind.OFF_BOOK if off_book else Kind.TRADE
        side = SELL if found.side == "sell" else 0
        instrument = self._instrument
        price, quantity = instrument.ticks(found.price), instrument.lots(found.amount)
        return [(at, local, kind | side | LAST, price, quantity)]


def _derivative(found: _DerivativeTicker, at: int, local: int) -> list[Row]:
    rows: list[Row] = []
    if found.mark_price is not None:
        rows.append((at, local, int(Kind.MARK), 0, _scaled(found.mark_price)))
    if found.funding_rate is not None and found.funding_timestamp is not None:
        due = _ns(found.funding_timestamp) // 1_000_000_000
        rows.append((at, local, int(Kind.FUNDING), due, _scaled(found.funding_rate)))
    return _ended(rows)


def _ended(rows: list[Row]) -> list[Row]:
    if rows:
        at, local, kind, price, quantity = rows[-1]
        rows[-1] = (at, local, kind | LAST, price, quantity)
    return rows


def _scaled(value: Decimal) -> int:
    scaled = value * SCALE
    if scaled != scaled.to_integral_value():
        raise FeedError(f"a mark price or rate of at most 8 decimals was expected; found {value}")
    return int(scaled)


def _ns(time: datetime) -> int:
    if time.tzinfo is None:
        raise FeedError(f"a time with its zone was expected; found {time.isoformat()}")
    since = time - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def excerpt(raw: bytes | str) -> str:
    """Return the beginning of what was found, in words fit for an error message."""
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "backslashreplace")
    text = " ".join(text.split())
    if not text:
        return "nothing"
    shown = repr(text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…")
    return f"a web page, {shown}: something else listens there" if text[:1] == "<" else shown


def _lower(error: Exception) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]
