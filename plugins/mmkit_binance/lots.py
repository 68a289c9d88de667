"""Quantities as whole lots, and what Binance spot sends that is none."""

from __future__ import annotations

import re
from decimal import Decimal

from mmkit.errors import OffGrid
from mmkit.instruments import GridParser, Instrument
from mmkit.tape import FeedStats

_PLAIN = re.compile(r"\d+(\.\d*)?")
_EXCUSED = 10
"""Quantities that may be off before their share counts."""
_SHARE = 100
"""One in so many may be off; more, and the lot is not the venue's."""


class SpotLots:
    """Turns spot's quantities into lots; the few that are no whole number of lots are rounded up.

    Binance spot shows totals finer than its own LOT_SIZE now and then: 7 of some 300,000 levels in
    three minutes of BTCUSDT (2024-08-08/09, such as 25.42618900 at a lot of 0.00001), so refusing
    them would end every run. What is below a lot cannot be traded; rounding up keeps the level from
    vanishing. A lot that is simply wrong is still refused.

    Args:
        instrument: Tells the lot.
        stats: Takes a note of how many there were.

    Raises:
        OffGrid: if more than one in a hundred distinct quantities is off, or one is no number.
    """

    def __init__(self, instrument: Instrument, stats: FeedStats) -> None:
        self._instrument, self._stats = instrument, stats
        self._exact = GridParser(instrument.lot, "quantity", instrument.symbol)
        self._seen = self._off = 0
        self._note: int | None = None

    def __call__(self, text: str) -> int:
        """Return a decimal in whole lots."""
        self._seen += 1
        try:
            return self._exact(text)
        except OffGrid:
            return self._rounded(text)

    def _rounded(self, text: str) -> int:
        instrument = self._instrument
        self._off += 1
        if not _PLAIN.fullmatch(text) or (self._off > _EXCUSED and self._off * _SHARE > self._seen):
            return self._exact(text)  # which refuses it
        lots = -instrument.floor_lots(-Decimal(text))
        words = (
            f"{self._off} quantities finer than the lot {instrument.lot} were rounded up, "
            f"such as {text}"
        )
        if self._note is None:
            self._note = len(self._stats.notes)
            self._stats.notes.append(words)
        else:
            self._stats.notes[self._note] = words
        return lots
