"""Tardis's CSV datasets: their columns, in order, and which of them are read.

Columns: Tardis's documentation, "Downloadable CSV files", "Data types". Times are in microseconds. `book_ticker` is
the exchange's own best price, `quotes` is Tardis's, out of the book.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from mmkit.errors import CaptureError
from mmkit_tardis.names import hint

As = Literal["int", "price", "quantity", "scaled", "flag", "side"]
"""How a cell becomes a number: as it stands, in ticks, in lots, times 1e8, true or false, by its place in `Dataset.sides`."""

_HEAD = ("exchange", "symbol", "timestamp", "local_timestamp")


@dataclass(frozen=True)
class Dataset:
    """One kind of file.

    Attributes:
        name: Tardis's data type.
        columns: After exchange, symbol, timestamp and local_timestamp.
        used: What becomes rows, and how.
        optional: Those of them that may be empty.
        sides: The words of the column ``side``.
        what: What it tells of: two files that tell of the same are not merged.
        rank: Of messages received in the same microsecond, which is first. Trades are ahead of the book, or what was
            traded would be taken off it twice.
    """

    name: str
    columns: tuple[str, ...]
    used: dict[str, As]
    what: Literal["trades", "liquidations", "book", "best prices", "derivative"]
    rank: int
    optional: frozenset[str] = frozenset()
    sides: tuple[str, ...] = field(default=())

    @cached_property
    def header(self) -> tuple[str, ...]:
        """All columns, in order."""
        return (*_HEAD, *self.columns)


def _snapshot(depth: int) -> Dataset:
    names = [
        (f"{side}[{n}].price", f"{side}[{n}].amount")
        for n in range(depth)
        for side in ("asks", "bids")
    ]
    used: dict[str, As] = {}
    for price, amount in names:
        used |= {price: "price", amount: "quantity"}
    return Dataset(f"book_snapshot_{depth}", tuple(used), used, "book", 2, optional=frozenset(used))


def _trades(name: str, what: Literal["trades", "liquidations"], rank: int) -> Dataset:
    return Dataset(
        name,
        ("id", "side", "price", "amount"),
        {"side": "side", "price": "price", "amount": "quantity"},
        what,
        rank,
        sides=("buy", "sell", "unknown"),
    )


def _best(name: str) -> Dataset:
    used: dict[str, As] = {
        "ask_amount": "quantity",
        "ask_price": "price",
        "bid_price": "price",
        "bid_amount": "quantity",
    }
    return Dataset(name, tuple(used), used, "best prices", 3, optional=frozenset(used))


INCREMENTAL = Dataset(
    "incremental_book_L2",
    ("is_snapshot", "side", "price", "amount"),
    {"is_snapshot": "flag", "side": "side", "price": "price", "amount": "quantity"},
    "book",
    2,
    sides=("bid", "ask"),
)
TRADES = _trades("trades", "trades", 0)
LIQUIDATIONS = _trades("liquidations", "liquidations", 1)
QUOTES, BOOK_TICKER = _best("quotes"), _best("book_ticker")
DERIVATIVE = Dataset(
    "derivative_ticker",
    (
        *("funding_timestamp", "funding_rate", "predicted_funding_rate", "open_interest"),
        *("last_price", "index_price", "mark_price"),
    ),
    {"funding_timestamp": "int", "funding_rate": "scaled", "mark_price": "scaled"},
    "derivative",
    4,
    optional=frozenset({"funding_timestamp", "funding_rate", "mark_price"}),
)
DATASETS = {
    each.name: each
    for each in (
        INCREMENTAL,
        _snapshot(25),
        _snapshot(5),
        TRADES,
        QUOTES,
        BOOK_TICKER,
        DERIVATIVE,
        LIQUIDATIONS,
    )
}
"""Every data type that becomes rows, by name."""


def dataset_of(path: Path, header: tuple[str, ...]) -> Dataset:
    """Return what kind of file it is: by its columns, and where two have the same ones, by its name.

    Raises:
        CaptureError: if it is none that is read, or its name says another than its columns.
    """
    there = [each for each in DATASETS.values() if each.header == header]
    named = _named(path)
    if not there:
        expected = DATASETS.get(named or "", INCREMENTAL).header
        raise CaptureError(
            f"{path}:1: the columns of a Tardis dataset were expected{f', of {named}' if named else ''}: "
            f"{_short(expected)}; found {_short(header)}; {hint(named or '', DATASETS)}"
        )
    if named is not None:
        for each in there:
            if each.name == named:
                return each
        raise CaptureError(
            f"{path}:1: the columns of {named} were expected, as the file's name says; found those of "
            f"{' or '.join(each.name for each in there)}; give it its own name"
        )
    if len(there) > 1:
        names = " or ".join(each.name for each in there)
        raise CaptureError(
            f"{path}: {names} have the same columns, and only the name of the file can tell which it is; give it "
            f"the name Tardis gives it, such as 'binance-futures_{there[0].name}_2024-03-01_BTCUSDT.csv.gz'"
        )
    return there[0]


def _named(path: Path) -> str | None:
    """Return the data type in a file's name or, as in Tardis's addresses, in that of a folder above it.

    ``{exchange}_{data_type}_{date}_{SYMBOL}.csv.gz`` or ``{exchange}/{data_type}/{Y}/{M}/{D}/{SYMBOL}.csv.gz``.
    """
    longest = sorted(DATASETS, key=len, reverse=True)
    for name in longest:
        if name in path.name:
            return name
    folders = path.absolute().parts[:-1]
    return next((name for name in longest if name in folders), None)


def _short(header: tuple[str, ...]) -> str:
    """Return columns for a message; those of 25 levels are too many."""
    shown = [name[:40] for name in header[:12]]
    return ",".join(shown) + (f",... ({len(header)} in all)" if len(header) > 12 else "")
