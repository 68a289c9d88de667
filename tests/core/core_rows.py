"""Rows and instruments for the tests of the core."""

from __future__ import annotations

from decimal import Decimal

from mmkit.instruments import ContractKind, Instrument
from mmkit.tape import LAST, SELL, GapReason, Kind, Row
from mmkit.testing import BTCUSDT, ended

__all__ = [
    "BTCUSDT",
    "INVERSE",
    "SPOT",
    "ask",
    "bid",
    "bought",
    "ended",
    "gap",
    "instrument_with",
    "row",
    "sold",
]

SPOT = Instrument(
    venue="binance",
    market="spot",
    symbol="NEXO/USDT",
    native="NEXOUSDT",
    base="NEXO",
    quote="USDT",
    kind=ContractKind.SPOT,
    tick=Decimal("0.001"),
    lot=Decimal("0.01"),
)
INVERSE = Instrument(
    venue="binance",
    market="coinm",
    symbol="BTC/USD:BTC",
    native="BTCUSD_PERP",
    base="BTC",
    quote="USD",
    kind=ContractKind.INVERSE,
    tick=Decimal("0.1"),
    lot=Decimal(1),
    contract_size=Decimal(100),
)


def instrument_with(tick: str = "0.1", lot: str = "0.001") -> Instrument:
    return Instrument(
        venue="binance",
        market="usdm",
        symbol="BTC/USDT:USDT",
        native="BTCUSDT",
        base="BTC",
        quote="USDT",
        kind=ContractKind.LINEAR,
        tick=Decimal(tick),
        lot=Decimal(lot),
    )


def row(kind: int, price: int, quantity: int, at: int = 0, local: int | None = None) -> Row:
    """A whole message of one row; received when it happened unless `local` says otherwise."""
    return (at, at if local is None else local, kind | LAST, price, quantity)


def bid(price: int, quantity: int, at: int = 0, local: int | None = None) -> Row:
    return row(Kind.LEVEL, price, quantity, at, local)


def ask(price: int, quantity: int, at: int = 0, local: int | None = None) -> Row:
    return row(Kind.LEVEL | SELL, price, quantity, at, local)


def bought(price: int, quantity: int, at: int = 0, local: int | None = None) -> Row:
    """A trade whose aggressor bought."""
    return row(Kind.TRADE, price, quantity, at, local)


def sold(price: int, quantity: int, at: int = 0, local: int | None = None) -> Row:
    """A trade whose aggressor sold."""
    return row(Kind.TRADE | SELL, price, quantity, at, local)


def gap(at: int = 0, local: int | None = None, reason: GapReason = GapReason.SEQUENCE) -> Row:
    return row(Kind.GAP, reason, 0, at, local)
