"""The trainings of a walk forward: their rows and labels, refused where nothing could be learned or judged."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.learning import (
    LabelRule,
    Part,
    Split,
    check_classes,
    split_at,
    walk_forward,
    window_ends,
)
from mmkit.run.sampled import Sampled
from mmkit.run.verdict import check_judgeable

if TYPE_CHECKING:
    from mmkit.config.learning import TrainingSection

Ints = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int8]

PARTS = ("training", "validation", "test")


@dataclass(frozen=True, eq=False)
class Fold:
    """One training that is to be done.

    Attributes:
        rule: Of the labels, with the threshold of the training data.
        labels: int8[n], of all samples.
        rows: Last rows of the windows of training, validation and test, each with a label.
        learned: Those of training that the model learns from: every `stride`-th. Thresholds and shares of classes
            come from all.
    """

    rule: LabelRule
    labels: Labels
    rows: tuple[Ints, Ints, Ints]
    learned: Ints


def labelled(sampled: Sampled, labels: Labels, part: Part, window: int) -> Ints:
    """Return the rows of a part with which a window ends that lies within it, and which have a label.

    Raises:
        DataError: if no window fits.
    """
    rows = part.start + window_ends(part.of(sampled.samples).span, window)
    return rows[labels[rows] >= 0]


def folds_of(
    sampled: Sampled, rule: LabelRule, settings: TrainingSection, horizon: str
) -> list[Fold]:
    """Return the trainings to be done; all that can be refused is refused before the first.

    Raises:
        DataError: if a part is empty or lacks a class, or the tests are too short for a verdict.
    """
    ts, window = sampled.samples.ts, settings.window
    moves = rule.moves(sampled.samples)
    try:
        folds = []
        for split in _splits(ts, rule, settings):
            fitted = rule.fit(moves[split.train.start : split.train.stop])
            labels = fitted.labels(moves)
            training, valid, test = (labelled(sampled, labels, part, window) for part in split)
            learned = training[:: settings.stride]
            for name, rows in ((PARTS[0], learned), (PARTS[1], valid)):
                check_classes(labels[rows], name)
            folds.append(Fold(fitted, labels, (training, valid, test), learned))
        rows = np.concatenate([fold.rows[2] for fold in folds])
        truth = np.concatenate([fold.labels[fold.rows[2]] for fold in folds])
        check_judgeable(sampled, rows, truth, rule)
    except DataError as error:
        raise DataError(f"horizon {horizon}: {error}") from error
    return folds


def _splits(ts: Ints, rule: LabelRule, settings: TrainingSection) -> list[Split]:
    folds, valid, least = settings.folds, settings.valid, settings.window
    if settings.test is None:
        return walk_forward(
            ts, rule, folds=folds, valid=valid, rolling=settings.rolling, least=least
        )
    if isinstance(settings.test, int):
        first = int(np.searchsorted(ts, ts[-1] - settings.test))
    else:
        first = int(len(ts) * (1 - settings.test))
    edges = [first + (len(ts) - first) * block // folds for block in range(folds + 1)]
    return [
        split_at(ts, rule, int(test * (1 - valid)), test, stop=end, least=least)
        for test, end in pairwise(edges)
    ]
