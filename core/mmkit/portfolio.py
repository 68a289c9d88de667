"""Position, cash, fees and profit of one instrument, exact for spot and linear contracts."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact

from mmkit.events import OrderFilled, Side
from mmkit.instruments import ContractKind, Instrument

# Sums and products of prices, quantities and rates are exact in 60 digits; if one ever is not, it raises
# instead of rounding.
EXACT = Context(prec=60, traps=[Inexact])
# A division has no exact result: inverse contracts, and the average price behind the realised profit.
_DIVIDE = Context(prec=50)
_ZERO = Decimal(0)


def value_of(instrument: Instrument, price: int, quantity: int) -> Decimal:
    """Return what `quantity` lots at `price` ticks are worth, in the settlement currency.

    Spot and linear: ``price x quantity x contract_size``. Inverse: ``quantity x contract_size / price``.
    """
    amount = EXACT.multiply(instrument.quantity(quantity), instrument.contract_size)
    if instrument.kind is ContractKind.INVERSE:
        return _DIVIDE.divide(amount, instrument.price(price))
    return EXACT.multiply(amount, instrument.price(price))


def _share(value: Decimal, part: int, whole: int) -> Decimal:
    return value if part == whole else _DIVIDE.divide(_DIVIDE.multiply(value, part), whole)


class Portfolio:
    """What the fills so far have made of nothing: starts flat, with no cash.

    ``equity = cash + value of the position at mid - fees``. For inverse contracts, where a long position
    loses base currency as the price falls, both signs turn over.
    """

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        inverse = instrument.kind is ContractKind.INVERSE
        self._sign = -1 if inverse else 1
        self._context = _DIVIDE if inverse else EXACT
        # What one lot is worth at one tick; only spot and linear values are proportional to the price.
        self._unit = EXACT.multiply(
            EXACT.multiply(instrument.tick, instrument.lot), instrument.contract_size
        )
        self.position = 0
        """In lots; negative is short."""
        self.cash = _ZERO
        """Received for sales less paid for purchases, fees not counted."""
        self.fees = _ZERO
        """Paid so far; negative if rebates outweigh them."""
        self.volume = 0
        """Lots traded."""
        self.turnover = _ZERO
        """Value traded."""
        self._cost = _ZERO
        """What the present position was bought for, signed like the position."""
        self._realized = _ZERO

    def apply(self, side: Side, fill: OrderFilled) -> None:
        """Take in a fill of an order on `side`."""
        self.trade(side, fill.price, fill.quantity, fill.fee)

    def trade(self, side: Side, price: int, quantity: int, fee: Decimal) -> None:
        """Take in that `quantity` lots were traded at `price` ticks for `fee`."""
        if self._sign == 1:
            value = EXACT.multiply(self._unit, price * quantity)
        else:
            value = value_of(self._instrument, price, quantity)
        bought = value if side is Side.BUY else value.copy_negate()
        context = self._context
        paid = bought if self._sign == 1 else bought.copy_negate()
        self.cash = context.subtract(self.cash, paid)
        self.fees = EXACT.add(self.fees, fee)
        self.volume += quantity
        self.turnover = context.add(self.turnover, value)
        change = quantity if side is Side.BUY else -quantity
        self._realize(change, bought)
        self.position += change

    def trade_all(self, trades: Iterable[tuple[int, int, int]]) -> None:
        """Take in many trades at once, fees apart: the sign, price and quantity of each, spot or linear.

        The same sums as `trade`, in whole units where they are exact.
        """
        paid = traded = 0
        unit, multiply, realize = self._unit, EXACT.multiply, self._realize
        for sign, price, quantity in trades:
            value = sign * price * quantity
            paid += value
            traded += price * quantity
            self.volume += quantity
            realize(sign * quantity, multiply(unit, value))
            self.position += sign * quantity
        self.cash = EXACT.subtract(self.cash, multiply(unit, paid))
        self.turnover = EXACT.add(self.turnover, multiply(unit, traded))

    def _realize(self, change: int, bought: Decimal) -> None:
        """Split a trade of `change` lots for `bought` (negative if sold) into what closes and what opens."""
        position = self.position
        if position * change >= 0:
            self._cost = _DIVIDE.add(self._cost, bought)
            return
        closed = min(abs(change), abs(position))
        cost_share = _share(self._cost, closed, abs(position))
        bought_share = _share(bought, closed, abs(change))
        loss = _DIVIDE.add(cost_share, bought_share)
        self._realized = _DIVIDE.subtract(self._realized, _DIVIDE.multiply(loss, self._sign))
        opened = _DIVIDE.subtract(bought, bought_share)
        self._cost = _DIVIDE.add(_DIVIDE.subtract(self._cost, cost_share), opened)

    @property
    def realized_pnl(self) -> Decimal:
        """Profit of what was closed, at average entry price, before fees."""
        return self._realized

    def equity(self, best_bid: int | None, best_ask: int | None) -> Decimal:
        """Return profit since the start with the position valued at mid, fees taken off.

        A position cannot be valued while a side of the book is empty: then it is at what it cost.
        """
        context, position = self._context, self.position
        money = context.subtract(self.cash, self.fees)
        if not position:
            return money
        if best_bid is None or best_ask is None:
            return _DIVIDE.add(money, _DIVIDE.multiply(self._cost, self._sign))
        # bid + ask is twice the mid in ticks: halving last keeps it exact.
        if self._sign == 1:
            doubled = context.multiply(self._unit, position * (best_bid + best_ask))
            return context.add(money, context.divide(doubled, 2))
        mid = context.divide(context.multiply(self._instrument.tick, best_bid + best_ask), 2)
        held = context.multiply(self._instrument.quantity(position), self._instrument.contract_size)
        return context.subtract(money, context.divide(held, mid))
