"""How many depth updates the live feed takes, how late they are, and beside ccxt: docs/benchmarks.md.

python -m benchmarks.feed [--updates N] [--levels N] [--seconds N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.feed.beside import Figures, beside_ccxt, final_book, recorded, synthetic

from mmkit.clock import SystemClock
from mmkit.config import load_config
from mmkit.recorder import Nothing
from mmkit.run.assembly import assemble, data_source
from mmkit.run.session import Session
from mmkit.settings import FillReports
from mmkit.tape import LAST, Row
from mmkit_binance.burst import load

CONFIG = """
mode: dry_run
instrument: {{venue: binance, market: spot, symbol: BTC/USDT}}
data: {{plugin: binance, endpoint: sandbox, url: "ws{rest}", rest_url: "http{rest}", streams: [depth], confirm: false}}
strategy: {{plugin: skewed, every: 100ms, half_spread: 5bps, skew: 1bps, size: "0.01", max_position: "0.05"}}
venue: {{plugin: paper}}
"""


@dataclass
class Received:
    """One run: updates, their levels, seconds of the clock on the wall and of the CPU, delays in ns."""

    updates: int
    rows: int
    wall_s: float
    cpu_s: float
    delays: list[int]
    session: Session
    gaps: int


async def receive(address: str, number: int, folder: Path, *, delays: bool) -> Received:
    """Take in `number` updates: decoded and applied to the book of an engine."""
    (folder / "config.yml").write_text(CONFIG.format(rest=address.removeprefix("http")))
    config = load_config([folder / "config.yml"], userdir=folder)
    clock = SystemClock()
    source = data_source(config, clock, {})
    instruments = {"main": await source.instrument()}
    session = assemble(config, instruments, Nothing(), clock.now_ns(), FillReports.AFTER_DATA)
    engine = session.engine  # without the simulated exchange, which is no part of the feed
    found, rows_seen, late = 0, 0, []
    begun = cpu = 0.0
    stream = source.stream()
    async for rows in stream:
        for message in messages_of(rows):
            for row in message[engine.on_levels(message) :]:
                engine.on_row(row)
        if delays:
            late += _delays(rows)
        rows_seen += len(rows)
        found = source.stats.messages - source.stats.snapshots
        if not begun and source.stats.snapshots:
            # The book is known; the others come now.
            begun, cpu = time.perf_counter(), time.process_time()
        if found >= number:
            break
    wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    await stream.aclose()  # type: ignore[attr-defined]
    return Received(found, rows_seen, wall_s, cpu_s, late, session, source.stats.gaps)


def messages_of(rows: list[Row]) -> Iterator[list[Row]]:
    """Yield the rows of each message, as a session takes them in."""
    start = 0
    for end, row in enumerate(rows, 1):
        if row[2] & LAST:
            yield rows[start:end]
            start = end


def _delays(rows: list[Row]) -> list[int]:
    now = time.time_ns()
    return [now - row[0] for row in rows if row[2] & LAST]


def against(number: int, levels: int, rate: float, measure: Callable[[str], Received]) -> Received:
    """Measure against a sender in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.feed.sender", str(number), str(levels), str(rate)]
    sender = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert sender.stdout is not None
        return measure(sender.stdout.readline().strip())
    finally:
        sender.kill()
        sender.wait()


def main() -> None:
    """Measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--updates", type=int, default=300_000)
    parser.add_argument("--levels", type=int, default=4, help="changed levels in an update")
    parser.add_argument("--seconds", type=int, default=10, help="of the run at 5,000 a second")
    parser.add_argument(
        "--rounds", type=int, default=7, help="of the comparison with ccxt; 1 is only a try"
    )
    asked = parser.parse_args()
    levels: int = asked.levels
    load()  # the first time on a machine it is compiled for some seven seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def run(number: int, *, delays: bool) -> Callable[[str], Received]:
            return lambda url: asyncio.run(receive(url, number, folder, delays=delays))

        full = against(asked.updates, levels, 0, run(asked.updates, delays=False))
        check(full, asked.updates, levels)
        steady = 5_000 * asked.seconds
        slow = against(steady, levels, 5_000, run(steady, delays=True))
        check(slow, steady, levels)
    cases = [synthetic(min(asked.updates, 20_000), levels), *recorded()]
    figures = [beside_ccxt(case, asked.rounds) for case in cases]
    # The first second is left out: the connection's beginning and the compiled reader's.
    late = np.array(slow.delays[5_000:]) / 1000
    p50, p99, worst = (float(np.percentile(late, share)) for share in (50, 99, 100))
    rate = full.updates / full.wall_s
    print(
        f"updates            {full.updates:,} of {levels} levels, nothing lost, book as computed apart"
    )
    print(f"on the wall        {rate:,.0f} a second ({full.wall_s:.2f} s)")
    print(f"by the CPU's time  {full.updates / full.cpu_s:,.0f} a second ({full.cpu_s:.2f} s)")
    print(f"at 5,000 a second  P50 {p50:.0f} us, P99 {p99:.0f} us, most {worst:.0f} us")
    print(
        f"                   {slow.updates / slow.wall_s:,.0f} a second, CPU {slow.cpu_s / slow.wall_s:.0%}"
    )
    print()
    print("decode and apply, us of CPU an update: piled up, one by one; orjson, floats and ccxt")
    for one in figures:
        print(
            f"{one.name:42} {one.levels:5.1f} levels {one.ours_us:7.2f} {one.single_us:7.2f} "
            f"{one.theirs_us:7.2f}  {one.ratio:.2f} times as fast"
        )
    answer = {
        "updates_per_s": round(rate),
        "p99_us_at_5k": round(p99),
        "vs_ccxt": round(together(figures[1:] or figures), 2),
    }
    print(json.dumps(answer))


def together(figures: list[Figures]) -> float:
    """Return how many times faster ours is over all messages of all recordings."""
    theirs = sum(one.theirs_us * one.messages for one in figures)
    return theirs / sum(one.ours_us * one.messages for one in figures)


def check(run: Received, number: int, levels: int) -> None:
    """See that nothing was lost: the engine's book is the one computed apart."""
    book = run.session.engine.book
    found = ({**book.bids.levels}, {**book.asks.levels})
    if run.gaps or run.updates != number or found != final_book(number, levels):
        raise SystemExit(f"the book is not the sender's: gaps={run.gaps} updates={run.updates}")


if __name__ == "__main__":
    main()
