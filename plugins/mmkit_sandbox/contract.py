"""What a quantity is worth at a price, in the currency that profit is counted in: the one difference between the
kinds of contract.

Source: Binance, "COIN-M Futures Contract Specifications": a contract is worth a fixed amount of quote currency, and so
the less base currency the higher the price.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from mmkit_sandbox.ledger import ZERO

_UNIT = Decimal("1E-8")


class Contract(NamedTuple):
    """How a symbol is valued.

    Attributes:
        size: Quote currency per contract of one that is settled in base currency; `None` for spot and USD-M, whose
            quantities are in base currency and whose values are in quote currency.
    """

    size: Decimal | None = None

    @property
    def sign(self) -> int:
        """1 if what is held gains as it is worth more; -1 if what is held is owed, as a contract of COIN-M."""
        return 1 if self.size is None else -1

    def worth(self, price: Decimal, quantity: Decimal) -> Decimal:
        """Return the value of a quantity, of its sign.

        Exact, or, of a contract settled in base currency, rounded half to even to the eight places that Binance
        tells it with (``baseQty``). 0 at a price of 0, which is that of a market order.
        """
        if self.size is None:
            return price * quantity
        if not price:
            return ZERO
        return (self.size * quantity / price).quantize(_UNIT, ROUND_HALF_EVEN)

    def mean(self, value: Decimal, quantity: Decimal) -> Decimal:
        """Return the price at which a quantity is worth a value; 0 for nothing."""
        if not quantity or not value:
            return ZERO
        return value / quantity if self.size is None else self.size * quantity / value


LINEAR = Contract()
"""Spot and USD-M."""
