"""An order that is amended is the same order: at the exchange, for the quoter, for the engine and its risk checks."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from both_engines import Restless, session
from core_rows import BTCUSDT, SPOT
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.commands import (
    AmendOrder,
    Amends,
    AnyCommand,
    CancelOrder,
    SubmitOrder,
    TimeInForce,
)
from mmkit.events import (
    MAIN,
    SELF_TRADE,
    AmendRejected,
    Liquidity,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrderFilled,
    Side,
)
from mmkit.interfaces import Context, Quotes
from mmkit.orders import Order, Orders
from mmkit.quoter import Quoter
from mmkit.risk import MaxOrder, QuantityLimit
from mmkit.run.compiled import why_not
from mmkit.run.replay import replay
from mmkit.settings import FillReports, SimSettings
from mmkit.sim.exchange import WOULD_TAKE, Amended, Fill, SimExchange
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.sim.queue import Power
from mmkit.tape import LAST, Row
from mmkit.testing import random_tape, snapshot_rows

AT = {"ts_exchange": 0, "ts_local": 0}


def order(
    number: int, side: Side, price: int, quantity: int, force: TimeInForce = TimeInForce.POST_ONLY
) -> SubmitOrder:
    return SubmitOrder(
        ts_local=0,
        order_id=number,
        side=side,
        price=price,
        quantity=quantity,
        time_in_force=force,
    )


# --- at the exchange ---


def fed(venue: SimExchange, rows: list[Row]) -> list[Fill]:
    return [fill for row in rows for fill in venue.on_row(row)]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 60),
    cut=st.integers(40, 250),
    quantity=st.integers(2, 30),
    less=st.integers(1, 29),
    away=st.integers(-2, 2),
    partial=st.booleans(),
    side=st.sampled_from(Side),
)
def test_another_price_is_a_new_place_and_less_is_the_old_one(
    seed: int, cut: int, quantity: int, less: int, away: int, partial: bool, side: Side
) -> None:
    tape = random_tape(seed, messages=200)
    rows = list(tape.rows(tape.exchange_order()))
    start = next(
        n for n, row in enumerate(rows) if n > 30 and row[2] & LAST and row[0] > rows[0][0]
    )

    def begun(lots: int) -> tuple[SimExchange, int]:
        venue = SimExchange(Power(2.0), partial_fills=partial)
        fed(venue, rows[:start])
        bid, ask = venue.book.best_bid, venue.book.best_ask
        assert bid is not None
        assert ask is not None
        price = bid if side is Side.BUY else ask
        assert venue.arrive(order(1, side, price, lots), rows[start - 1][0]).resting
        return venue, price

    def told(fills: list[Fill]) -> list[tuple[Any, ...]]:
        return [(one.price, one.quantity, one.remaining) for one in fills]

    middle, rest = rows[start : start + cut], rows[start + cut :]
    at = rows[start + cut - 1][0]
    # Less: from then on it is an order that was placed for so much in the first place.
    shrunk, price = begun(quantity)
    small, _ = begun(min(less, quantity - 1))
    if not fed(shrunk, middle) and not fed(small, middle) and shrunk.book.known:
        amended = shrunk.amend(1, price, min(less, quantity - 1), at)
        assert amended == Amended([], None, canceled=False, remaining=min(less, quantity - 1))
        assert told(fed(shrunk, rest)) == told(fed(small, rest))
    # Another price, or more: from then on it is one that has just come.
    moved, price = begun(quantity)
    fresh, _ = begun(quantity)
    filled = sum(one.quantity for one in fed(moved, middle))
    fed(fresh, middle)
    if filled == quantity or not moved.book.known:
        return
    target, total = price + away, quantity + (away == 0)
    assert fresh.cancel(1)
    arrival = fresh.arrive(order(2, side, target, total - filled), at)
    amended = moved.amend(1, target, total, at)
    if arrival.rejected == WOULD_TAKE:
        # As at Binance: what was to rest and cannot is gone.
        assert amended == Amended([], WOULD_TAKE, canceled=True, remaining=quantity - filled)
        assert not moved.cancel(1)
        return
    assert amended == Amended([], None, canceled=False, remaining=total - filled)
    assert told(fed(moved, rest)) == told(fed(fresh, rest))


def known_market() -> SimExchange:
    venue = SimExchange(Power(2.0), partial_fills=True)
    fed(venue, snapshot_rows([(100, 50), (99, 40)], [(102, 20), (103, 30)]))
    return venue


def test_an_amend_that_cannot_be_done_leaves_the_order_as_it_was() -> None:
    venue = known_market()
    venue.arrive(order(1, Side.BUY, 99, 10), 0)
    venue.arrive(order(2, Side.SELL, 103, 10), 0)
    assert venue.amend(9, 99, 5, 0).rejected == "the order is not on the book"
    assert venue.amend(1, 99, 10, 0).rejected == "there is nothing to change"
    assert venue.amend(1, 103, 10, 0).rejected == SELF_TRADE
    resting = venue.resting(1)
    assert resting is not None
    assert (resting.price, resting.remaining) == (99, 10)


def test_an_order_that_may_take_takes_what_its_new_price_crosses() -> None:
    venue = known_market()
    venue.arrive(order(1, Side.BUY, 99, 30, TimeInForce.GTC), 0)
    amended = venue.amend(1, 102, 30, 0)
    assert amended.fills == [Fill(1, Side.BUY, 102, 20, 10, Liquidity.TAKER)]
    assert (amended.remaining, venue.position) == (10, 20)
    resting = venue.resting(1)
    assert resting is not None
    assert (resting.price, resting.remaining) == (102, 10)


# --- the quoter ---

LEVELS = st.dictionaries(st.integers(1, 20), st.integers(1, 9), max_size=4)


class Market:
    """A venue that does at once what it is told, and the orders that it has."""

    def __init__(self, amends: Amends) -> None:
        self.orders, self.quoter = Orders(), Quoter()
        self.quoter.amends = amends
        self.sent: list[AnyCommand] = []

    def quote(self, wanted: Quotes) -> None:
        commands = self.quoter.towards(wanted, self.orders.active, 0, (None, None), 0)
        for command in commands:
            self.sent.append(command)
            self.orders.sent(command)
            self._done(command)

    def _done(self, command: AnyCommand) -> None:
        number = command.order_id
        if isinstance(command, CancelOrder):
            self.orders.apply(OrderCanceled(order_id=number, **AT))
        elif isinstance(command, SubmitOrder):
            self.orders.apply(OrderAccepted(order_id=number, **AT))
        else:
            [one] = [one for one in self.orders.active if one.order_id == number]
            left = command.quantity - one.filled
            assert left > 0
            if self.quoter.amends is Amends.SHRINK:
                assert command.price == one.price
                assert command.quantity < one.quantity
            self.orders.apply(
                OrderAmended(
                    order_id=number,
                    price=command.price,
                    quantity=command.quantity,
                    remaining=left,
                    **AT,
                )
            )

    def fill(self, number: int, lots: int) -> None:
        [one] = [one for one in self.orders.active if one.order_id == number]
        self.orders.apply(
            OrderFilled(
                order_id=number,
                price=one.price,
                quantity=lots,
                remaining=one.remaining - lots,
                liquidity=Liquidity.MAKER,
                fee=Decimal(0),
                **AT,
            )
        )


@given(
    amends=st.sampled_from(Amends),
    steps=st.lists(st.tuples(LEVELS, LEVELS, st.integers(0, 10_000)), max_size=6),
)
def test_what_is_wanted_stands_however_it_came_there_and_amending_takes_fewer_commands(
    amends: Amends, steps: list[tuple[dict[int, int], dict[int, int], int]]
) -> None:
    market, plain = Market(amends), Market(Amends.NOTHING)
    for bids, asks, seed in steps:
        wanted = Quotes(bids=bids.items(), asks=[(50 + p, q) for p, q in asks.items()])
        for one in (market, plain):
            one.quote(wanted)
            stands = {(o.side, o.price): o.asked for o in one.orders.active}
            assert stands == {
                **{(Side.BUY, price): lots for price, lots in wanted.bids},
                **{(Side.SELL, price): lots for price, lots in wanted.asks},
            }
            # Nothing more is to be done, also when some of it has been traded.
            before = len(one.sent)
            random = Random(seed)
            for open_order in one.orders.active:
                if open_order.remaining > 1 and random.random() < 0.4:
                    one.fill(open_order.order_id, random.randrange(1, open_order.remaining))
            one.quote(wanted)
            assert len(one.sent) == before
    assert len(market.sent) <= len(plain.sent)
    if amends is Amends.PRICE_AND_QUANTITY:
        # An order that goes and one that comes on the same side are one command, not two.
        for side in Side:
            for one in market.sent:
                assert not (isinstance(one, AmendOrder) and one.quantity <= 0), side


def test_nothing_is_added_to_a_side_whose_amend_is_under_way_and_a_quote_that_is_pulled_is_canceled() -> (
    None
):
    market = Market(Amends.PRICE_AND_QUANTITY)
    market.quote(Quotes(bid=(10, 5)))
    [amend] = market.quoter.towards(Quotes(bid=(11, 5)), market.orders.active, 0, (None, None), 0)
    assert isinstance(amend, AmendOrder)
    market.orders.sent(amend)
    for wanted in (Quotes(bid=(11, 5)), Quotes(bid=(12, 5)), Quotes(bids=[(11, 5), (12, 1)])):
        assert market.quoter.towards(wanted, market.orders.active, 0, (None, None), 0) == []
    [cancel] = market.quoter.towards(Quotes(), market.orders.active, 0, (None, None), 0)
    assert isinstance(cancel, CancelOrder)
    assert market.quoter.pull(market.orders.active, 0) == [cancel]


def test_an_order_that_could_not_be_amended_is_replaced_the_next_time() -> None:
    market = Market(Amends.PRICE_AND_QUANTITY)
    market.quote(Quotes(bid=(10, 5)))
    [amend] = market.quoter.towards(Quotes(bid=(11, 5)), market.orders.active, 0, (None, None), 0)
    market.orders.sent(amend)
    market.orders.apply(AmendRejected(order_id=1, reason="too many", **AT))
    market.quote(Quotes(bid=(11, 5)))
    assert [type(one) for one in market.sent[1:]] == [CancelOrder, SubmitOrder]


@pytest.mark.parametrize("up", [True, False])
def test_the_side_that_is_ahead_in_the_direction_of_the_market_makes_room_first(up: bool) -> None:
    market = Market(Amends.PRICE_AND_QUANTITY)
    market.quote(Quotes(bid=(10, 5), ask=(12, 5)))
    step = 5 if up else -5
    wanted = Quotes(bid=(10 + step, 5), ask=(12 + step, 5))
    first, second = market.quoter.towards(wanted, market.orders.active, 0, (None, None), 0)
    sides = {one.order_id: one.side for one in market.orders.active}
    expected = (Side.SELL, Side.BUY) if up else (Side.BUY, Side.SELL)
    assert (sides[first.order_id], sides[second.order_id]) == expected


# --- our orders ---


@given(
    side=st.sampled_from(Side),
    now=st.tuples(st.integers(1, 99), st.integers(1, 99)),
    then=st.tuples(st.integers(1, 99), st.integers(1, 99)),
    filled=st.integers(0, 98),
)
def test_while_an_amend_is_under_way_an_order_counts_as_it_costs_most(
    side: Side, now: tuple[int, int], then: tuple[int, int], filled: int
) -> None:
    orders = Orders()
    orders.sent(order(1, side, *now))
    orders.apply(OrderAccepted(order_id=1, **AT))
    orders.sent(AmendOrder(ts_local=0, order_id=1, price=then[0], quantity=then[1]))
    filled = min(filled, now[1] - 1)
    if filled:
        orders.apply(
            OrderFilled(
                order_id=1,
                price=now[0],
                quantity=filled,
                remaining=now[1] - filled,
                liquidity=Liquidity.MAKER,
                fee=Decimal(0),
                **AT,
            )
        )
    most = max(now[1], then[1]) - filled
    assert orders.exposure() == ((most, 0) if side is Side.BUY else (0, most))
    [one] = orders.working
    worst = max if side is Side.BUY else min
    assert (one.remaining, one.price) == (most, worst(now[0], then[0]))
    orders.apply(AmendRejected(order_id=1, reason="", **AT))
    [one] = orders.working
    assert (one.remaining, one.price) == (now[1] - filled, now[0])


@pytest.mark.parametrize(
    "ends",
    [
        OrderCanceled(order_id=1, **AT),
        OrderFilled(
            order_id=1,
            price=1,
            quantity=5,
            remaining=0,
            liquidity=Liquidity.MAKER,
            fee=Decimal(0),
            **AT,
        ),
    ],
)
@pytest.mark.parametrize(
    "answer",
    [
        AmendRejected(order_id=1, reason="the order is over", **AT),
        OrderAmended(order_id=1, price=2, quantity=5, remaining=0, **AT),
    ],
)
def test_an_order_may_end_before_its_amend_is_answered(ends: Any, answer: Any) -> None:
    orders = Orders()
    orders.sent(order(1, Side.BUY, 1, 5))
    orders.sent(AmendOrder(ts_local=0, order_id=1, price=2, quantity=5))
    orders.apply(ends)
    assert not orders.active
    assert orders.apply(answer) is None
    assert not orders.active


# --- a whole run ---


def amending(seed: int, sim: SimSettings, risk: dict[str, str]) -> tuple[Any, list[Any]]:
    tape = random_tape(seed, 1_000)
    run, memory = session(Restless, sim, {"every": "100ms"}, risk, tape)
    run.engine.quoter.amends = run.venue.amends
    if sim.fill_reports is FillReports.PLAIN:
        assert why_not(run, {MAIN: tape}) == "amending orders is not compiled"
    run.fill_reports = sim.fill_reports
    replay(run, {MAIN: tape})
    return run, memory.entries


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("reports", ["plain", "after_data"])
def test_over_a_whole_run_every_amend_is_answered_once_and_all_adds_up(
    seed: int, reports: str
) -> None:
    sim = SimSettings.model_validate(
        {"latency": {"entry": "30ms", "response": "40ms"}, "fill_reports": reports}
    )
    run, entries = amending(seed, sim, {})
    counts = run.engine.counts
    asked = [one.order_id for one in entries if isinstance(one, AmendOrder)]
    answered = [one.order_id for one in entries if isinstance(one, OrderAmended | AmendRejected)]
    assert len(asked) == counts["amends"] > 50
    assert Counter(answered) <= Counter(asked)
    assert len(asked) - len(answered) <= len(run.engine.orders)
    assert counts["amends_rejected"] < counts["amends"]
    position = sum(
        {one.order_id: one.side.sign for one in entries if isinstance(one, SubmitOrder)}[
            fill.order_id
        ]
        * fill.quantity
        for fill in entries
        if isinstance(fill, OrderFilled)
    )
    assert run.engine.position == position
    # Of no order more was traded than the most that it ever was to be.
    most: dict[int, int] = {}
    traded: dict[int, int] = {}
    for one in entries:
        if isinstance(one, SubmitOrder | AmendOrder):
            most[one.order_id] = max(most.get(one.order_id, 0), one.quantity)
        elif isinstance(one, OrderFilled):
            traded[one.order_id] = traded.get(one.order_id, 0) + one.quantity
    assert all(lots <= most[number] for number, lots in traded.items())
    # And the same run again is the same.
    assert amending(seed, sim, {})[1] == entries


def test_an_amend_that_a_check_does_not_let_through_becomes_a_cancel() -> None:
    run, entries = amending(1, SimSettings(), {"max_order": "0.008"})
    limit = MaxOrder(QuantityLimit(limit=Decimal("0.008")), Context(BTCUSDT)).limit
    filled: dict[int, int] = {}
    for one in entries:
        if isinstance(one, OrderFilled):
            filled[one.order_id] = filled.get(one.order_id, 0) + one.quantity
        elif isinstance(one, AmendOrder):
            assert one.quantity - filled.get(one.order_id, 0) <= limit
    assert run.engine.risk.vetoes["max_order"] > 10


def test_the_simulated_venue_can_what_binance_can() -> None:
    assert PaperVenue(PaperConfig(), Context(BTCUSDT)).amends is Amends.PRICE_AND_QUANTITY
    assert PaperVenue(PaperConfig(), Context(SPOT)).amends is Amends.SHRINK
    assert Order(order(1, Side.BUY, 1, 1)).amendable
