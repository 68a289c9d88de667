"""Down, flat or up: where mid goes over a horizon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.learning.samples import Bools, Floats, Ints, Samples

Labels = npt.NDArray[np.int8]

CLASSES = ("down", "flat", "up")
DOWN, FLAT, UP = 0, 1, 2
UNKNOWN = -1
"""The label of a sample whose future, or past where it is needed, is not in its span."""

_BPS = 1e4
_DIGITS = 6  # of a move in bps; far below any tick, above what rounding in sums of mids leaves


class LabelRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a sample gets its class. JSON in and out with msgspec, as part of the card.

    With ``m+`` the mean of the mids of the samples after this one and no further than `horizon`:

    - ``from_now``: the move is ``(m+ - mid) / mid``; equation (3) of Z. Zhang, S. Zohren and S. Roberts,
      "DeepLOB: Deep Convolutional Neural Networks for Limit Order Books", IEEE Transactions on Signal
      Processing 67(11), 2019; from A. Ntakaris, M. Magris, J. Kanniainen, M. Gabbouj and A. Iosifidis,
      "Benchmark dataset for mid-price forecasting of limit order book data with machine learning methods",
      Journal of Forecasting 37(8), 2018, whose labels FI-2010 has.
    - ``from_past``: it is ``(m+ - m-) / m-``, ``m-`` the mean of as many mids up to and with this one;
      equation (4) of the former. With a horizon in time, of the samples later than ``ts - horizon``.

    A move above the threshold is up, below its negative down, anything else flat.

    Attributes:
        how: As above.
        horizon: In samples, or in ns.
        unit: ``updates`` counts samples, ``ns`` time.
        threshold_bps: Of the move; None until `fit` has found it.
        quantile: Share of the training data's moves that shall be flat; None if the threshold is fixed.
    """

    how: Literal["from_now", "from_past"] = "from_now"
    horizon: int
    unit: Literal["updates", "ns"] = "updates"
    threshold_bps: float | None = None
    quantile: float | None = None

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise DataError(f"labels: a horizon of at least 1 was expected; found {self.horizon}")
        if self.threshold_bps is None and self.quantile is None:
            raise DataError("labels: give a threshold in bps, or the quantile to take it from")
        if self.threshold_bps is not None and not 0 <= self.threshold_bps < _BPS:
            raise DataError(
                f"labels: a threshold of 0 bps or more, below 10000, was expected; found {self.threshold_bps}"
            )
        if self.quantile is not None and not 0 <= self.quantile < 1:
            raise DataError(
                f"labels: a quantile of at least 0 and below 1 was expected; found {self.quantile}"
            )

    @property
    def reach(self) -> int:
        """How far a label looks, ahead and back together, in samples or ns: the least embargo."""
        return 2 * self.horizon if self.how == "from_past" else self.horizon

    def moves(self, samples: Samples) -> Floats:
        """Return the smoothed move behind each sample, float64[n], in bps, to 1e-6 bps.

        NaN where the span ends before the horizon does, or for ``from_past`` begins within it. A mid that
        does not change within the horizon gives exactly 0. With a horizon in time and no sample in it, mid
        has not moved.

        Raises:
            DataError: if a mid is not a positive finite number.
        """
        mid = samples.mid
        bad = np.flatnonzero(~(np.isfinite(mid) & (mid > 0)))
        if len(bad):
            when = np.datetime64(int(samples.ts[bad[0]]), "ns")
            raise DataError(
                f"labels: a mid above 0 was expected; found {mid[bad[0]]} at {when}Z (row {bad[0]}) and in "
                f"{len(bad):,} rows in all; take Samples.known()"
            )
        n = len(mid)
        if not n:
            return np.empty(0)
        rows = np.arange(n)
        opens, closes = _ends(samples.span)
        if self.unit == "updates":
            last, first = rows + self.horizon, rows - self.horizon + 1
            reached, began = last < closes, first >= opens
        else:
            ts = samples.ts
            last = np.searchsorted(ts, ts + self.horizon, side="right") - 1
            first = np.searchsorted(ts, ts - self.horizon, side="right")
            reached = ts[closes - 1] >= ts + self.horizon
            began = ts[opens] <= ts - self.horizon
        ahead = _mean_change(mid, rows, np.minimum(last, closes - 1))
        if self.how == "from_now":
            move, known = ahead / mid, reached
        else:
            back = _mean_back(mid, np.maximum(first, opens), rows)
            move, known = (ahead + back) / (mid - back), reached & began
        return np.where(known, np.round(move * _BPS, _DIGITS), np.nan)

    def fit(self, training_moves: Floats) -> LabelRule:
        """Return the rule with its threshold; it is kept as it is if it is fixed already.

        Args:
            training_moves: Moves of training samples only, NaN where not known.

        Raises:
            DataError: if none is known.
        """
        if self.quantile is None:
            return self
        known = training_moves[~np.isnan(training_moves)]
        if not len(known):
            raise DataError(
                f"labels: the training data ends before any horizon of {self.horizon} {self.unit}; "
                "use more data or a shorter horizon"
            )
        # A move that was seen, not one between two: no label then hangs on how the computer rounds.
        threshold = np.quantile(np.abs(known), self.quantile, method="inverted_cdf")
        return msgspec.structs.replace(self, threshold_bps=float(threshold))

    def labels(self, moves: Floats) -> Labels:
        """Return int8[n]: 0 down, 1 flat, 2 up, -1 where the move is NaN.

        Raises:
            DataError: if the threshold has not been fitted.
        """
        if self.threshold_bps is None:
            raise DataError(
                "labels: the threshold is a quantile and has not been fitted; call fit() with training moves"
            )
        labels = np.full(len(moves), FLAT, np.int8)
        labels[moves > self.threshold_bps] = UP
        labels[moves < -self.threshold_bps] = DOWN
        labels[np.isnan(moves)] = UNKNOWN
        return labels


