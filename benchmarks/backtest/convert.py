"""``convert``: a raw gz capture to a tape, against its converter."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from mmkit.tape import Tape

from .bench import Bench, Time, ratio_note, timed
from .captures import AUGUST, read, source
from .outcome import Finding, log


def convert(bench: Bench) -> Finding:
    """Both read 2024-08-08 and keep what came of it in a folder that was empty."""
    log("convert")
    [name] = AUGUST
    capture = bench.places.captures / name
    tapes: list[Tape] = []
    rows: list[int] = []

    def ours_once() -> Time:
        with TemporaryDirectory() as folder:
            # Linked, so that the tape is kept there and none is found.
            fresh = Path(folder) / name
            fresh.symlink_to(capture)
            reader = source([fresh], Path(folder))
            return timed(lambda: tapes.append(read(reader)))

    def theirs_once() -> Time:
        with TemporaryDirectory() as folder:
            answer = bench.peer.ask("convert", capture=capture, out=Path(folder) / "out.npz")
        rows.append(answer["rows"])
        return Time(answer["wall"], answer["cpu"])

    mine, theirs = bench.turns(ours_once, theirs_once)
    return Finding(
        theirs.wall / mine.wall,
        (
            ratio_note(mine, theirs, bench.repeats),
            f"{name}: {len(tapes[-1]):,} rows ours, {rows[-1]:,} theirs (it splits rows, docs/oracle.md)",
        ),
    )
