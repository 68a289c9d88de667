from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from core_rows import BTCUSDT, ask, bid, bought, gap, sold

from mmkit.commands import CancelOrder, SubmitOrder, TimeInForce
from mmkit.events import (
    CancelRejected,
    Liquidity,
    OrderAccepted,
    OrderCanceled,
    OrderEvent,
    OrderFilled,
    OrderRejected,
    Side,
)
from mmkit.interfaces import Context
from mmkit.settings import SimSettings
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.tape import NEVER, Row
from mmkit.testing import snapshot_rows

# Entry takes 3, the response 5, and in a quiet market an answer waits 20 longer.
ENTRY, RESPONSE, WAIT = 3, 5, 20


def venue(reports: str, **sim: Any) -> PaperVenue:
    settings = SimSettings.model_validate(
        {
            "latency": {"entry": f"{ENTRY}ns", "response": f"{RESPONSE}ns"},
            "data_wait": f"{WAIT}ns",
            "queue": {"model": "risk_averse"},
            "fees": {"maker": "0.0002", "taker": "0.0005"},
            "fill_reports": reports,
            **sim,
        }
    )
    made = PaperVenue(PaperConfig(), Context(BTCUSDT, settings))
    made.open(0)
    made.market(snapshot_rows([(1000, 50), (999, 40)], [(1002, 20), (1003, 30)]), 0)
    return made


def submit(
    order_id: int,
    at: int,
    side: Side = Side.BUY,
    price: int = 1000,
    quantity: int = 10,
    time_in_force: TimeInForce = TimeInForce.POST_ONLY,
) -> SubmitOrder:
    return SubmitOrder(
        ts_local=at,
        order_id=order_id,
        side=side,
        price=price,
        quantity=quantity,
        time_in_force=time_in_force,
    )


def cancel(order_id: int, at: int) -> CancelOrder:
    return CancelOrder(ts_local=at, order_id=order_id)


def receive(paper: PaperVenue, *rows: Row) -> None:
    for row in rows:
        paper.market((row,), row[1])


def told(paper: PaperVenue) -> list[tuple[int, OrderEvent]]:
    """Step from one due time to the next until nothing is under way; when, and what."""
    happened = []
    while (due := paper.next_ns()) != NEVER:
        happened += [(due, event) for event in paper.take(due)]
    return happened


def maker(order_id: int, quantity: int, remaining: int, at: int, local: int) -> OrderFilled:
    # 1000 ticks are 100 USDT, a lot is 0.001 BTC: 0.1 USDT a lot, of which 0.0002 is the fee.
    return OrderFilled(
        ts_exchange=at,
        ts_local=local,
        order_id=order_id,
        price=1000,
        quantity=quantity,
        remaining=remaining,
        liquidity=Liquidity.MAKER,
        fee=Decimal("0.00002") * quantity,
    )


both = pytest.mark.parametrize("reports", ["plain", "after_data"])

# --- plain ---


def test_plain_an_answer_takes_both_latencies() -> None:
    paper = venue("plain")
    paper.send(submit(1, 100))
    assert (paper.next_ns(), paper.take(102)) == (103, [])
    assert told(paper) == [(108, OrderAccepted(ts_exchange=103, ts_local=108, order_id=1))]


def test_plain_a_fill_may_be_reported_before_its_trade_is_received() -> None:
    paper = venue("plain")
    paper.send(submit(1, 0))
    told(paper)
    # Matched at the venue's time; received here only at 900.
    paper.market((sold(999, 1, 100, 900),), 100)
    assert told(paper) == [(105, maker(1, 10, 0, 100, 105))]


def test_plain_a_row_of_the_moment_at_which_a_command_arrives_comes_first() -> None:
    paper = venue("plain")
    paper.send(submit(1, 0))  # arrives at 3
    paper.market((ask(1000, 1, 3),), 3)
    [(_, answer)] = told(paper)
    assert isinstance(answer, OrderRejected)


def test_plain_a_row_after_it_meets_the_order() -> None:
    paper = venue("plain")
    paper.send(submit(1, 0))
    paper.market((ask(1000, 1, 4),), 4)
    assert told(paper) == [
        (8, OrderAccepted(ts_exchange=3, ts_local=8, order_id=1)),
        (9, maker(1, 10, 0, 4, 9)),
    ]


# --- after_data ---


def test_after_data_an_order_is_matched_when_data_from_after_it_is_received() -> None:
    paper = venue("after_data")
    paper.send(submit(1, 100))  # arrives at 103
    receive(paper, bid(998, 1, 103, 104))
    assert paper.next_ns() == 103 + RESPONSE + WAIT
    receive(paper, bid(998, 2, 104, 106))
    assert told(paper) == [(108, OrderAccepted(ts_exchange=103, ts_local=108, order_id=1))]


