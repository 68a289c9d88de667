"""What a signal model is worth: its forecasts judged beside the plain rule, and what taking them would have earned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.learning import (
    BlockBootstrap,
    Evaluation,
    LabelRule,
    Span,
    TakerResult,
    block_length,
    check_classes,
    evaluate,
    take,
)
from mmkit.run.sampled import Sampled
from mmkit.sim.fees import tiers_of

if TYPE_CHECKING:
    from mmkit.config import Config

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Forecasts:
    """What was said and what happened, in the order of time.

    Attributes:
        rows: int64[n], of the samples.
        truth: int8[n].
        probabilities: float64[n, 3].
        rule: int8[n], calls of the plain rule.
        majority: int8[n], the commonest class of the training data.
    """

    rows: Ints
    truth: Labels
    probabilities: Floats
    rule: Labels
    majority: Labels

    @classmethod
    def joined(cls, parts: list[Forecasts]) -> Forecasts:
        """Return forecasts of tests that follow each other as one."""
        names = ("rows", "truth", "probabilities", "rule", "majority")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class FoldReport(msgspec.Struct, frozen=True, kw_only=True):
    """One training.

    Attributes:
        spans: Of ``training``, ``validation`` and ``test``.
        class_shares: Down, flat, up, by the same names.
        threshold_bps: Of the labels.
        rule_threshold: Of the plain rule.
        valid_macro_f1: Of the model that was kept, on validation data.
        test_macro_f1: On test data.
    """

    spans: dict[str, Span]
    class_shares: dict[str, tuple[float, float, float]]
    threshold_bps: float
    rule_threshold: float
    valid_macro_f1: float
    test_macro_f1: float


class HorizonReport(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict at one horizon.

    Attributes:
        horizon: As it is told, such as ``20`` or ``500ms``.
        model: Folder of the model.
        tested: First and last sample that was judged, and how many.
        folds: The trainings; none for a model that was there already.
        evaluation: Of all tests together.
        taker: Of the model's calls.
        rule_taker: Of the plain rule's.
    """

    horizon: str
    model: str
    tested: Span
    folds: list[FoldReport]
    evaluation: Evaluation
    taker: TakerResult
    rule_taker: TakerResult

    @property
    def sentence(self) -> str:
        """Whether it is better than the plain rule."""
        return self.evaluation.against_rule.sentence


class SignalReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``mmkit train`` and ``mmkit signals eval`` print.

    Attributes:
        command: Which.
        plugin: Of the model.
        instrument: Venue, market and symbol.
        sampling: ``update``, or the grid such as ``100ms``.
        window: Samples that the model is shown.
        features: The columns.
        looked: How many times were looked at.
        samples: In how many of them every feature was known.
        unknown: In how many of the others each was not.
        fee: Of a taker, as a share.
        latency_ns: From a sample to when a taker's order is in the market.
        horizons: The verdicts.
        warnings: What should be known before a model is used.
        stopped: Whether training was ended before its time.
    """

    command: Literal["train", "eval"]
    plugin: str
    instrument: str
    sampling: str
    window: int
    features: tuple[str, ...]
    looked: int
    samples: int
    unknown: dict[str, int]
    fee: float
    latency_ns: int
    horizons: list[HorizonReport]
    warnings: list[str]
    stopped: bool = False


def instrument_in_words(sampled: Sampled) -> str:
    """Return venue, market and symbol."""
    instrument = sampled.instrument
    return f"{instrument.venue} {instrument.market} {instrument.symbol}"


def costs(config: Config) -> tuple[float, int]:
    """Return a taker's fee as a share, and how long an order takes in ns: 0 unless that is always the same."""
    fees, entry = config.sim.fees, config.sim.latency.entry
    tier = [one for one in tiers_of(fees) if one.volume <= fees.volume_30d][-1]
    return float(tier.taker), entry if isinstance(entry, int) else 0


def span_told(sampled: Sampled, rows: Ints) -> Span:
    """Return from when to when these rows are."""
    ts = sampled.samples.ts
    return Span(
        source=instrument_in_words(sampled),
        start_ns=int(ts[rows[0]]),
        end_ns=int(ts[rows[-1]]),
        samples=len(rows),
    )


def check_judgeable(sampled: Sampled, rows: Ints, truth: Labels, rule: LabelRule) -> None:
    """Refuse tests from which no verdict can come, before anything is trained for them.

    Raises:
        DataError: if a class is missing, or there are less than ten horizons.
    """
    check_classes(truth, "test")
    block_length(np.zeros(len(rows)), least=_overlap(sampled, rows, rule))


def judge(
    sampled: Sampled,
    forecasts: Forecasts,
    rule: LabelRule,
    horizon: str,
    *,
    fee: float,
    latency_ns: int,
    seed: int,
) -> tuple[Evaluation, TakerResult, TakerResult]:
    """Return the verdict, what a taker of the forecasts would have earned, and one of the plain rule's.

    Raises:
        DataError: as `mmkit.learning.evaluate` and `mmkit.learning.take`.
    """
    rows = forecasts.rows
    evaluation = evaluate(
        forecasts.truth,
        forecasts.probabilities,
        rule=forecasts.rule,
        majority=forecasts.majority,
        horizon=horizon,
        overlap=_overlap(sampled, rows, rule),
        seed=seed,
    )
    bootstrap = BlockBootstrap(length=evaluation.block, seed=seed)
    samples = sampled.samples
    # A position is closed where rows are missing between two tests, as at a gap.
    breaks = (np.diff(rows) != 1) | (np.diff(samples.span[rows]) != 0)
    span = np.concatenate((np.zeros(1, np.int64), np.cumsum(breaks)))
    calls = forecasts.probabilities.argmax(axis=1).astype(np.int8)
    taker, rule_taker = (
        take(
            samples.ts[rows],
            span,
            sampled.bid[rows],
            sampled.ask[rows],
            called,
            fee=fee,
            bootstrap=bootstrap,
            latency_ns=latency_ns,
        )
        for called in (calls, forecasts.rule)
    )
    return evaluation, taker, rule_taker


def _overlap(sampled: Sampled, rows: Ints, rule: LabelRule) -> int:
    """Return how many samples a horizon has, at the mean."""
    if rule.unit == "updates":
        return rule.horizon
    if not len(rows):
        raise DataError("a test of at least one sample was expected; found none; use more data")
    ts = sampled.samples.ts[rows]
    ahead = np.searchsorted(ts, ts + rule.horizon, side="right") - 1 - np.arange(len(ts))
    return max(1, int(np.ceil(ahead.mean())))
