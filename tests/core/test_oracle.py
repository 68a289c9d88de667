"""`join_best` beside hftbacktest; docs/oracle.md explains the one difference, `POWER_100MS`."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mmkit.clock import SimClock
from mmkit.interfaces import InstrumentSpec, SourceContext
from mmkit.plugins import Plugins
from mmkit.settings import SimSettings
from mmkit.tape import KIND, Kind, Tape
from mmkit.testing import build_strategy, run_strategy
from mmkit_capture.source import CaptureConfig, CaptureSource
from mmkit_strategies.join_best import JoinBest

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "binance_usdm"
AUGUST = ("btcusdt_20240808.gz",)
JULY = ("btcusdt_20240718.gz", "btcusdt_20240719.gz")
POWER_100MS = "-20.545"
"""hftbacktest: -20.495, as it quotes on the updates before the snapshot. On our rows it says the same."""


@cache
def tape_of(names: tuple[str, ...]) -> Tape:
    with TemporaryDirectory() as userdir:
        context = SourceContext(
            spec=InstrumentSpec(
                venue="binance",
                market="usdm",
                symbol="BTC/USDT:USDT",
                tick=Decimal("0.1"),
                lot=Decimal("0.001"),
            ),
            clock=SimClock(),
            userdir=Path(userdir),
            wire_formats=Plugins.load(None).wire_formats,
        )
        config = CaptureConfig(paths=tuple(str(DATA / name) for name in names))
        return asyncio.run(CaptureSource(config, context).tape())


@pytest.mark.parametrize(
    ("names", "every", "queue", "orders", "trades", "position", "equity"),
    [
        (AUGUST, "1s", "risk_averse", 350, 200, "0.000", "-10.911"),
        (AUGUST, "1s", "power", 368, 221, "0.010", "-11.4345"),
        (AUGUST, "100ms", "risk_averse", 792, 388, "0.020", "-20.591"),
        (AUGUST, "100ms", "power", 813, 408, "0.020", POWER_100MS),
        (JULY, "1s", "risk_averse", 208, 106, "-0.040", "-4.543"),
        (JULY, "1s", "power", 209, 108, "-0.040", "-5.529"),
    ],
)
def test_join_best_does_what_an_independent_engine_does(
    names: tuple[str, ...],
    every: str,
    queue: str,
    orders: int,
    trades: int,
    position: str,
    equity: str,
) -> None:
    sim = SimSettings.model_validate(
        {
            "latency": {"entry": "10ms", "response": "10ms"},
            "queue": {"model": queue, "exponent": 2},
            "fees": {"maker": "0", "taker": "0"},
            "partial_fills": False,
            "fill_reports": "plain",
        }
    )
    strategy = build_strategy(JoinBest, size="0.01", max_position="0.05", every=every)
    engine, _ = run_strategy(strategy, tape_of(names), sim)
    assert (
        engine.counts["orders"],
        engine.counts["fills"],
        engine.instrument.quantity(engine.position),
        engine.equity,
    ) == (orders, trades, Decimal(position), Decimal(equity))


def test_the_rows_are_those_of_the_captures_less_what_the_snapshot_already_holds() -> None:
    august, july = tape_of(AUGUST), tape_of(JULY)
    assert august.stats.clock_offset_ns == [1_272_156_851]
    assert july.stats.clock_offset_ns == [1_522_101_448, 1_523_469_656]
    # hftbacktest's 466,834, less 259 levels, and the two rows that it has no name for.
    assert (len(august), august.stats.gaps, august.stats.tickers_different) == (466_577, 0, 0)
    [snapshot] = (august.kind & KIND == Kind.SNAPSHOT).nonzero()[0]
    assert int(august.ts_local[snapshot]) == 1_723_161_256_591_859_417
