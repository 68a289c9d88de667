"""How sure a figure is, when neighbouring samples tell nearly the same: the circular block bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.learning.samples import Floats

Counts = npt.NDArray[np.int8]

LEAST_BLOCKS = 10
"""Blocks that a series must hold. With fewer, how much they differ says little about how much they might."""

_CELLS = 4_000_000  # numbers looked up at once; 32 MB


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its interval.

    Attributes:
        value: Of the whole sample.
        low: Lower end.
        high: Upper end.
        level: How often such an interval holds the truth, if all is as assumed.
    """

    value: float
    low: float
    high: float
    level: float

    def __str__(self) -> str:
        return f"{self.value:.3f}, {self.level * 100:g}% interval {self.low:.3f} to {self.high:.3f}"

    def holds(self, truth: float) -> bool:
        """Return whether `truth` lies within."""
        return self.low <= truth <= self.high


class BlockBootstrap(msgspec.Struct, frozen=True, kw_only=True):
    """Resamples a series by blocks of neighbours, and says how far a figure moves thereby.

    A resample is ``ceil(n / length)`` blocks with random first samples, the end joined to the beginning, the
    last block cut so that there are n samples. D. N. Politis and J. P. Romano, "A circular block-resampling
    procedure for stationary data", in "Exploring the Limits of Bootstrap", 1992. The same seed gives the same
    resamples whatever is measured, so two forecasts are compared on the same ones.

    Intervals take the quantiles of the resamples.

    Attributes:
        length: Of a block, in samples.
        resamples: How many.
        level: Of the intervals.
        seed: Of the random first samples.
    """

    length: int
    resamples: int = 2000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.length < 1 or self.resamples < 1 or not 0 < self.level < 1:
            raise DataError(
                "bootstrap: a length and resamples of at least 1 and a level between 0 and 1 were expected; "
                f"found {self.length}, {self.resamples} and {self.level}"
            )

    def totals(self, contributions: Floats | Counts) -> Floats:
        """Return the sums over each resample, float64[resamples, c].

        Whatever is a function of sums over samples, such as anything of a confusion matrix, is had from these
        without making one resample: the sum over a block is a difference of running sums.

        Args:
            contributions: Shape (n, c), what each sample adds, in the order of time; int8 if it only counts.

        Raises:
            DataError: if the series is shorter than `LEAST_BLOCKS` blocks, or not finite.
        """
        n, columns = contributions.shape
        if n < LEAST_BLOCKS * self.length:
            raise DataError(
                f"bootstrap: at least {LEAST_BLOCKS} blocks of {self.length:,} samples were expected; found {n:,} "
                "samples; test on more data, as an interval from so little would mean nothing"
            )
        if not np.isfinite(contributions).all():
            raise DataError("bootstrap: finite numbers were expected; found NaN or an infinite one")
        blocks = -(-n // self.length)
        # Counts need half the room, and are as exact.
        number = np.float64 if np.issubdtype(contributions.dtype, np.floating) else np.int32
        running = np.zeros((n + self.length + 1, columns), number)
        np.cumsum(
            np.concatenate((contributions, contributions[: self.length])),
            axis=0,
            dtype=number,
            out=running[1:],
        )
        whole = running[self.length : self.length + n] - running[:n]
        rest = n - (blocks - 1) * self.length
        last = running[rest : rest + n] - running[:n]
        del running
        dice = np.random.default_rng(self.seed)
        found = np.empty((self.resamples, columns))
        step = max(1, _CELLS // (blocks * columns))
        for begin in range(0, self.resamples, step):
            count = min(step, self.resamples - begin)
            first = dice.integers(n, size=(count, blocks))
            found[begin : begin + count] = whole[first[:, :-1]].sum(axis=1) + last[first[:, -1]]
        return found

    def interval(
        self, contributions: Floats | Counts, figure: Callable[[Floats], Floats]
    ) -> Interval:
        """Return the figure of all samples and its interval.

        Args:
            contributions: As in `totals`.
            figure: Sums of shape (..., c) to figures of shape (...).

        Raises:
            DataError: as `totals`, and if the figure of a resample is not finite.
        """
        return self.interval_of(
            float(figure(contributions.sum(axis=0))), figure(self.totals(contributions))
        )

    def interval_of(self, value: float, resampled: Floats) -> Interval:
        """Return the interval of a figure from those of the resamples."""
        if not np.isfinite(resampled).all():
            raise DataError(
                f"bootstrap: the figure is not defined in {(~np.isfinite(resampled)).sum():,} of {len(resampled):,} "
                "resamples; test on more data"
            )
        outside = (1 - self.level) / 2
        low, high = np.quantile(resampled, (outside, 1 - outside)).tolist()
        return Interval(value=value, low=low, high=high, level=self.level)


def block_length(series: Floats, *, least: int = 1) -> int:
    """Return how long blocks should be for the mean of `series`, in samples: from `least` to ``n // 10``.

    D. N. Politis and H. White, "Automatic block-length selection for the dependent bootstrap", Econometric
    Reviews 23(1), 2004, for the circular bootstrap, with the correction of A. Patton, D. N. Politis and
    H. White, 28(4), 2009. `least` is the horizon in samples: neighbouring labels share all but one of the mids
    they are made of.

    Raises:
        DataError: if the series does not hold ten blocks of `least`.
    """
    n = len(series)
    most = n // LEAST_BLOCKS
    if most < max(least, 1):
        raise DataError(
            f"bootstrap: at least {LEAST_BLOCKS} times the horizon of {least:,} samples was expected; found {n:,} "
            "samples; test on more data or with a shorter horizon"
        )
    centered = series - series.mean()
    if not centered.any():
        return max(least, 1)
    # Names as in the paper. Autocorrelations are small from lag m on when the next `run` of them are.
    run = max(5, math.ceil(math.sqrt(math.log10(n))))
    longest = min(math.ceil(math.sqrt(n)) + run, n - 1)
    size = 1 << (n + longest).bit_length()
    spectrum = np.abs(np.fft.rfft(centered, size)) ** 2
    covariance = np.fft.irfft(spectrum, size)[: longest + 1] / n
    small = np.abs(covariance[1:] / covariance[0]) < 2 * math.sqrt(math.log10(n) / n)
    runs = np.convolve(small, np.ones(run), mode="valid") == run
    m = int(np.argmax(runs)) if runs.any() else longest
    window = min(2 * max(m, 1), longest)
    lags = np.arange(1, window + 1)
    weight = np.minimum(1, 2 * (1 - lags / window))
    slope = 2 * float((weight * lags * covariance[1 : window + 1]).sum())
    long_run = float(covariance[0] + 2 * (weight * covariance[1 : window + 1]).sum())
    if long_run <= 0:
        return max(least, 1)
    best = (2 * slope**2 / (4 / 3 * long_run**2) * n) ** (1 / 3)
    return int(min(max(math.ceil(best), least, 1), most))
