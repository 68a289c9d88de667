"""How often trades reach a distance from mid, and how far mid moves: A, k and sigma from a tape."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.tape import KIND, SELL, Kind, Tape
from mmkit.tops import Tops, tops_of

Floats = npt.NDArray[np.float64]

_SECOND = 1_000_000_000  # in ns
_BLOCKS = 10  # of the tape, left out in turn for the standard errors; enough for a t of 2.3
_LEAST = 5  # times a distance must have been reached; the logarithm of fewer is mostly noise
_TAIL = (
    0.01  # of the reaches of the nearest distance; beyond it are a few jumps, however far they went
)


class IntensityPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted at one distance.

    Attributes:
        distance: From mid, in ticks, on average: whole where the spread is even, half a tick more where
            it is odd.
        quoted_s: Seconds that a quote at this distance was thought of, both sides together.
        reached: Intervals in which a trade reached it.
        rate: Reached per second.
        fitted: ``A exp(-k distance)``.
    """

    distance: float
    quoted_s: float
    reached: int
    rate: float
    fitted: float


class Intensity(msgspec.Struct, frozen=True, kw_only=True):
    """Fills per second of a quote at a distance from mid, ``A exp(-k distance)``, and the volatility.

    Attributes:
        A: Fills per second of a quote at mid, one side.
        k: Per tick.
        sigma: Ticks / sqrt(s).
        A_error: Standard error of A, by leaving out each tenth of the tape in turn.
        k_error: Likewise.
        sigma_error: Likewise.
        r_squared: Share of the variation of the log rates that the line explains.
        seconds: Time with a known book.
        trades: Trades counted, of both sides.
        interval_ms: For how long a quote was thought to stay where it was placed.
        sigma_interval_ms: Between two looks at mid.
        points: What the line was fitted to.
    """

    A: float
    k: float
    sigma: float
    A_error: float
    k_error: float
    sigma_error: float
    r_squared: float
    seconds: float
    trades: int
    interval_ms: float
    sigma_interval_ms: float
    points: list[IntensityPoint]


def calibrate_intensity(
    tape: Tape,
    *,
    interval_ns: int = 100_000_000,
    sigma_interval_ns: int = 1_000_000_000,
    min_distance: float = 0.0,
    max_distance: float | None = None,
) -> Intensity:
    """Return A, k and sigma as the tape has them.

    Time is cut into intervals. At the beginning of each a quote is thought of at every distance from the
    mid of that moment; in it, the furthest trade of each side tells which of them were reached. A
    distance that was reached in a share p of its intervals is reached ``-ln(1 - p) / interval`` times a
    second, which counts several trades in one interval right if they come independently. A line through the
    logarithms gives A and k.

    The way of M. Avellaneda and S. Stoikov (2008), section 2.4, as measured in hftbacktest's notebook "GLFT
    Market Making Model and Grid Trading"; that counts the two sides as one, so that its A is up to twice
    this one. Sigma is the root of the mean squared change of mid.

    Args:
        tape: Recorded market data.
        interval_ns: How long a quote stays where it was placed.
        sigma_interval_ns: Between two looks at mid; much shorter ones see mid bounce.
        min_distance: Fit from here on, in ticks: the nearest price is often reached far more often than a
            line through the others says.
        max_distance: Fit no further than this, in ticks; `None` for as far as one in a hundred of the
            trades that reach the nearest price, and five in all.

    Raises:
        DataError: if too little was recorded, or trades do not become rarer with the distance.
    """
    tops = tops_of(tape)
    seen = _reaches(tape, tops, interval_ns)
    squared, looks = _moves(tops, sigma_interval_ns)
    within = (min_distance, math.inf if max_distance is None else max_distance)
    line = _fit(seen, np.ones(_BLOCKS, dtype=np.bool_), within, cut_tail=max_distance is None)
    if not line.k > 0:
        raise DataError(
            "trades further from mid are not rarer in this recording, so that A exp(-k distance) does "
            "not describe it; try another interval or range of distances, or a longer recording"
        )
    left_out = []
    for block in range(_BLOCKS):
        others = np.arange(_BLOCKS) != block
        # The same distances as with everything.
        again = _line(seen, others, line.used)
        moved = _sigma(squared[others].sum(), looks[others].sum(), sigma_interval_ns)
        left_out.append((again.A, again.k, moved))
    A_error, k_error, sigma_error = _jackknife(np.array(left_out))  # noqa: N806
    distances, reached, rates = seen.distances(), seen.reached.sum(axis=0), line.rates
    points = [
        IntensityPoint(
            distance=float(distances[n]),
            quoted_s=float(2 * seen.intervals.sum()) * seen.seconds,
            reached=int(reached[n]),
            rate=float(rate),
            fitted=line.A * math.exp(-line.k * float(distances[n])),
        )
        for n, rate in zip(line.used.tolist(), rates.tolist(), strict=True)
    ]
    return Intensity(
        A=line.A,
        k=line.k,
        sigma=_sigma(squared.sum(), looks.sum(), sigma_interval_ns),
        A_error=A_error,
        k_error=k_error,
        sigma_error=sigma_error,
        r_squared=line.r_squared,
        seconds=float(seen.intervals.sum()) * seen.seconds,
        trades=seen.trades,
        interval_ms=interval_ns / 1e6,
        sigma_interval_ms=sigma_interval_ns / 1e6,
        points=points,
    )


