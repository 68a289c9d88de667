"""The arrays that compiled features work on, made larger when they have to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.features.layout import (
    BACK,
    BAD,
    BAD_ROW,
    BASE,
    BOUND,
    BUCKET,
    CODE,
    DEPTH,
    END,
    ENTRY,
    FAR,
    FEATURES,
    FIRST,
    FLOWS,
    FULL,
    GROW,
    HEADER,
    LAST_TS,
    LEVELS,
    MOST,
    NEED_HIGH,
    NEED_LOW,
    NEED_RING,
    OFI,
    RECORD,
    RING,
    ROOM,
    SPAN,
    TOPS,
    USED_HIGH,
    USED_LOW,
    VPIN,
    WINDOW,
)

Ints = npt.NDArray[np.int64]

WIDEST = 64_000_000
"""Ticks between the lowest and the highest price, as in `mmkit.tape.index`."""
_NARROWEST = 1 << 14
_ENTRIES = 64
"""Of a ring, to begin with."""


class Memory:
    """What is known of one market, for a list of features.

    Args:
        records: Of each feature code, levels (of VPIN: buckets), window (ns), bucket (lots).
        depth: Levels of the book that are kept.
        symbol: For the errors.
    """

    def __init__(
        self, records: Sequence[tuple[int, int, int, int]], depth: int, symbol: str
    ) -> None:
        self._symbol = symbol
        begin = HEADER + TOPS * depth
        table = np.zeros((len(records), RECORD), np.int64)
        ring = begin + table.size
        for record, (code, levels, window, bucket) in zip(table, records, strict=True):
            record[[CODE, LEVELS, WINDOW, BUCKET]] = code, levels, window, bucket
            room = 0
            if code == VPIN:
                room = 1 << (levels - 1).bit_length()
            elif code >= OFI:
                room = _ENTRIES
            record[[RING, ROOM]] = ring, room
            ring += ENTRY * room
        self.array: Ints = np.zeros(ring, np.int64)
        """See `mmkit.features.layout`."""
        self.ladder: Ints = np.zeros((2, 0), np.int64)
        """Lots by price, bids and asks."""
        array = self.array
        array[begin : begin + table.size] = table.ravel()
        array[[DEPTH, FEATURES]] = depth, len(records)
        array[FLOWS] = any(code == OFI for code, *_ in records)
        array[LAST_TS] = -FAR
        array[[USED_LOW, USED_HIGH, BOUND, BOUND + 1]] = 0, -1, -1, 0
        array[HEADER : HEADER + depth] = -FAR
        array[HEADER + 2 * depth : HEADER + 3 * depth] = FAR

    def answer(self, why: int, times: Ints | None = None) -> None:
        """Give compiled code what it needs to go on.

        Args:
            why: What it returned.
            times: ``ts_local`` of the rows it worked on.

        Raises:
            DataError: if it cannot be given.
        """
        row = int(self.array[BAD_ROW])
        if why == GROW:
            self._widen()
        elif why == FULL:
            self._lengthen(int(self.array[NEED_RING]))
        elif why == BAD:
            raise DataError(
                f"{self._symbol}: row {row}: a price of at least one tick and a quantity of 0 to {MOST} "
                "lots were expected; found another; check the data with 'mmkit data check'"
            )
        elif why == BACK:
            found = "" if times is None else f"; found {int(times[row])}"
            raise DataError(
                f"{self._symbol}: row {row}: a time (ts_local) of at least {int(self.array[LAST_TS])}, "
                f"that of the message before, was expected{found}; give messages in the order of their receipt"
            )

    def _widen(self) -> None:
        """Make the ladder wide enough for the prices that are needed."""
        array = self.array
        base, span = int(array[BASE]), int(array[SPAN])
        used_low, used_high = int(array[USED_LOW]), int(array[USED_HIGH])
        low, high = int(array[NEED_LOW]), int(array[NEED_HIGH])
        if used_low <= used_high:
            low, high = min(low, base + used_low), max(high, base + used_high)
        needed = high - low + 1
        if needed > WIDEST:
            raise DataError(
                f"{self._symbol}: prices within {WIDEST:,} ticks of each other were expected; found {low} and "
                f"{high}; check the instrument's tick"
            )
        wider = min(max(2 * needed, _NARROWEST), WIDEST)
        new_base = low - (wider - needed) // 2
        shift = base - new_base
        # Memory that is zero and not touched is not there, so that a wide ladder costs little.
        ladder = np.zeros((2, wider), np.int64)
        if used_low <= used_high:
            part = slice(used_low, used_high + 1)
            ladder[:, used_low + shift : used_high + 1 + shift] = self.ladder[:, part]
            array[[USED_LOW, USED_HIGH]] += shift
        else:
            array[[USED_LOW, USED_HIGH]] = wider, -1
        bid, ask = int(array[BOUND]), int(array[BOUND + 1])
        array[BOUND] = bid + shift if bid >= 0 else -1
        array[BOUND + 1] = ask + shift if ask < span else wider
        array[[BASE, SPAN]] = new_base, wider
        self.ladder = ladder

    def _lengthen(self, feature: int) -> None:
        """Make a feature's ring twice as long."""
        begin = HEADER + TOPS * int(self.array[DEPTH])
        count = int(self.array[FEATURES])
        old = self.array
        record = begin + RECORD * feature
        ring, room = int(old[record + RING]), int(old[record + ROOM])
        cut = ring + ENTRY * room
        array = np.concatenate([old[:cut], np.zeros(ENTRY * room, np.int64), old[cut:]])
        for other in range(begin, begin + RECORD * count, RECORD):
            if array[other + RING] >= cut:
                array[other + RING] += ENTRY * room
        entries = old[ring:cut].reshape(room, ENTRY)
        longer: Any = array[ring : cut + ENTRY * room].reshape(2 * room, ENTRY)
        numbers = np.arange(old[record + FIRST], old[record + END])
        longer[numbers % (2 * room)] = entries[numbers % room]
        array[record + ROOM] = 2 * room
        self.array = array
