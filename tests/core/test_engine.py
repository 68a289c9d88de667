from __future__ import annotations

import traceback
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from core_rows import BTCUSDT, ask, bid, bought, gap, row, sold
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Entry, Scripted, brief, run, session, sim

from mmkit.commands import AnyCommand, CancelOrder, SubmitOrder
from mmkit.engine import Engine
from mmkit.errors import StrategyError
from mmkit.events import (
    SELF_TRADE,
    AnyEvent,
    FeedLost,
    FeedRestored,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderLost,
    OrderRejected,
    VenueDown,
    VenueUp,
)
from mmkit.interfaces import NO_QUOTES, Context, MarketView, Quotes, RiskCheck, Strategy, Target
from mmkit.risk import (
    MaxDrawdown,
    MaxOrder,
    MaxPosition,
    MoneyLimit,
    QuantityLimit,
    RiskGate,
    StaleAfter,
    TimeLimit,
)
from mmkit.tape import NEVER, GapReason, Kind, Row, Tape
from mmkit.testing import build_strategy, random_tape, run_strategy, snapshot_rows
from mmkit_strategies.join_best import JoinBest
from mmkit_strategies.skewed import Skewed

CONTEXT = Context(BTCUSDT)


def book(at: int = 0, best: int = 1000, local: int | None = None) -> list[Row]:
    local = at if local is None else local
    return snapshot_rows([(best, 50), (best - 1, 40)], [(best + 2, 20)], at, local)


def both_sides(view: MarketView) -> Quotes:
    assert view.best_bid is not None
    assert view.best_ask is not None
    return Quotes(bid=(view.best_bid, 10), ask=(view.best_ask, 10))


def only_bid(view: MarketView) -> Quotes:
    assert view.best_bid is not None
    return Quotes(bid=(view.best_bid, 10))


def quiet(*times: int) -> list[Row]:
    """Rows that change no best price, at these times."""
    return [bid(900, at % 7 + 1, at) for at in times]


# --- the feed ---


def test_a_gap_pulls_every_quote_and_the_strategy_is_told() -> None:
    strategy = Scripted(both_sides, every="50ns")
    _, entries = run(strategy, [*book(), *quiet(50, 60, 70, 90), gap(100), *quiet(110, 130, 140)])
    assert brief(entries) == [
        (0, "restored"),
        (50, "buy", 1, 1000, 10),
        (50, "sell", 2, 1002, 10),
        (60, "accepted", 1),
        (60, "accepted", 2),
        (100, "lost", "sequence"),
        (100, "cancel", 1),
        (100, "cancel", 2),
        (110, "canceled", 1),
        (110, "canceled", 2),
    ]
    assert [event for event in strategy.heard if isinstance(event, FeedLost | FeedRestored)] == [
        FeedRestored(ts_exchange=0, ts_local=0),
        FeedLost(ts_exchange=100, ts_local=100, reason="sequence"),
    ]


def test_an_order_that_was_on_its_way_into_a_gap_is_canceled_once_it_is_accepted() -> None:
    strategy = Scripted(only_bid, every="50ns")
    _, entries = run(strategy, [*book(), *quiet(49, 54), gap(56), *quiet(70, 80)])
    assert brief(entries) == [
        (0, "restored"),
        (50, "buy", 1, 1000, 10),
        (56, "lost", "sequence"),
        (58, "accepted", 1),
        (58, "cancel", 1),
        (70, "canceled", 1),
    ]


def test_nothing_is_quoted_while_the_book_is_unknown() -> None:
    strategy = Scripted(both_sides, every="10ns", on=["best", "trade", "fill"])
    rows = [gap(0, reason=GapReason.START), bid(1000, 5, 20), ask(1002, 5, 30), sold(1000, 1, 40)]
    engine, entries = run(strategy, [*rows, *quiet(100)])
    assert (strategy.asked, brief(entries)) == ([], [(0, "lost", "start")])
    assert engine.counts["gaps"] == 0  # it had not been known before


