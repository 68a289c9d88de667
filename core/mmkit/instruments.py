"""What is traded: the grid of prices and quantities, and what a contract is worth.

The only place where decimals become integers and integers become decimals.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal, InvalidOperation
from enum import StrEnum
from fractions import Fraction
from math import gcd

import msgspec

from mmkit.errors import Mistake, OffGrid

_MOST_STEPS = 2**63  # what a tape holds
_DIGITS = 60
"""More than any price or quantity has."""
# Not the caller's context, whose precision anyone may have changed.
_EXACT = Context(prec=_DIGITS, traps=[InvalidOperation])


class ContractKind(StrEnum):
    """How profit is settled."""

    SPOT = "spot"
    """The base currency itself changes hands; profit is in the quote currency."""
    LINEAR = "linear"
    """A contract on the base currency, settled in the quote currency."""
    INVERSE = "inverse"
    """A contract worth a fixed amount of quote currency, settled in the base currency."""


class InstrumentSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the user wrote under ``instrument:``; data or venue fill in the rest.

    Attributes:
        venue: ccxt's exchange id, such as ``binance``.
        market: ``spot``, ``usdm`` or ``coinm``.
        symbol: ccxt's unified symbol, such as ``BTC/USDT`` or ``BTC/USDT:USDT``.
        tick: Smallest price step, or `None` to take the venue's word.
        lot: Smallest quantity step, or `None` to take the venue's word.
        contract_size: Value of one contract, or `None` for the venue's word (1 for spot and linear).
    """

    venue: str
    market: str
    symbol: str
    tick: Decimal | None = None
    lot: Decimal | None = None
    contract_size: Decimal | None = None

    @property
    def base(self) -> str:
        """Base currency: ``BTC`` of ``BTC/USDT:USDT``."""
        return self.symbol.partition("/")[0]

    @property
    def quote(self) -> str:
        """Quote currency: ``USDT`` of ``BTC/USDT:USDT``."""
        return self.symbol.partition("/")[2].partition(":")[0]

    @property
    def kind(self) -> ContractKind:
        """Spot without a settlement currency; inverse when it settles in the base currency."""
        settle = self.symbol.partition(":")[2]
        if not settle:
            return ContractKind.SPOT
        return ContractKind.INVERSE if settle == self.base else ContractKind.LINEAR

    def on_grid(self, tick: Decimal, lot: Decimal, native: str = "") -> Instrument:
        """Return the instrument of recorded data, which tells no grid; `native` is base and quote unless given."""
        return Instrument(
            venue=self.venue,
            market=self.market,
            symbol=self.symbol,
            native=native or self.base + self.quote,
            base=self.base,
            quote=self.quote,
            kind=self.kind,
            tick=tick,
            lot=lot,
            contract_size=self.contract_size or Decimal(1),
        )

    def refused(self, found: Instrument) -> str:
        """Return in words what of the data's instrument is not as it was written; empty if all of it is."""
        written = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return ", ".join(
            f"{name} {_shown(value)} was expected and {_shown(getattr(found, name))} found"
            for name, value in written
            if value is not None and value != getattr(found, name)
        )

    def missing_grid(self, what: str, prices: Iterable[str], quantities: Iterable[str]) -> Mistake:
        """Return the mistake of having told no tick or no lot, with a proposal: the largest that fit.

        Args:
            what: The data that does not carry them, such as ``a capture``.
            prices: Every price in it, as decimals; may be left empty if the tick was told.
            quantities: Every quantity in it, likewise.
        """
        words, keys = [], []
        for key, given, name, texts in (
            ("tick", self.tick, "price", prices),
            ("lot", self.lot, "quantity", quantities),
        ):
            step = common_step(texts)
            if given is None and step is not None:
                words.append(f"every {name} in it is a multiple of {step:f}")
                keys.append(f'{key}: "{step:f}"')
        return Mistake(
            "",
            "instrument",
            f"{what} does not carry tick and lot; {' and '.join(words)}",
            f"add {', '.join(keys)} under instrument",
        )


