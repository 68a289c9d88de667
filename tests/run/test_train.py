"""Training with real commands: what is there is found, what is not there is not, and nothing looks ahead."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pexpect
import pytest
from in_process import Ended, mmkit
from processes import start
from signal_market import FEATURES, START, STEP, blind, configuration, tape

from mmkit.config import draft_plain
from mmkit.config.learning import Sampling, TrainingSection
from mmkit.features import level_names
from mmkit.learning import LabelRule, read_card
from mmkit.run.data_told import data_told
from mmkit.run.folds import folds_of
from mmkit.run.sampled import sample
from mmkit.run.signals_eval import predictions
from mmkit.tape import Tape

N = 6_000
STRATEGY = {"plugin": "join_best", "size": "1", "max_position": "1"}


@cache
def day(seed: int = 1) -> Tape:
    return tape(N, seed)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A model of the market, and the report."""
    folder = tmp_path_factory.mktemp("trained")
    ended = mmkit("train", "-c", configuration(folder, day()), "--json", cwd=folder)
    assert ended.status == 0, ended.stderr
    return folder, ended.json


def best_calls(market: Tape) -> float:
    """Return the macro-F1 of who knows the law: calls the side of the second level from the best threshold on."""
    second = sample(
        market, [{"name": "bid_volume", "levels": 2}, {"name": "ask_volume", "levels": 2}, "bid_size", "ask_size"], Sampling()
    )  # fmt: skip
    deep_bid, deep_ask, bid, ask = second.samples.values.T
    law = ((deep_bid - bid) - (deep_ask - ask)) / ((deep_bid - bid) + (deep_ask - ask))
    moved = np.sign(np.diff(second.samples.mid))
    half = len(moved) // 3
    law, moved = law[half:-1], moved[half:]
    found = []
    for threshold in np.linspace(0, 1, 101):
        said = np.sign(law) * (np.abs(law) > threshold)
        f1 = [
            2
            * ((said == one) & (moved == one)).sum()
            / max((said == one).sum() + (moved == one).sum(), 1)
            for one in (-1, 0, 1)
        ]
        found.append(float(np.mean(f1)))
    return max(found)


def test_what_the_plain_rule_cannot_see_is_learned_and_told(
    trained: tuple[Path, dict[str, Any]],
) -> None:
    folder, report = trained
    (one,) = report["horizons"]
    found = one["evaluation"]
    assert found["against_rule"]["difference"]["low"] > 0
    assert found["macro_f1"]["value"] > best_calls(day()) - 0.03
    # The plain rule looks at the first level, which tells nothing here.
    assert found["rule_macro_f1"]["value"] < found["macro_f1"]["value"] - 0.15
    assert report["warnings"] == []
    # What return looks back for is not known at first: left out, counted and told.
    assert report["looked"] == N
    assert report["unknown"] == {"return_500ms": 5}
    assert report["samples"] == N - 5
    # Two folds whose tests follow each other, each after its training and validation.
    first, second = one["folds"]
    for fold in (first, second):
        spans = fold["spans"]
        assert spans["training"]["end_ns"] < spans["validation"]["start_ns"]
        assert spans["validation"]["end_ns"] < spans["test"]["start_ns"]
    assert first["spans"]["test"]["end_ns"] < second["spans"]["test"]["start_ns"]
    assert one["tested"]["samples"] == sum(
        fold["spans"]["test"]["samples"] for fold in (first, second)
    )
    assert json.loads((folder / "model-day" / "report.json").read_text()) == report


def test_the_card_is_whole(trained: tuple[Path, dict[str, Any]]) -> None:
    folder, report = trained
    card = read_card(folder / "model-day")
    card.check_whole()
    card.check_names(report["features"])
    assert card.labels == LabelRule(horizon=1, threshold_bps=0.0)
    assert set(card.spans) == set(card.class_shares) == {"training", "validation", "test"}
    assert card.metrics["macro_f1"] == report["horizons"][0]["evaluation"]["macro_f1"]
    assert card.seed == 1
    assert set(card.libraries) == {"lightgbm", "numpy"}
    assert card.data == {"day.tape": sha256((folder / "day.tape").read_bytes()).hexdigest()}


