"""Tardis's files as a test writes them from the tables of columns, and a slow and obvious book to compare with."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import mmkit_tardis
from mmkit.clock import SimClock
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import DataSource, SourceContext
from mmkit.tape import KIND, LAST, SELL, Kind, Tape

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "tardis"
FIXTURE = DATA / "binance-futures_book_snapshot_25_BTCUSDT.csv"
T = 1_709_251_200_000_000  # 2024-03-01T00:00:00Z, us
DAY = 86_400_000_000

HEADERS = {
    "incremental_book_L2": "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount",
    "trades": "exchange,symbol,timestamp,local_timestamp,id,side,price,amount",
    "liquidations": "exchange,symbol,timestamp,local_timestamp,id,side,price,amount",
    "quotes": "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount",
    "book_ticker": "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount",
    "derivative_ticker": "exchange,symbol,timestamp,local_timestamp,funding_timestamp,funding_rate,"
    "predicted_funding_rate,open_interest,last_price,index_price,mark_price",
    "book_snapshot_5": "exchange,symbol,timestamp,local_timestamp,"
    + ",".join(
        f"asks[{n}].price,asks[{n}].amount,bids[{n}].price,bids[{n}].amount" for n in range(5)
    ),
}


def write(
    folder: Path,
    kind: str,
    lines: Iterable[str],
    *,
    day: str = "2024-03-01",
    packed: bool = False,
    whose: str = "binance-futures,BTCUSDT",
) -> Path:
    """Write a dataset; a line is what follows exchange and symbol."""
    text = "".join(f"{line}\n" for line in [HEADERS[kind], *(f"{whose},{line}" for line in lines)])
    path = folder / f"binance-futures_{kind}_{day}_BTCUSDT.csv"
    if packed:
        path = path.with_suffix(".csv.gz")
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def source(
    userdir: Path,
    *,
    market: str = "usdm",
    symbol: str = "BTC/USDT:USDT",
    tick: str | None = "0.1",
    lot: str | None = "0.001",
    clock: Any = None,
    venue: str = "binance",
    **config: Any,
) -> DataSource:
    (provider,) = mmkit_tardis.register_data_sources()
    spec = InstrumentSpec(
        venue=venue,
        market=market,
        symbol=symbol,
        tick=Decimal(tick) if tick else None,
        lot=Decimal(lot) if lot else None,
    )

    def none(*_: object) -> Any:
        raise AssertionError("a Tardis source needs no wire format")

    context = SourceContext(spec, clock or SimClock(), userdir, none)
    return provider.build(provider.config(**config), context)


def tape(paths: Sequence[Path] | Path, userdir: Path, **options: Any) -> Tape:
    paths = [paths] if isinstance(paths, Path) else paths
    return asyncio.run(source(userdir, paths=[str(p) for p in paths], **options).tape())


def rows(found: Tape) -> list[tuple[int, int, int, int, int]]:
    return list(found.rows())


Side = dict[Decimal, Decimal]
State = tuple[int, tuple[Side, Side] | None]
"""Local time in us; bids and asks, or `None` when the book is unknown."""


def states(found: Tape) -> list[State]:
    """The book after every message of a tape that has to do with it, by its rows."""
    told: list[State] = []
    bids, asks, known, filling, touched = {}, {}, False, False, False
    price, quantity = found.instrument.price, found.instrument.quantity
    for _, local, kind, ticks, lots in found.rows():
        what = kind & KIND
        if what == Kind.GAP:
            bids, asks, known, filling, touched = {}, {}, False, False, True
        elif what == Kind.SNAPSHOT:
            bids, asks, filling, touched = {}, {}, True, True
        elif what == Kind.LEVEL:
            touched = True
            side = asks if kind & SELL else bids
            if lots:
                side[price(ticks)] = quantity(lots)
            else:
                side.pop(price(ticks), None)
        if kind & LAST:
            known |= filling
            filling = False
            if touched:
                told.append((local // 1000, (dict(bids), dict(asks)) if known else None))
            touched = False
    return told


def expected_states(files: Sequence[Sequence[str]]) -> list[State]:
    """The same of files of incremental_book_L2, line by line and as slow as can be."""
    told: list[State] = []
    bids: Side = {}
    asks: Side = {}
    known, end = False, None
    for lines in files:
        begun = was_snapshot = False
        for n, line in enumerate(lines):
            _, local, snapshot, side, price, amount = line.split(",")
            at, is_snapshot = int(local), snapshot == "true"
            if n == 0 and known and (not is_snapshot or at // DAY > end // DAY + 1):
                told.append((end, None))
                known = False
            if not begun and not is_snapshot:
                continue
            if is_snapshot and not was_snapshot:
                if begun:
                    told.append((end, None))
                bids, asks = {}, {}
                fresh = True
            else:
                fresh = end != at
            begun = known = True
            was_snapshot = is_snapshot
            levels = bids if side == "bid" else asks
            levels[Decimal(price)] = Decimal(amount)
            if not Decimal(amount):
                del levels[Decimal(price)]
            if not fresh:
                told.pop()  # the message goes on
            told.append((at, (dict(bids), dict(asks))))
            end = at
    return [(min(s[0] for s in told) if told else 0, None), *told]
