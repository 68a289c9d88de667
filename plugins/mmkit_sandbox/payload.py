"""Binance's stream payloads, spot and USD-M, as bytes with the fields in Binance's order.

Source: Binance Spot API, "WebSocket Streams"; USD-M Futures API, "Websocket Market Streams" as of
2026, with the fields ``ps`` and ``st`` that came on 2026-06-30. ``trade`` on USD-M is not documented;
its fields are those of captures of 2024.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from mmkit_sandbox.exchange import Depth, Mark, PriceLevel, PublicTrade
from mmkit_sandbox.listing import SPOT, Listing

_MILLISECONDS = re.compile(rb'"(?:E|T|time|serverTime)":\d{13}(?=[,}])')
_UM = 1  # st: 1 is USD-M, 2 is COIN-M
_encode = msgspec.json.Encoder().encode


class Batch(NamedTuple):
    """The changes of one interval: first, last and previous last update id, time of the last, levels."""

    first: int
    last: int
    previous: int
    ts_ms: int
    bids: list[PriceLevel]
    asks: list[PriceLevel]


def diff(listing: Listing, batch: Batch, now_ms: int) -> bytes:
    """Return a ``depthUpdate``: new totals of the levels that changed."""
    if listing.market == SPOT:
        return _encode(
            {
                "e": "depthUpdate",
                "E": now_ms,
                "s": listing.symbol,
                "U": batch.first,
                "u": batch.last,
                "b": batch.bids,
                "a": batch.asks,
            }
        )
    return _encode(
        {
            "e": "depthUpdate",
            "E": now_ms,
            "T": batch.ts_ms,
            "s": listing.symbol,
            "ps": listing.symbol,
            "U": batch.first,
            "u": batch.last,
            "pu": batch.previous,
            "b": batch.bids,
            "a": batch.asks,
            "st": _UM,
        }
    )


def partial(listing: Listing, batch: Batch, depth: Depth, now_ms: int) -> bytes:
    """Return the best levels; on USD-M it looks like a diff, on spot it has neither time nor symbol."""
    if listing.market == SPOT:
        return _encode(
            {"lastUpdateId": depth.last_update_id, "bids": depth.bids, "asks": depth.asks}
        )
    return diff(listing, batch._replace(bids=depth.bids, asks=depth.asks), now_ms)


def trade(listing: Listing, made: PublicTrade) -> bytes:
    """Return a ``trade``."""
    trade_id, price, quantity, ts_ms, buyer_is_maker = made
    if listing.market == SPOT:
        return _encode(
            {
                "e": "trade",
                "E": ts_ms,
                "s": listing.symbol,
                "t": trade_id,
                "p": price,
                "q": quantity,
                "T": ts_ms,
                "m": buyer_is_maker,
                "M": True,
            }
        )
    return _encode(
        {
            "e": "trade",
            "E": ts_ms,
            "T": ts_ms,
            "s": listing.symbol,
            "t": trade_id,
            "p": price,
            "q": quantity,
            "X": "MARKET",
            "m": buyer_is_maker,
        }
    )


def agg_trade(listing: Listing, agg_id: int, made: PublicTrade, last_id: int) -> bytes:
    """Return an ``aggTrade``: what one order took at one price.

    Args:
        listing: What was traded.
        agg_id: Number of the aggregate.
        made: The first of its trades, with the quantity of all of them.
        last_id: Number of the last of its trades.
    """
    fields = {
        "e": "aggTrade",
        "E": made.ts_ms,
        "s": listing.symbol,
        "a": agg_id,
        "p": made.price,
        "q": made.quantity,
        "f": made.trade_id,
        "l": last_id,
        "T": made.ts_ms,
        "m": made.buyer_is_maker,
    }
    if listing.market == SPOT:
        return _encode(fields | {"M": True})
    return _encode(fields | {"nq": made.quantity, "st": _UM})


def book_ticker(
    listing: Listing, update_id: int, bid: PriceLevel, ask: PriceLevel, ts_ms: int
) -> bytes:
    """Return a ``bookTicker``: the best bid and ask; on spot it has no time."""
    best = {"b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]}
    if listing.market == SPOT:
        return _encode({"u": update_id, "s": listing.symbol, **best})
    return _encode(
        {
            "e": "bookTicker",
            "u": update_id,
            "s": listing.symbol,
            "ps": listing.symbol,
            **best,
            "T": ts_ms,
            "E": ts_ms,
            "st": _UM,
        }
    )


def mark_price(listing: Listing, mark: Mark) -> bytes:
    """Return a ``markPriceUpdate``."""
    return _encode(
        {
            "e": "markPriceUpdate",
            "E": mark.ts_ms,
            "s": listing.symbol,
            "p": mark.mark_price,
            "ap": mark.mark_price,
            "P": mark.settle_price,
            "i": mark.index_price,
            "r": mark.funding_rate,
            "T": mark.next_funding_ms,
            "st": _UM,
        }
    )


def in_microseconds(body: bytes) -> bytes:
    """Return a spot payload or answer with its times in microseconds, as ``timeUnit=MICROSECOND`` asks for."""
    return _MILLISECONDS.sub(rb"\g<0>000", body)
