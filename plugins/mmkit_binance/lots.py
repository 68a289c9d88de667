"""Quantities as whole lots, and what Binance spot sends that is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from weakref import WeakSet

from mmkit.errors import OffGrid
from mmkit.instruments import GridParser, Instrument
from mmkit.tape import FeedStats

_PLAIN = re.compile(r"\d+(\.\d*)?")
_EXCUSED = 10
"""Quantities that may be off before their share counts."""
_SHARE = 100
"""One in so many may be off; more, and the lot is not the venue's."""
_REMEMBERED = 20_000
"""Decimals kept with their integers: some 3 MB at most,"""
_REMEMBERED_BY_ALL = 200_000
"""and by all markets of this process some 30 MB: each has a share when there are more than ten memories,"""
_REMEMBERED_ALWAYS = 1_000
"""but no less than this."""


class Memory(dict[str, int]):
    """What decimals are in whole steps; looked up like a dictionary: the same few come again and again.

    Args:
        parse: Reads one that is not remembered.
    """

    __hash__ = object.__hash__  # type: ignore[assignment]  # one of all memories, whatever it holds

    def __init__(self, parse: Callable[[str], int]) -> None:
        super().__init__()
        self._parse = parse
        _memories.add(self)

    def __missing__(self, text: str) -> int:
        if len(self) >= _REMEMBERED_ALWAYS and len(self) >= _most():
            self.clear()
        value = self[text] = self._parse(text)
        return value


_memories: WeakSet[Memory] = WeakSet()


def _most() -> int:
    share = _REMEMBERED_BY_ALL // max(1, len(_memories))
    return max(_REMEMBERED_ALWAYS, min(_REMEMBERED, share))


class SpotLots:
    """Turns spot's quantities into lots; the few that are no whole number of lots are rounded up.

    Binance spot shows totals finer than its own LOT_SIZE now and then: 7 of some 300,000 levels in
    three minutes of BTCUSDT (2024-08-08/09, such as 25.42618900 at a lot of 0.00001), so refusing
    them would end every run. What is below a lot cannot be traded; rounding up keeps the level from
    vanishing. A lot that is simply wrong is still refused. One that is off counts once, however often it
    is shown.

    Args:
        instrument: Tells the lot.
        stats: Takes a note of how many there were.

    Raises:
        OffGrid: if there is more than one that is off to a hundred quantities, or one is no number.

    Attributes:
        exact: Reads those that are whole lots.
        memory: Looks quantities up; whoever does raises `seen` first.
        seen: Quantities so far.
    """

    def __init__(self, instrument: Instrument, stats: FeedStats) -> None:
        self._instrument, self._stats = instrument, stats
        self.exact = GridParser(instrument.lot, "quantity", instrument.symbol)
        self.seen = 0
        self._off = 0
        self.memory = Memory(self._read)
        self._note: int | None = None

    def _read(self, text: str) -> int:
        try:
            return self.exact(text)
        except OffGrid:
            return self._rounded_up(text)

    def _rounded_up(self, text: str) -> int:
        instrument = self._instrument
        self._off += 1
        if not _PLAIN.fullmatch(text) or (self._off > _EXCUSED and self._off * _SHARE > self.seen):
            return self.exact(text)  # which refuses it
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
