from __future__ import annotations

import pytest
from core_rows import ask, bid, bought, gap, row, sold
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.commands import SubmitOrder, TimeInForce
from mmkit.events import SELF_TRADE, Liquidity, Side
from mmkit.sim.exchange import Arrival, Fill, SimExchange
from mmkit.sim.queue import Log, Power, QueueModel, RiskAverse
from mmkit.tape import LAST, SELL, Kind, Row
from mmkit.testing import random_tape, snapshot_rows

BIDS = [(100, 50), (99, 40), (98, 30)]
ASKS = [(102, 20), (103, 30), (105, 10)]
REJECTED_UNKNOWN = "the book is unknown at this moment, so nothing can be matched"
RESTS = Arrival([], None, resting=True)


def exchange(*, partial: bool = True, queue: QueueModel | None = None) -> SimExchange:
    made = SimExchange(queue or RiskAverse(), partial_fills=partial)
    feed(made, *snapshot_rows(BIDS, ASKS))
    return made


def feed(exchange: SimExchange, *rows: Row) -> list[Fill]:
    return [fill for row in rows for fill in exchange.on_row(row)]


def order(
    order_id: int,
    side: Side,
    price: int,
    quantity: int = 10,
    time_in_force: TimeInForce = TimeInForce.POST_ONLY,
) -> SubmitOrder:
    return SubmitOrder(
        ts_local=0,
        order_id=order_id,
        side=side,
        price=price,
        quantity=quantity,
        time_in_force=time_in_force,
    )


def buy(order_id: int, price: int, quantity: int = 10) -> SubmitOrder:
    return order(order_id, Side.BUY, price, quantity)


def sell(order_id: int, price: int, quantity: int = 10) -> SubmitOrder:
    return order(order_id, Side.SELL, price, quantity)


def made(order_id: int, side: Side, price: int, quantity: int, remaining: int) -> Fill:
    return Fill(order_id, side, price, quantity, remaining, Liquidity.MAKER)


def took(order_id: int, side: Side, price: int, quantity: int, remaining: int) -> Fill:
    return Fill(order_id, side, price, quantity, remaining, Liquidity.TAKER)


whole_or_partial = pytest.mark.parametrize("partial", [True, False])

# --- rule 1: a trade at a worse price ---


@whole_or_partial
def test_a_trade_at_a_worse_price_fills_the_whole_order_at_its_own(partial: bool) -> None:
    venue = exchange(partial=partial)
    assert venue.arrive(buy(1, 100), 5) == venue.arrive(sell(2, 102), 5) == RESTS
    assert feed(venue, sold(99, 1, 5)) == [made(1, Side.BUY, 100, 10, 0)]
    assert feed(venue, bought(103, 1, 5)) == [made(2, Side.SELL, 102, 10, 0)]
    assert feed(venue, sold(98, 99, 6), bought(105, 99, 6)) == []


def test_a_trade_at_a_better_price_fills_nobody() -> None:
    venue = exchange()
    venue.arrive(buy(1, 99), 0)
    venue.arrive(sell(2, 103), 0)
    assert feed(venue, sold(100, 999, 5), bought(102, 999, 5)) == []


def test_an_aggressor_of_our_own_side_fills_nobody() -> None:
    venue = exchange()
    venue.arrive(buy(1, 100), 0)
    venue.arrive(sell(2, 102), 0)
    assert feed(venue, bought(100, 999, 5), bought(99, 999, 5)) == []
    assert feed(venue, sold(102, 999, 5), sold(103, 999, 5)) == []


# --- rule 2: a trade at the price ---


@whole_or_partial
def test_a_trade_at_the_price_fills_once_everything_ahead_has_traded(partial: bool) -> None:
    venue = exchange(partial=partial)
    venue.arrive(buy(1, 100), 0)
    assert feed(venue, sold(100, 30, 5), sold(100, 20, 5)) == []
    assert feed(venue, sold(100, 4, 5)) == [
        made(1, Side.BUY, 100, 4, 6) if partial else made(1, Side.BUY, 100, 10, 0)
    ]


