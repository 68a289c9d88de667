"""Binance's messages as they are on the wire; fields mmkit does not use are skipped while decoding.

Wire format: Binance Spot API, "WebSocket Streams" and "REST API" (state of 2026-07-21); USD-M futures:
the models of binance-connector-python 17.2.0, generated from Binance's OpenAPI. Decimals are strings,
times are milliseconds since the epoch, or microseconds on spot with ``timeUnit=MICROSECOND``.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from mmkit.errors import FeedError

T = TypeVar("T")

ON_BOOK = "MARKET"
"""A USD-M trade's ``X``; others are INSURANCE_FUND, ADL, NA."""


class Head(msgspec.Struct):
    """What tells messages apart: the combined-stream envelope, or a payload's own first fields."""

    stream: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    event: str | None = msgspec.field(default=None, name="e")
    symbol: str | None = msgspec.field(default=None, name="s")
    last_update_id: int | None = msgspec.field(default=None, name="lastUpdateId")
    update_id: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="u")
    result: msgspec.Raw = msgspec.Raw()
    code: msgspec.Raw = msgspec.Raw()
    msg: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class DepthUpdate(msgspec.Struct):
    """``depthUpdate``: the diff stream, and USD-M's partial depth."""

    event_time: int = msgspec.field(name="E")
    first: int = msgspec.field(name="U")
    last: int = msgspec.field(name="u")
    bids: list[tuple[str, str]] = msgspec.field(name="b")
    asks: list[tuple[str, str]] = msgspec.field(name="a")
    symbol: str = msgspec.field(default="", name="s")
    time: int | None = msgspec.field(default=None, name="T")
    previous: int | None = msgspec.field(default=None, name="pu")


class DepthSnapshot(msgspec.Struct):
    """The REST answer of ``depth``, and spot's partial depth."""

    last: int = msgspec.field(name="lastUpdateId")
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    time: int | None = msgspec.field(default=None, name="T")
    event_time: int | None = msgspec.field(default=None, name="E")


class TradeMessage(msgspec.Struct):
    """``trade`` and ``aggTrade``."""

    price: str = msgspec.field(name="p")
    quantity: str = msgspec.field(name="q")
    time: int = msgspec.field(name="T")
    buyer_is_maker: bool = msgspec.field(name="m")
    reason: str = msgspec.field(default=ON_BOOK, name="X")
    """USD-M ``trade`` only: `ON_BOOK`, or why the print did not meet the book."""


class BookTicker(msgspec.Struct):
    """``bookTicker``; spot's has no time."""

    update_id: int = msgspec.field(name="u")
    bid: str = msgspec.field(name="b")
    bid_quantity: str = msgspec.field(name="B")
    ask: str = msgspec.field(name="a")
    ask_quantity: str = msgspec.field(name="A")
    time: int | None = msgspec.field(default=None, name="T")
    event_time: int | None = msgspec.field(default=None, name="E")


class MarkPrice(msgspec.Struct):
    """``markPriceUpdate``. Its ``T`` is the time of the next funding, not of the event."""

    event_time: int = msgspec.field(name="E")
    price: str = msgspec.field(name="p")
    rate: str = msgspec.field(default="", name="r")
    next_funding: int = msgspec.field(default=0, name="T")


class ForcedOrder(msgspec.Struct):
    """What is inside a ``forceOrder``. Its side is the liquidation's: SELL closes a long position."""

    symbol: str = msgspec.field(name="s")
    side: str = msgspec.field(name="S")
    quantity: str = msgspec.field(name="q")
    price: str = msgspec.field(name="p")
    time: int = msgspec.field(name="T")


class Liquidation(msgspec.Struct):
    """``forceOrder``."""

    event_time: int = msgspec.field(name="E")
    order: ForcedOrder = msgspec.field(name="o")


class Candle(msgspec.Struct):
    """What is inside a ``kline``."""

    start: int = msgspec.field(name="t")
    interval: str = msgspec.field(name="i")
    open: str = msgspec.field(name="o")
    high: str = msgspec.field(name="h")
    low: str = msgspec.field(name="l")
    close: str = msgspec.field(name="c")
    volume: str = msgspec.field(name="v")
    closed: bool = msgspec.field(name="x")


class Kline(msgspec.Struct):
    """``kline``."""

    event_time: int = msgspec.field(name="E")
    candle: Candle = msgspec.field(name="k")


class RestTrade(msgspec.Struct):
    """One of the REST answer of ``trades``."""

    number: int = msgspec.field(name="id")
    price: str
    quantity: str = msgspec.field(name="qty")
    time: int
    buyer_is_maker: bool = msgspec.field(name="isBuyerMaker")


