"""The threshold of the plain rule, chosen on training data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmkit import model_folder
from mmkit.errors import DataError, RunError, UsageError
from mmkit.interfaces import (
    PluginConfig,
    SignalTrainer,
    TrainingContext,
    TrainingSet,
    TrainingStep,
)
from mmkit.signal_models import check_splits, macro_f1
from mmkit_signals.imbalance import FILE, Rule, classes


class ImbalanceTraining(PluginConfig):
    """What may be said of the training."""

    feature: str = Field(
        "imbalance_1", description="The column with the imbalance of the best level, from -1 to 1."
    )


class ImbalanceTrainer(SignalTrainer):
    """Tries every threshold there is. Nothing is drawn, so the seed changes nothing."""

    def __init__(self, config: ImbalanceTraining, context: TrainingContext) -> None:
        if config.feature not in context.names:
            raise UsageError(
                f"feature: one of {', '.join(context.names)} was expected; found '{config.feature}'; add it to "
                "the features, or name the imbalance that is there"
            )
        self._feature, self._context = config.feature, context
        self._column = context.names.index(config.feature)
        self._rule: Rule | None = None

    def fit(
        self,
        train: TrainingSet,
        valid: TrainingSet,
        *,
        seed: int,
        progress: Callable[[TrainingStep], None],
        stop: Callable[[], bool],
        resume: Path | None = None,
    ) -> None:
        """Choose the threshold with the best macro-F1 on `train`; `valid` is only told of."""
        if resume is not None:
            raise UsageError(
                "'imbalance' trains in one go and keeps nothing to resume from; leave out --resume"
            )
        check_splits(train, valid, self._context)
        values = self._values(train, "training")
        threshold = best_threshold(values, train.labels)
        self._rule = Rule(feature=self._feature, threshold=threshold)
        f1 = macro_f1(valid.labels, classes(self._values(valid, "validation"), threshold))
        # A rule that says one class alone has no cross entropy: it is infinite once it is wrong.
        progress(TrainingStep(done=1, total=1, loss=float("nan"), f1=f1, best_f1=f1))

    def _values(self, data: TrainingSet, what: str) -> npt.NDArray[np.float64]:
        values = data.windows[:, -1, self._column]
        if (outside := np.abs(values) > 1).any():
            raise DataError(
                f"feature '{self._feature}' of the {what} windows: an imbalance from -1 to 1 was expected; found "
                f"{values[outside][0]}; name another feature"
            )
        return values

    def save(self, folder: Path, card: Mapping[str, Any]) -> dict[str, Any]:
        """Write the rule."""
        if self._rule is None:
            raise RunError("nothing was trained, so there is nothing to save; train first")
        return model_folder.save(
            folder,
            {FILE: msgspec.json.format(msgspec.json.encode(self._rule), indent=2) + b"\n"},
            {**card, "libraries": {"numpy": np.__version__}},
            plugin="imbalance",
            names=self._context.names,
            window=self._context.window,
        )


def best_threshold(imbalance: npt.NDArray[np.float64], labels: npt.NDArray[np.int8]) -> float:
    """Return the threshold with the best macro-F1, the smallest of equals.

    One that lies between two values does what the lower of them does, so 0 and the values are all there are.
    """
    size = np.abs(imbalance)
    order = np.argsort(size, kind="stable")
    size, label, said = size[order], labels[order], classes(imbalance[order], 0.0)
    n = len(size)
    candidates = np.unique(np.append(size, 0.0))
    first = np.searchsorted(
        size, candidates, side="right"
    )  # from there on the rule says up or down
    score = np.zeros(len(candidates))
    for number in range(3):
        if number == 1:
            right = _before(label == 1)[first]
            told = first
        else:
            says = said == number
            right = _before(says & (label == number))
            right = right[n] - right[first]
            told = _before(says)
            told = told[n] - told[first]
        score += 2 * right / np.maximum(told + np.count_nonzero(labels == number), 1)
    return float(candidates[score.argmax()])


def _before(marks: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return how many marks there are before each place, and in all."""
    return np.concatenate([[0], np.cumsum(marks)])
