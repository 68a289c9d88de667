"""The last so many samples before each one: what a model of sequences is shown."""

from __future__ import annotations

from typing import Any, cast

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


class ChosenWindows:
    """Some of the windows over the same rows: indexed like the array of them, which takes far more memory.

    Args:
        every: float64[m, length, f], all windows, as `windows` returns them.
        chosen: int64[n], which.
    """

    def __init__(self, every: Floats, chosen: Ints) -> None:
        self._every, self._chosen = every, chosen
        self.shape = (len(chosen), *every.shape[1:])
        self.ndim, self.dtype = every.ndim, every.dtype

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, key: Any) -> Any:
        head, *rest = key if isinstance(key, tuple) else (key,)
        chosen = self._chosen[head]
        if np.ndim(chosen) == 0:
            return self._every[chosen][tuple(rest)]
        if rest and isinstance(rest[0], list | np.ndarray):
            samples: Any = np.asarray(rest[0])
            if samples.dtype != np.bool_ and all(isinstance(one, slice) for one in rest[1:]):
                return self._every[(chosen[:, None], samples, *rest[1:])]
        if all(isinstance(one, int | slice) for one in rest):
            # Numbers before slices, as in an array of these windows; a part that follows each other is a view.
            part = _in_a_row(chosen)
            return self._every[(chosen if part is None else part, *rest)]
        return self._every[chosen][(slice(None), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Floats:
        if copy is False:
            raise ValueError("chosen windows are no array yet; making one copies them")
        found: Floats = np.asarray(self._every[self._chosen], dtype)
        return found


def _in_a_row(chosen: Any) -> slice | None:
    """Return the part of an array that these places are, if they follow each other."""
    if (
        np.ndim(chosen) == 1
        and len(chosen)
        and len(chosen) == chosen[-1] - chosen[0] + 1
        and (np.diff(chosen) == 1).all()
    ):
        return slice(int(chosen[0]), int(chosen[-1]) + 1)
    return None


def windows_at(values: Floats, ends: Ints, length: int) -> Floats:
    """Return the windows that end with these rows, as float64[len(ends), length, f]; no row is copied.

    A view if they are evenly spaced; else `ChosenWindows`, which is indexed like an array and copies what is asked for.

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
    # It is used as an array everywhere, and a type of its own would be in the way of every trainer.
    return cast(Floats, ChosenWindows(every, first))
