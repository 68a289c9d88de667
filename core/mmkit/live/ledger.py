"""What our fills come to, by asset: money to the last digit."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact

from mmkit.instruments import ContractKind, Instrument
from mmkit.live.known import KnownFill

# Not the caller's context, whose precision anyone may have changed; what does not fit raises.
_EXACT = Context(prec=60, traps=[Inexact])


class Ledger:
    """Adds fills up.

    Args:
        instrument: Of the fills.
        fills: Those that there are.
    """

    def __init__(self, instrument: Instrument, fills: Iterable[KnownFill] = ()) -> None:
        self._instrument = instrument
        self.position = 0
        """In lots; negative is short."""
        self.moved: dict[str, Decimal] = {}
        """What has come in, by asset, negative for gone: on spot what was traded, and everywhere fees."""
        for fill in fills:
            self.apply(fill)

    def apply(self, fill: KnownFill) -> None:
        """Take in one fill; the caller hands in each once."""
        instrument = self._instrument
        lots = fill.side.sign * fill.quantity
        self.position += lots
        if instrument.kind is ContractKind.SPOT:
            quantity = instrument.quantity(lots)
            self._move(instrument.base, quantity)
            self._move(instrument.quote, -_EXACT.multiply(quantity, instrument.price(fill.price)))
        if fill.fee_asset:
            self._move(fill.fee_asset, -fill.fee)

    def _move(self, asset: str, amount: Decimal) -> None:
        self.moved[asset] = _EXACT.add(self.moved.get(asset, Decimal(0)), amount)
