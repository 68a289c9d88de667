"""``identical``: do both engines come to the same, on both feeds and on the captures?"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mmkit.settings import SimSettings
from mmkit.tape import KIND, Kind, Tape
from mmkit.testing import build_strategy
from mmkit_strategies.join_best import JoinBest

from . import ours
from .bench import Bench
from .captures import AUGUST, JULY, read, source
from .mm_strategy import SIM
from .outcome import Finding, Outcome, log
from .places import REPOSITORY

_CASES = ((AUGUST, "1s"), (AUGUST, "100ms"), (JULY, "1s"))  # of ../shared/oracle/README.md
_QUEUES = ("risk_averse", "power")
_ROWS = REPOSITORY / "benchmarks" / "oracle_rows.py"


def identical(bench: Bench) -> Finding:
    """Compare both feeds and the six rows of the oracle's table, all measured now."""
    same = True
    notes: list[str] = []
    for feed in ("day", "dense"):
        equal, said = _feed(bench, feed)
        same, notes = same and equal, [*notes, *said]
    for names, every in _CASES:
        equal, said = _captures(bench, names, every)
        same, notes = same and equal, [*notes, *said]
    return Finding(same, tuple(notes))


def _feed(bench: Bench, name: str) -> tuple[bool, list[str]]:
    log(f"identical: {name}")
    feed = bench.places.feed(name)
    theirs = _figures(bench.peer.ask("quoter", events=feed.npy, snapshot=feed.snapshot))
    plain = bench.outcome(name)
    forms = {"plain": plain.same_as(theirs)}
    notes = [f"{name}: ours {plain}", f"{name}: theirs {_words(theirs)}"]
    compiled = ours.run_compiled(Tape.load(bench.tape_path(name)), (5.0, 10.0), SIM)
    forms["compiled"] = compiled.same_as(theirs)
    different = [form for form, equal in forms.items() if not equal]
    notes.append(f"{name}: " + (f"{' and '.join(different)} DIFFER" if different else "equal"))
    return not different, notes


def _captures(bench: Bench, names: tuple[str, ...], every: str) -> tuple[bool, list[str]]:
    case = f"{', '.join(names)} every {every}"
    log(f"identical: {case}")
    converted = [_converted(bench, name) for name in names]
    with TemporaryDirectory() as userdir:
        tape = read(source([bench.places.captures / name for name in names], Path(userdir)))
    theirs = _join_best(bench, converted, every, 0)
    outcomes = {queue: _our_join_best(tape, queue, every) for queue in _QUEUES}
    same = True
    notes: list[str] = []
    for queue, outcome in outcomes.items():
        equal = outcome.same_as(theirs[queue])
        found = f"ours {_short(outcome)}, theirs {_words(theirs[queue])}"
        if not equal:
            # Theirs quotes on the few updates before the snapshot (docs/oracle.md, "The one difference").
            known = int(tape.ts_local[np.flatnonzero(tape.kind & KIND == Kind.SNAPSHOT)[0]])
            later = _join_best(bench, converted, every, known)[queue]
            equal = outcome.same_as(later)
            found += f"; theirs quoting from the snapshot on {_words(later)}"
        same = same and equal
        notes.append(f"{case}, {queue}: {'equal' if equal else 'DIFFERENT'}; {found}")
    return same, notes


def _our_join_best(tape: Tape, queue: str, every: str) -> Outcome:
    sim = SimSettings.model_validate(
        {
            "latency": {"entry": "10ms", "response": "10ms"},
            "queue": {"model": queue, "exponent": 2},
            "fees": {"maker": "0", "taker": "0"},
            "partial_fills": False,
            "fill_reports": "plain",
        }
    )
    strategy = build_strategy(JoinBest, size="0.01", max_position="0.05", every=every)
    return ours.run(tape, strategy, sim)


def _join_best(
    bench: Bench, files: list[Path], every: str, quote_from: int
) -> dict[str, dict[str, Any]]:
    options = ["--every", every, "--from", str(quote_from)]
    done = subprocess.run(
        [bench.peer.python, _ROWS, "run", *files, *options],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for answer in answers:
        answer["fills"] = answer.pop("trades")
    return {answer["queue"]: _figures(answer) for answer in answers}


def _converted(bench: Bench, name: str) -> Path:
    out = bench.places.converted / f"{name}.npz"
    if not out.exists():
        unfinished = out.with_suffix(".part.npz")
        bench.peer.ask("convert", capture=bench.places.captures / name, out=unfinished)
        unfinished.replace(out)
    return out


def _figures(answer: dict[str, Any]) -> dict[str, Any]:
    names = ("orders", "fills", "position", "balance", "fees", "equity")
    return {name: answer[name] for name in names if name in answer}


def _short(outcome: Outcome) -> str:
    return (
        f"orders {outcome.orders}, fills {outcome.fills}, position {outcome.position}, "
        f"equity {outcome.equity.normalize():f}"
    )


def _words(figures: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())
