"""Limits are kept ahead of time, and cancels are first in line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkit.accounts import Refusal, Refused
from mmkit.venues.budget import Budget, Rank, used_of

MINUTE = 60_000
steps = st.lists(
    st.tuples(
        st.integers(0, 20_000),
        st.sampled_from(list(Rank)),
        st.integers(0, 40),
        st.booleans(),
        st.integers(0, 60),
    ),
    max_size=120,
)


@given(steps)
def test_what_is_admitted_never_exceeds_a_minute_nor_an_order_window(
    steps: list[tuple[int, Rank, int, bool, int]],
) -> None:
    """The venue's own count, kept apart, with others at the same address whom it tells of."""
    budget = Budget(100, {10_000: 5})
    now, used, orders = 0, dict[int, int](), dict[int, int]()
    for wait, rank, weight, tells, others in steps:
        now += wait
        minute, ten = now // MINUTE, now // 10_000
        refused = refusal(budget, weight, rank, now)
        if refused is not None:
            assert refused.refusal is Refusal.RATE
            assert 0 < refused.retry_ns <= MINUTE * 1_000_000
            continue
        # Others may have used the rest before the venue has told of it; what we sent alone fits.
        used[minute] = used.get(minute, 0) + weight
        assert used[minute] <= 100 * rank.value
        if rank is Rank.ORDER:
            orders[ten] = orders.get(ten, 0) + 1
            assert orders[ten] <= 5
        told = min(used[minute] + others, 100) if tells else None
        budget.answered(weight, rank, now, told, {10_000: orders.get(ten, 0)})


def refusal(budget: Budget, weight: int, rank: Rank, now: int) -> Refused | None:
    try:
        budget.admit(weight, rank, now)
    except Refused as refused:
        return refused
    return None


def test_a_cancel_passes_where_an_order_and_a_question_no_longer_do() -> None:
    budget = Budget(100)
    budget.admit(76, Rank.CANCEL, 0)
    with pytest.raises(Refused, match="not sent: the weight of this minute is used up"):
        budget.admit(1, Rank.ASK, 0)
    budget.admit(14, Rank.ORDER, 0)
    with pytest.raises(Refused):
        budget.admit(1, Rank.ORDER, 0)
    budget.admit(10, Rank.CANCEL, 0)
    with pytest.raises(Refused):
        budget.admit(1, Rank.CANCEL, MINUTE - 1)
    # What has not been answered may still count in the new minute.
    with pytest.raises(Refused):
        budget.admit(1, Rank.CANCEL, MINUTE)
    for weight, rank in ((76, Rank.CANCEL), (14, Rank.ORDER), (10, Rank.CANCEL)):
        budget.answered(weight, rank, MINUTE, told=0)
    budget.admit(1, Rank.CANCEL, MINUTE)


def test_what_the_venue_tells_of_others_counts() -> None:
    budget = Budget(100)
    budget.admit(1, Rank.ASK, 0)
    budget.answered(1, Rank.ASK, 0, told=80)
    with pytest.raises(Refused) as refused:
        budget.admit(1, Rank.ASK, 45_000)
    assert refused.value.retry_ns == 15_000_000_000
    budget.admit(1, Rank.ASK, MINUTE)


def test_nothing_leaves_while_the_venue_has_said_to_send_nothing() -> None:
    budget = Budget(100)
    budget.close(5_000, 1_000)
    for rank in Rank:
        with pytest.raises(Refused, match="the venue has said to send nothing"):
            budget.admit(0, rank, 5_999)
    budget.admit(0, Rank.CANCEL, 6_000)


def test_too_many_orders_hold_up_orders_and_nothing_else() -> None:
    budget = Budget(100, {10_000: 5})
    budget.close(5_000, 1_000, orders_only=True)
    with pytest.raises(Refused, match="the venue has said to send no order") as refused:
        budget.admit(1, Rank.ORDER, 5_999)
    assert refused.value.retry_ns == 1_000_000
    budget.admit(1, Rank.CANCEL, 1_001)
    budget.admit(1, Rank.ASK, 1_001)
    budget.admit(1, Rank.ORDER, 6_000)


def test_binances_headers_are_read() -> None:
    headers = {
        "X-MBX-USED-WEIGHT": "9",
        "x-mbx-used-weight-1m": "12",
        "X-MBX-ORDER-COUNT-10S": "3",
        "X-MBX-ORDER-COUNT-1D": "77",
        "Date": "today",
    }
    assert used_of(headers) == (12, {10_000: 3, 86_400_000: 77})
