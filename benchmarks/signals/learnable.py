"""Says how near models come to the best forecast that there is: ``python -m benchmarks.signals.learnable``.

In a market that was made its probabilities are known. Models are trained by what ``mmkit train`` calls, on a tape.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from mmkit.config import Config, draft_plain
from mmkit.interfaces import SignalTrainer, TrainingContext, TrainingSet
from mmkit.learning import (
    Comparison,
    Evaluation,
    ImbalanceRule,
    LabelRule,
    compare,
    evaluate,
    majority,
    windows_at,
)
from mmkit.learning.metrics import confusion, macro_f1
from mmkit.run.backtest import load_tape
from mmkit.run.folds import Fold, folds_of
from mmkit.run.sampled import Sampled, sample
from mmkit.run.signals_eval import predictions
from mmkit.run.train import load_model, train

from .made_market import (
    MARKETS,
    SEEN,
    Floats,
    Labels,
    MadeMarket,
    best_calls,
    expected_f1,
    made_market,
)

FEATURES: list[Any] = [
    "imbalance",
    {"name": "ofi", "window": "100ms"},
    {"name": "trade_imbalance", "window": "100ms"},
    # That no law looks at, but for those of which the imbalance is made.
    "bid_size",
    "ask_size",
    {"name": "return", "window": "500ms"},
]
LIGHTGBM: dict[str, Any] = {"plugin": "lightgbm"}
LAGS: dict[str, Any] = {"plugin": "lightgbm", "lags": "all"}
LSTM: dict[str, Any] = {"plugin": "lstm", "threads": 1}

LAST_ALONE, ALL_LAGS = "lightgbm", "lightgbm, lags: all"

MODELS: dict[str, dict[str, dict[str, Any]]] = {
    "last": {"lightgbm": LIGHTGBM, "lstm": LSTM},
    "pattern": {LAST_ALONE: LIGHTGBM, ALL_LAGS: LAGS, "lstm": LSTM},
    "nothing": {"lightgbm": LIGHTGBM, "lstm": LSTM},
    "rare": {"lightgbm": LIGHTGBM, "lstm": LSTM},
}
"""By market and by how it is told: what is trained, all with the defaults of the trainer."""

_TEST = 0.3
_LABELS = {"horizon": 1, "threshold_bps": 0}  # the next move itself


@dataclass(frozen=True, eq=False)
class Learned:
    """A model and the best forecast on the same test, in the order of time.

    Attributes:
        truth: int8[n].
        called: int8[n], by the model.
        best: int8[n], by who knows the law; see `best_calls`.
        probabilities: float64[n, 3], that the moves of the test were drawn with.
        evaluation: The verdict of `mmkit train`.
    """

    truth: Labels
    called: Labels
    best: Labels
    probabilities: Floats
    evaluation: Evaluation

    @property
    def below_best(self) -> Comparison:
        """Macro-F1 of the model less that of the best forecast."""
        return self.less(self.best, "the best forecast")

    def less(self, other: Labels, name: str) -> Comparison:
        """Return macro-F1 of the model less that of other calls of the same samples."""
        return compare(self.truth, self.called, other, name=name, horizon="1", overlap=1)

    @property
    def short(self) -> float:
        """How far macro-F1 is to be expected below the best, whatever classes are drawn: without their luck."""
        best, ours = (expected_f1(self.probabilities, calls) for calls in (self.best, self.called))
        return best - ours

    @property
    def best_f1(self) -> float:
        """Macro-F1 of the best forecast."""
        return float(macro_f1(confusion(self.truth, self.best)))


def at_chance(evaluation: Evaluation) -> bool:
    """Return whether the interval of macro-F1 holds that of calls that know nothing."""
    return evaluation.macro_f1.holds(evaluation.chance)


def configured(market: MadeMarket, folder: Path, training: dict[str, Any]) -> Config:
    """Write the tape, and return the configuration that trains on it."""
    path = folder / "made.tape"
    market.tape.save(path)
    plain = {
        "instrument": {"venue": "binance", "market": "usdm", "symbol": "BTC/USDT:USDT"},
        "data": {"plugin": "rows", "paths": [str(path)]},
        "features": FEATURES,
        "labels": _LABELS,
        "training": {
            "out": str(folder / "model"), "window": SEEN, "folds": 1, "test": _TEST, **training
        },
        # Trains nothing; a whole configuration has one.
        "strategy": {"plugin": "join_best", "size": "1", "max_position": "1"},
    }  # fmt: skip
    return draft_plain(plain).config()


def learn(market: MadeMarket, training: dict[str, Any]) -> Learned:
    """Train and judge as ``mmkit train`` does; `training` are keys of that section."""
    with tempfile.TemporaryDirectory() as name:
        config = configured(market, Path(name), training)
        (report,) = train(config).horizons
        sampled, rows, said = predictions(Path(report.model), config, market.tape)
    ts = sampled.samples.ts[rows]
    tested = (ts >= report.tested.start_ns) & (ts <= report.tested.end_ns)
    calls = said[tested].argmax(axis=1).astype(np.int8)
    rule = LabelRule(horizon=1, threshold_bps=0.0)
    truth = rule.labels(rule.moves(sampled.samples))[rows[tested]]
    chances = market.probabilities[np.searchsorted(market.ts, ts[tested])]
    return Learned(truth, calls, best_calls(chances), chances, report.evaluation)


def learn_shuffled(market: MadeMarket, keys: dict[str, Any], seed: int = 0) -> Evaluation:
    """Train and judge on labels that were shuffled over all three parts.

    With true labels in the test, a model of shuffled ones would be off chance, by luck and to either side: it is a
    function drawn at random of the same features that the truth hangs on.
    """
    with tempfile.TemporaryDirectory() as name:
        config = configured(market, Path(name), keys)
        learning = config.learning
        assert learning.features
        assert learning.labels
        assert learning.training
        assert learning.settings
        sampled = sample(load_tape(config), learning.features, learning.sampling)
        (rule,) = learning.labels.rules().values()
        (fold,) = folds_of(sampled, rule, learning.settings, "1")
        known = np.concatenate(fold.rows)
        fold.labels[known] = np.random.default_rng(seed).permutation(fold.labels[known])
        window = learning.settings.window
        context = TrainingContext(sampled.samples.names, window)
        trainer = cast(SignalTrainer, learning.training.build(context))
        trainer.fit(
            *(_set(sampled, fold, part, window) for part in (0, 1)),
            seed=learning.settings.seed,
            progress=lambda _: None,
            stop=bool,
        )
        trainer.save(Path(name) / "model", {})
        model = load_model(config, learning.training.name, Path(name) / "model")
    rows = fold.rows[2]
    said = model.predict_batch(windows_at(sampled.samples.values, rows, window))
    training = fold.rows[0]
    plain = ImbalanceRule.fit(sampled.imbalance[training], fold.labels[training])
    return evaluate(
        fold.labels[rows],
        said,
        rule=plain.predict(sampled.imbalance[rows]),
        majority=majority(fold.labels[training]),
        horizon="1",
        overlap=1,
    )


def _set(sampled: Sampled, fold: Fold, part: int, window: int) -> TrainingSet:
    rows = fold.rows[part]
    return TrainingSet(windows_at(sampled.samples.values, rows, window), fold.labels[rows])


def main(arguments: list[str] | None = None) -> None:
    """Train everything, print a table, end with one line of JSON."""
    parser = argparse.ArgumentParser(prog="benchmarks.signals.learnable", description=__doc__)
    parser.add_argument("--samples", type=int, default=50_000, help="of each market")
    parser.add_argument("--seed", type=int, default=1, help="of the markets")
    parser.add_argument("--only", choices=list(MODELS), help="one market")
    asked = parser.parse_args(arguments)
    print(
        f"{'market':10}{'model':21}{'best':>6}{'macro-F1, interval':>24}{'chance':>8}"
        f"{'less the best, interval':>27}{'s':>6}"
    )
    figures: dict[str, float | bool] = {"samples": asked.samples}
    for number, (title, models) in enumerate(MODELS.items()):
        if asked.only not in (None, title):
            continue
        market = made_market(asked.samples, asked.seed + number, *MARKETS[title])
        found: dict[str, Learned] = {}
        for name, training in models.items():
            begun = time.monotonic()
            one = found[name] = learn(market, training)
            known = None if title == "nothing" else one
            print(_line(title, name, one.evaluation, known, time.monotonic() - begun), flush=True)
            if known is None:
                figures[f"{title}_{_key(name)}_at_chance"] = at_chance(one.evaluation)
            else:
                figures[f"{title}_{_key(name)}"] = round(one.below_best.difference.value, 4)
        if title == "last":
            for name, training in models.items():
                begun = time.monotonic()
                verdict = learn_shuffled(market, training)
                print(_line("shuffled", name, verdict, None, time.monotonic() - begun), flush=True)
                figures[f"shuffled_{name}_at_chance"] = at_chance(verdict)
        if title == "pattern":
            for name in (LAST_ALONE, ALL_LAGS):
                gap = found["lstm"].less(found[name].called, f"'{name}'")
                print(f"{'':10}lstm is {gap.sentence}", flush=True)
                figures[f"lstm_less_{_key(name)}_low"] = round(gap.difference.low, 4)
    print(json.dumps(figures))


def _key(name: str) -> str:
    return name.replace(", lags: all", "_lags")


def _line(market: str, model: str, found: Evaluation, known: Learned | None, took_s: float) -> str:
    f1, best, gap = found.macro_f1, "", ""
    if known is not None:
        less = known.below_best.difference
        best, gap = f"{known.best_f1:.3f}", f"{less.value:.3f}, {less.low:.3f} to {less.high:.3f}"
    interval = f"{f1.value:.3f}, {f1.low:.3f} to {f1.high:.3f}"
    return f"{market:10}{model:21}{best:>6}{interval:>24}{found.chance:8.3f}{gap:>27}{took_s:6.0f}"


if __name__ == "__main__":
    main()
