"""What the compiled engine's whole numbers of money are worth."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import lcm

import numpy as np
import numpy.typing as npt

from mmkit.instruments import ContractKind
from mmkit.portfolio import EXACT, INVERSE_PLACES, lot_per_tick
from mmkit.settings import FeeSettings
from mmkit.sim.fees import WINDOW, tiers_of, traded_unit
from mmkit.sim.funding import PLACES, funding_amount
from mmkit.tape import Kind, Tape

_NEVER_REACHED = 2**62


class Worth:
    """The units of one run: chosen so that every fee, every mid and every payment of funding is a whole number.

    Args:
        settings: What is charged.
        tape: Tells the instrument, and whether funding is announced.

    Attributes:
        inverse: Whether the contract is inverse; all units are then those of the grid of its values.
        funded: Whether funding is paid.
        denominator: What the rates of the fees share.
        unit: One unit of equity, in the settlement currency.
        cash_worth: Units of equity in one of cash.
        fee_worth: Units of equity in one of fees.
        each: What one lot of an inverse contract is worth at one tick.
    """

    def __init__(self, settings: FeeSettings, tape: Tape) -> None:
        instrument = self._instrument = tape.instrument
        self._settings = settings
        self.inverse = instrument.kind is ContractKind.INVERSE
        self.funded = (
            instrument.kind is not ContractKind.SPOT and tape.index.facts.counts[Kind.FUNDING] > 0
        )
        self.each = lot_per_tick(instrument)
        rates = [Fraction(rate) for tier in tiers_of(settings) for rate in (tier.maker, tier.taker)]
        self.denominator = lcm(*(rate.denominator for rate in rates))
        if self.inverse:
            self.unit, self.cash_worth, self.fee_worth = Fraction(1, 10**INVERSE_PLACES), 1, 1
            return
        value = Fraction(instrument.tick * instrument.lot * instrument.contract_size)
        if self.funded:
            # Finer, if need be, so that a payment is a whole number of units, too.
            self.denominator *= (
                Fraction(1, 10**PLACES) / (value / (2 * self.denominator))
            ).denominator
        self.unit = value / (2 * self.denominator)
        self.cash_worth, self.fee_worth = 2 * self.denominator, 2

    def equity(self, units: int) -> Decimal:
        """Return units of equity, or of funding, as money; exact."""
        value = int(units) * self.unit
        # Products of decimals have a finite expansion.
        return EXACT.divide(Decimal(value.numerator), Decimal(value.denominator)).normalize(EXACT)

    def fees(self, units: int) -> Decimal:
        """Return units of fees as money; exact."""
        return self.equity(self.fee_worth * int(units))

    def received(self, position: int, mark: int, rate: int, due_ns: int) -> int:
        """Return what is received as funding, in units of equity; see `mmkit.sim.funding`.

        Raises:
            DataError: if no mark price has been told.
        """
        amount = Fraction(funding_amount(self._instrument, position, mark, rate, due_ns))
        units = amount / self.unit
        assert units.denominator == 1  # the unit was chosen so
        return units.numerator

    def rates(self) -> npt.NDArray[np.int64]:
        """Return maker's and taker's rate of each tier, times `denominator`; shape ``(tiers, 2)``."""
        return np.array(
            [
                [int(Fraction(rate) * self.denominator) for rate in (tier.maker, tier.taker)]
                for tier in tiers_of(self._settings)
            ],
            np.int64,
        )

    def needed(self) -> npt.NDArray[np.int64]:
        """Return what the run must have traded in thirty days for each tier, by days since its first.

        In what the kernel counts (`mmkit.sim.fees.traded_unit`); shape ``(tiers, WINDOW + 1)``.
        """
        unit = traded_unit(self._instrument)
        before = Fraction(self._settings.volume_30d)
        return np.array(
            [
                [
                    _ceiling((Fraction(tier.volume) - before * left / WINDOW) / unit)
                    for left in range(WINDOW, -1, -1)
                ]
                for tier in tiers_of(self._settings)
            ],
            np.int64,
        )


def _ceiling(value: Fraction) -> int:
    return max(0, min(_NEVER_REACHED, -(-value.numerator // value.denominator)))