class RestAggTrade(msgspec.Struct):
    """One of the REST answer of ``aggTrades``."""

    number: int = msgspec.field(name="a")
    price: str = msgspec.field(name="p")
    quantity: str = msgspec.field(name="q")
    time: int = msgspec.field(name="T")
    buyer_is_maker: bool = msgspec.field(name="m")


class RestTicker(msgspec.Struct):
    """The REST answer of ``ticker/bookTicker``; spot's has neither time nor id."""

    bid: str = msgspec.field(name="bidPrice")
    bid_quantity: str = msgspec.field(name="bidQty")
    ask: str = msgspec.field(name="askPrice")
    ask_quantity: str = msgspec.field(name="askQty")
    time: int | None = None


class PremiumIndex(msgspec.Struct):
    """The REST answer of ``premiumIndex``."""

    price: str = msgspec.field(name="markPrice")
    time: int
    rate: str = msgspec.field(default="", name="lastFundingRate")
    next_funding: int = msgspec.field(default=0, name="nextFundingTime")


class Times(msgspec.Struct):
    """Only the times of any payload, and the ids of an update of the book."""

    event_time: int | None = msgspec.field(default=None, name="E")
    time: int | None = msgspec.field(default=None, name="T")
    first: Any = msgspec.field(default=None, name="U")
    last: Any = msgspec.field(default=None, name="u")
    previous: Any = msgspec.field(default=None, name="pu")


class TradeTimes(Times):
    """Only the times of a trade, its id, one of the two, and why it did not meet the book."""

    trade: Any = msgspec.field(default=None, name="t")
    aggregate: Any = msgspec.field(default=None, name="a")
    reason: Any = msgspec.field(default=ON_BOOK, name="X")


head = msgspec.json.Decoder(Head)
depth_update = msgspec.json.Decoder(DepthUpdate)
depth_snapshot = msgspec.json.Decoder(DepthSnapshot)
trade = msgspec.json.Decoder(TradeMessage)
book_ticker = msgspec.json.Decoder(BookTicker)
mark_price = msgspec.json.Decoder(MarkPrice)
liquidation = msgspec.json.Decoder(Liquidation)
kline = msgspec.json.Decoder(Kline)
rest_trades = msgspec.json.Decoder(list[RestTrade])
rest_agg_trades = msgspec.json.Decoder(list[RestAggTrade])
rest_ticker = msgspec.json.Decoder(RestTicker)
rest_tickers = msgspec.json.Decoder(list[RestTicker])
premium_index = msgspec.json.Decoder(PremiumIndex)
premium_indexes = msgspec.json.Decoder(list[PremiumIndex])
times = msgspec.json.Decoder(Times)
trade_times = msgspec.json.Decoder(TradeTimes)


def decode(decoder: msgspec.json.Decoder[T], raw: bytes | str | msgspec.Raw, what: str) -> T:
    """Return `raw` decoded.

    Raises:
        FeedError: if it is not JSON, or lacks a field; says what was found.
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise FeedError(
            f"Binance: {what} was expected, but {_lower(str(error))}; found {excerpt(raw)}"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FeedError(
            f"Binance: {what} as JSON was expected; found {excerpt(raw)} ({_lower(str(error))})"
        ) from error


def decode_one(
    one: msgspec.json.Decoder[T], many: msgspec.json.Decoder[list[T]], raw: bytes, what: str
) -> T:
    """Return the one object that `raw` holds, alone or, as COIN-M answers, in a list.

    Raises:
        FeedError: as `decode`, and if there are several or none.
    """
    if not raw.lstrip().startswith(b"["):
        return decode(one, raw, what)
    found = decode(many, raw, what)
    if len(found) != 1:
        raise FeedError(f"Binance: {what} of one symbol was expected; found {len(found)}")
    return found[0]


def excerpt(raw: Any, limit: int = 100) -> str:
    """Return the beginning of what was found, in words fit for an error message."""
    text = raw if isinstance(raw, str) else bytes(raw).decode("utf-8", "backslashreplace")
    text = " ".join(text.split())
    if not text:
        return "nothing"
    shown = repr(text if len(text) <= limit else text[:limit] + "…")
    if text[:1] == "<":
        return f"a web page, {shown}: a proxy, a login page or a wrong address answers in its place"
    return shown


def nanoseconds(time: int) -> int:
    """Return a venue time in ns: milliseconds or microseconds, told apart by their size.

    10^14 ms is the year 5138 and 10^14 us is 1973, so no time of this century is ambiguous.
    """
    if time < 10**14:
        return time * 1_000_000
    return time * 1_000 if time < 10**17 else time


def _lower(text: str) -> str:
    return text if text.startswith("JSON") else text[:1].lower() + text[1:]
