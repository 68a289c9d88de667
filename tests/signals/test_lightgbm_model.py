"""The compiled walk says what LightGBM says; the training gives the same text each time."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from learning_sets import NAMES, drawn

from mmkit import model_folder
from mmkit.errors import DataError, UsageError
from mmkit.interfaces import ModelContext, TrainingContext, TrainingStep
from mmkit.signal_models import macro_f1
from mmkit_lightgbm.inputs import flat, input_names
from mmkit_lightgbm.model import FILE, LightgbmConfig, LightgbmModel
from mmkit_lightgbm.text import read
from mmkit_lightgbm.trainer import LightgbmTrainer, LightgbmTraining

Floats = npt.NDArray[np.float64]
CONTEXT = TrainingContext(NAMES, 6)
TRAIN, VALID = drawn(3000, seed=1), drawn(1000, seed=2)


def loaded(folder: Path) -> LightgbmModel:
    return LightgbmModel(LightgbmConfig(), ModelContext(folder))


def model_of(text: str, folder: Path, names: tuple[str, ...], window: int = 1) -> LightgbmModel:
    files = {FILE: text.encode()}
    model_folder.save(folder, files, {}, plugin="lightgbm", names=names, window=window)
    return loaded(folder)


def boosted(inputs: Floats, labels: Any, rounds: int = 10, **more: Any) -> lightgbm.Booster:
    parameters = {
        "objective": "multiclass",
        "num_class": 3,
        "verbosity": -1,
        "num_threads": 1,
        "min_data_in_leaf": 5,
        "seed": 3,
        **more,
    }
    names = [f"f{number}" for number in range(inputs.shape[1])]
    return lightgbm.train(parameters, lightgbm.Dataset(inputs, labels, feature_name=names), rounds)


def trained(**more: Any) -> LightgbmTrainer:
    trainer = LightgbmTrainer(LightgbmTraining(rounds=40, **more), CONTEXT)
    trainer.fit(TRAIN, VALID, seed=7, progress=lambda _: None, stop=lambda: False)
    return trainer


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 1000),
    leaves=st.sampled_from([2, 3, 31, 127]),
    missing=st.booleans(),
    zeros=st.booleans(),
)
@example(seed=2, leaves=2, missing=False, zeros=False)  # a threshold of -1e-35, below is no 0
def test_the_walk_equals_the_library(
    tmp_path_factory: Any, seed: int, leaves: int, missing: bool, zeros: bool
) -> None:
    """Trees that know what to do where a value is missing do as the others where none is."""
    draw = np.random.default_rng(seed)
    inputs = np.round(draw.normal(size=(400, 4)), 1)
    signal = inputs[:, 0] + inputs[:, 1] * inputs[:, 2]
    if missing:
        inputs[draw.random(inputs.shape) < 0.2] = np.nan
    if zeros:
        inputs[draw.random(inputs.shape) < 0.2] = 0
    booster = boosted(inputs, np.digitize(signal, [-0.5, 0.5]), num_leaves=leaves)
    text = booster.model_to_string()
    model = model_of(text, tmp_path_factory.mktemp("m") / "m", ("f0", "f1", "f2", "f3"))
    thresholds = read(text).threshold[:50, None]  # equal goes left
    asked = np.concatenate(
        [
            inputs[np.isfinite(inputs).all(1)],
            draw.normal(size=(200, 4)),
            np.zeros((1, 4)),
            np.full((1, 4), 1e-36),
            np.repeat(thresholds[np.isfinite(thresholds).all(1)], 4, 1),
        ]
    )
    expected = booster.predict(asked, num_threads=1)
    found = model.predict_batch(asked[:, None, :])
    assert np.abs(found - expected).max() <= 1e-12
    assert [model.predict(window[None]) for window in asked] == [tuple(row) for row in found]


def test_trees_of_one_leaf_are_walked_too(tmp_path: Path) -> None:
    inputs = np.ones((90, 2))
    booster = boosted(inputs, np.arange(90) % 3, rounds=2)
    model = model_of(booster.model_to_string(), tmp_path / "m", ("f0", "f1"))
    expected = booster.predict(np.zeros((1, 2)))
    assert model.predict(np.zeros((1, 2))) == pytest.approx(tuple(expected[0]), abs=1e-12)


def test_training_twice_gives_the_same_file_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        trainer = LightgbmTrainer(LightgbmTraining(rounds=20), CONTEXT)
        trainer.fit(TRAIN, VALID, seed=seed, progress=lambda _: None, stop=lambda: False)
        trainer.save(tmp_path / name, {})
    a, b, c = ((tmp_path / name / FILE).read_bytes() for name in "abc")
    assert a == b != c


def test_it_learns_what_is_there_and_keeps_the_best_round(tmp_path: Path) -> None:
    steps: list[TrainingStep] = []
    trainer = LightgbmTrainer(LightgbmTraining(rounds=60, patience=10, lags=(0, 1)), CONTEXT)
    trainer.fit(TRAIN, VALID, seed=7, progress=steps.append, stop=lambda: False)
    trainer.save(tmp_path / "m", {})
    model = loaded(tmp_path / "m")
    f1 = macro_f1(VALID.labels, model.predict_batch(VALID.windows).argmax(1))
    assert f1 == pytest.approx(steps[-1].best_f1)
    assert f1 == max(step.f1 for step in steps) > 0.75
    assert steps[-1].done < 60
    assert steps[-1].loss < steps[0].loss


def test_the_best_round_is_kept_also_where_all_rounds_are_done(tmp_path: Path) -> None:
    steps: list[TrainingStep] = []
    trainer = LightgbmTrainer(LightgbmTraining(rounds=55, patience=55), CONTEXT)
    trainer.fit(TRAIN, VALID, seed=7, progress=steps.append, stop=lambda: False)
    trainer.save(tmp_path / "m", {})
    predicted = loaded(tmp_path / "m").predict_batch(VALID.windows).argmax(1)
    assert len(steps) == 55
    assert steps[-1].f1 < steps[-1].best_f1
    assert macro_f1(VALID.labels, predicted) == pytest.approx(steps[-1].best_f1)


def test_the_flow_one_sample_ago_is_seen_only_with_lags(tmp_path: Path) -> None:
    found = {}
    for name, lags in (("last", (0,)), ("all", "all")):
        trained(lags=lags).save(tmp_path / name, {})
        predicted = loaded(tmp_path / name).predict_batch(VALID.windows).argmax(1)
        found[name] = macro_f1(VALID.labels, predicted)
    assert found["all"] > found["last"] + 0.1


def test_inputs_are_named_by_lag_and_lie_where_their_names_say() -> None:
    assert input_names(("imbalance_5", "age"), (0, 3)) == [
        "imbalance_5",
        "age",
        "imbalance_5@-3",
        "age@-3",
    ]
    windows = np.arange(2 * 5 * 2.0).reshape(2, 5, 2)
    assert flat(windows, (0, 3)).tolist() == [[8, 9, 2, 3], [18, 19, 12, 13]]


def test_a_stop_keeps_the_best_so_far(tmp_path: Path) -> None:
    steps: list[TrainingStep] = []
    trainer = LightgbmTrainer(LightgbmTraining(rounds=40), CONTEXT)
    trainer.fit(TRAIN, VALID, seed=7, progress=steps.append, stop=lambda: len(steps) >= 3)
    trainer.save(tmp_path / "m", {})
    predicted = loaded(tmp_path / "m").predict_batch(VALID.windows).argmax(1)
    assert len(steps) == 3
    assert macro_f1(VALID.labels, predicted) == pytest.approx(steps[-1].best_f1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    trained().save(tmp_path / "m", {})
    windows = VALID.windows[:3].copy()
    # Of another sample than the one the trees look at.
    windows[1, 2, 0] = value
    model = loaded(tmp_path / "m")
    message = f"feature 'imbalance_1' of the {{}} window {{}}, sample -3: a finite number was expected; found {value}"
    with pytest.raises(DataError, match=re.escape(message.format("given", 1))):
        model.predict_batch(windows)
    with pytest.raises(DataError, match=re.escape(message.format("current", 0))):
        model.predict(windows[1])


def test_trees_that_take_zero_for_missing_are_refused(tmp_path: Path) -> None:
    inputs = np.round(TRAIN.windows[:, -1])
    text = boosted(inputs, TRAIN.labels, zero_as_missing=True).model_to_string()
    with pytest.raises(DataError, match="zeros that are numbers were expected; found zero_as_m"):
        model_of(text, tmp_path / "m", ("f0", "f1", "f2", "f3"))


def test_another_window_or_other_features_are_refused(tmp_path: Path) -> None:
    trained().save(tmp_path / "m", {})
    model = loaded(tmp_path / "m")
    with pytest.raises(DataError, match="a window of 6 samples was expected; found 5; wait"):
        model.predict(np.zeros((5, 4)))
    with pytest.raises(DataError, match=r"of 4 features .* was expected; found shape \(6, 3\)"):
        model.predict(np.zeros((6, 3)))
    with pytest.raises(DataError, match=r"found \(6, 4\)"):
        model.predict_batch(np.zeros((6, 4)))
    with pytest.raises(
        DataError, match="trained with 4 features, and is given 3 that differ: missing 'ofi_1_1s'"
    ):
        model.check_names([name for name in NAMES if name != "ofi_1_1s"])


TEXT = boosted(TRAIN.windows[:300, -1], TRAIN.labels[:300], rounds=2).model_to_string()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("version=v4", "version=v9"), "version: 'v4' was expected; found 'v9'"),
        (("objective=multiclass num_class:3", "objective=binary"), "objective: "),
        (("num_cat=0", "num_cat=1"), "tree 0: num_cat: '0' was expected; found '1'"),
        (("is_linear=0", "is_linear=1"), "tree 0: is_linear: "),
        (("decision_type=", "decision_type=1 "), "tree 0: decision_type: "),
        (("leaf_value=", "leaf_value=nan "), "tree 0: leaf_value: "),
        (
            ("left_child=1", "left_child=0"),
            "each node and leaf was expected once, after its parent",
        ),
        (("split_feature=", "split_feature=x"), "split_feature: numbers were expected; found 'x"),
        (("feature_names=f0 f1", "feature_names=f0 q"), "the input 'q' is no feature of the card"),
        (("\nend of trees\n", ""), "'end of trees' was expected; found the end of the file"),
    ],
)
def test_text_that_is_not_such_a_model_is_refused(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    assert change[0] in TEXT
    with pytest.raises(DataError, match=re.escape(message)):
        model_of(TEXT.replace(*change, 1), tmp_path / "m", ("f0", "f1", "f2", "f3"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, TEXT.index("end of trees") + len("end of trees")))
def test_text_that_is_cut_off_anywhere_is_refused(kept: int) -> None:
    with pytest.raises(DataError):
        read(TEXT[:kept])


def test_a_split_by_category_is_refused() -> None:
    inputs = np.random.default_rng(0).integers(0, 5, (500, 2)).astype(float)
    data = lightgbm.Dataset(inputs, (inputs[:, 0] % 3).astype(int), categorical_feature=[0])
    parameters = {"objective": "multiclass", "num_class": 3, "verbosity": -1}
    text = lightgbm.train(parameters, data, 1).model_to_string()
    with pytest.raises(DataError, match="num_cat: '0' was expected; found '1'"):
        read(text)


def test_lags_and_names_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match=r"numbers from 0 to 5 were expected.* found 6, 9; take"):
        LightgbmTrainer(LightgbmTraining(lags=(0, 6, 9)), CONTEXT)
    with pytest.raises(UsageError, match="different numbers were expected"):
        LightgbmTrainer(LightgbmTraining(lags=(1, 1)), CONTEXT)
    with pytest.raises(UsageError, match="found 'a b', 'c:d'; rename them"):
        LightgbmTrainer(LightgbmTraining(), TrainingContext(("a b", "c:d", "e"), 1))


def test_predicting_needs_no_lightgbm(tmp_path: Path) -> None:
    trained().save(tmp_path / "m", {})
    code = (
        "import sys; sys.modules['lightgbm'] = None\n"
        "from pathlib import Path; import numpy as np; import mmkit_lightgbm as plugin\n"
        "from mmkit.interfaces import ModelContext\n"
        "(provider,) = plugin.register_signal_models()\n"
        "model = provider.build(provider.config(), ModelContext(Path(sys.argv[1])))\n"
        "print(sum(model.predict(np.zeros((6, 4)))))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(said.stdout) == pytest.approx(1)
