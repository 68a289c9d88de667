"""Training of the trees, by the library."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmkit import model_folder
from mmkit.errors import RunError, UsageError
from mmkit.interfaces import (
    PluginConfig,
    SignalTrainer,
    TrainingContext,
    TrainingSet,
    TrainingStep,
)
from mmkit.learning import best_shift
from mmkit.signal_models import check_splits, macro_f1
from mmkit_lightgbm.inputs import check_lags, flat, input_names
from mmkit_lightgbm.model import FILE


class LightgbmTraining(PluginConfig):
    """What may be said of the training; names are LightGBM's where it has one."""

    rounds: int = Field(300, ge=1, description="At most so many rounds, of one tree a class.")
    patience: int = Field(30, ge=1, description="Stop after so many rounds without a better F1.")
    learning_rate: float = Field(0.05, gt=0, le=1)
    num_leaves: int = Field(15, ge=2, le=131072)
    min_data_in_leaf: int = Field(50, ge=1)
    lambda_l2: float = Field(1.0, ge=0)
    feature_fraction: float = Field(0.9, gt=0, le=1)
    bagging_fraction: float = Field(0.8, gt=0, le=1)
    max_bin: int = Field(255, ge=2)
    class_weights: Literal["balanced", "none"] = "balanced"
    calls: Literal["f1", "plain"] = Field(
        "f1",
        description="'f1' shifts the log-odds so that the largest is the call with the best macro-F1.",
    )
    lags: tuple[int, ...] | Literal["all"] = Field(
        (0,), description="Samples of the window that the trees see, 0 is the last; 'all' is each."
    )
    threads: int = Field(1, ge=1, description="More are quicker, and may give another file.")


class LightgbmTrainer(SignalTrainer):
    """Trains in one go: it is done in seconds, and cannot be resumed."""

    def __init__(self, config: LightgbmTraining, context: TrainingContext) -> None:
        self._config, self._context = config, context
        self._lags = tuple(range(context.window)) if config.lags == "all" else config.lags
        check_lags(self._lags, context.window)
        if len(set(self._lags)) != len(self._lags) or not self._lags:
            raise UsageError(f"lags: different numbers were expected; found {list(self._lags)}")
        if spaced := [name for name in context.names if not _plain(name)]:
            raise UsageError(
                f"features: LightGBM's text takes names without blanks, quotes, brackets, colons and commas; found "
                f"{', '.join(repr(name) for name in spaced)}; rename them"
            )
        self._text = ""

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
        """Train until the F1 on `valid` gets no better."""
        import lightgbm

        config = self._config
        if resume is not None:
            raise UsageError(
                "'lightgbm' trains in one go and keeps nothing to resume from; leave out --resume"
            )
        check_splits(train, valid, self._context)
        names = input_names(self._context.names, self._lags)
        counts = np.bincount(train.labels, minlength=3)
        balanced = len(train.labels) / (3 * counts)
        weights = balanced[train.labels] if config.class_weights == "balanced" else None
        data = lightgbm.Dataset(
            flat(train.windows, self._lags), train.labels, weight=weights, feature_name=names
        )
        watched = lightgbm.Dataset(flat(valid.windows, self._lags), valid.labels, reference=data)
        watch = _Watch(config.rounds, config.patience, progress, stop)
        calls = _Calls(watched, shifted=config.calls == "f1")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module="lightgbm")
            booster = lightgbm.train(
                self._parameters(seed),
                data,
                num_boost_round=config.rounds,
                valid_sets=[data, watched],
                valid_names=["training", "validation"],
                feval=calls,
                callbacks=[watch],
            )
        _shift(booster, calls.shifts[watch.best_round - 1])
        # One thread and no path in it: the same training gives the same text.
        self._text = booster.model_to_string(num_iteration=watch.best_round)

    def _parameters(self, seed: int) -> dict[str, Any]:
        config = self._config
        return {
            "objective": "multiclass",
            "num_class": 3,
            "metric": "multi_logloss",
            "learning_rate": config.learning_rate,
            "num_leaves": config.num_leaves,
            "min_data_in_leaf": config.min_data_in_leaf,
            "lambda_l2": config.lambda_l2,
            "feature_fraction": config.feature_fraction,
            "bagging_fraction": config.bagging_fraction,
            "bagging_freq": 1 if config.bagging_fraction < 1 else 0,
            "max_bin": config.max_bin,
            # Windows have no NaN in them; without it, none of the trees has a rule for one.
            "use_missing": False,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": config.threads,
            "verbosity": -1,
        }

    def save(self, folder: Path, card: Mapping[str, Any]) -> dict[str, Any]:
        """Write the best trees so far."""
        if not self._text:
            raise RunError("nothing was trained, so there is nothing to save; train first")
        import lightgbm

        return model_folder.save(
            folder,
            {FILE: self._text.encode()},
            {**card, "libraries": {"lightgbm": lightgbm.__version__, "numpy": np.__version__}},
            plugin="lightgbm",
            names=self._context.names,
            window=self._context.window,
        )


class _Watch:
    """Keeps the round with the best F1, tells each, and ends the training."""

    order = 0
    before_iteration = False

    def __init__(
        self,
        rounds: int,
        patience: int,
        progress: Callable[[TrainingStep], None],
        stop: Callable[[], bool],
    ) -> None:
        self._rounds, self._patience = rounds, patience
        self._progress, self._stop = progress, stop
        self.best_round, self._best = 0, -1.0

    def __call__(self, environment: Any) -> None:
        from lightgbm.callback import EarlyStopException

        found = {(item[0], item[1]): item[2] for item in environment.evaluation_result_list}
        f1, done = found["validation", "macro_f1"], environment.iteration + 1
        if f1 > self._best:
            self.best_round, self._best = done, f1
        self._progress(
            TrainingStep(
                done=done,
                total=self._rounds,
                loss=float(found["training", "multi_logloss"]),
                f1=f1,
                best_f1=self._best,
            )
        )
        if self._stop() or done - self.best_round >= self._patience:
            raise EarlyStopException(self.best_round - 1, environment.evaluation_result_list)


class _Calls:
    """Macro-F1 of each round's calls on the validation data, and what to add to the log-odds for them."""

    def __init__(self, validation: Any, *, shifted: bool) -> None:
        self._validation, self._shifted = validation, shifted
        self.shifts: list[npt.NDArray[np.float64]] = []

    def __call__(
        self, probabilities: npt.NDArray[np.float64], data: Any
    ) -> list[tuple[str, float, bool]]:
        if data is not self._validation:
            return []
        labels = data.get_label().astype(np.int8)
        # The smallest is told apart from 0 in single precision, which has 2**-149 as its least.
        scores = np.log(np.maximum(probabilities.reshape(len(labels), -1), 2.0**-149))
        self.shifts.append(best_shift(labels, scores) if self._shifted else np.zeros(3))
        called = (scores + self.shifts[-1]).argmax(axis=1)
        return [("macro_f1", macro_f1(labels, called), True)]


def _shift(booster: Any, by: npt.NDArray[np.float64]) -> None:
    """Add to the log-odds of each class: to all leaves of its first tree."""
    first = booster.dump_model(num_iteration=1)["tree_info"]
    for tree, shift in enumerate(by.tolist()):
        for leaf in range(first[tree]["num_leaves"]):
            booster.set_leaf_output(tree, leaf, booster.get_leaf_output(tree, leaf) + shift)


def _plain(name: str) -> bool:
    # What the library itself refuses in names, or would split the line at.
    return bool(name) and not any(letter.isspace() or letter in '",:[]{}' for letter in name)
