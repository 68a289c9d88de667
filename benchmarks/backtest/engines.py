"""``python_*`` and ``compiled_*``: one run over a feed, from a file on the disk that is built for the engine."""

from __future__ import annotations

from collections.abc import Callable

from mmkit.tape import Tape

from . import ours
from .bench import Bench, Time, ratio_note, timed
from .mm_strategy import SIM, mid_quoter
from .outcome import Finding, Outcome, log


def python_day(bench: Bench) -> Finding:
    """Plain Python on `day` against its un-jitted loop."""
    return _plain(bench, "day", jitted=False)


def python_dense(bench: Bench) -> Finding:
    """Plain Python on `dense` against its jitted loop."""
    return _plain(bench, "dense", jitted=True)


def compiled_day(bench: Bench) -> Finding:
    """The compiled decision on `day` against its jitted loop."""
    return _compiled(bench, "day")


def compiled_dense(bench: Bench) -> Finding:
    """The compiled decision on `dense` against its jitted loop."""
    return _compiled(bench, "dense")


def _plain(bench: Bench, feed: str, *, jitted: bool) -> Finding:
    log(f"plain Python on {feed}")

    def run(tape: Tape) -> Outcome:
        outcome = ours.run(tape, mid_quoter(), SIM)
        bench.remember(feed, outcome)
        return outcome

    against = "jitted" if jitted else "un-jitted (the loop's py_func over its compiled methods)"
    return _against(bench, feed, run, jitted=jitted, against=against)


def _compiled(bench: Bench, feed: str) -> Finding:
    log(f"compiled on {feed}")

    def run(tape: Tape) -> Outcome:
        return ours.run_compiled(tape, (5.0, 10.0), SIM)

    run(Tape.load(bench.tape_path(feed)))  # compiles, or says that there is nothing to measure
    return _against(bench, feed, run, jitted=True, against="jitted")


def _against(
    bench: Bench, name: str, run: Callable[[Tape], Outcome], *, jitted: bool, against: str
) -> Finding:
    feed, kept = bench.places.feed(name), bench.tape_path(name)
    bench.peer.ask("compiled", events=feed.npy, snapshot=feed.snapshot)
    outcomes: list[Outcome] = []
    different: list[str] = []

    def ours_once() -> Time:
        return timed(lambda: outcomes.append(run(Tape.load(kept))))

    def theirs_once() -> Time:
        answer = bench.peer.ask("quoter", events=feed.npy, snapshot=feed.snapshot, jitted=jitted)
        wall, cpu = answer.pop("wall"), answer.pop("cpu")
        if not outcomes[-1].same_as(answer):
            different.append(f"ours {outcomes[-1]}, theirs {answer}")
        return Time(wall, cpu)

    mine, theirs = bench.turns(ours_once, theirs_once)
    notes = [ratio_note(mine, theirs, bench.repeats), f"against {against}"]
    if different:
        return Finding(None, (*notes, "not the same run, so no ratio: " + different[0]))
    return Finding(theirs.wall / mine.wall, tuple(notes))
