"""What is wrong with data, models and machines is told by the commands, and nothing that was there is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from in_process import Ended, mmkit
from signal_market import FEATURES, configuration, tape

from mmkit.tape import Tape

Change = Callable[[Path], None]


@cache
def market(n: int = 1_500, seed: int = 1) -> Tape:
    return tape(n, seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of three samples in ``model-day``, and data of other days."""
    folder = tmp_path_factory.mktemp("signals")
    config = configuration(folder, market(), window=3, rounds=10, patience=10)
    ended = mmkit("train", "-c", config, cwd=folder)
    assert ended.status == 0, ended.stderr
    configuration(folder, market(900, 2), "other", window=3)
    # The return is known from the fifth sample on, and a window of three two later.
    configuration(folder, market(7, 3), "tiny", window=3)
    configuration(folder, market(8, 3), "enough", window=3)
    return folder


def backtest(folder: Path, model: Path, data: str = "other") -> Ended:
    """Run a strategy that is told what the model says."""
    plain = json.loads((folder / f"{data}.yml").read_text())
    run = {key: plain[key] for key in ("instrument", "data")} | {
        "signals": [{"plugin": "lightgbm", "model": str(model)}],
        "strategy": {"plugin": "signal_taker", "balance": "10000"},
    }
    path = model.parent / f"backtest-{data}.yml"
    path.write_text(json.dumps(run))
    return mmkit("backtest", "-c", path, "--json", cwd=folder)


def judged(folder: Path, model: Path, data: str = "other", **sections: Any) -> Ended:
    plain = json.loads((folder / f"{data}.yml").read_text())
    path = model.parent / f"eval-{data}.yml"
    path.write_text(json.dumps({**plain, **sections}))
    return mmkit("signals", "eval", model, "-c", path, cwd=folder)


def card(**said: Any) -> Change:
    def change(model: Path) -> None:
        path = model / "card.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | said))

    return change


def cut(name: str, kept: int) -> Change:
    def change(model: Path) -> None:
        (model / name).write_bytes((model / name).read_bytes()[:kept])

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (cut("model.txt", 100), ["model.txt", "in 100 bytes; the file is truncated"]),
        (cut("card.json", 60), ["card.json", "the card of a model was expected"]),
        (card(version=2), ["version 1 was expected; found 2", "train again"]),
        (
            card(features=[*FEATURES[:2], *FEATURES[3:]]),
            ["trained with 8 features, and is given 7", "missing 'imbalance_2'"],
        ),
        (
            card(features=[*FEATURES, "mid", "age"]),
            ["8 features, and is given 10", "unknown 'mid'", "unknown 'age'"],
        ),
        (
            card(features=[FEATURES[1], FEATURES[0], *FEATURES[2:]]),
            ["'spread' was expected; found 'imbalance_1'", "'imbalance_1' was expected; found 's"],
        ),
    ],
)
def test_a_model_that_is_not_as_it_was_saved_is_refused_by_a_run_and_by_a_verdict(
    folder: Path, tmp_path: Path, change: Change, words: list[str]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(folder / "model-day", model)
    change(model)
    for ended in (backtest(folder, model), judged(folder, model)):
        assert ended.status == 4, ended.stderr
        for one in words:
            assert one in ended.stderr


def test_data_shorter_than_the_window_is_refused_and_data_as_long_is_not(
    folder: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(folder / "model-day", model)
    short = backtest(folder, model, "tiny")
    assert short.status == 4
    assert "3 samples in which every feature is known" in short.stderr
    assert "found none such among 7 samples" in short.stderr
    enough = backtest(folder, model, "enough")
    assert enough.status == 0, enough.stderr
    # Of the eighth, which is the last and so known when the run has ended.
    assert enough.json["signals"]["direction"]["unknown"] == 7
    verdict = judged(folder, model, "tiny")
    assert verdict.status == 4
    assert "3 samples without a gap were expected; found at most 2" in verdict.stderr
    training = mmkit("train", "-c", folder / "tiny.yml", cwd=tmp_path)
    assert training.status == 4
    assert "at least 3 samples for" in training.stderr
    assert not (folder / "model-tiny").exists()


def test_a_feature_that_is_never_known_is_named(folder: Path, tmp_path: Path) -> None:
    plain = json.loads((folder / "other.yml").read_text())
    plain["features"].append({"name": "volatility", "window": "1h"})
    (tmp_path / "hour.yml").write_text(json.dumps(plain))
    ended = mmkit("train", "-c", tmp_path / "hour.yml", cwd=tmp_path)
    assert ended.status == 4
    assert "none of 900 rows has every feature" in ended.stderr
    assert "volatility_1h in 900" in ended.stderr


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"labels": {"horizon": 5, "threshold_bps": 0}}, "found from_now over horizon 5 with 0"),
        ({"labels": {"horizon": 1, "threshold_bps": 2}}, "0.0 bps was expected, as the card says"),
        ({"labels": {"horizon": 1, "quantile": 0.3}}, "over horizon 1 with quantile 0.3"),
        ({"sampling": "100ms"}, "sampling: update was expected, as the card says; found 100ms"),
        (
            {"training": {"plugin": "lightgbm", "out": "m", "window": 9}},
            "training.window: 3 was expected, as the card says; found 9",
        ),
        (
            {"training": {"plugin": "imbalance", "out": "m", "window": 3}},
            "training.plugin: lightgbm was expected, as the card says; found imbalance",
        ),
    ],
)
def test_a_verdict_of_another_training_is_refused(
    folder: Path, tmp_path: Path, sections: dict[str, Any], words: str
) -> None:
    ended = judged(folder, shutil.copytree(folder / "model-day", tmp_path / "m"), **sections)
    assert ended.status == 4, ended.stderr
    assert words in ended.stderr


