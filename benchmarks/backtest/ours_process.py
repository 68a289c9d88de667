"""One run of mmkit from start to end: ``python -m benchmarks.backtest.ours_process EVENTS SNAPSHOT TAPES``.

Maps the kept tape, or builds and keeps it; runs the compiled decision.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mmkit.tape import Tape

from . import ours
from .feed import kept_tape
from .mm_strategy import SIM


def _main() -> None:
    events, snapshot, tapes = map(Path, sys.argv[1:4])
    tape = Tape.load(kept_tape(events, snapshot, tapes))
    outcome = ours.run_compiled(tape, (5.0, 10.0), SIM)
    print(json.dumps({"form": "compiled", **outcome.figures()}))


if __name__ == "__main__":
    _main()
