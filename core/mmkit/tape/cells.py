"""Columns of a CSV file, as pyarrow reads them, as exact whole numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def decimals(step: Decimal) -> Any:
    """Return the type to read decimals with: as many places as the step has, so exactly or not at all."""
    import pyarrow as pa

    return pa.decimal128(38, _places(step))


def steps(column: pa.Array, step: Decimal) -> tuple[Ints, Bools]:
    """Return decimals, read with `decimals`, in whole steps, and which of them are none or too large.

    An empty cell is 0 and not wrong.
    """
    # The lower and upper 64 bits of each.
    halves = np.frombuffer(column.buffers()[1], "<i8")[2 * column.offset :][: 2 * len(column)]
    low, high = halves[::2], halves[1::2]
    units = int(step.scaleb(_places(step)))
    there = filled(column)
    wrong = (high != (low >> 63)) | (low % units != 0)
    return np.where(there, low // units, 0), wrong & there


def integers(column: pa.Array) -> Ints:
    """Return whole numbers; an empty cell is 0."""
    return cast("Ints", column.fill_null(0).to_numpy(zero_copy_only=False))


def filled(column: pa.Array) -> Bools:
    """Return which cells are not empty."""
    return cast("Bools", column.is_valid().to_numpy(zero_copy_only=False))


def _places(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    assert isinstance(exponent, int)  # a finite step
    return max(0, -exponent)
