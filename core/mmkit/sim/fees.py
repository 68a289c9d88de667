"""What the venue charges for a fill."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from fractions import Fraction

from mmkit.events import Liquidity
from mmkit.instruments import ContractKind, Instrument
from mmkit.portfolio import EXACT, fee_of
from mmkit.settings import FeeSettings, FeeTier
from mmkit.tape import NEVER

DAY_NS = 86_400_000_000_000
WINDOW = 30
"""Days whose volume decides the tier."""


class Fees:
    """A share of the traded value, by whether the fill rested or took, and by the tier in force.

    The tier is decided when the run begins and at each UTC midnight, from the volume of the thirty days
    before it: what the run itself has traded, and what is left of the volume before the run, of which
    a thirtieth drops out each day.
    """

    def __init__(self, settings: FeeSettings, instrument: Instrument) -> None:
        self._instrument = instrument
        self._tiers = tiers_of(settings)
        self._before = Fraction(settings.volume_30d)
        self._inverse = instrument.kind is ContractKind.INVERSE
        self._unit = traded_unit(instrument)
        self._first = self._day = 0
        # By UTC day: price x quantity in ticks and lots, or, of an inverse contract, lots.
        self._traded: Counter[int] = Counter()
        self.tier = self._tiers[0]
        """In force now."""
        self.next_ns = NEVER
        """When the tier is decided next."""

    def open(self, now_ns: int) -> None:
        """Begin a run at `now_ns`, by the venue's clock."""
        self._first = now_ns // DAY_NS
        self.reach(now_ns)

    def reach(self, now_ns: int) -> None:
        """Decide the tier, as it is now `now_ns` by the venue's clock and midnight has passed."""
        self._day = now_ns // DAY_NS
        volume = self.volume()
        self.tier = [tier for tier in self._tiers if tier.volume <= volume][-1]
        self.next_ns = (self._day + 1) * DAY_NS if len(self._tiers) > 1 else NEVER

    def volume(self) -> Fraction:
        """Return the volume of the thirty days before this one, in quote currency."""
        traded = sum(self._traded[self._day - ago] for ago in range(1, WINDOW + 1))
        left = max(0, WINDOW - (self._day - self._first))
        return traded * self._unit + self._before * left / WINDOW

    def traded(self, price: int, quantity: int) -> None:
        """Take in that `quantity` lots were traded at `price` ticks."""
        self._traded[self._day] += quantity if self._inverse else price * quantity

    def of(self, price: int, quantity: int, liquidity: Liquidity) -> Decimal:
        """Return the fee for `quantity` lots at `price` ticks, in the settlement currency."""
        rate = self.tier.maker if liquidity is Liquidity.MAKER else self.tier.taker
        # Without trailing zeros: the same number is the same text, whichever engine made it.
        return fee_of(self._instrument, price, quantity, rate).normalize(EXACT)

    def in_base(self, quantity: int, liquidity: Liquidity) -> Decimal:
        """Return the fee for `quantity` lots of what is bought, in base currency: of the worth that `of` returns."""
        rate = self.tier.maker if liquidity is Liquidity.MAKER else self.tier.taker
        return EXACT.multiply(self._instrument.quantity(quantity), rate).normalize(EXACT)


def tiers_of(settings: FeeSettings) -> tuple[FeeTier, ...]:
    """Return the tiers, or the one that always holds."""
    flat = FeeTier(volume=Decimal(0), maker=settings.maker, taker=settings.taker)
    return settings.tiers or (flat,)


def traded_unit(instrument: Instrument) -> Fraction:
    """Return what volume is counted in, in quote currency: a lot at one tick, or a lot if inverse."""
    unit = Fraction(instrument.lot) * Fraction(instrument.contract_size)
    return unit if instrument.kind is ContractKind.INVERSE else unit * Fraction(instrument.tick)
