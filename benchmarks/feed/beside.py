"""Decoding and applying alone, ours beside orjson, floats and ccxt.pro's order book."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from benchmarks.feed.updates import snapshot, updates
from ccxt.async_support.base.ws.order_book import OrderBook

from mmkit.book import Book
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import WireFormatContext
from mmkit_binance.burst import Burst, load
from mmkit_binance.wire import BinanceConfig, BinanceWire

_AT_ONCE = 200  # about what piles up at full speed: 64 kB of the socket
_LEAST = 20_000  # messages that a turn takes in; a short recording is taken in several times
_SHARED = Path(os.environ.get("SHARED_DIR") or Path(__file__).parents[3] / "shared")


class Messages(NamedTuple):
    """Depth messages and where they begin.

    Attributes:
        name: What they are.
        instrument: Whose.
        before: Messages that the wire format takes in before those, the first book among them.
        book: That book, as REST answers it.
        messages: What is measured.
    """

    name: str
    instrument: Instrument
    before: list[bytes]
    book: bytes
    messages: list[bytes]


class Figures(NamedTuple):
    """Medians, us of CPU an update: messages that piled up, messages one by one, and theirs."""

    name: str
    messages: int
    levels: float
    ours_us: float
    single_us: float
    theirs_us: float

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.theirs_us / self.ours_us


def _instrument(market: str, base: str, tick: str, lot: str) -> Instrument:
    spot = market == "spot"
    return Instrument(
        venue="binance",
        market=market,
        symbol=f"{base}/USDT" if spot else f"{base}/USDT:USDT",
        native=f"{base}USDT",
        base=base,
        quote="USDT",
        kind=ContractKind.SPOT if spot else ContractKind.LINEAR,
        tick=Decimal(tick),
        lot=Decimal(lot),
    )


def synthetic(number: int, levels: int) -> Messages:
    """Return the updates that the sender sends, with one time."""
    made = [head + b"1700000000000000" + tail for head, tail in updates(number, levels)]
    name = f"made, {levels} levels"
    return Messages(name, _instrument("spot", "BTC", "0.1", "0.001"), [], snapshot(), made)


def recorded() -> list[Messages]:
    """Return the depth messages of recordings, as far as they lie beside the checkout."""
    found = []
    for path, instrument in (
        (
            "binance_spot_nexousdt/nexousdt_20240723.dat.gz",
            _instrument("spot", "NEXO", "0.0001", "0.01"),
        ),
        ("binance_spot/btcusdt_20240808.gz", _instrument("spot", "BTC", "0.01", "0.00001")),
        ("binance_usdm/btcusdt_20240808.gz", _instrument("usdm", "BTC", "0.1", "0.001")),
    ):
        file = _SHARED / "data" / path
        if file.exists():
            found.append(_read(file, instrument))
    return found


def _read(file: Path, instrument: Instrument) -> Messages:
    before: list[bytes] = []
    book, last = b"", 0
    messages: list[bytes] = []
    with gzip.open(file) as lines:
        for line in lines:
            raw = line.partition(b" ")[2].strip()
            if raw.startswith(b'{"lastUpdateId"'):
                book, last = raw, orjson.loads(raw)["lastUpdateId"]
            elif b'"e":"depthUpdate"' in raw[:120]:
                # The first one behind the book's place is where the book becomes known.
                fresh = bool(book) and orjson.loads(raw)["data"]["U"] > last
                (messages if fresh else before).append(raw)
    return Messages(f"{file.parent.name} {file.name}", instrument, before, book, messages)


def final_book(number: int, levels: int) -> tuple[dict[int, int], dict[int, int]]:
    """Return the book after the updates, by plain dicts and decimals."""
    start = orjson.loads(snapshot())
    made = (head + b"0" + tail for head, tail in updates(number, levels))
    bids, asks = _plain(start, made)
    return _whole(bids, Decimal("0.1"), Decimal("0.001")), _whole(
        asks, Decimal("0.1"), Decimal("0.001")
    )


def _plain(start: Any, messages: Iterable[bytes]) -> tuple[dict[str, str], dict[str, str]]:
    sides: tuple[dict[str, str], dict[str, str]] = (dict(start["bids"]), dict(start["asks"]))
    for raw in messages:
        data = orjson.loads(raw)["data"]
        for side, changes in zip(sides, (data["b"], data["a"]), strict=True):
            for price, quantity in changes:
                if Decimal(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)
    return sides


def _whole(side: dict[str, str], tick: Decimal, lot: Decimal) -> dict[int, int]:
    return {int(Decimal(p) / tick): int(Decimal(q) / lot) for p, q in side.items()}


def _ours(case: Messages, at_once: int) -> tuple[float, Book]:
    wire = BinanceWire(
        BinanceConfig(), WireFormatContext(instrument=case.instrument, streams=("depth",))
    )
    burst, book = Burst(wire), Book()
    if at_once > 1:
        burst.use_compiled()
    rows = [row for raw in case.before for row in wire.message(raw, 1)]
    for row in rows + wire.snapshot(case.book, 1):
        book.apply(row)
    messages = case.messages
    begun = time.process_time()
    for start in range(0, len(messages), at_once):
        made = burst.take(messages[start : start + at_once], 1).rows
        taken = book.take(made, len(made))
        for row in made[taken:]:
            book.apply(row)
    return time.process_time() - begun, book


def _theirs(case: Messages) -> tuple[float, Any]:
    start = orjson.loads(case.book)
    book: Any = OrderBook({})
    book.reset(
        {
            name: [[float(price), float(quantity)] for price, quantity in start[name]]
            for name in ("bids", "asks")
        }
    )
    last = start["lastUpdateId"]
    for raw in case.before:
        data = orjson.loads(raw)["data"]
        if data["u"] > last:
            _store(book, data)
    begun = time.process_time()
    for raw in case.messages:
        _store(book, orjson.loads(raw)["data"])
    return time.process_time() - begun, book


def _store(book: Any, data: Any) -> None:
    bids, asks = book["bids"], book["asks"]
    for price, quantity in data["b"]:
        bids.storeArray([float(price), float(quantity)])
    for price, quantity in data["a"]:
        asks.storeArray([float(price), float(quantity)])


def _check(case: Messages, ours: Book, theirs: Any) -> None:
    """See that both have come to the same book."""
    tick, lot = float(case.instrument.tick), float(case.instrument.lot)
    for side, name in ((ours.bids, "bids"), (ours.asks, "asks")):
        found = {round(price / tick): quantity / lot for price, quantity in theirs[name]}
        # A total may lie between two lots, and is then rounded up.
        same = found.keys() == side.levels.keys() and all(
            abs(lots - side.levels[price]) < 1 for price, lots in found.items()
        )
        if not same:
            raise SystemExit(f"{case.name}: the two books differ in {name}")


def beside_ccxt(case: Messages, rounds: int) -> Figures:
    """Measure the three in turns, so many times."""
    load()
    number = len(case.messages)
    times = -(-_LEAST // number) if rounds > 1 else 1

    def measured(measure: Callable[[], tuple[float, Any]]) -> tuple[float, Any]:
        spent, book = 0.0, None
        for _ in range(times):
            took, book = measure()
            spent += took
        return spent / (times * number) * 1e6, book

    turns = []
    for _ in range(rounds):
        ours, book = measured(lambda: _ours(case, _AT_ONCE))
        single, _ = measured(lambda: _ours(case, 1))
        theirs, their_book = measured(lambda: _theirs(case))
        turns.append((ours, single, theirs))
    _check(case, book, their_book)
    levels = sum(
        len(data["b"]) + len(data["a"])
        for data in (orjson.loads(raw)["data"] for raw in case.messages)
    )
    medians = [sorted(column)[rounds // 2] for column in zip(*turns, strict=True)]
    return Figures(case.name, number, levels / number, *medians)
