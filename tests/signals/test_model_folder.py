"""A saved model is whole, or it is refused; a new one takes the place of the old one whole, or not at all."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmkit import model_folder
from mmkit.errors import DataError, RunError

FILES = {"model.txt": b"trees\n" * 100, "model.onnx": b"\0\1\2"}


def save(folder: Path, files: dict[str, bytes] = FILES, **card: Any) -> dict[str, Any]:
    return model_folder.save(folder, files, card, plugin="p", names=("a", "b"), window=3)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    card = save(tmp_path / "deep" / "m", instrument="BTC/USDT")
    assert json.loads((tmp_path / "deep" / "m" / "card.json").read_text()) == card
    assert card == {
        "instrument": "BTC/USDT",
        "version": 1,
        "plugin": "p",
        "names": ["a", "b"],
        "window": 3,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()},
    }
    known, files = model_folder.load(tmp_path / "deep" / "m", "p", *FILES)
    assert files == FILES
    assert (known.names, known.window) == (("a", "b"), 3)


def test_a_new_model_replaces_the_old_one_and_leaves_what_is_not_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    save(folder)
    (folder / "report.html").write_text("mine")
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "c").write_text("mine")
    save(folder, {"model.json": b"{}"})
    assert {path.name for path in folder.iterdir()} == {
        "card.json",
        "model.json",
        "report.html",
        "checkpoint",
    }
    assert (folder / "checkpoint" / "c").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_folders_change_places_where_the_system_cannot_exchange_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())
    save(tmp_path / "m")
    save(tmp_path / "m", {"model.json": b"{}"})
    assert model_folder.load(tmp_path / "m", "p", "model.json")[1] == {"model.json": b"{}"}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


FULL = """
import resource, signal, sys
from pathlib import Path
from mmkit import model_folder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
files = {"a.bin": b"x" * 10_000, "model.txt": b"y" * 30_000}
model_folder.save(Path(sys.argv[1]), files, {}, plugin="p", names=("a",), window=1)
"""


@pytest.mark.parametrize("there", [True, False])
def test_when_the_disk_fills_the_old_model_stays(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "m"
    if there:
        save(folder)
    before = contents(folder) if there else None
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(folder)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    said = ended.stderr.strip().splitlines()[-1]
    assert "RunError" in said
    assert "the model was not saved: the disk is full" in said
    assert ("the model that was there is as before" in said) == there
    assert (contents(folder) if folder.exists() else None) == before
    assert [path.name for path in tmp_path.iterdir()] == (["m"] if there else [])


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="the model was not saved: cannot be written"):
        save(tmp_path / "file" / "m")


@pytest.mark.parametrize("kept", [0, 1, 300, 599])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    save(tmp_path / "m")
    (tmp_path / "m" / "model.txt").write_bytes(FILES["model.txt"][:kept])
    with pytest.raises(DataError, match=f"SHA-256 .* in {kept} bytes; the file is truncated or"):
        model_folder.load(tmp_path / "m", "p", "model.txt")


def change(folder: Path, **what: Any) -> None:
    card = json.loads((folder / "card.json").read_text()) | what
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"version": 2}, "version 1 was expected; found 2; it was saved by another mmkit"),
        ({"plugin": "lstm"}, "a model of 'p' was expected; found one of 'lstm'; write 'plugin: l"),
        ({"names": 3}, "the card of a model was expected; found something else"),
        ({"files": {}}, "'files' was expected to name 'model.txt'; found none"),
    ],
)
def test_a_card_of_another_kind_is_refused(
    tmp_path: Path, what: dict[str, Any], message: str
) -> None:
    save(tmp_path / "m")
    change(tmp_path / "m", **what)
    with pytest.raises(DataError, match=re.escape(message)):
        model_folder.load(tmp_path / "m", "p", "model.txt")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder of a saved model was expected; found none"):
        model_folder.read_card(tmp_path / "m")
    (tmp_path / "m").mkdir()
    with pytest.raises(DataError, match=r"card\.json: .*cannot be read: No such file"):
        model_folder.read_card(tmp_path / "m")
    save(tmp_path / "m")
    (tmp_path / "m" / "model.txt").unlink()
    with pytest.raises(DataError, match=r"model\.txt: cannot be read: No such file"):
        model_folder.load(tmp_path / "m", "p", "model.txt")


def test_a_card_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "m")
    card = tmp_path / "m" / "card.json"
    card.write_bytes(card.read_bytes()[:50])
    with pytest.raises(DataError, match="the card of a model was expected"):
        model_folder.read_card(tmp_path / "m")
