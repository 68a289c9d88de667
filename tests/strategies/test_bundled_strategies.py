from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from strategies_on_books import NEXO

from mmkit.commands import AnyCommand, SubmitOrder
from mmkit.errors import OffGrid
from mmkit.events import Side
from mmkit.instruments import Instrument
from mmkit.interfaces import NO_QUOTES, Level, Quotes, Strategy
from mmkit.orders import Order
from mmkit.quoter import Quoter
from mmkit.testing import BTCUSDT, build_strategy, check_strategy, market_view
from mmkit_strategies.join_best import JoinBest
from mmkit_strategies.skewed import Skewed

JOIN: dict[str, Any] = {"size": "0.01", "max_position": "0.05"}


def skewed(instrument: Instrument = BTCUSDT, **changes: Any) -> Strategy:
    config: dict[str, Any] = {**JOIN, "half_spread": "3ticks", "skew": "2ticks", **changes}
    return build_strategy(Skewed, instrument, **config)


def quotes(
    strategy: Strategy,
    bid: int | None = 599_999,
    ask: int | None = 600_001,
    position: int = 0,
    instrument: Instrument = BTCUSDT,
) -> Quotes:
    view = market_view(
        instrument,
        [(bid, 5)] if bid is not None else [],
        [(ask, 5)] if ask is not None else [],
        position=position,
    )
    answer = strategy.quote(view)
    assert isinstance(answer, Quotes)
    return answer


def one(levels: tuple[Level, ...]) -> Level | None:
    assert len(levels) <= 1
    return levels[0] if levels else None


@pytest.mark.parametrize(
    ("strategy", "config"),
    [
        (JoinBest, JOIN),
        (JoinBest, {**JOIN, "on": ["best", "trade", "fill"]}),
        (Skewed, {**JOIN, "half_spread": "1ticks", "skew": "1ticks"}),
        (Skewed, {**JOIN, "half_spread": "0ticks", "skew": "50bps", "on": ["best", "fill"]}),
        (Skewed, {**JOIN, "half_spread": "99%", "skew": "99%"}),
    ],
)
def test_a_bundled_strategy_passes_what_every_strategy_must(
    strategy: type[Strategy], config: dict[str, Any]
) -> None:
    check_strategy(strategy, **config)


# --- join_best ---


def test_join_best_quotes_both_touches() -> None:
    assert quotes(build_strategy(JoinBest, **JOIN)) == Quotes(bid=(599_999, 10), ask=(600_001, 10))


@pytest.mark.parametrize(
    ("position", "bids", "asks"),
    [(49, True, True), (50, False, True), (51, False, True), (-49, True, True), (-50, True, False)],
)
def test_join_best_adds_nothing_at_the_position_limit(
    position: int, bids: bool, asks: bool
) -> None:
    answer = quotes(build_strategy(JoinBest, **JOIN), position=position)
    assert (bool(answer.bids), bool(answer.asks)) == (bids, asks)


@pytest.mark.parametrize(
    ("bid", "ask"), [(None, 600_001), (599_999, None), (None, None), (600_001, 600_001), (9, 8)]
)
@pytest.mark.parametrize("strategy", [build_strategy(JoinBest, **JOIN), skewed()])
def test_without_two_sides_that_do_not_cross_nothing_is_quoted(
    strategy: Strategy, bid: int | None, ask: int | None
) -> None:
    assert quotes(strategy, bid, ask) == NO_QUOTES


def oracles_rule(
    orders: list[Order], bid: int, ask: int, position: int, size: int, limit: int
) -> tuple[set[int], list[tuple[Side, int, int]]]:
    """The loop of ../shared/oracle/run_hftbacktest.py: what is canceled, what is sent."""
    has_bid = has_ask = False
    cancels = set()
    for order in orders:
        if order.in_flight:  # not o.cancellable
            if order.side is Side.BUY:
                has_bid = True
            else:
                has_ask = True
        elif order.side is Side.BUY:
            if order.price == bid and position < limit:
                has_bid = True
            else:
                cancels.add(order.order_id)
        elif order.price == ask and position > -limit:
            has_ask = True
        else:
            cancels.add(order.order_id)
    submits = []
    if not has_bid and position < limit:
        submits.append((Side.BUY, bid, size))
    if not has_ask and position > -limit:
        submits.append((Side.SELL, ask, size))
    return cancels, submits


