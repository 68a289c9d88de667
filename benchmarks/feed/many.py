"""Many symbols at once in one process, for minutes: is anything lost, does memory grow? docs/benchmarks.md.

python -m benchmarks.feed.many [--symbols N] [--minutes M]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np

from mmkit.book import Book
from mmkit.clock import SystemClock
from mmkit.config import Config, load_config
from mmkit.run.assembly import data_source
from mmkit.tape import KIND, LAST, Kind, Row

SAMPLE_S = 10.0
SETTLE_S = 60.0
"""After all books are known, before memory is looked at."""
FLAT_MB_AN_HOUR = 6.0
"""No more in the second half: a megabyte in ten minutes. A process that has been warm for long moves by less."""
_OPENING = 8  # markets at a time, as `mmkit record`
_LEAST_SAMPLES = 6
_QUIET_S = 3.0  # without an update: all have arrived
_BIN_NS = 10_000
_BINS = 200_000  # up to two seconds; what is later counts as that


def config_text(address: str, spot: int, usdm: int, confirm: bool) -> str:
    """Return a configuration of so many markets."""
    root = address.removeprefix("http")
    lines = []
    for n in range(spot):
        data = f'plugin: binance, endpoint: sandbox, url: "ws{root}", rest_url: "http{root}"'
        symbol = f"venue: binance, market: spot, symbol: C{n:03d}/USDT"
        lines.append((f"s{n:03d}", symbol, data))
    for n in range(usdm):
        data = (
            f'plugin: binance, endpoint: sandbox, url: "ws{root}/fstream", rest_url: "http{root}"'
        )
        symbol = f'venue: binance, market: usdm, symbol: "C{n:03d}/USDT:USDT"'
        lines.append((f"u{n:03d}", symbol, data))
    suffix = "" if confirm else ", confirm: false"
    sections = [
        f"{{instrument: {{{symbol}}}, data: {{{data}{suffix}}}}}" for _, symbol, data in lines
    ]
    main = f"instrument: {{{lines[0][1]}}}\ndata: {{{lines[0][2]}{suffix}}}\n"
    rest = [f"  {name}: {section}\n" for (name, _, _), section in zip(lines, sections, strict=True)]
    main += "strategy: {plugin: join_best, size: '1', max_position: '1'}\n"
    return main + ("markets:\n" + "".join(rest[1:]) if rest[1:] else "")


class Markets:
    """The books of all markets, each fed by its data source as `mmkit record` has it.

    Attributes:
        books: By market.
        delays: How many updates were so late, in bins of 10 us: from the sender's stamp to the updated book.
        measuring: Whether delays are counted.
    """

    def __init__(self, config: Config) -> None:
        clock = SystemClock()
        self.sources = {name: data_source(config, clock, {}, name) for name in config.markets}
        self.books = {name: Book() for name in config.markets}
        self.delays = np.zeros(_BINS, np.int64)
        self.updates: Counter[str] = Counter()
        self.measuring = False
        self._opening = asyncio.Semaphore(_OPENING)

    @property
    def known(self) -> int:
        """How many books are known."""
        return sum(book.known for book in self.books.values())

    async def run(self, name: str) -> None:
        """Feed one book until cancelled."""
        source, book = self.sources[name], self.books[name]
        async with self._opening:
            micro = (await source.instrument()).market == "spot"
        async for rows in source.stream():
            at = 0
            while at < len(rows):
                taken = book.take(rows[at:], len(rows) - at) if book.known else 0
                at += taken
                if at < len(rows):
                    book.apply(rows[at])
                    at += 1
            self._count(name, rows, micro)

    def _count(self, name: str, rows: list[Row], micro: bool) -> None:
        now = time.time_ns()
        for row in rows:
            if row[2] & LAST and row[2] & KIND == Kind.LEVEL:
                self.updates[name] += 1
                # USD-M tells milliseconds, cut down: they say nothing of less.
                if self.measuring and micro:
                    self.delays[min(max(0, now - row[0]) // _BIN_NS, _BINS - 1)] += 1

    def percentile_us(self, share: float) -> float:
        """Return the delay that so many of a hundred updates did not exceed, in us."""
        counts = np.cumsum(self.delays)
        if not counts[-1]:
            return float("nan")
        return float((np.searchsorted(counts, counts[-1] * share / 100) + 1) * _BIN_NS / 1000)


def resident_mb() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def slope_mb_an_hour(samples: list[tuple[float, float]]) -> float | None:
    """Return the slope of (seconds, MB) by least squares; `None` if there are too few to tell."""
    if len(samples) < _LEAST_SAMPLES:
        return None
    at, size = np.array(samples).T
    return round(float(np.polyfit(at, size, 1)[0] * 3600), 2)


async def measure(config: Config, address: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Run all markets; return the figures."""
    markets = Markets(config)
    begun = time.perf_counter()
    loop = asyncio.get_running_loop()
    tasks = {loop.create_task(markets.run(name)): name for name in config.markets}
    minute = f"{len(tasks)} books"

    async def wait(seconds: float) -> None:
        """Sleep, unless a market ends."""
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
            raise SystemExit(f"{tasks[task]} ended by itself")

    first = 0.0
    while markets.known < len(tasks):
        await wait(0.05)
        first = first or (time.perf_counter() - begun if markets.known else 0.0)
        if time.perf_counter() - begun > 1200:
            raise SystemExit(f"after 20 minutes {markets.known} of {minute} are known")
    known_s = time.perf_counter() - begun
    print(f"books known        {len(tasks)} after {known_s:.1f} s, the first after {first:.1f} s")
    print("memory             MB, every 10 s from a minute after that:", flush=True)
    await wait(min(SETTLE_S, asked.minutes * 30))
    async with aiohttp.ClientSession() as session:

        async def told(path: str) -> Any:
            async with session.get(f"{address}/{path}") as answer:
                return msgspec.json.decode(await answer.read())

        sender = await told("told")
        markets.measuring = True
        start, cpu, updates = time.perf_counter(), time.process_time(), markets.updates.total()
        samples: list[tuple[float, float]] = []
        before = tracemalloc.take_snapshot() if asked.trace else None
        while (passed := time.perf_counter() - start) < asked.minutes * 60:
            samples.append((passed, resident_mb()))
            print(f"                   {passed:5.0f} s  {samples[-1][1]:.2f}", flush=True)
            await wait(min(SAMPLE_S, max(0.01, asked.minutes * 60 - passed)))
        wall_s = time.perf_counter() - start
        cpu_s, updates = time.process_time() - cpu, markets.updates.total() - updates
        markets.measuring = False
        if before is not None:
            gc.collect()
            for line in tracemalloc.take_snapshot().compare_to(before, "lineno")[:25]:
                print(line)
        after = await told("told")
        await told("stop")
        # What is on its way still arrives, however late it is.
        taken = -1
        while taken != (taken := markets.updates.total()):
            await wait(_QUIET_S)
        different = []
        for name, source in markets.sources.items():
            instrument = await source.instrument()
            truth = await told(f"book?market={instrument.market}&symbol={instrument.native}")
            sides = [
                {instrument.ticks(p): instrument.lots(q) for p, q in truth[side]}
                for side in ("bids", "asks")
            ]
            book = markets.books[name]
            if not book.known or [book.bids.levels, book.asks.levels] != sides:
                different.append(name)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    gaps = sum(source.stats.gaps for source in markets.sources.values())
    half = len(samples) // 2
    last = slope_mb_an_hour(samples[half:])
    print(f"sender             {json.dumps(after)}")
    return {
        "symbols": len(tasks),
        "seconds": round(wall_s),
        "books_equal": len(tasks) - len(different),
        "gaps": gaps,
        "updates": updates,
        "updates_per_s": round(updates / wall_s),
        "p50_us": round(markets.percentile_us(50)),
        "p99_us": round(markets.percentile_us(99)),
        "cpu_share": round(cpu_s / wall_s, 3),
        "sender_cpu_share": round((after["cpu_s"] - sender["cpu_s"]) / wall_s, 3),
        "known_s": round(known_s, 1),
        "connections": after["connections"],
        "attempts": after["attempts_in_5_min"],
        "weight_in_1_min": after["weight_in_1_min"],
        "refused_429": after["refused_429"],
        "sender_late_s": round(after["late_s"], 2),
        "rss_mb": [round(samples[0][1], 1), round(samples[-1][1], 1)],
        "slope_mb_an_hour": slope_mb_an_hour(samples),
        "second_half_mb_an_hour": last,
        "flat": None if last is None else last <= FLAT_MB_AN_HOUR,
    }