def class_shares(labels: Labels) -> tuple[float, float, float]:
    """Return the shares of down, flat and up among the labels that are known; 0 each if none is."""
    counts = np.bincount(labels[labels >= 0], minlength=3)[:3]
    down, flat, up = (counts / max(int(counts.sum()), 1)).tolist()
    return down, flat, up


def check_classes(labels: Labels, what: str) -> None:
    """Refuse labels among which a class is missing, or that are none at all.

    Args:
        labels: int8[n], -1 where not known.
        what: Whose labels they are, such as ``"training"``, for the message.

    Raises:
        DataError: names the missing classes and how many of the others there are.
    """
    foreign = labels[(labels < UNKNOWN) | (labels > UP)]
    if len(foreign):
        raise DataError(f"{what} labels: -1, 0, 1 or 2 was expected; found {foreign[0]}")
    counts = np.bincount(labels[labels >= 0], minlength=3)
    if not counts.sum():
        raise DataError(
            f"{what} labels: none of {len(labels):,} samples has a label; the data is shorter than the horizon"
        )
    missing = [name for name, count in zip(CLASSES, counts, strict=True) if not count]
    if missing:
        raise DataError(
            f"{what} labels: all of {', '.join(CLASSES)} were expected; no {' and no '.join(missing)} among "
            f"{_told(counts.tolist())}; use more data, a longer horizon or a lower threshold"
        )


def _told(counts: Sequence[int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in zip(CLASSES, counts, strict=True))


def _ends(span: Ints) -> tuple[Ints, Ints]:
    """Return for each row where its span begins and where it ends (the row after its last)."""
    return np.searchsorted(span, span, side="left"), np.searchsorted(span, span, side="right")


def _steps(mid: Floats) -> tuple[Floats, Floats]:
    """Return running sums of the changes of mid, and of the changes times their row."""
    change = np.diff(mid, prepend=mid[:1])
    return np.cumsum(change), np.cumsum(change * np.arange(len(mid)))


def _mean_change(mid: Floats, at: Ints, last: Ints) -> Floats:
    """Return the mean of ``mid[j] - mid[at]`` over ``at < j <= last``; 0 where there is no j.

    From running sums of changes, so that it costs the same for any horizon, and is exactly 0 where nothing
    changes: ``sum_j (mid[j] - mid[at]) = sum_i change[i] (last + 1 - i)``.
    """
    plain, weighted = _steps(mid)
    total = (last + 1) * (plain[last] - plain[at]) - (weighted[last] - weighted[at])
    still = _unchanged(mid, at, last)
    return np.where(still, 0.0, total / np.maximum(last - at, 1))


def _mean_back(mid: Floats, first: Ints, at: Ints) -> Floats:
    """Return the mean of ``mid[at] - mid[j]`` over ``first <= j <= at``."""
    plain, weighted = _steps(mid)
    total = weighted[at] - weighted[first] - (first * (plain[at] - plain[first]))
    # change[i] counts for every j below i, of which there are i - first.
    still = _unchanged(mid, first, at)
    return np.where(still, 0.0, total / (at - first + 1))


def _unchanged(mid: Floats, first: Ints, last: Ints) -> Bools:
    """Return where mid is the same from `first` to `last`."""
    moved = np.cumsum(np.diff(mid, prepend=mid[:1]) != 0)
    unchanged: Bools = moved[last] == moved[first]
    return unchanged
