from __future__ import annotations

import random
from typing import Any

import pytest
from core_rows import BTCUSDT, ask, bid, ended, gap, sold
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Entry, Scripted, brief, run, session, sim

from mmkit.commands import SubmitOrder
from mmkit.errors import RunError
from mmkit.events import MAIN, OrderFilled
from mmkit.interfaces import MarketView, Quotes, Strategy, Target
from mmkit.run.replay import received, replay, replay_received
from mmkit.settings import SimSettings
from mmkit.tape import LAST, SELL, Kind, Row, Tape
from mmkit.testing import build_strategy, random_tape, snapshot_rows
from mmkit_strategies.join_best import JoinBest
from mmkit_strategies.skewed import Skewed

MS = 1_000_000


def book(at: int = 0) -> list[Row]:
    return snapshot_rows([(1000, 50), (999, 40)], [(1002, 20)], at, at)


def join(view: MarketView) -> Quotes:
    assert view.best_bid is not None
    return Quotes(bid=(view.best_bid, 10))


# --- at one instant ---


@pytest.mark.parametrize("reports", ["plain", "after_data"])
def test_at_one_instant_rows_go_before_reports_and_reports_before_wakes(reports: str) -> None:
    strategy = Scripted(join, every="50ns")
    # Sent at 50, matched at 53; its answer, the fill's and a wake all fall on 100, as does a row.
    slow = sim(reports, latency={"entry": "3ns", "response": "47ns"}, data_wait="9ns")
    rows = [*book(), bid(998, 1, 52), sold(999, 1, 53), bid(998, 2, 54), bid(1001, 9, 100)]
    run(strategy, [*rows, bid(998, 3, 130)], slow)
    assert [
        step[:5] if isinstance(step, tuple) else (type(step).__name__, step.ts_local)
        for step in strategy.story[:4]
    ] == [
        ("FeedRestored", 0),
        ("asked", 50, 1000, 1002, 0),
        ("OrderAccepted", 100),
        # The row of this moment had been seen, and the report had been heard.
        ("asked", 100, 1001, 1002, 0),
    ]


@pytest.mark.parametrize("reports", ["plain", "after_data"])
def test_a_fill_of_the_same_instant_is_counted_before_the_strategy_is_asked(reports: str) -> None:
    strategy = Scripted(join, every="50ns")
    rows = [*book(), bid(998, 1, 54), sold(999, 1, 95), bid(998, 2, 99), bid(998, 3, 130)]
    run(strategy, rows, sim(reports))
    assert ("asked", 100, 1000, 1002, 10) in strategy.story
    [filled] = [event for event in strategy.heard if isinstance(event, OrderFilled)]
    assert filled.ts_local == 100


@pytest.mark.parametrize("reports", ["plain", "after_data"])
def test_every_row_of_one_instant_is_seen_before_a_wake_of_that_instant(reports: str) -> None:
    strategy = Scripted(every="50ns")
    same = [bid(1001, 1, 50), bid(1001, 0, 50), ask(1002, 0, 50), ask(1003, 4, 50)]
    run(strategy, [*book(), *same, bid(998, 1, 60)], sim(reports))
    assert strategy.story[-1] == ("asked", 50, 1000, 1003, 0)


# --- receiving and advancing ---


def test_a_row_older_than_what_has_been_acted_on_is_refused() -> None:
    live, _ = session(Scripted(every="50ns"))
    live.receive(book())
    live.advance(100)
    live.receive([bid(1000, 5, 90, 100)])
    with pytest.raises(RunError) as caught:
        live.receive([bid(1000, 5, 90, 99)])
    assert str(caught.value) == (
        "market data of 99 arrived after 100 had been acted on; the data source stamps or orders "
        "its rows wrongly"
    )


def test_a_row_from_before_the_start_is_refused() -> None:
    live, _ = session(Scripted(), start_ns=10)
    with pytest.raises(RunError, match="market data of 9 arrived after 10"):
        live.receive([bid(1, 1, 0, 9)])


