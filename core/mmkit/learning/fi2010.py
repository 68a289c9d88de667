"""The text files of FI-2010, the benchmark that most published results are of.

Format, from the page of the data set (https://etsin.fairdata.fi/dataset/73eb48d7-4dbc-4a10-a52a-da745b47a649) and
A. Ntakaris, M. Magris, J. Kanniainen, M. Gabbouj, A. Iosifidis, "Benchmark dataset for mid-price forecasting of
limit order book data with machine learning methods", Journal of Forecasting 37(8), 2018: 149 lines of as many
numbers, apart by blanks, a column for every tenth event of the book. Lines 1 to 144 are features, the first 40 of
them ask price, ask size, bid price, bid size of levels 1 to 10; lines 145 to 149 are labels for the next 10, 20,
30, 50 and 100 events, 1 for up, 2 for stationary, 3 for down. One file holds five stocks one after the other, with
no mark between them, and its features are normalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmkit.errors import DataError
from mmkit.learning.labels import DOWN, UP, Labels
from mmkit.learning.samples import Floats

ROWS, FEATURES = 149, 144
HORIZONS = (10, 20, 30, 50, 100)
"""Events of the book; a column of the file is ten of them."""

EVENTS_PER_COLUMN = 10

_LEVELS = 10
_PARTS = ("ask_price", "ask_size", "bid_price", "bid_size")
NAMES = (
    *(f"{part}_{level}" for level in range(1, _LEVELS + 1) for part in _PARTS),
    *(f"f{number}" for number in range(4 * _LEVELS + 1, FEATURES + 1)),
)
"""Of the 144 features; those after the book have no name but their number in the paper's table."""


@dataclass(frozen=True, eq=False)
class Fi2010:
    """What one file holds.

    Attributes:
        values: float64[n, 144], normalised as the file's name says.
        names: Of the columns, `NAMES`.
        labels: int8[n, 5]; 0 down, 1 flat, 2 up; a column for each of `HORIZONS`.
    """

    values: Floats
    names: tuple[str, ...]
    labels: Labels

    def horizon(self, events: int) -> Labels:
        """Return int8[n], the labels for the next so many events.

        Raises:
            DataError: if the files have no such horizon.
        """
        if events not in HORIZONS:
            raise DataError(
                f"FI-2010: a horizon of {', '.join(map(str, HORIZONS))} events was expected; found {events}"
            )
        return np.ascontiguousarray(self.labels[:, HORIZONS.index(events)])

    def drift(self, events: int) -> float:
        """Return how much further mid moved behind labels of up than behind labels of down, in the file's unit.

        Descriptions by others have 1 and 3 the wrong way round; a negative number here says that a file has
        them so, too. Mid and its mean over the columns of the horizon are taken from the normalised best
        prices, across the ends of the stocks.

        Raises:
            DataError: if there is no such horizon, or no label of either.
        """
        labels = self.horizon(events)
        mid = (self.values[:, 0] + self.values[:, 2]) / 2
        columns = events // EVENTS_PER_COLUMN
        if len(mid) <= columns:
            raise DataError(f"FI-2010: more than {columns} columns were expected; found {len(mid)}")
        ahead = np.lib.stride_tricks.sliding_window_view(mid[1:], columns).mean(axis=1)
        moved = ahead - mid[: len(ahead)]
        up, down = labels[: len(ahead)] == UP, labels[: len(ahead)] == DOWN
        if not (up.any() and down.any()):
            raise DataError(
                f"FI-2010: labels of up and of down were expected at horizon {events}; one is missing"
            )
        return float(moved[up].mean() - moved[down].mean())


def read_fi2010(path: Path) -> Fi2010:
    """Return what a text file of FI-2010 holds.

    Raises:
        DataError: if the file cannot be read, has not 149 lines of the same number of finite numbers, or a
            label is not 1, 2 or 3; names the line and the column.
    """
    lines: list[Floats] = []
    try:
        with path.open(encoding="ascii") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                if len(lines) == ROWS:
                    raise DataError(
                        f"{path}:{number}: {ROWS} lines were expected; found more; "
                        "if the table is the other way round, exchange rows and columns first"
                    )
                lines.append(_numbers(path, number, line))
                if len(lines[-1]) != len(lines[0]):
                    raise DataError(
                        f"{path}:{number}: {len(lines[0]):,} numbers were expected, as in the first line; found "
                        f"{len(lines[-1]):,}; the file may have been cut off, get it again"
                    )
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: text was expected; found a byte that is none at {error.start}"
        ) from error
    if len(lines) != ROWS:
        raise DataError(
            f"{path}: {ROWS} lines were expected, 144 features and 5 of labels; found {len(lines)}; "
            "the file may have been cut off, get it again"
        )
    table = np.stack(lines)
    wrong = np.argwhere(~np.isin(table[FEATURES:], (1, 2, 3)))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise DataError(
            f"{path}: line {FEATURES + row + 1}, column {column + 1}: a label of 1 (up), 2 (stationary) or 3 (down) "
            f"was expected; found {table[FEATURES + row, column]:g}"
        )
    labels = (3 - table[FEATURES:].T).astype(np.int8)
    return Fi2010(np.ascontiguousarray(table[:FEATURES].T), NAMES, np.ascontiguousarray(labels))


def _numbers(path: Path, number: int, line: str) -> Floats:
    words = line.split()
    try:
        found = np.array(words, dtype=np.float64)
    except ValueError:
        column = next(at for at, word in enumerate(words) if not _is_number(word))
        raise DataError(
            f"{path}:{number}: a number was expected in column {column + 1}; found {words[column][:40]!r}"
        ) from None
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        raise DataError(
            f"{path}:{number}: a finite number was expected in column {bad[0] + 1}; found {words[bad[0]]!r}"
        )
    return found


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