def test_quotes_return_with_the_book() -> None:
    strategy = Scripted(only_bid, every="50ns")
    rows = [*book(), *quiet(49, 60), gap(70), *quiet(80), *book(110, 2000), *quiet(149, 160)]
    engine, entries = run(strategy, rows)
    assert brief(entries) == [
        (0, "restored"),
        (50, "buy", 1, 1000, 10),
        (60, "accepted", 1),
        (70, "lost", "sequence"),
        (70, "cancel", 1),
        (80, "canceled", 1),
        (110, "restored"),
        (150, "buy", 2, 2000, 10),
        (160, "accepted", 2),
    ]
    assert (strategy.asked, engine.counts["gaps"]) == ([50, 150], 1)


@pytest.mark.parametrize("reason", GapReason)
def test_the_strategy_is_told_why_the_book_is_unknown(reason: GapReason) -> None:
    strategy = Scripted()
    run(strategy, [gap(5, reason=reason)])
    assert strategy.heard == [FeedLost(ts_exchange=5, ts_local=5, reason=reason.name.lower())]


def test_a_snapshot_of_a_known_book_is_no_news() -> None:
    strategy = Scripted()
    run(strategy, [*book(), *book(10)])
    assert strategy.heard == [FeedRestored(ts_exchange=0, ts_local=0)]


# --- when the strategy is asked ---


def test_every_counts_from_the_start_of_the_run() -> None:
    strategy = Scripted(every="50ns")
    run(strategy, [*book(7), *quiet(90, 158)])
    assert strategy.asked == [57, 107, 157]


def test_missed_wakes_are_not_made_up_for() -> None:
    strategy = Scripted(every="10ns")
    engine = Engine(BTCUSDT, strategy, RiskGate(), 0)
    for at in book():
        engine.on_row(at)
    engine.wake(35)
    assert (strategy.asked, engine.next_ns()) == ([35], 40)
    engine.wake(40)
    assert (strategy.asked, engine.next_ns()) == ([35, 40], 50)


def test_without_anything_said_it_is_every_100_ms() -> None:
    assert Scripted().wake.every == 100_000_000
    assert Scripted(on=["best"]).wake.every is None


def test_on_best_asks_when_the_best_price_is_another_and_not_when_its_quantity_is() -> None:
    strategy = Scripted(on=["best"])
    run(
        strategy,
        [
            *book(1),
            bid(1000, 7, 2),
            bid(998, 7, 3),
            bid(1001, 1, 4),
            bid(1001, 0, 5),
            ask(1002, 0, 6),
            ask(1003, 1, 7),
            sold(1000, 1, 8),
        ],
    )
    assert strategy.asked == [1, 4, 5, 6, 7]


def test_on_trade_asks_once_a_message_that_holds_a_trade() -> None:
    strategy = Scripted(on=["trade"])
    two = [(9, 9, int(Kind.TRADE), 1002, 1), bought(1002, 2, 9)]
    run(strategy, [*book(), sold(1000, 1, 5), bid(1001, 1, 6), *two, row(Kind.OFF_BOOK, 1, 1, 10)])
    assert strategy.asked == [5, 9]


def test_on_fill_asks_when_an_order_was_filled() -> None:
    strategy = Scripted(only_bid, every="50ns", on=["fill"])
    run(strategy, [*book(), *quiet(49, 60), sold(999, 1, 70), *quiet(80)])
    assert 75 in strategy.asked
    filled = next(event for event in strategy.heard if isinstance(event, OrderFilled))
    where = strategy.story.index(filled)
    assert strategy.story[where + 1] == ("asked", 75, 1000, 1002, 10)


