"""All that a model says over a tape, before the run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from mmkit.discovery import reason_of
from mmkit.errors import DataError
from mmkit.learning.samples import update_times
from mmkit.learning.windows import windows
from mmkit.report import SignalFigures
from mmkit.run.replay import Tapes
from mmkit.run.session import SignalFeed
from mmkit.run.signals.ahead import Ahead, Column, Columns
from mmkit.run.signals.loaded import MEASURED, WRONG, Loaded, load, measured, wrong
from mmkit.run.signals.trouble import Trouble
from mmkit.tape import KIND, NEVER, Kind, Tape

if TYPE_CHECKING:
    from mmkit.config import Config

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_AT_ONCE = 4_096
"""Windows: of 30 samples of 20 features 20 MB."""
_PIECE = 65_536
"""Samples: of 20 features 10 MB."""


@dataclass(frozen=True, eq=False)
class Batch(Column):
    """What one model says over a tape, and what the report says of it, but for how many were told."""

    figures: SignalFigures


def predict(loaded: Loaded, tape: Tape) -> Batch:
    """Return what a model says over a tape.

    A window of which predicting fails is left out and counted. Features are computed piece by piece, and forgotten.

    Raises:
        DataError: if the features cannot be computed.
    """
    ts = sample_times(loaded, tape)
    ends = _Ends(loaded, tape)
    trouble = Trouble(loaded.name)
    some = _Some(len(ts))
    told: list[Ints] = []
    said: list[Floats] = []
    before, start = np.empty((0, len(loaded.features.names))), 0
    for piece in loaded.features.pieces(tape, ts, _PIECE):
        at = ts[start : start + len(piece)]
        # A window that ends in this piece may have begun in the one before.
        rows = np.concatenate([before, piece])
        last = ends.of(at, piece)
        if len(last):
            every = windows(rows, loaded.model.window)
            first = last + len(before) - (loaded.model.window - 1)
            some.take(start + last, every, first)
            for place in range(0, len(first), _AT_ONCE):
                part = slice(place, place + _AT_ONCE)
                answers = _asked(loaded, np.ascontiguousarray(every[first[part]]), trouble)
                good = ~np.isnan(answers[:, 0])
                told.append(at[last[part]][good])
                said.append(answers[good])
        before = rows[max(0, len(rows) - (loaded.model.window - 1)) :].copy()
        start += len(piece)
    latency, how = loaded.latency_ns, "configured"
    if latency is None and ends.found:
        latency, how = measured(loaded.model, some.windows), "measured"
    latency = latency or 0
    known = sum(map(len, told))
    late = known if latency >= loaded.expires_ns else 0
    if late:
        trouble.late(f"known {latency} ns after its sample, when it has expired", late)
        told, said = [], []
    figures = replace(
        loaded.figures,
        unknown=ends.due - ends.found,
        failed=trouble.failures,
        late=late,
        failure=trouble.first,
        latency_ns=latency,
        latency=how,
    )
    return Batch(
        loaded.name,
        np.concatenate([np.empty(0, np.int64), *told]),
        np.concatenate([np.empty((0, 3)), *said]),
        latency,
        loaded.expires_ns,
        figures,
    )


def sample_times(loaded: Loaded, tape: Tape) -> Ints:
    """Return the times of the samples, ns since the epoch."""
    if not len(tape):
        return np.empty(0, np.int64)
    if loaded.grid_ns is None:
        return update_times(tape)
    grid = loaded.grid_ns
    first = -(-int(tape.ts_local[0]) // grid) * grid
    return np.arange(first, int(tape.ts_local[-1]) + 1, grid, dtype=np.int64)


class _Ends:
    """With which samples a window ends that the model is to be asked of, piece after piece.

    A window has no sample in it that is not known, and no gap: as in training (`mmkit.learning`).

    Attributes:
        due: At how many samples the model was to be asked.
        found: At how many of them it can be.
    """

    def __init__(self, loaded: Loaded, tape: Tape) -> None:
        self._loaded = loaded
        self._gaps = tape.ts_local[tape.kind & KIND == Kind.GAP]
        self._span = -1
        self._whole = 0
        self._next_ns = -NEVER
        self.due = self.found = 0

    def of(self, ts: Ints, values: Floats) -> Ints:
        """Return the places of those in the next piece.

        Args:
            ts: int64[n], times of its samples.
            values: float64[n, f], what the features were.
        """
        loaded = self._loaded
        known: npt.NDArray[np.bool_] = np.array(~np.isnan(values).any(axis=1), np.bool_)
        span = np.searchsorted(self._gaps, ts, side="right")
        new = np.diff(span, prepend=self._span) != 0
        # Known samples in a row: where the row was broken last, and how long it was before this piece.
        rows = np.arange(len(ts))
        begin = np.maximum.accumulate(np.where(~known, rows + 1, np.where(new, rows, -self._whole)))
        length = rows + 1 - begin
        self._span, self._whole = int(span[-1]), int(length[-1])
        ends = np.flatnonzero(known & (length >= loaded.model.window))
        due = len(ts)
        if loaded.every_ns is not None and loaded.grid_ns is not None:
            asked = ts % loaded.every_ns == 0
            due, ends = int(asked.sum()), ends[asked[ends]]
        elif loaded.every_ns is not None:
            chosen = self._spaced(ts[ends], loaded.every_ns)
            due, ends = len(ts) - len(ends) + len(chosen), ends[chosen]
        self.due += due
        self.found += len(ends)
        return ends

    def _spaced(self, ts: Ints, every_ns: int) -> Ints:
        """Return the places of times that are at least so far apart."""
        chosen: list[int] = []
        place = int(np.searchsorted(ts, self._next_ns))
        while place < len(ts):
            chosen.append(place)
            self._next_ns = int(ts[place]) + every_ns
            place = int(np.searchsorted(ts, self._next_ns))
        return np.array(chosen, np.int64)


class _Some:
    """Windows from all over a tape, for measuring how long a model takes.

    Args:
        samples: Of the tape.
    """

    def __init__(self, samples: int) -> None:
        self._due = deque(np.linspace(0, max(0, samples - 1), MEASURED).astype(np.int64).tolist())
        self.windows: list[Floats] = []

    def take(self, ends: Ints, every: Floats, first: Ints) -> None:
        """Take the first windows that end at what is due or after it."""
        while self._due and self._due[0] <= ends[-1]:
            place = int(np.searchsorted(ends, self._due.popleft()))
            self.windows.append(np.ascontiguousarray(every[first[place]]))


def _asked(loaded: Loaded, shown: Floats, trouble: Trouble) -> Floats:
    """Return what the model says of each window; NaN where it fails."""
    model = loaded.model
    try:
        said = np.array(model.predict_batch(shown), np.float64)
        if said.shape != (len(shown), 3):
            raise ValueError(f"shape ({len(shown)}, 3) was expected; found {said.shape}")  # noqa: TRY301
    except Exception:  # noqa: BLE001 - a plugin's; one of the windows, and the others are to be had
        said = np.full((len(shown), 3), np.nan)
        for number, window in enumerate(shown):
            try:
                said[number] = model.predict(window)
            except Exception as error:  # noqa: BLE001 - a plugin's; counted
                said[number] = np.nan
                trouble.failed(reason_of(error))
            else:
                _check(said[number], trouble)
        return said
    with np.errstate(invalid="ignore"):
        doubtful = ~((said.min(axis=1) >= 0) & (np.abs(said.sum(axis=1) - 1) <= 1e-6))
    for place in np.flatnonzero(doubtful).tolist():
        _check(said[place], trouble)
    return said


def _check(said: Floats, trouble: Trouble) -> None:
    if wrong(said.tolist()):
        trouble.failed(WRONG.format(said.tolist()))
        said[:] = np.nan


def signals_over(config: Config, tapes: Tapes) -> Callable[[], SignalFeed | None]:
    """Return what gives each run over the tapes its signals, computed once.

    Raises:
        DataError: if a model cannot be read, or its features not be computed.
    """
    if not config.signals:
        return lambda: None
    batches: list[Batch] = []
    for one in config.signals:
        tape = tapes[one.section.market]
        batches.append(_some(load(one, tape.instrument), tape))
    columns, figures = Columns(batches), {one.name: one.figures for one in batches}
    return lambda: Ahead(columns, figures)


def _some(loaded: Loaded, tape: Tape) -> Batch:
    """Return what a model says over a tape, and refuse one that cannot be asked at all."""
    batch, window = predict(loaded, tape), loaded.model.window
    if not (len(batch.ts) or batch.figures.failed or batch.figures.late):
        raise DataError(
            f"signal '{loaded.name}': {window} samples in which every feature is known, without a gap between them, were "
            f"expected, the window of its model; found none such among {batch.figures.unknown:,} samples; use more data, "
            "a model with a shorter window or shorter windows of the features, or take the signal out"
        )
    return batch
