"""Instruments, messages and captures that the tests of the Binance plugin share."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from mmkit.book import Book
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import WireFormatContext
from mmkit.tape import Row
from mmkit_binance.wire import BinanceConfig, BinanceWire

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

MS = 1_000_000


def instrument(
    market: str = "spot",
    base: str = "BTC",
    quote: str = "USDT",
    tick: str = "0.1",
    lot: str = "0.001",
) -> Instrument:
    usdm = market == "usdm"
    return Instrument(
        venue="binance",
        market=market,
        symbol=f"{base}/{quote}" + (f":{quote}" if usdm else ""),
        native=base + quote,
        base=base,
        quote=quote,
        kind=ContractKind.LINEAR if usdm else ContractKind.SPOT,
        tick=Decimal(tick),
        lot=Decimal(lot),
    )


SPOT = instrument("spot")
USDM = instrument("usdm")


def wire(found: Instrument, *streams: str) -> BinanceWire:
    context = WireFormatContext(instrument=found, streams=streams or ("depth", "trade"))
    return BinanceWire(BinanceConfig(), context)


def envelope(stream: str, data: Any) -> str:
    return json.dumps({"stream": stream, "data": data})


def levels(*pairs: tuple[float, float]) -> list[list[str]]:
    return [[f"{price:.2f}", f"{quantity:.3f}"] for price, quantity in pairs]


def spot_diff(
    first: int, last: int, time: int, bids: Any = (), asks: Any = (), symbol: str = "BTCUSDT"
) -> str:
    data = {
        "e": "depthUpdate",
        "E": time,
        "s": symbol,
        "U": first,
        "u": last,
        "b": levels(*bids),
        "a": levels(*asks),
    }
    return envelope(f"{symbol.lower()}@depth@100ms", data)


def usdm_diff(
    first: int, last: int, previous: int, time: int, bids: Any = (), asks: Any = ()
) -> str:
    data = {
        "e": "depthUpdate",
        "E": time + 2,
        "T": time,
        "s": "BTCUSDT",
        "U": first,
        "u": last,
        "pu": previous,
        "b": levels(*bids),
        "a": levels(*asks),
        "ps": "BTCUSDT",
        "st": 1,
    }
    return envelope("btcusdt@depth@100ms", data)


def snapshot(last: int, bids: Any = (), asks: Any = (), time: int | None = None) -> str:
    data: dict[str, Any] = {"lastUpdateId": last, "bids": levels(*bids), "asks": levels(*asks)}
    if time is not None:
        data |= {"E": time + 2, "T": time}
    return json.dumps(data)


def book_of(rows: list[Row]) -> Book:
    book = Book()
    for row in rows:
        book.apply(row)
    return book


def sides(book: Book) -> tuple[dict[int, int], dict[int, int]]:
    return dict(book.bids.levels), dict(book.asks.levels)