def test_on_fill_asks_when_an_order_was_rejected_or_canceled() -> None:
    crossing = Scripted(lambda view: Quotes(bid=(1002, 1)), every="50ns", on=["fill"])
    run(crossing, [*book(), *quiet(49, 54, 59)])
    assert isinstance(crossing.heard[1], OrderRejected)
    assert crossing.asked[:2] == [50, 58]
    flickering = Scripted(
        lambda view: Quotes(bid=(1000, 1)) if view.now < 60 else NO_QUOTES,
        every="50ns",
        on=["fill"],
    )
    run(flickering, [*book(), *quiet(49, 54, 104, 110)])
    assert any(isinstance(event, OrderCanceled) for event in flickering.heard)
    assert 108 in flickering.asked


def test_without_on_fill_a_fill_is_heard_and_not_asked_about() -> None:
    strategy = Scripted(only_bid, every="50ns")
    run(strategy, [*book(), *quiet(49, 60), sold(999, 1, 70), *quiet(80)])
    assert strategy.asked == [50]
    assert any(isinstance(event, OrderFilled) for event in strategy.heard)


def test_an_order_that_would_meet_our_own_is_rejected_and_counted() -> None:
    # The bid is sent while the ask is on its way out: that cannot be canceled yet.
    def turning(view: MarketView) -> Quotes:
        if view.now < 50:
            return NO_QUOTES
        return Quotes(bid=(1001, 10)) if view.now > 50 else Quotes(ask=(1001, 10))

    rows = [*book(), *quiet(49), ask(1002, 0, 51), ask(1004, 1, 52), *quiet(60, 99, 110, 149, 160)]
    engine, entries = run(Scripted(turning, every="50ns", on=["best"]), rows)
    assert brief(entries) == [
        (0, "restored"),
        (50, "sell", 1, 1001, 10),
        (51, "buy", 2, 1001, 10),
        (60, "accepted", 1),
        (60, "rejected", 2),
        (100, "cancel", 1),
        (100, "buy", 3, 1001, 10),
        (110, "canceled", 1),
        (110, "accepted", 3),
    ]
    assert entries[4] == OrderRejected(ts_exchange=54, ts_local=60, order_id=2, reason=SELF_TRADE)
    assert (engine.counts["rejected"], engine.counts["self_trades"]) == (1, 1)


# --- what the strategy sees ---


def test_a_strategy_sees_book_position_and_orders_as_they_are_known_here() -> None:
    seen: list[Any] = []

    def look(view: MarketView) -> Quotes:
        orders = [(order.order_id, order.remaining) for order in view.orders]
        seen.append((view.now, view.best_bid, view.best_ask, view.position, orders))
        return Quotes(bid=(1000, 10))

    rows = [*book(), *quiet(49, 60), sold(1000, 54, 80), *quiet(101), ask(1002, 9, 130)]
    run(Scripted(look, every="50ns"), [*rows, *quiet(151)])
    assert seen == [
        (50, 1000, 1002, 0, []),
        (100, 1000, 1002, 4, [(1, 6)]),
        (150, 1000, 1002, 4, [(1, 6)]),
    ]


def test_equity_is_cash_and_position_at_mid() -> None:
    equities: list[Decimal] = []

    def look(view: MarketView) -> Quotes:
        equities.append(view.equity)
        return Quotes(bid=(1000, 10)) if view.now == 50 else NO_QUOTES

    # 0.010 BTC bought at 100.0; mid is 100.1 then.
    run(
        Scripted(look, every="50ns"),
        [*book(), *quiet(49, 60), sold(999, 1, 70), *quiet(101)],
        sim(fees={"maker": "0.001", "taker": "0"}),
    )
    assert equities == [0, Decimal("0.010") * Decimal("0.1") - Decimal("0.001")]


# --- foreign code ---


class Broken(Strategy):
    def __init__(self, where: str) -> None:
        super().__init__(Scripted().config, CONTEXT)
        self.where = where

    def quote(self, view: MarketView) -> Quotes | Target:
        if self.where == "quote":
            raise ZeroDivisionError("division by zero")
        return NO_QUOTES

    def on_event(self, event: AnyEvent) -> None:
        if self.where == "on_event":
            raise KeyError("nobody")


