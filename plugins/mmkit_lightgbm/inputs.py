"""The inputs of the trees: features of the window's last sample, or of several, by name and lag."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError, UsageError


def input_names(names: Sequence[str], lags: Sequence[int]) -> list[str]:
    """Return names such as ``imbalance_5@-3``, all features of a lag together; lag 0 is the feature's own name."""
    return [name if lag == 0 else f"{name}@-{lag}" for lag in lags for name in names]


def check_lags(lags: Sequence[int], window: int) -> None:
    """Refuse lags that are not in the window.

    Raises:
        UsageError: names them.
    """
    if outside := [lag for lag in lags if not 0 <= lag < window]:
        raise UsageError(
            f"lags: numbers from 0 to {window - 1} were expected, of a window of {window}; found "
            f"{', '.join(str(lag) for lag in outside)}; take a longer window or smaller lags"
        )


def flat(windows: npt.NDArray[np.float64], lags: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the inputs of each window: shape ``(n, window, f)`` to ``(n, lags x f)``."""
    last = windows.shape[1] - 1
    if len(lags) == 1:
        # Of a view over the samples a view, too.
        return np.ascontiguousarray(windows[:, last - lags[0], :], dtype=np.float64)
    return np.ascontiguousarray(
        windows[:, [last - lag for lag in lags], :].reshape(len(windows), -1), dtype=np.float64
    )


def places(inputs: Sequence[str], names: Sequence[str], window: int) -> npt.NDArray[np.int32]:
    """Return where each input lies in a window of shape ``(window, features)`` that is read row by row.

    Raises:
        DataError: if an input is no feature of the window.
    """
    found = np.empty(len(inputs), np.int32)
    column = {name: number for number, name in enumerate(names)}
    for number, said in enumerate(inputs):
        name, lag = said, 0
        if name not in column:
            name, _, behind = said.rpartition("@-")
            lag = int(behind) if behind.isdecimal() else window
        if name not in column or not 0 <= lag < window:
            raise DataError(
                f"model.txt: the input '{said}' is no feature of the card ({', '.join(names)}) within {window} "
                "samples; train again"
            )
        found[number] = (window - 1 - lag) * len(names) + column[name]
    return found
