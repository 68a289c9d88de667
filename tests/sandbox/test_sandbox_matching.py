"""The matching book against a slow and obvious one, and what must always hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.events import Liquidity, Side
from mmkit_sandbox.matching import Change, MatchingBook, Report, ReportKind, TimeInForce

BUY, SELL = Side.BUY, Side.SELL
GTC, IOC, POST_ONLY = TimeInForce.GTC, TimeInForce.IOC, TimeInForce.POST_ONLY


@dataclass
class Resting:
    order_id: int
    side: Side
    price: int
    remaining: int


class ObviousBook:
    """Searches all orders for the best one, every time."""

    def __init__(self) -> None:
        self.orders: list[Resting] = []
        self.trades: list[tuple[int, int, int, int]] = []

    def submit(
        self, order_id: int, side: Side, price: int | None, quantity: int, tif: TimeInForce
    ) -> None:
        def candidates() -> list[Resting]:
            return [
                order
                for order in self.orders
                if order.side is not side
                and (price is None or (price - order.price) * side.sign >= 0)
            ]

        if tif is POST_ONLY and candidates():
            return
        while quantity and (found := candidates()):
            best = min(found, key=lambda order: (order.price * side.sign, order.order_id))
            traded = min(quantity, best.remaining)
            self.trades.append((order_id, best.order_id, best.price, traded))
            quantity -= traded
            best.remaining -= traded
            self.orders = [order for order in self.orders if order.remaining]
        if quantity and tif is not IOC:
            assert price is not None
            self.orders.append(Resting(order_id, side, price, quantity))

    def cancel(self, order_id: int) -> None:
        self.orders = [order for order in self.orders if order.order_id != order_id]

    def levels(self, side: Side) -> list[tuple[int, int]]:
        totals: dict[int, int] = {}
        for order in self.orders:
            if order.side is side:
                totals[order.price] = totals.get(order.price, 0) + order.remaining
        return sorted(totals.items(), reverse=side is BUY)


submits = st.tuples(
    st.just("submit"),
    st.sampled_from([BUY, SELL]),
    st.integers(95, 105) | st.none(),
    st.integers(1, 9),
    st.sampled_from([GTC, IOC, POST_ONLY]),
)
cancels = st.tuples(st.just("cancel"), st.integers(1, 60))
sequences = st.lists(submits | submits | cancels, max_size=60)


def play(book: MatchingBook, action: Any, owner: str = "me") -> int:
    if action[0] == "cancel":
        return book.cancel(action[1], 0)
    _, side, price, quantity, tif = action
    tif = IOC if price is None else tif
    return book.submit(owner, side, price, quantity, 0, time_in_force=tif)


@given(sequences)
@settings(max_examples=150, deadline=None)
def test_orders_trade_by_price_and_then_by_time(sequence: list[Any]) -> None:
    book, obvious = MatchingBook(), ObviousBook()
    reports: list[Report] = []
    book.listen("me", reports.append)
    for action in sequence:
        order_id = play(book, action)
        if action[0] == "cancel":
            obvious.cancel(action[1])
        else:
            _, side, price, quantity, tif = action
            obvious.submit(order_id, side, price, quantity, IOC if price is None else tif)
        for side in Side:
            assert list(book.levels(side)) == obvious.levels(side)
    fills = [report for report in reports if report.kind is ReportKind.FILLED]
    pairs = zip(fills[::2], fills[1::2], strict=True)
    assert [
        (taker.order_id, maker.order_id, maker.price, maker.quantity) for maker, taker in pairs
    ] == obvious.trades


@given(sequences)
@settings(max_examples=150, deadline=None)
def test_every_lot_is_filled_canceled_expired_rejected_or_still_there(sequence: list[Any]) -> None:
    book = MatchingBook()
    gone: dict[int, int] = {}
    submitted: dict[int, int] = {}

    def heard(report: Report) -> None:
        if report.kind is not ReportKind.ACCEPTED:
            gone[report.order_id] = gone.get(report.order_id, 0) + report.quantity

    book.listen("me", heard)
    for action in sequence:
        order_id = play(book, action)
        if action[0] == "submit":
            submitted[order_id] = action[3]
    for order_id, quantity in submitted.items():
        order = book.order(order_id)
        assert gone.get(order_id, 0) + (order.remaining if order else 0) == quantity
    resting = sum(order.remaining for order in book.open_orders("me"))
    assert resting == sum(total for side in Side for _, total in book.levels(side))


@given(sequences)
@settings(max_examples=150, deadline=None)
def test_the_book_is_never_crossed_and_its_changes_tell_all_of_it(sequence: list[Any]) -> None:
    book = MatchingBook()
    told: dict[tuple[Side, int], int] = {}
    for action in sequence:
        play(book, action)
        bid, ask = book.best(BUY), book.best(SELL)
        assert bid is None or ask is None or bid < ask
        for change in book.take_changes():
            told[change.side, change.price] = change.total
            assert change.total >= 0
    left = {key: total for key, total in told.items() if total}
    assert left == {(side, price): total for side in Side for price, total in book.levels(side)}


def test_a_taker_gets_the_price_of_the_order_that_rested() -> None:
    book = MatchingBook()
    heard: list[Report] = []
    book.listen("taker", heard.append)
    book.submit("maker", SELL, 100, 5, 1)
    book.submit("taker", BUY, 103, 2, 2)
    assert [(trade.price, trade.quantity, trade.aggressor) for trade in book.take_trades()] == [
        (100, 2, BUY)
    ]
    assert heard == [
        Report(2, ReportKind.ACCEPTED, "taker", 2, BUY, 103, 2, 2),
        Report(2, ReportKind.FILLED, "taker", 2, BUY, 100, 2, 0, 1, Liquidity.TAKER),
    ]


def test_the_first_of_two_orders_at_a_price_is_filled_first() -> None:
    book = MatchingBook()
    heard: list[Report] = []
    for owner in ("first", "second"):
        book.submit(owner, BUY, 100, 5, 1)
        book.listen(owner, heard.append)
    book.submit("taker", SELL, 100, 7, 2)
    assert [(one.owner, one.quantity, one.remaining, one.liquidity) for one in heard] == [
        ("first", 5, 0, Liquidity.MAKER),
        ("second", 2, 3, Liquidity.MAKER),
    ]


def test_a_post_only_order_that_would_take_is_rejected_and_changes_nothing() -> None:
    book = MatchingBook()
    book.submit("maker", SELL, 100, 5, 1)
    book.take_changes()
    heard: list[Report] = []
    book.listen("me", heard.append)
    book.submit("me", BUY, 100, 1, 2, time_in_force=POST_ONLY)
    assert [report.kind for report in heard] == [ReportKind.REJECTED]
    assert "post-only" in heard[0].reason
    assert (book.take_changes(), book.take_trades(), book.total(SELL, 100)) == ([], [], 5)


def test_what_an_immediate_order_cannot_trade_expires() -> None:
    book = MatchingBook()
    heard: list[Report] = []
    book.listen("me", heard.append)
    book.submit("maker", SELL, 100, 5, 1)
    book.submit("me", BUY, 100, 8, 2, time_in_force=IOC)
    assert [(report.kind, report.quantity, report.remaining) for report in heard] == [
        (ReportKind.FILLED, 5, 3),
        (ReportKind.EXPIRED, 3, 0),
    ]
    assert book.best(BUY) is None


def test_nobody_can_cancel_the_order_of_another() -> None:
    book = MatchingBook()
    mine = book.submit("me", BUY, 100, 5, 1)
    assert book.cancel(mine, 2, "somebody else") == 0
    assert book.cancel(mine, 2, "me") == 5
    assert book.cancel(mine, 2, "me") == 0
    assert book.take_changes() == [Change(BUY, 100, 5), Change(BUY, 100, 0)]


@pytest.mark.parametrize(
    ("price", "quantity", "tif"), [(0, 1, GTC), (-1, 1, GTC), (1, 0, GTC), (None, 1, GTC)]
)
def test_an_order_that_cannot_be_is_refused(
    price: int | None, quantity: int, tif: TimeInForce
) -> None:
    with pytest.raises(ValueError, match=r"must be|cannot rest"):
        MatchingBook().submit("me", BUY, price, quantity, 0, time_in_force=tif)