@pytest.mark.parametrize(
    ("where", "message", "cause"),
    [
        ("quote", "Broken.quote raised ZeroDivisionError: division by zero", ZeroDivisionError),
        ("on_event", "Broken.on_event raised KeyError: 'nobody'", KeyError),
    ],
)
def test_an_exception_of_a_strategy_stops_the_run_and_keeps_its_cause(
    where: str, message: str, cause: type[Exception]
) -> None:
    with pytest.raises(StrategyError) as caught:
        run(Broken(where), [*book(), *quiet(10**9)])
    assert str(caught.value) == message
    assert isinstance(caught.value.__cause__, cause)
    frames = traceback.extract_tb(caught.value.__cause__.__traceback__)
    assert (frames[-1].name, frames[-1].filename) == (where, __file__)


def test_an_answer_that_cannot_be_quoted_stops_the_run() -> None:
    with pytest.raises(StrategyError, match="must return Quotes or Target, found NoneType"):
        run(Scripted(lambda view: None, every="50ns"), [*book(), *quiet(100)])


def test_after_a_failure_of_the_strategy_the_quotes_can_still_be_pulled() -> None:
    def fails_later(view: MarketView) -> Quotes:
        if view.now > 50:
            raise RuntimeError("later")
        return both_sides(view)

    live, entries = session(Scripted(fails_later, every="50ns"))
    live.receive(book())
    live.receive(quiet(55, 70))
    with pytest.raises(StrategyError):
        live.advance(101)
    live.stop(101)
    live.advance(1_000)
    assert live.idle
    assert [entry[1:] for entry in brief(entries)][-4:] == [
        ("cancel", 1),
        ("cancel", 2),
        ("canceled", 1),
        ("canceled", 2),
    ]


# --- risk in a run ---


def gate(**limits: Any) -> RiskGate:
    kinds: dict[str, tuple[Any, Any]] = {
        "max_position": (MaxPosition, QuantityLimit),
        "max_order": (MaxOrder, QuantityLimit),
        "max_drawdown": (MaxDrawdown, MoneyLimit),
        "stale_after": (StaleAfter, TimeLimit),
    }
    return RiskGate(
        [
            (name, kinds[name][0](kinds[name][1].model_validate({"limit": limit}), CONTEXT))
            for name, limit in limits.items()
        ]
    )


def test_a_vetoed_order_is_not_sent_and_is_counted() -> None:
    checks = gate(max_order="0.009")
    engine, entries = run(Scripted(both_sides, every="50ns"), [*book(), *quiet(100)], risk=checks)
    assert (brief(entries), engine.counts["orders"]) == ([(0, "restored")], 0)
    assert checks.vetoes == {"max_order": 2}


def test_a_vetoed_order_costs_nothing_of_the_rate_limit() -> None:
    def many(view: MarketView) -> Quotes:
        # Asked 1,000 times in ten seconds: the bid is refused each time, the ask is sent once.
        return Quotes(bid=(1000, 10), ask=(1002, 1) if view.now > 990 else None)

    engine, entries = run(
        Scripted(many, every="1ns"), [*book(), *quiet(999)], risk=gate(max_order="0.005")
    )
    assert engine.quoter.held_back == 0
    assert [entry for entry in brief(entries) if entry[1] == "sell"] == [
        (991, "sell", 992, 1002, 1)
    ]


def test_both_sides_of_one_decision_count_together_towards_the_position() -> None:
    two_bids = Scripted(lambda view: Quotes(bids=[(1000, 10), (999, 10)]), every="50ns")
    _, entries = run(two_bids, [*book(), *quiet(99)], risk=gate(max_position="0.015"))
    assert brief(entries)[1] == (50, "buy", 1, 1000, 10)
    assert [entry[1] for entry in brief(entries)].count("buy") == 1


