"""Statistics of the sandbox's simulated market beside those of a capture, as a Markdown table.

    python benchmarks/sandbox_statistics.py [--minutes 30] [--seed 1] [--capture FILE]

Both go through the same code: messages of depth, trade and bookTicker as a client receives them.
docs/sandbox.md holds its output.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from mmkit_sandbox.channel import Channel, StreamKind
from mmkit_sandbox.exchange import Exchange
from mmkit_sandbox.listing import Listing
from mmkit_sandbox.replay import ReplayedExchange, open_replay
from mmkit_sandbox.simulation import SimulatedExchange

S = 1_000_000_000
STEP_NS = S // 10
CAPTURE = (
    Path(__file__).resolve().parents[1].parent / "shared/data/binance_usdm/btcusdt_20240808.gz"
)
DISTANCES = (1, 5, 20, 100)  # of these levels behind the best one


class Statistics:
    """What the messages of one symbol come to."""

    def __init__(self, exchange: Exchange, listing: Listing, start_ns: int, end_ns: int) -> None:
        self.listing = listing
        self.tick = float(listing.tick)
        self.seconds = (end_ns - start_ns) / S
        self.messages: Counter[StreamKind] = Counter()
        self.spreads: Counter[int] = Counter()  # ticks, by ms they lasted
        self.best: list[float] = []
        self.trades: list[float] = []
        self.changed: list[int] = []
        self.mids: list[float] = []
        self.distances: list[list[float]] = []
        channels = {
            Channel(listing.market, listing.symbol, StreamKind.DIFF, 0, 100),
            Channel(listing.market, listing.symbol, StreamKind.TRADE),
            Channel(listing.market, listing.symbol, StreamKind.BOOK_TICKER),
        }
        ticker: dict[str, Any] | None = None
        for step, now in enumerate(range(start_ns, end_ns, STEP_NS)):
            for channel, data in exchange.advance(now, channels):
                said = msgspec.json.decode(data)
                self.messages[channel.kind] += 1
                if channel.kind is StreamKind.BOOK_TICKER:
                    if ticker is not None:
                        self.spreads[self._spread(ticker)] += said["E"] - ticker["E"]
                    ticker = said
                elif channel.kind is StreamKind.TRADE:
                    self.trades.append(float(said["q"]))
                else:
                    self.changed.append(len(said["b"]) + len(said["a"]))
            if ticker is not None and step % 10 == 0:
                self._sample(exchange, ticker)

    def _spread(self, ticker: dict[str, Any]) -> int:
        return round((float(ticker["a"]) - float(ticker["b"])) / self.tick)

    def _sample(self, exchange: Exchange, ticker: dict[str, Any]) -> None:
        bid, ask = float(ticker["b"]), float(ticker["a"])
        self.mids.append((bid + ask) / 2)
        self.best.append(float(ticker["B"]))
        depth = exchange.depth(self.listing, max(DISTANCES) + 1)
        if depth is not None and len(depth.bids) > max(DISTANCES):
            prices = [float(price) for price, _ in depth.bids]
            self.distances.append([(prices[0] - prices[level]) / self.tick for level in DISTANCES])

    def rows(self) -> dict[str, str]:
        """Return the figures by name."""
        returns = [(after / before - 1) * 1e4 for before, after in pairwise(self.mids)]
        volatility, mean = statistics.pstdev(returns), statistics.fmean(returns)
        lagged = statistics.fmean([(a - mean) * (b - mean) for a, b in pairwise(returns)])
        kurtosis = statistics.fmean([((one - mean) / volatility) ** 4 for one in returns])
        lasted = self.spreads.total()
        # One standard error of an autocorrelation of independent returns.
        error = len(returns) ** -0.5

        def share(condition: Any) -> str:
            return (
                f"{sum(ms for ticks, ms in self.spreads.items() if condition(ticks)) / lasted:.1%}"
            )

        def quantiles(values: list[float]) -> str:
            cut = statistics.quantiles(values, n=20)
            return f"{cut[0]:.3g} / {cut[4]:.3g} / {cut[9]:.3g} / {cut[14]:.3g} / {cut[18]:.3g}"

        behind = [statistics.fmean(column) for column in zip(*self.distances, strict=True)]
        return {
            "length": f"{self.seconds:,.0f} s",
            "spread of 1 tick, share of time": share(lambda ticks: ticks == 1),
            "spread of 2 or 3 ticks": share(lambda ticks: ticks in {2, 3}),
            "spread above 3 ticks": share(lambda ticks: ticks > 3),
            "best bid quantity, 5/25/50/75/95 %": quantiles(self.best),
            f"levels {'/'.join(map(str, DISTANCES))} behind the best bid, ticks away": " / ".join(
                f"{distance:.0f}" for distance in behind
            ),
            "trades a second": f"{len(self.trades) / self.seconds:.1f}",
            "trade quantity, 5/25/50/75/95 %": quantiles(self.trades),
            "traded a second": f"{sum(self.trades) / self.seconds:.2f}",
            "bookTicker messages a second": (
                f"{self.messages[StreamKind.BOOK_TICKER] / self.seconds:.0f}"
            ),
            "diff messages a second": f"{self.messages[StreamKind.DIFF] / self.seconds:.1f}",
            "levels changed a second": f"{sum(self.changed) / self.seconds:.0f}",
            "volatility of the mid over 1 s": f"{volatility:.2f} bps",
            "kurtosis of 1 s returns": f"{kurtosis:.0f}",
            "autocorrelation of 1 s returns": f"{lagged / volatility**2:+.3f} ± {error:.3f}",
            "range of the mid": f"{(max(self.mids) / min(self.mids) - 1) * 1e4:.0f} bps",
        }


def of_capture(path: Path) -> Statistics:
    """Return the statistics of a capture of one symbol."""
    exchange: ReplayedExchange = open_replay([path])
    first = exchange.start_ns
    end = first
    while exchange.played < exchange.messages:
        end += S
        exchange.advance(end, ())
    return Statistics(open_replay([path]), exchange.listings[0], first, end)


def of_sandbox(seed: int, seconds: int) -> Statistics:
    """Return the statistics of a simulated market."""
    listing = Listing.of("BTC/USDT:USDT")
    return Statistics(SimulatedExchange([listing], seed, 0), listing, 0, seconds * S)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--capture", type=Path, default=CAPTURE)
    options = parser.parse_args()
    ours = of_sandbox(options.seed, options.minutes * 60).rows()
    theirs = of_capture(options.capture).rows()
    print(f"| | sandbox, seed {options.seed} | {options.capture.name} |")
    print("|---|---|---|")
    for name, value in ours.items():
        print(f"| {name} | {value} | {theirs[name]} |")


if __name__ == "__main__":
    main()
