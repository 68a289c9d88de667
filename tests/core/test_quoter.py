from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkit.commands import AnyCommand, CancelOrder, SubmitOrder, TimeInForce
from mmkit.errors import StrategyError
from mmkit.events import Side
from mmkit.interfaces import NO_QUOTES, Quotes, Target
from mmkit.orders import Order
from mmkit.quoter import Quoter

TOUCH = (100, 102)
SECOND = 1_000_000_000


def working(
    order_id: int,
    side: Side,
    price: int,
    quantity: int,
    *,
    remaining: int | None = None,
    state: str = "resting",
) -> Order:
    order = Order(
        SubmitOrder(ts_local=0, order_id=order_id, side=side, price=price, quantity=quantity)
    )
    order.remaining = quantity if remaining is None else remaining
    order.submitting = state == "submitting"
    order.canceling = state == "canceling"
    return order


def decided(
    wanted: Any,
    orders: list[Order] | None = None,
    *,
    quoter: Quoter | None = None,
    position: int = 0,
    touch: tuple[int | None, int | None] = TOUCH,
    now: int = 0,
) -> list[AnyCommand]:
    return (quoter or Quoter()).towards(wanted, orders or [], position, touch, now)


def brief(commands: list[AnyCommand]) -> list[tuple[Any, ...]]:
    return [
        ("cancel", command.order_id)
        if isinstance(command, CancelOrder)
        else (command.side.value, command.price, command.quantity)
        for command in commands
    ]


sides = st.sampled_from(Side)
levels = st.dictionaries(st.integers(90, 99), st.integers(1, 3), max_size=4)
orders = st.lists(
    st.tuples(
        sides,
        st.integers(0, 9),
        st.integers(1, 3),
        st.integers(1, 3),
        st.sampled_from(["resting"] * 6 + ["submitting", "canceling"]),
    ),
    max_size=8,
).map(
    lambda rows: [
        working(
            number,
            side,
            90 + step if side is Side.BUY else 100 + step,
            quantity,
            remaining=min(remaining, quantity),
            state=state,
        )
        for number, (side, step, quantity, remaining, state) in enumerate(rows, 1)
    ]
)


def held(orders: list[Order], side: Side) -> Counter[tuple[int, int]]:
    return Counter((order.price, order.quantity) for order in orders if order.side is side)


@given(bids=levels, asks=levels, orders=orders)
def test_the_commands_are_the_fewest_that_lead_to_what_is_wanted(
    bids: dict[int, int], asks: dict[int, int], orders: list[Order]
) -> None:
    wanted = {
        Side.BUY: Counter(bids.items()),
        Side.SELL: Counter((price + 10, quantity) for price, quantity in asks.items()),
    }
    quotes = Quotes(bids=wanted[Side.BUY], asks=wanted[Side.SELL])
    commands = decided(quotes, orders)
    canceled = [command.order_id for command in commands if isinstance(command, CancelOrder)]
    submits = [command for command in commands if isinstance(command, SubmitOrder)]
    assert commands == [c for c in commands if isinstance(c, CancelOrder)] + submits
    for side in Side:
        resting = [o for o in orders if o.side is side and not o.in_flight]
        blocked = any(o.in_flight for o in orders if o.side is side)
        kept = [order for order in resting if order.order_id not in canceled]
        sent = Counter((c.price, c.quantity) for c in submits if c.side is side)
        # Of every wanted level that is there, one order stays, and nothing else does.
        assert held(kept, side) == held(resting, side) & wanted[side]
        assert sent == (Counter() if blocked else wanted[side] - held(resting, side))
        if not blocked:
            assert held(kept, side) + sent == wanted[side]
    in_flight = {order.order_id for order in orders if order.in_flight}
    assert not in_flight & set(canceled)
    assert len(set(canceled)) == len(canceled)
    assert all(c.time_in_force is TimeInForce.POST_ONLY for c in submits)


@given(bids=levels, asks=levels)
def test_nothing_is_sent_when_what_is_wanted_is_there(
    bids: dict[int, int], asks: dict[int, int]
) -> None:
    there = [
        working(number, side, price, quantity)
        for number, (side, price, quantity) in enumerate(
            [(Side.BUY, price, quantity) for price, quantity in bids.items()]
            + [(Side.SELL, price + 10, quantity) for price, quantity in asks.items()],
            1,
        )
    ]
    quotes = Quotes(
        bids=bids.items(), asks=[(price + 10, quantity) for price, quantity in asks.items()]
    )
    assert decided(quotes, there) == []


def test_an_order_that_was_filled_in_part_keeps_its_place() -> None:
    there = [working(1, Side.BUY, 100, 10, remaining=3)]
    assert decided(Quotes(bid=(100, 10)), there) == []
    assert brief(decided(Quotes(bid=(100, 3)), there)) == [("cancel", 1), ("buy", 100, 3)]


def test_a_moved_quote_is_canceled_and_replaced_in_one_breath_cancels_first() -> None:
    there = [working(1, Side.BUY, 99, 10), working(2, Side.SELL, 103, 10)]
    assert brief(decided(Quotes(bid=(100, 10), ask=(102, 10)), there)) == [
        ("cancel", 1),
        ("cancel", 2),
        ("buy", 100, 10),
        ("sell", 102, 10),
    ]


