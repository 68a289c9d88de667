"""The market watch against a slow calculation, on random markets and on real recordings."""

import asyncio
import math
import statistics
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_watch import alerts, scores, statistics_at, trades_of

import mmkit_capture
from mmkit.clock import SimClock
from mmkit.errors import DataError
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import SourceContext
from mmkit.plugins import Plugins
from mmkit.tape import KIND, LAST, SELL, GapReason, Kind, Row, Tape
from mmkit.testing import BTCUSDT
from mmkit.watch import (
    HighVolatility,
    LargeTrade,
    OneSidedTrades,
    PriceAnomaly,
    Statistics,
    StrongFlow,
    Watch,
    WatchEvent,
    WatchSettings,
)

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
S = 10**9


def asking(**keys: Any) -> WatchSettings:
    """Settings as YAML would have them."""
    return WatchSettings.model_validate(keys)


# Short windows, so that they fill and roll within a small market.
SHORT = asking(
    window=6,
    least=3,
    deviations=1.5,
    large_trade=Decimal("0.05"),
    trades=4,
    one_sided=0.8,
    span="3s",
    strong_flow=Decimal("0.1"),
    high_volatility="3ticks",
    cooldown="2s",
    every="1s",
)


@st.composite
def markets(draw: st.DrawFn) -> list[Row]:
    """Rows of every kind that a watch meets, gaps among them; time stands still now and then."""
    rows: list[Row] = []
    now, price = 1000 * S, 600_000
    for _ in range(draw(st.integers(0, 60))):
        now += draw(st.sampled_from([0, 1, S // 4, S - 1, S, 2 * S, 5 * S]))
        what = draw(st.sampled_from([Kind.TRADE] * 8 + [Kind.LEVEL, Kind.GAP, Kind.OFF_BOOK]))
        side = draw(st.sampled_from([0, SELL]))
        if what == Kind.GAP:
            rows.append((now, now, Kind.GAP | LAST, GapReason.CONNECTION, 0))
            continue
        price = max(1, price + draw(st.sampled_from([0, 0, 1, -1, 2, -3, 20, -20])))
        quantity = draw(st.integers(1, 120))
        rows.append((now - S, now, what | side | LAST, price, quantity))
    return rows


def fed(rows: Sequence[Row], asked: WatchSettings = SHORT) -> list[WatchEvent]:
    watch = Watch(BTCUSDT, asked)
    return [event for row in rows for event in watch.on_row(row)]


def trade(at: int, price: int, quantity: int = 1, side: int = 0) -> Row:
    return (at, at, Kind.TRADE | side | LAST, price, quantity)


def prices(*ticks: int, quantity: int = 1) -> list[Row]:
    return [trade(number * S, price, quantity) for number, price in enumerate(ticks, 1)]


# --- against the slow calculation -----------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(rows=markets(), later=st.sampled_from([0, 1, S, 3 * S, 20 * S]))
def test_every_statistic_is_that_of_a_slow_calculation_over_all_rows_so_far(
    rows: list[Row], later: int
) -> None:
    watch = Watch(BTCUSDT, SHORT)
    for row in rows:
        watch.on_row(row)
    now = (rows[-1][1] if rows else 0) + later
    watch.advance(now)
    found = watch.statistics()
    for name, expected in statistics_at(rows, SHORT, now).items():
        # Ours is exact but for one rounding; numpy rounds at each step.
        assert getattr(found, name) == (
            pytest.approx(expected, rel=1e-9, abs=1e-6) if isinstance(expected, float) else expected
        ), name


@settings(max_examples=80, deadline=None)
@given(rows=markets())
def test_anomalies_and_large_trades_are_those_of_a_slow_calculation_over_the_whole_market(
    rows: list[Row],
) -> None:
    found = [
        (type(event).__name__, event.side.value, event.ts_local)
        for event in fed(rows)
        if isinstance(event, (PriceAnomaly, LargeTrade))
    ]
    # A z-score of 1.5 to the last bit is one or the other by a rounding.
    z = scores(trades_of(rows), SHORT, 1.0)
    if not ((abs(z) - 1.5).abs() < 1e-9).any():
        assert found == alerts(rows, SHORT, BTCUSDT)


@settings(max_examples=100, deadline=None)
@given(rows=markets(), cut=st.integers(0, 60))
def test_cutting_the_future_changes_no_earlier_event(rows: list[Row], cut: int) -> None:
    whole, early = fed(rows), fed(rows[:cut])
    assert whole[: len(early)] == early


@settings(max_examples=100, deadline=None)
@given(rows=markets(), data=st.data())
def test_letting_time_pass_between_rows_changes_no_event(
    rows: list[Row], data: st.DataObject
) -> None:
    """A live run has a timer; the replay of its rows has none."""
    watch = Watch(BTCUSDT, SHORT)
    found: list[WatchEvent] = []
    before = rows[0][1] if rows else 0
    for row in rows:
        if row[1] > before and data.draw(st.booleans()):
            found += watch.advance(data.draw(st.integers(before, row[1] - 1)))
        found += watch.on_row(row)
        before = row[1]
    assert found == fed(rows)


@settings(max_examples=100, deadline=None)
@given(rows=markets())
def test_only_trades_and_gaps_and_the_time_matter(rows: list[Row]) -> None:
    watch = Watch(BTCUSDT, SHORT)
    found = [
        event
        for row in rows
        for event in (
            watch.on_row(row) if row[2] & KIND in (Kind.TRADE, Kind.GAP) else watch.advance(row[1])
        )
    ]
    assert found == fed(rows)


def test_after_two_hundred_thousand_trades_the_deviation_is_to_the_last_bit_that_of_the_last_twenty() -> (
    None
):
    """Sums of floats would have drifted; these are of whole numbers."""
    asked = asking(every=None, cooldown=0)
    old, new = Watch(BTCUSDT, asked), Watch(BTCUSDT, asked)
    rows = [
        trade(number, 10**9 + (number * 7919) % 1013 + (10**9 if number % 1000 == 0 else 0))
        for number in range(200_000)
    ]
    for row in rows:
        old.on_row(row)
    for row in rows[-20:]:
        new.on_row(row)
    a, b = old.statistics(), new.statistics()
    assert (a.mean, a.deviation, a.volatility) == (b.mean, b.deviation, b.volatility)
    exact = statistics.stdev(row[3] for row in rows[-20:])
    assert a.deviation == pytest.approx(exact, rel=1e-15)


# --- real recordings ------------------------------------------------------------------------------


def recorded(paths: list[str], spec: InstrumentSpec, tmp: Path) -> Tape:
    (source,) = mmkit_capture.register_data_sources()
    config = source.config(paths=[str(DATA / path) for path in paths])
    context = SourceContext(spec, SimClock(), tmp, Plugins.load(tmp).wire_formats)
    return asyncio.run(source.build(config, context).tape())


RECORDINGS = [
    pytest.param(
        ["binance_usdm/btcusdt_20240808.gz"],
        InstrumentSpec(
            venue="binance",
            market="usdm",
            symbol="BTC/USDT:USDT",
            tick=Decimal("0.1"),
            lot=Decimal("0.001"),
        ),
        Decimal(2),
        id="usdm-BTCUSDT",
    ),
    pytest.param(
        ["binance_spot_nexousdt/nexousdt_20240723.dat.gz"],
        InstrumentSpec(
            venue="binance",
            market="spot",
            symbol="NEXO/USDT",
            tick=Decimal("0.001"),
            lot=Decimal("0.01"),
        ),
        Decimal(500),
        id="spot-NEXOUSDT",
    ),
]


@pytest.mark.parametrize(("paths", "spec", "large"), RECORDINGS)
def test_a_real_recording_gives_the_alerts_and_scores_that_pandas_gives(
    paths: list[str], spec: InstrumentSpec, large: Decimal, tmp_path: Path
) -> None:
    tape = recorded(paths, spec, tmp_path)
    rows = [row for row in tape.rows() if row[2] & KIND in (Kind.TRADE, Kind.GAP)]
    asked = asking(large_trade=large, every=None)
    watch = Watch(tape.instrument, asked)
    found, z = [], []
    for row in rows:
        found += watch.on_row(row)
        if row[2] & KIND == Kind.TRADE:
            score = watch.statistics().z
            z.append(math.nan if score is None else score)

    assert [
        (type(event).__name__, event.side.value, event.ts_local)
        for event in found
        if isinstance(event, (PriceAnomaly, LargeTrade))
    ] == alerts(rows, asked, tape.instrument)
    assert {type(event) for event in found} == {PriceAnomaly, LargeTrade}
    assert z == pytest.approx(
        list(scores(trades_of(rows), asked, 1.0)), rel=1e-9, abs=1e-9, nan_ok=True
    )
    # The rest of the rows adds nothing but the time.
    again = Watch(tape.instrument, asked)
    assert [event for row in tape.rows() for event in again.on_row(row)] == found


# --- what each event says -------------------------------------------------------------------------


def test_an_anomaly_is_measured_by_the_prices_before_it() -> None:
    rows = prices(100, 102, 100, 102, 100, 102, 130)
    anomaly = next(e for e in fed(rows, asking()) if isinstance(e, PriceAnomaly))
    before = [100, 102, 100, 102, 100, 102]
    assert (anomaly.price, anomaly.prices, anomaly.side) == (130, 6, "buy")
    assert anomaly.mean == 101
    assert anomaly.deviation == pytest.approx(statistics.stdev(before), rel=1e-15)
    assert anomaly.z == pytest.approx((130 - 101) / statistics.stdev(before), rel=1e-15)


def test_the_tutorials_defaults_need_five_prices_and_more_than_two_and_a_half_deviations() -> None:
    asked = asking()
    assert (asked.window, asked.least, asked.deviations, asked.trades) == (20, 5, 2.5, 50)
    assert (asked.large_trade, asked.cooldown) == (2, 30 * S)
    assert fed(prices(100, 102, 100, 102, 900), asked) == []
    assert len(fed(prices(100, 102, 100, 102, 100, 900), asked)) == 1
    # z is exactly 2.5 of the floor of one tick, which is not above it.
    still = prices(200, 200, 200, 200, 200, 200, 200, 200)
    assert fed([*still, trade(9 * S, 202)], asked) == []
    assert len(fed([*still, trade(9 * S, 203)], asked)) == 1


def test_without_a_floor_a_market_that_stood_still_measures_nothing() -> None:
    asked = asking(floor="0ticks")
    assert fed(prices(100, 100, 100, 100, 100, 100, 900), asked) == []


def test_a_trade_of_exactly_the_limit_is_not_large() -> None:
    asked = asking(large_trade=Decimal("0.0505"))  # between two lots of 0.001
    found = [e.quantity for e in fed(prices(100, quantity=50), asked) if isinstance(e, LargeTrade)]
    assert found == []
    found = [e.quantity for e in fed(prices(100, quantity=51), asked) if isinstance(e, LargeTrade)]
    assert found == [51]
    exact = asking(large_trade=Decimal("0.05"))
    assert fed(prices(100, quantity=50), exact) == []


def test_the_cooldown_is_for_each_kind_and_side_and_says_how_many_it_kept_back() -> None:
    asked = asking(large_trade=Decimal(0), every=None)
    rows = [
        trade(1 * S, 100),
        trade(2 * S, 100),
        trade(3 * S, 100, side=SELL),
        trade(31 * S - 1, 100),
        trade(31 * S, 100),
    ]
    assert [(e.side, e.ts_local, e.suppressed) for e in fed(rows, asked)] == [  # type: ignore[union-attr]
        ("buy", 1 * S, 0),
        ("sell", 3 * S, 0),
        ("buy", 31 * S, 2),
    ]


def test_a_gap_empties_the_windows_and_leaves_the_cooldown() -> None:
    asked = asking(large_trade=Decimal(0), every=None)
    watch = Watch(BTCUSDT, asked)
    for row in prices(100, 101, 100, 101, 100, 101):
        watch.on_row(row)
    watch.on_row((7 * S, 7 * S, Kind.GAP | LAST, GapReason.SEQUENCE, 0))
    after = watch.statistics()
    assert after == Statistics(ts_exchange=6 * S, ts_local=7 * S)
    assert watch.on_row(trade(8 * S, 900)) == ()
    assert watch.statistics().z is None


def test_statistics_come_at_whole_multiples_and_do_not_know_the_row_that_brings_them() -> None:
    asked = asking(every="1s", large_trade=None)
    found = fed([trade(5 * S // 2, 100), trade(4 * S, 101), trade(4 * S + 1, 102)], asked)
    assert [(e.ts_local, e.price) for e in found if isinstance(e, Statistics)] == [
        (3 * S, 100),
        (4 * S, 100),
    ]


def test_trades_drop_out_of_the_flow_when_their_span_is_over() -> None:
    watch = Watch(BTCUSDT, asking(span="10s", every=None))
    watch.on_row(trade(1 * S, 100, 5))
    watch.on_row(trade(2 * S, 100, 3, SELL))
    assert watch.statistics().flow == 2
    watch.advance(11 * S - 1)
    assert (watch.statistics().flow_bought, watch.statistics().flow_sold) == (5, 3)
    watch.advance(11 * S)
    assert (watch.statistics().flow_bought, watch.statistics().flow_sold) == (0, 3)


def test_one_sided_trades_strong_flow_and_high_volatility_are_told_when_asked_for() -> None:
    rows = [trade(n * S, 1000 + 10 * (n % 2), 60, 0 if n % 5 else SELL) for n in range(1, 12)]
    found = {type(event): event for event in reversed(fed(rows))}
    one_sided, flow = found[OneSidedTrades], found[StrongFlow]
    assert isinstance(one_sided, OneSidedTrades)
    assert (one_sided.buys, one_sided.sells, one_sided.bought) == (4, 0, 240)
    assert isinstance(flow, StrongFlow)
    # 0.1 BTC are 100 lots: the second trade of 60 makes it 120.
    assert (flow.ts_local, flow.flow_bought) == (2 * S, 120)
    high = found[HighVolatility]
    assert isinstance(high, HighVolatility)
    assert high.volatility == pytest.approx(10_000 * high.deviation / high.mean)


def test_time_that_goes_back_is_refused() -> None:
    watch = Watch(BTCUSDT, asking())
    watch.on_row(trade(5, 100))
    with pytest.raises(DataError, match="at least 5 was expected; found 4"):
        watch.on_row(trade(4, 100))
