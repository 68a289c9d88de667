"""Features while messages come in, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.features.features import Features
from mmkit.features.layout import DONE, LAST_TS, NEXT_ROW
from mmkit.tape import Row

_SHORT = 256
"""Rows; what is longer is worth an array of its own. Filling one from a list takes twice as long as packing."""


class Streaming:
    """The features of a market as it goes on; equal to `Features.compute`, bit for bit.

    Args:
        features: What is computed.
    """

    def __init__(self, features: Features) -> None:
        from mmkit.features.kernel import take, values

        self.names = features.names
        self._take, self._values = take, values
        self._memory = features.memory()
        self._table = np.zeros((_SHORT, 5), np.int64)
        self._bytes = self._table.data.cast("B")
        self._pack = [Struct(f"={5 * rows}q").pack_into for rows in range(_SHORT + 1)]
        self._out = np.zeros(len(features.names), np.float64)
        self._symbol = features.instrument.symbol
        # Compiled, or loaded, now: the first message is not to wait for it.
        self.on_message(())
        self.values(0)

    def on_message(self, rows: Sequence[Row]) -> None:
        """Take in the rows of one message or several, each whole, in the order of receipt.

        Raises:
            DataError: if a time goes back, or a row cannot be; the messages before it are taken in.
        """
        count = len(rows)
        if count == 1:
            self._pack[1](self._bytes, 0, *rows[0])
            table = self._table
        elif count <= _SHORT:
            self._pack[count](self._bytes, 0, *chain.from_iterable(rows))
            table = self._table
        else:
            table = np.fromiter(chain.from_iterable(rows), np.int64, 5 * count).reshape(count, 5)
        memory = self._memory
        why = self._take(memory.array, memory.ladder, table, count)
        while why != DONE:
            try:
                memory.answer(why, table[:, 1])
            except DataError:
                memory.array[NEXT_ROW] = 0
                raise
            why = self._take(memory.array, memory.ladder, table, count)

    def values(self, now_ns: int) -> npt.NDArray[np.float64]:
        """Return the values at a local time; shape (features,), NaN where one is not known.

        Raises:
            DataError: if it is before the last message.
        """
        out: Any = self._out
        if self._values(self._memory.array, now_ns, out) != DONE:
            raise DataError(
                f"{self._symbol}: a time of at least {int(self._memory.array[LAST_TS])}, that of the last message, "
                f"was expected; found {now_ns}"
            )
        return out.copy()  # type: ignore[no-any-return]