def test_advancing_stops_short_of_what_is_due_at_that_very_moment() -> None:
    strategy = Scripted(every="50ns")
    live, _ = session(strategy)
    live.receive(book())
    live.advance(50)
    assert (strategy.asked, live.next_ns()) == ([], 50)
    live.advance(51)
    assert (strategy.asked, live.next_ns()) == ([50], 100)


def test_advancing_to_the_past_does_nothing() -> None:
    strategy = Scripted(every="50ns")
    live, _ = session(strategy)
    live.receive(book())
    live.advance(120)
    live.advance(10)
    assert strategy.asked == [50, 100]
    with pytest.raises(RunError, match="after 120 had been acted on"):
        live.receive([bid(1, 1, 60)])


def test_what_was_decided_is_noted_and_sent_in_order() -> None:
    live, entries = session(Scripted(join, every="50ns"))
    live.receive(book())
    live.advance(51)
    live.receive([bid(998, 1, 60)])
    live.advance(200)
    assert brief(entries) == [
        (0, "restored"),
        (50, "buy", 1, 1000, 10),
        (60, "accepted", 1),
    ]


def test_stop_pulls_the_quotes_and_nothing_is_quoted_again() -> None:
    strategy = Scripted(join, every="50ns", on=["best", "trade", "fill"])
    live, entries = session(strategy)
    live.receive([*book(), bid(998, 1, 60)])
    live.advance(70)
    asked = len(strategy.asked)
    live.stop(70)
    assert not live.idle
    live.receive([bid(1001, 5, 80), sold(1001, 1, 90), ask(1002, 0, 95), ask(1003, 1, 99)])
    live.advance(10_000)
    assert live.idle
    assert [entry for entry in brief(entries) if entry[0] >= 70] == [
        (70, "cancel", 1),
        (80, "canceled", 1),
    ]
    assert len(strategy.asked) == asked


def test_stop_cancels_an_order_on_its_way_as_soon_as_it_is_accepted() -> None:
    live, entries = session(Scripted(join, every="50ns"))
    live.receive(book())
    live.advance(51)
    live.stop(51)
    live.advance(10_000)
    assert [entry[1:] for entry in brief(entries)] == [
        ("restored",),
        ("buy", 1, 1000, 10),
        ("accepted", 1),
        ("cancel", 1),
        ("canceled", 1),
    ]
    assert live.idle


# --- however it was grouped on the way ---


