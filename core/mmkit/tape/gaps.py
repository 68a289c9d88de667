"""When the book of a tape is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmkit.tape.rows import KIND, LAST, GapReason, Kind
from mmkit.tape.tape import RELEASED, Tape


class Gap(NamedTuple):
    """A GAP row, and until when the book is unknown behind it.

    Attributes:
        row: Its number.
        reason: Why.
        begin: Local time, ns since the epoch.
        end: Local time of the snapshot's last row, or of the tape's.
    """

    row: int
    reason: GapReason
    begin: int
    end: int


def gaps_of(tape: Tape) -> list[Gap]:
    """Return every gap of a tape, the one it begins with among them; `Tape.gaps` remembers them."""
    found: list[Gap] = []
    waiting: list[tuple[int, int]] = []
    for row, what in _special(tape):
        if what == Kind.GAP:
            waiting.append((row, int(tape.widened(tape.narrow_price[row : row + 1])[0])))
        elif waiting:
            end = int(tape.ts_local[_last_of(tape, row)])
            found += [_gap(tape, *one, end) for one in waiting]
            waiting = []
    if waiting:
        end = int(tape.ts_local[-1])
        found += [_gap(tape, *one, end) for one in waiting]
    return found


def unknown_ns(gaps: Sequence[Gap]) -> int:
    """Return for how long the book is unknown in at least one of the gaps, ns."""
    total, until = 0, 0
    for gap in gaps:
        total += max(gap.end - max(gap.begin, until), 0)
        until = max(until, gap.end)
    return total


def _special(tape: Tape) -> list[tuple[int, int]]:
    """Return the rows of gaps and snapshots with their kinds, piece by piece."""
    found: list[tuple[int, int]] = []
    for start in range(0, len(tape), RELEASED):
        what = tape.kind[start : start + RELEASED] & KIND
        at = np.flatnonzero((what == Kind.GAP) | (what == Kind.SNAPSHOT))
        found += zip((at + start).tolist(), what[at].tolist(), strict=True)
        if tape.long:
            tape.release(("kind",), start)
    return found


def _last_of(tape: Tape, row: int) -> int:
    """Return the last row of the message that `row` begins; the tape's if it is cut."""
    while row < len(tape) - 1 and not tape.kind[row] & LAST:
        row += 1
    return row


def _gap(tape: Tape, row: int, reason: int, end: int) -> Gap:
    return Gap(row, GapReason(reason), int(tape.ts_local[row]), end)