def test_a_drawdown_at_the_limit_pulls_every_quote_and_ends_quoting_for_good() -> None:
    # 0.010 BTC bought at 100.0, then the market falls: at mid 90.1 that is -0.099, at 90.0 -0.1.
    strategy = Scripted(both_sides, every="50ns")
    fall = [bid(999, 0, 72), bid(1000, 0, 72), bid(900, 5, 72), ask(1002, 0, 73)]
    rows = [*book(), *quiet(49, 60), sold(999, 1, 70), *fall, ask(902, 3, 74), *quiet(101, 110)]
    engine, entries = run(
        strategy,
        [*rows, ask(901, 3, 111), *quiet(149, 151, 170, 199, 300)],
        risk=gate(max_drawdown="0.0995"),
    )
    halted = [entry for entry in brief(entries) if entry[0] >= 150]
    assert engine.halted == "max_drawdown: drawdown 0.09950000 reached the limit 0.0995"
    assert [entry[1] for entry in halted[:2]] == ["cancel", "cancel"]
    assert {entry[1] for entry in halted[2:]} <= {"canceled", "filled", "too late"}
    assert strategy.asked[-1] == 100
    assert engine.next_ns() == NEVER


def test_a_gap_alone_is_no_drawdown() -> None:
    """While the book is unknown a position cannot be valued; that is no loss of what it had gained."""
    # 0.010 BTC bought at 100.0; at mid 200.1 that is a profit of 1.001.
    rise = [ask(1002, 0, 72), ask(2002, 5, 72), bid(2000, 5, 72)]
    rows = [*book(), *quiet(49, 60), sold(999, 1, 70), *rise, *quiet(101), gap(110), *quiet(151)]
    engine, _ = run(
        Scripted(
            lambda view: Quotes(bid=(1000, 10)) if view.now == 50 else NO_QUOTES, every="50ns"
        ),
        [*rows, *book(160, 2000), *quiet(201, 202)],
        risk=gate(max_drawdown="0.5"),
    )
    assert (engine.halted, engine.max_drawdown, engine.peak_equity) == (None, 0, Decimal("1.001"))


def test_a_side_that_is_empty_for_a_moment_is_no_drawdown() -> None:
    rise = [ask(1002, 0, 72), ask(2002, 5, 72), bid(2000, 5, 72)]
    rows = [*book(), *quiet(49, 60), sold(999, 1, 70), *rise, *quiet(101), ask(2002, 0, 110)]
    engine, _ = run(
        Scripted(
            lambda view: Quotes(bid=(1000, 10)) if view.now == 50 else NO_QUOTES, every="50ns"
        ),
        [*rows, *quiet(151), ask(2002, 1, 160), *quiet(201)],
        risk=gate(max_drawdown="0.5"),
    )
    assert (engine.halted, engine.max_drawdown) == (None, 0)


def test_stale_data_pulls_the_quotes_and_new_data_brings_them_back() -> None:
    strategy = Scripted(only_bid, every="50ns")
    rows = [*book(), *quiet(49, 60, 300, 349, 360)]
    engine, entries = run(strategy, rows, risk=gate(stale_after="100ns"))
    assert brief(entries) == [
        (0, "restored"),
        (50, "buy", 1, 1000, 10),
        (60, "accepted", 1),
        (160, "cancel", 1),
        (188, "canceled", 1),
        (300, "buy", 2, 1000, 10),
        (328, "accepted", 2),
    ]
    assert engine.pulled is None


def test_stale_data_pulls_between_two_wakes_as_well() -> None:
    strategy = Scripted(only_bid, on=["best"])
    _, entries = run(strategy, [*book(), *quiet(20, 500)], risk=gate(stale_after="100ns"))
    # And the first data lets go, though no price has moved and no wake is due.
    assert [entry for entry in brief(entries) if entry[1] in {"buy", "cancel"}] == [
        (0, "buy", 1, 1000, 10),
        (120, "cancel", 1),
        (500, "buy", 2, 1000, 10),
    ]


