"""What features cost: an update while it comes in, and a whole tape at once."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from mmkit.clock import SimClock
from mmkit.features import Features, Streaming
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import SourceContext
from mmkit.plugins import Plugins
from mmkit.tape import KIND, LAST, Kind, Row, Tape
from mmkit_capture.source import CaptureConfig, CaptureSource

from .part import Part

TOP: list[Any] = ["spread", "mid", "microprice", "bid_size", "ask_size", "imbalance", "age"]
FLOW: list[Any] = [
    {"name": "ofi", "window": "1s"},
    {"name": "trade_imbalance", "window": "5s"},
    {"name": "volatility", "window": "10s"},
    {"name": "return", "window": "1s"},
]
DEEP: list[Any] = [
    {"name": "imbalance", "levels": 5},
    {"name": "imbalance", "levels": 10},
    {"name": "bid_volume", "levels": 10},
    {"name": "ask_volume", "levels": 10},
    {"name": "bid_slope", "levels": 10},
    {"name": "ask_slope", "levels": 10},
    {"name": "ofi", "levels": 10, "window": "1s"},
    {"name": "vpin", "bucket": "5"},
]
SETS = {"level 1": TOP, "and flow": TOP + FLOW, "and 10 levels": TOP + FLOW + DEEP}

_CAPTURES = (
    (
        "BTCUSDT usdm",
        "usdm",
        "BTC/USDT:USDT",
        "0.1",
        "0.001",
        ("binance_usdm/btcusdt_20240808.gz",),
    ),
    (
        "NEXOUSDT spot",
        "spot",
        "NEXO/USDT",
        "0.001",
        "0.01",
        (
            "binance_spot_nexousdt/nexousdt_20240723.dat.gz",
            "binance_spot_nexousdt/nexousdt_20240724.dat.gz",
        ),
    ),
)
_STREAMED = 100_000
"""Messages that are streamed, at most."""


def features() -> Part:
    """Measure every set of features on real captures; the figures are those of ``level 1`` on BTCUSDT."""
    lines = [
        f"{'':32}{'streaming, us an update':^42}{'batch, M rows/s':^24}",
        f"{'capture':16}{'features':16}{'median':>7}{'book':>7}{'trade':>7}{'P99':>7}{'4 rows':>8}"
        f"{'each update':>16}{'each 100 ms':>14}",
    ]
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        for capture in _CAPTURES:
            tape = _read(capture, Path(name))
            messages = _messages(tape)
            for title, written in SETS.items():
                bucket = "5" if capture[1] == "usdm" else "100"
                specs = [{**one, "bucket": bucket} if "bucket" in one else one for one in written]
                columns = Features(specs, tape.instrument)
                streamed = _stream(columns, messages)
                updates, grid = _batch(columns, tape, messages)
                lines.append(
                    f"{capture[0]:16}{title:16}"
                    + "".join(f"{us:7.2f}" for us in streamed[:4])
                    + f"{streamed[4]:8.2f}{updates / 1e6:16.1f}{grid / 1e6:14.1f}"
                )
                figures.setdefault("feature_us", round(streamed[0], 3))
                figures.setdefault("batch_rows_per_s", round(updates))
            lines.append(
                f"{'':16}{len(tape):,} rows, {len(messages):,} messages; of the book "
                f"{median(len(one) for one in messages if _is_book(one)):.0f} rows each in the middle"
            )
    return Part(figures, tuple(lines))


def _read(capture: Sequence[Any], userdir: Path) -> Tape:
    _, market, symbol, tick, lot, paths = capture
    shared = os.environ.get("SHARED_DIR") or Path(__file__).resolve().parents[3] / "shared"
    spec = InstrumentSpec(
        venue="binance", market=market, symbol=symbol, tick=Decimal(tick), lot=Decimal(lot)
    )
    context = SourceContext(
        spec=spec, clock=SimClock(), userdir=userdir, wire_formats=Plugins.load(None).wire_formats
    )
    config = CaptureConfig(paths=tuple(str(Path(shared) / "data" / path) for path in paths))
    return asyncio.run(CaptureSource(config, context).tape())


def _messages(tape: Tape) -> list[list[Row]]:
    rows = list(tape.rows())
    ends = [0, *(n for n, row in enumerate(rows, 1) if row[2] & LAST)]
    return [rows[start:end] for start, end in pairwise(ends)]


def _is_book(message: list[Row]) -> bool:
    return message[-1][2] & KIND == Kind.LEVEL


def _stream(columns: Features, messages: list[list[Row]]) -> tuple[float, ...]:
    """Return us an update: median of all, of the book's, of trades, P99, and median of those of up to 4 rows.

    An update is one message taken in, and all values asked for.
    """
    streaming = Streaming(columns)
    on_message, values, clock = streaming.on_message, streaming.values, time.perf_counter_ns
    took = np.zeros(min(len(messages), _STREAMED), np.int64)
    gc.disable()
    try:
        for n, message in enumerate(messages[:_STREAMED]):
            begun = clock()
            on_message(message)
            values(message[-1][1])
            took[n] = clock() - begun
    finally:
        gc.enable()
    us = took / 1000
    kinds = [message[-1][2] & KIND for message in messages[:_STREAMED]]
    book = np.array([kind == Kind.LEVEL for kind in kinds])
    trades = np.array([kind == Kind.TRADE for kind in kinds])
    few = book & np.array([len(message) <= 4 for message in messages[:_STREAMED]])
    return (
        float(np.median(us)),
        float(np.median(us[book])),
        float(np.median(us[trades])),
        float(np.percentile(us, 99)),
        float(np.median(us[few])) if few.any() else float("nan"),
    )


def _batch(columns: Features, tape: Tape, messages: list[list[Row]]) -> tuple[float, float]:
    """Return rows a second with values after each message, and with values each 100 ms; medians of five."""
    each = np.unique(np.array([message[-1][1] for message in messages], np.int64))
    grid = np.arange(tape.ts_local[0], tape.ts_local[-1], 100_000_000)
    found = []
    for at in (each, grid):
        columns.compute(tape, at[:1])  # compiled, and loaded
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            columns.compute(tape, at)
            times.append(time.perf_counter() - begun)
        found.append(len(tape) / median(times))
    return found[0], found[1]
