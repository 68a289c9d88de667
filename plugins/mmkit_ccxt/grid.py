"""ccxt's floats as whole ticks and lots.

ccxt turns a venue's decimal strings into floats. The shortest text of a float is the decimal that it was
read from, up to 15 digits, so nothing is lost on the way back; a float that was computed shows itself by not
being on the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Literal

from mmkit.errors import OffGrid
from mmkit.instruments import Instrument

_REMEMBERED = 20_000
"""Floats kept with their integers: some 3 MB at most."""

FinerSizes = Literal["refuse", "round_up"]


class Grid:
    """Converts what ccxt tells into ticks and lots.

    Attributes:
        rounded: How many quantities finer than a lot were rounded up.
        example: The last of them.
    """

    def __init__(self, instrument: Instrument, finer_sizes: FinerSizes) -> None:
        self._instrument, self._finer_sizes = instrument, finer_sizes
        self.rounded = 0
        self.example = ""
        self._ticks: dict[float, int] = {}
        self._lots: dict[float, int] = {}

    def ticks(self, price: float) -> int:
        """Return a price in whole ticks.

        Raises:
            OffGrid: if it is none; says what was found.
        """
        return self._remembered(self._ticks, price, self._read_price)

    def lots(self, quantity: float) -> int:
        """Return a quantity in whole lots.

        Raises:
            OffGrid: if it is none, unless those are to be rounded up.
        """
        return self._remembered(self._lots, quantity, self._read_quantity)

    @staticmethod
    def _remembered(known: dict[float, int], value: float, read: Callable[[str], int]) -> int:
        found = known.get(value)
        if found is None:
            if len(known) >= _REMEMBERED:
                known.clear()
            found = known[value] = read(str(value))
        return found

    def _read_price(self, text: str) -> int:
        try:
            return self._instrument.ticks(text)
        except OffGrid as error:
            raise OffGrid(
                f"{error}; ccxt's tick for '{self._instrument.venue}' is not the venue's, or the price was "
                "computed; please tell ccxt, and use another data source meanwhile"
            ) from error

    def _read_quantity(self, text: str) -> int:
        instrument = self._instrument
        try:
            return instrument.lots(text)
        except OffGrid as error:
            if self._finer_sizes == "refuse" or not Decimal(text).is_finite():
                raise OffGrid(
                    f"{error}; if '{instrument.venue}' shows sizes that are finer than what can be ordered, "
                    "say 'data.finer_sizes: round_up'"
                ) from error
        self.rounded += 1
        self.example = text
        return -instrument.floor_lots(-Decimal(text))
