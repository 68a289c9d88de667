"""A saved model judged on other data."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from mmkit.config.learning import Sampling
from mmkit.errors import DataError, UsageError
from mmkit.learning import CARD, Card, ImbalanceRule, LabelRule, Part, read_card
from mmkit.run.backtest import load_tape
from mmkit.run.folds import labelled
from mmkit.run.sampled import Sampled, sample
from mmkit.run.train import forecast, load_model
from mmkit.run.verdict import (
    HorizonReport,
    SignalReport,
    check_judgeable,
    costs,
    instrument_in_words,
    judge,
    span_told,
)
from mmkit.tape import Tape
from mmkit.units import format_duration, format_time

if TYPE_CHECKING:
    from mmkit.config import Config

_log = logging.getLogger("mmkit.signals")


def evaluate_saved(folder: Path, config: Config) -> SignalReport:
    """Return the verdict on a saved model, or on those of several horizons that one training left in a folder.

    Features, sampling and labels are those of the card, with the thresholds that the training found. Where the
    configuration has such sections as well, they must be the same.

    Args:
        folder: With a card, or with folders that have one each.
        config: Names the data, and the costs of a taker.

    Raises:
        DataError: if it is no model or not whole, the configuration has other features, or the data does not do.
        UsageError: if the models are not of one training.
    """
    cards = _cards(folder)
    first = next(iter(cards.values()))
    for path, card in cards.items():
        card.check_whole()
        if card.features != first.features or card.sampling != first.sampling:
            raise UsageError(
                f"{path}: models of one training were expected in '{folder}'; found other features or another "
                "sampling than in the first; evaluate them one by one"
            )
        _check_same(card, config)
    tape = load_tape(config)
    fee, latency_ns = costs(config)
    sampling = Sampling(first.sampling if isinstance(first.sampling, int) else None)
    sampled = sample(tape, first.features, sampling)
    warnings = _overlaps(list(cards.values()), sampled)
    horizons = [
        _judged(path, card, config, sampled, fee=fee, latency_ns=latency_ns)
        for path, card in cards.items()
    ]
    warnings += [one.sentence for one in horizons if not one.evaluation.against_rule.better]
    for words in warnings:
        _log.warning("%s", words)
    return SignalReport(
        command="eval",
        plugin=first.plugin,
        instrument=instrument_in_words(sampled),
        sampling=str(sampling),
        window=first.window,
        features=sampled.samples.names,
        looked=sampled.looked,
        samples=len(sampled.samples),
        unknown=sampled.unknown,
        fee=fee,
        latency_ns=latency_ns,
        horizons=horizons,
        warnings=warnings,
    )


def predictions(folder: Path, config: Config, tape: Tape) -> tuple[Sampled, np.ndarray, np.ndarray]:
    """Return the samples of a tape, the rows with which a window ends, and what a saved model says there.

    Args:
        folder: Of the model.
        config: Whose plugins are asked.
        tape: Market data.

    Returns:
        The samples, int64[n] and float64[n, 3].

    Raises:
        DataError: as `evaluate_saved`.
    """
    card = read_card(folder)
    card.check_whole()
    sampling = Sampling(card.sampling if isinstance(card.sampling, int) else None)
    sampled = sample(tape, card.features, sampling)
    model = load_model(config, card.plugin, folder)
    model.check_names(sampled.samples.names)
    everything = np.zeros(len(sampled.samples), np.int8)
    rows = labelled(sampled, everything, Part(0, len(everything)), model.window)
    common = ImbalanceRule(threshold=0.0)
    return sampled, rows, forecast(sampled, model, rows, everything, common, 1).probabilities


def _cards(folder: Path) -> dict[Path, Card]:
    """Return the cards, by the folders of the models, in order of their horizons."""
    inner = [] if (folder / CARD).exists() or not folder.is_dir() else sorted(folder.iterdir())
    cards = {path: read_card(path) for path in inner if (path / CARD).exists()}
    if not cards:
        return {folder: read_card(folder)}
    return dict(
        sorted(cards.items(), key=lambda one: one[1].labels.horizon if one[1].labels else 0)
    )


def _check_same(card: Card, config: Config) -> None:
    """Refuse sections of the configuration that the model was not trained with."""
    learning = config.learning
    if learning.features is not None:
        card.check_names([spec.column for spec in learning.features])
    rule = card.labels
    assert rule is not None
    if learning.labels is not None:
        asked = learning.labels.rules().values()
        if _asked_for(rule) not in [_asked_for(one) for one in asked]:
            raise DataError(
                f"labels: {_in_words([rule])} was expected, as the card says; found {_in_words(list(asked))}; leave the "
                "section out"
            )
    if learning.training is not None and learning.settings is not None:
        for name, said, found in (
            ("sampling", _sampling(card), str(learning.sampling)),
            ("training.plugin", card.plugin, learning.training.name),
            ("training.window", f"{card.window}", f"{learning.settings.window}"),
        ):
            if said != found:
                raise DataError(
                    f"{name}: {said} was expected, as the card says; found {found}; leave 'sampling' and 'training' out"
                )


def _asked_for(rule: LabelRule) -> LabelRule:
    """Return a rule as it is written: without the threshold that a training found."""
    return rule if rule.quantile is None else msgspec.structs.replace(rule, threshold_bps=None)


def _in_words(rules: Sequence[LabelRule]) -> str:
    one = rules[0]
    how = f"quantile {one.quantile}" if one.quantile is not None else f"{one.threshold_bps} bps"
    return f"{one.how} over horizon {', '.join(map(horizon_of, rules))} with {how}"


def _judged(
    folder: Path, card: Card, config: Config, sampled: Sampled, *, fee: float, latency_ns: int
) -> HorizonReport:
    model = load_model(config, card.plugin, folder)
    model.check_names(sampled.samples.names)
    rule = card.labels
    threshold = card.metrics.get("rule_threshold")
    if (
        rule is None
        or not isinstance(threshold, float | int)
        or "training" not in card.class_shares
    ):
        raise DataError(
            f"{folder / CARD}: the labels, the shares of classes in training and metrics.rule_threshold were "
            "expected; not all are there; train the model with 'mmkit train'"
        )
    labels = rule.labels(rule.moves(sampled.samples))
    horizon = horizon_of(rule)
    try:
        rows = labelled(sampled, labels, Part(0, len(labels)), model.window)
        check_judgeable(sampled, rows, labels[rows], rule)
    except DataError as error:
        raise DataError(f"horizon {horizon}: {error}") from error
    common = int(np.argmax(card.class_shares["training"]))
    plain = ImbalanceRule(threshold=float(threshold))
    found = forecast(sampled, model, rows, labels, plain, common)
    evaluation, taker, rule_taker = judge(
        sampled, found, rule, horizon, fee=fee, latency_ns=latency_ns, seed=card.seed or 0
    )
    return HorizonReport(
        horizon=horizon,
        model=str(folder),
        tested=span_told(sampled, rows),
        folds=[],
        evaluation=evaluation,
        taker=taker,
        rule_taker=rule_taker,
    )


def horizon_of(rule: LabelRule) -> str:
    """Return the horizon as it is told."""
    return str(rule.horizon) if rule.unit == "updates" else format_duration(rule.horizon)


def _sampling(card: Card) -> str:
    return format_duration(card.sampling) if isinstance(card.sampling, int) else "update"


def _overlaps(cards: Sequence[Card], sampled: Sampled) -> list[str]:
    """Return in words that the models have seen the data, or were trained on another market."""
    here, ts = instrument_in_words(sampled), sampled.samples.ts
    said = []
    if others := sorted({card.instrument for card in cards} - {here}):
        said.append(f"the model was trained on {', '.join(others)}, and is judged on {here}")
    seen = [
        span
        for card in cards
        for name, span in card.spans.items()
        if card.instrument == here
        and name != "test"
        and span.start_ns <= ts[-1]
        and span.end_ns >= ts[0]
    ]
    if seen:
        said.append(
            "the data holds what the model was made on, its training and validation from "
            f"{format_time(min(span.start_ns for span in seen))} to {format_time(max(span.end_ns for span in seen))}: "
            "the figures are too good"
        )
    return said
