"""What a survey decides: which streams become rows, and what is added to the recorder's clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmkit.errors import CaptureError
from mmkit_capture.repeats import TRADES
from mmkit_capture.survey import FileSurvey

BOOKS = ("depth", "depth20", "depth10", "depth5")
"""The deepest first."""
MARK = "markPrice"
BY_DEFAULT = (*BOOKS, *TRADES, MARK)
"""Streams that may become rows without being asked for."""


def chosen_streams(
    surveys: Sequence[FileSurvey], configured: tuple[str, ...] | None, market: str
) -> tuple[str, ...]:
    """Return the streams that become rows.

    By default the deepest book there is; single trades rather than aggregated ones; and, where there is
    funding, the mark price that tells it.

    Raises:
        CaptureError: if there is no book.
    """
    if configured:
        return configured
    there = _streams(surveys)
    books = [name for name in BOOKS if name in there]
    trades = [name for name in TRADES if name in there]
    marks = [MARK] if MARK in there and market != "spot" else []
    if not books:
        found = ", ".join(sorted(there))
        hint = (
            "; if these snapshots are a partial depth stream, say which: 'streams: [depth20, trade]'"
            if there["snapshot"] > 1
            else ""
        )
        raise CaptureError(
            f"{names([s.file.path for s in surveys])}: updates of the book were expected; "
            f"found only {found}{hint}"
        )
    return (*books[:1], *trades[:1], *marks)


def refuse_bookless(surveys: Sequence[FileSurvey], streams: Sequence[str]) -> None:
    """Refuse what no tape can be made of.

    Raises:
        CaptureError: if none of the streams is there, or updates of the book without a snapshot.
    """
    there = _streams(surveys)
    paths = names([found.file.path for found in surveys])
    if not any(there[name] for name in streams):
        raise CaptureError(
            f"{paths}: messages of {', '.join(streams)} were expected; found {', '.join(sorted(there))}; "
            "change 'data.streams'"
        )
    if "depth" in streams and not there["snapshot"]:
        raise CaptureError(
            f"{paths}: holds no snapshot of the book, so the book is never known from its "
            f"{there['depth']} updates; if an earlier file of the same recording holds it, list both "
            "under 'data.paths'"
        )


def groups(surveys: Sequence[FileSurvey]) -> list[list[FileSurvey]]:
    """Return the files in sequence; those whose times overlap together, as one recording by one clock."""
    found: list[list[FileSurvey]] = []
    end = -1
    for survey in surveys:
        if survey.first_local <= end:
            found[-1].append(survey)
        else:
            found.append([survey])
        end = max(end, survey.last_local)
    return found


def clock_offsets(
    surveys: Sequence[FileSurvey], streams: Sequence[str], configured: str | int
) -> list[int]:
    """Return what to add to each file's local times, ns.

    A clock that is ahead cannot be told from latency and stays as it is.
    """
    if isinstance(configured, int):
        return [configured] * len(surveys)
    wanted = {*streams, "snapshot"}
    offsets = []
    for group in groups(surveys):
        distances = [
            distance
            for found in group
            for stream, distance in found.nearest.items()
            if stream in wanted
        ]
        offsets += [max(0, -min(distances, default=0))] * len(group)
    return offsets


def names(paths: Sequence[Path]) -> str:
    """Return paths for a message."""
    return ", ".join(str(path) for path in paths)


def _streams(surveys: Sequence[FileSurvey]) -> Counter[str]:
    there: Counter[str] = sum((found.streams for found in surveys), Counter())
    return there
