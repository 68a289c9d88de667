"""``cold`` and ``warm_cpu_s``: whole processes, from start to end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .bench import Bench, Time, process, ratio_note
from .feed import tape_path
from .outcome import Finding, Outcome, log
from .peer import WORKER
from .places import Feed

_FEED = "day"


def cold(bench: Bench) -> Finding:
    """Fresh file to result, the tape built and kept on the way, against its process from .npz."""
    log("cold")
    feed = bench.places.feed(_FEED)
    said: list[str] = []

    def ours_once() -> Time:
        tape_path(feed.npz, bench.places.tapes).unlink(missing_ok=True)
        return _ours(bench, feed, said)

    def theirs_once() -> Time:
        time, printed = process(
            [bench.peer.python, WORKER, "whole", str(feed.npz), str(feed.snapshot)]
        )
        said.append(printed)
        return time

    mine, theirs = bench.turns(ours_once, theirs_once)
    answer = json.loads(said[-1])
    found = json.loads(said[-2])
    note = ratio_note(mine, theirs, bench.repeats)
    if not Outcome.of(found).same_as(answer):
        return Finding(
            None, (note, f"not the same run, so no ratio: ours {found}, theirs {answer}")
        )
    return Finding(
        theirs.wall / mine.wall,
        (note, f"{_FEED}, ours {found['form']}; theirs compiles its loop, as everyone's does"),
    )


def warm_cpu_s(bench: Bench) -> Finding:
    """CPU seconds of the whole process once the tape is there."""
    log("warm_cpu_s")
    feed = bench.places.feed(_FEED)
    said: list[str] = []
    if not tape_path(feed.npz, bench.places.tapes).exists():
        _ours(bench, feed, said)
    (mine,) = bench.turns(lambda: _ours(bench, feed, said))
    form = json.loads(said[-1])["form"]
    note = f"{_FEED}, ours {form}: wall {mine.wall:.2f} s, CPU {mine.cpu:.2f} s; median of {bench.repeats}"
    return Finding(mine.cpu, (note,))


def _ours(bench: Bench, feed: Feed, said: list[str]) -> Time:
    files: list[str | Path] = [feed.npz, feed.snapshot, bench.places.tapes]
    time, printed = process([sys.executable, "-m", "benchmarks.backtest.ours_process", *files])
    said.append(printed)
    return time
