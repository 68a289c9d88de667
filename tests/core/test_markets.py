"""Several markets in one run: one strategy decides for all of them, at one time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from core_rows import BTCUSDT, INVERSE, SPOT, ask, bid, ended, gap, sold
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Entries, Entry, Scripted, sim

from mmkit.commands import CancelOrder, SubmitOrder
from mmkit.engine import Engine
from mmkit.errors import DataError, StrategyError, UnknownMarket
from mmkit.events import MAIN, AnyEvent, FeedLost, FeedRestored, OrderFilled
from mmkit.instruments import Instrument
from mmkit.interfaces import Context, MarketView, Quotes, Strategy, Target
from mmkit.risk import MaxDrawdown, MoneyLimit, RiskGate, StaleAfter, TimeLimit
from mmkit.run.backtest import together
from mmkit.run.replay import received, replay
from mmkit.run.session import Market, Session
from mmkit.settings import SimSettings
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.tape import Kind, Row, Tape
from mmkit.testing import build_strategy, market_view, random_tape, snapshot_rows

MS = 1_000_000

INSTRUMENTS = {MAIN: BTCUSDT, "spot": SPOT, "coin": INVERSE}


def session(
    strategy: Strategy,
    markets: Sequence[str],
    settings: SimSettings,
    start_ns: int = 0,
    risk: Mapping[str, RiskGate] | None = None,
) -> tuple[Session, list[Entry]]:
    entries = Entries()
    made = []
    for market in markets:
        gate = (risk or {}).get(market, RiskGate())
        engine = Engine(INSTRUMENTS[market], strategy, gate, start_ns, market=market)
        venue = PaperVenue(PaperConfig(), Context(INSTRUMENTS[market], settings))
        made.append(Market(engine, venue))
    (engine, venue), *others = made
    return Session(engine, venue, entries, settings.fill_reports, others), entries.entries


def run(
    strategy: Strategy,
    tapes: Mapping[str, Tape],
    settings: SimSettings | None = None,
    risk: Mapping[str, RiskGate] | None = None,
    start_ns: int | None = None,
) -> tuple[Session, list[Entry]]:
    settings = settings or sim()
    if start_ns is None:
        start_ns = min(tape.start_ns for tape in tapes.values())
    live, entries = session(strategy, list(tapes), settings, start_ns, risk)
    replay(live, tapes)
    return live, entries


def touch(view: MarketView) -> Quotes:
    """One lot at each touch."""
    if view.best_bid is None or view.best_ask is None:
        return Quotes()
    return Quotes(
        bid=(view.best_bid, 1) if view.position < 9 else None,
        ask=(view.best_ask, 1) if view.position > -9 else None,
    )


def everywhere(view: MarketView) -> dict[str, Quotes]:
    return {MAIN: touch(view), **{name: touch(other) for name, other in view.markets.items()}}


def alone(entries: Sequence[Entry], market: str) -> list[Any]:
    return [entry for entry in entries if entry.market == market]


def book(middle: int, at: int = 0) -> list[Row]:
    return snapshot_rows([(middle - 1, 5)], [(middle + 1, 5)], at, at)


def tape(market: str, rows: Sequence[Row]) -> Tape:
    return Tape.from_rows(INSTRUMENTS[market], rows)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    messages=st.integers(20, 300),
    reports=st.sampled_from(["plain", "after_data"]),
    on=st.sets(st.sampled_from(["best", "trade", "fill"])),
)
def test_a_market_does_what_it_would_do_alone_beside_one_that_stands_still(
    seed: int, messages: int, reports: str, on: set[str]
) -> None:
    main = random_tape(seed, messages)
    still = tape("spot", book(1000, main.start_ns - 1))
    every = {"every": "70ms", "on": sorted(on)}
    only = Scripted(touch, **every)
    beside = Scripted(lambda view: {MAIN: touch(view)}, **every)

    _, expected = run(only, {MAIN: main}, sim(reports), start_ns=still.start_ns)
    _, entries = run(beside, {MAIN: main, "spot": still}, sim(reports))

    assert [type(entry) for entry in alone(entries, "spot")] == [FeedRestored]
    assert alone(entries, MAIN) == expected


@settings(max_examples=30, deadline=None)
@given(
    seeds=st.tuples(st.integers(0, 999), st.integers(0, 999), st.integers(0, 999)),
    reports=st.sampled_from(["plain", "after_data"]),
)
def test_events_of_all_markets_come_in_order_of_time_and_every_market_adds_up(
    seeds: tuple[int, int, int], reports: str
) -> None:
    tapes = {
        market: random_tape(seed, 150, instrument)
        for seed, (market, instrument) in zip(seeds, INSTRUMENTS.items(), strict=True)
    }
    live, entries = run(
        Scripted(everywhere, every="50ms", on=["best", "fill"]), tapes, sim(reports)
    )

    assert [entry.ts_local for entry in entries] == sorted(entry.ts_local for entry in entries)
    for market, (engine, _) in live.markets.items():
        own = alone(entries, market)
        sides = {entry.order_id: entry.side.sign for entry in own if isinstance(entry, SubmitOrder)}
        fills = [entry for entry in own if isinstance(entry, OrderFilled)]
        assert engine.position == sum(sides[fill.order_id] * fill.quantity for fill in fills)
        assert engine.counts["orders"] == len(sides)


def test_the_same_tapes_give_the_same_entries_whoever_is_asked_first() -> None:
    tapes = {MAIN: random_tape(1, 200), "spot": random_tape(2, 200, SPOT)}
    first, second = (run(Scripted(everywhere, every="50ms"), tapes)[1] for _ in range(2))
    assert first == second
    assert {entry.market for entry in first} == {MAIN, "spot"}


def test_messages_of_several_tapes_are_merged_by_the_time_they_were_received() -> None:
    tapes = {MAIN: random_tape(3, 50), "spot": random_tape(4, 50, SPOT)}
    merged = list(received(tapes))
    times = [message[-1][1] for _, message in merged]
    assert times == sorted(times)
    for market, one in tapes.items():
        assert [r for name, message in merged for r in message if name == market] == list(
            one.rows()
        )


# --- what one market does to the others ---


def two(main: Sequence[Row], spot: Sequence[Row]) -> dict[str, Tape]:
    return {MAIN: tape(MAIN, main), "spot": tape("spot", spot)}


def test_nothing_is_quoted_before_every_book_is_known() -> None:
    strategy = Scripted(everywhere, every="10ns")
    run(strategy, two([*book(1000), bid(900, 1, 99)], book(500, 45)))
    assert strategy.asked[0] == 50


def test_a_lost_feed_pulls_the_quotes_of_every_market_at_once() -> None:
    rows = two([*book(1000), bid(900, 1, 99)], [*book(500), gap(45), bid(400, 1, 99)])
    _, entries = run(Scripted(everywhere, every="10ns"), rows)
    lost = next(entry for entry in entries if isinstance(entry, FeedLost) and entry.ts_local == 45)
    assert lost.market == "spot"
    pulled = [entry for entry in entries if isinstance(entry, CancelOrder) and entry.ts_local == 45]
    assert all(entries.index(lost) < entries.index(entry) for entry in pulled)
    assert sorted(entry.market for entry in pulled) == [MAIN, MAIN, "spot", "spot"]
    assert not [e for e in entries if isinstance(e, SubmitOrder) and e.ts_local > 45]


def test_the_strategy_is_told_of_which_market_the_feed_is_lost() -> None:
    class Listening(Scripted):
        def on_event(self, event: AnyEvent) -> None:
            if isinstance(event, FeedLost | FeedRestored):
                told.append((type(event), event.market, event.ts_local))

    told: list[tuple[type, str, int]] = []
    again = [*book(500), gap(45), *book(500, 60), bid(400, 1, 99)]
    run(Listening(everywhere, every="10ns"), two([*book(1000), bid(900, 1, 99)], again))
    assert told == [
        (FeedRestored, MAIN, 0),
        (FeedRestored, "spot", 0),
        (FeedLost, "spot", 45),
        (FeedRestored, "spot", 60),
    ]


def test_stale_data_in_one_market_pulls_the_quotes_of_all_and_fresh_data_brings_them_back() -> None:
    stale = RiskGate([("stale_after", StaleAfter(TimeLimit(limit="30ms"), Context(SPOT)))])
    rows = two(
        [*book(1000), *(bid(900, at, at * MS) for at in range(5, 150, 5))],
        [*book(500), *(bid(400, at, at * MS) for at in (100, 120, 140))],
    )
    _, entries = run(Scripted(everywhere, every="10ms"), rows, risk={"spot": stale})
    pulled = [e.market for e in entries if isinstance(e, CancelOrder) and e.ts_local == 30 * MS]
    assert sorted(pulled) == [MAIN, MAIN, "spot", "spot"]
    asked = [e for e in entries if isinstance(e, SubmitOrder)]
    assert [e for e in asked if 30 * MS <= e.ts_local < 100 * MS] == []
    assert {e.market for e in asked if e.ts_local >= 100 * MS} == {MAIN, "spot"}


def test_a_halt_in_one_market_ends_quoting_in_all() -> None:
    limit = MoneyLimit(limit="0.0001")
    halting = RiskGate([("max_drawdown", MaxDrawdown(limit, Context(SPOT)))])
    rows = two(
        [*book(1000), bid(900, 1, 99 * MS)],
        [
            *book(500),
            sold(490, 9, 30 * MS),
            bid(499, 0, 41 * MS),
            bid(300, 5, 41 * MS),
            ask(310, 5, 41 * MS),
            bid(200, 1, 99 * MS),
        ],
    )
    live, entries = run(Scripted(everywhere, every="10ms"), rows, risk={"spot": halting})
    assert live.markets["spot"].engine.halted is not None
    assert live.engine.halted is None
    last = max(e.ts_local for e in entries if isinstance(e, SubmitOrder))
    assert last < 41 * MS
    assert MAIN in {e.market for e in entries if isinstance(e, CancelOrder) and e.ts_local > last}
    assert live.idle


def test_a_position_in_one_market_can_be_hedged_in_another() -> None:
    """Every fill of the main market leads to the opposite position in the other."""

    def hedge(view: MarketView) -> dict[str, Quotes | Target]:
        return {MAIN: touch(view), "spot": Target(-view.position)}

    tapes = {MAIN: random_tape(11, 400), "spot": random_tape(12, 400, SPOT)}
    live, entries = run(Scripted(hedge, every="20ms", on=["fill"]), tapes)
    taken = [entry for entry in alone(entries, "spot") if isinstance(entry, OrderFilled)]
    assert len(taken) > 5
    # What is under way at the end of the data is the only difference.
    assert abs(live.engine.position + live.markets["spot"].engine.position) <= 3


def test_a_market_that_the_strategy_does_not_name_is_left_without_quotes() -> None:
    asked: list[int] = []

    def once(view: MarketView) -> dict[str, Quotes]:
        asked.append(view.now)
        return everywhere(view) if len(asked) == 1 else {}

    rows = two([*book(1000), bid(900, 1, 99)], [*book(500), bid(400, 1, 99)])
    live, entries = run(Scripted(once, every="30ns"), rows)
    assert {e.market for e in entries if isinstance(e, CancelOrder)} == {MAIN, "spot"}
    assert live.idle


def test_a_market_that_there_is_not_is_refused_by_name() -> None:
    def wrong(view: MarketView) -> dict[str, Quotes]:
        return {"spto": Quotes()}

    rows = two([*book(1000), bid(900, 1, 99)], [*book(500), bid(400, 1, 99)])
    with pytest.raises(StrategyError) as caught:
        run(Scripted(wrong, every="30ns"), rows)
    assert str(caught.value) == (
        "quote() wants something in 'spto'; the markets of this run are main, spot"
    )


def test_a_strategy_alone_may_name_its_only_market() -> None:
    def named(view: MarketView) -> dict[str, Quotes]:
        return {MAIN: touch(view)}

    one = tape(MAIN, [*book(1000), bid(900, 1, 99)])
    named_run = run(Scripted(named, every="30ns"), {MAIN: one})[1]
    plain = run(Scripted(touch, every="30ns"), {MAIN: one})[1]
    assert named_run == plain != []


def test_a_market_looked_for_and_not_there_is_told_with_those_that_are() -> None:
    def wrong(view: MarketView) -> Quotes:
        return touch(view.markets["spto"])

    rows = two([*book(1000), bid(900, 1, 99)], [*book(500), bid(400, 1, 99)])
    expected = "a market of this run was expected; found 'spto'; beside the main one there is spot"
    with pytest.raises(StrategyError, match=expected):
        run(Scripted(wrong, every="30ns"), rows)
    alone = {MAIN: tape(MAIN, [*book(1000), bid(900, 1, 99)])}
    with pytest.raises(StrategyError, match="found 'spto'; there is only the main one"):
        run(Scripted(wrong, every="30ns"), alone)


# --- recorded data of different length ---


def test_data_is_cut_after_the_last_message_that_every_market_has() -> None:
    main = [*book(1000), bid(900, 1, 50), bid(901, 1, 51)]
    message = ended([(50, 50, int(Kind.LEVEL), 400, 2), (50, 55, int(Kind.LEVEL), 401, 2)])
    spot = [*book(500), *message, bid(400, 1, 99), bid(401, 1, 100)]

    tapes = together({MAIN: tape(MAIN, main), "spot": tape("spot", spot)})

    assert list(tapes[MAIN].rows()) == main
    assert list(tapes["spot"].rows()) == spot[:-2]
    assert tapes["spot"].stats.notes == [
        "2 rows after 1970-01-01T00:00:00.000Z were left out: the data of 'main' ends there"
    ]
    assert tapes[MAIN].stats.notes == []


def test_one_tape_and_tapes_that_end_together_are_left_as_they_are() -> None:
    one = random_tape(5, 50)
    assert together({MAIN: one})[MAIN] is one
    both = two([*book(1000), bid(900, 1, 99)], [*book(500), bid(400, 1, 99)])
    assert together(both) == both


def test_data_without_a_time_in_common_is_refused() -> None:
    with pytest.raises(DataError, match=r"that of 'spot' ends at .*, and that of 'main' begins at"):
        together(two(book(1000, 100), book(500, 99)))


# --- what plugin authors test with ---


def test_a_view_and_a_strategy_for_a_test_can_have_other_markets() -> None:
    other = market_view(SPOT, bids=[(99, 1)], asks=[(101, 1)], position=7)
    view = market_view(markets={"spot": other})
    assert view.markets["spot"].position == 7
    assert view.markets["spot"].instrument == SPOT

    class Looking(Strategy):
        def quote(self, view: MarketView) -> Quotes:
            return Quotes()

    strategy = build_strategy(Looking, markets={"spot": SPOT})
    assert strategy.context.markets["spot"] == SPOT
    with pytest.raises(UnknownMarket, match="found 'coin'"):
        strategy.context.markets["coin"]


def instrument_of(view: MarketView) -> Instrument:
    return view.instrument


def test_a_view_shows_the_other_markets_with_their_own_instruments() -> None:
    seen: list[tuple[Instrument, int | None]] = []

    def look(view: MarketView) -> Quotes:
        seen.extend((other.instrument, other.best_bid) for other in view.markets.values())
        return Quotes()

    rows = two([*book(1000), bid(900, 1, 35)], [*book(500), *ended([(33, 33, 1, 600, 2)])])
    run(Scripted(look, every="30ns"), rows)
    assert seen == [(SPOT, 499)]