def working(order_id: int, side: Side, price: int, remaining: int, state: str) -> Order:
    order = Order(SubmitOrder(ts_local=0, order_id=order_id, side=side, price=price, quantity=10))
    order.remaining = remaining
    order.submitting, order.canceling = state == "submitting", state == "canceling"
    return order


# One order a side at most is ever there, plus one on its way out.
there = st.tuples(
    *(
        st.none()
        | st.tuples(
            st.just(side),
            st.integers(-2, 2),
            st.integers(1, 10),
            st.sampled_from(("resting", "submitting", "canceling")),
        )
        for side in Side
    )
)


@given(there=there, spread=st.integers(1, 5), position=st.integers(-60, 60))
def test_join_best_is_the_oracles_rule(
    there: tuple[tuple[Side, int, int, str] | None, ...], spread: int, position: int
) -> None:
    bid, ask = 600_000, 600_000 + spread
    orders = [
        working(number, side, (bid if side is Side.BUY else ask) + away, remaining, state)
        for number, (side, away, remaining, state) in enumerate(filter(None, there), 1)
    ]
    wanted = quotes(build_strategy(JoinBest, **JOIN), bid, ask, position)
    commands: list[AnyCommand] = Quoter().towards(wanted, orders, position, (bid, ask), 0)
    submits = [command for command in commands if isinstance(command, SubmitOrder)]
    canceled = {c.order_id for c in commands if not isinstance(c, SubmitOrder)}
    assert (canceled, [(c.side, c.price, c.quantity) for c in submits]) == oracles_rule(
        orders, bid, ask, position, size=10, limit=50
    )


# --- skewed ---


def test_skewed_by_hand() -> None:
    # Mid 600,000; 20 lots are two sizes, and each moves the center down by 2 ticks.
    assert quotes(skewed()) == Quotes(bid=(599_997, 10), ask=(600_003, 10))
    assert quotes(skewed(), position=20) == Quotes(bid=(599_993, 10), ask=(600_000, 10))
    assert quotes(skewed(half_spread="9ticks"), position=20) == Quotes(
        bid=(599_987, 10), ask=(600_005, 10)
    )
    assert quotes(skewed(half_spread="9ticks"), position=-20) == Quotes(
        bid=(599_995, 10), ask=(600_013, 10)
    )


units = st.sampled_from(["ticks", "bps", "%", ""])
distances = st.builds(lambda amount, unit: f"{amount}{unit}", st.integers(0, 50), units)
tops = st.tuples(st.integers(1, 1_000_000), st.integers(1, 40))


@given(
    top=tops,
    position=st.integers(-200, 200),
    half_spread=distances,
    skew=distances,
    instrument=st.sampled_from((BTCUSDT, NEXO)),
)
def test_skewed_never_crosses_the_book_nor_itself(
    top: tuple[int, int], position: int, half_spread: str, skew: str, instrument: Instrument
) -> None:
    bid, ask = top[0], sum(top)
    strategy = skewed(
        instrument, half_spread=half_spread, skew=skew, size="0.1", max_position="100"
    )
    answer = quotes(strategy, bid, ask, position, instrument)
    own_bid, own_ask = one(answer.bids), one(answer.asks)
    if own_bid is not None:
        assert 0 < own_bid[0] < ask
    if own_ask is not None:
        assert own_ask[0] > bid
    if own_bid is not None and own_ask is not None:
        assert own_bid[0] < own_ask[0]
    # The quoter takes it.
    Quoter().towards(answer, [], position, (bid, ask), 0)


@given(top=tops, half_spread=distances)
def test_skewed_is_symmetric_around_mid_when_flat(top: tuple[int, int], half_spread: str) -> None:
    bid, ask = top[0] + 600_000, sum(top) + 600_000
    answer = quotes(skewed(half_spread=half_spread), bid, ask)
    own_bid, own_ask = one(answer.bids), one(answer.asks)
    assert own_ask is not None
    assert own_bid is not None
    assert own_bid[0] + own_ask[0] == bid + ask