def test_with_partial_fills_no_more_trades_than_came_through() -> None:
    venue = exchange()
    venue.arrive(sell(1, 102), 0)
    assert feed(venue, bought(102, 23, 5)) == [made(1, Side.SELL, 102, 3, 7)]
    assert feed(venue, bought(102, 5, 5)) == [made(1, Side.SELL, 102, 5, 2)]
    assert feed(venue, bought(102, 500, 5)) == [made(1, Side.SELL, 102, 2, 0)]
    assert feed(venue, bought(102, 500, 5)) == []


def test_inside_the_spread_there_is_nobody_ahead() -> None:
    venue = exchange()
    venue.arrive(buy(1, 101), 0)
    assert feed(venue, sold(101, 3, 5)) == [made(1, Side.BUY, 101, 3, 7)]


def test_a_total_that_shrinks_moves_us_up_as_the_queue_model_says() -> None:
    averse, hopeful = exchange(), exchange(queue=Power(2.0))
    for venue in (averse, hopeful):
        venue.arrive(buy(1, 100), 0)
        feed(venue, bid(100, 70, 1), bid(100, 30, 2), bid(100, 20, 3))
    assert feed(averse, sold(100, 21, 5)) == [made(1, Side.BUY, 100, 1, 9)]
    assert feed(hopeful, sold(100, 21, 5))[0].quantity > 1


# --- rule 3: the market moves through the price ---


@whole_or_partial
@pytest.mark.parametrize("at", [101, 100, 99])
def test_a_level_of_the_other_side_at_or_through_the_price_fills_the_order(
    at: int, partial: bool
) -> None:
    venue = exchange(partial=partial)
    venue.arrive(buy(1, 101), 0)
    assert feed(venue, ask(at, 1, 5)) == [made(1, Side.BUY, 101, 10, 0)]
    venue = exchange(partial=partial)
    venue.arrive(sell(1, 101), 0)
    assert feed(venue, bid(202 - at, 1, 5)) == [made(1, Side.SELL, 101, 10, 0)]


def test_a_level_that_stays_short_of_the_price_or_goes_away_fills_nobody() -> None:
    venue = exchange()
    venue.arrive(buy(1, 100), 0)
    venue.arrive(sell(2, 102), 0)
    assert feed(venue, ask(101, 9, 5), bid(101, 0, 5), ask(100, 0, 5), bid(102, 0, 5)) == []


def test_a_level_that_passes_several_orders_fills_them_all() -> None:
    venue = exchange()
    for number, price in ((1, 100), (2, 99), (3, 98)):
        venue.arrive(buy(number, price), 0)
    assert sorted(feed(venue, ask(99, 1, 5))) == [
        made(1, Side.BUY, 100, 10, 0),
        made(2, Side.BUY, 99, 10, 0),
    ]
    assert feed(venue, ask(98, 1, 5)) == [made(3, Side.BUY, 98, 10, 0)]


# --- what fills nobody ---


def test_a_row_that_is_older_than_the_order_cannot_fill_it() -> None:
    venue = exchange()
    venue.arrive(buy(1, 101), 10)
    assert feed(venue, sold(99, 9, 9), sold(101, 999, 9), ask(101, 1, 9)) == []
    assert feed(venue, sold(99, 9, 10)) == [made(1, Side.BUY, 101, 10, 0)]


def test_a_late_trade_moves_nobody_up() -> None:
    venue = exchange()
    venue.arrive(buy(1, 100), 10)
    assert feed(venue, sold(100, 50, 9), sold(100, 50, 10)) == []
    assert feed(venue, sold(100, 1, 10)) == [made(1, Side.BUY, 100, 1, 9)]


