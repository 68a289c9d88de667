"""What an account has been given, has traded and has paid, to the last digit."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum
from typing import NamedTuple

ZERO = Decimal(0)
_UNIT = Decimal("1E-8")


class EntryKind(StrEnum):
    """Why an account has more or less of an asset than before."""

    DEPOSIT = "deposit"
    """It began with it."""
    TRADE = "trade"
    """Bought, sold, or paid for it; on spot."""
    FEE = "fee"
    PROFIT = "profit"
    """Of a part of a position that was closed; on contracts."""
    FUNDING = "funding"
    """Paid by, or to, the holders of a contract."""


class Entry(NamedTuple):
    """One change of what an account has of an asset.

    Attributes:
        ts_ns: When.
        market: ``spot``, ``usdm`` or ``coinm``.
        kind: Why.
        asset: Of what.
        amount: Of how much; negative is less.
        symbol: Of the trade or the funding, or empty.
        order_id: Of the trade, or 0.
        trade_id: Of the trade, or 0.
    """

    ts_ns: int
    market: str
    kind: EntryKind
    asset: str
    amount: Decimal
    symbol: str = ""
    order_id: int = 0
    trade_id: int = 0


def sums(entries: Iterable[Entry]) -> dict[tuple[str, str], Decimal]:
    """Return what the entries come to, by market and asset."""
    whole: dict[tuple[str, str], Decimal] = {}
    for one in entries:
        key = (one.market, one.asset)
        whole[key] = whole.get(key, ZERO) + one.amount
    return whole


def cut(amount: Decimal) -> Decimal:
    """Return an amount with the eight decimal places that Binance counts in; the rest is let go."""
    return amount.quantize(_UNIT, ROUND_DOWN)


def text(amount: Decimal) -> str:
    """Return an amount as Binance writes it: with eight decimal places, or more if it has more."""
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int)  # no account has infinity
    return f"{amount:.8f}" if exponent >= -8 else f"{amount:f}"
