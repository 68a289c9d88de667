"""What a run is told from outside: a pause, a position to begin with, what the account has, that it must stop."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import pytest
from core_rows import BTCUSDT, SPOT
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import anything
from scripted import Entry, Scripted, session, sim

from mmkit.commands import CancelOrder, SubmitOrder
from mmkit.desk import Desk
from mmkit.engine import Engine
from mmkit.events import Liquidity, OrderAccepted, OrderFilled, OrderRejected, Side
from mmkit.interfaces import Context, MarketView, Quotes
from mmkit.kill_switches import (
    HaltPosition,
    MaxRejectsPerMinute,
    PositionLimit,
    RejectLimit,
)
from mmkit.risk import MaxPosition, QuantityLimit, RiskGate
from mmkit.run.replay import received, replay_received
from mmkit.tape import Row
from mmkit.testing import random_tape, snapshot_rows

CONTEXT = Context(BTCUSDT)


def book(at: int, bid: int = 1000, ask: int = 1002) -> list[Row]:
    return snapshot_rows([(bid, 50)], [(ask, 50)], at, at)


def both(view: MarketView) -> Quotes:
    assert view.best_bid is not None
    assert view.best_ask is not None
    return Quotes(bid=(view.best_bid, 10), ask=(view.best_ask, 10))


def sent(entries: Sequence[Entry]) -> list[tuple[int, str]]:
    return [
        (one.ts_local, type(one).__name__)
        for one in entries
        if isinstance(one, SubmitOrder | CancelOrder)
    ]


# --- pause ---


def test_a_pause_pulls_what_is_there_and_what_is_still_on_its_way_and_its_end_quotes_at_once() -> (
    None
):
    live, entries = session(Scripted(both, every="100ns"))
    live.receive(book(10))
    live.advance(101)  # asked at 100
    live.pause(101, paused=True)  # both orders are on their way
    live.advance(150)
    assert sent(entries) == [
        (100, "SubmitOrder"),
        (100, "SubmitOrder"),
        (128, "CancelOrder"),
        (128, "CancelOrder"),
    ]
    live.advance(555)
    assert len(sent(entries)) == 4
    live.pause(555, paused=False)
    assert sent(entries)[4:] == [(555, "SubmitOrder"), (555, "SubmitOrder")]


@given(
    st.integers(0, 5),
    st.lists(st.integers(1, 3_000_000_000), max_size=6).map(sorted),
    st.sampled_from(["100ms", "7ms"]),
)
@settings(max_examples=30, deadline=None)
def test_a_run_that_was_paused_is_replayed_to_the_last_entry(
    seed: int, offsets: list[int], every: str
) -> None:
    tape = random_tape(seed, messages=300)
    messages = list(received({"main": tape}))
    end_ns = messages[-1][1][-1][1] + 10**9
    times = [tape.start_ns + offset for offset in dict.fromkeys(offsets)]
    stamps = {message[-1][1] for _, message in messages}
    times = [at for at in times if at < end_ns and at not in stamps]

    live, first = session(anything(seed, every, on=["best"]), sim(), start_ns=tape.start_ns)
    pauses = [(at, number % 2 == 0) for number, at in enumerate(times)]
    waiting = list(pauses)
    for market, message in messages:
        # As the loop of a live run does it: told between two messages.
        while waiting and waiting[0][0] < message[-1][1]:
            at, paused = waiting.pop(0)
            live.advance(at)
            live.pause(at, paused=paused)
        live.receive(message, market)
    for at, paused in waiting:
        live.advance(at)
        live.pause(at, paused=paused)
    live.advance(end_ns)

    again, second = session(anything(seed, every, on=["best"]), sim(), start_ns=tape.start_ns)
    replay_received(again, messages, end_ns=end_ns, pauses=pauses)
    assert first == second
    assert first
    still = [(a, b) for (a, paused), (b, _) in itertools.pairwise(pauses) if paused]
    submitted = [one.ts_local for one in first if isinstance(one, SubmitOrder)]
    assert not [at for at in submitted for a, b in still if a < at < b]


# --- a position to begin with ---


@pytest.mark.parametrize("position", [7, -7])
def test_a_position_to_begin_with_counts_for_limits_and_is_worth_nothing_yet(position: int) -> None:
    limit = MaxPosition(QuantityLimit.model_validate({"limit": "0.010"}), CONTEXT)
    live, entries = session(Scripted(both, every="100ns"), risk=RiskGate([("limit", limit)]))
    engine = live.engine
    engine.begin_with(position)
    live.advance(550)
    assert (engine.position, sent(entries)) == (0, [])  # nothing is known of the price yet

    live.receive(book(560))
    assert (engine.position, engine.equity, engine.portfolio.volume) == (position, 0, 0)
    live.advance(701)
    # One side would add beyond the limit; the other one brings the position down.
    (order,) = [one for one in entries if isinstance(one, SubmitOrder)]
    assert order.side is (Side.SELL if position > 0 else Side.BUY)
    live.receive(book(710, 1100, 1102))
    mids = Fraction(1101) - Fraction(1001)
    assert Fraction(engine.equity) == mids * position * Fraction(BTCUSDT.tick) * Fraction(
        BTCUSDT.lot
    )


def test_with_a_position_nothing_is_quoted_before_there_is_a_price_to_value_it_at() -> None:
    def bid(view: MarketView) -> Quotes:
        return Quotes(bid=(view.best_bid, 1)) if view.best_bid else Quotes()

    live, entries = session(Scripted(bid, every="100ns"))
    live.engine.begin_with(5)
    live.receive(snapshot_rows([(1000, 50)], [], 10, 10))  # nobody sells
    live.advance(550)
    assert (live.engine.position, sent(entries)) == (0, [])
    live.receive(book(560))
    live.advance(650)
    assert (live.engine.position, sent(entries)) == (5, [(600, "SubmitOrder")])


# --- what the account has ---


@given(
    st.lists(
        st.tuples(
            st.sampled_from(Side), st.integers(1, 2_000), st.integers(1, 50), st.integers(0, 9)
        ),
        max_size=20,
    ),
    st.integers(-30, 30),
)
def test_what_can_be_spent_is_what_the_venue_told_and_every_trade_since(
    trades: list[tuple[Side, int, int, int]], opening: int
) -> None:
    engine = Engine(SPOT, Scripted(both), RiskGate(), 0)
    engine.funds = {SPOT.base: Decimal(5) - SPOT.quantity(opening), SPOT.quote: Decimal(900)}
    engine.begin_with(opening)
    for one in book(1):
        engine.on_row(one)
    base, quote = Fraction(5), Fraction(900)
    for side, price, lots, fee in trades:
        fill = OrderFilled(
            ts_exchange=0,
            ts_local=0,
            order_id=1,
            price=price,
            quantity=lots,
            remaining=0,
            liquidity=Liquidity.MAKER,
            fee=Decimal(fee),
        )
        engine.portfolio.apply(side, fill)
        amount = Fraction(SPOT.lot) * lots * side.sign
        base += amount
        quote -= amount * Fraction(SPOT.tick) * price + fee
    assert {asset: Fraction(amount) for asset, amount in engine.view.funds.items()} == {
        SPOT.base: base,
        SPOT.quote: quote,
    }


def test_a_simulation_has_no_account() -> None:
    assert Engine(SPOT, Scripted(both), RiskGate(), 0).view.funds == {}


# --- that it must stop ---


def test_refusals_beyond_the_limit_halt_and_pull_what_is_there() -> None:
    check = MaxRejectsPerMinute(RejectLimit(limit=2), CONTEXT)
    gate = RiskGate([("rejects", check)])
    engine = Engine(BTCUSDT, Scripted(both, every="100ns"), gate, 0)
    for one in book(10):
        engine.on_row(one)
    engine.wake(100)
    engine.commands.clear()

    def rejected(order_id: int) -> OrderRejected:
        return OrderRejected(ts_exchange=110, ts_local=110, order_id=order_id, reason="no")

    engine.on_event(rejected(1))
    assert engine.halted is None
    engine.wake(200)
    (again,) = engine.commands
    assert isinstance(again, SubmitOrder)
    engine.commands.clear()
    engine.on_event(OrderAccepted(ts_exchange=210, ts_local=210, order_id=2))
    engine.on_event(rejected(again.order_id))
    assert engine.halted == "rejects: 2 orders refused within a minute, limit 2; the last: no"
    assert [type(one).__name__ for one in engine.commands] == ["CancelOrder"]
    engine.commands.clear()
    assert engine.next_ns() > 10**18
    for one in book(300, 1100, 1102):
        engine.on_row(one)
    assert engine.commands == []


def test_a_halt_pulls_the_quotes_of_every_market_with_the_refusal_that_made_it() -> None:
    check = MaxRejectsPerMinute(RejectLimit(limit=1), CONTEXT)
    strategy = Scripted(lambda view: {"main": both(view), "other": both(view.markets["other"])})
    main = Engine(BTCUSDT, strategy, RiskGate([("rejects", check)]), 0)
    other = Engine(SPOT, strategy, RiskGate(), 0, market="other")
    Desk([main, other])
    for engine in (main, other):
        for one in book(10):
            engine.on_row(one)
    main.wake(100)
    for order_id in (1, 2):
        other.on_event(OrderAccepted(ts_exchange=110, ts_local=110, order_id=order_id))
    other.commands.clear()
    main.on_event(OrderRejected(ts_exchange=120, ts_local=120, order_id=1, reason="no"))
    assert [type(one).__name__ for one in other.commands] == ["CancelOrder", "CancelOrder"]


def test_a_position_beyond_the_limit_halts_with_the_fill_that_made_it() -> None:
    check = HaltPosition(PositionLimit(limit=Decimal("0.009")), CONTEXT)
    engine = Engine(BTCUSDT, Scripted(both, every="100ns"), RiskGate([("most", check)]), 0)
    for one in book(10):
        engine.on_row(one)
    engine.wake(100)
    engine.on_event(OrderAccepted(ts_exchange=110, ts_local=110, order_id=1))
    for quantity, remaining, halted in ((9, 1, None), (1, 0, "most: position of 10 lots, limit 9")):
        engine.on_event(
            OrderFilled(
                ts_exchange=120,
                ts_local=120,
                order_id=1,
                price=1000,
                quantity=quantity,
                remaining=remaining,
                liquidity=Liquidity.MAKER,
                fee=Decimal(0),
            )
        )
        assert (engine.halted or "").startswith(halted or "")
        assert (engine.halted is None) == (halted is None)