def main() -> None:
    """Measure, print how it goes and one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", type=int, default=200, help="half of them spot, half USD-M")
    parser.add_argument("--spot", type=int, help="how many of them are of spot")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--levels", type=int, default=20, help="changed levels in an update")
    parser.add_argument("--rate", type=float, default=10, help="updates a second of each symbol")
    parser.add_argument("--trades", type=float, default=2, help="a second, of each symbol")
    parser.add_argument("--no-confirm", action="store_true", help="one snapshot a book")
    parser.add_argument(
        "--trace", action="store_true", help="say which lines' memory has grown; slow"
    )
    parser.add_argument("--verbose", action="store_true", help="show the log")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO if asked.verbose else logging.WARNING)
    if asked.trace:
        tracemalloc.start()
    spot = asked.symbols // 2 if asked.spot is None else asked.spot
    usdm = asked.symbols - spot
    numbers = [spot, usdm, asked.rate, asked.levels, asked.trades]
    command = [sys.executable, "-m", "benchmarks.feed.many_sender", *map(str, numbers)]
    sender = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert sender.stdout is not None
        address = sender.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            text = config_text(address, spot, usdm, not asked.no_confirm)
            (folder / "config.yml").write_text(text)
            config = load_config([folder / "config.yml"], userdir=folder)
            figures = asyncio.run(measure(config, address, asked))
    finally:
        sender.kill()
        sender.wait()
    print(json.dumps(figures))
    if figures["books_equal"] != asked.symbols or figures["gaps"]:
        raise SystemExit("a book is not the sender's, or a gap was told")


if __name__ == "__main__":
    main()
