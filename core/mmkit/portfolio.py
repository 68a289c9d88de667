"""Position, cash, fees, funding and profit of one instrument.

Exact for spot and linear contracts. Inverse contracts divide by the price: every single value of theirs is
rounded once, half to even, to `INVERSE_PLACES` decimals of the base currency, and all sums are exact again.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from mmkit.events import OrderFilled, Side
from mmkit.instruments import ContractKind, Instrument

# Sums and products of prices, quantities and rates are exact in 60 digits; if one ever is not, it raises
# instead of rounding.
EXACT = Context(prec=60, traps=[Inexact])
# The average price behind the realized profit has no exact decimal.
_DIVIDE = Context(prec=50)
_ZERO = Decimal(0)

INVERSE_PLACES = 12
"""Decimals of the base currency that inverse values have; venues settle in 8."""

Integers = npt.NDArray[np.int64]


def half_even(numerator: int, denominator: int) -> int:
    """Return ``numerator / denominator`` rounded to the nearest integer, halves to the even one.

    `denominator` is above 0.
    """
    whole, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return whole + (twice > denominator or (twice == denominator and whole & 1))


def value_of(instrument: Instrument, price: int, quantity: int) -> Decimal:
    """Return what `quantity` lots at `price` ticks are worth, in the settlement currency.

    Spot and linear: ``price x quantity x contract_size``. Inverse: ``quantity x contract_size / price``,
    rounded half to even to `INVERSE_PLACES` decimals.
    """
    if instrument.kind is ContractKind.INVERSE:
        return on_grid(_inverse_units(lot_per_tick(instrument), quantity, price))
    amount = EXACT.multiply(instrument.quantity(quantity), instrument.contract_size)
    return EXACT.multiply(amount, instrument.price(price))


def lot_per_tick(instrument: Instrument) -> Fraction:
    """Return ``lot x contract_size / tick``: what one lot of an inverse contract is worth at one tick."""
    return Fraction(instrument.lot) * Fraction(instrument.contract_size) / Fraction(instrument.tick)


def _inverse_units(each: Fraction, quantity: int, price: int) -> int:
    """Return ``each x quantity / price`` in units of the grid; `each` is `lot_per_tick`."""
    return half_even(quantity * each.numerator * 10**INVERSE_PLACES, price * each.denominator)


def on_grid(units: int) -> Decimal:
    """Return whole units of ``10 ** -INVERSE_PLACES`` as a decimal."""
    return Decimal(units).scaleb(-INVERSE_PLACES, EXACT)


def fee_of(instrument: Instrument, price: int, quantity: int, rate: Decimal) -> Decimal:
    """Return the share `rate` of what was traded: exact; inverse: of the rounded value, rounded once more."""
    value = EXACT.multiply(value_of(instrument, price, quantity), rate)
    if instrument.kind is not ContractKind.INVERSE:
        return value
    share = Fraction(value) * 10**INVERSE_PLACES
    return on_grid(half_even(share.numerator, share.denominator))


def _sum(values: Integers) -> int:
    """Return the sum, which may be more than int64 holds."""
    most = max(int(values.max()), -int(values.min()))
    return int(values.sum()) if most * len(values) < 2**63 else sum(values.tolist())


class Portfolio:
    """What the fills so far have made of nothing: starts flat, with no cash.

    A fee in base currency counts as so much sold at the price of its fill, and the fee paid with that.

    ``equity = cash + value of the position at mid - fees + funding``, and ``realized = cash + cost of the
    position``. For inverse contracts, where a long position loses base currency as the price falls, the
    signs of cash, value and cost turn over.
    """

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._inverse = instrument.kind is ContractKind.INVERSE
        # What one lot is worth at one tick; only spot and linear values are proportional to the price.
        self._unit = EXACT.multiply(
            EXACT.multiply(instrument.tick, instrument.lot), instrument.contract_size
        )
        self._each = lot_per_tick(instrument)
        self.position = 0
        """In lots; negative is short. Fees that were charged in base currency are taken off as soon as they come to a lot."""
        self.dust = _ZERO
        """Of such fees what has not come to a lot yet, in base currency: by so much less is held than `position`."""
        self.cash = _ZERO
        """Received for sales less paid for purchases, fees not counted."""
        self.fees = _ZERO
        """Paid so far; negative if rebates outweigh them."""
        self.funding = _ZERO
        """Received so far; negative if more was paid."""
        self.volume = 0
        """Lots traded."""
        self.turnover = _ZERO
        """Value traded."""
        self._cost = _ZERO
        """What the present position was opened for on average, signed like the position."""

    def begin_with(self, position: int, price: int, dust: Decimal = _ZERO) -> None:
        """Begin with `position` lots less `dust` as if they had been bought, or sold, at `price` ticks: worth nothing yet.

        Nothing has been traded for it: volume, turnover and fees are as they were.
        """
        volume, turnover = self.volume, self.turnover
        self.trade(Side.BUY if position > 0 else Side.SELL, price, abs(position), _ZERO)
        self.volume, self.turnover = volume, turnover
        if dust:
            self._sell_for_fee(dust, price)

    def apply(self, side: Side, fill: OrderFilled) -> None:
        """Take in a fill of an order on `side`."""
        self.trade(side, fill.price, fill.quantity, fill.fee)
        if fill.fee_in_base:
            self._sell_for_fee(fill.fee_in_base, fill.price)

    def trade(self, side: Side, price: int, quantity: int, fee: Decimal) -> None:
        """Take in that `quantity` lots were traded at `price` ticks for `fee`."""
        value = self._value(price, quantity)
        change = quantity if side is Side.BUY else -quantity
        received = value if (side is Side.BUY) is self._inverse else value.copy_negate()
        self.cash = EXACT.add(self.cash, received)
        self.fees = EXACT.add(self.fees, fee)
        self.volume += quantity
        self.turnover = EXACT.add(self.turnover, value)
        self._carry(change, price)

    def _sell_for_fee(self, amount: Decimal, price: int) -> None:
        """Take `amount` of the base currency as sold at `price` ticks: with what that brings, the fee was paid.

        So what is held and what was paid are exact, and fees have one currency.
        """
        instrument = self._instrument
        self.cash = EXACT.add(self.cash, EXACT.multiply(amount, instrument.price(price)))
        owed = EXACT.add(self.dust, amount)
        lots = Fraction(owed) // Fraction(instrument.lot)
        self.dust = EXACT.subtract(owed, instrument.quantity(lots))
        if lots:
            self._carry(-lots, price)

    @property
    def held(self) -> Decimal:
        """What the position is, in base currency or contracts, to the last digit."""
        return EXACT.subtract(self._instrument.quantity(self.position), self.dust)

    def fund(self, amount: Decimal) -> None:
        """Take in that `amount` was received as funding; negative is paid."""
        self.funding = EXACT.add(self.funding, amount)

    def trade_all(self, trades: Iterable[tuple[int, int, int]]) -> None:
        """Take in many trades at once, fees apart: the sign, price and quantity of each.

        The same sums as `trade`, to the last digit.
        """
        table = np.array(list(trades), dtype=np.int64).reshape(-1, 3)
        self.trade_columns(table[:, 0], table[:, 1], table[:, 2])

    def trade_columns(self, sign: Integers, price: Integers, quantity: Integers) -> None:
        """Take in many trades at once, as `trade_all`; the columns are equal in length.

        Python does work for each trade only since the position was last flat or turned over.
        """
        if not len(sign):
            return
        values = self._values(price, quantity)
        lots = _sum(quantity)
        if values is None or abs(self.position) + lots >= 2**63:
            # More than int64 holds: one by one, in Python's own integers.
            columns = (sign.tolist(), price.tolist(), quantity.tolist())
            for one, at, many in zip(*columns, strict=True):
                self.trade(Side.BUY if one > 0 else Side.SELL, at, many, _ZERO)
            return
        received = _sum(sign * values)
        self.cash = EXACT.add(self.cash, self._money(received if self._inverse else -received))
        self.turnover = EXACT.add(self.turnover, self._money(_sum(values)))
        self.volume += lots
        changes = sign * quantity
        after = self.position + np.cumsum(changes)
        before = np.concatenate(([self.position], after[:-1]))
        anew = np.flatnonzero((np.sign(before) != np.sign(after)) & (before != 0))
        first = int(anew[-1]) if anew.size else 0
        self.position = int(before[first])
        for change, at in zip(changes[first:].tolist(), price[first:].tolist(), strict=True):
            self._carry(change, at)

    def _value(self, price: int, quantity: int) -> Decimal:
        if self._inverse:
            return on_grid(_inverse_units(self._each, quantity, price))
        return EXACT.multiply(self._unit, price * quantity)

    def _money(self, units: int) -> Decimal:
        """Return whole units of `_values` as money."""
        return on_grid(units) if self._inverse else EXACT.multiply(self._unit, units)

    def _values(self, price: Integers, quantity: Integers) -> Integers | None:
        """Return the value of each trade in whole units, or `None` if int64 may be too small."""
        highest, most = int(price.max()), int(quantity.max())
        if not self._inverse:
            return price * quantity if highest * most < 2**63 else None
        by, over = self._each.numerator, self._each.denominator
        # Six decimals at a time, so that no product outgrows int64.
        step = 10 ** (INVERSE_PLACES // 2)
        lowest = int(price.min()) * over
        if max(most * by, highest * over * step, (most * by // lowest + 1) * step * step) >= 2**63:
            return None
        under = price * over
        units, rest = np.divmod(quantity * by, under)
        for _ in range(2):
            digits, rest = np.divmod(rest * step, under)
            units = units * step + digits
        twice = 2 * rest
        rounded: Integers = units + ((twice > under) | ((twice == under) & (units & 1 == 1)))
        return rounded

    def _carry(self, change: int, price: int) -> None:
        """Move the position by `change` lots, and what it cost with it."""
        position = self.position
        after = position + change
        self.position = after
        if position * change >= 0:
            opened = self._value(price, abs(change))
            self._cost = _DIVIDE.add(self._cost, opened if change > 0 else opened.copy_negate())
        elif position * after > 0:
            self._cost = _DIVIDE.divide(_DIVIDE.multiply(self._cost, after), position)
        else:
            opened = self._value(price, abs(after))
            self._cost = opened if after > 0 else opened.copy_negate()

    @property
    def realized_pnl(self) -> Decimal:
        """Profit of what was closed, at average entry price, before fees and funding."""
        return (_DIVIDE.subtract if self._inverse else _DIVIDE.add)(self.cash, self._cost)

    def equity(self, best_bid: int | None, best_ask: int | None) -> Decimal:
        """Return profit since the start with the position valued at mid, fees taken off, funding added.

        A position cannot be valued while a side of the book is empty: then it is at what it cost.
        """
        position = self.position
        apart = EXACT.subtract(self.funding, self.fees)
        if not position and not self.dust:
            return EXACT.add(self.cash, apart)
        if best_bid is None or best_ask is None:
            return _DIVIDE.add(self.realized_pnl, apart)
        # bid + ask is twice the mid in ticks.
        held = self._at_mid(position, best_bid + best_ask)
        return EXACT.add(EXACT.add(self.cash, held), apart)

    def _at_mid(self, position: int, twice_mid: int) -> Decimal:
        if self._inverse:
            return on_grid(-_inverse_units(self._each, 2 * position, twice_mid))
        # Halving last keeps it exact.
        twice = EXACT.multiply(self._unit, position * twice_mid)
        if self.dust:
            price = EXACT.multiply(self._instrument.tick, twice_mid)
            twice = EXACT.subtract(twice, EXACT.multiply(self.dust, price))
        return EXACT.divide(twice, Decimal(2))
