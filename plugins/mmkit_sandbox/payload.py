"""Binance's stream payloads, spot, USD-M and COIN-M, as bytes with the fields in Binance's order.

Source: Binance Spot API, "WebSocket Streams"; USD-M Futures API, "Websocket Market Streams" as of
2026, with the fields ``ps`` and ``st`` that came on 2026-06-30; COIN-M Futures API, the same. ``trade`` on
futures is not documented; its fields are those of captures of USD-M of 2024.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from mmkit_sandbox.candles import Candle
from mmkit_sandbox.exchange import AggTrade, Depth, Mark, PriceLevel, PublicTrade
from mmkit_sandbox.liquidation import Liquidation
from mmkit_sandbox.listing import COINM, SPOT, USDM, Listing

_MILLISECONDS = re.compile(rb'"(?:E|T|time|serverTime)":\d{13}(?=[,}])')
_CANDLE = re.compile(rb'("t":\d{13}),("T":\d{13})(?=,)')  # its last ms, and its last microsecond
_ST = {USDM: 1, COINM: 2}
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
            "ps": listing.pair,
            "U": batch.first,
            "u": batch.last,
            "pu": batch.previous,
            "b": batch.bids,
            "a": batch.asks,
            "st": _ST[listing.market],
        }
    )


def partial(listing: Listing, batch: Batch, depth: Depth, now_ms: int) -> bytes:
    """Return the best levels; on futures it looks like a diff, on spot it has neither time nor symbol."""
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


def agg_trade(listing: Listing, made: AggTrade) -> bytes:
    """Return an ``aggTrade``: what one order took at one price."""
    fields = {
        "e": "aggTrade",
        "E": made.ts_ms,
        "s": listing.symbol,
        "a": made.agg_id,
        "p": made.price,
        "q": made.quantity,
        "f": made.first_id,
        "l": made.last_id,
        "T": made.ts_ms,
        "m": made.buyer_is_maker,
    }
    if listing.market == SPOT:
        return _encode(fields | {"M": True})
    if listing.market == USDM:
        fields["nq"] = made.quantity
    return _encode(fields | {"st": _ST[listing.market]})


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
            "ps": listing.pair,
            **best,
            "T": ts_ms,
            "E": ts_ms,
            "st": _ST[listing.market],
        }
    )


def mark_price(listing: Listing, mark: Mark) -> bytes:
    """Return a ``markPriceUpdate``."""
    fields = {
        "e": "markPriceUpdate",
        "E": mark.ts_ms,
        "s": listing.symbol,
        "p": mark.mark_price,
        **({"ap": mark.mark_price} if listing.market == USDM else {}),
        "P": mark.settle_price,
        "i": mark.index_price,
        "r": mark.funding_rate,
        "T": mark.next_funding_ms,
        "st": _ST[listing.market],
    }
    return _encode(fields)


def kline(listing: Listing, candle: Candle, now_ms: int, *, closed: bool) -> bytes:
    """Return a ``kline``: its volumes are in lots and in the currency that profit is counted in."""
    price, quantity, value = listing.price_text, listing.quantity_text, listing.value_text
    return _encode(
        {
            "e": "kline",
            "E": now_ms,
            "s": listing.symbol,
            "k": {
                "t": candle.start_ms,
                "T": candle.end_ms - 1,
                "s": listing.symbol,
                "i": candle.interval,
                "f": candle.first_id,
                "L": candle.last_id,
                "o": price(candle.open),
                "c": price(candle.close),
                "h": price(candle.high),
                "l": price(candle.low),
                "v": quantity(candle.quantity),
                "n": candle.trades,
                "x": closed,
                "q": value(candle.value),
                "V": quantity(candle.taken),
                "Q": value(candle.taken_value),
                "B": "0",
            },
        }
    )


def force_order(listing: Listing, found: Liquidation, now_ms: int) -> bytes:
    """Return a ``forceOrder``; its side is the order's: SELL closes a long position."""
    order = found.order
    whole = {
        "s": listing.symbol,
        "S": order.side.name,
        "o": "LIMIT",
        "f": "IOC",
        "q": listing.quantity_text(order.quantity),
        "p": listing.price_text(order.price),
        "ap": f"{found.average * float(listing.tick):.{listing.price_places}f}",
        "X": "FILLED" if found.filled == order.quantity else "PARTIALLY_FILLED",
        "l": listing.quantity_text(found.last),
        "z": listing.quantity_text(found.filled),
        "T": found.ts_ms,
    }
    fields: dict[str, object] = {"e": "forceOrder", "E": now_ms, "o": whole}
    if listing.market == COINM:
        whole["ps"] = listing.pair
    else:
        fields["ps"] = listing.pair
    return _encode(fields | {"st": _ST[listing.market]})


def in_microseconds(body: bytes) -> bytes:
    """Return a spot payload or answer with its times in microseconds, as ``timeUnit=MICROSECOND`` asks for."""
    return _MILLISECONDS.sub(rb"\g<0>000", _CANDLE.sub(rb"\g<1>000,\g<2>999", body))
