"""Whether what is said to happen with 70 % happens seven times in ten."""

from __future__ import annotations

import msgspec
import numpy as np

from mmkit.errors import DataError
from mmkit.learning.labels import Labels
from mmkit.learning.metrics import check_labels
from mmkit.learning.samples import Floats

_SUM = 1e-4  # off 1 that three probabilities may be: float32 and a rounded softmax


class CalibrationBin(msgspec.Struct, frozen=True, kw_only=True):
    """Forecasts that were about as sure.

    Attributes:
        low: Of the probabilities in it, not included but in the first bin.
        high: Likewise, included.
        samples: How many.
        said: Their mean probability.
        happened: Share of them that came true.
    """

    low: float
    high: float
    samples: int
    said: float
    happened: float


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Probabilities against what happened.

    Attributes:
        ece: Expected calibration error of the class called: mean over samples of
            ``|said - happened|`` of their bin. C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of
            modern neural networks", ICML 2017, section 2.
        called: Bins of the class called, empty ones left out.
        down: Bins of the probability of down, whether called or not.
        flat: Likewise.
        up: Likewise.
    """

    ece: float
    called: list[CalibrationBin]
    down: list[CalibrationBin]
    flat: list[CalibrationBin]
    up: list[CalibrationBin]


def calibration(truth: Labels, probabilities: Floats, *, bins: int = 10) -> Calibration:
    """Return the curves, with bins of the same width.

    Args:
        truth: int8[n].
        probabilities: float64[n, 3]; down, flat, up.
        bins: How many from 0 to 1.

    Raises:
        DataError: if these are no probabilities, or not as many as `truth`.
    """
    check_labels(truth, "true classes")
    check_probabilities(probabilities, len(truth))
    if bins < 1:
        raise DataError(f"calibration: at least one bin was expected; found {bins}")
    by_class = [_curve(probabilities[:, one], truth == one, bins) for one in range(3)]
    called = _curve(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth, bins)
    error = sum(one.samples * abs(one.said - one.happened) for one in called) / len(truth)
    return Calibration(ece=error, called=called, down=by_class[0], flat=by_class[1], up=by_class[2])


def check_probabilities(probabilities: Floats, samples: int) -> None:
    """Refuse what is not a row of three probabilities for each sample.

    Raises:
        DataError: says which row holds what.
    """
    if probabilities.shape != (samples, 3):
        raise DataError(
            f"forecasts: probabilities of shape ({samples}, 3) were expected; found {probabilities.shape}"
        )
    fine = (probabilities >= 0).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) <= _SUM)
    bad = np.flatnonzero(~fine)
    if len(bad):
        raise DataError(
            "forecasts: three probabilities of at least 0 that sum to 1 were expected; found "
            f"{probabilities[bad[0]].tolist()} in row {bad[0]} and {len(bad):,} such rows"
        )


def _curve(said: Floats, happened: Floats, bins: int) -> list[CalibrationBin]:
    edges = np.linspace(0, 1, bins + 1)
    at = np.clip(np.searchsorted(edges, said, side="left") - 1, 0, bins - 1)
    count = np.bincount(at, minlength=bins)
    total_said = np.bincount(at, weights=said, minlength=bins)
    total_happened = np.bincount(at, weights=happened, minlength=bins)
    return [
        CalibrationBin(
            low=float(edges[one]),
            high=float(edges[one + 1]),
            samples=int(count[one]),
            said=float(total_said[one] / count[one]),
            happened=float(total_happened[one] / count[one]),
        )
        for one in range(bins)
        if count[one]
    ]