@pytest.mark.parametrize("state", ["submitting", "canceling"])
def test_nothing_is_added_to_a_side_with_a_command_under_way(state: str) -> None:
    there = [working(1, Side.BUY, 99, 10, state=state), working(2, Side.BUY, 98, 10)]
    assert brief(decided(Quotes(bid=(100, 10), ask=(102, 10)), there)) == [
        ("cancel", 2),
        ("sell", 102, 10),
    ]


def test_every_order_has_its_own_number_from_one() -> None:
    quoter = Quoter()
    first = decided(Quotes(bids=[(100, 1), (99, 1)], asks=[(102, 1)]), quoter=quoter)
    second = decided(Quotes(bid=(98, 1)), quoter=quoter)
    assert [command.order_id for command in first + second] == [1, 2, 3, 4]


def test_commands_carry_the_time_they_were_decided_at() -> None:
    commands = decided(Quotes(bid=(100, 1)), [working(1, Side.SELL, 103, 1)], now=77)
    assert commands == [
        CancelOrder(ts_local=77, order_id=1),
        SubmitOrder(ts_local=77, order_id=1, side=Side.BUY, price=100, quantity=1),
    ]


def test_no_quotes_cancels_everything_that_can_be_canceled() -> None:
    there = [
        working(1, Side.BUY, 99, 10),
        working(2, Side.BUY, 98, 10, state="canceling"),
        working(3, Side.SELL, 103, 10, state="submitting"),
        working(4, Side.SELL, 104, 10),
    ]
    assert brief(decided(NO_QUOTES, there)) == [("cancel", 1), ("cancel", 4)]
    assert brief(Quoter().pull(there, 0)) == [("cancel", 1), ("cancel", 4)]


# --- the rate limit ---


def test_past_the_rate_limit_orders_wait_and_cancels_do_not() -> None:
    quoter = Quoter(orders_per_10s=3)
    assert len(decided(Quotes(bids=[(100, 1), (99, 1)]), quoter=quoter, now=0)) == 2
    two = Quotes(bid=(98, 1), ask=(102, 1))
    there = [working(1, Side.BUY, 100, 1), working(2, Side.BUY, 99, 1)]
    assert brief(decided(two, there, quoter=quoter, now=SECOND)) == [
        ("cancel", 1),
        ("cancel", 2),
        ("buy", 98, 1),
    ]
    assert quoter.held_back == 1
    # The first two are forgotten ten seconds after they were sent, and not sooner.
    ask = Quotes(ask=(102, 1))
    assert decided(ask, quoter=quoter, now=10 * SECOND - 1) == []
    assert brief(decided(ask, quoter=quoter, now=10 * SECOND)) == [("sell", 102, 1)]
    assert quoter.held_back == 2


@given(steps=st.lists(st.integers(0, 3 * SECOND), min_size=1, max_size=60))
def test_never_more_orders_than_the_limit_in_any_ten_seconds(steps: list[int]) -> None:
    quoter, now, sent = Quoter(orders_per_10s=4), 0, list[int]()
    for step in steps:
        now += step
        sent += [now] * len(decided(Quotes(bid=(100, 1), ask=(102, 1)), quoter=quoter, now=now))
        assert sum(at > now - 10 * SECOND for at in sent) <= 4


def test_the_limit_is_binances() -> None:
    quoter = Quoter()
    asked = [decided(Quotes(bid=(100, 1)), quoter=quoter, now=now) for now in range(310)]
    assert (sum(len(commands) for commands in asked), quoter.held_back) == (300, 10)


def test_an_order_that_was_not_sent_after_all_does_not_count() -> None:
    quoter = Quoter(orders_per_10s=1)
    for now in range(5):
        assert len(decided(Quotes(bid=(100, 1)), quoter=quoter, now=now)) == 1
        quoter.not_sent()
    assert len(decided(Quotes(bid=(100, 1)), quoter=quoter, now=5)) == 1
    assert decided(Quotes(bid=(100, 1)), quoter=quoter, now=6) == []


# --- a target position ---


def test_a_target_is_reached_by_taking_what_is_missing_at_the_touch() -> None:
    [buy] = decided(Target(5), position=2, now=9)
    assert buy == SubmitOrder(
        ts_local=9,
        order_id=1,
        side=Side.BUY,
        price=102,
        quantity=3,
        time_in_force=TimeInForce.IOC,
    )
    assert brief(decided(Target(-5), position=2)) == [("sell", 100, 7)]


@pytest.mark.parametrize(
    ("target", "position", "touch"), [(3, 3, TOUCH), (0, 0, TOUCH), (5, 0, (100, None))]
)
def test_nothing_is_sent_for_a_target_that_is_reached_or_has_nobody_to_trade_with(
    target: int, position: int, touch: tuple[int | None, int | None]
) -> None:
    assert decided(Target(target), position=position, touch=touch) == []


