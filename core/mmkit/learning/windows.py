"""The last so many samples before each one: what a model of sequences is shown."""

from __future__ import annotations

import numpy as np

from mmkit.errors import DataError
from mmkit.learning.samples import Floats, Ints


def windows(values: Floats, length: int) -> Floats:
    """Return every window of `length` rows, float64[m, length, f], oldest row first; a read-only view.

    The i-th of the ``m = n - length + 1`` windows ends with row ``i + length - 1``. They go through gaps, if
    there are any: `window_ends` says which do not.

    Raises:
        DataError: if there are fewer rows than `length`.
    """
    if values.ndim != 2:
        raise DataError(
            f"windows: features of shape (n, f) were expected; found shape {values.shape}"
        )
    if not 1 <= length <= len(values):
        raise DataError(
            f"windows: at least {max(length, 1)} samples were expected, the window; found {len(values)}; "
            "use more data or a shorter window"
        )
    return np.moveaxis(np.lib.stride_tricks.sliding_window_view(values, length, axis=0), -1, 1)


def window_ends(span: Ints, length: int) -> Ints:
    """Return the rows with which a window of `length` samples of one span ends, ascending.

    Args:
        span: int64[n], `Samples.span` of one part of a split, so that no window crosses it either.
        length: Samples in a window.

    Raises:
        DataError: if no span is long enough.
    """
    if length < 1:
        raise DataError(f"windows: a length of at least 1 was expected; found {length}")
    rows = np.arange(length - 1, len(span))
    ends = rows[span[rows] == span[rows - length + 1]] if len(rows) else rows
    if not len(ends):
        longest = int(np.unique(span, return_counts=True)[1].max()) if len(span) else 0
        raise DataError(
            f"windows: {length} samples without a gap were expected; found at most {longest} of {len(span)}; "
            "use more data or a shorter window"
        )
    return ends.astype(np.int64)


def windows_at(values: Floats, ends: Ints, length: int) -> Floats:
    """Return the windows that end with these rows, float64[len(ends), length, f]; a view if they are evenly spaced.

    Raises:
        DataError: if a window would begin before the first row.
    """
    every = windows(values, length)
    first = ends - (length - 1)
    if len(first) and (first.min() < 0 or first.max() >= len(every)):
        raise DataError(
            f"windows: ends from {length - 1} to {len(values) - 1} were expected; found {ends.min()} to {ends.max()}"
        )
    steps = np.diff(first)
    if (
        len(first)
        and (steps == (step := max(int(first[-1] - first[0]) // max(len(steps), 1), 1))).all()
    ):
        return every[first[0] : first[-1] + 1 : step]
    return np.ascontiguousarray(every[first])