def test_while_pulled_an_order_that_was_on_its_way_is_canceled_once_it_is_accepted() -> None:
    strategy = Scripted(only_bid, every="50ns")
    _, entries = run(
        strategy, [*book(), *quiet(*range(8, 50, 8), 200)], risk=gate(stale_after="10ns")
    )
    # Pulled at 58; accepted, in a quiet market, only later.
    assert [entry for entry in brief(entries) if entry[0] < 200] == [
        (0, "restored"),
        (50, "buy", 1, 1000, 10),
        (78, "accepted", 1),
        (78, "cancel", 1),
        (106, "canceled", 1),
    ]


class Curfew(RiskCheck):
    """Nothing on the book from 100 on."""

    def pull(self, view: Any) -> str | None:
        return "late" if view.now >= 100 else None


def test_a_check_of_a_plugin_can_pull_and_says_why() -> None:
    strategy = Scripted(only_bid, every="50ns")
    engine, entries = run(
        strategy, [*book(), *quiet(49, 60, 99, 130, 151)], risk=RiskGate([("curfew", Curfew())])
    )
    assert engine.pulled == "curfew: late"
    assert brief(entries)[-2:] == [(100, "cancel", 1), (128, "canceled", 1)]
    assert strategy.asked == [50]


def test_max_drawdown_is_the_largest_fall_from_the_peak() -> None:
    engine = Engine(BTCUSDT, Scripted(every="10ns"), RiskGate(), 0)
    for at in book():
        engine.on_row(at)
    engine.portfolio.position = 1_000  # 1 BTC, for nothing
    peaks = []
    for number, best in enumerate((1000, 1100, 900, 1050, 1200, 1150), 1):
        for at in book(number, best):
            engine.on_row(at)
        engine.wake(10 * number)
        peaks.append((engine.peak_equity, engine.max_drawdown))
    assert peaks == [
        (Decimal(peak), Decimal(fall))
        for peak, fall in (
            ("100.1", "0"),
            ("110.1", "0"),
            ("110.1", "20"),
            ("110.1", "20"),
            ("120.1", "20"),
            ("120.1", "20"),
        )
    ]


# --- a target ---


def test_a_target_is_reached_and_kept() -> None:
    strategy = Scripted(lambda view: Target(15 if view.now < 100 else -5), every="20ns")
    engine, entries = run(strategy, [*book(), *quiet(*range(1, 200, 4))])
    assert engine.position == -5
    assert [entry[1:] for entry in brief(entries) if entry[1] in {"buy", "sell"}] == [
        ("buy", 1, 1002, 15),
        ("sell", 2, 1000, 20),
    ]


def test_going_from_quotes_to_a_target_never_overshoots_it() -> None:
    def turns(view: MarketView) -> Quotes | Target:
        return Quotes(bid=(1000, 10)) if view.now < 100 else Target(10)

    # The bid is filled while its cancel is on its way.
    rows = [*book(), *quiet(49, 60), sold(999, 1, 101), *quiet(110, 120, 149, 160, 199, 210)]
    engine, _ = run(Scripted(turns, every="50ns"), rows)
    assert engine.position == 10


# --- looking ahead ---

STRATEGIES: dict[str, Any] = {
    "join_best": lambda: build_strategy(JoinBest, size="0.01", max_position="0.05"),
    "join_best on everything": lambda: build_strategy(
        JoinBest, size="0.01", max_position="0.05", every="70ms", on=["best", "trade", "fill"]
    ),
    "skewed": lambda: build_strategy(
        Skewed, size="0.01", max_position="0.05", half_spread="1ticks", skew="1ticks"
    ),
}