@given(
    top=tops,
    half_spread=st.integers(1, 300),
    skew=st.integers(1, 50),
    less=st.integers(-49, 49),
    more=st.integers(-49, 49),
)
def test_a_longer_position_never_raises_a_quote_of_skewed(
    top: tuple[int, int], half_spread: int, skew: int, less: int, more: int
) -> None:
    less, more = sorted((less, more))
    strategy = skewed(half_spread=f"{half_spread}ticks", skew=f"{skew}ticks")
    bid, ask = top[0] + 600_000, sum(top) + 600_000
    short, long = (quotes(strategy, bid, ask, position) for position in (less, more))
    assert long.bids <= short.bids
    assert long.asks <= short.asks


@given(top=tops, half_spread=st.fractions(1, 300), position=st.integers(-49, 49))
def test_a_quote_of_skewed_is_never_closer_to_the_center_than_asked_for(
    top: tuple[int, int], half_spread: Fraction, position: int
) -> None:
    away = round(float(half_spread), 6)
    bid, ask = top[0] + 600_000, sum(top) + 600_000
    answer = quotes(skewed(half_spread=f"{away}ticks"), bid, ask, position)
    center = Fraction(bid + ask, 2) - Fraction(2 * position, 10)
    own_bid, own_ask = one(answer.bids), one(answer.asks)
    assert own_bid is not None
    assert own_ask is not None
    assert own_bid[0] <= center - Fraction(away) + Fraction(1, 10**6)
    assert own_ask[0] >= center + Fraction(away) - Fraction(1, 10**6)


@pytest.mark.parametrize("half_spread", ["0ticks", "0bps", "0.000000001ticks", "0"])
@pytest.mark.parametrize("position", [0, 5, 10])
def test_skewed_without_a_spread_of_its_own_still_quotes_two_prices(
    half_spread: str, position: int
) -> None:
    answer = quotes(skewed(half_spread=half_spread), 599_990, 600_010, position)
    own_bid, own_ask = one(answer.bids), one(answer.asks)
    assert own_bid is not None
    assert own_ask is not None
    assert 1 <= own_ask[0] - own_bid[0] <= 2


@pytest.mark.parametrize(("position", "bids", "asks"), [(50, False, True), (-50, True, False)])
def test_skewed_adds_nothing_at_the_position_limit(position: int, bids: bool, asks: bool) -> None:
    answer = quotes(skewed(), position=position)
    assert (bool(answer.bids), bool(answer.asks)) == (bids, asks)


def test_skewed_quotes_no_bid_where_there_is_no_price_left() -> None:
    answer = quotes(skewed(half_spread="200%"), 5, 7)
    assert (answer.bids, answer.asks) == ((), ((18, 10),))


# --- what cannot be configured ---


@pytest.mark.parametrize(
    "bad",
    [
        {"size": "0"},
        {"size": "-0.01"},
        {"size": 0.01},
        {"size": "NaN"},
        {"max_position": "0"},
        {"half_spread": "-1ticks"},
        {"half_spread": 5},
        {"half_spread": "wide"},
        {"every": 100},
        {"every": "0s"},
        {"on": ["tick"]},
        {"sise": "0.01"},
    ],
)
def test_what_makes_no_sense_is_refused_when_the_strategy_is_built(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        skewed(**bad)


@pytest.mark.parametrize("strategy", [JoinBest, Skewed])
@pytest.mark.parametrize("key", ["size", "max_position"])
def test_a_size_off_the_lot_is_refused(strategy: type[Strategy], key: str) -> None:
    config: dict[str, Any] = {**JOIN, key: "0.0105"}
    if strategy is Skewed:
        config["half_spread"] = "1ticks"
    with pytest.raises(OffGrid, match=r"quantity 0\.0105 is not a multiple of the lot 0\.001"):
        build_strategy(strategy, **config)
