from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_market import market

from mmkit.errors import DataError
from mmkit.learning import (
    ImbalanceRule,
    LabelRule,
    calibration,
    chance_f1,
    confusion,
    majority,
    scores,
)
from mmkit.learning.metrics import macro_f1, table

classes = st.integers(0, 2)
pairs = st.lists(st.tuples(classes, classes), min_size=1, max_size=60)


def by_hand(pairs: list[tuple[int, int]]) -> tuple[list[float], list[float], list[float]]:
    """Precision, recall and F1 by class, from their definitions."""
    precision, recall, f1 = [], [], []
    for one in range(3):
        right = sum(was == one == called for was, called in pairs)
        wrong = sum(called == one != was for was, called in pairs)
        missed = sum(was == one != called for was, called in pairs)
        precision.append(right / (right + wrong) if right + wrong else 0.0)
        recall.append(right / (right + missed) if right + missed else 0.0)
        f1.append(2 * right / (2 * right + wrong + missed) if right + wrong + missed else 0.0)
    return precision, recall, f1


@given(pairs)
def test_figures_are_what_their_definitions_say(pairs: list[tuple[int, int]]) -> None:
    truth, called = (np.array(column, np.int8) for column in zip(*pairs, strict=True))
    found = scores(confusion(truth, called))
    precision, recall, f1 = by_hand(pairs)
    assert found.precision == pytest.approx(precision)
    assert found.recall == pytest.approx(recall)
    assert found.f1 == pytest.approx(f1)
    assert found.macro_f1 == pytest.approx(sum(f1) / 3)
    assert found.accuracy == pytest.approx(sum(was == called for was, called in pairs) / len(pairs))
    assert found.samples == len(pairs)
    assert found.confusion == [[pairs.count((was, said)) for said in range(3)] for was in range(3)]


def test_a_class_never_called_counts_as_in_scikit_learn() -> None:
    dice = np.random.default_rng(9)
    truth, called = dice.integers(0, 3, 500), dice.integers(0, 3, 500)
    called[called == 0] = 1
    # f1_score(truth, called, average="macro", labels=[0, 1, 2], zero_division=0) of scikit-learn, and
    # precision_score and recall_score with average=None.
    found = scores(confusion(truth.astype(np.int8), called.astype(np.int8)))
    assert found.macro_f1 == pytest.approx(0.26003614073627895, rel=1e-12)
    assert found.precision == pytest.approx([0, 0.30523256, 0.39102564], abs=1e-8)
    assert found.recall == pytest.approx([0, 0.66878981, 0.33516484], abs=1e-8)
    assert "0.669" in table(found)[2]


def test_many_matrices_at_once_are_as_one_by_one() -> None:
    many = np.random.default_rng(1).integers(0, 9, (4, 5, 3, 3))
    together = macro_f1(many)
    assert together.shape == (4, 5)
    assert together[2, 3] == scores(many[2, 3]).macro_f1


def test_chance_is_what_shuffled_calls_get() -> None:
    dice = np.random.default_rng(2)
    truth = dice.choice(3, 3_000, p=[0.2, 0.5, 0.3]).astype(np.int8)
    called = dice.choice(3, 3_000, p=[0.1, 0.3, 0.6]).astype(np.int8)
    shuffled = [float(macro_f1(confusion(truth, dice.permutation(called)))) for _ in range(400)]
    assert chance_f1(confusion(truth, called)) == pytest.approx(np.mean(shuffled), abs=0.002)
    assert chance_f1(confusion(truth, truth)) == pytest.approx(1 / 3)


def test_probabilities_that_come_true_as_often_as_they_say_have_no_calibration_error() -> None:
    dice = np.random.default_rng(3)
    said = dice.dirichlet((1, 1, 1), 100_000)
    truth = (dice.random((100_000, 1)) > said.cumsum(axis=1)).sum(axis=1).astype(np.int8)
    fine = calibration(truth, said)
    assert fine.ece < 0.005
    for curve in (fine.down, fine.flat, fine.up):
        assert sum(one.samples for one in curve) == 100_000
        for one in curve:
            assert one.low <= one.said <= one.high
            assert one.happened == pytest.approx(one.said, abs=4 * 0.5 / np.sqrt(one.samples))
    sure = said**4
    sure /= sure.sum(axis=1, keepdims=True)
    assert calibration(truth, sure).ece > 0.2


