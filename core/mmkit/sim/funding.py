"""What longs and shorts of a perpetual contract pay each other."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from mmkit.errors import DataError
from mmkit.instruments import ContractKind, Instrument
from mmkit.portfolio import EXACT, half_even
from mmkit.tape import KIND, NEVER, SCALE, Kind, Row

PLACES = 8
"""Decimals of the settlement currency that a payment has."""


class Payment(NamedTuple):
    """One payment of funding.

    Attributes:
        due: The announced time, ns since the epoch.
        rate: Of the position's value; longs pay it if it is positive.
        mark: The price the position was valued at.
        amount: Received, in the settlement currency; negative is paid.
    """

    due: int
    rate: Decimal
    mark: Decimal
    amount: Decimal


class Funding:
    """The last mark price and funding rate, and when the next payment is due.

    On the spot market nothing is paid.
    """

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._paid = instrument.kind is not ContractKind.SPOT
        self._mark = self._rate = 0
        self.next_ns = NEVER
        """When the next payment is due, by the venue's clock."""

    def on_row(self, row: Row, now_ns: int) -> None:
        """Take in a MARK or FUNDING row; it is `now_ns` by the venue's clock.

        An announcement of what is past comes too late, or tells of what has been paid.
        """
        what = row[2] & KIND
        if what == Kind.MARK:
            self._mark = row[4]
        elif what == Kind.FUNDING and self._paid and row[3] * 1_000_000_000 > now_ns:
            self.next_ns, self._rate = row[3] * 1_000_000_000, row[4]

    def pay(self, position: int) -> Payment | None:
        """Return the payment that has become due on `position` lots; `None` if there is no position.

        Raises:
            DataError: if there is a position and no mark price to value it at.
        """
        due, self.next_ns = self.next_ns, NEVER
        if not position:
            return None
        amount = funding_amount(self._instrument, position, self._mark, self._rate, due)
        return Payment(due, scaled(self._rate), scaled(self._mark), amount)


def funding_amount(
    instrument: Instrument, position: int, mark: int, rate: int, due_ns: int
) -> Decimal:
    """Return what `position` lots receive, rounded half to even to `PLACES` decimals; negative is paid.

    Linear: ``-position x contract_size x mark x rate``. Inverse: ``-position x contract_size / mark x
    rate``, in base currency.

    Args:
        instrument: What is held.
        position: In lots; negative is short.
        mark: The mark price times `SCALE`.
        rate: The funding rate times `SCALE`.
        due_ns: When it is due, ns since the epoch.

    Raises:
        DataError: if there is no mark price to value the position at.
    """
    if mark <= 0:
        raise DataError(
            f"funding of {instrument.symbol} is due at {due_ns // 1_000_000_000} s, and no mark "
            "price has been told yet; a stream that tells both was expected, such as 'markPrice'"
        )
    lot = Fraction(instrument.lot) * Fraction(instrument.contract_size)
    if instrument.kind is ContractKind.INVERSE:
        amount = lot * position * rate / mark
    else:
        amount = lot * position * mark * rate / SCALE**2
    amount *= -(10**PLACES)
    return Decimal(half_even(amount.numerator, amount.denominator)).scaleb(-PLACES, EXACT)


def scaled(value: int) -> Decimal:
    """Return a price or rate of a MARK or FUNDING row."""
    return Decimal(value).scaleb(-PLACES, EXACT)
