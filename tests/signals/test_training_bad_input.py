"""What cannot be learned from or predicted of is refused, by name."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_sets import NAMES, drawn

from mmkit.errors import DataError, RunError, UsageError
from mmkit.interfaces import SignalTrainer, TrainingContext, TrainingSet
from mmkit.signal_models import differences, macro_f1
from mmkit_lightgbm.trainer import LightgbmTrainer, LightgbmTraining
from mmkit_lstm.settings import LstmTraining, build_trainer
from mmkit_signals.trainer import ImbalanceTrainer, ImbalanceTraining

CONTEXT = TrainingContext(NAMES, 6)

TRAINERS: dict[str, Callable[[], SignalTrainer]] = {
    "imbalance": lambda: ImbalanceTrainer(ImbalanceTraining(), CONTEXT),
    "lightgbm": lambda: LightgbmTrainer(LightgbmTraining(rounds=2), CONTEXT),
    "lstm": lambda: build_trainer(LstmTraining(epochs=1, lstm=(4,), dense=()), CONTEXT),
}
GOOD = drawn(200)


def with_value(value: float) -> TrainingSet:
    windows = GOOD.windows.copy()
    windows[7, 4, 2] = value
    return TrainingSet(windows, GOOD.labels)


CASES: dict[str, tuple[TrainingSet, str]] = {
    "empty": (
        TrainingSet(GOOD.windows[:0], GOOD.labels[:0]),
        "split is empty: no window of 6 samples has a label",
    ),
    "short": (
        TrainingSet(GOOD.windows[:, 1:], GOOD.labels),
        "windows: shape (200, 6, 4) was expected, of 200 labels; found (200, 5, 4)",
    ),
    "nan": (with_value(np.nan), "window 7, sample -1: a finite number was expected; found nan (1"),
    "infinite": (with_value(-np.inf), "feature 'ofi_1_1s' of the "),
    "one class": (
        TrainingSet(GOOD.windows, np.where(GOOD.labels == 1, 2, GOOD.labels).astype(np.int8)),
        "all of down, flat and up were expected; found none of flat (down",
    ),
    "unknown future": (
        TrainingSet(GOOD.windows, np.where(GOOD.labels == 1, -1, GOOD.labels).astype(np.int8)),
        "0, 1 or 2 was expected; found -1 at",
    ),
}


def fit(trainer: SignalTrainer, train: TrainingSet, valid: TrainingSet, **more: Any) -> None:
    trainer.fit(train, valid, seed=1, progress=lambda _: None, stop=lambda: False, **more)


@pytest.mark.parametrize("split", ["training", "validation"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", TRAINERS)
def test_a_split_that_cannot_be_used_is_refused(name: str, case: str, split: str) -> None:
    bad, message = CASES[case]
    splits = (bad, GOOD) if split == "training" else (GOOD, bad)
    with pytest.raises(DataError, match=re.escape(message)) as raised:
        fit(TRAINERS[name](), *splits)
    assert f"the {split} " in str(raised.value)


@pytest.mark.parametrize("name", TRAINERS)
def test_nothing_is_saved_that_was_not_trained(name: str, tmp_path: Any) -> None:
    with pytest.raises(RunError, match="nothing was trained"):
        TRAINERS[name]().save(tmp_path / "m", {})
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("name", ["imbalance", "lightgbm"])
def test_what_trains_in_one_go_says_that_it_cannot_resume(name: str, tmp_path: Any) -> None:
    with pytest.raises(UsageError, match=r"trains in one go .* leave out --resume"):
        fit(TRAINERS[name](), GOOD, GOOD, resume=tmp_path)


def test_features_are_named_once_and_there_is_a_window() -> None:
    with pytest.raises(DataError, match=r"must have different names; found twice: a$"):
        TrainingContext(("a", "b", "a"), 1)
    with pytest.raises(DataError, match="at least one feature was expected"):
        TrainingContext((), 1)
    with pytest.raises(DataError, match="at least 1 sample was expected; found 0"):
        TrainingContext(("a",), 0)


def test_each_difference_of_columns_is_named() -> None:
    assert differences(("a", "b"), ("a", "b")) == []
    assert differences(("imbalance_1", "b", "c"), ("imbalance_5", "c")) == [
        "unknown 'imbalance_5' (did you mean 'imbalance_1'?)",
        "missing 'imbalance_1'",
        "missing 'b'",
    ]
    assert differences(("a", "b", "c"), ("a", "c", "b")) == [
        "place 1: 'b' was expected; found 'c'",
        "place 2: 'c' was expected; found 'b'",
    ]
    assert differences(("a", "b"), ("a", "b", "a")) == ["twice 'a'"]


COLUMNS = st.lists(st.sampled_from("abcd"), max_size=5)


@given(COLUMNS, COLUMNS)
def test_columns_differ_exactly_if_something_is_said(one: list[str], other: list[str]) -> None:
    one = list(dict.fromkeys(one))
    assert (differences(one, other) == []) == (one == other)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=50))
def test_macro_f1_is_the_mean_of_three_f1s_counted_by_hand(pairs: list[tuple[int, int]]) -> None:
    scores = []
    for number in range(3):
        hits = sum(a == b == number for a, b in pairs)
        wrong = sum((a == number) != (b == number) for a, b in pairs)
        scores.append(2 * hits / (2 * hits + wrong) if hits + wrong else 0.0)
    labels, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    assert macro_f1(labels, predicted) == pytest.approx(sum(scores) / 3)
