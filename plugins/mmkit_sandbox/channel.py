"""Stream names, and which of Binance's addresses carries them.

Source: Binance Spot API, "WebSocket Streams"; USD-M Futures API, "Websocket Market Streams" and its
change notice of March 2026 (the split into ``/public``, ``/market`` and ``/private``); COIN-M Futures
API, which has no such split.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from mmkit_sandbox.candles import INTERVALS
from mmkit_sandbox.listing import COINM, FUTURES, SPOT, USDM


class StreamKind(StrEnum):
    """What a stream tells."""

    DIFF = "depth"
    """Changes of the book since the last message."""
    PARTIAL = "partial"
    """The best levels of the book."""
    TRADE = "trade"
    AGG_TRADE = "aggTrade"
    BOOK_TICKER = "bookTicker"
    MARK_PRICE = "markPrice"
    KLINE = "kline"
    FORCE_ORDER = "forceOrder"
    USER = "user"
    """What an account is told about itself; no stream that anybody can ask for by name."""


class Channel(NamedTuple):
    """One stream, whatever it is called: ``depth`` and ``depth@250ms`` are the same one on USD-M.

    Attributes:
        market: ``spot``, ``usdm`` or ``coinm``.
        symbol: Binance's name in capitals.
        kind: What it tells.
        levels: Of partial depth, otherwise 0.
        interval_ms: Between messages; 0 for a stream that tells everything as it happens.
        candle: Of klines, how long a candle is: ``1m``; otherwise empty.
    """

    market: str
    symbol: str
    kind: StreamKind
    levels: int = 0
    interval_ms: int = 0
    candle: str = ""


class Route(StrEnum):
    """The part of an address that decides what it carries."""

    SPOT = "spot"
    USDM_PUBLIC = "public"
    USDM_MARKET = "market"
    USDM_PRIVATE = "private"
    USDM_LEGACY = "legacy"
    """No route at all. Retired in April 2026: it acknowledges everything and carries ``/public``."""
    COINM = "coinm"

    @property
    def market(self) -> str:
        """``spot``, ``usdm`` or ``coinm``."""
        return self.value if self in {Route.SPOT, Route.COINM} else USDM

    def carries(self, channel: Channel) -> bool:
        """Return whether a stream asked for here ever says anything."""
        if self in {Route.SPOT, Route.COINM}:
            return True
        public = channel.kind not in _OF_MARKET_ROUTE
        if self in {Route.USDM_PUBLIC, Route.USDM_LEGACY}:
            return public
        return self is Route.USDM_MARKET and not public


_OF_MARKET_ROUTE = frozenset(
    [StreamKind.AGG_TRADE, StreamKind.MARK_PRICE, StreamKind.KLINE, StreamKind.FORCE_ORDER]
)

DIFF_INTERVALS = {SPOT: (1000, 100), USDM: (250, 500, 100), COINM: (250, 500, 100)}
"""Milliseconds between depth messages; the first is what a name without one means."""

_NAME = re.compile(
    r"(?P<symbol>[^@!]+)@(?:(?P<plain>trade|aggTrade|bookTicker)|(?P<force>forceOrder)"
    r"|kline_(?P<candle>\d+[smhdwM])"
    r"|depth(?P<levels>5|10|20)?(?:@(?P<interval>\d+)ms)?"
    r"|(?P<mark>markPrice)(?P<second>@1s)?)"
)


def parse_stream(market: str, name: str) -> Channel | None:
    """Return the channel that a stream name asks for, or `None` if there is none: it stays silent.

    ``depth@0ms`` is what captures of 2023 and 2024 call the fastest depth; it means 100 ms here.
    """
    match = _NAME.fullmatch(name)
    if match is None or match["symbol"] != match["symbol"].lower():
        return None
    symbol = match["symbol"].upper()
    if match["plain"]:
        return Channel(market, symbol, StreamKind(match["plain"]))
    if match["candle"]:
        there = match["candle"] in INTERVALS and (market == SPOT or match["candle"] != "1s")
        return Channel(market, symbol, StreamKind.KLINE, candle=match["candle"]) if there else None
    if match["force"]:
        return None if market == SPOT else Channel(market, symbol, StreamKind.FORCE_ORDER)
    if match["mark"]:
        if market == SPOT:
            return None
        return Channel(market, symbol, StreamKind.MARK_PRICE, 0, 1000 if match["second"] else 3000)
    intervals = DIFF_INTERVALS[market]
    interval = int(match["interval"]) if match["interval"] else intervals[0]
    if interval == 0 and market in FUTURES:
        interval = 100
    if interval not in intervals:
        return None
    levels = int(match["levels"] or 0)
    kind = StreamKind.PARTIAL if levels else StreamKind.DIFF
    return Channel(market, symbol, kind, levels, interval)
