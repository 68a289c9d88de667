"""Writes a tape of so many days, or runs over it, and tells the most memory it took: ``... DAY TAPE DAYS|run``.

The days are one day over and over, later by a day each time.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from mmkit.tape import NAMES, Tape
from mmkit.tape.file import TapeWriter

from . import ours
from .mm_strategy import SIM

_DAY_NS = 86_400_000_000_000
_PIECE = 1_000_000


def _write(day: Tape, path: Path, days: int) -> int:
    with TapeWriter(path, day.instrument) as writer:
        for number in range(days):
            for start in range(0, len(day), _PIECE):
                part = slice(start, start + _PIECE)
                writer.add(
                    {
                        "ts_exchange": day.ts_exchange[part] + number * _DAY_NS,
                        "ts_local": day.ts_local[part] + number * _DAY_NS,
                        "kind": day.kind[part],
                        "price": day.widened(day.narrow_price[part]),
                        "quantity": day.widened(day.narrow_quantity[part]),
                    }
                )
                day.release(NAMES, start)
        return len(writer.finish(day.stats))


def _main() -> None:
    day, path, what = sys.argv[1:4]
    if what == "run":
        tape = Tape.load(Path(path))
        rows, orders = len(tape), ours.run_compiled(tape, (5.0, 10.0), SIM).orders
    else:
        rows, orders = _write(Tape.load(Path(day)), Path(path), int(what)), 0
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"rows": rows, "orders": orders, "peak_mb": kib * 1024 / 1e6}))


if __name__ == "__main__":
    _main()
