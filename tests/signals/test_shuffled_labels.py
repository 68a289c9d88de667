"""Labels in any order teach nothing: whoever is better than chance on them has seen what he should not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from learning_sets import NAMES, drawn

from mmkit.interfaces import ModelContext, SignalModel, SignalTrainer, TrainingContext, TrainingSet
from mmkit.learning import chance_f1, confusion
from mmkit.signal_models import macro_f1
from mmkit_lightgbm.model import LightgbmConfig, LightgbmModel
from mmkit_lightgbm.trainer import LightgbmTrainer, LightgbmTraining
from mmkit_lstm.model import LstmConfig, load
from mmkit_lstm.settings import LstmTraining, build_trainer

CONTEXT = TrainingContext(NAMES, 6)
TRAIN, VALID, TEST = drawn(1_500, seed=1), drawn(600, seed=2), drawn(4_000, seed=3)


def trainer(name: str) -> SignalTrainer:
    if name == "lightgbm":
        return LightgbmTrainer(LightgbmTraining(rounds=30, lags="all"), CONTEXT)
    settings = LstmTraining(epochs=8, lstm=(12,), dense=(), learning_rate=0.01, threads=1)
    return build_trainer(settings, CONTEXT)


def loaded(name: str, folder: Path) -> SignalModel:
    context = ModelContext(folder)
    if name == "lightgbm":
        return LightgbmModel(LightgbmConfig(), context)
    return load(LstmConfig(), context)


def shuffled(data: TrainingSet, seed: int) -> TrainingSet:
    return TrainingSet(data.windows, np.random.default_rng(seed).permutation(data.labels))


def judged(name: str, train: TrainingSet, valid: TrainingSet, folder: Path) -> tuple[float, float]:
    """Return macro-F1 on what neither was learned from nor chosen by, and that of calls which know nothing."""
    one = trainer(name)
    one.fit(train, valid, seed=1, progress=lambda _: None, stop=lambda: False)
    one.save(folder, {})
    called = loaded(name, folder).predict_batch(TEST.windows).argmax(axis=1).astype(np.int8)
    return macro_f1(TEST.labels, called), chance_f1(confusion(TEST.labels, called))


@pytest.mark.parametrize("name", ["lightgbm", "lstm"])
def test_with_labels_in_any_order_f1_falls_to_chance(name: str, tmp_path: Path) -> None:
    """But for the plain rule, whose sign nobody learns."""
    learned, unknowing = judged(name, TRAIN, VALID, tmp_path / "learned")
    assert learned > unknowing + 0.15
    above = []
    for seed in range(4):
        train, valid = shuffled(TRAIN, seed), shuffled(VALID, 10 + seed)
        fallen, unknowing = judged(name, train, valid, tmp_path / f"shuffled-{seed}")
        above.append(fallen - unknowing)
    # What is learned of an order that was drawn points to one side or the other by luck.
    assert abs(np.mean(above)) < 0.04, above
