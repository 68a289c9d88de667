from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mmkit.errors import DataError
from mmkit.learning import CARD, Card, LabelRule, Scaling, Span, read_card


def a_card(**changes: Any) -> Card:
    values: dict[str, Any] = {
        "version": 1,
        "plugin": "lightgbm",
        "mmkit": "0.1.0",
        "libraries": {"lightgbm": "4.6.0"},
        "instrument": "binance spot BTCUSDT",
        "sampling": 100_000_000,
        "window": 30,
        "features": ["spread", {"name": "imbalance", "levels": 5}],
        "names": ("spread", "imbalance_5", "mid"),
        "scaling": Scaling(kind="none", offset=[0.0] * 3, scale=[1.0] * 3),
        "labels": LabelRule(horizon=20, threshold_bps=0.5, quantile=0.3),
        "spans": {"training": Span(source="a.gz", start_ns=1, end_ns=2, samples=3)},
        "class_shares": {"training": (0.3, 0.4, 0.3)},
        "metrics": {"macro_f1": 0.4},
        "seed": 7,
        "files": {"model.txt": hashlib.sha256(b"tree").hexdigest()},
    }
    return Card(**{**values, **changes})


def saved(folder: Path, card: Card) -> Path:
    (folder / CARD).write_bytes(card.to_json())
    (folder / "model.txt").write_bytes(b"tree")
    return folder


def test_a_card_comes_back_as_it_was_and_is_always_the_same_bytes(tmp_path: Path) -> None:
    card = a_card()
    assert read_card(saved(tmp_path, card)) == card
    assert a_card().to_json() == card.to_json()
    card.check_whole()
    card.check_names(["spread", "imbalance_5", "mid"])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["spread", "mid"], ["missing 'imbalance_5'"]),
        (
            ["imbalance_5", "spread", "mid"],
            [
                "place 0: 'spread' was expected; found 'imbalance_5'",
                "place 1: 'imbalance_5' was expected; found 'spread'",
            ],
        ),
        (
            ["spread", "imbalance_1", "mid", "age"],
            [
                "missing 'imbalance_5'",
                "unknown 'imbalance_1' (did you mean 'imbalance_5'?)",
                "unknown 'age'",
            ],
        ),
        (["spread", "imbalance_5", "mid", "mid"], ["twice 'mid'"]),
        ([], ["missing 'spread'", "missing 'imbalance_5'", "missing 'mid'"]),
    ],
)
def test_features_that_are_not_the_models_are_named_one_by_one(
    names: list[str], words: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        a_card().check_names(names)
    for each in words:
        assert each in str(caught.value)
    assert str(caught.value).split(": ", 2)[2].count(";") == len(words) + ("place" in words[0]) * 2


def test_a_card_that_says_only_what_the_model_is_names_what_it_does_not_say() -> None:
    card = Card(version=1, plugin="mine", names=("a",), window=1, files={})
    assert set(msgspec.json.decode(card.to_json())) == {
        "version", "plugin", "names", "window", "files"
    }  # fmt: skip
    with pytest.raises(
        DataError, match="instrument, sampling, features, labels, class_shares not told"
    ):
        card.check_whole()


def test_a_card_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"card.json: the card of a model was expected.*No such file"
    ):
        read_card(tmp_path)
    raw = msgspec.json.decode(a_card().to_json())
    for changed, words in (
        ({**raw, "version": 2, "future": 1}, r"card.json: .*version 1 was expected; found 2"),
        ({**raw, "names": ["a"]}, r"card.json: card: a scale for each of 1 features.*found 3"),
        ({**raw, "window": 0}, "window of at least 1"),
        ({**raw, "sampling": "sometimes"}, "'update' was expected as sampling; found 'sometimes'"),
        ({**raw, "files": {"../x": "00"}}, r"a file in its folder was expected; found '\.\./x'"),
        ({**raw, "sead": 7}, "unknown field `sead`"),
        ({**raw, "seed": "seven"}, "seed"),
    ):
        (tmp_path / CARD).write_bytes(msgspec.json.encode(changed))
        with pytest.raises(DataError, match=words):
            read_card(tmp_path)
    (tmp_path / CARD).write_bytes(a_card().to_json()[:-30])
    with pytest.raises(DataError, match="take a copy that is whole"):
        read_card(tmp_path)
