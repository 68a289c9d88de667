"""Decoding and applying alone, ours beside orjson, floats and ccxt.pro's order book."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
from benchmarks.feed.updates import snapshot, updates
from ccxt.async_support.base.ws.order_book import OrderBook

from mmkit.book import Book
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import WireFormatContext
from mmkit_binance.burst import Burst, _load
from mmkit_binance.wire import BinanceConfig, BinanceWire

_TURNS = 5
_AT_ONCE = 200  # about what piles up at full speed: 64 kB of the socket
_INSTRUMENT = Instrument(
    venue="binance",
    market="spot",
    symbol="BTC/USDT",
    native="BTCUSDT",
    base="BTC",
    quote="USDT",
    kind=ContractKind.SPOT,
    tick=Decimal("0.1"),
    lot=Decimal("0.001"),
)


class Figures(NamedTuple):
    """Medians, us of CPU an update: messages that piled up, messages one by one, and theirs."""

    ours_us: float
    single_us: float
    theirs_us: float


def final_book(number: int, levels: int) -> tuple[dict[int, int], dict[int, int]]:
    """Return the book after the updates, by plain dicts and decimals."""
    start = orjson.loads(snapshot())
    sides: list[dict[str, str]] = [dict(start["bids"]), dict(start["asks"])]
    for head, tail in updates(number, levels):
        data = orjson.loads(head + b"0" + tail)["data"]
        for side, changes in zip(sides, (data["b"], data["a"]), strict=True):
            for price, quantity in changes:
                if Decimal(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)
    bids, asks = (
        {
            int(Decimal(price) * 10): int(Decimal(quantity) * 1000)
            for price, quantity in side.items()
        }
        for side in sides
    )
    return bids, asks


def _ours(messages: list[bytes], at_once: int) -> float:
    wire = BinanceWire(
        BinanceConfig(), WireFormatContext(instrument=_INSTRUMENT, streams=("depth",))
    )
    burst, book = Burst(wire), Book()
    if at_once > 1:
        burst.use_compiled()
    for row in wire.snapshot(snapshot(), 1):
        book.apply(row)
    begun = time.process_time()
    for start in range(0, len(messages), at_once):
        for row in burst.take(messages[start : start + at_once], 1).rows:
            book.apply(row)
    return (time.process_time() - begun) / len(messages) * 1e6


def _theirs(messages: list[bytes]) -> float:
    start = orjson.loads(snapshot())
    book: Any = OrderBook({})
    book.reset(
        {
            name: [[float(price), float(quantity)] for price, quantity in start[name]]
            for name in ("bids", "asks")
        }
    )
    bids, asks = book["bids"], book["asks"]
    begun = time.process_time()
    for raw in messages:
        data = orjson.loads(raw)["data"]
        for price, quantity in data["b"]:
            bids.storeArray([float(price), float(quantity)])
        for price, quantity in data["a"]:
            asks.storeArray([float(price), float(quantity)])
    return (time.process_time() - begun) / len(messages) * 1e6


def beside_ccxt(number: int, levels: int) -> Figures:
    """Measure the three in turns, each with so many updates."""
    _load()
    messages = [head + b"1700000000000000" + tail for head, tail in updates(number, levels)]
    turns = [
        (_ours(messages, _AT_ONCE), _ours(messages, 1), _theirs(messages)) for _ in range(_TURNS)
    ]
    ours, single, theirs = (sorted(column)[_TURNS // 2] for column in zip(*turns, strict=True))
    return Figures(ours, single, theirs)
