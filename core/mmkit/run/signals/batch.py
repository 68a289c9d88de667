"""All that a model says over a tape, before the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from mmkit.discovery import reason_of
from mmkit.events import MAIN
from mmkit.learning.samples import update_times
from mmkit.learning.windows import windows
from mmkit.report import SignalFigures
from mmkit.run.replay import Tapes
from mmkit.run.session import SignalFeed
from mmkit.run.signals.ahead import Ahead, Column, Columns
from mmkit.run.signals.loaded import MEASURED, WRONG, Loaded, load, measured, wrong
from mmkit.run.signals.trouble import Trouble
from mmkit.tape import KIND, Kind, Tape

if TYPE_CHECKING:
    from mmkit.config import Config

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_AT_ONCE = 4_096
"""Windows: of 30 samples of 20 features 20 MB."""


@dataclass(frozen=True, eq=False)
class Batch(Column):
    """What one model says over a tape, and what the report says of it, but for how many were told."""

    figures: SignalFigures


def predict(loaded: Loaded, tape: Tape) -> Batch:
    """Return what a model says over a tape.

    A window of which predicting fails is left out and counted.

    Raises:
        DataError: if the features cannot be computed.
    """
    ts, values = sampled(loaded, tape)
    due, ends = _ends(loaded, tape, ts, values)
    trouble = Trouble(loaded.name)
    said = np.full((len(ends), 3), np.nan)
    latency, how = loaded.latency_ns, "configured"
    if len(ends):
        every = windows(values, loaded.model.window)
        first = ends - (loaded.model.window - 1)
        for start in range(0, len(ends), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            said[part] = _asked(loaded, np.ascontiguousarray(every[first[part]]), trouble)
        if latency is None:
            some = first[np.linspace(0, len(first) - 1, MEASURED).astype(np.int64)]
            latency, how = (
                measured(loaded.model, (np.ascontiguousarray(every[n]) for n in some)),
                "measured",
            )
    good = ~np.isnan(said[:, 0])
    latency = latency or 0
    late = int(good.sum()) if latency >= loaded.expires_ns else 0
    if late:
        trouble.late(f"known {latency} ns after its sample, when it has expired", late)
        good[:] = False
    figures = replace(
        loaded.figures,
        unknown=due - len(ends),
        failed=trouble.failures,
        late=late,
        failure=trouble.first,
        latency_ns=latency,
        latency=how,
    )
    return Batch(loaded.name, ts[ends][good], said[good], latency, loaded.expires_ns, figures)


def sampled(loaded: Loaded, tape: Tape) -> tuple[Ints, Floats]:
    """Return the times of the samples and the features at each; NaN where one is not known."""
    if not len(tape):
        ts = np.empty(0, np.int64)
    elif loaded.grid_ns is None:
        ts = update_times(tape)
    else:
        grid = loaded.grid_ns
        first = -(-int(tape.ts_local[0]) // grid) * grid
        ts = np.arange(first, int(tape.ts_local[-1]) + 1, grid, dtype=np.int64)
    return ts, loaded.features.compute(tape, ts)


def _ends(loaded: Loaded, tape: Tape, ts: Ints, values: Floats) -> tuple[int, Ints]:
    """Return at how many samples the model was to be asked, and the last sample of each window it can be asked of.

    A window has no sample in it that is not known, and no gap: as in training (`mmkit.learning`).
    """
    known: npt.NDArray[np.bool_] = np.array(~np.isnan(values).any(axis=1), np.bool_)
    gaps = tape.ts_local[tape.kind & KIND == Kind.GAP]
    span = np.searchsorted(gaps, ts, side="right")
    broken: npt.NDArray[np.bool_] = np.logical_not(known)
    broken[1:] |= ~known[:-1] | (span[1:] != span[:-1])
    broken[:1] = True
    rows = np.arange(len(ts))
    since = np.maximum.accumulate(np.where(broken, rows, 0)) if len(ts) else rows
    whole = known & (rows - since + 1 >= loaded.model.window)
    if loaded.every_ns is None:
        return len(ts), np.flatnonzero(whole)
    if loaded.grid_ns is not None:
        asked = ts % loaded.every_ns == 0
        return int(asked.sum()), np.flatnonzero(whole & asked)
    ends = np.flatnonzero(whole)
    chosen: list[int] = []
    place = 0
    while place < len(ends):
        chosen.append(int(ends[place]))
        place = int(np.searchsorted(ts[ends], ts[ends[place]] + loaded.every_ns))
    return len(ts) - len(ends) + len(chosen), np.array(chosen, np.int64)


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
    tape = tapes[MAIN]
    batches = [predict(load(one, tape.instrument), tape) for one in config.signals]
    columns, figures = Columns(batches), {one.name: one.figures for one in batches}
    return lambda: Ahead(columns, figures)
