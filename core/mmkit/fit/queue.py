"""The queue model that agrees best with the fills of a recorded run.

The loss of a model is the mean of `Evidence.miss`, whatever its sign, over the orders that tell models apart:
how far its front was from what really happened, as a share of the queue that the order joined.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.fit.collect import Seen
from mmkit.fit.evidence import Evidence
from mmkit.fit.knots import STEPS, Knots, fit_knots, knots_of
from mmkit.settings import QueueSettings
from mmkit.sim.queue import Calibrated, Power, queue_model

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

LEAST = 30
"""Orders that tell models apart: three in each block."""
_BLOCKS = 10  # of time, with as many such orders each, left out in turn; as `mmkit.intensity` does
_FOLDS = 5  # of two blocks each, for what takes longer
_OCTAVES = (-4.0, 4.0)
EXPONENTS = (2.0 ** _OCTAVES[0], 2.0 ** _OCTAVES[1])
"""The least and the largest that is tried; beyond them the share hardly changes with the exponent."""
_FINEST = 1 / 256  # of an octave: 0.3 %
_KNOTS = 5  # at 0, 1/4, 1/2, 3/4 and 1; a run does not tell more apart
_UNMATCHED = 0.1  # of the fills may be left out for want of a trade
_ALIKE = 1e-9  # sums of floats in another order


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """How a model did on the orders that tell models apart.

    Attributes:
        name: In a word or two.
        loss: The mean of what its front missed, as a share of the total on arrival.
        left_out_loss: The same on orders that were left out of the fit, each fifth in turn. A model without a
            parameter has its loss; `None` for exponents that were only looked at.
        filled: Orders that it would have filled, and that were not, or not yet.
        unfilled: Orders that it would not have filled by the time at which they were.
    """

    name: str
    loss: float
    left_out_loss: float | None
    filled: int
    unfilled: int


class QueueFit(msgspec.Struct, frozen=True, kw_only=True):
    """The queue model that agrees best with what happened.

    Attributes:
        queue: What to write under ``sim.queue``.
        orders: That tell models apart; what everything here rests on.
        filled: Those of them that a trade at their price filled.
        exponent: The best of ``power``: the middle of those that are equally good.
        exponent_low: The least of these.
        exponent_high: The largest of these.
        exponent_error: The standard error, by leaving out each tenth of the orders in turn; with that of a value
            that may lie anywhere from low to high.
        behind: The best knots of ``calibrated``; empty if no knots could do better than the exponent.
        behind_error: Their standard errors, by leaving out each fifth of the orders in turn.
        tried: How models did, the fitted ones last.
    """

    queue: dict[str, Any]
    orders: int
    filled: int
    exponent: float
    exponent_low: float
    exponent_high: float
    exponent_error: float
    behind: list[float]
    behind_error: list[float]
    tried: list[Tried]


def fit_queue(evidence: Sequence[Evidence], seen: Seen) -> QueueFit:
    """Return the queue model that agrees best with `evidence`, which is in order of time.

    That is ``power``, unless another did better on orders that were left out of the fit, by more than the
    standard error of the difference.

    Raises:
        DataError: if there are fewer than `LEAST`, or too many fills have no trade; `seen` says so.
    """
    if seen.unmatched > _UNMATCHED * (seen.filled + seen.unmatched):
        raise DataError(
            f"{seen.unmatched:,} of {seen.filled + seen.unmatched:,} orders that were filled in the queue were so "
            "at a time at which the market data has no trade at their price; the fills and the trades are stamped "
            "by different clocks, or trades are missing, and what remains are mostly orders that were not filled, "
            "which would make any model look too hopeful"
        )
    if len(evidence) < LEAST:
        raise DataError(_too_few(len(evidence), seen))
    return _Fitting(evidence).fit()


def _too_few(orders: int, seen: Seen) -> str:
    rested = f"{seen.rested:,} orders of the run rested"
    reasons = [f"{count:,} {reason}" for reason, count in seen.left_out.items()]
    without = f" (without {', '.join(reasons)})" if reasons else ""
    return (
        f"{rested}, {seen.followed:,} could be followed{without}, {seen.filled:,} of these were filled by a trade "
        f"at their price, and {orders:,} tell queue models apart; {LEAST} is the least that can be fitted to. An "
        "order does if others at its price cancel while it waits and trades come after that: a longer run is "
        "needed, or a strategy that leaves its quotes where they are for longer, at prices that trade"
    )


@dataclass(frozen=True)
class _Candidate:
    """A model, what it misses of each order, and what it misses of those that were left out of its fit."""

    settings: QueueSettings
    misses: Floats
    left_out: Floats

    @property
    def fitted(self) -> bool:
        """Whether it has parameters, so that it misses less of the orders it was fitted to than of others."""
        return self.left_out is not self.misses


class _Fitting:
    """What models miss on some evidence, in `_BLOCKS` blocks of time."""

    def __init__(self, evidence: Sequence[Evidence]) -> None:
        self._evidence = evidence
        self._block = np.arange(len(evidence)) * _BLOCKS // len(evidence)
        self._fold = self._block * _FOLDS // _BLOCKS
        self._powers: dict[float, Floats] = {}

    def fit(self) -> QueueFit:
        """Fit every model and choose one."""
        everything = self._block >= 0
        low, high = self._exponents(everything)
        exponent = (low + high) / 2
        without = [_middle(self._exponents(self._block != block)) for block in range(_BLOCKS)]
        power = self._power(exponent)
        averse = self._plain(QueueSettings(model="risk_averse"))
        log = self._plain(QueueSettings(model="log"))
        others = [averse, log]
        behind_error: list[float] = []
        # Where the exponent misses nothing, no knots can miss less.
        if power.misses.any():
            calibrated, behind_error = self._calibrated(exponent)
            others.append(calibrated)
        looked_at = {n: self._misses(QueueSettings(exponent=n)) for n in (1.0, 2.0, 3.0)}
        return QueueFit(
            queue=self._best(power, others).settings.model_dump(exclude_unset=True, mode="json"),
            orders=len(self._evidence),
            filled=sum(1 for each in self._evidence if each.filling),
            exponent=exponent,
            exponent_low=low,
            exponent_high=high,
            exponent_error=math.hypot(_jackknife(without), _width_error(low, high)),
            behind=list(others[-1].settings.behind),
            behind_error=behind_error,
            tried=[
                _tried("risk_averse", averse.misses, averse.left_out),
                _tried("log", log.misses, log.left_out),
                *(_tried(f"power {n:g}", misses) for n, misses in looked_at.items()),
                _tried("power, fitted", power.misses, power.left_out),
                *(_tried("calibrated, fitted", each.misses, each.left_out) for each in others[2:]),
            ],
        )

    def _best(self, power: _Candidate, others: Sequence[_Candidate]) -> _Candidate:
        """Return what misses least of the orders that were left out.

        What has nothing to be fitted need do no better than `power`; what has more, by more than may be chance.
        """
        best = power
        for each in others:
            gained = np.abs(best.left_out) - np.abs(each.left_out)
            by_fold = np.bincount(self._fold, weights=gained, minlength=_FOLDS)
            gain, chance = float(by_fold.sum()), math.sqrt(_FOLDS) * float(by_fold.std(ddof=1))
            if gain > chance if each.fitted else gain >= 0:
                best = each
        return best

    # --- the candidates ---

    def _plain(self, settings: QueueSettings) -> _Candidate:
        """Return a model that has nothing to be fitted."""
        misses = self._misses(settings)
        return _Candidate(settings, misses, misses)

    def _power(self, exponent: float) -> _Candidate:
        settings = QueueSettings(model="power", exponent=exponent)
        left_out = np.zeros(len(self._evidence))
        for fold in range(_FOLDS):
            out = self._fold == fold
            there = QueueSettings(exponent=_middle(self._exponents(~out)))
            left_out[out] = self._misses(there, out)
        return _Candidate(settings, self._misses(settings), left_out)

    def _calibrated(self, exponent: float) -> tuple[_Candidate, list[float]]:
        """Return the best knots, and their standard errors."""
        settings = self._knots(exponent, self._block >= 0)
        left_out = np.zeros(len(self._evidence))
        without = []
        for fold in range(_FOLDS):
            out = self._fold == fold
            there = self._knots(_middle(self._exponents(~out)), ~out)
            left_out[out] = self._misses(there, out)
            without.append(there.behind)
        # No knot is known better than to the step with which it was sought.
        errors = [math.hypot(_jackknife(knot), STEPS[-1]) for knot in zip(*without, strict=True)]
        return _Candidate(settings, self._misses(settings), left_out), errors

    # --- fitting ---

    def _misses(self, settings: QueueSettings, used: Mask | None = None) -> Floats:
        model = queue_model(settings)
        return np.array([each.miss(model) for each in self._of(used)])

    def _of(self, used: Mask | None) -> Sequence[Evidence]:
        return self._evidence if used is None else list(compress(self._evidence, used.tolist()))

    def _knots(self, exponent: float, used: Mask) -> QueueSettings:
        """Return the best knots, sought from those of ``power`` on."""
        evidence = self._of(used)

        def loss(behind: Knots, enough: float) -> float:
            model, total = Calibrated(behind), 0.0
            for each in evidence:
                total += abs(each.miss(model))
                if total >= enough:
                    break
            return total

        return QueueSettings(
            model="calibrated", behind=fit_knots(loss, knots_of(Power(exponent), _KNOTS))
        )

    def _exponents(self, used: Mask) -> tuple[float, float]:
        """Return the least and the largest of the exponents that are best and equally good."""
        first, last = _OCTAVES
        losses: dict[float, float] = {}
        step = 0.25
        near = np.arange(first, last + step, step).tolist()
        while True:
            for octave in near:
                if first <= octave <= last and octave not in losses:
                    losses[octave] = float(self._of_power(octave)[used].sum())
            low, high = _plateau(losses)
            if step <= _FINEST:
                return 2.0**low, 2.0**high
            step /= 2
            near = [end + by for end in (low, high) for by in (-step, step)]

    def _of_power(self, octave: float) -> Floats:
        """Return what ``power`` misses of each order, with two to the power of `octave` as its exponent."""
        if octave not in self._powers:
            self._powers[octave] = np.abs(self._misses(QueueSettings(exponent=2.0**octave)))
        return self._powers[octave]


def _tried(name: str, misses: Floats, left_out: Floats | None = None) -> Tried:
    return Tried(
        name=name,
        loss=float(np.abs(misses).mean()),
        left_out_loss=None if left_out is None else float(np.abs(left_out).mean()),
        filled=int((misses < 0).sum()),
        unfilled=int((misses > 0).sum()),
    )


def _middle(ends: tuple[float, float]) -> float:
    return (ends[0] + ends[1]) / 2


def _width_error(low: float, high: float) -> float:
    """Return the standard error of an exponent that may lie anywhere from `low` to `high`, or a step beyond."""
    step: float = 2.0**_FINEST
    return (high * step - low / step) / math.sqrt(12)


def _plateau(losses: Mapping[float, float]) -> tuple[float, float]:
    """Return the ends of what lies around the least loss and is not more."""
    places = sorted(losses)
    least = min(losses.values())
    alike = [losses[place] <= least + _ALIKE for place in places]
    begin = end = alike.index(True)
    while end + 1 < len(places) and alike[end + 1]:
        end += 1
    return places[begin], places[end]


def _jackknife(values: Sequence[float]) -> float:
    """Return the standard error of what was found with each block left out."""
    return math.sqrt((len(values) - 1) * float(np.var(values)))
