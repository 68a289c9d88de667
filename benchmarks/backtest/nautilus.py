"""``nautilus``: nautilus_trader on the first events of a feed, reported beside ours."""

from __future__ import annotations

import json
from pathlib import Path

from mmkit.tape import Tape

from . import ours
from .bench import Bench, Time, process, timed
from .feed import load_feed
from .mm_strategy import SIM, mid_quoter
from .outcome import Finding, log

_FEED, _EVENTS = "day", 300_000
_WORKER = Path(__file__).with_name("nautilus_worker.py")
_MORE = (
    "it does more for each event: typed objects over a message bus, an account with margin, order and "
    "position events, all of which its live trading shares; it knows no place in a queue"
)


def nautilus(bench: Bench) -> Finding:
    """Time its engine's run and ours; not the same fills, so no race."""
    log("nautilus")
    python, feed = bench.places.nautilus_python(), bench.places.feed(_FEED)
    tape: Tape = load_feed(feed.npy, feed.snapshot, _EVENTS)
    fills: list[int] = []

    def ours_once() -> Time:
        return timed(lambda: fills.append(ours.run(tape, mid_quoter(), SIM).fills))

    answer: dict[str, float] = {}

    def theirs_once() -> Time:
        _, printed = process([python, _WORKER, str(feed.npy), str(feed.snapshot), str(_EVENTS)])
        answer.update(json.loads(printed.splitlines()[-1]))
        return Time(answer["wall"], answer["cpu"])

    mine, theirs = bench.turns(ours_once, theirs_once)
    return Finding(
        theirs.wall / mine.wall,
        (
            f"{_FEED}, {_EVENTS:,} events: ours plain {mine.wall:.2f} s, {fills[-1]:,} fills; "
            f"theirs {theirs.wall:.2f} s, {answer['fills']:,.0f} fills; medians of {bench.repeats}",
            _MORE,
        ),
    )
