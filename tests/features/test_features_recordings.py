"""The features of real captures: batch, streaming, the definitions and the best prices kept with a tape agree."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slow_features import messages_of, moments, slow

from mmkit.clock import SimClock
from mmkit.features import Features, Streaming
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import SourceContext
from mmkit.plugins import Plugins
from mmkit.tape import Tape
from mmkit_capture.source import CaptureConfig, CaptureSource

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

SPECS: list[Any] = [
    *("spread", "mid", "microprice", "bid_size", "ask_size", "imbalance", "age"),
    *({"name": name, "levels": 10} for name in ("imbalance", "bid_slope", "ask_slope")),
    "levels",
    *({"name": "ofi", "levels": n, "window": "1s"} for n in (1, 5)),
    *(
        {"name": name, "window": "2s"}
        for name in ("trade_imbalance", "buy_sell_ratio", "volatility", "return")
    ),
]
CAPTURES = {
    "usdm": ("usdm", "BTC/USDT:USDT", "0.1", "0.001", "1", ["binance_usdm/btcusdt_20240808.gz"]),
    "spot": (
        *("spot", "NEXO/USDT", "0.001", "0.01", "50"),
        [f"binance_spot_nexousdt/nexousdt_202407{day}.dat.gz" for day in (23, 24)],
    ),
}


@pytest.fixture(scope="module", params=CAPTURES)
def recorded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tape, Features]:
    market, symbol, tick, lot, bucket, paths = CAPTURES[request.param]
    spec = InstrumentSpec(
        venue="binance", market=market, symbol=symbol, tick=Decimal(tick), lot=Decimal(lot)
    )
    context = SourceContext(
        spec=spec,
        clock=SimClock(),
        userdir=tmp_path_factory.mktemp("user"),
        wire_formats=Plugins.load(None).wire_formats,
    )
    config = CaptureConfig(paths=tuple(str(DATA / path) for path in paths))
    tape = asyncio.run(CaptureSource(config, context).tape())
    vpin = {"name": "vpin", "bucket": bucket, "buckets": 5}
    return tape, Features([*SPECS, vpin], tape.instrument)


def test_streaming_a_capture_gives_the_values_of_the_whole_tape_bit_for_bit(
    recorded: tuple[Tape, Features],
) -> None:
    tape, features = recorded
    streaming = Streaming(features)
    at, found = [], []
    messages = messages_of(list(tape.rows()))
    for message, following in zip(messages, [*messages[1:], []], strict=True):
        streaming.on_message(message)
        now = message[-1][1]
        if not following or following[0][1] > now:
            at.append(now)
            found.append(streaming.values(now))
    whole = features.compute(tape, np.array(at))
    assert np.array_equal(np.array(found), whole, equal_nan=True)
    for name, column in zip(features.names, whole.T, strict=True):
        assert np.isfinite(column).mean() > 0.9, name
        assert len(np.unique(column[np.isfinite(column)])) > 3, name


def test_spread_and_mid_are_those_of_the_best_prices_kept_with_the_tape(
    recorded: tuple[Tape, Features],
) -> None:
    tape, _ = recorded
    index = tape.index
    last = np.append(np.diff(index.top_ts) > 0, True)
    bid, ask = index.top_bid[last].astype(float), index.top_ask[last].astype(float)
    known = (bid > 0) & (ask > 0)
    found = Features(["spread", "mid"], tape.instrument).compute(tape, index.top_ts[last])
    assert known.sum() > 400
    assert np.array_equal(found[known], np.stack([ask - bid, (bid + ask) / 2], 1)[known])
    assert np.isnan(found[~known]).all()


def test_values_of_a_capture_are_what_the_definitions_say(recorded: tuple[Tape, Features]) -> None:
    tape, features = recorded
    rows = [row for message in messages_of(list(tape.rows()))[:1_500] for row in message]
    at = [rows[int(len(rows) * share)][1] for share in (0.3, 0.6, 0.99)]
    found = features.compute(tape, np.array(at))
    lot, known = Fraction(tape.instrument.lot), moments(rows)
    for moment, values in zip(at, found, strict=True):
        expected = slow(known, features.specs, lot, moment)
        assert values.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True)
        assert np.isfinite(values).sum() >= 7