def test_a_class_that_is_missing_is_named_by_training_and_verdict(
    folder: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(folder / "model-day", tmp_path / "m")
    card(labels={"horizon": 1, "threshold_bps": 500.0})(model)
    plain = {"labels": None, "training": None, "features": None}
    for ended in (
        judged(folder, model, **plain),
        mmkit(
            "train", "-c", folder / "other.yml", "--set", "labels.threshold_bps=500", cwd=tmp_path
        ),
    ):
        assert ended.status == 4
        assert "no down and no up among 0 down, " in ended.stderr


@pytest.mark.parametrize(
    ("change", "part"),
    [("valid=0.0001", "validation"), ("test=1ms", "test"), ("test=1d", "training")],
)
def test_a_part_that_is_empty_is_named(folder: Path, change: str, part: str) -> None:
    ended = mmkit("train", "-c", folder / "other.yml", "--set", f"training.{change}", cwd=folder)
    assert ended.status == 4
    assert f"at least 3 samples for {part} were expected; found no sample" in ended.stderr
    assert not (folder / "model-other").exists()


def test_what_the_trainer_refuses_leaves_no_folder(folder: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    plain = json.loads((folder / "other.yml").read_text())
    for settings, words in (
        ({"plugin": "lightgbm", "lags": [0, 3]}, "lags: numbers from 0 to 2 were expected"),
        ({"plugin": "imbalance", "feature": "mid"}, "feature: one of spread, "),
        ({"plugin": "lstm", "device": "cuda"}, "a GPU was asked for; found none"),
    ):
        if settings["plugin"] == "lstm" and torch.cuda.is_available():
            continue
        out = {"out": str(tmp_path / "model"), "window": 3}
        path = tmp_path / "refused.yml"
        path.write_text(json.dumps({**plain, "training": {**out, **settings}}))
        ended = mmkit("train", "-c", path, cwd=tmp_path)
        assert ended.status == 2, ended.stderr
        assert words in ended.stderr
        assert not (tmp_path / "model").exists()


# --- a disk that fills ------------------------------------------------------------------------------

FILLS = """
import subprocess, sys
from pathlib import Path
from mmkit import cli

config, disk = sys.argv[1], Path(sys.argv[2])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(disk)], check=True)

def train(name, rounds):
    try:
        return cli.main(["train", "-c", config, "--set", f"training.out={disk / name}",
            "--set", f"training.rounds={rounds}", "--set", f"training.patience={rounds}"])
    except SystemExit as ended:
        return ended.code

def there():
    return {str(path): path.read_bytes() for path in disk.rglob("*") if path.is_file()}

print(train("old", 2), "small", flush=True)
before = there()
print(train("old", 200), there() == before, sorted(path.name for path in disk.iterdir()), flush=True)
print(train("new", 200), there() == before, flush=True)
print(cli.main(["signals", "eval", str(disk / "old"), "-c", config]), "is read")
"""


def test_when_a_disk_fills_while_a_model_is_saved_the_old_one_stays(folder: Path) -> None:
    """On a small disk of its own, in a name space in which it may be mounted."""
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    disk = folder / "disk"
    disk.mkdir()
    probe = [*alone, "mount", "-t", "tmpfs", "tmpfs", str(disk)]
    if (
        shutil.which("unshare") is None
        or subprocess.run(probe, capture_output=True, check=False).returncode
    ):
        pytest.skip("no file system can be mounted here")
    command = [*alone, sys.executable, "-c", FILLS, str(folder / "other.yml"), str(disk)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    told = [line for line in ended.stdout.splitlines() if line[:2] in {"0 ", "1 "}]
    assert told == ["0 small", "1 True ['old']", "1 True", "0 is read"], ended.stderr
    refused = [line for line in ended.stderr.splitlines() if "the model was not saved" in line]
    assert ["the model that was there is as before" in line for line in refused] == [True, False]
    assert all("the disk is full (No space left on device)" in line for line in refused)
