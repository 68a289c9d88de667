"""What a fee is worth in the currency in which profit is counted."""

from __future__ import annotations

from decimal import Decimal

from mmkit.accounts import FillRecord
from mmkit.instruments import ContractKind, Instrument


def in_settlement(fill: FillRecord, instrument: Instrument) -> Decimal:
    """Return the fee of a fill in the settlement currency.

    A fee in the base currency is valued at the price of the fill. One in another asset, such as BNB, counts 0
    here, as no price of it is known: it is told by asset besides.
    """
    if not fill.fee_asset or fill.fee_asset == instrument.settle:
        return fill.fee
    if instrument.kind is ContractKind.SPOT and fill.fee_asset == instrument.base:
        return fill.fee * fill.price
    return Decimal(0)