@dataclass(frozen=True)
class _Seen:
    """What was counted, by block of time and whole ticks of distance.

    Whole prices lie a whole number of ticks from a mid on the grid, and half a tick more from one between.
    Both are counted together: a spread is odd or even for reasons, and the two are different markets.
    """

    reached: npt.NDArray[np.int64]
    """Block, distance: quotes that were reached, of both sides."""
    intervals: npt.NDArray[np.int64]
    """Block: intervals with a known book."""
    between: npt.NDArray[np.int64]
    """Block: those of them whose mid lay between two ticks."""
    trades: int
    seconds: float
    """Of one interval."""

    def distances(self) -> Floats:
        """Return the mean distance of each column from mid, in ticks."""
        share = float(self.between.sum() / max(1, self.intervals.sum()))
        return np.arange(self.reached.shape[1], dtype=np.float64) + share / 2


@dataclass(frozen=True)
class _Line:
    A: float
    k: float
    r_squared: float
    used: npt.NDArray[np.int64]
    rates: Floats


def _reaches(tape: Tape, tops: Tops, interval_ns: int) -> _Seen:
    """Count how far trades reach in each interval."""
    starts, row, block = _intervals(tops, interval_ns)
    known = _known_throughout(tops, row, starts, interval_ns)
    twice_mid = tops.bid[row] + tops.ask[row]
    is_trade = (tape.kind & KIND) == Kind.TRADE
    ts, price = tape.ts_exchange[is_trade], tape.price[is_trade]
    sold = (tape.kind[is_trade] & SELL) != 0
    # A trade in the very moment of the look belongs to the book before it.
    place = (ts - starts[0] - 1) // interval_ns
    inside = (place >= 0) & (place < len(starts))
    inside[inside] &= known[place[inside]]
    place, price, sold = place[inside], price[inside], sold[inside]
    away = np.where(sold, twice_mid[place] - 2 * price, 2 * price - twice_mid[place])
    furthest = np.full((2, len(starts)), -1, dtype=np.int64)
    np.maximum.at(furthest, (sold.astype(np.int64), place), away)
    # In half ticks until here: -1 is nothing, or a trade on the other side of mid, and stays below zero.
    furthest //= 2
    exactly = np.zeros((_BLOCKS, max(0, int(furthest.max(initial=0))) + 1), dtype=np.int64)
    for side in furthest:
        hit = side >= 0
        np.add.at(exactly, (block[hit], side[hit]), 1)
    return _Seen(
        # Who reaches a distance has reached the nearer ones.
        reached=exactly[:, ::-1].cumsum(axis=1)[:, ::-1],
        intervals=np.bincount(block[known], minlength=_BLOCKS),
        between=np.bincount(block[known & (twice_mid % 2 == 1)], minlength=_BLOCKS),
        trades=int(inside.sum()),
        seconds=interval_ns / _SECOND,
    )


