"""``sweep_64``: many parameter sets over one tape, both cores, against its runs one after another."""

from __future__ import annotations

from itertools import product

from mmkit.tape import Tape

from . import ours
from .bench import Bench, Time, ratio_note, timed
from .mm_strategy import SIM
from .outcome import Finding, Outcome, log

_FEED = "day"
_HALF_SPREADS = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)  # ticks
_SKEWS = (0.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 20.0)  # ticks at the position limit
SETS = tuple(product(_HALF_SPREADS, _SKEWS))


def sweep_64(bench: Bench) -> Finding:
    """Run 64 quoters; every one must come to what the peer's comes to."""
    log("sweep_64")
    feed, kept = bench.places.feed(_FEED), bench.tape_path(_FEED)
    outcomes: list[Outcome] = ours.sweep(Tape.load(kept), SETS[:1], SIM)  # or says what is missing
    different: list[str] = []

    def ours_once() -> Time:
        def work() -> None:
            outcomes[:] = ours.sweep(Tape.load(kept), SETS, SIM)

        return timed(work)

    def theirs_once() -> Time:
        wall = cpu = 0.0
        for (half_spread, skew), outcome in zip(SETS, outcomes, strict=True):
            answer = bench.peer.ask(
                "quoter",
                events=feed.npy,
                snapshot=feed.snapshot,
                half_spread=half_spread,
                skew=skew,
            )
            wall, cpu = wall + answer["wall"], cpu + answer["cpu"]
            if not outcome.same_as(answer):
                different.append(f"({half_spread}, {skew}): ours {outcome}, theirs {answer}")
        return Time(wall, cpu)

    bench.peer.ask("compiled", events=feed.npy, snapshot=feed.snapshot)
    mine, theirs = bench.turns(ours_once, theirs_once)
    note = ratio_note(mine, theirs, bench.repeats)
    if different:
        return Finding(None, (note, f"{len(different)} runs differ, so no ratio: {different[0]}"))
    return Finding(theirs.wall / mine.wall, (note, f"{_FEED}, {len(SETS)} runs, all equal"))
