"""Signals that are all computed before a run begins, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmkit.events import Signal
from mmkit.report import SignalFigures
from mmkit.run.signals.known import Known

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Column:
    """What one model says over a tape.

    Attributes:
        name: What strategies call it.
        ts: int64[n], time of the last sample of each window; ascends.
        said: float64[n, 3]: down, flat, up.
        latency_ns: After `ts` it is known.
        expires_ns: After `ts` it is not shown any more.
    """

    name: str
    ts: Ints
    said: Floats
    latency_ns: int
    expires_ns: int


class Columns:
    """The signals of several models, in the order in which they become known.

    Args:
        each: Of each model; of one instant the first comes first.

    Attributes:
        names: Of the models.
        latency_ns: int64[models], after `ts` a signal of each is known.
        expires_ns: int64[models], after `ts` it is not shown any more.
        of: uint8[n], whose each signal is, as a place in `names`.
        ts: int64[n], time of the last sample, ns since the epoch.
        said: float64[n, 3]: down, flat, up.
    """

    def __init__(self, each: Sequence[Column]) -> None:
        self.names = [one.name for one in each]
        self.latency_ns = np.array([one.latency_ns for one in each], np.int64)
        self.expires_ns = np.array([one.expires_ns for one in each], np.int64)
        if len(each) == 1:
            # In order as it is; of months, copies of it would take the memory of the run.
            self.of = np.zeros(len(each[0].ts), np.uint8)
            self.ts, self.said = each[0].ts, np.ascontiguousarray(each[0].said)
            return
        of = np.repeat(np.arange(len(each), dtype=np.uint8), [len(one.ts) for one in each])
        ts = np.concatenate([one.ts for one in each])
        order = np.lexsort((of, ts + self.latency_ns[of]))
        self.of, self.ts = of[order], ts[order]
        self.said = np.concatenate([one.said for one in each])[order]

    def __len__(self) -> int:
        return len(self.ts)

    def __iter__(self) -> Iterator[Signal]:
        return map(self.signal, range(len(self)))

    def signal(self, place: int) -> Signal:
        """Return one of them."""
        down, flat, up = self.said[place].tolist()
        which, ts = int(self.of[place]), int(self.ts[place])
        return Signal(
            ts_exchange=ts,
            ts_local=ts + int(self.latency_ns[which]),
            name=self.names[which],
            down=down,
            flat=flat,
            up=up,
            expires_ns=ts + int(self.expires_ns[which]),
        )


class Ahead(Known):
    """Tells the signals of columns when their time has come.

    Args:
        columns: What is told.
        figures: What the report says of each; how many were told is added.
    """

    def __init__(self, columns: Columns, figures: Mapping[str, SignalFigures]) -> None:
        super().__init__(columns, figures)
        self.columns = columns

    def told(self, count: int) -> None:
        """Take notice that the first `count` have been told by somebody who looks at `columns` alone."""
        counts = np.bincount(self.columns.of[:count], minlength=len(self.columns.names))
        for name, number in zip(self.columns.names, counts.tolist(), strict=True):
            self.figures[name].told = number
