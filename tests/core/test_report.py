from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from core_rows import BTCUSDT, INVERSE, SPOT

from mmkit.engine import Engine
from mmkit.events import MAIN, Liquidity, OrderFilled, Side
from mmkit.instruments import Instrument
from mmkit.interfaces import RunInfo
from mmkit.report import Report, format_span, report_json, report_of, report_text
from mmkit.risk import MaxOrder, QuantityLimit, RiskGate
from mmkit.settings import SimSettings
from mmkit.tape import FeedStats
from mmkit.testing import build_strategy, random_tape, run_strategy
from mmkit_strategies.join_best import JoinBest
from mmkit_strategies.skewed import Skewed

ISSUE = (
    *("events", "orders", "fills", "volume", "fees", "position", "equity", "realized_pnl"),
    *("max_drawdown", "wall_s", "events_per_s"),
)


def info(instrument: Instrument = BTCUSDT) -> RunInfo:
    return RunInfo(
        run_id="r", command="backtest", folder="", instrument=instrument, strategy="join_best"
    )


def finished(instrument: Instrument = BTCUSDT, **changes: Any) -> tuple[Engine, Report]:
    tape = random_tape(3, 500, instrument=instrument)
    strategy = build_strategy(
        JoinBest,
        instrument,
        size=str(instrument.quantity(10)),
        max_position=str(instrument.quantity(50)),
    )
    engine, _ = run_strategy(strategy, tape, SimSettings(), changes.pop("risk", None))
    values: dict[str, Any] = {
        "start_ns": int(tape.ts_local[0]),
        "events": {MAIN: len(tape)},
        "wall_s": 2.0,
    }
    return engine, report_of(
        {MAIN: engine}, info(instrument), {MAIN: FeedStats()}, **{**values, **changes}
    )


def parsed(report: Report) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(report_json(report), parse_float=Decimal)
    return raw


@pytest.mark.parametrize("instrument", [BTCUSDT, SPOT, INVERSE])
def test_a_report_adds_up(instrument: Instrument) -> None:
    engine, report = finished(instrument)
    assert report.fills == report.maker_fills + report.taker_fills == engine.counts["fills"] > 0
    assert report.volume == instrument.quantity(engine.portfolio.volume)
    assert report.position == instrument.quantity(engine.position)
    difference = report.realized_pnl + report.unrealized_pnl - report.fees - report.equity
    assert abs(difference) < Decimal("1e-20")
    # Equity was 0 once.
    assert report.max_drawdown >= -report.equity > 0
    assert report.currency == instrument.settle
    assert report.events_per_s == report.events / 2


def test_the_json_is_one_line_and_has_the_keys_that_scripts_rely_on() -> None:
    _, report = finished()
    raw = report_json(report)
    assert b"\n" not in raw
    assert set(ISSUE) <= set(parsed(report))
    assert all(isinstance(parsed(report)[name], int | Decimal) for name in ISSUE)


def test_money_in_json_is_a_number_with_all_its_digits() -> None:
    _, report = finished()
    changed = msgspec.structs.replace(
        report, equity=Decimal("-12345678901234.123456789012345678"), fees=Decimal("0.1")
    )
    assert (parsed(changed)["equity"], parsed(changed)["fees"]) == (changed.equity, changed.fees)


def test_a_report_is_read_back_from_its_json() -> None:
    _, report = finished()
    assert msgspec.json.decode(report_json(report), type=Report) == report


@pytest.mark.parametrize("price", [600_000, 7, 123_456_789])
@pytest.mark.parametrize("quantity", [1, 1_000, 3_000_000_000_000])
def test_no_amount_is_too_large_or_too_fine_to_be_told(price: int, quantity: int) -> None:
    engine = Engine(
        INVERSE, build_strategy(JoinBest, INVERSE, size="1", max_position="5"), RiskGate(), 0
    )
    for side in (Side.BUY, Side.BUY, Side.SELL):
        fill = OrderFilled(
            ts_exchange=0,
            ts_local=0,
            order_id=1,
            price=price + (3 if side is Side.SELL else 0),
            quantity=quantity,
            remaining=0,
            liquidity=Liquidity.MAKER,
            fee=Decimal("1e-30"),
        )
        engine.portfolio.apply(side, fill)
    report = report_of(
        {MAIN: engine}, info(INVERSE), {MAIN: FeedStats()}, start_ns=0, events={MAIN: 0}, wall_s=0.0
    )
    assert report.events_per_s == 0
    assert parsed(report)["volume"] == 3 * quantity
    assert "join_best on BTC/USD:BTC" in report_text(report)


def test_an_order_that_risk_refused_is_in_the_report() -> None:
    from mmkit.interfaces import Context

    checks = RiskGate(
        [("max_order", MaxOrder(QuantityLimit(limit=Decimal("0.001")), Context(BTCUSDT)))]
    )
    _, report = finished(risk=checks)
    assert (report.orders, report.fills) == (0, 0)
    assert report.vetoes["max_order"] > 0
    assert "orders by max_order" in report_text(report)


def test_orders_that_would_have_met_our_own_are_in_the_report() -> None:
    engine, report = finished()
    assert report.self_trades == 0
    assert "self-trades" not in report_text(report)
    engine.counts["self_trades"] = 3
    told = report_of(
        {MAIN: engine}, info(), {MAIN: FeedStats()}, start_ns=0, events={MAIN: 1}, wall_s=1.0
    )
    assert told.self_trades == 3
    assert "self-trades   3 orders rejected before our own" in report_text(told)


def test_a_run_in_which_nothing_happened_is_told_without_noise() -> None:
    strategy = build_strategy(Skewed, size="0.01", max_position="0.05", half_spread="5bps")
    report = report_of(
        {MAIN: Engine(BTCUSDT, strategy, RiskGate(), 5)},
        info(),
        {MAIN: FeedStats(notes=["something"])},
        start_ns=5,
        events={MAIN: 0},
        wall_s=0.0,
    )
    assert report_text(report).splitlines() == [
        "strategy      join_best on BTC/USDT:USDT",
        "time          0s",
        "events        0 rows, 0 trades, 0 gaps",
        "orders        0 sent, 0 canceled, 0 rejected",
        "fills         0 (0 maker, 0 taker)",
        "volume        0 (value 0 USDT)",
        "position      0",
        "realized      0 USDT",
        "unrealized    0 USDT",
        "fees          0 USDT",
        "equity        0 USDT",
        "max drawdown  0 USDT",
        "note          something",
        "speed         0.00 s, 0 rows/s, reference engine",
    ]


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (999_999, "0.001s"),
        (1_500_000_000, "1.500s"),
        (30_000_000_000, "30s"),
        (60_000_000_000, "01m 00s"),
        (3_599_999_999_999, "59m 59s"),
        (3_723_000_000_000, "1h 02m 03s"),
        (90_000_000_000_000, "25h 00m 00s"),
    ],
)
def test_a_span_of_time_for_people(ns: int, text: str) -> None:
    assert format_span(ns) == text
