"""From the bytes of a book's message to those of an order, through ccxt and directly: docs/benchmarks.md.

python -m benchmarks.latency [--rounds N] [--seconds N] [--levels N] [--rate N] [--journal FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from benchmarks.latency.exchange import SYMBOL
from benchmarks.latency.probe import Passage, Probe

from mmkit.config import load_config
from mmkit.run.trade import trade
from mmkit_binance.account.client import BinanceAccount
from mmkit_ccxt.account import CcxtAccount
from mmkit_sandbox.accountconfig import DEMO_KEY, DEMO_SECRET

ROUTES = {"ccxt": ("ccxt", CcxtAccount), "direct": ("binance", BinanceAccount)}
"""By name: the venue's plugin, and the class of its account."""
_WARM = (
    20  # orders of each run that are left out: the first ones load code, and connections are opened
)

CONFIG = """
mode: live
instrument: {{venue: binance, market: usdm, symbol: "{symbol}"}}
data: {{plugin: binance, endpoint: sandbox, url: "ws{book}", rest_url: "http{book}", streams: [depth], confirm: false}}
strategy: {{plugin: on_and_off, "on": [best], size: "0.01"}}
venue: {{plugin: {plugin}, endpoint: sandbox, key: {key}, secret: {secret}, url: "http{orders}"}}
risk: {{max_position: "0.5", max_order: "0.02", price_band: 2%, stale_after: 5s, max_drawdown: "100000"}}
"""

STRATEGY = '''
"""A bid after one change of the best prices, none after the next: so no cancel stands before an order."""

from mmkit import NO_QUOTES, Quotes, Strategy, StrategyConfig


class OnAndOffConfig(StrategyConfig):
    size: str


class OnAndOff(Strategy):
    Config = OnAndOffConfig

    def __init__(self, config, context):
        super().__init__(config, context)
        self._size = context.instrument.lots(config.size)

    def quote(self, view):
        bid = view.best_bid
        if bid is None or view.orders:
            return NO_QUOTES
        return Quotes(bid=(bid - bid // 100, self._size))
'''

SPANS = {
    "decide": "bytes of the book to the call on the venue: parsed, booked, decided, checked",
    "handler": "from there to AccountClient.place, less the commit: the order handler",
    "journal": "the commit: the intent is on the disk before the order leaves",
    "placed": "bytes of the book to AccountClient.place, the commit in it",
    "ccxt": "bytes of the book to the order's bytes sent, through ccxt",
    "ccxt_own": "of it, ccxt: create_order until the signed request is handed to aiohttp",
    "ccxt_aiohttp": "of it, aiohttp: until the bytes are sent",
    "direct": "bytes of the book to the order's bytes sent, over the WebSocket API",
    "direct_own": "of it, the account's client: place until the bytes are sent",
    "direct_without_commit": "direct less the commit",
}
Spans = dict[str, npt.NDArray[np.float64]]


def spans(route: str, passages: Sequence[Passage]) -> Spans:
    """Return the times of every order, us, by span."""
    at = {name: np.array([getattr(one, name) for one in passages]) for name in Passage._fields}
    out = at["left"] - at["arrived"]
    found = {
        "decide": at["decided"] - at["arrived"],
        "handler": at["placed"] - at["decided"] - at["committed"],
        "journal": at["committed"],
        "placed": at["placed"] - at["arrived"],
        route: out,
    }
    if route == "ccxt":
        found["ccxt_own"] = at["handed"] - at["created"]
        found["ccxt_aiohttp"] = at["left"] - at["handed"]
    else:
        found["direct_own"] = at["left"] - at["placed"]
        found["direct_without_commit"] = out - at["committed"]
    return {name: times / 1000 for name, times in found.items()}


@contextlib.contextmanager
def exchange(levels: int, rate: float) -> Iterator[list[str]]:
    """Run the other side in a process of its own; give the addresses for orders and for the book."""
    command = [sys.executable, "-m", "benchmarks.latency.exchange", str(levels), str(rate)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()
    finally:
        process.kill()
        process.wait()


def measured(route: str, addresses: Sequence[str], folder: Path, seconds: float) -> Spans:
    """Trade for so long; return the times of its orders."""
    plugin, client = ROUTES[route]
    orders, book = (one.removeprefix("http") for one in addresses)
    (folder / "strategies").mkdir(exist_ok=True)
    (folder / "strategies" / "on_and_off.py").write_text(STRATEGY)
    words = {"symbol": SYMBOL, "plugin": plugin, "key": DEMO_KEY, "secret": DEMO_SECRET}
    (folder / "config.yml").write_text(CONFIG.format(orders=orders, book=book, **words))
    config = load_config([folder / "config.yml"], userdir=folder)
    probe = Probe()
    with probe.listening(client):
        report, failure, _ = asyncio.run(
            trade(config, duration_ns=int(seconds * 1e9), confirmed=True)
        )
    if failure is not None:
        raise SystemExit(f"the run through '{plugin}' has failed: {failure}")
    found = list(probe.passages())[_WARM:]
    if not found or report.rejected:
        raise SystemExit(
            f"the run through '{plugin}': orders were expected, and none refused; found {report.orders} orders, of "
            f"which a message of the book led to {len(found) + _WARM} or less, and {report.rejected} refused"
        )
    return spans(route, found)


def main() -> None:
    """Measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(prog="benchmarks.latency")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=12, help="of each route in a round")
    parser.add_argument("--levels", type=int, default=16, help="that a message of the book changes")
    parser.add_argument("--rate", type=float, default=200, help="messages of the book a second")
    parser.add_argument(
        "--journal", type=Path, help="where the journal of orders is kept, to measure another disk"
    )
    asked = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    load = [os.getloadavg()[0]]
    rounds: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in SPANS}
    with tempfile.TemporaryDirectory(dir=asked.journal) as name:
        for number in range(asked.rounds):
            for route in ROUTES:
                # Another exchange each time, as what one run has asked for counts for the minute of the next.
                folder = Path(name) / f"{number}-{route}"
                folder.mkdir()
                with exchange(asked.levels, asked.rate) as addresses:
                    for span, times in measured(route, addresses, folder, asked.seconds).items():
                        rounds[span].append(times)
            load.append(os.getloadavg()[0])
    print(
        f"{asked.rate:g} messages of {asked.levels} levels a second, load {' '.join(f'{one:.1f}' for one in load)}"
    )
    print("us, medians of the runs, their least and most              P50               P99")
    answer: dict[str, float] = {}
    for span, what in SPANS.items():
        cells = []
        for share in (50, 99):
            each = [float(np.percentile(times, share)) for times in rounds[span]]
            answer[f"{span}_p{share}_us"] = round(float(np.median(each)), 1)
            cells.append(f"{np.median(each):7.0f} ({min(each):.0f} to {max(each):.0f})")
        print(f"{span:22} {cells[0]:24} {cells[1]:24} {what}")
    answer["orders"] = sum(map(len, rounds["decide"]))
    answer["load_most"] = round(max(load), 1)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
