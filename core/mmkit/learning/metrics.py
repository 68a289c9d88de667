"""How often a forecast of three classes is right, class by class."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.learning.labels import CLASSES, Labels
from mmkit.learning.samples import Floats


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Figures from one confusion matrix. Lists are down, flat, up.

    Attributes:
        samples: Forecasts that were judged.
        macro_f1: The plain mean of the three F1.
        accuracy: Share that is right.
        precision: Of those called so, the share that was; 0 if none was called so.
        recall: Of those that were so, the share called so; 0 if there was none.
        f1: Harmonic mean of the two; 0 if both are 0.
        confusion: Counts, rows what was, columns what was called.
    """

    samples: int
    macro_f1: float
    accuracy: float
    precision: list[float]
    recall: list[float]
    f1: list[float]
    confusion: list[list[int]]


def confusion(truth: Labels, predicted: Labels) -> npt.NDArray[np.int64]:
    """Return int64[3, 3] counts, rows what was, columns what was called.

    Raises:
        DataError: if the lengths differ, there is none, or one is no class.
    """
    check_labels(truth, "true classes")
    check_labels(predicted, "forecasts")
    if len(truth) != len(predicted):
        raise DataError(
            f"metrics: a forecast for each of {len(truth)} samples was expected; found {len(predicted)}"
        )
    pairs = truth.astype(np.int64) * 3 + predicted
    return np.bincount(pairs, minlength=9).reshape(3, 3)


def scores(matrix: npt.NDArray[np.int64]) -> Scores:
    """Return the figures of a confusion matrix int[3, 3]."""
    precision, recall, f1 = _by_class(matrix.astype(np.float64))
    return Scores(
        samples=int(matrix.sum()),
        macro_f1=float(macro_f1(matrix)),
        accuracy=float(accuracy(matrix)),
        precision=precision.tolist(),
        recall=recall.tolist(),
        f1=f1.tolist(),
        confusion=matrix.tolist(),
    )


def macro_f1(matrices: npt.NDArray[np.integer] | Floats) -> Floats:
    """Return the mean F1 of each confusion matrix, shape (..., 3, 3) to (...).

    A class that neither was nor was called counts as 0, as in scikit-learn with ``zero_division=0`` and all
    three labels named, so that a forecast is not better for never trying.
    """
    f1: Floats = _by_class(np.asarray(matrices, np.float64))[2].mean(axis=-1)
    return f1


def accuracy(matrices: npt.NDArray[np.integer] | Floats) -> Floats:
    """Return the share that is right of each confusion matrix, shape (..., 3, 3) to (...)."""
    matrices = np.asarray(matrices, np.float64)
    right: Floats = np.trace(matrices, axis1=-2, axis2=-1) / matrices.sum(axis=(-2, -1))
    return right


def chance_f1(matrix: npt.NDArray[np.int64]) -> float:
    """Return the macro-F1 that calls of the same shares would have if they knew nothing of what was.

    With p a class's share of what was and q of what was called, its F1 is then ``2 p q / (p + q)``.
    """
    total = matrix.sum()
    independent = np.outer(matrix.sum(axis=1), matrix.sum(axis=0)) / total
    return float(macro_f1(independent))


def check_labels(labels: Labels, what: str) -> None:
    """Refuse what is not a row of 0, 1 and 2.

    Raises:
        DataError: says which row holds what.
    """
    if labels.ndim != 1 or not len(labels):
        raise DataError(
            f"{what}: at least one class in a row was expected; found shape {labels.shape}"
        )
    bad = np.flatnonzero((labels < 0) | (labels > 2))
    if len(bad):
        raise DataError(
            f"{what}: 0 (down), 1 (flat) or 2 (up) was expected; found {labels[bad[0]]} in row {bad[0]} and "
            f"{len(bad):,} such rows; leave out samples without a label"
        )


def _by_class(matrices: Floats) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and F1 by class, shape (..., 3)."""
    right = np.diagonal(matrices, axis1=-2, axis2=-1)
    were, called = matrices.sum(axis=-1), matrices.sum(axis=-2)
    return _ratio(right, called), _ratio(right, were), _ratio(2 * right, were + called)


def _ratio(over: Floats, under: Floats) -> Floats:
    return np.divide(over, under, out=np.zeros_like(over), where=under > 0)


def table(figures: Scores) -> list[str]:
    """Return the confusion matrix with precision and recall as lines of text."""
    lines = [f"{'was / called':>12}" + "".join(f"{name:>10}" for name in CLASSES) + "    recall"]
    for name, row, recall in zip(CLASSES, figures.confusion, figures.recall, strict=True):
        lines.append(f"{name:>12}" + "".join(f"{count:>10,}" for count in row) + f"{recall:>10.3f}")
    lines.append(f"{'precision':>12}" + "".join(f"{share:>10.3f}" for share in figures.precision))
    return lines