@pytest.mark.parametrize("kind", [Kind.OFF_BOOK, Kind.BEST, Kind.MARK, Kind.FUNDING])
@pytest.mark.parametrize("side", [0, SELL])
@pytest.mark.parametrize("price", [90, 101, 110])
def test_a_print_that_did_not_meet_the_book_fills_nobody(kind: Kind, side: int, price: int) -> None:
    venue = exchange()
    venue.arrive(buy(1, 101), 0)
    assert feed(venue, row(kind | side, price, 999, 5)) == []
    assert venue.book.best_ask == 102


# --- two of our own at one price ---


def test_of_two_own_orders_at_one_price_the_earlier_is_filled_first() -> None:
    venue = exchange()
    venue.arrive(buy(1, 101, 5), 0)
    venue.arrive(buy(2, 101, 5), 1)
    assert feed(venue, sold(101, 3, 5)) == [made(1, Side.BUY, 101, 3, 2)]
    assert feed(venue, sold(101, 4, 5)) == [
        made(1, Side.BUY, 101, 2, 0),
        made(2, Side.BUY, 101, 2, 3),
    ]
    assert feed(venue, sold(101, 9, 5)) == [made(2, Side.BUY, 101, 3, 0)]


def test_what_filled_the_earlier_order_does_not_move_the_later_one_up() -> None:
    venue = exchange()
    venue.arrive(buy(1, 101, 5), 0)
    feed(venue, bid(101, 10, 1))  # strangers join behind the first
    venue.arrive(buy(2, 101, 5), 2)
    # 12 trade: 5 are the first's, 7 of the strangers'. 3 strangers are ahead of the second yet.
    assert feed(venue, sold(101, 12, 5)) == [made(1, Side.BUY, 101, 5, 0)]
    assert feed(venue, sold(101, 3, 5)) == []
    assert feed(venue, sold(101, 2, 5)) == [made(2, Side.BUY, 101, 2, 3)]


def test_without_partial_fills_the_earlier_order_uses_up_what_it_needed() -> None:
    venue = exchange(partial=False)
    venue.arrive(buy(1, 101, 5), 0)
    venue.arrive(buy(2, 101, 5), 1)
    assert feed(venue, sold(101, 1, 5)) == [made(1, Side.BUY, 101, 5, 0)]
    assert feed(venue, sold(101, 1, 5)) == [made(2, Side.BUY, 101, 5, 0)]


@given(
    first=st.integers(1, 9),
    second=st.integers(1, 9),
    strangers=st.integers(0, 20),
    trades=st.lists(st.integers(1, 12), max_size=12),
)
def test_at_one_price_nobody_gains_or_loses_a_lot(
    first: int, second: int, strangers: int, trades: list[int]
) -> None:
    """Ours, then strangers, then ours: everything that trades goes to the first in the line."""
    venue = exchange()
    venue.arrive(buy(1, 101, first), 0)
    feed(venue, bid(101, strangers, 1))
    venue.arrive(buy(2, 101, second), 2)
    got = {1: 0, 2: 0}
    for quantity in trades:
        for fill in feed(venue, sold(101, quantity, 5)):
            got[fill.order_id] += fill.quantity
    total = sum(trades)
    assert got == {1: min(first, total), 2: max(0, min(second, total - first - strangers))}


# --- arriving ---


@pytest.mark.parametrize("price", [102, 103, 999])
def test_a_post_only_buy_that_would_take_is_rejected(price: int) -> None:
    venue = exchange()
    refused = Arrival([], "post-only order would have taken", resting=False)
    assert venue.arrive(buy(1, price), 0) == refused
    assert venue.arrive(sell(2, 202 - price), 0) == refused
    assert feed(venue, sold(1, 99, 5), bought(999, 99, 5)) == []


def taking(side: Side, price: int, quantity: int, force: TimeInForce) -> SubmitOrder:
    return order(1, side, price, quantity, force)


