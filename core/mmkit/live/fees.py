"""What a fee is worth in the currency in which profit is counted."""

from __future__ import annotations

from decimal import Decimal

from mmkit.accounts import FillRecord
from mmkit.instruments import ContractKind, Instrument
from mmkit.portfolio import EXACT


def in_settlement(fill: FillRecord, instrument: Instrument) -> Decimal:
    """Return the fee of a fill in the settlement currency.

    A fee in the base currency is valued at the price of the fill. One in another asset, such as BNB, counts 0
    here, as no price of it is known: it is told by asset besides.
    """
    if is_in_base(fill, instrument):
        return EXACT.multiply(fill.fee, fill.price)
    if not fill.fee_asset or fill.fee_asset == instrument.settle:
        return fill.fee
    return Decimal(0)


def in_base(fill: FillRecord, instrument: Instrument) -> Decimal:
    """Return what of a fill was charged in base currency: by so much less is held than was traded."""
    return fill.fee if is_in_base(fill, instrument) else Decimal(0)


def is_in_base(fill: FillRecord, instrument: Instrument) -> bool:
    """Return whether a fee was taken from what is traded."""
    return instrument.kind is ContractKind.SPOT and fill.fee_asset == instrument.base
