"""What the venue charges for a fill."""

from __future__ import annotations

from decimal import Decimal

from mmkit.events import Liquidity
from mmkit.instruments import Instrument
from mmkit.portfolio import fee_of
from mmkit.settings import FeeSettings


class Fees:
    """A share of the traded value, by whether the fill rested or took."""

    def __init__(self, settings: FeeSettings, instrument: Instrument) -> None:
        self._maker, self._taker, self._instrument = settings.maker, settings.taker, instrument

    def of(self, price: int, quantity: int, liquidity: Liquidity) -> Decimal:
        """Return the fee for `quantity` lots at `price` ticks, in the settlement currency."""
        rate = self._maker if liquidity is Liquidity.MAKER else self._taker
        return fee_of(self._instrument, price, quantity, rate)