class Fickle(Strategy):
    """Quotes, takes and rests, by the time alone."""

    def quote(self, view: MarketView) -> Quotes | Target:
        bid, ask = view.best_bid, view.best_ask
        phase = view.now // (40 * MS) % 4
        if bid is None or ask is None or phase == 0:
            return Quotes()
        if phase == 1:
            return Target(int(view.now // (160 * MS) % 5) - 2)
        return Quotes(bids=[(bid, 3), (bid - phase, 5)], asks=[(ask, 4)])


def everything() -> dict[str, Any]:
    return {"every": "30ms", "on": ["best", "trade", "fill"]}


MAKERS: dict[str, Any] = {
    "join_best": lambda: build_strategy(JoinBest, size="0.01", max_position="0.05"),
    "join_best on everything": lambda: build_strategy(
        JoinBest, size="0.01", max_position="0.05", **everything()
    ),
    "skewed": lambda: build_strategy(
        Skewed, size="0.01", max_position="0.05", half_spread="1ticks", skew="1ticks"
    ),
    "fickle": lambda: build_strategy(Fickle, **everything()),
}


def slow(**changes: Any) -> SimSettings:
    return sim(
        "after_data", latency={"entry": "4ms", "response": "6ms"}, data_wait="50ms", **changes
    )


def messages_of(rows: list[Row]) -> list[list[Row]]:
    messages: list[list[Row]] = [[]]
    for row in rows:
        messages[-1].append(row)
        if row[2] & LAST:
            messages.append([])
    return [message for message in messages if message]


def as_it_might_have_come(
    make: Any,
    rows: list[Row],
    dice: random.Random,
    *,
    start_ns: int,
    stop_ns: int,
    end_ns: int,
    cut_messages: bool = False,
) -> list[Entry]:
    """A live run: data in whatever pieces, the clock looked at whenever, a stop, an end."""
    live, entries = session(make(), slow(), start_ns=start_ns)
    now, stopped = start_ns, False
    pieces = [[row] for row in rows] if cut_messages else messages_of(rows)
    while pieces:
        piece: list[Row] = []
        for _ in range(min(len(pieces), dice.choice((1, 1, 1, 2, 5)))):
            # What was received after the stop was told is not in one piece with what was before.
            if piece and not stopped and pieces[0][0][1] >= stop_ns:
                break
            piece += pieces.pop(0)
        first, last = piece[0][1], piece[-1][1]
        if not stopped and first >= stop_ns:
            live.advance(stop_ns)
            live.stop(stop_ns)
            now, stopped = stop_ns, True
        for at in sorted(dice.randint(now, max(now, first)) for _ in range(dice.randrange(3))):
            live.advance(at)
        live.receive(piece)
        now = max(now, last)
    if not stopped:
        live.advance(stop_ns)
        live.stop(stop_ns)
        now = stop_ns
    for at in sorted(dice.randint(now, end_ns) for _ in range(3)):
        live.advance(at)
    live.advance(end_ns)
    return entries


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 8),
    dice=st.randoms(use_true_random=False),
    name=st.sampled_from(sorted(MAKERS)),
    share=st.floats(0.1, 1.1),
    cut_messages=st.booleans(),
)
def test_however_rows_and_time_came_a_replay_of_the_whole_is_the_same_to_the_last_entry(
    seed: int, dice: random.Random, name: str, share: float, cut_messages: bool
) -> None:
    tape = random_tape(seed, messages=120)
    rows = list(tape.rows())
    start_ns = rows[0][1] - 7 * MS
    stop_ns = rows[0][1] + int(share * (rows[-1][1] - rows[0][1]))
    end_ns = max(stop_ns, rows[-1][1]) + 40 * MS
    came = as_it_might_have_come(
        MAKERS[name],
        rows,
        dice,
        start_ns=start_ns,
        stop_ns=stop_ns,
        end_ns=end_ns,
        cut_messages=cut_messages,
    )
    replayed, entries = session(MAKERS[name](), slow(), start_ns=start_ns)
    replay_received(replayed, received({MAIN: tape}), stop_ns=stop_ns, end_ns=end_ns)
    assert came == entries
    assert sum(isinstance(entry, SubmitOrder) for entry in entries) > 0 or share < 0.3


def test_a_message_in_two_pieces_is_the_same_message() -> None:
    whole, told_whole = session(Scripted(join, on=["best"]))
    parts, told_parts = session(Scripted(join, on=["best"]))
    changes = [(Kind.LEVEL, 1000, 0), (Kind.LEVEL | SELL, 1001, 5), (Kind.LEVEL, 998, 3)]
    update = ended([(9, 9, int(kind), price, quantity) for kind, price, quantity in changes])
    whole.receive([*book(), *update])
    for row in [*book(), *update]:
        parts.receive([row])
    for live in (whole, parts):
        live.advance(100)
    assert told_whole == told_parts
    assert [entry[1] for entry in brief(told_parts)].count("buy") == 1


# --- replaying ---


def test_a_replay_without_an_end_lets_what_is_under_way_arrive_and_asks_nobody() -> None:
    strategy = Scripted(join, every="10ns", on=["fill"])
    _, entries = run(strategy, [*book(), bid(998, 1, 12)])
    assert (strategy.asked, brief(entries)[1:]) == (
        [10],
        [(10, "buy", 1, 1000, 10), (38, "accepted", 1)],
    )


