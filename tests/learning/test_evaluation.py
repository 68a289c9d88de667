from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from learning_market import market

from mmkit.errors import DataError
from mmkit.learning import (
    Comparison,
    Evaluation,
    ImbalanceRule,
    Interval,
    LabelRule,
    Samples,
    Scaling,
    compare,
    evaluate,
    majority,
    split_by_shares,
    window_ends,
    windows_at,
)

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]

HORIZON, WINDOW = 10, 5


def softmax_fit(values: Floats, labels: Labels) -> Floats:
    """A linear model of three classes, as plain as can be: weights float64[f + 1, 3] by gradient descent."""
    inputs = np.column_stack((values, np.ones(len(values))))
    weights = np.zeros((inputs.shape[1], 3))
    for _ in range(300):
        said = softmax_predict(values, weights)
        weights -= 0.5 * inputs.T @ (said - np.eye(3)[labels]) / len(labels)
    return weights


def softmax_predict(values: Floats, weights: Floats) -> Floats:
    raw = np.exp(np.column_stack((values, np.ones(len(values)))) @ weights)
    return raw / raw.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def trained_and_judged(samples: Samples, *, shuffled: bool = False) -> Evaluation:
    """The whole way: label, split, scale, window, train, judge."""
    rule = LabelRule(horizon=HORIZON, quantile=1 / 3)
    split = split_by_shares(samples.ts, rule, least=WINDOW)
    moves = rule.moves(samples)
    labels = rule.fit(moves[split.train.start : split.train.stop]).labels(moves)
    scaling = Scaling.fit(split.train.of(samples).values)

    def shown(start: int, stop: int) -> tuple[Floats, Labels, npt.NDArray[np.int64]]:
        part = samples.part(start, stop)
        ends = window_ends(part.span, WINDOW)
        ends = ends[labels[start:stop][ends] >= 0]
        seen = windows_at(scaling.apply(part.values), ends, WINDOW)
        return seen.reshape(len(ends), -1), labels[start:stop][ends], ends + start

    seen, known, ends = shown(*split.train)
    if shuffled:
        known = np.random.default_rng(5).permutation(known)
    weights = softmax_fit(seen, known)
    plain = ImbalanceRule.fit(samples.values[ends, 0], labels[ends])
    seen_later, truth, later = shown(*split.test)
    return evaluate(
        truth,
        softmax_predict(seen_later, weights),
        rule=plain.predict(samples.values[later, 0]),
        majority=majority(labels[split.train.start : split.train.stop]),
        horizon="10",
        overlap=HORIZON,
        resamples=500,
    )


def test_a_model_of_what_is_there_beats_chance_and_shuffled_labels_do_not() -> None:
    samples = market(30_000, seed=11).samples
    learned, shuffled = trained_and_judged(samples), trained_and_judged(samples, shuffled=True)
    assert learned.macro_f1.low > learned.chance + 0.1
    assert learned.against_majority.better
    assert learned.calibration is not None
    assert learned.calibration.ece < 0.05
    # From labels in any order nothing can be learned: no better than calls of the same shares at random.
    assert shuffled.scores.macro_f1 < shuffled.chance + 0.05
    assert shuffled.macro_f1.low < 0.36
    assert shuffled.against_rule.sentence.startswith("worse than the plain rule at horizon 10: ")


def test_where_there_is_nothing_the_report_finds_nothing() -> None:
    judged = trained_and_judged(market(30_000, seed=12, pull=0.0).samples)
    assert judged.macro_f1.low <= judged.chance <= judged.macro_f1.high
    assert not judged.against_rule.better


def test_a_comparison_is_told_in_one_sentence() -> None:
    def told(low: float, high: float) -> str:
        gap = Interval(value=0.003, low=low, high=high, level=0.95)
        return Comparison(other="the plain rule", horizon="20", difference=gap).sentence

    assert told(-0.01, 0.016) == (
        "no better than the plain rule at horizon 20: difference 0.003, 95% interval -0.010 to 0.016"
    )
    assert told(0.001, 0.016).startswith("better than the plain rule")
    assert told(-0.016, -0.001).startswith("worse than the plain rule")


def test_a_pair_is_compared_on_the_same_resamples() -> None:
    dice = np.random.default_rng(1)
    truth = dice.integers(0, 3, 3_000).astype(np.int8)
    one = np.where(dice.random(3_000) < 0.5, truth, 1).astype(np.int8)
    other = one.copy()
    other[::100] = truth[::100]
    same = compare(truth, one, one, name="itself", horizon="1", overlap=1, resamples=300)
    assert (same.difference.value, same.difference.low, same.difference.high) == (0, 0, 0)
    assert not same.better
    # Half a percent more of the samples right is seen, as what both share cancels; alone, each has a wide interval.
    better = compare(truth, other, one, name="the first", horizon="1", overlap=1, resamples=300)
    assert better.better
    judged = evaluate(truth, other, rule=one, majority=1, horizon="1", overlap=1, resamples=300)
    width = judged.macro_f1.high - judged.macro_f1.low
    assert width > 2 * (better.difference.high - better.difference.low)
    assert judged.against_rule.difference.value == better.difference.value
    assert judged.calibration is None


def test_the_verdict_survives_json_and_its_seed() -> None:
    samples = market(4_000, seed=13).samples
    judged = trained_and_judged(samples)
    assert msgspec.json.decode(msgspec.json.encode(judged), type=Evaluation) == judged
    assert trained_and_judged(samples) == judged


def test_what_cannot_be_judged_is_refused() -> None:
    truth = np.tile(np.array([0, 1, 2], np.int8), 40)

    def judge(truth: Labels, forecast: Floats | Labels, overlap: int = 1) -> None:
        evaluate(truth, forecast, rule=truth, majority=1, horizon="1", overlap=overlap)

    with pytest.raises(DataError, match=r"test labels: .*no up among"):
        judge(np.minimum(truth, 1), truth)
    with pytest.raises(DataError, match="probabilities of shape"):
        judge(truth, np.ones((3, 3)))
    with pytest.raises(DataError, match="sum to 1 were expected"):
        judge(truth, np.ones((120, 3)))
    with pytest.raises(DataError, match="10 times the horizon of 13 samples"):
        judge(truth, truth, overlap=13)
    with pytest.raises(DataError, match="at least one sample was expected; found 0"):
        judge(truth, truth, overlap=0)
