"""What holders of perpetual contracts pay each other at fixed times.

Source: Binance, "Introduction to Funding Rates": the value of the position at the mark price, times the rate; longs pay
it to shorts if the rate is positive.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from mmkit_sandbox.contract import Contract

_UNIT = Decimal("1E-8")


class FundingTerms(NamedTuple):
    """When funding is paid, and how much.

    Attributes:
        every_ms: Between payments, which are at whole multiples of it since the epoch; BTCUSDT's are eight hours apart.
        rate: Share of a position's value; at 0 nothing is paid. The default is Binance's rate of interest.
    """

    every_ms: int = 8 * 3600 * 1000
    rate: Decimal = Decimal("0.0001")

    def next_ms(self, now_ms: int) -> int:
        """Return the time of the first payment after `now_ms`, ms since the epoch."""
        return now_ms - now_ms % self.every_ms + self.every_ms


USUAL = FundingTerms()


def payment(contract: Contract, quantity: Decimal, mark: Decimal, rate: Decimal) -> Decimal:
    """Return what a position receives, in the currency that profit is counted in; negative is paid.

    Rounded once, half to even, to eight places. The mark price is above 0.
    """
    # Not `worth`, which is rounded already.
    value = quantity * mark if contract.size is None else contract.size * quantity / mark
    return (-value * rate).quantize(_UNIT, ROUND_HALF_EVEN)
