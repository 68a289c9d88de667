"""tardis-machine's replays and streams: the book is right, or known to be unknown and why."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tardis_fixtures import rows, source, states
from tardis_machine import (
    T,
    TardisMachine,
    change,
    disconnect,
    iso,
    message,
    running,
    sends,
    vanishes,
)

from mmkit.clock import SystemClock
from mmkit.errors import ConfigError, FeedError, OffGrid, UsageError
from mmkit.tape import KIND, LAST, SELL, GapReason, Kind, Row, Tape

L, TR, S, G = int(Kind.LEVEL), int(Kind.TRADE), int(Kind.SNAPSHOT), Kind.GAP | LAST
SNAPSHOT = change(10, 15, {100.1: 1.5, 100.0: 1e-3}, {100.3: 2}, True)
UPDATE = change(20, 26, {100.1: 0}, {100.4: 0.25}, False)
TRADE = message("trade", 20, 27, id="7", price=100.3, amount=0.5, side="buy")
ERROR = {
    **disconnect(20),
    "type": "error",
    "details": "fetch failed",
    "subSequentErrorsCount": 3,
}
DAYS = {"start": "2024-03-01", "end": "2024-03-02"}


def replayed(machine: TardisMachine, folder: Path, **config: Any) -> Tape:
    async def run() -> Tape:
        async with running(machine):
            return await source(folder, url=machine.url, **{**DAYS, **config}).tape()

    return asyncio.run(run())


def machine_with(*lines: dict[str, Any] | bytes) -> TardisMachine:
    machine = TardisMachine()
    machine.lines = lines
    return machine


def short(found: list[Row]) -> list[Row]:
    return [(ex // 1000 - T, lo // 1000 - T, *rest) for ex, lo, *rest in found]


def test_a_replay_becomes_the_rows_its_messages_say(tmp_path: Path) -> None:
    due = 8 * 3_600_000_000
    ticker = message(
        *("derivative_ticker", 30, 33),
        markPrice=100.12,
        fundingRate=0.0001,
        fundingTimestamp=iso(T + due),
    )
    liquidation = message("liquidation", 40, 44, price=100.2, amount=1, side="sell")
    machine = machine_with(UPDATE, SNAPSHOT, UPDATE, TRADE, ticker, liquidation)
    machine.lines = [change(1, 2, {1: 1}, {}, False), *machine.lines[1:]]
    found = replayed(machine, tmp_path)
    assert short(rows(found)) == [
        (10, 15, G, GapReason.START, 0),
        (10, 15, S, 0, 0),
        (10, 15, L, 1001, 1500),
        (10, 15, L, 1000, 1),
        (10, 15, L | SELL | LAST, 1003, 2000),
        (20, 26, L, 1001, 0),
        (20, 26, L | SELL | LAST, 1004, 250),
        (19, 27, TR | LAST, 1003, 500),  # 1 ns before the book's 20
        (30, 33, int(Kind.MARK), 0, 10_012_000_000),
        (30, 33, Kind.FUNDING | LAST, (T + due) // 1_000_000, 10_000),
        (40, 44, Kind.OFF_BOOK | SELL | LAST, 1002, 1000),
    ]
    assert any("1 changes of the book while it was unknown" in n for n in found.stats.notes)
    assert machine.asked == [
        {
            "exchange": "binance-futures",
            "symbols": ["BTCUSDT"],
            "dataTypes": ["book_change", "trade", "derivative_ticker"],
            "withDisconnectMessages": True,
            "from": "2024-03-01",
            "to": "2024-03-02",
        }
    ]


def test_a_disconnect_makes_the_book_unknown_until_the_next_snapshot(tmp_path: Path) -> None:
    lost, anew = change(40, 41, {100.0: 5}, {}, False), change(50, 52, {99.9: 1}, {100.2: 1}, True)
    machine = machine_with(SNAPSHOT, disconnect(30), disconnect(31), lost, anew)
    found = replayed(machine, tmp_path)
    assert [row for row in short(rows(found)) if row[2] == G] == [
        (10, 15, G, GapReason.START, 0),
        (10, 30, G, GapReason.CONNECTION, 0),
    ]
    assert [state is not None for _, state in states(found)] == [False, True, False, True]
    assert (found.stats.gaps, found.stats.snapshots) == (1, 2)


def test_books_of_some_levels_and_best_prices(tmp_path: Path) -> None:
    levels = [{"price": 100.1, "amount": 1.5}, {}]
    books = message(
        *("book_snapshot", 10, 15),
        name="book_snapshot_2_0ms",
        depth=2,
        interval=0,
        bids=levels,
        asks=[],
    )
    ticker = message(
        *("book_ticker", 20, 26),
        askAmount=2,
        askPrice=100.3,
        bidPrice=100.1,
        bidAmount=1.5,
    )
    both = replayed(
        machine_with(books, ticker), tmp_path, types=["book_snapshot_2_0ms", "book_ticker"]
    )
    best = int(Kind.BEST)
    assert [row[2:] for row in rows(both)[1:]] == [
        (S, 0, 0),
        (L | LAST, 1001, 1500),
        (best, 1001, 1500),
        (best | SELL | LAST, 1003, 2000),
    ]
    alone = replayed(machine_with(ticker), tmp_path, types=["book_ticker"])
    assert [row[2:] for row in rows(alone)[1:]] == [
        (S, 0, 0),
        (L, 1001, 1500),
        (L | SELL | LAST, 1003, 2000),
    ]


def test_a_quote_beside_a_book_is_a_best_price_and_a_book_of_one_level_a_book(
    tmp_path: Path,
) -> None:
    one = message(
        *("book_snapshot", 20, 26),
        name="-",
        depth=1,
        interval=0,
        asks=[],
        bids=[{"price": 100.1, "amount": 1.5}],
    )
    beside = replayed(machine_with(SNAPSHOT, one), tmp_path, types=["book_change", "quote"])
    assert rows(beside)[-1][2:] == (Kind.BEST | LAST, 1001, 1500)
    for types in (["quote"], ["book_snapshot_1_0ms"]):
        alone = replayed(machine_with(one), tmp_path, types=types)
        assert [row[2:] for row in rows(alone)[1:]] == [(S, 0, 0), (L | LAST, 1001, 1500)]


def test_a_replay_is_kept_and_not_asked_for_again(tmp_path: Path) -> None:
    machine = machine_with(SNAPSHOT, UPDATE)
    built = rows(replayed(machine, tmp_path))
    assert rows(replayed(machine, tmp_path)) == built
    assert len(machine.asked) == 1
    replayed(machine, tmp_path, end="2024-03-03")
    assert len(machine.asked) == 2


@pytest.mark.parametrize(
    ("lines", "error", "words"),
    [
        ([SNAPSHOT, b"<html>login</html>"], FeedError, "line 2 of the replay: .*found a web page"),
        ([b'{"error":"no"}'], FeedError, "line 1 .*a normalised message of tardis-machine was exp"),
        ([message("trade_bar", 1, 2)], FeedError, "invalid value 'trade_bar'"),
        ([SNAPSHOT, b'{"type":"tra'], FeedError, "line 2 .*as JSON was expected"),
        ([change(1, 2, {100.15: 1}, {}, True)], OffGrid, r"line 1 .*100\.15 is not a multiple"),
        ([change(1, 2, {100.1: -1}, {}, True)], FeedError, "an amount of zero or more"),
        ([UPDATE, SNAPSHOT, change(1, 2, {}, {1: 1}, False)], FeedError, "goes back by 13000 ns"),
        ([], FeedError, "messages of binance-futures BTCUSDT were expected; found none"),
        ([{**SNAPSHOT, "symbol": "ETHUSDT"}], FeedError, "found none from .* among 1 lines"),
    ],
)
def test_what_a_replay_should_not_hold_is_refused_with_its_line(
    tmp_path: Path, lines: list, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        replayed(machine_with(*lines), tmp_path)
    assert not list((tmp_path / "data" / "tapes").iterdir())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, "API key required"), "HTTP 401 .*the first day of each month only; start tardis"),
        ((404, "<html>nginx</html>"), "HTTP 404 with a web page, .*start it with 'npx tardis-mac"),
        ((500, "no such symbol"), "HTTP 500 with 'no such symbol'; check 'data.start'"),
    ],
)
def test_a_refused_replay_is_told_with_what_to_do(
    tmp_path: Path, answer: tuple[int, str], words: str
) -> None:
    machine = TardisMachine()
    machine.answer = answer
    with pytest.raises(FeedError, match=words):
        replayed(machine, tmp_path)


def test_a_replay_that_breaks_off_is_no_tape(tmp_path: Path) -> None:
    machine = machine_with(SNAPSHOT, UPDATE)
    machine.breaks_off = True
    with pytest.raises(FeedError, match=r"broke off after . lines"):
        replayed(machine, tmp_path)
    assert not list((tmp_path / "data" / "tapes").iterdir())


def test_where_nothing_listens_it_is_said_what_to_start(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match=r"nothing listens there .*npx tardis-machine"):
        asyncio.run(source(tmp_path, url="http://127.0.0.1:9", **DAYS).tape())


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "either 'paths', of CSV datasets, or 'url'.* found none"),
        ({"url": "http://x:1", "paths": ["x"]}, "found several"),
        ({"url": "127.0.0.1:8000"}, "data.url: an address such as http://127"),
        (
            {"url": "http://x:1", "types": ["trades", "book_change"]},
            r"found 'trades'; did you mean 'tr",
        ),
        ({"url": "http://x:1", "types": ["book_snapshot_25"]}, "book_snapshot_25_100ms"),
        ({"url": "http://x:1", "types": ["trade"]}, "add book_change"),
        ({"url": "http://x:1", "types": ["book_change", "book_snapshot_5_1s"]}, "be told twice"),
        ({"url": "http://x:1", "start": "March"}, "data.start: a time such as 2024-03-01"),
        ({"url": "http://x:1", "start": "2024-03-02", "end": "2024-03-01"}, "a time after data.st"),
    ],
)
def test_a_mistake_in_the_section_is_refused(tmp_path: Path, config: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        source(tmp_path, **config)


def test_a_backtest_needs_a_span_and_a_dry_run_no_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'data.start' and 'data.end'; found neither"):
        asyncio.run(source(tmp_path, url="http://127.0.0.1:9").tape())
    with pytest.raises(UsageError, match=r"'mmkit trade' needs a live source"):
        asyncio.run(anext(source(tmp_path, paths=["x"]).stream()))


# --- live ----------------------------------------------------------------------------------------


def streamed(
    machine: TardisMachine, folder: Path, count: int, **config: Any
) -> tuple[list[list[Row]], list[int]]:
    """The first batches of rows of a dry run, and when each was received."""

    async def run() -> tuple[list[list[Row]], list[int]]:
        async with running(machine):
            feed = source(folder, url=machine.url, clock=SystemClock(), **config).stream()
            batches: list[list[Row]] = []
            times: list[int] = []
            async with asyncio.timeout(20):
                async for batch in feed:
                    batches.append(batch)
                    times.append(time.time_ns())
                    if len(batches) == count:
                        break
            await feed.aclose()
            return batches, times

    return asyncio.run(run())


def kinds(batches: list[list[Row]]) -> list[list[int]]:
    return [[row[2] for row in batch] for batch in batches]


def test_a_live_stream_becomes_rows_stamped_by_our_clock(tmp_path: Path) -> None:
    machine = TardisMachine()
    machine.sessions = [sends(SNAPSHOT, UPDATE, TRADE)]
    batches, times = streamed(machine, tmp_path, 3)
    assert kinds(batches) == [[G, S, L, L, L | SELL | LAST], [L, L | SELL | LAST], [TR | LAST]]
    for batch, at in zip(batches, times, strict=True):
        assert {row[1] for row in batch} == {batch[0][1]}
        assert 0 <= at - batch[0][1] < 1_000_000_000
        assert all(row[0] <= row[1] for row in batch)
    assert machine.asked[0]["withErrorMessages"] is True
    assert machine.asked[0]["timeoutIntervalMS"] == 30_000


@pytest.mark.parametrize(
    "ending",
    [
        sends(SNAPSHOT, UPDATE, close=1011, reason="Too many errors"),
        sends(SNAPSHOT, UPDATE, close=1008, reason="Too much backpressure"),
        sends(SNAPSHOT, UPDATE, close=1000),
        sends(SNAPSHOT, UPDATE, close=1001),
        sends(SNAPSHOT, UPDATE, disconnect(40)),
    ],
    ids=["1011", "1008", "1000", "1001", "disconnect message"],
)
def test_a_loss_is_told_at_once_with_its_reason(tmp_path: Path, ending: Any) -> None:
    machine = TardisMachine()
    machine.sessions = [ending]
    batches, _ = streamed(machine, tmp_path, 3)
    assert kinds(batches)[2] == [G]
    assert batches[2][0][3] == GapReason.CONNECTION


def test_after_a_reconnect_updates_wait_for_the_snapshot(tmp_path: Path) -> None:
    anew = change(50, 52, {99.9: 1}, {100.2: 1}, True)
    machine = TardisMachine()
    machine.sessions = [sends(SNAPSHOT, close=1011), sends(UPDATE, anew, UPDATE)]
    batches, _ = streamed(machine, tmp_path, 4)
    assert kinds(batches)[1:] == [[G], [S, L, L | SELL | LAST], [L, L | SELL | LAST]]
    assert batches[1][0][3] == GapReason.CONNECTION


def test_a_connection_that_breaks_without_a_word_is_a_loss(tmp_path: Path) -> None:
    async def first(socket: Any) -> None:
        await socket.send_str(json.dumps(SNAPSHOT))
        await vanishes(socket)

    machine = TardisMachine()
    machine.sessions = [first, sends(SNAPSHOT)]
    batches, _ = streamed(machine, tmp_path, 3)
    assert [batch[0][2:4] for batch in batches[1:]] == [(G, GapReason.CONNECTION), (S, 0)]


def test_silence_is_a_loss_and_connects_anew(tmp_path: Path) -> None:
    machine = TardisMachine()
    machine.sessions = [sends(SNAPSHOT), sends(SNAPSHOT)]
    batches, _ = streamed(machine, tmp_path, 3, silence="300ms")
    assert [batch[0][2:4] for batch in batches[1:]] == [(G, GapReason.SILENCE), (S, 0)]
    assert machine.asked[0]["timeoutIntervalMS"] == 300


def test_an_error_message_is_told_in_the_log_and_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine = TardisMachine()
    machine.sessions = [sends(SNAPSHOT, ERROR, UPDATE)]
    assert kinds(streamed(machine, tmp_path, 2)[0])[1] == [L, L | SELL | LAST]
    assert "error='fetch failed' in_a_row=3" in caplog.text


@pytest.mark.parametrize(
    ("session", "words"),
    [
        (
            "<html><body>Sign in</body></html>",
            "found HTTP 200 with a web page, .*Sign in.* 5 times",
        ),
        (
            sends(close=1008, reason="Invalid options"),
            "code 1008 'Invalid options'.*5 times; start",
        ),
    ],
    ids=["a web page", "closed at once"],
)
def test_a_first_contact_that_fails_ends_with_what_was_found(
    tmp_path: Path, session: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmkit_tardis.live._FIRST_DELAYS_S", (0.01,) * 4)
    machine = TardisMachine()
    machine.sessions = [session]
    with pytest.raises(FeedError, match=words):
        streamed(machine, tmp_path, 1)
    assert len(machine.asked) == 5


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        ("hello", FeedError, "ws-stream-normalized: a message of tardis-machine as JSON"),
        ({**TRADE, "price": 100.15}, OffGrid, r"100\.15 is not a multiple of the tick"),
    ],
)
def test_a_message_that_cannot_be_read_ends_the_run(
    tmp_path: Path, bad: Any, error: type[Exception], words: str
) -> None:
    machine = TardisMachine()
    machine.sessions = [sends(SNAPSHOT, bad)]
    with pytest.raises(error, match=words):
        streamed(machine, tmp_path, 2)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["bid", "ask"]), st.integers(1, 4), st.integers(0, 3)),
        st.sampled_from(["snapshot", "lost", "closed"]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_whatever_is_lost_the_book_is_the_servers_or_unknown(
    steps: list, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The server keeps a book, and sends a snapshot of it when asked to, as after a connection of its own was lost."""
    folder = tmp_path_factory.mktemp("machine")
    book: dict[str, dict[float, float]] = {"bid": {}, "ask": {}}
    connections: list[list[dict[str, Any]]] = [[]]
    expected: list[dict[str, dict[float, float]] | None] = []
    known = told = False
    for n, step in enumerate([*steps, "snapshot"]):
        if step == "snapshot":
            connections[-1].append(change(n, n, dict(book["bid"]), dict(book["ask"]), True))
            known = told = True
            expected.append({side: dict(levels) for side, levels in book.items()})
        elif step in ("lost", "closed"):
            if known:
                expected.append(None)
            known = False
            if step == "lost":
                connections[-1].append(disconnect(n))
            elif told and connections[-1]:
                connections.append([])
        else:
            side, price, amount = step
            book[side][float(price)] = float(amount)
            if not amount:
                del book[side][float(price)]
            levels = {"bid": {}, "ask": {}, side: {float(price): float(amount)}}
            connections[-1].append(change(n, n, levels["bid"], levels["ask"], False))
            if known:
                expected.append({side: dict(levels) for side, levels in book.items()})
    machine = TardisMachine()
    machine.sessions = [
        *(sends(*each, close=1011) for each in connections[:-1]),
        sends(*connections[-1]),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmkit_tardis.live.random.uniform", lambda low, high: 0.02)
        batches, _ = streamed(machine, folder, len(expected))
    found = Tape.from_rows(
        asyncio.run(source(folder, url="http://x:1").instrument()),
        [row for batch in batches for row in batch],
    )
    seen = [
        None if state is None else {"bid": state[0], "ask": state[1]} for _, state in states(found)
    ][1:]
    assert seen == [
        None
        if state is None
        else {
            side: {float(p): float(a) for p, a in levels.items()} for side, levels in state.items()
        }
        for state in expected
    ]
    assert all(row[2] & KIND != Kind.GAP or row[2] & LAST for batch in batches for row in batch)