@pytest.mark.parametrize(
    ("side", "price", "quantity", "fills"),
    [
        (Side.BUY, 102, 5, [(102, 5, 0)]),
        (Side.BUY, 102, 20, [(102, 20, 0)]),
        (Side.BUY, 102, 25, [(102, 20, 5)]),
        (Side.BUY, 103, 50, [(102, 20, 30), (103, 30, 0)]),
        (Side.BUY, 104, 60, [(102, 20, 40), (103, 30, 10)]),
        (Side.BUY, 999, 99, [(102, 20, 79), (103, 30, 49), (105, 10, 39)]),
        (Side.SELL, 100, 55, [(100, 50, 5)]),
        (Side.SELL, 99, 55, [(100, 50, 5), (99, 5, 0)]),
        (Side.BUY, 101, 5, []),
        (Side.SELL, 101, 5, []),
    ],
)
@pytest.mark.parametrize("force", [TimeInForce.IOC, TimeInForce.GTC])
def test_a_taking_order_trades_level_by_level_no_further_than_its_price(
    side: Side, price: int, quantity: int, fills: list[tuple[int, int, int]], force: TimeInForce
) -> None:
    remaining = fills[-1][2] if fills else quantity
    rests = bool(remaining) and force is TimeInForce.GTC
    assert exchange().arrive(taking(side, price, quantity, force), 0) == Arrival(
        [took(1, side, at, taken, left) for at, taken, left in fills], None, resting=rests
    )


@pytest.mark.parametrize("force", [TimeInForce.IOC, TimeInForce.GTC])
def test_without_partial_fills_all_of_a_taking_order_trades_at_the_best_price(
    force: TimeInForce,
) -> None:
    arrival = exchange(partial=False).arrive(taking(Side.BUY, 103, 60, force), 0)
    assert arrival == Arrival([took(1, Side.BUY, 102, 60, 0)], None, resting=False)


def test_what_is_taken_is_still_there_afterwards() -> None:
    venue = exchange()
    levels = dict(venue.book.asks.levels)
    venue.arrive(taking(Side.BUY, 103, 60, TimeInForce.IOC), 0)
    assert venue.book.asks.levels == levels


def test_the_rest_of_a_gtc_order_rests_at_its_price_and_is_a_maker_from_then_on() -> None:
    venue = exchange()
    venue.arrive(taking(Side.BUY, 102, 25, TimeInForce.GTC), 0)
    assert feed(venue, sold(102, 3, 5)) == [made(1, Side.BUY, 102, 3, 2)]
    assert venue.cancel(1)


def test_nothing_of_an_ioc_order_stays() -> None:
    venue = exchange()
    venue.arrive(taking(Side.BUY, 102, 25, TimeInForce.IOC), 0)
    assert not venue.cancel(1)
    assert feed(venue, sold(1, 99, 5)) == []


def test_a_canceled_order_is_gone_and_only_once() -> None:
    venue = exchange()
    venue.arrive(buy(1, 100), 0)
    venue.arrive(buy(2, 100), 0)
    assert [venue.cancel(1), venue.cancel(1), venue.cancel(7)] == [True, False, False]
    assert feed(venue, sold(99, 1, 5)) == [made(2, Side.BUY, 100, 10, 0)]
    assert not venue.cancel(2)


def test_on_an_empty_side_a_post_only_order_rests_and_a_taking_one_takes_nothing() -> None:
    venue = SimExchange(RiskAverse(), partial_fills=True)
    feed(venue, *snapshot_rows([(100, 1)], []))
    assert venue.arrive(buy(1, 500), 0) == RESTS
    assert venue.arrive(order(2, Side.BUY, 500, 5, TimeInForce.IOC), 0) == Arrival(
        [], None, resting=False
    )


# --- our own on the other side ---


