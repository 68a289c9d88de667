from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkit.commands import CancelOrder, SubmitOrder
from mmkit.errors import RunError
from mmkit.events import (
    CancelRejected,
    Liquidity,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderLost,
    OrderRejected,
    Side,
)
from mmkit.orders import Orders

AT: dict[str, int] = {"ts_exchange": 0, "ts_local": 0}


def submit(order_id: int, side: Side = Side.BUY, quantity: int = 10) -> SubmitOrder:
    return SubmitOrder(ts_local=0, order_id=order_id, side=side, price=100, quantity=quantity)


def cancel(order_id: int) -> CancelOrder:
    return CancelOrder(ts_local=0, order_id=order_id)


def filled(order_id: int, quantity: int, remaining: int) -> OrderFilled:
    return OrderFilled(
        order_id=order_id,
        price=100,
        quantity=quantity,
        remaining=remaining,
        liquidity=Liquidity.MAKER,
        fee=Decimal(0),
        **AT,
    )


def accepted(order_id: int) -> OrderAccepted:
    return OrderAccepted(order_id=order_id, **AT)


def canceled(order_id: int) -> OrderCanceled:
    return OrderCanceled(order_id=order_id, **AT)


def rejected(order_id: int) -> OrderRejected:
    return OrderRejected(order_id=order_id, reason="post-only", **AT)


def too_late(order_id: int) -> CancelRejected:
    return CancelRejected(order_id=order_id, reason="gone", **AT)


def told(*happenings: Any) -> Orders:
    orders = Orders()
    for happening in happenings:
        if isinstance(happening, SubmitOrder | CancelOrder):
            orders.sent(happening)
        else:
            orders.apply(happening)
    return orders


def states(orders: Orders) -> list[tuple[int, int, bool, bool]]:
    return [(o.order_id, o.remaining, o.submitting, o.canceling) for o in orders.active]


@pytest.mark.parametrize(
    ("happenings", "expected"),
    [
        ([submit(1)], [(1, 10, True, False)]),
        ([submit(1), accepted(1)], [(1, 10, False, False)]),
        ([submit(1), rejected(1)], []),
        ([submit(1), accepted(1), cancel(1)], [(1, 10, False, True)]),
        ([submit(1), accepted(1), cancel(1), canceled(1)], []),
        ([submit(1), accepted(1), filled(1, 4, 6)], [(1, 6, False, False)]),
        ([submit(1), accepted(1), filled(1, 4, 6), filled(1, 6, 0)], []),
        # A cancel crosses a fill of a part: the rest is canceled.
        ([submit(1), accepted(1), cancel(1), filled(1, 4, 6)], [(1, 6, False, True)]),
        ([submit(1), accepted(1), cancel(1), filled(1, 4, 6), canceled(1)], []),
        # A cancel crosses the last fill: there is nothing left to cancel.
        ([submit(1), accepted(1), cancel(1), filled(1, 10, 0)], []),
        ([submit(1), accepted(1), cancel(1), filled(1, 10, 0), too_late(1)], []),
        # A cancel refused for another reason: the order is still there.
        ([submit(1), accepted(1), cancel(1), too_late(1)], [(1, 10, False, False)]),
        # A taking order is filled before it is accepted, and its rest may be canceled unasked.
        ([submit(1), filled(1, 4, 6)], [(1, 6, True, False)]),
        ([submit(1), filled(1, 4, 6), canceled(1)], []),
        ([submit(1), submit(2), accepted(2), rejected(1)], [(2, 10, False, False)]),
    ],
)
def test_what_happens_to_an_order(
    happenings: list[Any], expected: list[tuple[int, int, bool, bool]]
) -> None:
    assert states(told(*happenings)) == expected


def test_an_event_is_answered_with_the_order_that_it_happened_to() -> None:
    orders = told(submit(1))
    order = orders.active[0]
    assert orders.apply(accepted(1)) is order
    orders.sent(cancel(1))
    assert orders.apply(filled(1, 10, 0)) is order
    assert orders.apply(too_late(1)) is None


