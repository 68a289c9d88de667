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
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mmkit.clock import SimClock
from mmkit.features import Features, Streaming
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import SourceContext
from mmkit.plugins import Plugins
from mmkit.tape import KIND, LAST, Kind, Row, Tape
from mmkit_capture.source import CaptureConfig, CaptureSource

from .part import Part, Sizes

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


def features(sizes: Sizes) -> Part:
    """Measure every set of features on real captures; the figures are those of ``level 1`` on BTCUSDT."""
    lines = [
        f"{'':31}{'streaming, us an update':^49}{'batch, M rows/s':^30}",
        f"{'capture':16}{'features':15}{'median':>7}{'book':>7}{'trade':>7}{'P99':>7}{'4 rows':>8}{'CPU, mean':>12}"
        f"{'each update':>14}{'by CPU':>8}{'100 ms':>8}",
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
                streamed = _stream(columns, messages[: sizes.messages])
                each = np.unique(np.array([message[-1][1] for message in messages], np.int64))
                grid = np.arange(tape.ts_local[0], tape.ts_local[-1], 100_000_000)
                wall, cpu = _batch(columns, tape, each, sizes.repeats)
                lines.append(
                    f"{capture[0]:16}{title:15}"
                    + "".join(f"{us:7.2f}" for us in streamed[:4])
                    + f"{streamed.few:8.2f}{streamed.cpu:12.2f}{wall / 1e6:14.1f}{cpu / 1e6:8.1f}"
                    f"{_batch(columns, tape, grid, sizes.repeats)[0] / 1e6:8.1f}"
                )
                figures.setdefault("feature_us", round(streamed.median, 3))
                figures.setdefault("feature_cpu_us", round(streamed.cpu, 3))
                figures.setdefault("batch_rows_per_s", round(wall))
                figures.setdefault("batch_rows_per_cpu_s", round(cpu))
            lines.append(
                f"{'':16}{len(tape):,} rows, {len(messages):,} messages; of the book "
                f"{median(len(one) for one in messages if _is_book(one)):.0f} rows each in the middle, "
                f"{np.mean([len(one) for one in messages]):.1f} of all in the mean"
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


class _Streamed(NamedTuple):
    """What an update takes in us: one message taken in, and all values asked for.

    Attributes:
        median: Of all.
        book: Of the book's, the median.
        trade: Of trades, the median.
        p99: Of all.
        few: Of the book's of up to four rows, the median.
        cpu: Of all, the mean, of the processor.
    """

    median: float
    book: float
    trade: float
    p99: float
    few: float
    cpu: float


def _stream(columns: Features, messages: list[list[Row]]) -> _Streamed:
    streaming = Streaming(columns)
    on_message, values, clock = streaming.on_message, streaming.values, time.perf_counter_ns
    took = np.zeros(len(messages), np.int64)
    # It would walk through the millions of objects that the messages are.
    gc.disable()
    try:
        for n, message in enumerate(messages):
            begun = clock()
            on_message(message)
            values(message[-1][1])
            took[n] = clock() - begun
        cpu = _stream_at_once(columns, messages)
    finally:
        gc.enable()
    us = took / 1000
    kinds = np.array([message[-1][2] & KIND for message in messages])
    book, few = kinds == Kind.LEVEL, np.array([len(message) <= 4 for message in messages])
    return _Streamed(
        median=_middle(us),
        book=_middle(us[book]),
        trade=_middle(us[kinds == Kind.TRADE]),
        p99=float(np.percentile(us, 99)),
        few=_middle(us[book & few]),
        cpu=cpu,
    )


def _middle(us: npt.NDArray[np.float64]) -> float:
    return float(np.median(us)) if len(us) else float("nan")


def _stream_at_once(columns: Features, messages: list[list[Row]]) -> float:
    """Return the processor's us an update, read once: reading it takes as long as an update."""
    streaming = Streaming(columns)
    on_message, values = streaming.on_message, streaming.values
    begun = time.thread_time()
    for message in messages:
        on_message(message)
        values(message[-1][1])
    return (time.thread_time() - begun) / len(messages) * 1e6


def _batch(
    columns: Features, tape: Tape, at: npt.NDArray[np.int64], repeats: int
) -> tuple[float, float]:
    """Return rows a second of the clock on the wall, and of the processor, in the middle."""
    columns.compute(tape, at[:1])  # compiled, and loaded
    wall, cpu = [], []
    for _ in range(repeats):
        begun, used = time.perf_counter(), time.thread_time()
        columns.compute(tape, at)
        cpu.append(time.thread_time() - used)
        wall.append(time.perf_counter() - begun)
    return len(tape) / median(wall), len(tape) / median(cpu)
