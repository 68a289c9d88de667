from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from core_rows import BTCUSDT, INVERSE, SPOT, bid, gap, row, sold
from hypothesis import given
from hypothesis import strategies as st
from scripted import Scripted, run, sim

from mmkit.commands import CancelOrder, SubmitOrder, TimeInForce
from mmkit.errors import DataError
from mmkit.events import MAIN, AnyEvent, FundingPaid, OrderAccepted, OrderFilled, Side
from mmkit.instruments import Instrument
from mmkit.interfaces import Context, MarketView, Quotes, RunInfo
from mmkit.report import report_json, report_of, report_text
from mmkit.risk import MaxDrawdown, MoneyLimit, RiskGate
from mmkit.sim.funding import funding_amount
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.tape import NEVER, SCALE, FeedStats, Kind, Row
from mmkit.testing import snapshot_rows

S = 10**9
T = 1_000 * S
"""When funding is due in most tests; its announcement counts seconds."""
MARK = 60_000 * SCALE
RATE = SCALE // 10_000  # 0.0001
both = pytest.mark.parametrize("reports", ["plain", "after_data"])


def mark(price: int, at: int, local: int | None = None) -> Row:
    return row(Kind.MARK, 0, price, at, local)


def funding(rate: int, at: int, due: int = T, local: int | None = None) -> Row:
    return row(Kind.FUNDING, due // S, rate, at, local)


# --- the amount ---


@pytest.mark.parametrize(
    ("instrument", "position", "price", "rate", "amount"),
    [
        (BTCUSDT, 500, "60000", "0.0001", "-3"),  # half a BTC: 30,000 USDT, of which 0.01%
        (BTCUSDT, -500, "60000", "0.0001", "3"),
        (BTCUSDT, 500, "60000", "-0.0001", "3"),
        (BTCUSDT, 0, "60000", "0.0001", "0"),
        (BTCUSDT, 1, "28155.10000000", "-0.00002760", "0.00077708"),
        (INVERSE, 100, "50000", "0.0001", "-0.00002"),  # 10,000 USD are 0.2 BTC, of which 0.01%
        (INVERSE, -100, "50000", "0.0001", "0.00002"),
        (INVERSE, 7, "60000", "0.000375", "-0.00000438"),  # 0.000004375: half to even
        (INVERSE, 9, "60000", "0.00025", "-0.00000375"),
        (INVERSE, 1, "40000", "0.0001", "-0.00000025"),
        (INVERSE, 1, "40000", "0.00005", "-0.00000012"),  # 0.000000125
    ],
)
def test_funding_by_hand(
    instrument: Instrument, position: int, price: str, rate: str, amount: str
) -> None:
    scaled = (int(Decimal(number) * SCALE) for number in (price, rate))
    assert funding_amount(instrument, position, *scaled, 0) == Decimal(amount)


@given(
    position=st.integers(-(10**9), 10**9),
    price=st.integers(1, 10**15),
    rate=st.integers(-3 * 10**6, 3 * 10**6),
)
@pytest.mark.parametrize("instrument", [BTCUSDT, INVERSE], ids=["linear", "inverse"])
def test_funding_is_the_share_of_the_value_rounded_half_to_even_to_eight_decimals(
    instrument: Instrument, position: int, price: int, rate: int
) -> None:
    at, share = Fraction(price, SCALE), Fraction(rate, SCALE)
    value = (
        Fraction(position * 100) / at if instrument is INVERSE else Fraction(position, 1000) * at
    )
    expected = Fraction(round(-value * share * 10**8), 10**8)
    assert Fraction(funding_amount(instrument, position, price, rate, 0)) == expected


# --- at the venue ---


def holding(
    reports: str,
    lots: int = 500,
    instrument: Instrument = BTCUSDT,
    side: Side = Side.BUY,
    **changes: Any,
) -> PaperVenue:
    """A venue at which we hold so many lots, bought or sold at once; nobody has been told yet of more."""
    paper = PaperVenue(PaperConfig(), Context(instrument, sim(reports, **changes)))
    paper.open(0)
    paper.market(snapshot_rows([(1000, 10**6)], [(1002, 10**6)], 0, 0), 0)
    if lots:
        price = 1002 if side is Side.BUY else 1000
        paper.send(order(1, 0, side, price, lots, TimeInForce.IOC))
        told(paper)
    return paper


def order(
    number: int,
    at: int,
    side: Side,
    price: int,
    lots: int,
    force: TimeInForce = TimeInForce.POST_ONLY,
) -> SubmitOrder:
    return SubmitOrder(
        ts_local=at, order_id=number, side=side, price=price, quantity=lots, time_in_force=force
    )


def told(paper: PaperVenue) -> list[Any]:
    events: list[Any] = []
    while (due := paper.next_ns()) != NEVER:
        events += paper.take(due)
    return events


def receive(paper: PaperVenue, *rows: Row) -> None:
    for one in rows:
        paper.market((one,), one[1])


def paid(events: list[Any]) -> list[tuple[int, int, int, Decimal]]:
    """When it was due, when it was told, on how many lots, and how much."""
    return [
        (event.ts_exchange - T, event.ts_local - T, event.position, event.amount)
        for event in events
        if isinstance(event, FundingPaid)
    ]


@both
def test_at_the_announced_time_longs_pay(reports: str) -> None:
    paper = holding(reports)
    receive(paper, mark(MARK, 10), funding(RATE, 10), bid(900, 1, T - 1))
    assert told(paper) == []
    receive(paper, bid(900, 2, T))
    assert told(paper) == [
        FundingPaid(
            ts_exchange=T,
            ts_local=T + 5,
            rate=Decimal("0.0001"),
            mark=Decimal(60_000),
            position=500,
            amount=Decimal(-3),
        )
    ]


@both
def test_shorts_receive(reports: str) -> None:
    paper = holding(reports, side=Side.SELL)
    receive(paper, mark(MARK, 10), funding(RATE, 10), bid(900, 2, T))
    assert paid(told(paper)) == [(0, 5, -500, Decimal(3))]


@both
def test_each_time_is_paid_once(reports: str) -> None:
    paper = holding(reports)
    again = [funding(RATE, T + n) for n in range(1, 4)]
    receive(
        paper, mark(MARK, 10), funding(RATE, 10), bid(900, 2, T + 1), *again, bid(900, 3, T + 9)
    )
    assert len(paid(told(paper))) == 1
    receive(paper, funding(2 * RATE, T + 10, due=2 * T), bid(900, 4, 2 * T))
    assert paid(told(paper)) == [(T, T + 5, 500, Decimal(-6))]


def test_an_announcement_that_comes_late_is_not_paid_again() -> None:
    paper = holding("after_data")
    receive(paper, mark(MARK, 10), funding(RATE, 10), bid(900, 2, T))
    receive(paper, funding(RATE, T - 5, local=T + 1), bid(900, 3, T + 2), bid(900, 3, T + 3))
    assert paid(told(paper)) == [(0, 5, 500, Decimal(-3))]


@both
def test_the_last_rate_and_mark_that_were_known_count(reports: str) -> None:
    paper = holding(reports)
    receive(paper, mark(MARK, 10), funding(RATE, 10))
    receive(paper, mark(2 * MARK, T - 2), funding(-RATE, T - 1))
    # What is told at the time itself comes after.
    receive(paper, mark(9 * MARK, T), funding(9 * RATE, T))
    assert paid(told(paper)) == [(0, 5, 500, Decimal(6))]


@both
def test_the_time_may_be_announced_anew(reports: str) -> None:
    paper = holding(reports)
    receive(paper, mark(MARK, 10), funding(RATE, 10, due=9 * T), funding(RATE, 11))
    receive(paper, bid(900, 2, T), bid(900, 2, 9 * T))
    assert [due for due, *_ in paid(told(paper))] == [0]


@both
def test_an_announcement_of_what_is_past_is_none(reports: str) -> None:
    paper = holding(reports)
    receive(paper, mark(MARK, T), funding(RATE, T), bid(900, 2, T + 1))
    assert told(paper) == []


@both
def test_across_a_gap_in_the_data_the_last_rate_counts(reports: str) -> None:
    paper = holding(reports)
    receive(paper, mark(MARK, 10), funding(RATE, 10), gap(20), bid(900, 1, T + 7 * S))
    # The venue's own time; known to us no sooner than anything else.
    assert paid(told(paper)) == [(0, 7 * S, 500, Decimal(-3))]


@both
def test_what_the_row_of_that_moment_fills_comes_after(reports: str) -> None:
    paper = holding(reports)
    receive(paper, mark(MARK, 10), funding(RATE, 10))
    paper.send(order(2, 20, Side.BUY, 1001, 100))
    receive(paper, sold(1001, 30, T - 1), sold(1001, 70, T))
    events = told(paper)
    assert paid(events) == [(0, 5, 530, Decimal("-3.18"))]
    kinds = [type(event) for event in events]
    assert kinds == [OrderAccepted, OrderFilled, FundingPaid, OrderFilled]


@both
def test_a_command_of_that_moment_comes_after(reports: str) -> None:
    paper = holding(reports)
    receive(paper, mark(MARK, 10), funding(RATE, 10))
    for number, arrives in ((2, T - 1), (3, T), (4, T + 1)):
        paper.send(order(number, arrives - 3, Side.BUY, 1002, 100, TimeInForce.IOC))
    events = told(paper)  # in a quiet market, without any row
    assert [(e.position, e.ts_exchange) for e in events if isinstance(e, FundingPaid)] == [(600, T)]
    assert [type(event) for event in events] == [OrderFilled, FundingPaid, OrderFilled, OrderFilled]


@both
def test_a_cancel_makes_the_clock_go_on_too(reports: str) -> None:
    paper = holding(reports)
    receive(paper, mark(MARK, 10), funding(RATE, 10))
    paper.send(CancelOrder(ts_local=T, order_id=77))
    assert isinstance(told(paper)[0], FundingPaid)


@both
def test_a_fill_that_has_not_been_reported_counts(reports: str) -> None:
    paper = holding(reports, lots=0)
    receive(paper, mark(MARK, 10), funding(RATE, 10))
    paper.send(order(2, T - 50, Side.BUY, 1001, 100))
    # Filled at T - 1; the report takes 5.
    receive(paper, bid(900, 1, T - 20), sold(1001, 100, T - 1), bid(900, 2, T))
    assert paid(told(paper)) == [(0, 5, 100, Decimal("-0.6"))]


@both
def test_without_a_position_nothing_is_paid_and_the_time_is_over(reports: str) -> None:
    paper = holding(reports, lots=0)
    receive(paper, mark(MARK, 10), funding(RATE, 10), bid(900, 2, T))
    paper.send(order(2, T, Side.BUY, 1002, 100, TimeInForce.IOC))
    receive(paper, bid(900, 2, T + 50))
    assert paid(told(paper)) == []


@both
def test_on_the_spot_market_nothing_is_paid(reports: str) -> None:
    paper = holding(reports, instrument=SPOT)
    receive(paper, mark(MARK, 10), funding(RATE, 10), bid(900, 2, T))
    assert told(paper) == []


@both
def test_without_a_mark_price_there_is_nothing_to_value_the_position_at(reports: str) -> None:
    paper = holding(reports)
    receive(paper, funding(RATE, 10))
    with pytest.raises(DataError, match=r"due at 1000 s, and no mark price .* such as 'markPrice'"):
        receive(paper, bid(900, 2, T))


def test_after_data_it_is_not_told_before_the_row_that_brought_it() -> None:
    paper = holding("after_data")
    receive(paper, mark(MARK, 10), funding(RATE, 10), bid(900, 2, T + 1, T + 400))
    assert paid(told(paper)) == [(0, 400, 500, Decimal(-3))]


def test_plain_it_may_be_told_before_the_row_is_received() -> None:
    paper = holding("plain")
    receive(paper, mark(MARK, 10), funding(RATE, 10))
    paper.market((bid(900, 2, T + 1, T + 400),), T + 1)
    assert paid(told(paper)) == [(0, 5, 500, Decimal(-3))]


# --- known to us ---


def long_of_ten(view: MarketView) -> Quotes:
    return Quotes(bid=(1001, 10)) if view.position < 10 else Quotes()


MARKET = [
    *snapshot_rows([(1000, 50)], [(1002, 20)], 0, 0),
    mark(MARK, 10),
    funding(RATE, 10),
    bid(900, 1, 11 * S),
    sold(1001, 10, 12 * S),
    bid(900, 2, 13 * S),
    bid(900, 3, T),
    bid(900, 4, T + 50),
]


@both
def test_the_engine_adds_it_up_and_the_strategy_hears_of_it(reports: str) -> None:
    strategy = Scripted(long_of_ten, every="10s", on=["fill"])
    engine, entries = run(strategy, MARKET, sim(reports))
    [event] = [entry for entry in entries if isinstance(entry, FundingPaid)]
    assert event.amount == Decimal("-0.06")
    assert event in strategy.heard
    # It is no answer about an order.
    assert ("asked", event.ts_local, 1000, 1002, 10) not in strategy.story
    # Bought at 100.1, mid is 100.1.
    assert engine.portfolio.funding == engine.equity == engine.portfolio.equity(1001, 1001)
    assert engine.equity == Decimal("-0.06")
    assert (engine.counts["fundings"], engine.max_drawdown) == (1, Decimal("0.06"))
    assert engine.portfolio.realized_pnl == 0


def test_it_is_in_the_report_its_text_and_its_json() -> None:
    engine, _ = run(Scripted(long_of_ten, every="10s"), MARKET, sim())
    info = RunInfo(run_id="r", command="backtest", folder="", instrument=BTCUSDT, strategy="x")
    report = report_of(
        {MAIN: engine}, info, {MAIN: FeedStats()}, start_ns=0, events={MAIN: 9}, wall_s=1.0
    )
    assert (report.funding, report.fundings) == (Decimal("-0.06"), 1)
    assert (report.realized_pnl, report.unrealized_pnl, report.equity) == (0, 0, Decimal("-0.06"))
    assert "funding       -0.06 USDT in 1 payment" in report_text(report)
    assert b'"funding":-0.06,' in report_json(report)


def test_it_survives_the_journal() -> None:
    _, entries = run(Scripted(long_of_ten, every="10s"), MARKET, sim())
    [event] = [entry for entry in entries if isinstance(entry, FundingPaid)]
    assert msgspec.json.decode(msgspec.json.encode(event), type=AnyEvent) == event


def test_a_payment_can_halt_a_run() -> None:
    check = MaxDrawdown(MoneyLimit(limit=Decimal("0.05")), Context(BTCUSDT))
    engine, _ = run(
        Scripted(long_of_ten, every="2h"), MARKET, sim(), RiskGate([("max_drawdown", check)])
    )
    assert engine.halted is None  # never asked, it has bought nothing
    engine, _ = run(
        Scripted(long_of_ten, every="10s"), MARKET, sim(), RiskGate([("max_drawdown", check)])
    )
    assert engine.halted == "max_drawdown: drawdown 0.06000000 reached the limit 0.05"
