"""What our fills come to, by asset: money to the last digit."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from decimal import Context, Decimal
from fractions import Fraction

import msgspec

from mmkit.accounts import FundingRecord
from mmkit.instruments import ContractKind, Instrument
from mmkit.live.known import KnownFill

# Not the caller's context, whose precision anyone may have changed. Only realised profit has more digits than that.
PRECISE = Context(prec=60)


_TAIL = 1000
"""So many of the last fills may be told in another order than they happened in."""


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """What every fill up to a time comes to, so that not all have to be added up when a run begins.

    Attributes:
        until_ns: Of the last of them, by the venue's clock; no other fill has this time.
        count: How many there are.
        position: In lots; negative is short.
        opened: Worth of the position when it was opened, in the settlement currency: a fraction, in hexadecimal digits.
        moved: What has come in, by asset.
    """

    until_ns: int
    count: int
    position: int
    opened: str
    moved: dict[str, Decimal]


class Ledger:
    """Adds fills up, in the order in which they happened, in whatever order they are told; and funding.

    Of a contract, what is traded moves the wallet once it is closed again: by the difference to the average price at which
    it was opened, as Binance does it. The position is taken to have been 0 before the first fill.

    Args:
        instrument: Of the fills.
        fills: Those that there are, after those in `sums`.
        sums: What earlier ones come to.
        fundings: Every payment that there was.
    """

    def __init__(
        self,
        instrument: Instrument,
        fills: Iterable[KnownFill] = (),
        sums: Sums | None = None,
        fundings: Iterable[FundingRecord] = (),
    ) -> None:
        self._instrument = instrument
        self._before = _Sum(instrument)
        """What the fills before the last few come to."""
        self._until_ns = -1
        if sums is not None:
            self._before.begin_with(sums)
            self._until_ns = sums.until_ns
        self._tail: list[KnownFill] = []
        self._sum = self._before.copy()
        self._fundings: list[FundingRecord] = []
        self._funded: dict[int, dict[str, Decimal]] = {0: {}}
        """What those paid from a time on come to, by asset: from the beginning, and from the time that was asked for last."""
        self.settled = sums
        """What may be written down, as no fill is expected any more that belongs before its end; `None` for nothing."""
        self.in_order = True
        """Whether none was told too late to be counted in its place."""
        for fill in sorted(fills, key=when):
            self.apply(fill)
        for one in fundings:
            self.fund(one)

    @property
    def position(self) -> int:
        """In lots; negative is short."""
        return self._sum.position

    @property
    def moved(self) -> dict[str, Decimal]:
        """What has come in, by asset, negative for gone: what was traded on spot, realised profit otherwise; fees; funding."""
        return self.moved_since(0)

    def moved_since(self, funded_ns: int) -> dict[str, Decimal]:
        """Return the same, but for funding that was paid before a time."""
        if funded_ns not in self._funded:
            funded: dict[str, Decimal] = {}
            for one in self._fundings:
                if one.ts_ns >= funded_ns:
                    _add(funded, one.asset, one.amount)
            self._funded = {0: self._funded[0], funded_ns: funded}
        moved = dict(self._sum.moved)
        for asset, amount in self._funded[funded_ns].items():
            _add(moved, asset, amount)
        return moved

    @property
    def held(self) -> tuple[int, Decimal]:
        """The position in whole lots, and by how much less is held, in base currency: fees that were taken from it on spot."""
        instrument = self._instrument
        if instrument.kind is not ContractKind.SPOT:
            return self.position, Decimal(0)
        held = self._sum.moved.get(instrument.base, Decimal(0))
        lots = -(Fraction(-held) // Fraction(instrument.lot))
        return lots, PRECISE.subtract(instrument.quantity(lots), held)

    def worth(self, price: int, outside: int = 0) -> Decimal:
        """Return what all has come to in the settlement currency, with the position valued at a price.

        It goes on from run to run, so that a difference between two times is what was earned between them. Fees and funding in
        other assets do not count.

        Args:
            price: In ticks.
            outside: A position of a contract that no fill of ours has made, in lots.
        """
        instrument, moved = self._instrument, self.moved
        settled = moved.get(instrument.settle, Decimal(0))
        if instrument.kind is ContractKind.SPOT:
            held = moved.get(instrument.base, Decimal(0))
            return PRECISE.add(settled, PRECISE.multiply(held, instrument.price(price)))
        open_profit = self._sum.open_profit(price, outside)
        return PRECISE.add(
            settled,
            PRECISE.divide(Decimal(open_profit.numerator), Decimal(open_profit.denominator)),
        )

    @property
    def count(self) -> int:
        """How many fills there are."""
        return self._sum.count

    def apply(self, fill: KnownFill) -> None:
        """Take in one fill; the caller hands in each once."""
        late = fill.ts_ns <= self._until_ns
        if not late and (not self._tail or when(self._tail[-1]) <= when(fill)):
            self._tail.append(fill)
            self._sum.apply(fill)
            if len(self._tail) > 2 * _TAIL:
                self._settle()
            return
        if late:
            self.in_order, self.settled = False, None
        insort(self._tail, fill, key=when)
        self._sum = self._before.copy()
        for one in self._tail:
            self._sum.apply(one)

    def fund(self, one: FundingRecord) -> None:
        """Take in one payment of funding; the caller hands in each once."""
        self._fundings.append(one)
        for since_ns, funded in self._funded.items():
            if one.ts_ns >= since_ns:
                _add(funded, one.asset, one.amount)

    def _settle(self) -> None:
        """Add up the older half of the last few, but for those of the very time of a newer one."""
        tail, cut = self._tail, _TAIL
        while cut and tail[cut - 1].ts_ns == tail[cut].ts_ns:
            cut -= 1
        if not cut:
            return
        for one in tail[:cut]:
            self._before.apply(one)
        self._until_ns = tail[cut - 1].ts_ns
        del tail[:cut]
        # What came too late has its place in the sum, but perhaps not the right one: the next run adds all up anew.
        self.settled = self._before.sums(self._until_ns) if self.in_order else None


def when(fill: KnownFill) -> tuple[int, int, str, str]:
    """Return what fills are in order of time by: those of one time by their number, which is text."""
    return fill.ts_ns, len(fill.trade_id), fill.trade_id, fill.client_id


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

    def begin_with(self, sums: Sums) -> None:
        self._opened = Fraction(*(int(one, 16) for one in sums.opened.split("/")))
        self.count, self.position, self.moved = sums.count, sums.position, dict(sums.moved)

    def sums(self, until_ns: int) -> Sums:
        return Sums(
            until_ns=until_ns,
            count=self.count,
            position=self.position,
            # Python writes no decimals of more than 4300 digits, which the worth of many inverse contracts may have.
            opened=f"{self._opened.numerator:x}/{self._opened.denominator:x}",
            moved=dict(self.moved),
        )

    def apply(self, fill: KnownFill) -> None:
        instrument = self._instrument
        lots = fill.side.sign * fill.quantity
        if instrument.kind is ContractKind.SPOT:
            quantity = instrument.quantity(lots)
            self._move(instrument.base, quantity)
            self._move(instrument.quote, -PRECISE.multiply(quantity, instrument.price(fill.price)))
        else:
            self._realise(lots, self._worth(fill.price))
        self.position += lots
        self.count += 1
        if fill.fee_asset:
            self._move(fill.fee_asset, -fill.fee)

    def open_profit(self, ticks: int, outside: int) -> Fraction:
        return (self.position + outside) * self._worth(ticks) - self._opened

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
                PRECISE.divide(Decimal(profit.numerator), Decimal(profit.denominator)),
            )
            self._opened -= opened
            lots -= closed
        self._opened += lots * worth

    def _move(self, asset: str, amount: Decimal) -> None:
        _add(self.moved, asset, amount)


def _add(sums: dict[str, Decimal], asset: str, amount: Decimal) -> None:
    sums[asset] = PRECISE.add(sums.get(asset, Decimal(0)), amount)
