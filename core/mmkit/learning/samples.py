"""Features and mid at a row of times, and the spans in which the book was known without interruption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.tape import KIND, LAST, Kind, Tape

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Samples:
    """What was known at each of `n` times. Every array is C-contiguous.

    Attributes:
        ts: int64[n], local time, ns since the epoch; never goes back.
        values: float64[n, f], the features; NaN while one is not known.
        names: The features, in the order of the columns.
        mid: float64[n], any unit that is the same throughout; NaN while the book is not known.
        span: int64[n], counts the spans without a gap; no window and no label crosses from one to the next.
    """

    ts: Ints
    values: Floats
    names: tuple[str, ...]
    mid: Floats
    span: Ints

    @classmethod
    def of(
        cls,
        ts: Ints,
        values: Floats,
        names: tuple[str, ...],
        mid: Floats,
        span: Ints | None = None,
    ) -> Samples:
        """Return the samples, with all of them in one span if `span` is None.

        Raises:
            DataError: if the lengths differ, a name comes twice, or time or span goes back.
        """
        ts = np.ascontiguousarray(ts, np.int64)
        values = np.ascontiguousarray(values, np.float64)
        mid = np.ascontiguousarray(mid, np.float64)
        span = np.ascontiguousarray(np.zeros(len(ts)) if span is None else span, np.int64)
        if values.ndim != 2 or values.shape != (len(ts), len(names)):
            raise DataError(
                f"samples: expected features of shape ({len(ts)}, {len(names)}), a row per time and a column "
                f"per name; found {values.shape}"
            )
        for what, array in (("mid", mid), ("span", span)):
            if array.shape != ts.shape:
                raise DataError(
                    f"samples: expected a {what} for each of {len(ts)} times; found shape {array.shape}"
                )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"samples: expected each feature once; found twice: {', '.join(twice)}")
        for what, array in (("time", ts), ("span", span)):
            back = np.flatnonzero(np.diff(array) < 0)
            if len(back):
                row = int(back[0]) + 1
                raise DataError(
                    f"samples: {what} goes back at row {row}, from {array[row - 1]} to {array[row]}; "
                    "sort the times first"
                )
        return cls(ts, values, tuple(names), mid, span)

    def __len__(self) -> int:
        return len(self.ts)

    def part(self, start: int, stop: int) -> Samples:
        """Return rows `start` to `stop`, the latter not included; views of the same arrays."""
        at = slice(start, stop)
        return Samples(self.ts[at], self.values[at], self.names, self.mid[at], self.span[at])

    def unknown(self) -> dict[str, int]:
        """Return in how many rows each feature, and ``mid``, is NaN; those that always are known left out."""
        counts = dict(zip(self.names, np.isnan(self.values).sum(axis=0).tolist(), strict=True))
        counts["mid"] = int(np.isnan(self.mid).sum())
        return {name: count for name, count in counts.items() if count}

    def known(self) -> Samples:
        """Return the rows in which mid and every feature are known; a span ends where rows are left out.

        NaN is how a feature says that its window is not filled yet, so these rows are no mistake;
        `unknown` counts them.

        Raises:
            DataError: if a value is infinite, or nothing is left.
        """
        keep = ~(np.isnan(self.values).any(axis=1) | np.isnan(self.mid))
        if not keep.any():
            raise none_known(len(self), self.unknown())
        found_rows = Samples(
            self.ts[keep],
            self.values[keep],
            self.names,
            self.mid[keep],
            spans_of_kept(self.span, keep),
        )
        found_rows.check_finite()
        return found_rows

    def check_finite(self) -> None:
        """Refuse NaN and infinite features and mids, with the column and the time of the first of each.

        Raises:
            DataError: names every column that holds one.
        """
        said = [
            self._first_bad(name, self.values[:, column])
            for column, name in enumerate(self.names)
            if not np.isfinite(self.values[:, column]).all()
        ]
        if not np.isfinite(self.mid).all():
            said.append(self._first_bad("mid", self.mid))
        if said:
            raise DataError(
                f"samples: finite numbers were expected; found {'; '.join(said)}; "
                "Samples.known() leaves out rows that are not known yet, an infinite value is a fault of the feature"
            )

    def _first_bad(self, name: str, column: Floats) -> str:
        rows = np.flatnonzero(~np.isfinite(column))
        row = int(rows[0])
        when = np.datetime64(int(self.ts[row]), "ns")
        return f"{name!r} is {column[row]} at {when}Z (row {row}) and in {len(rows):,} rows in all"


def none_known(looked: int, unknown: Mapping[str, int]) -> DataError:
    """Return the error of samples none of which has every feature.

    Args:
        looked: How many there are.
        unknown: In how many each feature is not known.
    """
    found = ", ".join(f"{name} in {n:,}" for name, n in unknown.items())
    return DataError(
        f"samples: none of {looked:,} rows has every feature; not known: {found or 'there is no row'}; "
        "use data that is longer than the longest window of the features"
    )


def spans_of_kept(span: Ints, keep: Bools) -> Ints:
    """Return the spans of the rows that are kept: one left out between two that stay ends a span, as a gap does."""
    left_out = np.cumsum(~keep)[keep]
    new = (np.diff(left_out) > 0) | (np.diff(span[keep]) != 0)
    return np.concatenate((np.zeros(min(1, len(left_out)), np.int64), np.cumsum(new))).astype(
        np.int64
    )


def grid_times(start_ns: int, stop_ns: int, every_ns: int) -> Ints:
    """Return the multiples of `every_ns` since the epoch from `start_ns` to `stop_ns`, both included.

    Multiples since the epoch, so that two recordings of the same time are looked at in the same moments.

    Raises:
        DataError: if there is none, or `every_ns` is not positive.
    """
    if every_ns <= 0:
        raise DataError(f"sampling: a grid of more than 0 ns was expected; found {every_ns}")
    first = -(-start_ns // every_ns) * every_ns
    times = np.arange(first, stop_ns + 1, every_ns, dtype=np.int64)
    if not len(times):
        raise DataError(
            f"sampling: no multiple of {every_ns} ns lies between {start_ns} and {stop_ns}; use a finer grid"
        )
    return times


def update_times(tape: Tape) -> Ints:
    """Return the local times at which the book of `tape` changed, each once: one sample per update.

    Messages that arrive at one time are one update, as only what holds after all of them can be acted on.
    """
    what = tape.kind & KIND
    changes = (what == Kind.LEVEL) & ((tape.kind & LAST) != 0)
    return np.unique(tape.ts_local[changes])


def span_of(tape: Tape, at: Ints) -> Ints:
    """Return for each time of `at` how many gaps of `tape` have begun by then: `Samples.span`."""
    begins = np.array(sorted(gap.begin for gap in tape.gaps), dtype=np.int64)
    return np.searchsorted(begins, at, side="right").astype(np.int64)
