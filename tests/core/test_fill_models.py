"""The bracket of fill models: no queue model fills more than `optimistic`, none less than `pessimistic`."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from core_rows import ask, bid, bought, ended, gap, sold
from hypothesis import given
from hypothesis import strategies as st
from scripted import Scripted, sim

from mmkit.commands import SubmitOrder
from mmkit.events import OrderFilled, Side
from mmkit.interfaces import MarketView, Quotes
from mmkit.settings import QueueSettings, SimSettings, bracket
from mmkit.sim.exchange import SimExchange
from mmkit.sim.queue import queue_model
from mmkit.tape import LAST, SELL, Kind, Row
from mmkit.testing import random_tape, run_strategy, snapshot_rows

BETWEEN = [
    QueueSettings(model="risk_averse"),
    QueueSettings(model="power", exponent=0.5),
    QueueSettings(model="power", exponent=2),
    QueueSettings(model="power", exponent=3),
    QueueSettings(model="log"),
    QueueSettings(model="calibrated", behind=(1.0, 0.0)),
    QueueSettings(model="calibrated", behind=(0.9, 0.9, 0.2)),
    QueueSettings(model="calibrated", behind=(0.0, 0.0)),
]
OPTIMISTIC, PESSIMISTIC = (QueueSettings(model=m) for m in ("optimistic", "pessimistic"))
# Our orders, put once and never touched again: side, price in ticks, lots. Two of them at one price.
ORDERS = (
    *((Side.BUY, 100, 7), (Side.BUY, 100, 4), (Side.BUY, 99, 5), (Side.BUY, 97, 6)),
    *((Side.SELL, 101, 3), (Side.SELL, 102, 8), (Side.SELL, 102, 2), (Side.SELL, 105, 5)),
)
Filled = Counter[tuple[Side, int]]


def passive(queue: QueueSettings, rows: list[Row], *, partial: bool) -> list[Filled]:
    """Return what had been filled at each of our prices, after each row."""
    venue = SimExchange(queue_model(queue), partial_fills=partial)
    for row in snapshot_rows([(100, 9), (99, 20), (98, 5)], [(101, 12), (102, 30), (103, 5)]):
        venue.on_row(row)
    for number, (side, price, lots) in enumerate(ORDERS):
        order = SubmitOrder(ts_local=0, order_id=number, side=side, price=price, quantity=lots)
        assert venue.arrive(order, 0).resting
    filled: Filled = Counter()
    history = []
    for row in rows:
        for fill in venue.on_row(row):
            filled[fill.side, fill.price] += fill.quantity
        history.append(filled.copy())
    return history


prices, lots = st.integers(96, 106), st.integers(0, 40)
happenings: st.SearchStrategy[list[Row]] = st.one_of(
    st.builds(lambda price, total: [bid(price, total, 1)], prices, lots),
    st.builds(lambda price, total: [ask(price, total, 1)], prices, lots),
    st.builds(lambda price, traded: [bought(price, traded + 1, 1)], prices, lots),
    st.builds(lambda price, traded: [sold(price, traded + 1, 1)], prices, lots),
    st.just([gap(1)]),
    st.builds(
        lambda bids, asks: snapshot_rows(bids, asks, 1, 1),
        st.lists(st.tuples(st.integers(96, 100), st.integers(1, 40)), unique_by=lambda at: at[0]),
        st.lists(st.tuples(st.integers(101, 106), st.integers(1, 40)), unique_by=lambda at: at[0]),
    ),
)


@pytest.mark.parametrize("queue", BETWEEN, ids=str)
@pytest.mark.parametrize("partial", [True, False])
@given(market=st.lists(happenings, max_size=40))
def test_on_any_book_every_queue_model_fills_between_the_two(
    queue: QueueSettings, partial: bool, market: list[list[Row]]
) -> None:
    rows = [row for message in market for row in message]
    most, model, least = (
        passive(which, rows, partial=partial) for which in (OPTIMISTIC, queue, PESSIMISTIC)
    )
    for after, (upper, found, lower) in enumerate(zip(most, model, least, strict=True)):
        assert lower <= found <= upper, rows[: after + 1]


@pytest.mark.parametrize("queue", BETWEEN, ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_in_a_run_that_never_requotes_too(queue: QueueSettings, seed: int) -> None:
    def fills(queue: QueueSettings) -> int:
        put: list[bool] = []

        def once(view: MarketView) -> Quotes:
            if put:
                left = [(o.side, (o.price, o.quantity)) for o in view.orders]
                return Quotes(
                    bids=[level for side, level in left if side is Side.BUY],
                    asks=[level for side, level in left if side is Side.SELL],
                )
            put.append(True)
            assert view.best_bid is not None
            assert view.best_ask is not None
            return Quotes(
                bids=[(view.best_bid - step, 40) for step in range(6)],
                asks=[(view.best_ask + step, 40) for step in range(6)],
            )

        _, entries = run_strategy(
            Scripted(once, every="10ms"),
            random_tape(seed, 300),
            sim("plain", queue=queue.model_dump()),
        )
        return sum(entry.quantity for entry in entries if isinstance(entry, OrderFilled))

    least, found, most = fills(PESSIMISTIC), fills(queue), fills(OPTIMISTIC)
    assert 0 < least <= found <= most


def filled_by(queue: QueueSettings, *rows: Row, partial: bool = True) -> Filled:
    return passive(queue, list(rows), partial=partial)[-1]


def test_optimistic_any_trade_at_the_price_fills_no_more_than_traded() -> None:
    assert filled_by(OPTIMISTIC, sold(100, 3, 1)) == {(Side.BUY, 100): 3}
    # Seven are the first order's, the rest of the second's four.
    assert filled_by(OPTIMISTIC, sold(100, 9, 1)) == {(Side.BUY, 100): 9}
    assert filled_by(OPTIMISTIC, sold(100, 3, 1), partial=False) == {(Side.BUY, 100): 7}


def test_pessimistic_no_trade_at_the_price_fills_and_one_beyond_it_does() -> None:
    assert filled_by(PESSIMISTIC, sold(100, 10**6, 1), bid(100, 0, 1)) == {}
    assert filled_by(PESSIMISTIC, sold(99, 1, 1)) == {(Side.BUY, 100): 11}
    assert filled_by(PESSIMISTIC, ask(100, 1, 1)) == {(Side.BUY, 100): 11}
    assert filled_by(PESSIMISTIC, bid(101, 1, 1)) == {(Side.SELL, 101): 3}


def test_pessimistic_a_snapshot_that_reaches_the_price_fills() -> None:
    rows: list[Row] = [
        (1, 1, int(Kind.SNAPSHOT), 0, 0),
        *ended([(1, 1, Kind.LEVEL | SELL | LAST, 100, 1)]),
    ]
    assert filled_by(PESSIMISTIC, *rows)[Side.BUY, 100] == 11


def test_a_bracket_changes_nothing_but_the_queue() -> None:
    settings = SimSettings.model_validate(
        {
            "latency": {"entry": "1ms", "response": "2ms"},
            "queue": {"model": "power", "exponent": 3},
            "fees": {"maker": "-0.0001", "taker": "0.0003"},
            "partial_fills": False,
            "fill_reports": "after_data",
        }
    )
    optimistic, configured, pessimistic = bracket(settings)

    assert configured is settings
    assert [one.queue.model for one in bracket(settings)] == ["optimistic", "power", "pessimistic"]

    def rest(one: SimSettings) -> dict[str, Any]:
        return one.model_dump(exclude={"queue"})

    assert rest(optimistic) == rest(pessimistic) == rest(settings)