def known_by(entries: Iterable[Entry], until: int) -> list[Entry]:
    return [entry for entry in entries if entry.ts_local < until]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 5),
    share=st.floats(0.01, 0.99),
    name=st.sampled_from(sorted(STRATEGIES)),
    reports=st.sampled_from(("plain", "after_data")),
)
def test_what_comes_later_changes_nothing_that_came_before(
    seed: int, share: float, name: str, reports: str
) -> None:
    tape = random_tape(seed, messages=250)
    rows = list(tape.rows())
    cut = max(1, int(share * len(rows)))
    settings = sim(reports, latency={"entry": "4ms", "response": "6ms"}, data_wait="50ms")
    make = STRATEGIES[name]
    whole = run_strategy(make(), tape, settings)[1]
    part = run_strategy(make(), Tape.from_rows(BTCUSDT, rows[:cut]), settings)[1]
    # With `plain` the venue, not the strategy, sees a row before it is received.
    seen = 1 if reports == "after_data" else 0
    until = min(rows[cut - 1][1], *(later[seen] for later in rows[cut:]))
    assert known_by(part, until) == known_by(whole, until)


def test_every_kind_of_entry_occurs_in_the_random_markets() -> None:
    """So that the comparisons above compare something."""
    kinds: set[type] = set()
    for seed in range(6):
        for make in STRATEGIES.values():
            kinds |= {type(entry) for entry in run_strategy(make(), random_tape(seed, 250))[1]}
    assert {SubmitOrder, OrderAccepted, OrderFilled, OrderCanceled, OrderRejected} < kinds


# --- a venue that is down, and orders that are lost ---


def real_venue(answer: Any, **config: Any) -> tuple[Engine, Scripted]:
    """An engine with one quote a side on a book that is known, both accepted."""
    strategy = Scripted(answer, **config)
    engine = Engine(BTCUSDT, strategy, RiskGate(), 0)
    for one in book():
        engine.on_row(one)
    engine.wake(engine.next_ns())
    return engine, strategy


def took(engine: Engine) -> list[AnyCommand]:
    commands = list(engine.commands)
    engine.commands.clear()
    return commands


def test_a_venue_that_is_down_has_no_quotes_until_it_is_up() -> None:
    engine, strategy = real_venue(both_sides, every="50ns")
    first, second = took(engine)
    for one in (first, second):
        engine.on_event(OrderAccepted(ts_exchange=60, ts_local=60, order_id=one.order_id))
    engine.on_event(VenueDown(ts_exchange=70, ts_local=70, reason="no stream"))
    assert engine.venue_down == "no stream"
    assert [type(one) for one in took(engine)] == [CancelOrder, CancelOrder]
    for one in (first, second):
        engine.on_event(OrderCanceled(ts_exchange=80, ts_local=80, order_id=one.order_id))
    engine.wake(engine.next_ns())
    assert not took(engine)
    engine.on_event(VenueUp(ts_exchange=200, ts_local=200))
    assert [type(one) for one in took(engine)] == [SubmitOrder, SubmitOrder]
    assert [type(one) for one in strategy.heard if isinstance(one, VenueDown | VenueUp)] == [
        VenueDown,
        VenueUp,
    ]


def test_what_was_on_its_way_when_the_venue_went_down_is_canceled_once_it_is_accepted() -> None:
    engine, _ = real_venue(only_bid, every="50ns")
    (submit,) = took(engine)
    engine.on_event(VenueDown(ts_exchange=70, ts_local=70, reason="no stream"))
    assert not took(engine)
    engine.on_event(OrderAccepted(ts_exchange=80, ts_local=80, order_id=submit.order_id))
    assert [type(one) for one in took(engine)] == [CancelOrder]


def test_no_target_is_taken_for_while_an_order_is_lost_and_quotes_go_on_with_its_exposure() -> None:
    engine, _ = real_venue(lambda view: Target(10), every="50ns")
    (submit,) = took(engine)
    engine.on_event(
        OrderLost(ts_exchange=70, ts_local=70, order_id=submit.order_id, reason="no answer")
    )
    engine.wake(engine.next_ns())
    assert not took(engine)
    assert engine.exposure == (10, 0)
    engine.on_event(
        OrderRejected(
            ts_exchange=300, ts_local=300, order_id=submit.order_id, reason="it came to nothing"
        )
    )
    engine.wake(engine.next_ns())
    assert [type(one) for one in took(engine)] == [SubmitOrder]