def test_a_plain_replay_ends_the_same_way() -> None:
    strategy = Scripted(join, every="50ns")
    engine, entries = run(strategy, [*book(), bid(998, 1, 51)], sim("plain"))
    assert (strategy.asked, brief(entries)[1:], engine.now) == (
        [50],
        [(50, "buy", 1, 1000, 10), (58, "accepted", 1)],
        58,
    )


def test_a_plain_replay_shows_the_venue_a_row_before_it_is_received() -> None:
    rows = [*book(), bid(998, 1, 60), sold(999, 1, 70, 900)]
    _, entries = run(Scripted(join, every="50ns"), rows, sim("plain"))
    assert (75, "filled", 1, 10) in brief(entries)
    _, entries = run(Scripted(join, every="50ns"), rows, sim("after_data"))
    assert (900, "filled", 1, 10) in brief(entries)


@pytest.mark.parametrize("stop_ns", [55, 60, 61, 500])
def test_a_stop_that_was_recorded_is_replayed_at_its_time(stop_ns: int) -> None:
    tape = Tape.from_rows(BTCUSDT, [*book(), bid(998, 1, 60), bid(998, 2, 120)])
    live, entries = session(Scripted(join, every="50ns"))
    replay_received(live, received({MAIN: tape}), stop_ns=stop_ns, end_ns=1_000)
    cancels = [entry for entry in brief(entries) if entry[1] == "cancel"]
    assert cancels == [(max(stop_ns, 60), "cancel", 1)]
    assert live.idle


def test_what_was_received_at_the_moment_of_a_stop_came_after_it() -> None:
    tape = Tape.from_rows(BTCUSDT, [*book(1), bid(1001, 1, 60)])
    strategy = Scripted(join, on=["best"])
    live, _ = session(strategy)
    replay_received(live, received({MAIN: tape}), stop_ns=60, end_ns=1_000)
    assert strategy.asked == [1]


def test_an_end_without_a_stop_leaves_the_quotes_where_they_are() -> None:
    tape = Tape.from_rows(BTCUSDT, [*book(), bid(998, 1, 60)])
    live, entries = session(Scripted(join, every="50ns"))
    replay_received(live, received({MAIN: tape}), end_ns=101)
    assert [entry[1] for entry in brief(entries)] == ["restored", "buy", "accepted"]
    assert not live.idle


@pytest.mark.parametrize("reports", ["after_data", "plain"])
def test_an_empty_tape_is_replayed_as_nothing(reports: str) -> None:
    strategy = Scripted(join, every="50ns")
    live, entries = session(strategy, sim(reports))
    replay(live, {MAIN: Tape.from_rows(BTCUSDT, [])})
    assert (entries, strategy.asked) == ([], [])


@pytest.mark.parametrize("reports", ["after_data", "plain"])
def test_progress_is_told_now_and_then_and_never_more_than_there_is(reports: str) -> None:
    rows = [*book(), *(bid(998, at % 9 + 1, at) for at in range(1, 120_000))]
    live, _ = session(Scripted(on=["fill"]), sim(reports))
    told: list[int] = []
    replay(live, {MAIN: Tape.from_rows(BTCUSDT, rows)}, told.append)
    assert told == [50_000, 100_000]


def test_a_gap_in_the_middle_of_a_replay_loses_no_order() -> None:
    tape = Tape.from_rows(
        BTCUSDT, [*book(), bid(998, 1, 60), gap(70), *book(90), bid(998, 3, 101), bid(998, 4, 120)]
    )
    live, entries = session(Scripted(join, every="50ns"))
    replay_received(live, received({MAIN: tape}), stop_ns=130, end_ns=1_000)
    assert live.idle
    assert [entry[1] for entry in brief(entries)] == [
        *("restored", "buy", "accepted", "lost", "cancel", "restored", "canceled"),
        *("buy", "accepted", "cancel", "canceled"),
    ]