def common_step(texts: Iterable[str]) -> Decimal | None:
    """Return the largest step that every decimal is a multiple of; `None` if all are zero."""
    numbers = [Decimal(text) for text in texts]
    places = max((_places(number) for number in numbers), default=0)
    step = 0
    for number in numbers:
        step = gcd(step, int(number.scaleb(places, _EXACT)))
    return Decimal(step).scaleb(-places) if step else None


def _places(number: Decimal) -> int:
    exponent = number.normalize(_EXACT).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One tradable thing on one venue, with its grid.

    Attributes:
        venue: ccxt's exchange id, such as ``binance``.
        market: ``spot``, ``usdm`` or ``coinm``.
        symbol: ccxt's unified symbol, such as ``BTC/USDT:USDT``.
        native: The venue's own name, such as ``BTCUSDT``.
        base: Base currency.
        quote: Quote currency.
        kind: How profit is settled.
        tick: Smallest price step, in quote currency.
        lot: Smallest quantity step, in base currency (contracts if inverse).
        contract_size: Base currency per unit of quantity (linear, spot), or quote currency per
            contract (inverse).
    """

    venue: str
    market: str
    symbol: str
    native: str
    base: str
    quote: str
    kind: ContractKind
    tick: Decimal
    lot: Decimal
    contract_size: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        for name, step in (
            ("tick", self.tick),
            ("lot", self.lot),
            ("contract_size", self.contract_size),
        ):
            if not step.is_finite() or step <= 0:
                raise OffGrid(f"{self.symbol}: {name} must be above zero, found {step}")

    def spec(self) -> InstrumentSpec:
        """Return what a user would have written of it."""
        return InstrumentSpec(
            **{name: getattr(self, name) for name in InstrumentSpec.__struct_fields__}
        )

    def differences(self, other: Instrument) -> str:
        """Return in words what another instrument has differently: ``tick 0.1 and 0.01``; empty for nothing."""
        return ", ".join(
            f"{name} {_shown(getattr(self, name))} and {_shown(getattr(other, name))}"
            for name in self.__struct_fields__
            if getattr(self, name) != getattr(other, name)
        )

    @property
    def settle(self) -> str:
        """The currency profit and fees are counted in."""
        return self.base if self.kind is ContractKind.INVERSE else self.quote

    def ticks(self, price: Decimal | str) -> int:
        """Return `price` as a whole number of ticks.

        Raises:
            OffGrid: if it is not one; the message names both neighbours.
        """
        return self._units(price, self.tick, "price", "tick")

    def lots(self, quantity: Decimal | str) -> int:
        """Return `quantity` as a whole number of lots.

        Raises:
            OffGrid: if it is not one; the message names both neighbours.
        """
        return self._units(quantity, self.lot, "quantity", "lot")

    def floor_ticks(self, price: Decimal | Fraction | float) -> int:
        """Return the last whole tick at or below `price`: how a bid is rounded.

        Raises:
            OffGrid: if `price` is no finite number.
        """
        return _floor(self._steps(price, self.tick, "price"))

    def ceil_ticks(self, price: Decimal | Fraction | float) -> int:
        """Return the first whole tick at or above `price`: how an ask is rounded.

        Raises:
            OffGrid: if `price` is no finite number.
        """
        return -_floor(-self._steps(price, self.tick, "price"))

    def floor_lots(self, quantity: Decimal | Fraction | float) -> int:
        """Return the last whole lot at or below `quantity`.

        Raises:
            OffGrid: if `quantity` is no finite number.
        """
        return _floor(self._steps(quantity, self.lot, "quantity"))

    def price(self, ticks: int) -> Decimal:
        """Return ticks as a price in quote currency; exact."""
        return _EXACT.multiply(self.tick, ticks)

    def quantity(self, lots: int) -> Decimal:
        """Return lots as a quantity; exact."""
        return _EXACT.multiply(self.lot, lots)

    def _steps(self, value: Decimal | Fraction | float, step: Decimal, what: str) -> Fraction:
        try:
            return Fraction(value) / Fraction(step)
        except (ValueError, OverflowError, TypeError):
            raise OffGrid(f"{self.symbol}: a finite {what} was expected; found {value!r}") from None

    def _units(self, value: Decimal | str, step: Decimal, what: str, unit: str) -> int:
        if isinstance(value, float):
            self._steps(value, step, what)
            rounded = {"price": "floor_ticks or ceil_ticks", "quantity": "floor_lots"}[what]
            raise OffGrid(
                f'{self.symbol}: an exact {what} was expected, such as "{value!r}" or a Decimal; found the '
                f"float {value!r}, which has been rounded to binary; to round it to the grid use {rounded}"
            )
        try:
            number = Decimal(value)
            whole, rest = _EXACT.divmod(number, step)
        except InvalidOperation:
            # No number, infinite, or of more digits than a price has.
            whole = rest = Decimal("nan")
        if rest.is_nan():
            raise OffGrid(f"{self.symbol}: {what} must be a number, found '{value}'")
        if rest:
            below = _EXACT.multiply(whole - 1 if rest < 0 else whole, step)
            raise OffGrid(
                f"{self.symbol}: {what} {number} is not a multiple of the {unit} {step}; "
                f"the nearest are {below} and {_EXACT.add(below, step)}"
            )
        return int(whole)


def _shown(value: object) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else f"{value}"


def _floor(value: Fraction) -> int:
    return value.numerator // value.denominator


class GridParser:
    """Turns one venue's decimal strings into whole ticks or lots, exactly and quickly.

    Equal to ``Decimal(text) / step`` for every text that is a whole number of steps, of which 64 bits hold the
    number; other texts raise. Holds no state but the step.

    Attributes:
        places: Decimal places of the step.
        step: The step, in units of the last of them.
    """

    def __init__(self, step: Decimal, what: str, symbol: str) -> None:
        exponent = step.normalize().as_tuple().exponent
        assert isinstance(exponent, int)  # a finite step, as `Instrument` has checked
        self.places = max(0, -exponent)
        self.step = int(step.scaleb(self.places))
        self._what, self._symbol, self._decimal_step = what, symbol, step
        self._powers = tuple(10**exponent for exponent in range(_DIGITS + self.places + 1))

    def __call__(self, text: str) -> int:
        """Return `text` in whole steps.

        Raises:
            OffGrid: if `text` is no plain decimal number, no whole number of steps, or too many.
        """
        whole, _, fraction = text.partition(".")
        places = self.places
        plain = whole + fraction
        # What nearly all texts are: digits, and a whole number of steps. The others are looked at more closely.
        if whole and plain.isdigit() and plain.isascii() and len(plain) <= _DIGITS:
            finer = len(fraction) - places
            if finer > 0:
                units, rest = divmod(int(plain), self._powers[finer])
            else:
                units, rest = int(plain) * self._powers[-finer], 0
            steps: int
            steps, off = divmod(units, self.step)
            if not (rest or off) and steps < _MOST_STEPS:
                return steps
        digits = fraction[:places]
        sign = whole[:1] if whole[:1] in {"-", "+"} else ""
        unsigned = whole[len(sign) :] + fraction
        # int() would also take spaces, underscores and the digits of other scripts.
        if not (unsigned.isdigit() and unsigned.isascii() and len(unsigned) <= _DIGITS):
            raise OffGrid(f"{self._symbol}: {self._what} must be a decimal number, found {text!r}")
        # The zero is for ".5", of which nothing is left where a step has no decimal places.
        units = int(f"{sign}0{whole[len(sign) :]}{digits}" + "0" * (places - len(digits)))
        steps, rest = divmod(units, self.step)
        if rest or fraction[places:].strip("0"):
            raise OffGrid(
                f"{self._symbol}: {self._what} {text} is not a multiple of {self._decimal_step}"
            )
        if abs(steps) >= _MOST_STEPS:
            raise OffGrid(
                f"{self._symbol}: {self._what} {text} is {steps:,} steps of {self._decimal_step}; less than "
                f"{_MOST_STEPS:,} were expected"
            )
        return steps
