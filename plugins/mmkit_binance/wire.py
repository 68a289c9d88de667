"""Binance's messages about one instrument as rows of the tape: spot, USD-M and COIN-M."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import msgspec

from mmkit.errors import ConfigError, FeedError, Mistake
from mmkit.instruments import GridParser
from mmkit.interfaces import FastReader, MessageInfo, PluginConfig, WireFormat, WireFormatContext
from mmkit.tape import LAST, SCALE, SELL, FeedStats, Kind, Row
from mmkit_binance import messages
from mmkit_binance.lots import Memory, SpotLots
from mmkit_binance.messages import Head, Times, TradeTimes, decode, nanoseconds
from mmkit_binance.sync import BookSync, FuturesRules, LevelRow, Snapshot, SpotRules, Step, Update
from mmkit_binance.tickers import Best, TickerCheck

if TYPE_CHECKING:
    from mmkit_binance.fast import CompiledCheck

PARTIAL = ("depth5", "depth10", "depth20")
"""Streams that tell the top of the book anew with every message."""
BOOK = ("depth", *PARTIAL)
TRADES = ("trade", "aggTrade")
STREAMS = (*BOOK, *TRADES, "bookTicker", "markPrice")
"""Streams that can become rows."""
INTERVALS = (
    "1s",
    "1m",
    "3m",
    "5m",
    "15m",
    "30m",
    "1h",
    "2h",
    "4h",
    "6h",
    "8h",
    "12h",
    "1d",
    "3d",
    "1w",
    "1M",
)
"""Of klines; ``1s`` on spot only."""
CHECKED = ("forceOrder", *(f"kline_{interval}" for interval in INTERVALS))
"""Streams that are decoded and checked, and become no rows: a tape has no kind for them."""

_EVENTS = {
    "depthUpdate": "depth",
    "trade": "trade",
    "aggTrade": "aggTrade",
    "bookTicker": "bookTicker",
    "markPriceUpdate": "markPrice",
    "forceOrder": "forceOrder",
}
_MOST_PLACES = 12  # of a grid; beyond, an ordinary number may not fit the compiled reader's 64 bits


class BinanceConfig(PluginConfig):
    """A wire format needs nothing but its context.

    Attributes:
        confirm: As in `mmkit_binance.sync.BookSync`; recordings hold one snapshot only.
    """

    confirm: bool = False


class BinanceWire(WireFormat):
    """Decodes, synchronises and cross-checks one instrument's messages.

    ``ts_exchange`` is ``T`` where a message has one (futures' depth, trades), else ``E``; spot's partial
    depth and spot's ``bookTicker`` have neither and take ``ts_local``.

    Raises:
        ConfigError: if the market or a stream is unknown, or two streams tell the same thing.

    Attributes, which `mmkit_binance.fast` shares:
        instrument, streams: As in the context.
        futures: Whether it is USD-M or COIN-M.
        sync: The state of the local book.
        tick_grid, lot_grid: What prices and quantities must be multiples of.
        spot_lots: Reads spot's quantities; `None` on futures.
        local_times: Whether a row has taken ``ts_local`` for its ``ts_exchange``.
    """

    def __init__(self, config: BinanceConfig, context: WireFormatContext) -> None:
        instrument, streams = context.instrument, context.streams
        if mistakes := stream_mistakes(instrument.venue, instrument.market, streams):
            raise ConfigError(mistakes)
        self.stats = FeedStats()
        self.instrument = instrument
        self.streams = frozenset(streams)
        self._partial = next((name for name in streams if name in PARTIAL), None)
        self.futures = instrument.market != "spot"
        rules = FuturesRules if self.futures else SpotRules
        self.sync = BookSync(rules, self.stats, config.confirm)
        self._check: TickerCheck | CompiledCheck = TickerCheck(self.stats)
        self.tick_grid = GridParser(instrument.tick, "price", instrument.symbol)
        self.lot_grid = GridParser(instrument.lot, "quantity", instrument.symbol)
        self.spot_lots = None if self.futures else SpotLots(instrument, self.stats)
        self.local_times = False
        self._checked = bool(self.streams.intersection(CHECKED))
        self._ticks = Memory(self.tick_grid)
        self._lots = self.spot_lots.memory if self.spot_lots else Memory(self.lot_grid)
        self._handlers: dict[str, Callable[[msgspec.Raw | bytes | str, int], list[Row]]] = {
            "depth": self._depth,
            "snapshot": self._snapshot,
            "trade": self._trade,
            "aggTrade": self._trade,
            "bookTicker": self._ticker,
            "markPrice": self._mark,
            "forceOrder": self._liquidation,
            **dict.fromkeys(CHECKED[1:], self._kline),
            **dict.fromkeys(PARTIAL, self._partial_depth),
        }

    @property
    def wants_snapshot(self) -> bool:
        """Whether a snapshot must be requested: only the diff stream needs one."""
        return "depth" in self.streams and not self.sync.synchronised

    @property
    def buffering(self) -> bool:
        """Whether updates are waiting for a snapshot."""
        return self.sync.buffering

    @property
    def doubt(self) -> str:
        """Why the book that is taken for known cannot be right; empty while nothing speaks against it."""
        return self._check.doubt

    def message(self, raw: bytes | str, ts_local: int) -> list[Row]:
        """Take in one message, in the combined-stream envelope or bare."""
        symbol, stream, payload = self._identify(raw)
        if symbol and symbol != self.instrument.native:
            self.stats.ignored += 1
            return []
        if stream in self.streams or (stream == "snapshot" and "depth" in self.streams):
            self.stats.messages += 1
            return self._handlers[stream](payload, ts_local)
        if stream == "bookTicker":
            self._ticker(payload, ts_local)
        if stream:
            self.stats.ignored += 1
        return []

    def snapshot(self, raw: bytes | str, ts_local: int) -> list[Row]:
        """Take in the REST answer of ``depth``."""
        found = decode(messages.head, raw, "a snapshot of the book")
        _refuse_error(found)
        self.stats.messages += 1
        return self._snapshot(raw, ts_local)

    def polled(self, raw: bytes, ts_local: int) -> list[Row]:
        """Take in the REST answer of ``depth`` as the whole book, not as one that updates follow.

        Returns nothing if it is the book that is known already, or, from another of the venue's servers, an
        older one.
        """
        found = decode(messages.depth_snapshot, raw, "the book")
        self.stats.messages += 1
        known = self.sync.book
        if known is not None and found.last <= known:
            if found.last < known:
                self.stats.stale_snapshots += 1
            return []
        time = ts_local if found.time is None else nanoseconds(found.time)
        rows = self.started(time, ts_local)
        snapshot = Snapshot(found.last, time, self._levels(found.bids, found.asks))
        return self._followed(rows, self.sync.replace(snapshot, ts_local))

    def grid(self, price: str, quantity: str) -> tuple[int, int]:
        """Return a price in ticks and a quantity in lots."""
        self._saw(1)
        return self._ticks[price], self._lots[quantity]

    def _saw(self, quantities: int) -> None:
        if self.spot_lots is not None:
            self.spot_lots.seen += quantities

    def lost(self, reason: int, ts_local: int) -> list[Row]:
        """Say that messages may have been missed; the book is unknown until a snapshot fits."""
        rows = self.sync.lost(reason, ts_local)
        self._check.applied(None, rows)
        return rows

    def describe(self, raw: bytes | str, numbers: bool = False) -> MessageInfo | None:
        """Return what a message is about; changes nothing."""
        symbol, stream, payload = self._identify(raw)
        if not stream:
            return None
        prices: tuple[str, ...] = ()
        quantities: tuple[str, ...] = ()
        time: int | None = None
        ids: tuple[int, int] | None = None
        off_book = ""
        if stream in self._handlers and stream not in CHECKED:
            what = f"a {stream} message"
            found = (
                decode(messages.trade_times, payload, what)
                if stream in TRADES
                else decode(messages.times, payload, what)
            )
            # A mark price's T is the time of the next funding.
            time = found.event_time if stream == "markPrice" or not found.time else found.time
            ids = self._ids(stream, found)
            if isinstance(found, TradeTimes) and found.reason != messages.ON_BOOK:
                off_book = str(found.reason)
            if numbers:
                prices, quantities = _numbers(stream, payload)
        return MessageInfo(
            symbol=symbol,
            stream=stream,
            ts_exchange=nanoseconds(time) if time else None,
            ids=ids,
            prices=prices,
            quantities=quantities,
            off_book=off_book,
        )

    def fast_reader(self, doubting: bool = False) -> FastReader | None:
        """Return the compiled reader; it takes over the cross-check, with the book as it is.

        Args:
            doubting: Whether `doubt` is told and the reader stops behind a message that raises it, whose rows
                are not among those it returns. Not for recordings, which are told as they are.
        """
        if max(self.tick_grid.places, self.lot_grid.places) > _MOST_PLACES or self._checked:
            return None
        from mmkit_binance.fast import BinanceReader, CompiledCheck

        check = CompiledCheck(self.stats, doubting)
        if isinstance(self._check, TickerCheck):
            self._check.hand_over(check)
        self._check = check
        return BinanceReader(self, check)

    def _identify(self, raw: bytes | str) -> tuple[str, str, msgspec.Raw | bytes | str]:
        """Return symbol, stream and payload; an empty stream for what is no market data."""
        head = decode(messages.head, raw, "a message of a market stream")
        if head.stream is None:
            return self._identify_bare(head, raw)
        symbol, separator, rest = head.stream.partition("@")
        if not separator or symbol.startswith("!"):
            # All-market streams name the symbol inside; those that send arrays are not read.
            payload = bytes(head.data)
            if not payload.startswith(b"{"):
                return "", head.stream, payload
            return self._identify_bare(decode(messages.head, payload, "a payload"), payload)
        return symbol.upper(), rest.partition("@")[0], head.data

    def _identify_bare(self, head: Head, raw: bytes | str) -> tuple[str, str, bytes | str]:
        symbol = head.symbol or ""
        if head.event is not None:
            stream = _EVENTS.get(head.event, head.event)
            if stream in ("forceOrder", "kline") and self._checked:
                symbol, stream = _inside(stream, symbol, raw)
            if stream == "depth" and "depth" not in self.streams and self._partial:
                stream = self._partial  # USD-M: both are depthUpdate, and no envelope tells
            return symbol, "" if stream == "serverShutdown" else stream, raw
        if head.last_update_id is not None:
            # Spot's partial depth looks like a snapshot; whoever asked for the one means the one.
            return "", self._partial or "snapshot", raw
        if head.update_id:
            return symbol, "bookTicker", raw
        _refuse_error(head)
        return "", "" if head.result else "unknown", raw

    def _ids(self, stream: str, found: Times) -> tuple[int, int] | None:
        """Return the ids a message accounts for; what is no number here is refused by whoever takes it in."""
        first: Any = None
        last: Any = None
        if stream == "depth":
            last, first = found.last, found.previous if self.futures else found.first
            if self.futures and type(first) is int:
                first += 1
        elif isinstance(found, TradeTimes):
            first = last = found.trade if stream == "trade" else found.aggregate
        elif stream == "markPrice":
            first = last = found.event_time
        return (first, last) if type(first) is type(last) is int else None

    def started(self, ts_exchange: int, ts_local: int) -> list[Row]:
        """Say that a message has arrived; return the rows that come before its own: the first GAP."""
        rows = self.sync.start(ts_exchange, ts_local)
        if rows:
            self._check.applied(None, rows)
        return rows

    def _followed(self, rows: list[Row], steps: list[Step]) -> list[Row]:
        for update_id, made in steps:
            self._check.applied(update_id, made)
            rows += made
        return rows

    def _levels(self, bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> list[LevelRow]:
        ticks, lots = self._ticks, self._lots
        bid, ask = int(Kind.LEVEL), Kind.LEVEL | SELL
        self._saw(len(bids) + len(asks))
        levels = [(bid, ticks[price], lots[quantity]) for price, quantity in bids]
        levels += [(ask, ticks[price], lots[quantity]) for price, quantity in asks]
        return levels

    def _depth(self, payload: msgspec.Raw | bytes | str, ts_local: int) -> list[Row]:
        found = decode(messages.depth_update, payload, "a depth update")
        if self.futures and found.previous is None:
            raise FeedError(
                "Binance futures: a depth update with 'pu' was expected; found one without, as spot "
                "sends them; is 'instrument.market' right?"
            )
        time = nanoseconds(found.time if found.time is not None else found.event_time)
        before = found.previous if self.futures and found.previous is not None else found.first - 1
        rows = self.started(time, ts_local)
        update = Update(before, found.last, time, self._levels(found.bids, found.asks))
        return self._followed(rows, self.sync.update(update, ts_local))

    def _snapshot(self, payload: msgspec.Raw | bytes | str, ts_local: int) -> list[Row]:
        found = decode(messages.depth_snapshot, payload, "a snapshot of the book")
        time = found.time if found.time is not None else found.event_time
        at = nanoseconds(time) if time is not None else None
        # One that tells no time is no news of the venue's: a recording hands it over when the book is built from it.
        rows = self.started(at or self.sync.seen or ts_local, ts_local)
        snapshot = Snapshot(found.last, at, self._levels(found.bids, found.asks))
        return self._followed(rows, self.sync.snapshot(snapshot, ts_local))

    def _partial_depth(self, payload: msgspec.Raw | bytes | str, ts_local: int) -> list[Row]:
        what = "a partial depth"
        if self.futures:
            update = decode(messages.depth_update, payload, what)
            time = nanoseconds(update.time if update.time is not None else update.event_time)
            last, bids, asks = update.last, update.bids, update.asks
        else:
            partial = decode(messages.depth_snapshot, payload, what)
            time, last, bids, asks = ts_local, partial.last, partial.bids, partial.asks
            self.local_times = True
        rows = self.started(time, ts_local)
        snapshot = Snapshot(last, time, self._levels(bids, asks))
        return self._followed(rows, self.sync.replace(snapshot, ts_local))

    def _trade(self, payload: msgspec.Raw | bytes | str, ts_local: int) -> list[Row]:
        found = decode(messages.trade, payload, "a trade")
        time = nanoseconds(found.time)
        kind = int(Kind.TRADE)
        if found.reason != messages.ON_BOOK:
            kind = int(Kind.OFF_BOOK)
            self.stats.off_book += 1
        kind |= LAST | (SELL if found.buyer_is_maker else 0)
        rows = self.started(time, ts_local)
        rows.append((time, ts_local, kind, *self.grid(found.price, found.quantity)))
        return rows

    def _ticker(self, payload: msgspec.Raw | bytes | str, ts_local: int) -> list[Row]:
        found = decode(messages.book_ticker, payload, "a bookTicker")
        best = Best(
            *self.grid(found.bid, found.bid_quantity),
            *self.grid(found.ask, found.ask_quantity),
        )
        self._check.ticker(found.update_id, best)
        if "bookTicker" not in self.streams:
            return []
        sent = found.time if found.time is not None else found.event_time
        self.local_times |= sent is None
        time = ts_local if sent is None else nanoseconds(sent)
        rows = self.started(time, ts_local)
        rows.append((time, ts_local, int(Kind.BEST), best.bid, best.bid_quantity))
        rows.append((time, ts_local, Kind.BEST | SELL | LAST, best.ask, best.ask_quantity))
        return rows

    def _liquidation(self, payload: msgspec.Raw | bytes | str, ts_local: int) -> list[Row]:
        found = decode(messages.liquidation, payload, "a forceOrder").order
        if found.side not in ("BUY", "SELL"):
            words = "Binance: a forceOrder's side 'BUY' or 'SELL' was expected"
            raise FeedError(f"{words}; found {found.side!r}")
        self.grid(found.price, found.quantity)
        return []

    def _kline(self, payload: msgspec.Raw | bytes | str, ts_local: int) -> list[Row]:
        candle = decode(messages.kline, payload, "a kline").candle
        ticks = self._ticks
        low, high = ticks[candle.low], ticks[candle.high]
        if not low <= min(ticks[candle.open], ticks[candle.close]) or not (
            max(ticks[candle.open], ticks[candle.close]) <= high
        ):
            raise FeedError(
                "Binance: a kline whose open and close lie between low and high was expected; found "
                f"open {candle.open}, high {candle.high}, low {candle.low}, close {candle.close}"
            )
        return []

    def _mark(self, payload: msgspec.Raw | bytes | str, ts_local: int) -> list[Row]:
        found = decode(messages.mark_price, payload, "a mark price")
        return self.marked(found.event_time, found.price, found.rate, found.next_funding, ts_local)

    def marked(
        self, time_told: int, price_text: str, rate: str, next_funding: int, ts_local: int
    ) -> list[Row]:
        """Return the rows of a mark price and, unless `rate` is empty, the funding rate."""
        time = nanoseconds(time_told)
        rows = self.started(time, ts_local)
        price = _scaled(price_text)
        if not rate:  # a contract without funding
            rows.append((time, ts_local, Kind.MARK | LAST, 0, price))
            return rows
        due = nanoseconds(next_funding) // 1_000_000_000
        rows.append((time, ts_local, int(Kind.MARK), 0, price))
        rows.append((time, ts_local, Kind.FUNDING | LAST, due, _scaled(rate)))
        return rows


def _inside(event: str, symbol: str, raw: bytes | str) -> tuple[str, str]:
    """Return symbol and stream of a payload that tells one of them one level further in."""
    if event == "forceOrder":
        return decode(messages.liquidation, raw, "a forceOrder").order.symbol, event
    return symbol, f"kline_{decode(messages.kline, raw, 'a kline').candle.interval}"


def stream_mistakes(venue: str, market: str, streams: tuple[str, ...]) -> list[Mistake]:
    """Return what is wrong with the choice of market and streams."""
    mistakes = []
    if market not in ("spot", "usdm", "coinm"):
        mistakes.append(
            Mistake(
                "",
                "instrument.market",
                f"'spot', 'usdm' or 'coinm' was expected of '{venue}'; found '{market}'",
            )
        )
    if unknown := [name for name in streams if name not in (*STREAMS, *CHECKED)]:
        mistakes.append(
            Mistake(
                "",
                "data.streams",
                f"unknown: {', '.join(map(repr, unknown))}",
                f"there are {', '.join(STREAMS)}, forceOrder, kline_1m and other intervals",
            )
        )
    for group, what in ((BOOK, "the book"), (TRADES, "trades")):
        if len(twice := [name for name in streams if name in group]) > 1:
            mistakes.append(
                Mistake(
                    "",
                    "data.streams",
                    f"{' and '.join(map(repr, twice))} both tell {what}, so it would be told twice",
                    "keep one of them",
                )
            )
    return mistakes


def _refuse_error(head: Head) -> None:
    if head.error or head.code:
        found = messages.excerpt(head.error or head.code)
        words = f" {messages.excerpt(head.msg)}" if head.msg else ""
        raise FeedError(f"Binance answered with an error: {found.strip(chr(39))}{words}")


def _scaled(text: str) -> int:
    """Return a decimal of at most 8 places times `SCALE`, exactly."""
    try:
        value = Decimal(text) * SCALE
    except InvalidOperation:
        raise FeedError(f"Binance: a decimal number was expected; found {text!r}") from None
    if value != value.to_integral_value():
        raise FeedError(f"Binance: a number of at most 8 decimals was expected; found {text!r}")
    return int(value)


def _numbers(
    stream: str, payload: msgspec.Raw | bytes | str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if stream in TRADES:
        trade = decode(messages.trade, payload, "a trade")
        return (trade.price,), (trade.quantity,)
    if stream == "bookTicker":
        ticker = decode(messages.book_ticker, payload, "a bookTicker")
        return (ticker.bid, ticker.ask), (ticker.bid_quantity, ticker.ask_quantity)
    if stream == "markPrice":
        return (), ()  # not on the tick grid
    levels: list[tuple[str, str]]
    try:
        update = messages.depth_update.decode(payload)
        levels = update.bids + update.asks
    except msgspec.ValidationError:
        snapshot = decode(messages.depth_snapshot, payload, "a snapshot of the book")
        levels = snapshot.bids + snapshot.asks
    return tuple(price for price, _ in levels), tuple(quantity for _, quantity in levels)
