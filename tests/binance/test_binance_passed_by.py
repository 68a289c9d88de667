"""A book that trades pass by: its stream has fallen silent while others go on."""

from __future__ import annotations

import asyncio

import pytest
from binance_fixtures import book_of, envelope
from binance_venue import Venue, collect
from websockets.asyncio.server import ServerConnection

from mmkit.tape import KIND, GapReason, Kind, Row
from mmkit_binance.order import on_book
from mmkit_binance.watch import PASSED_BY, Finding, Watch

BOOK, TRADE, OTHER = "a@depth@100ms", "a@trade", "b@trade"


def watch() -> Watch:
    """A watch whose other rules need so long that they have no say."""
    found = Watch(silence_s=1000, within_s=1000, behind_s=2)
    found.ask([BOOK, TRADE, OTHER], 0)
    for name in (BOOK, TRADE, OTHER):
        found.hear(name, 1)
    found.hear(BOOK, 1)
    return found


def stalled(found: Watch, at: float) -> bool:
    """Whether the book is found to have stopped, by somebody who looks every quarter of a second until then."""
    seen = [one for step in range(1, 9) for one in found.look(at - 2 + step / 4)]
    return (BOOK, Finding.STALLED) in [(one.name, one.finding) for one in seen]


def test_a_book_has_stopped_once_several_trades_have_passed_it_by() -> None:
    found = watch()
    for number in range(PASSED_BY):
        assert not stalled(found, 20 + number)
        found.hear(TRADE, 10 + number)
    assert stalled(found, 30)
    assert not stalled(found, 40)  # told once


def test_several_trades_in_one_moment_are_not_yet_a_book_that_has_stopped() -> None:
    found = watch()
    for _ in range(10 * PASSED_BY):
        found.hear(TRADE, 10)
    assert not stalled(found, 12.25)  # suspected since 12
    found.hear(BOOK, 12.3)
    assert not stalled(found, 20)


@pytest.mark.parametrize("anew", ["update", "connection"])
def test_an_update_or_another_connection_begins_the_count_anew(anew: str) -> None:
    found = watch()
    for _ in range(PASSED_BY):
        found.hear(TRADE, 10)
    if anew == "update":
        found.hear(BOOK, 11)
    else:
        found.closed([BOOK], 11)
        assert not stalled(found, 30)  # nothing is expected of what has no connection
        found.opened([BOOK], 31)
    found.hear(TRADE, 32)
    assert not stalled(found, 40)


def test_prints_that_did_not_meet_the_book_do_not_count() -> None:
    found = watch()
    data = {"e": "trade", "s": "BTCUSDT", "X": "INSURANCE_FUND"}
    for reason in ("INSURANCE_FUND", "ADL", "NA"):
        raw = envelope("btcusdt@trade", data | {"X": reason}).encode()
        assert not on_book(raw)
        for _ in range(PASSED_BY):
            found.hear(TRADE, 10, on_book=on_book(raw))
    assert not stalled(found, 30)
    assert on_book(envelope("btcusdt@trade", data | {"X": "MARKET"}).encode())
    assert on_book(envelope("btcusdt@trade", {"e": "trade", "s": "BTCUSDT"}).encode())  # spot


def test_trades_of_another_symbol_or_without_a_book_prove_nothing() -> None:
    found = watch()
    for _ in range(PASSED_BY):
        found.hear(OTHER, 10)
    assert not stalled(found, 30)
    found.forget([BOOK])
    for _ in range(PASSED_BY):
        found.hear(TRADE, 40)
    assert not stalled(found, 60)


def test_a_live_book_that_trades_pass_by_is_a_silence_long_before_the_time_for_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And a connection that goes on is left for another, as nobody knows what it does not say."""

    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        data = {"e": "trade", "s": "BTCUSDT", "p": "100.00", "q": "0.5", "m": True}
        for count in range(10_000):
            if number > 1 or count < 20:
                await socket.send(venue.diff())
            now = {"E": venue.now_ms(), "T": venue.now_ms(), "t": count}
            await socket.send(envelope("btcusdt@trade", data | now))
            await asyncio.sleep(0.02)

    async def inside() -> list[Row]:
        async with Venue(script).open() as venue:
            source = venue.source()  # `silence` is half a minute
            return await collect(
                source, lambda rows: len(reasons(rows)) > 1 and book_of(rows).known
            )

    rows = asyncio.run(inside())
    assert reasons(rows) == [GapReason.START, GapReason.SILENCE]
    gap = next(row[1] for row in rows if row[2] & KIND == Kind.GAP and row[3] == GapReason.SILENCE)
    last = max(row[1] for row in rows if row[2] & KIND == Kind.LEVEL and row[1] < gap)
    assert 2 < (gap - last) / 1e9 < 6
    assert "stream has stopped while others go on: btcusdt@depth@100ms" in caplog.text


def reasons(rows: list[Row]) -> list[GapReason]:
    return [GapReason(row[3]) for row in rows if row[2] & KIND == Kind.GAP]
