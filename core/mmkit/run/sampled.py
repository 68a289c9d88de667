"""What the features were over recorded data, and beside them what a verdict needs of the book."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.features import Features, FeatureSpec, parse_features
from mmkit.instruments import Instrument
from mmkit.learning import Samples, grid_times, span_of, update_times
from mmkit.learning.samples import none_known, spans_of_kept
from mmkit.tape import Tape

if TYPE_CHECKING:
    from mmkit.config.learning import Sampling

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_BESIDE = ("spread", "mid", "imbalance")


@dataclass(frozen=True, eq=False)
class Sampled:
    """Samples of one tape in which every feature is known.

    Attributes:
        instrument: Of the tape.
        samples: `n` of them; mid is in ticks.
        bid: float64[n], the best bid, in ticks.
        ask: float64[n], the best ask.
        imbalance: float64[n], of the sizes at the best prices, from -1 to 1.
        looked: How many times were looked at.
        unknown: In how many of them each feature, and the mid, was not known; they are left out.
    """

    instrument: Instrument
    samples: Samples
    bid: Floats
    ask: Floats
    imbalance: Floats
    looked: int
    unknown: dict[str, int]


def sample(
    tape: Tape,
    specs: Sequence[FeatureSpec | Mapping[str, Any] | str],
    sampling: Sampling,
) -> Sampled:
    """Return the features of a tape, at the times that `sampling` says.

    Raises:
        ConfigError: if a feature does not fit the instrument.
        DataError: if there is no such time, or none at which all features are known.
    """
    asked = Features(specs, tape.instrument)
    beside = {spec.column: spec for spec in parse_features(_BESIDE)}
    more = [spec for column, spec in beside.items() if column not in asked.names]
    features = Features([*asked.specs, *more], tape.instrument)
    at = _times(tape, sampling)
    place_of = [features.names.index(column) for column in beside]
    kept, keep, unknown = _known(features, tape, at, len(asked.names), place_of)
    if not keep.any():
        raise none_known(len(at), unknown)
    values, spread, mid, imbalance = kept
    spans = spans_of_kept(span_of(tape, at), keep)
    samples = Samples.of(at[keep], values, asked.names, mid, spans)
    samples.check_finite()
    return Sampled(
        instrument=tape.instrument,
        samples=samples,
        bid=mid - spread / 2,
        ask=mid + spread / 2,
        imbalance=imbalance,
        looked=len(at),
        unknown={name: unknown[name] for name in (*asked.names, "mid") if name in unknown},
    )


_AT_ONCE = 65_536
"""Samples: of 20 features 10 MB."""


def _known(
    features: Features, tape: Tape, at: Ints, count: int, beside: Sequence[int]
) -> tuple[tuple[Floats, ...], npt.NDArray[np.bool_], dict[str, int]]:
    """Return the first `count` features where all are known, and those `beside`; where that is; what is not known.

    Written as they are computed: of months nothing but what is kept has room.
    """
    # What is not written of it takes no memory.
    values = np.empty((len(at), count))
    others = np.empty((len(beside), len(at)))
    keep = np.empty(len(at), np.bool_)
    missing = np.zeros(len(features.names), np.int64)
    start = end = 0
    for piece in features.pieces(tape, at, _AT_ONCE):
        lacking = np.isnan(piece)
        missing += lacking.sum(axis=0)
        whole = ~lacking.any(axis=1)
        keep[start : start + len(piece)] = whole
        start += len(piece)
        chosen = piece if whole.all() else piece[whole]
        values[end : end + len(chosen)] = chosen[:, :count]
        for other, place in zip(others, beside, strict=True):
            other[end : end + len(chosen)] = chosen[:, place]
        end += len(chosen)
    counts = dict(zip(features.names, missing.tolist(), strict=True))
    unknown = {name: number for name, number in counts.items() if number}
    return (values[:end], *(other[:end] for other in others)), keep, unknown


def _times(tape: Tape, sampling: Sampling) -> Ints:
    if sampling.every_ns is not None:
        return grid_times(int(tape.ts_local[0]), int(tape.ts_local[-1]), sampling.every_ns)
    at = update_times(tape)
    if not len(at):
        raise DataError(
            f"{tape.instrument.symbol}: updates of the book were expected, by 'sampling: update'; found none in "
            f"{len(tape):,} rows; use data with the book's depth, or a grid such as 'sampling: 100ms'"
        )
    return at