def test_after_data_no_answer_comes_before_the_data_that_decided_it() -> None:
    paper = venue("after_data")
    paper.send(submit(1, 100))
    receive(paper, bid(998, 1, 104, 115))  # later than the response would have taken
    assert told(paper) == [(115, OrderAccepted(ts_exchange=103, ts_local=115, order_id=1))]
    receive(paper, sold(999, 1, 120, 121), sold(999, 1, 130, 170))
    assert told(paper) == [(125, maker(1, 10, 0, 120, 125))]


def test_after_data_a_fill_is_never_reported_before_its_trade_is_received() -> None:
    paper = venue("after_data")
    paper.send(submit(1, 0))
    receive(paper, bid(998, 1, 10, 10))
    told(paper)
    receive(paper, sold(999, 1, 100, 900))
    assert told(paper) == [(900, maker(1, 10, 0, 100, 900))]


def test_after_data_in_a_quiet_market_the_answer_waits_no_longer_than_data_wait() -> None:
    paper = venue("after_data")
    paper.send(submit(1, 100))
    due = 100 + ENTRY + RESPONSE + WAIT
    assert paper.take(due - 1) == []
    assert told(paper) == [(due, OrderAccepted(ts_exchange=103, ts_local=due, order_id=1))]
    # What arrives later and is older does not undo it.
    receive(paper, sold(999, 1, 102, 130))
    assert told(paper) == []
    receive(paper, sold(999, 1, 103, 131))
    assert told(paper) == [(131, maker(1, 10, 0, 103, 131))]


def test_after_data_without_data_wait_a_quiet_market_answers_when_the_response_is_due() -> None:
    paper = venue("after_data", data_wait="0s")
    paper.send(submit(1, 100))
    assert told(paper) == [(108, OrderAccepted(ts_exchange=103, ts_local=108, order_id=1))]


def test_after_data_a_trade_older_than_the_order_that_is_received_late_fills_it_not() -> None:
    paper = venue("after_data")
    paper.send(submit(1, 100))
    receive(paper, bid(998, 1, 104, 105), sold(999, 1, 102, 106))
    assert [type(event) for _, event in told(paper)] == [OrderAccepted]


def test_after_data_a_book_that_turned_over_while_the_order_was_on_its_way_rejects_it() -> None:
    paper = venue("after_data")
    paper.send(submit(1, 100))
    receive(paper, ask(1000, 5, 102, 105), ask(999, 5, 103, 106), bid(998, 1, 104, 107))
    assert told(paper) == [
        (
            108,
            OrderRejected(
                ts_exchange=103,
                ts_local=108,
                order_id=1,
                reason="post-only order would have taken",
            ),
        )
    ]


# --- either way ---


@both
def test_a_cancel_that_wins_the_race_takes_the_order_off(reports: str) -> None:
    paper = venue(reports)
    paper.send(submit(1, 0))
    paper.send(cancel(1, 96))  # arrives at 99
    receive(paper, sold(999, 1, 100, 100))
    assert told(paper)[-1] == (104, OrderCanceled(ts_exchange=99, ts_local=104, order_id=1))


@both
def test_a_cancel_that_loses_the_race_against_a_fill_is_rejected(reports: str) -> None:
    paper = venue(reports)
    paper.send(submit(1, 0))
    receive(paper, bid(998, 1, 10, 10))
    told(paper)
    paper.send(cancel(1, 98))  # arrives at 101
    receive(paper, sold(999, 1, 100, 100), bid(998, 2, 102, 102))
    assert told(paper) == [
        (105, maker(1, 10, 0, 100, 105)),
        (
            106,
            CancelRejected(
                ts_exchange=101, ts_local=106, order_id=1, reason="the order is not on the book"
            ),
        ),
    ]


@both
def test_a_cancel_takes_off_what_a_fill_on_the_way_has_left(reports: str) -> None:
    paper = venue(reports)
    paper.send(submit(1, 0))
    receive(paper, bid(998, 1, 10, 10))
    told(paper)
    paper.send(cancel(1, 98))
    receive(paper, sold(1000, 54, 100, 100), bid(998, 2, 102, 102))
    assert told(paper) == [
        (105, maker(1, 4, 6, 100, 105)),
        (106, OrderCanceled(ts_exchange=101, ts_local=106, order_id=1)),
    ]