def test_a_model_is_judged_on_another_day_as_on_its_own(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, report = trained
    other = configuration(tmp_path, day(2), "other")
    ended = mmkit("signals", "eval", folder / "model-day", "-c", other, "--json", cwd=tmp_path)
    assert ended.status == 0, ended.stderr
    (one,) = ended.json["horizons"]
    assert one["evaluation"]["against_rule"]["difference"]["low"] > 0
    before = report["horizons"][0]["evaluation"]["macro_f1"]
    assert before["low"] - 0.02 < one["evaluation"]["macro_f1"]["value"] < before["high"] + 0.02
    # The two days have the same times, which is what an overlap is known by.
    assert "the data holds what the model was made on" in ended.json["warnings"][0]
    told = mmkit("signals", "eval", folder / "model-day", "-c", other, cwd=tmp_path)
    assert "better than the plain rule at horizon 1" in told.stdout


def test_where_there_is_nothing_to_learn_chance_is_found_and_said(tmp_path: Path) -> None:
    """Moves that hang on nothing: what shuffled labels are."""
    config = configuration(tmp_path, tape(N, 3, blind))
    ended = mmkit("train", "-c", config, cwd=tmp_path)
    assert ended.status == 0, ended.stderr
    assert "warning: no better than the plain rule at horizon 1" in ended.stdout
    assert "no better than the plain rule at horizon 1" in ended.stderr
    report = json.loads((tmp_path / "model-day" / "report.json").read_text())
    found = report["horizons"][0]["evaluation"]
    assert found["macro_f1"]["low"] <= found["chance"] <= found["macro_f1"]["high"]
    assert not report["horizons"][0]["taker"]["total"]["low"] > 0


def test_what_comes_later_changes_no_feature_no_label_no_prediction_and_no_model(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    cut = 4_500
    one, other = day(), tape(N, 1, noise_from=cut)
    here, there = (sample(each, FEATURES, Sampling()) for each in (one, other))
    before = here.samples.ts < START + cut * STEP
    assert before.sum() == cut - 5
    assert np.array_equal(here.samples.values[before], there.samples.values[before])
    assert not np.array_equal(here.samples.values, there.samples.values)
    rule = LabelRule(horizon=20, threshold_bps=0.0)
    moves, others = rule.moves(here.samples), rule.moves(there.samples)
    known = here.samples.ts + 20 * STEP < START + cut * STEP
    assert np.array_equal(moves[known], others[known])
    assert not np.array_equal(moves[before], others[before])
    # Predictions of one model.
    plain = json.loads((trained[0] / "day.yml").read_text())
    plugins = draft_plain({**plain, "strategy": STRATEGY}).config()
    (_, rows, said), (_, other_rows, other_said) = (
        predictions(trained[0] / "model-day", plugins, each) for each in (one, other)
    )
    assert np.array_equal(rows, other_rows)
    assert np.array_equal(said[before], other_said[before])
    assert not np.array_equal(said, other_said)
    # And a model that is trained on what was before, whatever it is tested on.
    files = []
    for name, market in (("a", one), ("b", other)):
        made = configuration(tmp_path, market, name, folds=1, test=(N - cut) / N)
        text = json.loads(made.read_text())
        # A threshold that is found, in training data alone.
        text["labels"] = {"horizon": 5, "quantile": 0.4}
        made.write_text(json.dumps(text))
        assert mmkit("train", "-c", made, cwd=tmp_path).status == 0
        files.append((tmp_path / f"model-{name}" / "model.txt").read_bytes())
    assert files[0] == files[1]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_training_again_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    config = configuration(tmp_path, tape(2_000, 1), rounds=20)
    found = []
    for seed in (1, 1, 2):
        ended = mmkit("train", "-c", config, "--set", f"training.seed={seed}", cwd=tmp_path)
        assert ended.status == 0, ended.stderr
        found.append(contents(tmp_path / "model-day"))
    assert found[0] == found[1] != found[2]


def test_each_horizon_has_its_model_and_all_are_judged_together(tmp_path: Path) -> None:
    config = configuration(tmp_path, tape(2_500, 1), plugin="imbalance", window=3)
    text = json.loads(config.read_text())
    del text["training"]["rounds"], text["training"]["patience"]
    text["labels"] = {"horizon": [2, "500ms"], "quantile": 0.3}
    config.write_text(json.dumps(text))
    ended = mmkit("train", "-c", config, "--json", cwd=tmp_path)
    assert ended.status == 0, ended.stderr
    assert [one["horizon"] for one in ended.json["horizons"]] == ["2", "500ms"]
    rules = [read_card(tmp_path / "model-day" / name).labels for name in ("2", "500ms")]
    assert [(one.horizon, one.unit) for one in rules if one] == [
        (2, "updates"),
        (500_000_000, "ns"),
    ]
    # The plain rule itself: no difference, in figures and words.
    assert len(ended.json["warnings"]) == 2
    again = mmkit("signals", "eval", tmp_path / "model-day", "-c", config, "--json", cwd=tmp_path)
    assert {one["horizon"] for one in again.json["horizons"]} == {"2", "500ms"}


LSTM: dict[str, Any] = {
    "plugin": "lstm", "window": 4, "folds": 1, "lstm": [8], "dense": [], "epochs": 6, "patience": 6, "threads": 1,
    "device": "cpu", "test": 0.4, "batch": 64, "learning_rate": 0.01,
}  # fmt: skip


def lstm(folder: Path, name: str, **training: Any) -> Path:
    config = configuration(folder, tape(2_000, 1), name, **{**LSTM, **training})
    text = json.loads(config.read_text())
    del text["training"]["rounds"]
    config.write_text(json.dumps(text))
    return config


def test_ctrl_c_keeps_the_best_so_far_and_ends_with_130(
    tmp_path: Path,
) -> None:
    config = lstm(tmp_path, "stopped", epochs=100_000, patience=100_000)
    process = start("train", "-c", config, "--json", cwd=tmp_path)
    checkpoint = tmp_path / "model-stopped" / "checkpoints" / "fold-1" / "checkpoint.safetensors"
    end = time.monotonic() + 60
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["stopped"] is True
    assert read_card(tmp_path / "model-stopped").metrics["stopped"] is True
    judged = mmkit(
        "signals", "eval", tmp_path / "model-stopped", "-c", config, "--json", cwd=tmp_path
    )
    assert judged.status == 0, judged.stderr


def test_a_training_that_goes_on_ends_with_the_same_bytes(tmp_path: Path) -> None:
    config = lstm(tmp_path, "day")
    assert mmkit("train", "-c", config, cwd=tmp_path).status == 0
    straight = contents(tmp_path / "model-day")
    short = mmkit("train", "-c", config, "--set", "training.epochs=2", cwd=tmp_path)
    assert short.status == 0, short.stderr
    assert contents(tmp_path / "model-day") != straight
    assert mmkit("train", "-c", config, "--resume", cwd=tmp_path).status == 0
    # But for the checkpoint, whose tensors safetensors may put in another order.
    different = {
        name
        for name, content in contents(tmp_path / "model-day").items()
        if straight[name] != content
    }
    assert different <= {"checkpoints/fold-1/checkpoint.safetensors"}
    other = mmkit("train", "-c", config, "--resume", "--set", "training.seed=9", cwd=tmp_path)
    assert other.status == 4
    assert "found one of another training" in other.stderr


def test_on_a_terminal_a_bar_shows_loss_and_f1_and_the_log_stands_above_it(tmp_path: Path) -> None:
    config = configuration(tmp_path, tape(2_000, 1), rounds=100_000, patience=100_000, folds=1)
    text = json.loads(config.read_text())
    text["labels"]["horizon"] = [1, 2]
    config.write_text(json.dumps(text))
    command = "import sys; from mmkit.cli import main; sys.exit(main())"
    child = pexpect.spawn(
        sys.executable,
        ["-c", command, "train", "-c", str(config)],
        dimensions=(40, 200),
        encoding="utf-8",
        timeout=60,
    )
    child.expect(r"horizon 1, fold 1 of 1 .*/100000 loss \d\.\d+  F1 \d\.\d+, best \d\.\d+")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert child.before is not None
    # Each line of the log begins where a line does: a bar that is there is taken away before.
    for line in child.before.splitlines():
        assert "INFO" not in line or re.match(r"(\x1b\[[0-9;?]*[A-Za-z]|\r)*2\d\d\d-", line), line
    assert "stopped before horizon 2" in child.before
    assert "stopped before its time: the best so far was kept" in child.before


# --- what is refused ------------------------------------------------------------------------------


def refused(config: Path, *words: str) -> Ended:
    ended = mmkit("train", "-c", config, *words, cwd=config.parent)
    assert not (config.parent / "model-day").exists(), "nothing is left where nothing was trained"
    return ended


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ("features=null", 3, "features: this section is missing"),
        ("labels=null", 3, "labels: this section is missing"),
        ("training=null", 3, "training: this section is missing"),
        ("training.out=null", 3, "training.out"),
        ("training.plugin=lightgmb", 3, "did you mean 'lightgbm'?"),
        ("training.fold=3", 3, "training.fold: unknown key; did you mean 'folds'?"),
        ("training.roundz=3", 3, "training.roundz: unknown key; did you mean 'rounds'?"),
        ("training.folds=0", 3, "training.folds"),
        ("training.test=0", 3, "a share between 0 and 1 such as 0.25, or a time such as 6h"),
        ("training.window=1000", 4, "at least 1,000 samples for"),
        ("labels.horizon=0", 3, "a number of samples such as 20, or a time such as 500ms"),
        ("labels.horizon=200", 4, "horizon 200: "),
        ("labels.quantile=0.3", 3, "either threshold_bps or quantile was expected; both are there"),
        ("labels.threshold_bps=500", 4, "no down and no up among"),
        ("sampling=often", 3, "'update', or a grid of 1ms or more"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is(
    tmp_path: Path, change: str, status: int, words: str
) -> None:
    config = configuration(tmp_path, tape(900, 1))
    ended = refused(config, "--set", change)
    assert ended.status == status, ended.stderr
    assert words in ended.stderr


def test_a_trainer_that_cannot_go_on_says_so(tmp_path: Path) -> None:
    ended = mmkit("train", "-c", configuration(tmp_path, tape(900, 1)), "--resume", cwd=tmp_path)
    assert ended.status == 2
    assert "'lightgbm' trains in one go and keeps nothing to resume from" in ended.stderr


def test_a_gpu_that_is_not_there_is_told(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    ended = mmkit("train", "-c", lstm(tmp_path, "day", device="cuda"), cwd=tmp_path)
    assert ended.status == 2
    assert "a GPU was asked for; found none" in ended.stderr


def test_features_that_are_not_the_models_are_named(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    config = configuration(tmp_path, tape(900, 2))
    text = json.loads(config.read_text())
    text["features"] = [*FEATURES[:2], {"name": "imbalance", "levels": 3}, *FEATURES[3:]]
    config.write_text(json.dumps(text))
    ended = mmkit("signals", "eval", trained[0] / "model-day", "-c", config, cwd=tmp_path)
    assert ended.status == 4
    assert "unknown 'imbalance_3'" in ended.stderr
    assert "missing 'imbalance_2'" in ended.stderr


def test_a_model_that_is_damaged_or_of_another_version_is_refused(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    config = configuration(tmp_path, tape(900, 2))
    model = tmp_path / "copy"
    for damage, words in (
        ({"card.json": None}, "cannot be read: No such file"),
        ({"version": 2}, "version 1 was expected; found 2"),
        ({"model.txt": None}, "model.txt: cannot be read"),
        ({"model.txt": 100}, "the file is truncated or was changed"),
        ({"labels": None}, "labels not told"),
    ):
        model.mkdir(exist_ok=True)
        for name in ("card.json", "model.txt"):
            (model / name).write_bytes((trained[0] / "model-day" / name).read_bytes())
        ((name, how),) = damage.items()
        if name in {"version", "labels"}:
            card = json.loads((model / "card.json").read_text())
            card[name] = how
            (model / "card.json").write_text(
                json.dumps({k: v for k, v in card.items() if v is not None})
            )
        elif how is None:
            (model / name).unlink()
        else:
            (model / name).write_bytes((model / name).read_bytes()[:how])
        ended = mmkit("signals", "eval", model, "-c", config, cwd=tmp_path)
        assert ended.status == 4, (damage, ended.stderr)
        assert words in ended.stderr


LEVELS = [{"name": "levels", "levels": 2}]


def deeplob(folder: Path, market: Tape, **more: Any) -> Path:
    """Write a configuration that trains DeepLOB on two levels; return it."""
    path = configuration(folder, market)
    plain = json.loads(path.read_text())
    plain["features"] = more.pop("features", LEVELS)
    plain["training"] = {
        "plugin": "lstm",
        "network": "deeplob",
        "out": str(folder / "model"),
        "folds": 1,
        "window": 2,
        "epochs": 4,
        "learning_rate": 0.003,
        "batch": 16,
        "threads": 1,
        **more,
    }
    path.write_text(json.dumps(plain))
    return path


def test_deeplob_learns_from_levels_what_the_plain_rule_cannot_see(tmp_path: Path) -> None:
    config = deeplob(tmp_path, tape(2_000, 1), test=0.3, stride=2)
    ended = mmkit("train", "-c", config, "--json", cwd=tmp_path)
    assert ended.status == 0, ended.stderr
    assert tuple(ended.json["features"]) == level_names(2)
    (one,) = ended.json["horizons"]
    assert one["evaluation"]["against_rule"]["difference"]["low"] > 0.1
    assert ended.json["warnings"] == []
    again = mmkit("signals", "eval", tmp_path / "model", "-c", config, "--json", cwd=tmp_path)
    assert again.status == 0, again.stderr
    (judged,) = again.json["horizons"]
    assert judged["evaluation"]["against_rule"]["difference"]["low"] > 0.1


def test_deeplob_given_other_features_is_refused_by_name(tmp_path: Path) -> None:
    config = deeplob(tmp_path, tape(600, 1), features=[*LEVELS, "spread"])
    ended = mmkit("train", "-c", config, cwd=tmp_path)
    assert ended.status == 2
    assert "found 9 features that differ: unknown 'spread'; missing 'ask_price_3'" in ended.stderr


def test_a_stride_takes_every_nth_sample_to_learn_from_and_each_to_be_tested_on(
    tmp_path: Path,
) -> None:
    sampled = sample(tape(900, 1), FEATURES, Sampling())
    rule = LabelRule(horizon=1, threshold_bps=0.0)
    every, third = (
        folds_of(sampled, rule, TrainingSection(out="x", folds=2, window=3, stride=n), "1")
        for n in (1, 3)
    )
    for whole, some in zip(every, third, strict=True):
        assert whole.learned.tolist() == whole.rows[0].tolist()
        assert some.learned.tolist() == whole.rows[0][::3].tolist()
        assert [rows.tolist() for rows in some.rows] == [rows.tolist() for rows in whole.rows]
        assert some.rule == whole.rule
    ended = mmkit("train", "-c", configuration(tmp_path, tape(900, 1), stride=0), cwd=tmp_path)
    assert ended.status == 3
    assert "training.stride: a value of at least 1 was expected; found 0" in ended.stderr
    config = configuration(tmp_path, tape(900, 1), stride=400)
    ended = mmkit("train", "-c", config, cwd=tmp_path)
    assert ended.status == 4
    assert "training" in ended.stderr


def test_a_configuration_that_only_trains_is_sound_without_a_strategy(tmp_path: Path) -> None:
    config = configuration(tmp_path, tape(50, 1))
    ended = mmkit("config", "check", "-c", config, cwd=tmp_path)
    assert (ended.status, ended.stderr) == (0, "")
    assert "no mistakes; training of lightgbm on BTC/USDT:USDT" in ended.stdout
    shown = mmkit("config", "show", "-c", config, "--json", cwd=tmp_path).json
    # What is shown says the same when it is read again.
    again = draft_plain({**shown, "strategy": STRATEGY}).config().learning
    assert again.labels is not None
    assert again.labels.rules() == {"1": LabelRule(horizon=1, threshold_bps=0.0)}
    assert [spec.column for spec in again.features or ()][2] == "imbalance_2"
    assert mmkit("backtest", "-c", config, cwd=tmp_path).status == 3


def test_files_of_one_name_are_told_apart_by_their_folders_and_no_more(tmp_path: Path) -> None:
    paths = [tmp_path / "captures" / day_name / "btc.gz" for day_name in ("monday", "tuesday")]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_bytes(path.parent.name.encode())
    plain = json.loads(configuration(tmp_path, tape(50, 1)).read_text())
    plain["data"] = {"plugin": "capture", "paths": [str(path) for path in paths]}
    assert data_told(draft_plain({**plain, "strategy": STRATEGY}).config()) == {
        f"{name}/btc.gz": sha256(name.encode()).hexdigest() for name in ("monday", "tuesday")
    }
