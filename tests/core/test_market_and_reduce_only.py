"""Market orders take what there is and are judged by the worst of it; reduce-only orders only bring a position down."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
import pytest
from both_engines import session
from core_rows import BTCUSDT, SPOT
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.book import Ladder
from mmkit.commands import AnyCommand, OrderType, SubmitOrder, TimeInForce
from mmkit.engine import MARKET_DEPTH, Engine
from mmkit.errors import StrategyError
from mmkit.events import MAIN, OrderCanceled, OrderFilled, OrderRejected, Side
from mmkit.interfaces import Context, MarketView, Quotes, Strategy, StrategyConfig, Target
from mmkit.live.handler import OrderHandler
from mmkit.live.requests import Place
from mmkit.order_limits import Funds, FundsThere, MinNotional, ValueLimit
from mmkit.orders import Order
from mmkit.quoter import Quoter
from mmkit.risk import DistanceLimit, MaxPosition, PriceBand, QuantityLimit, RiskGate
from mmkit.run.compiled import NotCompiled, replay_compiled, why_not
from mmkit.run.replay import replay_plain
from mmkit.settings import SimSettings
from mmkit.sim.exchange import NOT_REDUCING, SimExchange
from mmkit.sim.queue import RiskAverse
from mmkit.tape import LAST
from mmkit.testing import random_tape, snapshot_rows

BIDS = [(100, 50), (99, 40), (98, 30)]
ASKS = [(102, 20), (103, 30), (105, 10)]


def exchange(*, partial: bool = True) -> SimExchange:
    made = SimExchange(RiskAverse(), partial_fills=partial)
    for row in snapshot_rows(BIDS, ASKS):
        made.on_row(row)
    return made


def order(number: int, side: Side, quantity: int, price: int = 1, **keys: Any) -> SubmitOrder:
    return SubmitOrder(
        ts_local=0, order_id=number, side=side, price=price, quantity=quantity, **keys
    )


def market(number: int, side: Side, quantity: int, **keys: Any) -> SubmitOrder:
    return order(
        number,
        side,
        quantity,
        time_in_force=TimeInForce.IOC,
        order_type=OrderType.MARKET,
        **keys,
    )


# --- market orders ---


@given(quantity=st.integers(1, 200), side=st.sampled_from(Side), worst=st.integers(1, 300))
def test_a_market_order_takes_level_by_level_whatever_price_it_was_judged_by(
    quantity: int, side: Side, worst: int
) -> None:
    arrival = exchange().arrive(market(1, side, quantity, price=worst), 0)
    lots = [price for price, there in (ASKS if side is Side.BUY else BIDS) for _ in range(there)]
    taken = [fill.price for fill in arrival.fills for _ in range(fill.quantity)]
    assert taken == lots[:quantity]
    assert (arrival.rejected, arrival.resting) == (None, False)


def test_a_market_order_that_would_reach_one_of_ours_is_refused_and_one_that_would_not_is_not() -> (
    None
):
    venue = exchange()
    assert venue.arrive(order(1, Side.SELL, 5, 103), 0).resting
    assert venue.arrive(market(2, Side.BUY, 20), 0).fills
    assert venue.arrive(market(3, Side.BUY, 21), 0).rejected
    assert venue.position == 20


@given(
    levels=st.dictionaries(st.integers(1, 60), st.integers(1, 9), max_size=20),
    quantity=st.integers(1, 90),
    sign=st.sampled_from([-1, 1]),
)
def test_the_reach_of_a_quantity_is_the_price_of_its_last_lot(
    levels: dict[int, int], quantity: int, sign: int
) -> None:
    ladder = Ladder(sign)
    for price, lots in levels.items():
        ladder.set(price, lots)
    each = [price for price in sorted(levels, key=sign.__mul__) for _ in range(levels[price])]
    assert ladder.reach(quantity) == (each[quantity - 1] if quantity <= len(each) else None)


class Says(Strategy):
    """Answers what it is told to."""

    answer: Callable[[MarketView], Any]

    def quote(self, view: MarketView) -> Any:
        return type(self).answer(view)


def decided(
    answer: Any, risk: RiskGate, *, position: int = 0, instrument: Any = BTCUSDT
) -> tuple[Engine, list[AnyCommand]]:
    says = type("Says", (Says,), {"answer": staticmethod(lambda view: answer)})
    engine = Engine(instrument, says(StrategyConfig(), Context(instrument)), risk, 0)
    for row in snapshot_rows(BIDS, ASKS):
        engine.on_row(row)
    engine.portfolio.position = position
    engine.decide(1)
    return engine, engine.commands


@pytest.mark.parametrize(
    ("lots", "price"), [(10, 102), (11, 103), (25, 103), (30, 105), (-25, 100), (-26, 99)]
)
def test_a_market_order_is_judged_by_the_price_that_twice_its_size_would_reach(
    lots: int, price: int
) -> None:
    assert MARKET_DEPTH == 2
    _, [sent] = decided(Target(lots, order_type=OrderType.MARKET), RiskGate())
    assert isinstance(sent, SubmitOrder)
    assert (sent.price, sent.quantity, sent.order_type) == (price, abs(lots), OrderType.MARKET)
    # A check of prices judges that price, not the best one.
    away = abs(price - 101)
    for band, passes in ((away, True), (away - 1, False)):
        config = DistanceLimit.model_validate({"limit": f"{band}ticks"})
        gate = RiskGate([("band", PriceBand(config, Context(BTCUSDT)))])
        engine, sent_now = decided(Target(lots, order_type=OrderType.MARKET), gate)
        assert bool(sent_now) is passes
        assert engine.risk.vetoes["band"] == (not passes)


def test_a_market_order_for_which_the_book_does_not_hold_enough_is_refused_in_words() -> None:
    engine, sent = decided(Target(31, order_type=OrderType.MARKET), RiskGate())
    assert sent == []
    assert engine.risk.first == {
        "book_depth": "a market order of 31 lots is judged by the price of 62 lots of the book, which holds 60"
    }


# --- reduce-only ---


@given(
    target=st.integers(-50, 50),
    position=st.integers(-50, 50),
    kind=st.sampled_from(OrderType),
)
def test_a_reduce_only_target_leads_no_further_than_to_nothing_and_never_away_from_it(
    target: int, position: int, kind: OrderType
) -> None:
    wanted = Target(target, order_type=kind, reduce_only=True)
    commands = Quoter().towards(wanted, [], position, (100, 102), 0)
    end = position
    for sent in commands:
        assert isinstance(sent, SubmitOrder)
        assert (sent.reduce_only, sent.order_type) == (True, kind)
        end += sent.side.sign * sent.quantity
    assert abs(end) <= abs(position)
    assert end * position >= 0
    # And as near to the target as that allows.
    assert abs(end - target) == min(
        abs(one - target) for one in range(min(position, 0), max(position, 0) + 1)
    )


def test_quotes_that_are_reduce_only_take_the_place_of_those_that_are_not() -> None:
    working = Order(order(1, Side.SELL, 5, 102))
    working.submitting = False
    same = Quotes(ask=(102, 5))
    assert Quoter().towards(same, [working], 5, (100, 102), 0) == []
    _, sent = Quoter().towards(Quotes(ask=(102, 5), reduce_only=True), [working], 5, (100, 102), 0)
    assert isinstance(sent, SubmitOrder)
    assert sent.reduce_only


@pytest.mark.parametrize(
    "wanted", [Target(0, reduce_only=True), Quotes(ask=(102, 1), reduce_only=True)]
)
def test_reduce_only_is_refused_on_spot(wanted: Any) -> None:
    with pytest.raises(StrategyError, match="reduce-only; that is for contracts"):
        decided(wanted, RiskGate(), position=5, instrument=SPOT)


def test_a_reduce_only_order_needs_no_room_no_margin_and_no_least_value() -> None:
    context = Context(BTCUSDT)
    gate = RiskGate(
        [
            ("max_position", MaxPosition(QuantityLimit(limit=Decimal("0.001")), context)),
            ("balance", FundsThere(Funds(settle=Decimal(0)), context)),
            ("min_notional", MinNotional(ValueLimit(limit=Decimal(10**9)), context)),
        ]
    )
    # Beyond the limit, without money, and worth next to nothing: it may come down all the same.
    _, sent = decided(Target(8, reduce_only=True), gate, position=9)
    assert len(sent) == 1
    assert decided(Target(8), gate, position=9)[1] == []


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), partial=st.booleans())
def test_on_a_random_market_no_reduce_only_order_ever_enlarges_or_turns_the_position(
    seed: int, partial: bool
) -> None:
    random, tape = Random(seed), random_tape(seed % 50, messages=300)
    venue = SimExchange(RiskAverse(), partial_fills=partial)
    sent: dict[int, SubmitOrder] = {}
    held, seen, refused = 0, 0, 0

    def count(fills: list[Any]) -> None:
        nonlocal held, seen
        for fill in fills:
            after = held + fill.side.sign * fill.quantity
            if sent[fill.order_id].reduce_only:
                seen += 1
                assert abs(after) < abs(held)
                assert after * held >= 0
            held = after
        assert venue.position == held

    for row in tape.rows(tape.exchange_order()):
        count(venue.on_row(row))
        for number in venue.expired():
            assert sent[number].reduce_only
            assert not venue.cancel(number)
        # What rests can still reduce by all that is left of it.
        for number, one in sent.items():
            resting = venue.resting(number)
            if resting is not None and one.reduce_only:
                assert resting.remaining <= -one.side.sign * held
        book = venue.book
        if row[2] & LAST and book.known and book.best_bid and book.best_ask:
            side = random.choice(list(Side))
            price = (book.best_bid if side is Side.BUY else book.best_ask) + random.randrange(-1, 2)
            new = order(
                len(sent) + 1,
                side,
                random.randrange(1, 12),
                price,
                time_in_force=random.choice(list(TimeInForce)),
                order_type=random.choice(list(OrderType)),
                reduce_only=random.random() < 0.5,
            )
            sent[new.order_id] = new
            arrival = venue.arrive(new, row[0])
            refused += arrival.rejected == NOT_REDUCING
            count(arrival.fills)
            venue.expired()
    assert refused


class ComesDown(Strategy):
    """Takes at the market, and then stands with a reduce-only quote."""

    def quote(self, view: MarketView) -> Quotes | Target:
        turn = view.now // 500_000_000 % 3
        if turn == 0:
            return Target(7, order_type=OrderType.MARKET)
        if turn == 2 or view.best_ask is None or view.position <= 0:
            return Target(0, order_type=OrderType.MARKET, reduce_only=True)
        return Quotes(ask=(view.best_ask, view.position), reduce_only=True)


def test_a_compiled_run_that_comes_upon_them_is_left_to_the_reference() -> None:
    tape = random_tape(3, 400)
    compiled, _ = session(ComesDown, SimSettings(), {"every": "100ms"}, {}, tape)
    assert why_not(compiled, {MAIN: tape}) == ""
    with pytest.raises(NotCompiled, match="reduce-only and market orders"):
        replay_compiled(compiled, tape)


def test_in_a_run_they_trade_and_the_journal_gives_them_back() -> None:
    tape = random_tape(3, 2_000)
    run, memory = session(ComesDown, SimSettings(), {"every": "100ms"}, {}, tape)
    replay_plain(run, {MAIN: tape})
    kinds = {
        (one.order_type, one.reduce_only) for one in memory.entries if isinstance(one, SubmitOrder)
    }
    assert kinds == {
        (OrderType.MARKET, False),
        (OrderType.MARKET, True),
        (OrderType.LIMIT, True),
    }
    assert sum(isinstance(one, OrderFilled) for one in memory.entries) > 10
    ended = (OrderCanceled, OrderRejected, OrderFilled)
    assert {one.order_id for one in memory.entries if isinstance(one, SubmitOrder)} >= {
        one.order_id for one in memory.entries if isinstance(one, ended)
    }
    written = [msgspec.json.encode(one) for one in memory.entries]
    kinds_of = tuple({type(one) for one in memory.entries})
    assert [msgspec.json.decode(one, type=_union(kinds_of)) for one in written] == memory.entries


def _union(kinds: tuple[type, ...]) -> Any:
    from functools import reduce
    from operator import or_

    return reduce(or_, kinds)


def test_the_live_order_handler_sends_no_price_of_a_market_order_and_says_reduce_only() -> None:
    handler = OrderHandler(BTCUSDT, "mm1", 0)
    handler.command(market(1, Side.SELL, 5, price=90, reduce_only=True), 0)
    taken = handler.take()
    [known], [request] = taken.orders, taken.requests
    assert isinstance(request, Place)
    assert (request.placement.price, request.placement.reduce_only) == (None, True)
    assert (known.order_type, known.reduce_only, known.price) == (OrderType.MARKET, True, 90)