@pytest.mark.parametrize("force", TimeInForce)
@pytest.mark.parametrize("beyond", [0, 1, 400])
def test_an_order_that_would_trade_with_our_own_is_rejected_whatever_its_time_in_force(
    force: TimeInForce, beyond: int
) -> None:
    venue = exchange()
    venue.arrive(sell(1, 101), 0)
    refused = Arrival([], SELF_TRADE, resting=False)
    if beyond and force is TimeInForce.POST_ONLY:
        refused = Arrival([], "post-only order would have taken", resting=False)
    assert venue.arrive(order(2, Side.BUY, 101 + beyond, 5, force), 0) == refused
    venue = exchange()
    venue.arrive(buy(1, 101), 0)
    assert venue.arrive(order(2, Side.SELL, 101 - min(beyond, 100), 5, force), 0) == refused
    # The one that was there first is not touched.
    assert feed(venue, sold(101, 3, 5)) == [made(1, Side.BUY, 101, 3, 7)]


def test_an_order_that_stays_short_of_our_own_rests() -> None:
    venue = exchange()
    assert venue.arrive(sell(1, 102), 0) == venue.arrive(buy(2, 101), 0) == RESTS
    assert venue.arrive(sell(3, 101), 0) == Arrival([], SELF_TRADE, resting=False)


def test_our_own_that_is_canceled_or_filled_is_in_nobodys_way() -> None:
    venue = exchange()
    venue.arrive(sell(1, 101), 0)
    venue.cancel(1)
    assert venue.arrive(buy(2, 101), 0) == RESTS
    feed(venue, sold(101, 99, 5))
    assert venue.arrive(sell(3, 101), 6) == RESTS


@given(
    orders=st.lists(
        st.tuples(
            st.sampled_from(Side),
            st.integers(97, 106),
            st.integers(1, 60),
            st.sampled_from(TimeInForce),
        ),
        max_size=25,
    )
)
def test_our_own_orders_never_cross(orders: list[tuple[Side, int, int, TimeInForce]]) -> None:
    venue = exchange()
    resting: dict[Side, list[int]] = {Side.BUY: [], Side.SELL: []}
    for number, (side, price, lots, force) in enumerate(orders):
        arrival = venue.arrive(order(number, side, price, lots, force), 0)
        crosses = any((price - other) * side.sign >= 0 for other in resting[opposite(side)])
        if crosses:
            assert arrival.rejected is not None
        if arrival.resting:
            resting[side].append(price)
    assert max(resting[Side.BUY], default=0) < min(resting[Side.SELL], default=999)


