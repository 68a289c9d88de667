"""The plain rule, and its threshold."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_sets import NAMES, drawn

from mmkit import model_folder
from mmkit.errors import DataError, UsageError
from mmkit.interfaces import ModelContext, TrainingContext, TrainingSet
from mmkit.signal_models import macro_f1
from mmkit_signals.imbalance import FILE, ImbalanceConfig, ImbalanceModel
from mmkit_signals.trainer import ImbalanceTrainer, ImbalanceTraining, best_threshold

CONTEXT = TrainingContext(NAMES, 6)


def loaded(folder: Path) -> ImbalanceModel:
    return ImbalanceModel(ImbalanceConfig(), ModelContext(folder))


def saved(folder: Path, threshold: float = 0.25) -> ImbalanceModel:
    text = json.dumps({"feature": "imbalance_1", "threshold": threshold}).encode()
    model_folder.save(folder, {FILE: text}, {}, plugin="imbalance", names=NAMES, window=6)
    return loaded(folder)


@pytest.mark.parametrize(
    ("imbalance", "said"),
    [(-1, 0), (-0.251, 0), (-0.25, 1), (0, 1), (0.25, 1), (0.251, 2), (1, 2)],
)
def test_above_the_threshold_is_up_and_below_its_negative_down(
    tmp_path: Path, imbalance: float, said: int
) -> None:
    model = saved(tmp_path / "m")
    windows = np.zeros((2, 6, 4))
    windows[0, :-1, 0] = -imbalance  # only the last sample counts
    windows[0, -1, 0] = imbalance
    assert model.predict(windows[0])[said] == 1
    assert model.predict_batch(windows).tolist() == [list(model.predict(w)) for w in windows]


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 2)), min_size=1, max_size=40))
def test_the_threshold_is_the_best_of_all_that_are_tried_one_by_one(
    drawn: list[tuple[int, int]],
) -> None:
    imbalance = np.array([value / 4 for value, _ in drawn])
    labels = np.array([label for _, label in drawn], np.int8)

    def score(threshold: float) -> float:
        said = np.where(imbalance > threshold, 2, np.where(imbalance < -threshold, 0, 1))
        return macro_f1(labels, said)

    found = best_threshold(imbalance, labels)
    assert score(found) == pytest.approx(max(score(tried / 8) for tried in range(9)))


def test_the_threshold_comes_from_the_training_data_alone(tmp_path: Path) -> None:
    train = drawn(2000, seed=1)
    for name, valid in (("a", drawn(500, seed=2)), ("b", drawn(700, seed=3))):
        trainer = ImbalanceTrainer(ImbalanceTraining(), CONTEXT)
        trainer.fit(train, valid, seed=0, progress=lambda _: None, stop=lambda: False)
        trainer.save(tmp_path / name, {"instrument": "x"})
    a, b = ((tmp_path / name / FILE).read_bytes() for name in "ab")
    assert a == b
    assert loaded(tmp_path / "a").rule.threshold == best_threshold(
        train.windows[:, -1, 0], train.labels
    )


def test_what_is_no_imbalance_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found 'imbalance_5'; add it to the features"):
        ImbalanceTrainer(ImbalanceTraining(feature="imbalance_5"), CONTEXT)
    data = drawn(200)
    wide = TrainingSet(data.windows * 3, data.labels)
    trainer = ImbalanceTrainer(ImbalanceTraining(), CONTEXT)
    with pytest.raises(DataError, match="an imbalance from -1 to 1 was expected; found"):
        trainer.fit(wide, data, seed=0, progress=lambda _: None, stop=lambda: False)
    model = saved(tmp_path / "m")
    windows = np.zeros((2, 6, 4))
    windows[1, 0, 1] = np.inf
    with pytest.raises(DataError, match="feature 'spread' of the given window 1, sample -5"):
        model.predict_batch(windows)
    with pytest.raises(DataError, match="a window of 6 samples was expected; found 2"):
        model.predict(np.zeros((2, 4)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"feature": "imbalance_1"', "a rule was expected; found something else"),
        ('{"feature": "imbalance_1", "threshold": 2}', "a rule was expected"),
        ('{"feature": "x", "threshold": 0.1}', "a feature of the card was expected (imbalance_1"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused(tmp_path: Path, text: str, message: str) -> None:
    files = {FILE: text.encode()}
    model_folder.save(tmp_path / "m", files, {}, plugin="imbalance", names=NAMES, window=6)
    with pytest.raises(DataError, match=re.escape(message)):
        loaded(tmp_path / "m")
