"""A list of features of one instrument, and their values over a tape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mmkit.errors import ConfigError, DataError, Mistake, OffGrid
from mmkit.features.definitions import DEFINITIONS
from mmkit.features.layout import DONE, MOST, PAUSE
from mmkit.features.memory import Memory
from mmkit.features.spec import FeatureSpec, parse_features
from mmkit.instruments import Instrument
from mmkit.tape import NAMES, RELEASED, Tape

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Description(NamedTuple):
    """One column in words.

    Attributes:
        name: Of the column, such as ``ofi_1_1s``.
        unit: ``ticks``, ``lots``, ``lots/tick``, ``bps``, ``s`` or ``ratio``.
        formula: As ``docs/features.md`` explains it.
        source: Of the formula; empty if it needs none.
    """

    name: str
    unit: str
    formula: str
    source: str


class Features:
    """Features of the book and the trades of one instrument.

    Args:
        specs: As YAML has them, or parsed already.
        instrument: What the market data will be about.
        path: Where in the configuration they are written, for the errors.

    Attributes:
        specs: One for each column; a group such as ``levels`` has been written out.
        instrument: As given.
        names: Of the columns, unique; the same settings always give the same name.
        units: Of the columns.
        depth: Levels of the book that are looked at.

    Raises:
        ConfigError: with every mistake found.
    """

    def __init__(
        self,
        specs: Sequence[FeatureSpec | Mapping[str, Any] | str],
        instrument: Instrument,
        path: str = "features",
    ) -> None:
        self.specs = parse_features(specs, path)
        self.instrument = instrument
        self.names = tuple(spec.column for spec in self.specs)
        self.units = tuple(DEFINITIONS[spec.name].unit for spec in self.specs)
        self.depth = max(spec.levels or spec.level or 1 for spec in self.specs)
        self._records = self._recorded(path)

    def describe(self) -> tuple[Description, ...]:
        """Return every column in words, in order."""
        return tuple(
            Description(name, *DEFINITIONS[spec.name][2:])
            for name, spec in zip(self.names, self.specs, strict=True)
        )

    def compute(self, tape: Tape, at: Ints) -> Floats:
        """Return what was known at some times.

        Args:
            tape: Market data of the instrument.
            at: Local times, ns since the epoch, in order; shape (n,). The rows of all messages that were
                complete by then are taken in, those of that time included.

        Returns:
            Shape (n, features), C-contiguous; NaN where a value is not known (docs/features.md, "Not known").

        Raises:
            DataError: if `at` goes back, the tape is of another instrument, or a row cannot be.
        """
        pieces = list(self.pieces(tape, at, max(1, len(at))))
        return pieces[0] if pieces else np.empty((0, len(self.names)))

    def pieces(self, tape: Tape, at: Ints, most: int) -> Iterator[Floats]:
        """Yield what `compute` returns, at most so many times after each other, so that not all is held at once.

        Raises:
            DataError: as `compute`, once it is reached.
        """
        from mmkit.features.kernel import compute

        self._refuse(tape)
        at = np.ascontiguousarray(at)
        if at.dtype != np.int64 or at.ndim != 1:
            raise DataError(
                f"times were expected as int64 in one dimension; found {at.dtype} in {at.ndim}"
            )
        back = np.flatnonzero(at[1:] < at[:-1])
        if back.size:
            place = int(back[0]) + 1
            raise DataError(
                f"times in order were expected; found {at[place]} at place {place}, after {at[place - 1]}; "
                "sort them"
            )
        # Compiled for what cannot be written, as what is mapped cannot; once is enough.
        columns = [
            _unwritable(column)
            for column in (
                tape.ts_local,
                tape.kind,
                tape.narrow_price,
                tape.narrow_quantity,
                tape.large,
            )
        ]
        memory = self.memory()
        progress = np.zeros(2, np.int64)
        for start in range(0, len(at), most):
            piece = _unwritable(at[start : start + most])
            out = np.empty((len(piece), len(self.names)), np.float64)
            progress[1] = 0
            while True:
                pause = int(progress[0]) + RELEASED if tape.long else len(tape)
                why = compute(memory.array, memory.ladder, *columns, piece, out, progress, pause)
                if why == DONE:
                    break
                if why == PAUSE:
                    tape.release(NAMES, int(progress[0]))
                else:
                    memory.answer(why, tape.ts_local)
            yield out

    def memory(self) -> Memory:
        """Return what compiled code works on, of a market that nothing is known of."""
        return Memory(self._records, self.depth, self.instrument.symbol)

    def _refuse(self, tape: Tape) -> None:
        if different := self.instrument.differences(tape.instrument):
            raise DataError(
                f"a tape of the instrument that the features were made for was expected; found {different}"
            )

    def _recorded(self, path: str) -> list[tuple[int, int, int, int]]:
        records, mistakes = [], []
        for number, spec in enumerate(self.specs):
            lots = 0
            if spec.bucket is not None:
                try:
                    lots = self.instrument.lots(spec.bucket)
                    if lots > MOST:
                        raise OffGrid(f"at most {MOST} lots were expected; found {lots}")  # noqa: TRY301
                except OffGrid as error:
                    mistakes.append(
                        Mistake("", f"{path}[{number}].bucket", f"{spec.column}: {error}")
                    )
            code = DEFINITIONS[spec.name].code
            records.append(
                (code, spec.buckets or spec.levels or spec.level or 1, spec.window or 0, lots)
            )
        if mistakes:
            raise ConfigError(mistakes)
        return records


def _unwritable(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = column.view()
    view.flags.writeable = False
    return view