def opposite(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY


# --- gaps and snapshots while orders rest ---


@pytest.mark.parametrize("force", TimeInForce)
def test_nothing_is_matched_while_the_book_is_unknown(force: TimeInForce) -> None:
    fresh = SimExchange(RiskAverse(), partial_fills=True)
    broken = exchange()
    feed(broken, gap(3))
    for venue in (fresh, broken):
        assert venue.arrive(order(1, Side.BUY, 100, 5, force), 4) == Arrival(
            [], REJECTED_UNKNOWN, resting=False
        )


def test_an_order_outlives_a_gap_and_its_trades_still_fill_it() -> None:
    venue = exchange()
    venue.arrive(buy(1, 100), 0)
    assert feed(venue, gap(3)) == []
    assert feed(venue, sold(100, 49, 4), sold(100, 3, 5)) == [made(1, Side.BUY, 100, 2, 8)]
    assert feed(venue, *snapshot_rows([(99, 5)], [(100, 5)], 6, 6)) == [
        made(1, Side.BUY, 100, 8, 0)
    ]


def test_an_order_can_be_canceled_in_a_gap() -> None:
    venue = exchange()
    venue.arrive(buy(1, 100), 0)
    feed(venue, gap(3))
    assert venue.cancel(1)


def test_a_snapshot_caps_what_is_ahead() -> None:
    venue = exchange()
    venue.arrive(buy(1, 100), 0)
    assert feed(venue, *snapshot_rows([(100, 8)], [(102, 1)], 3, 3)) == []
    assert feed(venue, sold(100, 9, 5)) == [made(1, Side.BUY, 100, 1, 9)]


@pytest.mark.parametrize("queue", [RiskAverse(), Power(2.0), Log()], ids=["averse", "power", "log"])
@pytest.mark.parametrize("first", [99, 98, 97])
def test_a_snapshot_moves_us_up_exactly_as_an_update_with_the_same_totals(
    queue: QueueModel, first: int
) -> None:
    """A partial depth stream tells the whole book each time; that is no other queue."""
    told, updated = exchange(queue=queue), exchange(queue=queue)
    for venue in (told, updated):
        venue.arrive(buy(1, 100, 30), 0)
        venue.arrive(sell(2, 102, 30), 0)
        feed(venue, bid(100, 90, 1), ask(102, 60, 1))
    # Whatever level the snapshot begins with.
    bids = [(first, 7), (100, 45)]
    feed(told, *snapshot_rows(bids, [(103, 9), (102, 25)], 2, 2))
    feed(updated, bid(first, 7, 2), bid(100, 45, 2), ask(103, 9, 2), ask(102, 25, 2))
    for quantity in (10, 15, 20, 25):
        assert feed(told, sold(100, quantity, 5)) == feed(updated, sold(100, quantity, 5))
        assert feed(told, bought(102, quantity, 5)) == feed(updated, bought(102, quantity, 5))


@pytest.mark.parametrize("queue", [RiskAverse(), Power(2.0), Log()], ids=["averse", "power", "log"])
def test_a_level_that_a_snapshot_passes_over_is_empty(queue: QueueModel) -> None:
    told, updated = exchange(queue=queue), exchange(queue=queue)
    for venue in (told, updated):
        venue.arrive(buy(1, 99, 30), 0)
        venue.arrive(sell(2, 103, 30), 0)
    feed(told, *snapshot_rows([(100, 50), (98, 30)], [(102, 20), (105, 10)], 2, 2))
    feed(updated, bid(99, 0, 2), ask(103, 0, 2))
    for venue in (told, updated):
        feed(venue, bid(99, 20, 3), bid(99, 10, 4), ask(103, 20, 3))
        assert feed(venue, sold(99, 4, 5)) == [made(1, Side.BUY, 99, 4, 26)]
        assert feed(venue, bought(103, 4, 5)) == [made(2, Side.SELL, 103, 4, 26)]


def test_beyond_the_last_level_of_a_snapshot_the_queue_stays_as_it_was() -> None:
    venue = exchange()
    venue.arrive(buy(1, 98, 30), 0)
    venue.arrive(sell(2, 105, 30), 0)
    feed(venue, *snapshot_rows([(100, 50), (99, 30)], [], 2, 2))
    assert feed(venue, sold(98, 30, 5), bought(105, 10, 5)) == []
    assert feed(venue, sold(98, 1, 5), bought(105, 1, 5)) == [
        made(1, Side.BUY, 98, 1, 29),
        made(2, Side.SELL, 105, 1, 29),
    ]


def test_after_a_snapshot_of_one_row_updates_are_compared_with_an_empty_book() -> None:
    venue = exchange(queue=Power(2.0))
    venue.arrive(buy(1, 99, 30), 0)
    feed(venue, (2, 2, Kind.SNAPSHOT | LAST, 0, 0), bid(99, 39, 3))
    # Compared with the 40 of before, one would have left, and most likely from ahead.
    assert feed(venue, sold(99, 39, 5)) == []
    assert feed(venue, sold(99, 1, 5)) == [made(1, Side.BUY, 99, 1, 29)]


# --- nothing appears and nothing is lost ---

prices = st.integers(95, 106)
quantities = st.integers(1, 25)
market = st.one_of(
    st.tuples(st.just("level"), st.sampled_from((0, SELL)), prices, st.integers(0, 25)),
    st.tuples(st.just("trade"), st.sampled_from((0, SELL)), prices, quantities),
    st.tuples(st.just("submit"), st.sampled_from(Side), prices, quantities),
    st.tuples(st.just("cancel"), st.just(0), st.integers(1, 15), st.just(0)),
    st.tuples(st.just("gap"), st.just(0), st.just(0), st.just(0)),
    st.tuples(st.just("snapshot"), st.just(0), st.integers(98, 102), quantities),
)


class Ledger:
    """What each order still has, told from the answers alone."""

    def __init__(self) -> None:
        self.orders: dict[int, SubmitOrder] = {}
        self.open: dict[int, int] = {}

    def took(self, order: SubmitOrder, arrival: Arrival) -> None:
        self.orders[order.order_id] = order
        self.open[order.order_id] = order.quantity
        self.filled(arrival.fills)
        if not arrival.resting:
            self.open.pop(order.order_id, None)
        else:
            assert self.open[order.order_id] > 0

    def filled(self, fills: list[Fill]) -> None:
        for fill in fills:
            order = self.orders[fill.order_id]
            assert fill.quantity > 0
            assert self.open[fill.order_id] - fill.quantity == fill.remaining >= 0
            assert fill.side is order.side
            if fill.liquidity is Liquidity.MAKER:
                assert fill.price == order.price
            else:
                assert (order.price - fill.price) * order.side.sign >= 0
            self.open[fill.order_id] = fill.remaining
            if not fill.remaining:
                del self.open[fill.order_id]


@settings(max_examples=200)
@given(
    steps=st.lists(market, max_size=60),
    partial=st.booleans(),
    queue=st.sampled_from((RiskAverse(), Power(2.0), Log())),
    force=st.sampled_from(TimeInForce),
)
def test_filled_and_remaining_always_add_up_to_the_quantity(
    steps: list[tuple[str, object, int, int]],
    partial: bool,
    queue: QueueModel,
    force: TimeInForce,
) -> None:
    venue, ledger = exchange(partial=partial, queue=queue), Ledger()
    for at, (what, side, price, quantity) in enumerate(steps):
        if what == "submit":
            assert isinstance(side, Side)
            new = order(len(ledger.orders) + 1, side, price, quantity, force)
            ledger.took(new, venue.arrive(new, at))
        elif what == "cancel":
            assert venue.cancel(price) == (price in ledger.open)
            ledger.open.pop(price, None)
        elif what == "gap":
            ledger.filled(feed(venue, gap(at)))
        elif what == "snapshot":
            whole = snapshot_rows([(price - 1, quantity)], [(price + 1, quantity)], at, at)
            ledger.filled(feed(venue, *whole))
        else:
            kind = Kind.LEVEL if what == "level" else Kind.TRADE
            assert isinstance(side, int)
            ledger.filled(feed(venue, row(kind | side, price, quantity, at)))
    assert {number: venue.cancel(number) for number in ledger.orders} == {
        number: number in ledger.open for number in ledger.orders
    }


@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_on_a_random_market_every_lot_is_accounted_for(seed: int, partial: bool) -> None:
    tape = random_tape(seed, messages=600)
    venue, ledger = SimExchange(Power(2.0), partial_fills=partial), Ledger()
    number = 0
    for at in tape.rows(tape.exchange_order()):
        ledger.filled(venue.on_row(at))
        if at[2] & LAST and venue.book.known:
            for side, touch in ((Side.BUY, venue.book.best_bid), (Side.SELL, venue.book.best_ask)):
                if touch is not None and len(ledger.open) < 12:
                    number += 1
                    force = list(TimeInForce)[number % 3]
                    new = order(number, side, touch + number % 5 - 2, 1 + number % 40, force)
                    ledger.took(new, venue.arrive(new, at[0]))
    assert number > 50
    assert all(venue.cancel(open_id) for open_id in ledger.open)
