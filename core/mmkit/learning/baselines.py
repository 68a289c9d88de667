"""What a model must beat: the commonest class, and the plain rule of the imbalance at the touch."""

from __future__ import annotations

import msgspec
import numpy as np

from mmkit.errors import DataError
from mmkit.learning.labels import DOWN, FLAT, UP, Labels, check_classes
from mmkit.learning.metrics import check_labels, macro_f1
from mmkit.learning.samples import Floats, Ints


def majority(training_labels: Labels) -> int:
    """Return the commonest class of the training data, the lower one of two as common.

    Raises:
        DataError: if no label is known.
    """
    known = training_labels[training_labels >= 0]
    check_labels(known, "training labels")
    return int(np.bincount(known, minlength=3).argmax())


class ImbalanceRule(msgspec.Struct, frozen=True, kw_only=True):
    """Up when the best bid is so much larger than the best ask, down the other way round, flat otherwise.

    The imbalance is ``(bid - ask) / (bid + ask)`` of the sizes at the best prices, from -1 to 1.

    Attributes:
        threshold: Up above it, down below its negative.
    """

    threshold: float

    @classmethod
    def fit(cls, imbalance: Floats, labels: Labels) -> ImbalanceRule:
        """Return the rule whose macro-F1 is the best on training data, the highest threshold of several.

        Every threshold that makes a difference is tried: the sizes of the imbalance that were seen, and 0.

        Args:
            imbalance: float64[n], training data only.
            labels: int8[n], -1 where not known.

        Raises:
            DataError: if a class is missing, or an imbalance is not between -1 and 1.
        """
        check_classes(labels, "training")
        known = labels >= 0
        _check(imbalance)
        if len(imbalance) != len(labels):
            raise DataError(
                f"imbalance: one for each of {len(labels)} labels was expected; found {len(imbalance)}"
            )
        side, size, truth = (
            np.sign(imbalance[known]).astype(np.int64) + 1,
            np.abs(imbalance[known]),
            labels[known].astype(np.int64),
        )
        # From the highest threshold, where all is called flat, to 0: each size passed moves its samples from
        # the column of flat to that of their side.
        order = np.argsort(-size, kind="stable")
        moves = np.zeros((len(order) + 1, 3, 3), dtype=np.int8)
        rows = np.arange(1, len(order) + 1)
        np.add.at(moves, (rows, truth[order], side[order]), 1)
        np.add.at(moves, (rows, truth[order], np.full(len(order), FLAT)), -1)
        # After k samples have moved the threshold is the size of the next; valid where the next is smaller.
        thresholds = np.append(size[order], 0.0)
        valid = np.append(True, np.diff(thresholds) < 0)
        matrices: Ints = np.cumsum(moves, axis=0, dtype=np.int64)[valid]
        matrices[:, :, FLAT] += np.bincount(truth, minlength=3)
        return cls(threshold=float(thresholds[valid][int(np.argmax(macro_f1(matrices)))]))

    def predict(self, imbalance: Floats) -> Labels:
        """Return int8[n], the classes called.

        Raises:
            DataError: if an imbalance is not between -1 and 1.
        """
        _check(imbalance)
        called = np.full(len(imbalance), FLAT, np.int8)
        called[imbalance > self.threshold] = UP
        called[imbalance < -self.threshold] = DOWN
        return called


def _check(imbalance: Floats) -> None:
    bad = np.flatnonzero(~(np.abs(imbalance) <= 1))
    if len(bad):
        raise DataError(
            f"imbalance: (bid - ask) / (bid + ask), from -1 to 1, was expected; found {imbalance[bad[0]]} in row "
            f"{bad[0]} and {len(bad):,} such rows"
        )