def _moves(tops: Tops, interval_ns: int) -> tuple[Floats, Floats]:
    """Return the sum of the squared changes of mid, and their number, by block."""
    starts, row, block = _intervals(tops, interval_ns)
    known = _known_throughout(tops, row, starts, interval_ns)
    after = tops.at(starts + interval_ns)
    mid = (tops.bid + tops.ask) / 2
    squared, looks = np.zeros(_BLOCKS), np.zeros(_BLOCKS)
    np.add.at(squared, block[known], ((mid[after] - mid[row]) ** 2)[known])
    np.add.at(looks, block[known], 1.0)
    return squared, looks


def _intervals(
    tops: Tops, interval_ns: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the beginnings of the intervals, the row of `tops` at each, and each one's block of time."""
    count = int((tops.ts[-1] - tops.ts[0]) // interval_ns) if len(tops.ts) else 0
    if count < _BLOCKS:
        raise DataError(
            f"the recording has {count} intervals of {interval_ns / 1e6:g} ms with a known book; "
            f"{_BLOCKS} is the least that can be calibrated from"
        )
    starts = tops.ts[0] + interval_ns * np.arange(count, dtype=np.int64)
    return starts, tops.at(starts), np.arange(count, dtype=np.int64) * _BLOCKS // count


def _known_throughout(
    tops: Tops,
    row: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    interval_ns: int,
) -> npt.NDArray[np.bool_]:
    """Return which intervals have a known book from beginning to end."""
    span = tops.span[row]
    same: npt.NDArray[np.bool_] = (span >= 0) & (span == tops.span[tops.at(starts + interval_ns)])
    return same


def _fit(
    seen: _Seen,
    blocks: npt.NDArray[np.bool_],
    within: tuple[float, float],
    *,
    cut_tail: bool,
) -> _Line:
    """Choose the distances and return the line through them."""
    reached, distances = seen.reached.sum(axis=0), seen.distances()
    least = max(_LEAST, _TAIL * int(reached.max(initial=0))) if cut_tail else _LEAST
    used = np.flatnonzero((reached >= least) & (distances >= within[0]) & (distances <= within[1]))
    if len(used) < 2:
        raise DataError(
            f"trades reached {len(used)} distances from mid {_LEAST} times or more; a line needs two: "
            "a longer recording is needed, one with the trade stream, or a wider range of distances"
        )
    return _line(seen, blocks, used)


def _line(seen: _Seen, blocks: npt.NDArray[np.bool_], used: npt.NDArray[np.int64]) -> _Line:
    """Return the least-squares line through the logarithms of the rates at the distances `used`."""
    quoted = 2 * int(seen.intervals[blocks].sum())
    reached = seen.reached[blocks].sum(axis=0)[used]
    # Never or always reached has no finite rate: half a time away from it.
    share = np.clip(reached / max(quoted, 1), 0.5 / max(quoted, 1), 1 - 0.5 / max(quoted, 1))
    rates: Floats = -np.log1p(-share) / seen.seconds
    x, y = used.astype(np.float64), np.log(rates)
    from_mean = x - x.mean()
    slope = float(from_mean @ y / (from_mean @ from_mean))
    rest = y - y.mean() - slope * from_mean
    around = float(((y - y.mean()) ** 2).sum())
    # The rate of a column is the mean of A exp(-k d) over both its distances.
    half_a_tick = float(seen.between[blocks].sum()) / max(quoted / 2, 1)
    mixed = 1 - half_a_tick + half_a_tick * math.exp(slope / 2)
    return _Line(
        A=math.exp(float(y.mean()) - slope * float(x.mean())) / mixed,
        k=-slope,
        r_squared=1 - float(rest @ rest) / around if around > 0 else 1.0,
        used=used,
        rates=rates,
    )


def _sigma(squared: float, looks: float, interval_ns: int) -> float:
    return math.sqrt(squared / looks / (interval_ns / _SECOND)) if looks else math.nan


def _jackknife(values: Floats) -> tuple[float, float, float]:
    """Return the standard errors of what was computed with each block left out."""
    count = len(values)
    spread = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    a, k, sigma = np.sqrt((count - 1) / count * spread).tolist()
    return a, k, sigma
