"""Compiled code and onnxruntime say what torch says; a training can stop, go on and be done again."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_sets import NAMES, drawn

from mmkit import model_folder
from mmkit.errors import DataError, RunError, UsageError
from mmkit.features import Features, level_names
from mmkit.interfaces import ModelContext, SignalModel, TrainingContext, TrainingSet, TrainingStep
from mmkit.signal_models import macro_f1
from mmkit.testing import BTCUSDT
from mmkit_lstm import checkpoint, kernel, scaling
from mmkit_lstm.model import GraphModel, LstmConfig, LstmModel, load
from mmkit_lstm.network import Lstm
from mmkit_lstm.saved import GRAPH, TENSORS, Head, pack, unpack
from mmkit_lstm.settings import LstmTraining, build_trainer
from mmkit_lstm.trainer import LstmTrainer

Floats = npt.NDArray[np.float64]
TRAIN, VALID = drawn(1500, seed=1), drawn(500, seed=2)
CONTEXT = TrainingContext(NAMES, 6)
SMALL: dict[str, Any] = {
    "lstm": (8,),
    "dense": (4,),
    "batch": 128,
    "learning_rate": 0.02,
    "threads": 1,
}


def loaded(folder: Path) -> SignalModel:
    return load(LstmConfig(), ModelContext(folder))


def trainer_of(scratch: Path | None = None, **more: Any) -> LstmTrainer:
    names = level_names(1) if more.get("network") == "deeplob" else NAMES
    context = TrainingContext(names, 6, scratch)
    trainer = build_trainer(LstmTraining(**(SMALL | {"epochs": 3} | more)), context)
    assert isinstance(trainer, LstmTrainer)
    return trainer


def fit(trainer: LstmTrainer, seed: int = 7, **more: Any) -> list[TrainingStep]:
    steps: list[TrainingStep] = []
    arguments = {"stop": lambda: False} | more
    trainer.fit(TRAIN, VALID, seed=seed, progress=steps.append, **arguments)
    return steps


def files(trainer: LstmTrainer, folder: Path) -> tuple[bytes, bytes]:
    trainer.save(folder, {})
    return (folder / TENSORS).read_bytes(), (folder / GRAPH).read_bytes()


def numbers(layer: torch.nn.Module) -> Any:
    return tuple(parameter.detach().numpy() for parameter in layer.parameters())


SIZES = st.integers(1, 19)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    features=SIZES,
    window=st.integers(1, 10),
    lstm=st.lists(SIZES, min_size=1, max_size=3),
    dense=st.lists(SIZES, max_size=2),
    size=st.sampled_from([0.1, 1.0, 30.0]),
)
def test_the_compiled_network_equals_torch(
    seed: int, features: int, window: int, lstm: list[int], dense: list[int], size: float
) -> None:
    torch.manual_seed(seed)
    network = Lstm(features, lstm, dense, 0.2).eval()
    draw = np.random.default_rng(seed)
    windows = draw.normal(0, size, (5, window, features))
    offset, factor = draw.normal(size=features), draw.uniform(0.5, 2, features)
    weights = kernel.lay(
        offset,
        factor,
        [numbers(layer) for layer in network.lstm],
        [numbers(layer) for layer in network.dense],
    )
    scaled = torch.from_numpy(((windows - offset) * factor).astype(np.float32))
    with torch.inference_mode():
        expected = torch.softmax(network(scaled), 1).numpy()
    out = np.empty((5, 3))
    assert kernel.predict_batch(windows, *weights, out) == -1
    assert np.abs(out - expected).max() < 2e-6  # single precision, summed up in another order
    for window_now, said in zip(windows, out, strict=True):
        one = np.empty(3)
        assert kernel.predict(window_now, *weights, one)
        assert one.tolist() == said.tolist()


def test_the_sigmoid_is_that_of_double_precision_to_the_last_digits() -> None:
    x = np.concatenate([np.linspace(-110, 110, 100_001), [0.0, -1e30, 1e30]]).astype(np.float32)
    found = np.array([kernel._sigmoid.py_func(value) for value in x[::500]])
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-x[::500].astype(np.float64)))
    assert np.abs(found - expected).max() < 1.2e-7


@pytest.mark.parametrize("network", ["lstm", "deeplob"])
def test_training_twice_gives_the_same_files_and_they_say_what_torch_says(
    tmp_path: Path, network: str
) -> None:
    trainer = trainer_of(network=network, epochs=1)
    fit(trainer)
    first = files(trainer, tmp_path / "a")
    again = trainer_of(network=network, epochs=1)
    torch.rand(3)  # what others draw makes no difference
    fit(again)
    assert files(again, tmp_path / "b") == first
    other = trainer_of(network=network, epochs=1)
    fit(other, seed=8)
    assert files(other, tmp_path / "c") != first

    model = loaded(tmp_path / "a")
    assert isinstance(model, LstmModel if network == "lstm" else GraphModel)
    batch = model.predict_batch(VALID.windows)
    one = [model.predict(window) for window in VALID.windows[:50]]
    assert np.abs(batch[:50] - np.array(one)).max() < 1e-6
    graph = GraphModel(first[1], unpack(first[0], "")[1], 6, model.names, tmp_path / "a")
    assert np.abs(batch - graph.predict_batch(VALID.windows)).max() < 2e-6
    with pytest.raises(DataError, match="the given window 1: values near those of the training"):
        model.predict_batch(VALID.windows[:2] * np.array([1, 1e60])[:, None, None])
    with pytest.raises(DataError, match="the current window 0: values near those"):
        model.predict(VALID.windows[0] * 1e60)
    plain = trainer._network()
    plain.load_state_dict(trainer._best)
    with torch.inference_mode():
        said = torch.softmax(plain.eval()(trainer._scaled(VALID.windows)), 1).numpy()
    assert np.abs(batch - said).max() < 2e-6


def test_it_learns_what_only_the_sequence_tells(tmp_path: Path) -> None:
    trainer = trainer_of(lstm=(16,), epochs=12)
    steps = fit(trainer)
    trainer.save(tmp_path / "m", {})
    model = loaded(tmp_path / "m")
    f1 = macro_f1(VALID.labels, model.predict_batch(VALID.windows).argmax(1))
    assert f1 == pytest.approx(max(step.f1 for step in steps), abs=0.005)
    assert f1 > 0.75  # the last sample alone gives about 0.6
    assert steps[-1].loss < 0.7 * steps[0].loss


def test_a_training_that_stopped_and_went_on_ends_with_the_same_files(tmp_path: Path) -> None:
    whole = trainer_of(epochs=4)
    fit(whole)
    first = trainer_of(tmp_path / "scratch", epochs=4)
    seen: list[TrainingStep] = []
    asked = iter(range(1000))
    first.fit(TRAIN, VALID, seed=7, progress=seen.append, stop=lambda: next(asked) > 30)
    assert 0 < len(seen) < 4  # twelve steps an epoch: stopped in the third
    second = trainer_of(tmp_path / "scratch", epochs=4)
    rest = fit(second, resume=tmp_path / "scratch")
    assert [step.done for step in rest] == [3, 4]
    assert files(second, tmp_path / "b") == files(whole, tmp_path / "a")


def test_a_stop_keeps_the_best_so_far(tmp_path: Path) -> None:
    trainer = trainer_of(epochs=50)
    asked = iter(range(1000))
    steps = fit(trainer, stop=lambda: next(asked) > 5)
    assert len(steps) == 1
    trainer.save(tmp_path / "m", {})
    predicted = loaded(tmp_path / "m").predict_batch(VALID.windows).argmax(1)
    assert macro_f1(VALID.labels, predicted) == pytest.approx(steps[0].f1, abs=0.005)
    fit(trainer, stop=lambda: True)
    with pytest.raises(RunError, match="nothing was trained"):
        trainer.save(tmp_path / "n", {})


def test_training_ends_when_f1_gets_no_better_and_keeps_the_best(tmp_path: Path) -> None:
    trainer = trainer_of(epochs=100, patience=2)
    steps = fit(trainer)
    assert len(steps) < 100
    assert max(steps[-1].f1, steps[-2].f1) < steps[-1].best_f1
    trainer.save(tmp_path / "m", {})
    predicted = loaded(tmp_path / "m").predict_batch(VALID.windows).argmax(1)
    assert macro_f1(VALID.labels, predicted) == pytest.approx(steps[-1].best_f1, abs=1e-9)


@pytest.mark.parametrize("change", ["seed", "config", "data"])
def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, change: str) -> None:
    fit(trainer_of(tmp_path, epochs=1))
    trainer = trainer_of(tmp_path, **({"clip": 2.0} if change == "config" else {}))
    train = drawn(1500, seed=9) if change == "data" else TRAIN
    with pytest.raises(DataError, match="a checkpoint of the same data, config and seed was"):
        trainer.fit(
            train,
            VALID,
            seed=8 if change == "seed" else 7,
            progress=lambda _: None,
            stop=lambda: False,
            resume=tmp_path,
        )


def test_a_checkpoint_that_is_damaged_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a checkpoint was expected; found none; leave out"):
        fit(trainer_of(tmp_path), resume=tmp_path)
    fit(trainer_of(tmp_path, epochs=1))
    path = tmp_path / checkpoint.FILE
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="a whole checkpoint was expected; found something else"):
        fit(trainer_of(tmp_path), resume=tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_asked_for_and_not_there_is_an_error() -> None:
    with pytest.raises(UsageError, match="device: cuda: a GPU was asked for; found none"):
        trainer_of(device="cuda")
    assert trainer_of(device="auto").device == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_used_and_gives_the_same_files_each_time(tmp_path: Path) -> None:
    trainers = [trainer_of(), trainer_of(device="cuda")]
    for trainer in trainers:
        assert trainer.device == "cuda"
        fit(trainer)
    assert files(trainers[0], tmp_path / "a") == files(trainers[1], tmp_path / "b")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (level_names(3)[:-1], "found 11 features that differ: missing 'bid_size_3'; write"),
        (("spread", *level_names(2)), "9 features that differ: unknown 'spread'; missing 'ask_pri"),
        (level_names(2)[::-1], "place 0: 'ask_price_1' was expected; found 'bid_size_2'; place 1:"),
        (
            ("bid_price_1", "bid_size_1", "ask_price_1", "ask_size_1"),
            "place 0: 'ask_price_1' was expected; found 'bid_price_1'; place 1: 'ask_size_1' was",
        ),
        (NAMES, r"unknown 'imbalance_1'; unknown 'spread'; .* missing 'bid_size_1'; write"),
        (tuple(f"x{n}" for n in range(40)), r"unknown 'x7'; and 72 more; write"),
    ],
)
def test_deeplob_says_which_of_its_four_features_a_level_are_others(
    names: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as error:
        build_trainer(LstmTraining(network="deeplob"), TrainingContext(names, 6))
    assert "'features: [{name: levels, levels: 10}]', or 'network: lstm'" in str(error.value)


def test_deeplob_takes_levels_as_features_have_them() -> None:
    names = Features([{"name": "levels", "levels": 3}], BTCUSDT).names
    build_trainer(LstmTraining(network="deeplob"), TrainingContext(names, 6))


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    with pytest.raises(RunError, match="a finite loss was expected; found"):
        trainer_of(scaling="none").fit(
            TrainingSet(TRAIN.windows * 1e60, TRAIN.labels),
            VALID,
            seed=1,
            progress=lambda _: None,
            stop=lambda: False,
        )


def test_scaling_comes_from_the_training_data_and_ignores_what_never_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    windows = np.random.default_rng(0).normal(3, 5, (400, 2, 3))
    windows[:, :, 1] = 7
    last = windows[:, -1]
    offset, factor = scaling.fit(windows, "standard", ("a", "b", "c"))
    scaled = (last - offset) * factor
    assert scaled.mean(0) == pytest.approx([0, 0, 0], abs=1e-12)
    assert scaled.std(0) == pytest.approx([1, 0, 1])
    offset, factor = scaling.fit(windows, "minmax", ("a", "b", "c"))
    scaled = (last - offset) * factor
    assert (scaled.min(0).tolist(), scaled.max(0).tolist()) == ([0, 0, 0], [1, 0, 1])
    offset, factor = scaling.fit(windows, "none", ("a", "b", "c"))
    assert ((last - offset) * factor == last).all()
    assert caplog.messages == ["constant in the training data, and left out: b"] * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    trainer = trainer_of(epochs=1)
    fit(trainer)
    trainer.save(tmp_path_factory.mktemp("saved") / "m", {})
    return tmp_path_factory.getbasetemp() / "saved0" / "m"


def test_another_window_nan_and_infinite_values_are_refused(folder: Path) -> None:
    model = loaded(folder)
    _, tensors = unpack((folder / TENSORS).read_bytes(), "")
    graph = GraphModel((folder / GRAPH).read_bytes(), tensors, 6, NAMES, folder)
    windows = VALID.windows[:3].copy()
    windows[2, 1, 3] = np.nan
    for one in (model, graph):
        with pytest.raises(DataError, match="a window of 6 samples was expected; found 5; wait"):
            one.predict(windows[0, 1:])
        with pytest.raises(
            DataError, match="feature 'return_1s' of the current window 0, sample -4"
        ):
            one.predict(windows[2])
        with pytest.raises(DataError, match="feature 'return_1s' of the given window 2, sample -4"):
            one.predict_batch(windows)
        with pytest.raises(DataError, match=re.escape("found shape (6, 2)")):
            one.predict_batch(windows[:, :, :2])


def again(folder: Path, tensors: dict[str, Any], head: Head | bytes) -> SignalModel:
    content = head if isinstance(head, bytes) else pack(head, tensors)
    model_folder.save(folder, {TENSORS: content}, {}, plugin="lstm", names=NAMES, window=6)
    return loaded(folder)


def test_tensors_that_are_not_those_of_the_network_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    content = (folder / TENSORS).read_bytes()
    head, tensors = unpack(content, "")
    assert isinstance(again(tmp_path / "m", tensors, head), LstmModel)
    key = "lstm.0.weight_hh_l0"
    wrong: list[tuple[dict[str, Any], str]] = [
        ({name: t for name, t in tensors.items() if name != key}, f"tensor '{key[:6]}"),
        (tensors | {key: tensors[key][:-1]}, "tensor 'lstm.0.weight_ih_l0': float32 of (28, 4)"),
        (
            tensors | {key: tensors[key].astype(np.float64)},
            "float32 of (32, 8) was expected; found",
        ),
        (tensors | {"more": tensors[key]}, "no other tensors were expected; found more"),
        (tensors | {key: tensors[key] * np.float32(np.nan)}, f"found others in {key}"),
    ]
    for changed, message in wrong:
        with pytest.raises(DataError, match=re.escape(message)):
            again(tmp_path / "m", changed, head)
    with pytest.raises(DataError, match="version 1 was expected; found 9"):
        again(tmp_path / "m", tensors, Head(version=9, network="lstm", lstm=1, dense=2))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_tensors_that_are_cut_off_anywhere_are_refused(folder: Path, data: st.DataObject) -> None:
    content = (folder / TENSORS).read_bytes()
    kept = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(DataError, match="a whole safetensors file of 'lstm' was expected"):
        unpack(content[:kept], "m")


def test_a_graph_that_is_none_is_refused(tmp_path: Path) -> None:
    ones = {"scaling.offset": np.zeros(4), "scaling.factor": np.ones(4)}
    with pytest.raises(DataError, match="an ONNX graph was expected; onnxruntime cannot read it"):
        GraphModel(b"nothing", ones, 6, NAMES, tmp_path)


def test_trading_imports_no_torch(folder: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; import numpy as np; import mmkit_lstm as plugin\n"
        "from mmkit.interfaces import ModelContext\n"
        "(provider,) = plugin.register_signal_models()\n"
        "plugin.register_signal_trainers()\n"
        "model = provider.build(provider.config(), ModelContext(Path(sys.argv[1])))\n"
        "print(sum(model.predict(np.zeros((6, 4)))))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert float(said.stdout) == pytest.approx(1)


FULL = """
import resource, signal, sys
from pathlib import Path
from learning_sets import NAMES, drawn
from mmkit.interfaces import TrainingContext
from mmkit_lstm.settings import LstmTraining, build_trainer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
context = TrainingContext(NAMES, 6, Path(sys.argv[1]))
trainer = build_trainer(LstmTraining(epochs=2, lstm=(8,), threads=1), context)
def first(step):
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
trainer.fit(drawn(500), drawn(500), seed=1, progress=first, stop=lambda: False)
"""


def test_when_the_disk_fills_the_checkpoint_before_stays(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
        env=None,
    )
    assert "the checkpoint cannot be written: File too large; the one before is" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FILE]


def test_windows_may_be_views_of_one_sequence(folder: Path) -> None:
    sequence = np.random.default_rng(0).uniform(-1, 1, (60, 4))
    view = np.lib.stride_tricks.sliding_window_view(sequence, 6, axis=0).transpose(0, 2, 1)
    model = loaded(folder)
    assert (model.predict_batch(view) == model.predict_batch(view.copy())).all()
    labels = (np.arange(len(view)) % 3).astype(np.int8)
    TrainingSet(view, labels).check(CONTEXT, "training")
