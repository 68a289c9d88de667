"""Trains signal models on recorded data, walking forward, and says what they are worth."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from mmkit import __version__
from mmkit.errors import ConfigError, DataError, Mistake, RunError, UsageError
from mmkit.interfaces import (
    ModelContext,
    SignalModel,
    SignalTrainer,
    TrainingContext,
    TrainingSet,
    TrainingStep,
)
from mmkit.learning import (
    CARD,
    ImbalanceRule,
    class_shares,
    majority,
    windows_at,
)
from mmkit.model_folder import write_whole
from mmkit.plugins import build
from mmkit.report import value_json
from mmkit.run.backtest import load_tape
from mmkit.run.data_told import data_told
from mmkit.run.folds import PARTS, Fold, folds_of
from mmkit.run.sampled import Sampled, sample
from mmkit.run.verdict import (
    FoldReport,
    Forecasts,
    HorizonReport,
    SignalReport,
    costs,
    instrument_in_words,
    judge,
    span_told,
)
from mmkit.signal_models import macro_f1

if TYPE_CHECKING:
    from mmkit.config import Config
    from mmkit.config.check import Chosen
    from mmkit.config.learning import LabelsSection, TrainingSection
    from mmkit.features import FeatureSpec

_log = logging.getLogger("mmkit.train")

Ints = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int8]

REPORT = "report.json"
CHECKPOINTS = "checkpoints"
_EXAMPLES = {
    "features": "such as features: [spread, imbalance, {name: ofi, window: 1s}]",
    "labels": "such as labels: {horizon: 20, quantile: 0.33}",
    "training": "such as training: {plugin: lightgbm, out: user_data/models/mine}",
}


@dataclass(frozen=True)
class Told:
    """How far it is.

    Attributes:
        horizon: Which is trained for.
        fold: Which of `folds`, from 1 on.
        folds: How many.
        step: Of the trainer.
    """

    horizon: str
    fold: int
    folds: int
    step: TrainingStep


@dataclass(frozen=True, eq=False)
class _Asked:
    features: tuple[FeatureSpec, ...]
    labels: LabelsSection
    trainer: Chosen
    settings: TrainingSection


def train(
    config: Config,
    *,
    resume: bool = False,
    progress: Callable[[Told], None] | None = None,
    stop: Callable[[], bool] = bool,
) -> SignalReport:
    """Train a model for each horizon, save it and its card, and write the report beside it.

    The folds' tests follow each other in time, and the verdict is on all of them together. The model that is
    saved is that of the last fold, which has seen the most.

    Args:
        config: With ``features``, ``labels`` and ``training``.
        resume: Go on from the checkpoints of a training that was stopped.
        progress: Told after every epoch or round.
        stop: Asked often; once true, the best so far is kept and nothing more is trained.

    Raises:
        ConfigError: if a section is missing.
        DataError: if the data does not do, before anything is trained.
        UsageError: if it cannot be resumed.
        RunError: if the disk does not take the model; an old one stays.
    """
    asked = _asked(config)
    # Before anything is trained: that a model can be loaded, and the folder be written.
    config.plugins.provider("signal model", asked.trainer.name)
    rules = asked.labels.rules()
    folders = _folders(Path(asked.settings.out), list(rules))
    sampled = sample(load_tape(config), asked.features, config.learning.sampling)
    _log_unknown(sampled)
    courses = {name: folds_of(sampled, rule, asked.settings, name) for name, rule in rules.items()}
    # What the trainer refuses, such as a GPU that is not there, is refused before a folder is made.
    asked.trainer.build(TrainingContext(sampled.samples.names, asked.settings.window))
    _make(folders.values(), resume=resume)
    training = _Training(config, asked, sampled, resume, progress, stop)
    reports: list[HorizonReport] = []
    for name, folds in courses.items():
        found = training.horizon(name, folds, folders[name])
        if found is not None:
            reports.append(found)
        if stop():
            training.not_begun(list(courses)[list(courses).index(name) + 1 :])
            break
    report = training.report(reports)
    _write_report(Path(asked.settings.out) / REPORT, report)
    return report


class _Training:
    """One call of `train`."""

    def __init__(
        self,
        config: Config,
        asked: _Asked,
        sampled: Sampled,
        resume: bool,
        progress: Callable[[Told], None] | None,
        stop: Callable[[], bool],
    ) -> None:
        self._config, self._asked, self._sampled = config, asked, sampled
        self._resume, self._progress, self._stop = resume, progress, stop
        self._fee, self._latency_ns = costs(config)
        self._data = data_told(config)
        self._window = asked.settings.window
        self._began = False
        self._warnings: list[str] = []

    def horizon(self, name: str, folds: list[Fold], folder: Path) -> HorizonReport | None:
        """Train every fold and save the last model; return the verdict, `None` if there is nothing to judge."""
        forecasts: list[Forecasts] = []
        told: list[FoldReport] = []
        last: tuple[SignalTrainer, Fold] | None = None
        for number, fold in enumerate(folds, 1):
            trainer, steps = self._fit(name, number, len(folds), fold, folder)
            if self._stop() and not steps:
                break
            best = steps[-1].best_f1 if steps else float("nan")
            model = self._loaded_from(trainer)
            forecast = self._forecast(model, fold)
            forecasts.append(forecast)
            told.append(self._fold_report(fold, forecast, best))
            last = trainer, fold
            _log.info(
                "fold_trained horizon=%s fold=%d/%d steps=%d valid_f1=%.4f test_f1=%.4f",
                name, number, len(folds), len(steps), best, told[-1].test_macro_f1,
            )  # fmt: skip
            if self._stop():
                break
        if last is None:
            self._warn(
                f"stopped before anything was learned for horizon {name}: no model was saved"
            )
            return None
        report = self._judged(name, folder, Forecasts.joined(forecasts), told, last[1])
        last[0].save(folder, self._card(last[1], told[-1], report))
        return report

    def not_begun(self, horizons: list[str]) -> None:
        """Tell of horizons that were left out, as training was stopped."""
        if horizons:
            self._warn(
                f"stopped before horizon {', '.join(horizons)}: what lies in the folder of a model for it is older"
            )

    def report(self, reports: list[HorizonReport]) -> SignalReport:
        """Return all verdicts."""
        samples = self._sampled.samples
        return SignalReport(
            command="train",
            plugin=self._asked.trainer.name,
            instrument=instrument_in_words(self._sampled),
            sampling=str(self._config.learning.sampling),
            window=self._window,
            features=samples.names,
            looked=self._sampled.looked,
            samples=len(samples),
            unknown=self._sampled.unknown,
            fee=self._fee,
            latency_ns=self._latency_ns,
            horizons=reports,
            warnings=self._warnings,
            stopped=self._stop(),
        )

    def _warn(self, words: str) -> None:
        self._warnings.append(words)
        _log.warning("%s", words)

    def _fit(
        self, name: str, number: int, folds: int, fold: Fold, folder: Path
    ) -> tuple[SignalTrainer, list[TrainingStep]]:
        scratch = folder / CHECKPOINTS / f"fold-{number}"
        context = TrainingContext(self._sampled.samples.names, self._window, scratch)
        trainer = cast(SignalTrainer, self._asked.trainer.build(context))
        # The first is asked to go on even from nothing, so that a trainer which cannot says so.
        resume = self._resume and (scratch.exists() or not self._began)
        self._began = True
        steps: list[TrainingStep] = []

        def told(step: TrainingStep) -> None:
            steps.append(step)
            _log.debug(
                "step horizon=%s fold=%d/%d done=%d/%d loss=%.4f f1=%.4f best_f1=%.4f",
                name, number, folds, step.done, step.total, step.loss, step.f1, step.best_f1,
            )  # fmt: skip
            if self._progress is not None:
                self._progress(Told(name, number, folds, step))

        trainer.fit(
            self._set(fold, fold.learned),
            self._set(fold, fold.rows[1]),
            seed=self._asked.settings.seed,
            progress=told,
            stop=self._stop,
            resume=scratch if resume else None,
        )
        return trainer, steps

    def _set(self, fold: Fold, rows: Ints) -> TrainingSet:
        windows = windows_at(self._sampled.samples.values, rows, self._window)
        return TrainingSet(windows, fold.labels[rows])

    def _loaded_from(self, trainer: SignalTrainer) -> SignalModel:
        """Return the model as it will be used: saved and loaded."""
        with TemporaryDirectory() as folder:
            trainer.save(Path(folder) / "model", {})
            return load_model(self._config, self._asked.trainer.name, Path(folder) / "model")

    def _forecast(self, model: SignalModel, fold: Fold) -> Forecasts:
        training, _, test = fold.rows
        imbalance, labels = self._sampled.imbalance, fold.labels
        plain = ImbalanceRule.fit(imbalance[training], labels[training])
        return forecast(self._sampled, model, test, labels, plain, majority(labels[training]))

    def _fold_report(self, fold: Fold, found: Forecasts, best: float) -> FoldReport:
        training = fold.rows[0]
        plain = ImbalanceRule.fit(self._sampled.imbalance[training], fold.labels[training])
        parts = dict(zip(PARTS, fold.rows, strict=True))
        return FoldReport(
            spans={name: span_told(self._sampled, rows) for name, rows in parts.items()},
            class_shares={name: class_shares(fold.labels[rows]) for name, rows in parts.items()},
            threshold_bps=cast(float, fold.rule.threshold_bps),
            rule_threshold=plain.threshold,
            valid_macro_f1=best,
            test_macro_f1=macro_f1(found.truth, found.probabilities.argmax(axis=1)),
        )

    def _judged(
        self, name: str, folder: Path, found: Forecasts, told: list[FoldReport], last: Fold
    ) -> HorizonReport | None:
        try:
            evaluation, taker, rule_taker = judge(
                self._sampled,
                found,
                last.rule,
                name,
                fee=self._fee,
                latency_ns=self._latency_ns,
                seed=self._asked.settings.seed,
            )
        except DataError as error:
            if not self._stop():
                raise
            # All tests together do, which was checked; those before the end may not.
            self._warn(f"horizon {name}: the model was saved and not judged: {error}")
            return None
        report = HorizonReport(
            horizon=name,
            model=str(folder),
            tested=span_told(self._sampled, found.rows),
            folds=told,
            evaluation=evaluation,
            taker=taker,
            rule_taker=rule_taker,
        )
        if not evaluation.against_rule.better:
            self._warn(report.sentence)
        return report

    def _card(self, fold: Fold, told: FoldReport, report: HorizonReport | None) -> dict[str, Any]:
        """Return what is known of the training, as JSON has it."""
        metrics: dict[str, Any] = {
            "rule_threshold": told.rule_threshold,
            "valid_macro_f1": told.valid_macro_f1,
            "stopped": self._stop(),
        }
        if report is not None:
            found = report.evaluation
            metrics |= {
                "folds": len(report.folds),
                "macro_f1": found.macro_f1,
                "accuracy": found.accuracy,
                "chance": found.chance,
                "rule_macro_f1": found.rule_macro_f1,
                "against_rule": found.against_rule,
                "taker_total_bps": report.taker.total,
            }
        features = [
            spec.model_dump(mode="json", exclude_none=True) for spec in self._asked.features
        ]
        card = {
            "mmkit": __version__,
            "instrument": instrument_in_words(self._sampled),
            "data": self._data,
            "sampling": self._config.learning.sampling.told,
            "features": features,
            "labels": fold.rule,
            "spans": told.spans,
            "class_shares": told.class_shares,
            "metrics": metrics,
            "seed": self._asked.settings.seed,
        }
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(card))
        return plain


def load_model(config: Config, plugin: str, folder: Path) -> SignalModel:
    """Return a saved model.

    Raises:
        DataError: if the folder holds none, or another plugin's.
        PluginError: if there is no such plugin.
    """
    provider = config.plugins.provider("signal model", plugin)
    return cast(SignalModel, build(provider, provider.config(), ModelContext(folder)))


def forecast(
    sampled: Sampled,
    model: SignalModel,
    rows: Ints,
    labels: Labels,
    plain: ImbalanceRule,
    common: int,
) -> Forecasts:
    """Return what a model says in windows that end with these rows, beside the plain rule."""
    windows = windows_at(sampled.samples.values, rows, model.window)
    return Forecasts(
        rows=rows,
        truth=labels[rows],
        probabilities=_predicted(model, windows),
        rule=plain.predict(sampled.imbalance[rows]),
        majority=np.full(len(rows), common, np.int8),
    )


_AT_ONCE = 8_192
"""Windows: of 30 samples of 20 features 40 MB."""


def _predicted(model: SignalModel, windows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return what a model says of windows, a part of them after the other."""
    parts = range(0, len(windows), _AT_ONCE)
    found = [model.predict_batch(np.ascontiguousarray(windows[n : n + _AT_ONCE])) for n in parts]
    return np.concatenate([np.empty((0, 3)), *found])