@both
def test_a_replacement_sent_in_one_breath_is_matched_after_its_cancel(reports: str) -> None:
    paper = venue(reports)
    paper.send(submit(1, 0))
    receive(paper, bid(998, 1, 10, 10))
    told(paper)
    paper.send(cancel(1, 20))
    paper.send(submit(2, 20, price=999))
    due = 23 + RESPONSE
    if reports == "after_data":
        receive(paper, bid(998, 2, 24, due))
    assert told(paper) == [
        (due, OrderCanceled(ts_exchange=23, ts_local=due, order_id=1)),
        (due, OrderAccepted(ts_exchange=23, ts_local=due, order_id=2)),
    ]


@both
def test_the_reports_of_a_taking_order_are_its_fills_and_then_its_end(reports: str) -> None:
    paper = venue(reports)
    paper.send(submit(1, 0, price=1003, quantity=60, time_in_force=TimeInForce.IOC))
    receive(paper, bid(998, 1, 4, 4))
    due = 3 + RESPONSE
    common: dict[str, Any] = {"ts_exchange": 3, "ts_local": due, "order_id": 1}
    taker: dict[str, Any] = {**common, "liquidity": Liquidity.TAKER}
    assert told(paper) == [
        (
            due,
            OrderFilled(price=1002, quantity=20, remaining=40, fee=Decimal("0.001002"), **taker),
        ),
        (
            due,
            OrderFilled(price=1003, quantity=30, remaining=10, fee=Decimal("0.0015045"), **taker),
        ),
        (due, OrderCanceled(**common)),
    ]


@both
@pytest.mark.parametrize(
    ("force", "kinds"),
    [
        (TimeInForce.GTC, [OrderFilled, OrderAccepted]),
        (TimeInForce.IOC, [OrderFilled, OrderCanceled]),
        (TimeInForce.POST_ONLY, [OrderRejected]),
    ],
)
def test_the_answer_to_an_order_that_crosses(
    reports: str, force: TimeInForce, kinds: list[type[OrderEvent]]
) -> None:
    paper = venue(reports)
    paper.send(submit(1, 0, price=1002, quantity=25, time_in_force=force))
    assert [type(event) for _, event in told(paper)] == kinds


@both
def test_an_ioc_order_that_meets_nobody_is_canceled(reports: str) -> None:
    paper = venue(reports)
    paper.send(submit(1, 0, price=1001, time_in_force=TimeInForce.IOC))
    assert [type(event) for _, event in told(paper)] == [OrderCanceled]


@both
def test_an_ioc_order_that_is_filled_whole_ends_with_its_last_fill(reports: str) -> None:
    paper = venue(reports)
    paper.send(submit(1, 0, price=1002, quantity=20, time_in_force=TimeInForce.IOC))
    assert [type(event) for _, event in told(paper)] == [OrderFilled]


@both
def test_in_a_gap_orders_are_rejected_and_cancels_heard(reports: str) -> None:
    paper = venue(reports)
    paper.send(submit(1, 0))
    receive(paper, bid(998, 1, 10, 10), gap(11))
    paper.send(cancel(1, 12))
    paper.send(submit(2, 12))
    assert [type(event) for _, event in told(paper)] == [
        *(OrderAccepted, OrderCanceled, OrderRejected)
    ]


@both
def test_a_rebate_is_a_negative_fee(reports: str) -> None:
    paper = venue(reports, fees={"maker": "-0.0001", "taker": "0"})
    paper.send(submit(1, 0))
    receive(paper, bid(998, 1, 10, 10), bought(1002, 1, 11), sold(999, 1, 12, 12))
    [fill] = [event for _, event in told(paper) if isinstance(event, OrderFilled)]
    assert fill.fee == Decimal("-0.0001")


@both
def test_each_report_is_told_once_and_in_order_of_time(reports: str) -> None:
    paper = venue(reports)
    for number in range(1, 6):
        paper.send(submit(number, number))
    receive(paper, bid(998, 1, 20, 20))
    early = paper.take(10)
    rest = paper.take(99)
    assert [event.order_id for event in early + rest] == [1, 2, 3, 4, 5]
    times = [event.ts_local for event in early + rest]
    assert times == sorted(times)
    assert (paper.take(99), paper.next_ns()) == ([], NEVER)


def test_a_report_does_not_overtake_the_one_before_it() -> None:
    paper = venue("after_data")
    paper.send(submit(1, 0, price=1001))
    paper.send(submit(2, 0))
    receive(paper, bid(998, 1, 10, 10))
    told(paper)
    # The first is filled by a row that is newer, and received sooner, than what fills the second.
    receive(paper, sold(1000, 1, 120, 121), sold(999, 1, 110, 122))
    assert [(due, event.order_id, event.ts_local) for due, event in told(paper)] == [
        *((125, 1, 125), (125, 2, 125)),
    ]


@both
def test_nothing_is_due_when_nothing_is_under_way(reports: str) -> None:
    paper = venue(reports)
    assert (paper.next_ns(), paper.take(10**18)) == (NEVER, [])
