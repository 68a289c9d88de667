"""Binance's public REST endpoints as functions of the query, without I/O.

Sources: Binance Spot API, "Market Data endpoints" and "Error codes"; USD-M and COIN-M Futures API, the
same. COIN-M answers with a list also where one symbol was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from mmkit_sandbox.exchange import Depth, Exchange
from mmkit_sandbox.listing import COINM, SPOT, USDM, Listing, exchange_info
from mmkit_sandbox.refused import Refused

_SYMBOL = re.compile(r"[A-Z0-9_.-]{1,20}")
_FUTURES_LIMITS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}


class Answer(NamedTuple):
    """An HTTP answer: status, JSON body and what the request weighs against the limit."""

    status: int
    body: bytes
    weight: int


class Request(NamedTuple):
    """One request to the endpoints of one market."""

    exchange: Exchange
    market: str
    query: Mapping[str, str]
    now_ms: int


Endpoint = Callable[[Request], tuple[Any, int]]
"""Returns the body and its weight."""


def answer(request: Request, name: str) -> Answer:
    """Answer a GET of ``/api/v3/<name>``, ``/fapi/v1/<name>`` or ``/dapi/v1/<name>``."""
    endpoint = ENDPOINTS[request.market].get(name, _unknown)
    try:
        body, weight = endpoint(request)
    except Refused as refused:
        error = {"code": refused.code, "msg": refused.message}
        return Answer(refused.status, msgspec.json.encode(error), 1)
    return Answer(200, msgspec.json.encode(body), weight)


def _unknown(request: Request) -> tuple[Any, int]:
    raise Refused(-5000, "Path or method is invalid.", 404)


def _ping(request: Request) -> tuple[Any, int]:
    return {}, 1


def _time(request: Request) -> tuple[Any, int]:
    return {"serverTime": request.now_ms}, 1


def _exchange_info(request: Request) -> tuple[Any, int]:
    wanted = request.query.get("symbol") or request.query.get("symbols")
    listings = [
        listing for listing in request.exchange.listings if listing.market == request.market
    ]
    if wanted and request.market == SPOT:
        names = re.findall(r"[^\[\]\",\s]+", wanted)
        listings = [_listing(request, name) for name in names]
    weight = 20 if request.market == SPOT else 1
    return exchange_info(request.market, listings, request.now_ms), weight


def _depth(request: Request) -> tuple[Any, int]:
    listing = _symbol(request)
    spot = listing.market == SPOT
    limit = _limit(request, 100 if spot else 500)
    if spot:
        if limit <= 0:
            raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
        limit = min(limit, 5000)
        weight = next(w for most, w in _SPOT_DEPTH_WEIGHTS if limit <= most)
    else:
        if limit not in _FUTURES_LIMITS:
            raise Refused(-4021, f"{limit} is not valid depth limit.")
        weight = _FUTURES_LIMITS[limit]
    depth = _known(request.exchange.depth(listing, limit), listing)
    body: dict[str, Any] = {"lastUpdateId": depth.last_update_id}
    if listing.market == COINM:
        body |= {"symbol": listing.symbol, "pair": listing.pair}
    if not spot:
        body |= {"E": request.now_ms, "T": depth.ts_ms}
    return body | {"bids": depth.bids, "asks": depth.asks}, weight


_SPOT_DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))


def _trades(request: Request) -> tuple[Any, int]:
    listing = _symbol(request)
    trades = request.exchange.trades(listing, _most_trades(request))
    rows = []
    for trade in trades:
        price, quantity = float(trade.price), float(trade.quantity)
        if listing.contract_size is None:
            value = ("quoteQty", f"{price * quantity:.{8 if listing.market == SPOT else 2}f}")
        else:
            value = ("baseQty", f"{quantity * listing.contract_size / price:.8f}")
        row: dict[str, Any] = {
            "id": trade.trade_id,
            "price": trade.price,
            "qty": trade.quantity,
            value[0]: value[1],
            "time": trade.ts_ms,
            "isBuyerMaker": trade.buyer_is_maker,
        }
        if listing.market == SPOT:
            row["isBestMatch"] = True
        rows.append(row)
    return rows, 25 if listing.market == SPOT else 5


def _agg_trades(request: Request) -> tuple[Any, int]:
    listing = _symbol(request)
    limit = _most_trades(request)
    first, start, end = (_whole(request, name) for name in ("fromId", "startTime", "endTime"))
    found = [
        one
        for one in request.exchange.agg_trades(listing)
        if (first is None or one.agg_id >= first)
        and (start is None or one.ts_ms >= start)
        and (end is None or one.ts_ms <= end)
    ]
    # Asked from somewhere on, Binance tells the oldest; else the newest.
    found = found[-limit:] if first is start is None else found[:limit]
    rows = []
    for one in found:
        row: dict[str, Any] = {
            "a": one.agg_id,
            "p": one.price,
            "q": one.quantity,
            "f": one.first_id,
            "l": one.last_id,
            "T": one.ts_ms,
            "m": one.buyer_is_maker,
        }
        if listing.market == SPOT:
            row["M"] = True
        rows.append(row)
    return rows, 4 if listing.market == SPOT else 20


def _book_ticker(request: Request) -> tuple[Any, int]:
    if request.query.get("symbol"):
        best = _best(request, _symbol(request))
        return [best] if request.market == COINM else best, 2
    return [
        _best(request, listing) for listing in _listed(request)
    ], 4 if request.market == SPOT else 5


def _listed(request: Request) -> list[Listing]:
    """Return what is listed, on COIN-M of the pair that was asked for."""
    pair = request.query.get("pair") if request.market == COINM else None
    return [
        one
        for one in request.exchange.listings
        if one.market == request.market and pair in (None, one.pair)
    ]


def _best(request: Request, listing: Listing) -> dict[str, Any]:
    depth = _known(request.exchange.depth(listing, 1), listing)
    nothing = ("0", "0")
    bid, ask = next(iter(depth.bids), nothing), next(iter(depth.asks), nothing)
    best: dict[str, Any] = {
        "symbol": listing.symbol,
        "bidPrice": bid[0],
        "bidQty": bid[1],
        "askPrice": ask[0],
        "askQty": ask[1],
    }
    if listing.market == COINM:
        best["pair"] = listing.pair
    if listing.market != SPOT:
        best |= {"time": depth.ts_ms, "lastUpdateId": depth.last_update_id}
    return best


def _premium_index(request: Request) -> tuple[Any, int]:
    if not request.query.get("symbol"):
        return [_premium(request, listing) for listing in _listed(request)], 10
    premium = _premium(request, _symbol(request))
    return ([premium], 10) if request.market == COINM else (premium, 1)


def _premium(request: Request, listing: Listing) -> dict[str, Any]:
    mark = request.exchange.mark(listing)
    if mark is None:
        raise Refused(-1000, f"{listing.symbol} has no mark price in this capture.", 503)
    return {
        "symbol": listing.symbol,
        **({"pair": listing.pair} if listing.market == COINM else {}),
        "markPrice": mark.mark_price,
        "indexPrice": mark.index_price,
        "estimatedSettlePrice": mark.settle_price,
        "lastFundingRate": mark.funding_rate,
        "interestRate": "0.00010000",
        "nextFundingTime": mark.next_funding_ms,
        "time": mark.ts_ms,
    }


_COMMON: dict[str, Endpoint] = {
    "ping": _ping,
    "time": _time,
    "exchangeInfo": _exchange_info,
    "depth": _depth,
    "trades": _trades,
    "aggTrades": _agg_trades,
    "ticker/bookTicker": _book_ticker,
}
ENDPOINTS: dict[str, dict[str, Endpoint]] = {
    SPOT: _COMMON,
    USDM: _COMMON | {"premiumIndex": _premium_index},
    COINM: _COMMON | {"premiumIndex": _premium_index},
}
"""The endpoints of each market by the path behind ``/api/v3/``, ``/fapi/v1/`` or ``/dapi/v1/``."""


def _symbol(request: Request) -> Listing:
    name = request.query.get("symbol", "")
    if not name:
        raise Refused(
            -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
        )
    return _listing(request, name)


def _listing(request: Request, name: str) -> Listing:
    if _SYMBOL.fullmatch(name) is None:
        raise Refused(
            -1100,
            "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'.",
        )
    listing = request.exchange.listing(request.market, name)
    if listing is None:
        raise Refused(-1121, "Invalid symbol.")
    return listing


def _limit(request: Request, default: int) -> int:
    found = _whole(request, "limit")
    return default if found is None else found


def _most_trades(request: Request) -> int:
    limit = _limit(request, 500)
    if limit <= 0:
        raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, 1000)


def _whole(request: Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise Refused(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.",
        ) from None


def _known(depth: Depth | None, listing: Listing) -> Depth:
    if depth is None:
        raise Refused(
            -1000,
            f"The book of {listing.symbol} is not known here: the capture holds no snapshot for it.",
            503,
        )
    return depth
