"""The verdict on a forecast: its figures with intervals, beside the plain rule and the commonest class."""

from __future__ import annotations

import msgspec
import numpy as np

from mmkit.errors import DataError
from mmkit.learning.bootstrap import BlockBootstrap, Counts, Interval, block_length
from mmkit.learning.calibration import Calibration, calibration, check_probabilities
from mmkit.learning.labels import Labels, check_classes
from mmkit.learning.metrics import Scores, accuracy, chance_f1, confusion, macro_f1, scores
from mmkit.learning.samples import Floats


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Macro-F1 of a forecast less that of another, on the same samples.

    Attributes:
        other: What it was compared with, such as ``"the plain rule"``.
        horizon: As it is told, such as ``"20"`` or ``"500ms"``.
        difference: With its interval, from resamples that both share.
    """

    other: str
    horizon: str
    difference: Interval

    @property
    def better(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.difference.low > 0

    @property
    def sentence(self) -> str:
        """What the report says."""
        verdict = (
            "better than"
            if self.better
            else "worse than"
            if self.difference.high < 0
            else "no better than"
        )
        return f"{verdict} {self.other} at horizon {self.horizon}: difference {self.difference}"


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """A forecast judged on data that it was not made on.

    Attributes:
        scores: Figures of the forecast.
        macro_f1: With its interval.
        accuracy: With its interval.
        chance: Macro-F1 that calls of the same shares would have if they knew nothing.
        block: Samples in a block of the bootstrap.
        calibration: Of the probabilities; None if there are only calls.
        rule: Figures of the plain rule.
        rule_macro_f1: With its interval.
        majority: Figures of the commonest class of the training data.
        against_rule: The paired difference.
        against_majority: Likewise.
    """

    scores: Scores
    macro_f1: Interval
    accuracy: Interval
    chance: float
    block: int
    calibration: Calibration | None
    rule: Scores
    rule_macro_f1: Interval
    majority: Scores
    against_rule: Comparison
    against_majority: Comparison


def evaluate(
    truth: Labels,
    forecast: Floats | Labels,
    *,
    rule: Labels,
    majority: int | Labels,
    horizon: str,
    overlap: int,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Return the verdict on `forecast`.

    Args:
        truth: int8[n], in the order of time, every one known.
        forecast: Probabilities float64[n, 3], of which the largest is the call, or the calls int8[n].
        rule: int8[n], calls of the plain rule, its threshold from training data.
        majority: The commonest class of the training data; int8[n] where that was not the same for all.
        horizon: As it is told.
        overlap: The horizon in samples; blocks of the bootstrap are no shorter.
        resamples: Of the bootstrap.
        level: Of the intervals.
        seed: Of the bootstrap.

    Raises:
        DataError: if a class is missing, lengths differ, these are no probabilities, or there are too few
            samples for an interval.
    """
    check_classes(truth, "test")
    called, curves = forecast, None
    if forecast.ndim == 2:
        probabilities = forecast.astype(np.float64)
        check_probabilities(probabilities, len(truth))
        called = probabilities.argmax(axis=1)
        curves = calibration(truth, probabilities)
    called = called.astype(np.int8)
    common = np.broadcast_to(np.asarray(majority, np.int8), truth.shape)
    figures, of_rule, of_majority = (
        scores(confusion(truth, calls)) for calls in (called, rule, common)
    )
    bootstrap = _bootstrap(
        truth, (called, rule), overlap, resamples=resamples, level=level, seed=seed
    )
    cells = np.concatenate([_cells(truth, calls) for calls in (called, rule, common)], axis=1)
    resampled = bootstrap.totals(cells).reshape(-1, 3, 3, 3)
    f1 = macro_f1(resampled)

    def difference(other: int, name: str, theirs: Scores) -> Comparison:
        gap = figures.macro_f1 - theirs.macro_f1
        interval = bootstrap.interval_of(gap, f1[:, 0] - f1[:, other])
        return Comparison(other=name, horizon=horizon, difference=interval)

    return Evaluation(
        scores=figures,
        macro_f1=bootstrap.interval_of(figures.macro_f1, f1[:, 0]),
        accuracy=bootstrap.interval_of(figures.accuracy, accuracy(resampled[:, 0])),
        chance=chance_f1(np.asarray(figures.confusion)),
        block=bootstrap.length,
        calibration=curves,
        rule=of_rule,
        rule_macro_f1=bootstrap.interval_of(of_rule.macro_f1, f1[:, 1]),
        majority=of_majority,
        against_rule=difference(1, "the plain rule", of_rule),
        against_majority=difference(2, "the commonest class", of_majority),
    )


def compare(
    truth: Labels,
    called: Labels,
    other: Labels,
    *,
    name: str,
    horizon: str,
    overlap: int,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Return how much better the calls int8[n] are than others of the same samples, told as `name`.

    Raises:
        DataError: as `evaluate`.
    """
    check_classes(truth, "test")
    ours, theirs = (float(macro_f1(confusion(truth, calls))) for calls in (called, other))
    bootstrap = _bootstrap(
        truth, (called, other), overlap, resamples=resamples, level=level, seed=seed
    )
    cells = np.concatenate([_cells(truth, called), _cells(truth, other)], axis=1)
    f1 = macro_f1(bootstrap.totals(cells).reshape(-1, 2, 3, 3))
    interval = bootstrap.interval_of(ours - theirs, f1[:, 0] - f1[:, 1])
    return Comparison(other=name, horizon=horizon, difference=interval)


def _cells(truth: Labels, called: Labels) -> Counts:
    """Return int8[n, 9], a 1 in the cell of the confusion matrix that each sample falls into."""
    cells: Counts = np.eye(9, dtype=np.int8)[truth * 3 + called]
    return cells


def _bootstrap(
    truth: Labels,
    calls: tuple[Labels, ...],
    overlap: int,
    *,
    resamples: int,
    level: float,
    seed: int,
) -> BlockBootstrap:
    """Return the bootstrap whose blocks suit the longest memory of any series the figures are made of."""
    if overlap < 1:
        raise DataError(
            f"evaluation: a horizon of at least one sample was expected; found {overlap}"
        )
    right = [(one == truth).astype(np.float64) for one in calls]
    series = [*right, *(right[0] - one for one in right[1:])]
    length = max(block_length(one, least=overlap) for one in series)
    return BlockBootstrap(length=length, resamples=resamples, level=level, seed=seed)
