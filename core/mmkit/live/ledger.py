"""What our fills come to, by asset: money to the last digit."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from decimal import Context, Decimal
from fractions import Fraction

from mmkit.instruments import ContractKind, Instrument
from mmkit.live.known import KnownFill

# Not the caller's context, whose precision anyone may have changed. Only realised profit has more digits than that.
_PRECISE = Context(prec=60)


_TAIL = 1000
"""So many of the last fills may be told in another order than they happened in."""


class Ledger:
    """Adds fills up, in the order in which they happened, in whatever order they are told.

    Of a contract, what is traded moves the wallet once it is closed again: by the difference to the average price at which
    it was opened, as Binance does it. The position is taken to have been 0 before the first fill.

    Args:
        instrument: Of the fills.
        fills: Those that there are.
    """

    def __init__(self, instrument: Instrument, fills: Iterable[KnownFill] = ()) -> None:
        self._before = _Sum(instrument)
        """What the fills before the last few come to."""
        self._tail: list[KnownFill] = []
        self._sum = _Sum(instrument)
        self.in_order = True
        """Whether none was told too late to be counted in its place."""
        for fill in sorted(fills, key=_when):
            self.apply(fill)

    @property
    def position(self) -> int:
        """In lots; negative is short."""
        return self._sum.position

    @property
    def moved(self) -> dict[str, Decimal]:
        """What has come in, by asset, negative for gone: what was traded on spot, realised profit otherwise, and fees."""
        return self._sum.moved

    @property
    def count(self) -> int:
        """How many fills there are."""
        return self._sum.count

    def apply(self, fill: KnownFill) -> None:
        """Take in one fill; the caller hands in each once."""
        if not self._tail or _when(self._tail[-1]) <= _when(fill):
            self._tail.append(fill)
            self._sum.apply(fill)
            if len(self._tail) > 2 * _TAIL:
                for one in self._tail[:_TAIL]:
                    self._before.apply(one)
                del self._tail[:_TAIL]
            return
        if self._before.count and _when(fill) < _when(self._tail[0]):
            self.in_order = False
        insort(self._tail, fill, key=_when)
        self._sum = self._before.copy()
        for one in self._tail:
            self._sum.apply(one)


def _when(fill: KnownFill) -> tuple[int, int, str]:
    return fill.ts_ns, len(fill.trade_id), fill.trade_id


class _Sum:
    """What fills come to, one after the other."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._opened = Fraction(0)
        """Worth of the position when it was opened, in the settlement currency."""
        self.count = self.position = 0
        self.moved: dict[str, Decimal] = {}

    def copy(self) -> _Sum:
        other = _Sum(self._instrument)
        other._opened, other.count, other.position = self._opened, self.count, self.position
        other.moved = dict(self.moved)
        return other

    def apply(self, fill: KnownFill) -> None:
        instrument = self._instrument
        lots = fill.side.sign * fill.quantity
        if instrument.kind is ContractKind.SPOT:
            quantity = instrument.quantity(lots)
            self._move(instrument.base, quantity)
            self._move(instrument.quote, -_PRECISE.multiply(quantity, instrument.price(fill.price)))
        else:
            self._realise(lots, self._worth(fill.price))
        self.position += lots
        self.count += 1
        if fill.fee_asset:
            self._move(fill.fee_asset, -fill.fee)

    def _worth(self, ticks: int) -> Fraction:
        """Return what a lot is worth at a price: by so much more a long one has earned."""
        instrument = self._instrument
        price, lot = Fraction(instrument.price(ticks)), Fraction(instrument.lot)
        size = Fraction(instrument.contract_size)
        return (
            -size * lot / price if instrument.kind is ContractKind.INVERSE else size * lot * price
        )

    def _realise(self, lots: int, worth: Fraction) -> None:
        position = self.position
        if position * lots < 0:
            closed = -position if abs(lots) > abs(position) else lots
            opened = self._opened * Fraction(-closed, position)
            profit = -closed * worth - opened
            self._move(
                self._instrument.settle,
                _PRECISE.divide(Decimal(profit.numerator), Decimal(profit.denominator)),
            )
            self._opened -= opened
            lots -= closed
        self._opened += lots * worth

    def _move(self, asset: str, amount: Decimal) -> None:
        self.moved[asset] = _PRECISE.add(self.moved.get(asset, Decimal(0)), amount)
