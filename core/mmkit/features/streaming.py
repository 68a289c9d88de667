"""Features while messages come in, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.features.features import Features
from mmkit.features.layout import LAST_TS, NEXT_ROW
from mmkit.tape import Row

_SHORT = 64
"""Rows; what is longer is worth an array of its own."""


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
        self._bytes = memoryview(self._table).cast("B")
        self._pack = [Struct(f"={5 * rows}q").pack_into for rows in range(_SHORT + 1)]
        self._large = np.zeros(0, np.int64)
        self._out = np.zeros(len(features.names), np.float64)
        self._symbol = features.instrument.symbol

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
            self._pack[count](self._bytes, 0, *[value for row in rows for value in row])
            table = self._table
        else:
            table = np.array(rows, np.int64)
        memory = self._memory
        done = self._take(memory.array, memory.ladder, table, self._large, 0, count)
        while done < 0:
            memory.answer(done, table[:, 1])
            first = int(memory.array[NEXT_ROW])
            done = self._take(memory.array, memory.ladder, table, self._large, first, count)

    def values(self, now_ns: int) -> npt.NDArray[np.float64]:
        """Return the values at a local time; shape (features,), NaN where one is not known.

        Raises:
            DataError: if it is before the last message.
        """
        out: Any = self._out
        if self._values(self._memory.array, now_ns, out) != 0:
            raise DataError(
                f"{self._symbol}: a time of at least {int(self._memory.array[LAST_TS])}, that of the last message, "
                f"was expected; found {now_ns}"
            )
        return out.copy()  # type: ignore[no-any-return]
