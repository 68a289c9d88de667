"""What the orders of a run tell about their queues, and how models are judged by it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from core_rows import BTCUSDT, ask, bid, bought, gap, sold
from hypothesis import given
from hypothesis import strategies as st

from mmkit.commands import AnyCommand, CancelOrder, SubmitOrder
from mmkit.errors import DataError
from mmkit.events import AnyEvent, Liquidity, OrderAccepted, OrderCanceled, OrderFilled, Side
from mmkit.fit.collect import Seen, collect
from mmkit.fit.evidence import FURTHEST, NEAREST, Evidence
from mmkit.fit.knots import fit_knots, knots_of
from mmkit.fit.lives import lives_of
from mmkit.settings import QueueSettings
from mmkit.sim.queue import Power, queue_model
from mmkit.tape import Row, Tape
from mmkit.testing import snapshot_rows

# --- what an order tells, by hand ---

AT = 10
"""When the orders of these stories come to the book."""
BOOK = snapshot_rows([(100, 40), (99, 50)], [(102, 30), (103, 60)])
CANCELS = [bid(100, 60, 20), bid(100, 45, 21)]
"""Twenty come behind us, fifteen leave: 25 to 40 are ahead."""
Entry = AnyCommand | AnyEvent


def put(order_id: int = 1, at: int = AT, price: int = 100, side: Side = Side.BUY) -> list[Entry]:
    return [
        SubmitOrder(ts_local=at - 1, order_id=order_id, side=side, price=price, quantity=5),
        OrderAccepted(ts_exchange=at, ts_local=at + 1, order_id=order_id),
    ]


def canceled(at: int, order_id: int = 1) -> list[Entry]:
    return [
        CancelOrder(ts_local=at - 1, order_id=order_id),
        OrderCanceled(ts_exchange=at, ts_local=at + 1, order_id=order_id),
    ]


def filled(at: int, remaining: int = 0, liquidity: Liquidity = Liquidity.MAKER) -> list[Entry]:
    return [
        OrderFilled(
            ts_exchange=at,
            ts_local=at + 1,
            order_id=1,
            price=100,
            quantity=5 - remaining,
            remaining=remaining,
            liquidity=liquidity,
            fee=Decimal(0),
        )
    ]


def told(rows: list[Row], *entries: list[Entry], real: bool = False) -> tuple[list[Evidence], Seen]:
    tape = Tape.from_rows(BTCUSDT, [*BOOK, *rows, sold(90, 1, 1_000)])
    return collect([entry for each in entries for entry in each], tape, real=real)


LEFT = [(40, 60), (60, 45)]
MOVED = "the market moved through their price"
STORIES: dict[str, tuple[list[Row], list[list[Entry]], list[Any], list[Any], dict[str, int]]] = {
    "canceled before it was filled": (
        [*CANCELS, sold(100, 30, 30)], [put(), canceled(50)],
        [*LEFT, (30, -1)], [], {},
    ),
    "filled by the second trade, wholly": (
        [*CANCELS, sold(100, 10, 30), bid(100, 35, 30), sold(100, 20, 40)], [put(), filled(40)],
        [*LEFT, (10, -1)], [(45, 35), (20, -1)], {},
    ),
    "filled in part, after which it is first": (
        [*CANCELS, sold(100, 30, 40), bid(100, 15, 40), sold(100, 5, 50)],
        [put(), filled(40, remaining=2), filled(50)],
        [], [*LEFT, (30, -1)], {},
    ),
    "filled by one of two trades of an instant": (
        [*CANCELS, sold(100, 25, 40), sold(100, 7, 40), sold(100, 1, 41)], [put(), filled(40)],
        [], [*LEFT, (25, -1), (7, -1)], {},
    ),
    "a trade in the instant of its cancellation": (
        [*CANCELS, sold(100, 30, 30), sold(100, 9, 50)], [put(), canceled(50)],
        [*LEFT, (30, -1)], [], {},
    ),
    "filled by a trade at a worse price": (
        [*CANCELS, sold(100, 30, 30), sold(99, 1, 40)], [put(), filled(40)],
        [*LEFT, (30, -1)], [], {f"filled as {MOVED}": 1},
    ),
    "filled by a sweep, of which a trade at its price is a part": (
        [*CANCELS, sold(100, 30, 30), sold(100, 9, 40), sold(99, 1, 40)], [put(), filled(40)],
        [*LEFT, (30, -1)], [], {f"filled as {MOVED}": 1},
    ),
    "filled by the other side's level": (
        [*CANCELS, sold(100, 30, 30), ask(100, 4, 40)], [put(), filled(40)],
        [*LEFT, (30, -1)], [], {f"filled as {MOVED}": 1},
    ),
    "not filled by a trade at a worse price": (
        [*CANCELS, sold(100, 30, 30), sold(99, 1, 40), sold(100, 9, 45)], [put(), canceled(50)],
        [*LEFT, (30, -1)], [], {f"not filled though {MOVED}": 1},
    ),
    "filled after a gap": (
        [*CANCELS, sold(100, 30, 30), gap(35), sold(100, 9, 40)], [put(), filled(40)],
        [*LEFT, (30, -1)], [], {"filled after a gap in the data": 1},
    ),
    "canceled after a gap": (
        [*CANCELS, sold(100, 30, 30), gap(35)], [put(), canceled(50)],
        [*LEFT, (30, -1)], [], {},
    ),
    "what happened before it came and after it went": (
        [bid(100, 90, 9), bid(100, 40, 10), sold(100, 1, 10), *CANCELS, sold(100, 30, 30), sold(100, 9, 60)],
        [put(), canceled(50)],
        [*LEFT, (30, -1)], [], {},
    ),
    "a snapshot on the way": (
        [bid(100, 60, 20), *snapshot_rows([(100, 45), (99, 9)], [(102, 1)], 21, 21), sold(100, 30, 30)],
        [put(), canceled(50)],
        [*LEFT, (30, -1)], [], {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("story", STORIES)
def test_what_an_order_tells(story: str) -> None:
    rows, entries, passed, filling, silent = STORIES[story]
    evidence, seen = told(rows, *entries)
    assert evidence == [
        Evidence(order_id=1, accepted_ns=AT, total=40, passed=tuple(passed), filling=tuple(filling))
    ]
    assert seen == Seen(
        rested=1,
        followed=1,
        filled=int(bool(filling)),
        contradicting=0,
        left_out={},
        unmatched=0,
        silent=silent,
    )


def test_a_sell_is_told_by_those_who_buy() -> None:
    rows = [
        ask(102, 50, 20),
        ask(102, 35, 21),
        sold(102, 7, 25),
        bought(102, 20, 30),
    ]
    evidence, _ = told(rows, put(price=102, side=Side.SELL), canceled(50))
    (one,) = evidence
    assert (one.total, one.passed) == (30, ((30, 50), (50, 35), (20, -1)))


LEFT_OUT: dict[str, tuple[list[Row], list[list[Entry]], int]] = {
    "whose end is not in the journal": ([], [put()], 1),
    "that shared their price with another of ours": (
        [],
        [put(1), put(2, at=20), canceled(30, 1), canceled(40, 2), put(3, at=40), canceled(50, 3)],
        2,
    ),
    "that could not rest on the book of the market data": (
        [],
        [put(1, price=102), canceled(50, 1)],
        1,
    ),
    "that were filled when the data has no trade at their price": (
        [*CANCELS, sold(100, 30, 30), sold(100, 9, 41)],
        [put(), filled(40)],
        1,
    ),
}


@pytest.mark.parametrize("reason", LEFT_OUT)
def test_an_order_that_cannot_be_followed_is_left_out_and_counted(reason: str) -> None:
    rows, entries, count = LEFT_OUT[reason]
    evidence, seen = told(rows, *entries)
    assert evidence == []
    assert seen.left_out == {reason: count}
    assert seen.followed == seen.rested - count


def test_an_order_that_came_while_the_book_was_unknown_is_left_out() -> None:
    _, seen = told([gap(5)], put(), canceled(50))
    assert seen.left_out == {"that could not rest on the book of the market data": 1}


def test_all_that_come_and_go_beside_an_order_that_stays_are_its_neighbours() -> None:
    short = [[*put(n, at=20 * n), *canceled(20 * n + 10, n)] for n in (2, 3)]
    _, seen = told([], put(1), *short, canceled(90, 1))
    assert seen.left_out == {"that shared their price with another of ours": 3}


def test_one_price_one_after_the_other_is_no_neighbour() -> None:
    _, seen = told([], put(1), canceled(30, 1), put(2, at=30), canceled(40, 2))
    assert (seen.followed, seen.left_out) == (2, {})


def test_an_order_that_no_model_explains_is_counted() -> None:
    # Ninety have traded of the sixty there ever were, and it was not filled.
    _, seen = told([*CANCELS, sold(100, 90, 30)], put(), canceled(50))
    assert seen.contradicting == 1
    # Nine have, of at least 25 that were ahead, and it was.
    _, seen = told([*CANCELS, sold(100, 9, 40)], put(), filled(40))
    assert seen.contradicting == 1


def test_an_order_whose_fills_all_models_explain_tells_nothing() -> None:
    evidence, seen = told([bid(100, 60, 20), sold(100, 50, 40)], put(), filled(40))
    assert (evidence, seen.followed, seen.filled, seen.contradicting) == ([], 1, 1, 0)


def test_what_an_order_took_at_once_is_no_fill_in_the_queue() -> None:
    entries = [*put(), *filled(AT, remaining=2, liquidity=Liquidity.TAKER)]
    entries[1:] = entries[:0:-1]  # the fill is reported first
    (life,) = lives_of([*entries, *canceled(50)])
    assert (life.quantity, life.fills, life.ended) == (2, [], (50, 4))


def test_a_fill_that_is_reported_before_the_order_is_said_to_rest_came_after_it() -> None:
    sent, accepted = put()
    fill = filled(AT, remaining=2)
    (life,) = lives_of([sent, *fill, accepted, *canceled(50)])
    assert life.fills == [(life.accepted, 2)]
    ours = [bid(100, 62, 20), bid(100, 47, 21), sold(100, 30, 30), bid(100, 9, 60)]
    _, seen = told(ours, [sent, *fill, accepted], canceled(50), real=True)
    assert seen.left_out == {"that were filled when the data has no trade at their price": 1}


def test_our_own_lots_are_taken_off_the_totals_while_they_are_there() -> None:
    # Of the first, which is left out, five are ours until 20, and two until 25; of the second five from 40 on.
    entries = [
        [*put(1), *filled(20, remaining=2), *canceled(25, 1)],
        [*put(2, at=40), *canceled(90, 2)],
    ]
    trades = [sold(100, 3, 20), sold(100, 30, 60)]

    def totals(own: tuple[int, ...]) -> list[Row]:
        others = {15: 44, 23: 41, 30: 40, 45: 60, 50: 45, 95: 9}
        levels = [
            bid(100, lots + ours, at) for (at, lots), ours in zip(others.items(), own, strict=True)
        ]
        return sorted([*levels, *trades])

    found = told(totals((5, 2, 0, 5, 5, 0)), *entries, real=True)
    assert found == told(totals((0, 0, 0, 0, 0, 0)), *entries)
    assert [each.order_id for each in found[0]] == [2]


# --- how a model is judged ---


def evidence_of(*happenings: tuple[int, int], filled: bool = False, total: int = 100) -> Evidence:
    passed, filling = (happenings[:-1], happenings[-1:]) if filled else (happenings, ())
    return Evidence(order_id=1, accepted_ns=0, total=total, passed=passed, filling=filling)


@pytest.mark.parametrize(
    ("evidence", "nearest", "furthest"),
    [
        # 50 come, 40 leave: the front is at 60, or still at 100.
        (evidence_of((100, 150), (150, 110), (60, -1)), 0.0, 0.0),
        (evidence_of((100, 150), (150, 110), (70, -1)), -(10 - 0.5) / 100, 0.0),
        (evidence_of((100, 150), (150, 110), (61, -1), filled=True), 0.0, (39 + 0.5) / 100),
        (evidence_of((100, 150), (150, 110), (100, -1), filled=True), 0.0, 0.5 / 100),
        (evidence_of((100, 150), (150, 110), (101, -1), filled=True), 0.0, 0.0),
        # Eighty trade of sixty, and only then it is filled.
        (
            evidence_of((100, 60), (80, -1), (60, 30), (1, -1), filled=True),
            -(20 - 0.5) / 100,
            -(20 - 0.5) / 100,
        ),
        (evidence_of((5, 0), (900, -1), total=5), -1.0, -1.0),
    ],
)
def test_a_miss_by_hand(evidence: Evidence, nearest: float, furthest: float) -> None:
    assert evidence.miss(NEAREST) == pytest.approx(nearest)
    assert evidence.miss(FURTHEST) == pytest.approx(furthest)


happenings = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 40), st.just(-1)),
        st.integers(0, 120).map(lambda total: (total, 0)),
    ),
    max_size=25,
)


@pytest.mark.parametrize(
    "queue",
    [
        QueueSettings(exponent=0.1),
        QueueSettings(exponent=2),
        QueueSettings(exponent=16),
        QueueSettings(model="log"),
        QueueSettings(model="risk_averse"),
        QueueSettings(model="calibrated", behind=(1.0, 0.0)),
        QueueSettings(model="calibrated", behind=(0.4, 0.3)),
    ],
    ids=str,
)
@given(total=st.integers(0, 100), drawn=happenings, cut=st.integers(0, 25))
def test_no_model_is_off_by_more_than_the_nearest_and_the_furthest_front(
    queue: QueueSettings, total: int, drawn: list[tuple[int, int]], cut: int
) -> None:
    told, before = [], total
    for first, second in drawn:
        told.append((first, -1) if second < 0 else (before, first))
        before = before if second < 0 else first
    evidence = Evidence(1, 0, total, tuple(told[:cut]), tuple(told[cut:]))
    near, miss, far = (evidence.miss(model) for model in (NEAREST, queue_model(queue), FURTHEST))
    assert near <= miss + 1e-9
    assert miss <= far + 1e-9


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 5.0])
def test_the_knots_of_a_power_are_its_shares(exponent: float) -> None:
    places = [n / 4 for n in range(5)]
    shares = [(1 - x) ** exponent / ((1 - x) ** exponent + x**exponent) for x in places]
    assert knots_of(Power(exponent), 5) == pytest.approx(shares, abs=1e-6)


@given(
    goal=st.lists(st.floats(0, 1), min_size=2, max_size=6),
    start=st.lists(st.floats(0, 1), min_size=6, max_size=6),
)
def test_knots_are_found_and_never_rise(goal: list[float], start: list[float]) -> None:
    goal = sorted(goal, reverse=True)

    def loss(knots: tuple[float, ...], enough: float) -> float:
        assert list(knots) == sorted(knots, reverse=True)
        return sum(abs(a - b) for a, b in zip(knots, goal, strict=True))

    found = fit_knots(loss, sorted(start[: len(goal)], reverse=True))
    assert list(found) == sorted(found, reverse=True)
    assert found == pytest.approx(goal, abs=0.011)


def test_a_run_without_trades_is_refused() -> None:
    tape = Tape.from_rows(BTCUSDT, BOOK)
    with pytest.raises(DataError, match=r"holds no trade in 5 rows.* \(data\.streams\)"):
        collect([], tape)
