"""One run of mmkit from start to end: ``python -m benchmarks.backtest.ours_process EVENTS SNAPSHOT TAPES``.

Maps the kept tape, or builds and keeps it; runs the compiled decision if there is one, else plain Python.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mmkit.tape import Tape

from . import ours
from .feed import kept_tape
from .mm_strategy import SIM, mid_quoter
from .outcome import NotYetError


def _main() -> None:
    events, snapshot, tapes = map(Path, sys.argv[1:4])
    tape = Tape.load(kept_tape(events, snapshot, tapes))
    try:
        form, outcome = "compiled", ours.run_compiled(tape, (5.0, 10.0), SIM)
    except NotYetError:
        form, outcome = "plain Python", ours.run(tape, mid_quoter(), SIM)
    print(json.dumps({"form": form, **outcome.figures()}))


if __name__ == "__main__":
    _main()