def test_a_calibration_curve_is_scikit_learns() -> None:
    dice = np.random.default_rng(9)
    for _ in range(2):
        dice.integers(0, 3, 500)
    up, came = dice.random(500), dice.random(500)
    truth = np.where(came < up**2, 2, 0).astype(np.int8)
    found = calibration(truth, np.column_stack((1 - up, np.zeros(500), up))).up
    # calibration_curve(truth == 2, up, n_bins=10) of scikit-learn: of the fifth bin, and of the last.
    assert (found[4].happened, found[4].said) == pytest.approx(
        (0.2830188679245283, 0.4584921683227727)
    )
    assert (found[9].happened, found[9].said) == pytest.approx(
        (0.8837209302325582, 0.9473263079923238)
    )


def test_an_ece_is_the_mean_distance_in_the_bins_of_the_class_called() -> None:
    said = np.array([[0.65, 0.2, 0.15], [0.1, 0.65, 0.25], [0.0, 0.05, 0.95]])
    found = calibration(np.array([0, 2, 2], np.int8), said)
    assert found.ece == pytest.approx((2 * abs(0.65 - 0.5) + 0.05) / 3)
    assert [one.samples for one in found.called] == [2, 1]


def test_forecasts_that_cannot_be_judged_are_refused() -> None:
    truth = np.array([0, 1, 2], np.int8)
    with pytest.raises(DataError, match="a forecast for each of 3 samples was expected; found 2"):
        confusion(truth, truth[:2])
    with pytest.raises(DataError, match=r"true classes: 0 \(down\).*found -1 in row 1 and 1 such"):
        confusion(np.array([0, -1], np.int8), truth[:2])
    with pytest.raises(DataError, match="at least one class"):
        confusion(truth[:0], truth[:0])
    with pytest.raises(DataError, match=r"shape \(3, 3\) were expected; found \(2, 3\)"):
        calibration(truth, np.full((2, 3), 1 / 3))
    for wrong in (np.nan, 0.5, -1.0):
        said = np.full((3, 3), 1 / 3)
        said[1, 2] = wrong
        with pytest.raises(DataError, match="in row 1 and 1 such rows"):
            calibration(truth, said)


@given(
    st.lists(
        st.tuples(st.sampled_from([-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0]), classes), max_size=40
    )
)
def test_the_rules_threshold_is_the_best_of_all_on_the_training_data(
    drawn: list[tuple[float, int]],
) -> None:
    drawn = [*drawn, (0.5, 2), (-0.5, 0), (0.1, 1)]
    imbalance = np.array([one for one, _ in drawn])
    labels = np.array([label for _, label in drawn], np.int8)
    fitted = ImbalanceRule.fit(imbalance, labels)

    def f1(threshold: float) -> float:
        rule = ImbalanceRule(threshold=threshold)
        return float(macro_f1(confusion(labels, rule.predict(imbalance))))

    best = max(f1(threshold) for threshold in np.linspace(0, 1, 201))
    assert f1(fitted.threshold) == pytest.approx(best, abs=1e-12)


def test_baselines_take_known_labels_only_and_refuse_what_cannot_be() -> None:
    labels = np.array([-1, -1, -1, 2, 2, 0, 1], np.int8)
    assert majority(labels) == 2
    noise = np.array([1.0, 1.0, 1.0, 0.9, 0.8, -0.9, 0.0])
    fitted = ImbalanceRule.fit(noise, labels)
    assert fitted.predict(noise[3:]).tolist() == [2, 2, 0, 1]
    with pytest.raises(DataError, match="no down and no flat among"):
        ImbalanceRule.fit(noise[:5], labels[:5])
    for wrong in (1.01, np.nan):
        with pytest.raises(DataError, match=r"from -1 to 1, was expected; found .* in row 1"):
            fitted.predict(np.array([0.0, wrong]))
    with pytest.raises(DataError, match="training labels"):
        majority(labels[:3])


def test_the_rule_finds_what_is_there() -> None:
    made = market(20_000, seed=6).samples
    rule = LabelRule(horizon=10, quantile=1 / 3)
    moves = rule.moves(made)
    labels = rule.fit(moves[:10_000]).labels(moves)
    fitted = ImbalanceRule.fit(made.values[:10_000, 0], labels[:10_000])
    test = slice(10_000, 19_990)
    assert macro_f1(confusion(labels[test], fitted.predict(made.values[test, 0]))) > 0.5
