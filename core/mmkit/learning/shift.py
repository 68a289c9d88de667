"""Calls with the best macro-F1: what to add to a model's log-odds so that the largest is the class to call."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmkit.learning.labels import CLASSES, DOWN, FLAT, UP, Labels
from mmkit.learning.samples import Floats

_STEP = 0.05
_GRID = _STEP * np.arange(-80, 81)  # odds of 1 to 55 either way: no rarer class is learned
_SMOOTH = np.ones(5) / 5
_ROUNDS = 3  # by then nothing moves by more than the grid


def best_shift(truth: Labels, scores: Floats | npt.NDArray[np.float32]) -> Floats:
    """Return what to add to `scores` so that calls of the largest have the best macro-F1, float64[3]; flat gets 0.

    The largest probability is the call that is right most often. For macro-F1 others are better, the more so the less
    even the classes are; weights of the classes in training do not make up for it. The classes are shifted in turns,
    each to the middle of where macro-F1 is best over a fifth of a unit, so that no single sample decides. Source: the
    rule that is best is linear in the probabilities (Narasimhan, Ramaswamy, Saket, Agarwal, "Consistent multiclass
    algorithms for complex performance measures", ICML 2015); of such rules these are the ones that a softmax can say.

    Args:
        truth: int8[n], 0 to 2, of data that the scores were not fitted to.
        scores: Log-odds [n, 3], or log-probabilities.
    """
    shift = np.zeros(3)
    for _ in range(_ROUNDS):
        # Flat as well: where it lies below both others, neither of them alone brings it up.
        for which in (FLAT, DOWN, UP):
            shift[which] = _best_of(truth, scores, shift, which)
    shift -= shift[FLAT]
    return shift


def _best_of(
    truth: Labels, scores: Floats | npt.NDArray[np.float32], shift: Floats, which: int
) -> float:
    """Return the best shift of one class, those of the others given."""
    others = [number for number in range(len(CLASSES)) if number != which]
    rest = scores[:, others] - scores[:, [which]] + shift[others]
    instead = np.asarray(others)[rest.argmax(axis=1)]
    # The class is called by every shift above this.
    place = np.searchsorted(_GRID, rest.max(axis=1), side="right")
    called, right = np.empty((3, len(_GRID))), np.empty((3, len(_GRID)))
    for number in range(len(CLASSES)):
        if number == which:
            called[number] = _up_to(place)
            right[number] = _up_to(place[truth == number])
        else:
            mine = instead == number
            called[number] = mine.sum() - _up_to(place[mine])
            mine &= truth == number
            right[number] = mine.sum() - _up_to(place[mine])
    were = np.bincount(truth, minlength=3)[:, np.newaxis]
    f1 = (2 * right / np.maximum(called + were, 1)).mean(axis=0)
    smooth = np.convolve(np.pad(f1, 2, mode="edge"), _SMOOTH, mode="valid")
    # Of equals the one that changes least.
    best = np.flatnonzero(smooth >= smooth.max() - 1e-12)
    return float(_GRID[best[np.abs(_GRID[best]).argmin()]])


def _up_to(place: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """Return how many places lie at or below each point of the grid."""
    return np.cumsum(np.bincount(place, minlength=len(_GRID) + 1)[: len(_GRID)])
