"""Where the lines of a capture begin, and their local times, in compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

_BAD, _1 = np.uint64(0), np.uint64(1)
_ZERO = np.uint8(48)
_MOST_DIGITS = 18  # and a 19th, if the first of them is no 9
UNSURE = -1


def _bytes(readonly: bool) -> Any:
    return types.Array(types.uint8, 1, "C", readonly=readonly)


_integers, _places = types.int64[::1], types.uint64[::1]


@njit(
    types.void(_bytes(True), _integers, _places, _integers),
    cache=True,
    nogil=True,
)
def stamps(data: Any, ends: Any, begin: Any, ts_local: Any) -> None:
    """Find each line's message and local time, ns; `UNSURE` where a line is not ``<time> <message>``.

    As `mmkit_capture.files` does; what is unusual there is not sure here.

    Args:
        data: Whole lines.
        ends: The places of their newlines.
        begin: Filled with the places of the messages; that of the newline where it is not sure.
        ts_local: Filled with the times.
    """
    i = _BAD
    for line in range(len(ends)):
        end = np.uint64(ends[line])
        begin[line], ts_local[line] = end, UNSURE
        first, time = i, np.int64(0)
        while data[i] - _ZERO <= 9:
            time = time * 10 + np.int64(data[i] - _ZERO)
            i += _1
        digits = np.int64(i - first)
        sure = 0 < digits <= _MOST_DIGITS or (digits == _MOST_DIGITS + 1 and data[first] < 57)
        places = 9 if digits <= 11 else 6 if digits <= 14 else 3 if digits <= 17 else 0
        sure &= time < 9 * 10 ** (18 - places)
        if data[i] == 46:
            i += _1
            fraction = i
            while data[i] - _ZERO <= 9:
                if places > 0:
                    time = time * 10 + np.int64(data[i] - _ZERO)
                    places -= 1
                i += _1
            sure &= i != fraction
        while places > 0:
            time *= 10
            places -= 1
        if data[i] == 58:
            i += _1
        sure &= data[i] == 32
        while data[i] == 32:
            i += _1
        if sure and i != end:
            begin[line], ts_local[line] = i, time
        i = end + _1
