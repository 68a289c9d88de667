"""The shift with the best macro-F1, beside every shift of a grid tried one by one."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.learning import best_shift
from mmkit.signal_models import macro_f1

Floats = npt.NDArray[np.float64]


def drawn(seed: int, n: int, flat: float) -> tuple[npt.NDArray[np.int8], Floats]:
    """Return classes drawn from the softmax of scores, and the scores."""
    dice = np.random.default_rng(seed)
    lean = dice.normal(0, 2, n)
    scores = np.stack((-lean, np.full(n, flat), lean), axis=1)
    odds = np.exp(scores)
    odds /= odds.sum(axis=1, keepdims=True)
    truth = (dice.random(n)[:, np.newaxis] > odds.cumsum(axis=1)[:, :2]).sum(axis=1)
    return truth.astype(np.int8), scores


def f1(truth: npt.NDArray[np.int8], scores: Floats) -> float:
    return macro_f1(truth, scores.argmax(axis=1))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), flat=st.floats(-1, 3))
def test_no_other_shift_is_much_better(seed: int, flat: float) -> None:
    truth, scores = drawn(seed, 1_500, flat)
    found = f1(truth, scores + best_shift(truth, scores))
    tried = np.linspace(-4, 4, 33)
    best = max(
        f1(truth, scores + np.array([down, 0, up])) for down, up in itertools.product(tried, tried)
    )
    # It looks for the middle of a hill, and a tried one may stand on a spike of few samples.
    assert found > best - 0.012


@given(seed=st.integers(0, 10_000), by=st.floats(-50, 50))
def test_what_is_added_to_all_three_scores_changes_nothing(seed: int, by: float) -> None:
    truth, scores = drawn(seed, 200, 1.0)
    # Whole quarters, so that adding does not round.
    scores, by = np.round(scores * 4) / 4, round(by * 4) / 4
    assert np.array_equal(best_shift(truth, scores), best_shift(truth, scores + by))


def test_where_moves_are_rare_the_plain_argmax_is_far_below() -> None:
    truth, scores = drawn(1, 20_000, 4.0)
    other, others = drawn(2, 20_000, 4.0)
    shift = best_shift(truth, scores)
    assert shift[1] == 0
    assert f1(other, others + shift) > f1(other, others) + 0.05


@pytest.mark.parametrize("certain", [0, 1, 2])
def test_scores_that_tell_nothing_apart_are_left_as_they_are_or_call_one_class(
    certain: int,
) -> None:
    truth = np.arange(300, dtype=np.int8) % 3
    scores = np.zeros((300, 3))
    scores[:, certain] = 1
    calls = (scores + best_shift(truth, scores)).argmax(axis=1)
    assert len(set(calls.tolist())) == 1


def test_scores_that_are_right_are_left_alone() -> None:
    truth = np.arange(300, dtype=np.int8) % 3
    assert np.array_equal(best_shift(truth, np.eye(3)[truth] * 100), np.zeros(3))
