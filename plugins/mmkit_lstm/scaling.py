"""Scaling of features, fitted on training data alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]


def fit(
    windows: Floats, kind: Literal["standard", "minmax", "none"], names: Sequence[str]
) -> tuple[Floats, Floats]:
    """Return offset and factor of each feature: scaled is ``(value - offset) * factor``.

    ``standard`` gives mean 0 and deviation 1, ``minmax`` 0 to 1, over the last samples of the windows. A feature
    that never changes has factor 0: nothing was learned about it, so it must not speak later.
    """
    last = windows[:, -1, :]
    if kind == "none":
        return np.zeros(last.shape[1]), np.ones(last.shape[1])
    if kind == "standard":
        offset, size = last.mean(0), last.std(0)
    else:
        offset, size = last.min(0), np.ptp(last, axis=0)
    still = np.ptp(last, axis=0) == 0
    if still.any():
        logger.warning(
            "constant in the training data, and left out: %s",
            ", ".join(name for name, stands in zip(names, still, strict=True) if stands),
        )
    return offset, np.where(still, 0.0, 1 / np.where(still, 1.0, size))