def _asked(config: Config) -> _Asked:
    learning = config.learning
    where = str(config.files[0]) if config.files else "configuration"
    missing = [name for name in _EXAMPLES if getattr(learning, name) is None]
    if missing:
        raise ConfigError(
            [Mistake(where, name, "this section is missing", _EXAMPLES[name]) for name in missing]
        )
    assert learning.features
    assert learning.labels
    assert learning.training
    assert learning.settings
    return _Asked(learning.features, learning.labels, learning.training, learning.settings)


def _folders(out: Path, horizons: list[str]) -> dict[str, Path]:
    """Return where each horizon's model goes: `out`, or a folder each in it."""
    folders = {name: out if len(horizons) == 1 else out / name for name in horizons}
    if len(horizons) > 1 and (out / CARD).exists():
        raise UsageError(
            f"training.out: a folder for the models of {len(horizons)} horizons was expected; found a model in "
            f"'{out}'; name another folder, or take that one away"
        )
    return folders


def _make(folders: Iterable[Path], *, resume: bool) -> None:
    """Make the folders, and take the checkpoints of an earlier training away."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{folder}: a folder for the model was expected; cannot be made: {error.strerror or error}; write "
                "another one as training.out"
            ) from error
        if not resume:
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _log_unknown(sampled: Sampled) -> None:
    left_out = sampled.looked - len(sampled.samples)
    if left_out:
        _log.info(
            "samples_left_out count=%d of=%d unknown=%s", left_out, sampled.looked, sampled.unknown
        )


def _write_report(path: Path, report: SignalReport) -> None:
    try:
        write_whole(path, msgspec.json.format(value_json(report), indent=2) + b"\n")
    except OSError as error:
        raise RunError(
            f"{path}: the report cannot be written: {error.strerror or error}; the models were saved; make room and "
            "judge them with 'mmkit signals eval'"
        ) from error