@pytest.mark.parametrize("state", ["resting", "submitting", "canceling"])
def test_nothing_is_taken_while_an_order_could_still_change_the_position(state: str) -> None:
    there = [working(1, Side.BUY, 100, 5, state=state)]
    assert brief(decided(Target(5), there)) == ([("cancel", 1)] if state == "resting" else [])


def test_a_target_counts_against_the_rate_limit() -> None:
    quoter = Quoter(orders_per_10s=1)
    assert len(decided(Target(5), quoter=quoter)) == 1
    assert decided(Target(5), quoter=quoter, now=1) == []
    assert quoter.held_back == 1


# --- what cannot be quoted ---


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (None, "must return Quotes or Target, found NoneType; return NO_QUOTES for nothing"),
        ((100, 1), "must return Quotes or Target, found tuple"),
        (
            Quotes(bid=(100.0, 1)),
            "the bid price 100.0, a float; a whole number of ticks was expected",
        ),  # type: ignore[arg-type]
        (Quotes(ask=(102, 0.5)), "the ask quantity 0.5"),  # type: ignore[arg-type]
        (Quotes(bid=(float("nan"), 1)), "the bid price nan"),  # type: ignore[arg-type]
        (Quotes(bid=(float("-inf"), 1)), r"-inf.*\(instrument.floor_ticks rounds a bid\)"),  # type: ignore[arg-type]
        (Quotes(ask=(float("inf"), 1)), r"inf.*\(instrument.ceil_ticks rounds an ask\)"),  # type: ignore[arg-type]
        (Quotes(bid=(100, float("nan"))), r"the bid quantity nan.*instrument.lots converts"),  # type: ignore[arg-type]
        (Quotes(bid=(Decimal(100), 1)), "the bid price Decimal.'100'., a Decimal"),  # type: ignore[arg-type]
        (Quotes(bid=(True, 1)), "the bid price True, a bool"),
        (Quotes(bid=(2**63, 1)), "a bid price of 19 digits; less than 2..63 ticks were expected"),
        (Quotes(bid=(100, 10**30)), "a bid quantity of 31 digits; less than 2..63 lots"),
        (Quotes(ask=(102, -(10**30))), "an? ask quantity of 31 digits"),
        (Target(10**30), "a target position of 31 digits; less than 2..63 lots"),
        (Target(float("nan")), "the target position nan, a float; a whole number of lots"),  # type: ignore[arg-type]
        (Quotes(bid=(None, 1)), "the bid price None"),  # type: ignore[arg-type]
        (Quotes(bid=("100", 1)), "the bid price '100'"),  # type: ignore[arg-type]
        (Quotes(bid=(np.float64(100), 1)), "the bid price np.float64"),  # type: ignore[arg-type]
        (Quotes(bid=(100, 0)), "a bid of 0 lots at 100 ticks; both must be above 0"),
        (Quotes(ask=(102, -1)), "an? ask of -1 lots at 102 ticks"),
        (Quotes(bid=(0, 1)), "a bid of 1 lots at 0 ticks"),
        (Quotes(bid=(-5, 1)), "a bid of 1 lots at -5 ticks"),
        (Quotes(bids=[(100, 1), (100, 2)]), "two bids at 100 ticks; add their quantities up"),
        (Quotes(asks=[(102, 1), (102, 1)]), "two asks at 102 ticks"),
        (Quotes(bid=(102, 1), ask=(102, 1)), "a bid at 102 and an ask at 102 ticks"),
        (Quotes(bids=[(90, 1), (105, 1)], asks=[(104, 1)]), "they would trade with each other"),
        (Quotes(bids=[100, 1]), "the bid 100; a pair"),  # type: ignore[list-item]
        (Quotes(bid=(100, 1, 1)), r"the bid \(100, 1, 1\); a pair"),  # type: ignore[arg-type]
        (Target(1.5), "the target position 1.5"),  # type: ignore[arg-type]
        (Target(None), "the target position None"),  # type: ignore[arg-type]
        (Target(float("inf")), "the target position inf"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_quoted_is_refused_in_words(wanted: Any, words: str) -> None:
    with pytest.raises(StrategyError, match=words):
        decided(wanted)


def test_nothing_of_a_bad_answer_is_sent() -> None:
    quoter = Quoter()
    with pytest.raises(StrategyError):
        decided(Quotes(bid=(100, 1), ask=(102.5, 1)), quoter=quoter)  # type: ignore[arg-type]
    [command] = decided(Quotes(bid=(100, 1)), quoter=quoter)
    assert command.order_id == 1


@pytest.mark.parametrize("whole", [np.int64, np.int32, np.uint8, int])
def test_numpy_integers_are_whole_numbers_and_leave_as_pythons(whole: Any) -> None:
    [command] = decided(Quotes(bid=(whole(100), whole(2))))
    assert isinstance(command, SubmitOrder)
    assert (command.price, command.quantity) == (100, 2)
    assert (type(command.price), type(command.quantity)) == (int, int)
    [command] = decided(Target(whole(3)))
    assert isinstance(command, SubmitOrder)
    assert type(command.quantity) is int