@pytest.mark.parametrize(
    "event", [accepted(7), rejected(7), filled(7, 1, 0), canceled(7), too_late(7)]
)
def test_a_report_on_an_unknown_order_stops_the_run(event: Any) -> None:
    with pytest.raises(RunError, match="the venue reported on order 7, which is not open"):
        told(submit(1), event)


@pytest.mark.parametrize("event", [accepted(1), filled(1, 1, 0), canceled(1), too_late(1)])
def test_a_report_on_an_order_that_has_ended_stops_the_run(event: Any) -> None:
    with pytest.raises(RunError, match="order 1, which is not open"):
        told(submit(1), accepted(1), filled(1, 10, 0), event)


def test_a_cancel_is_rejected_once_only() -> None:
    with pytest.raises(RunError, match="order 1, which is not open"):
        told(submit(1), accepted(1), cancel(1), filled(1, 10, 0), too_late(1), too_late(1))


def test_exposure_is_what_open_orders_may_still_trade_commands_under_way_included() -> None:
    orders = told(
        submit(1),
        submit(2, Side.SELL, 7),
        accepted(1),
        filled(1, 4, 6),
        cancel(1),
        submit(3, Side.BUY, 5),
    )
    assert orders.exposure() == (11, 7)
    orders.apply(canceled(1))
    assert orders.exposure() == (5, 7)


@given(
    quantity=st.integers(1, 20),
    parts=st.lists(st.integers(1, 20), max_size=6),
    cancel_at=st.integers(0, 8),
)
def test_an_order_is_open_exactly_until_it_is_filled_or_canceled(
    quantity: int, parts: list[int], cancel_at: int
) -> None:
    orders = told(submit(1, quantity=quantity), accepted(1))
    remaining, canceling = quantity, False
    for number, part in enumerate(parts):
        if number == cancel_at and remaining:
            orders.sent(cancel(1))
            canceling = True
        taken = min(part, remaining)
        if not taken:
            break
        remaining -= taken
        orders.apply(filled(1, taken, remaining))
        assert states(orders) == ([(1, remaining, False, canceling)] if remaining else [])
        assert orders.exposure() == (remaining, 0)
    if canceling:
        orders.apply(canceled(1) if remaining else too_late(1))
        assert states(orders) == []


def lost(order_id: int) -> OrderLost:
    return OrderLost(order_id=order_id, reason="no answer", **AT)


@given(st.lists(st.tuples(st.sampled_from(list(Side)), st.integers(1, 50)), max_size=6), st.data())
def test_a_lost_order_is_exposure_and_not_active_until_its_fate_is_told(
    placed: list[tuple[Side, int]], data: st.DataObject
) -> None:
    orders = Orders()
    for number, (side, quantity) in enumerate(placed, 1):
        orders.sent(submit(number, side, quantity))
    before = orders.exposure()
    numbers = range(1, len(placed) + 1)
    gone = data.draw(st.sets(st.sampled_from(numbers))) if placed else set()
    for number in gone:
        orders.apply(lost(number))
    assert orders.exposure() == before
    assert [one.order_id for one in orders.active] == [one for one in numbers if one not in gone]
    for number in gone:
        orders.apply(canceled(number))
    assert not orders.lost
    assert orders.exposure() == tuple(
        sum(
            quantity
            for number, (one, quantity) in enumerate(placed, 1)
            if one is side and number not in gone
        )
        for side in (Side.BUY, Side.SELL)
    )


def test_a_lost_order_may_trade_and_then_it_is_over() -> None:
    orders = Orders()
    orders.sent(submit(1))
    orders.apply(lost(1))
    orders.apply(filled(1, 4, 6))
    assert orders.exposure() == (6, 0)
    orders.apply(filled(1, 6, 0))
    assert orders.exposure() == (0, 0)
    with pytest.raises(RunError):
        orders.apply(lost(1))
