"""Whether an advisor that hangs delays quotes: ``python -m benchmarks.advisor_latency``.

Pairs of dry runs on the sandbox, which is a process of its own: one without an advisor, one with an advisor whose gateway never
answers, so that there is always a question under way. Their order alternates. Measured are, in each run the median:

- ``message``: from the receipt of a message that changed the best prices to the quotes that the strategy makes of it;
- ``timer``: from the moment at which the strategy was to be asked, each 20 ms, to its quotes.

The last line is JSON: for each, the median of the pairs' ratios, with an advisor by without.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

MMKIT = [sys.executable, "-c", "import sys; from mmkit.cli import main; sys.exit(main())"]
EVERY_NS = 20_000_000
_WARM = 20  # the first quotes load code

STRATEGY = """
import time
from pathlib import Path

from mmkit import Quotes, Strategy, StrategyConfig


class TimedConfig(StrategyConfig):
    out: str


class Timed(Strategy):
    Config = TimedConfig

    def __init__(self, config, context):
        super().__init__(config, context)
        self._out = Path(config.out).open("w", buffering=1 << 16)
        self._size = context.instrument.lots("0.01")

    def quote(self, view):
        bid, ask = view.best_bid, view.best_ask
        quotes = Quotes(
            bid=(bid - 20, self._size) if view.position < 5 * self._size else None,
            ask=(ask + 20, self._size) if view.position > -5 * self._size else None,
        )
        self._out.write(f"{view.now} {time.time_ns() - view.now}\\n")
        return quotes
"""


class Run(NamedTuple):
    """Medians of one run, microseconds; and how many questions were under way or came to nothing."""

    message: float
    timer: float
    quotes: int
    asked: int


@contextmanager
def sandbox() -> Iterator[str]:
    """Run a sandbox whose gateway never answers; yield its address."""
    words = ["sandbox", "--port", "0", "--symbol", "BTC/USDT:USDT", "--json"]
    process = subprocess.Popen(
        [*MMKIT, *words, "--gateway-fault", "* hang"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


@contextmanager
def dry_run(url: str, seconds: int, *, advised: bool) -> Iterator[Callable[[], Run]]:
    """Start a run; yield what waits for its end and returns what was measured."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        out = folder / "quotes"
        (folder / "strategies").mkdir()
        (folder / "strategies" / "timed.py").write_text(STRATEGY)
        (folder / "config.yml").write_text(yaml.safe_dump(_config(url, out, advised=advised)))
        words = ["trade", "-c", folder / "config.yml", "--userdir", folder, "--json"]
        with subprocess.Popen(
            [*MMKIT, *map(str, words), "--duration", f"{seconds}s"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        ) as process:

            def wait() -> Run:
                said, log = process.communicate(timeout=seconds + 60)
                if process.returncode:
                    raise SystemExit(f"the run failed with {process.returncode}: {log[-2000:]}")
                advisors = json.loads(said)["advisors"]
                return measured(out.read_text(), sum(map(_asked, advisors.values())))

            try:
                yield wait
            finally:
                process.kill()


def _config(url: str, out: Path, *, advised: bool) -> dict[str, Any]:
    ws = "ws" + url.removeprefix("http")
    every = f"{EVERY_NS // 1_000_000}ms"
    return {
        "instrument": {"venue": "binance", "market": "usdm", "symbol": "BTC/USDT:USDT"},
        "data": {
            "plugin": "binance",
            "endpoint": "sandbox",
            "url": f"{ws}/fstream",
            "rest_url": url,
        },
        "strategy": {"plugin": "timed", "every": every, "on": ["best", "trade"], "out": str(out)},
        "advisors": [
            {
                "plugin": "holysheep",
                "base_url": f"{url}/v1",
                "model": "sandbox-rule",
                "every": "1s",
                # Given up just before it is asked again, so that both happen once a second.
                "timeout": "900ms",
                "retries": 0,
                "breaker": {"failures": 100, "pause": "1s"},
            }
        ]
        if advised
        else [],
    }


def _asked(figures: dict[str, Any]) -> int:
    return int(figures["answered"] + sum(figures["refused"].values()) + figures["under_way"])


def measured(text: str, asked: int) -> Run:
    """Return the medians of a run's lines, each the time of the run and the delay, ns."""
    lines = [tuple(map(int, line.split())) for line in text.splitlines()][_WARM:]
    # Those that were due by time are all on one grid.
    ((grid, _),) = Counter(now % EVERY_NS for now, _ in lines).most_common(1)
    timer = [delay for now, delay in lines if now % EVERY_NS == grid]
    message = [delay for now, delay in lines if now % EVERY_NS != grid]
    return Run(statistics.median(message) / 1e3, statistics.median(timer) / 1e3, len(lines), asked)


def measure(pairs: int, seconds: int) -> tuple[list[str], dict[str, float]]:
    """Run the pairs; return lines to print and the ratios."""
    lines = ["pair  without an advisor         with one that hangs        ratio"]
    lines.append("      message us  timer us  n    message us  timer us  n    message  timer")
    ratios: dict[str, list[float]] = {"message": [], "timer": []}
    with sandbox() as url:
        for pair in range(pairs):
            order = (False, True) if pair % 2 == 0 else (True, False)
            with ExitStack() as stack:
                waits = {
                    advised: stack.enter_context(dry_run(url, seconds, advised=advised))
                    for advised in order
                }
                found = {advised: wait() for advised, wait in waits.items()}
            plain, hanging = found[False], found[True]
            if not hanging.asked or plain.asked:
                raise SystemExit("a question that hangs was expected in one of the two runs")
            for name, of in ratios.items():
                of.append(getattr(hanging, name) / getattr(plain, name))
            lines.append(
                f"{pair + 1:4d}  {plain.message:10.0f} {plain.timer:9.0f} {plain.quotes:5d}"
                f"  {hanging.message:10.0f} {hanging.timer:9.0f} {hanging.quotes:5d}"
                f"  {ratios['message'][-1]:7.3f} {ratios['timer'][-1]:6.3f}"
            )
    return lines, {name: round(statistics.median(of), 4) for name, of in ratios.items()}


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.advisor_latency", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=15, help="of each run")
    asked = parser.parse_args(arguments)
    lines, ratios = measure(asked.pairs, asked.seconds)
    print("\n".join(lines), flush=True)
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
