"""Snapshots that only another one can tell to be wrong, and books that cannot be right."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from binance_fixtures import (
    SPOT,
    USDM,
    book_of,
    envelope,
    sides,
    snapshot,
    spot_diff,
    usdm_diff,
    wire,
)
from binance_venue import Venue, collect
from websockets.asyncio.server import ServerConnection

from mmkit.instruments import Instrument
from mmkit.interfaces import WireFormatContext
from mmkit.tape import KIND, GapReason, Kind, Row
from mmkit_binance.tickers import DISAGREEING
from mmkit_binance.wire import BinanceConfig, BinanceWire

Levels = list[tuple[float, float]]

ASKS: Levels = [(101.0, 1)]


def cautious(found: Instrument) -> BinanceWire:
    context = WireFormatContext(instrument=found, streams=("depth",))
    return BinanceWire(BinanceConfig(confirm=True), context)


def gaps(rows: list[Row]) -> list[GapReason]:
    return [GapReason(row[3]) for row in rows if row[2] & KIND == Kind.GAP]


def test_a_snapshot_is_used_once_a_second_one_agrees() -> None:
    decoder = cautious(SPOT)
    decoder.message(spot_diff(5, 10, 1, [(99.0, 1)]), 100)
    assert decoder.snapshot(snapshot(10, [(99.0, 1)], ASKS), 200) == []
    assert decoder.buffering  # the first one waits for a second
    decoder.message(spot_diff(11, 12, 2, [(99.0, 3), (98.0, 4)]), 300)
    rows = decoder.snapshot(snapshot(12, [(99.0, 3), (98.0, 4)], ASKS), 400)
    assert sides(book_of(rows)) == ({990: 3000, 980: 4000}, {1010: 1000})
    assert decoder.stats.snapshots == 1
    assert decoder.stats.refused_snapshots == 0


def test_two_that_are_the_same_agree_though_the_market_is_quiet() -> None:
    decoder = cautious(USDM)
    decoder.message(usdm_diff(5, 9, 4, 1, [(99.0, 1)]), 100)
    for _ in range(2):
        rows = decoder.snapshot(snapshot(12, [(99.0, 1)], ASKS, time=2), 200)
    assert sides(book_of(rows)) == ({990: 1000}, {1010: 1000})


@pytest.mark.parametrize(
    "wrong",
    [
        snapshot(10, [(99.0, 2)], ASKS),  # a quantity
        snapshot(10, [], ASKS),  # a side
        snapshot(10, [(99.0, 1), (98.5, 1)], [*ASKS, (102.0, 1)]),  # a level too many
        snapshot(10, [(12.0, 1)], [(12.5, 1)]),  # another symbol
    ],
)
def test_of_two_that_disagree_neither_is_used_and_the_next_one_decides(wrong: str) -> None:
    decoder = cautious(SPOT)
    decoder.message(spot_diff(5, 10, 1, [(99.0, 1)]), 100)
    right = snapshot(10, [(99.0, 1), (98.0, 5)], ASKS)
    assert decoder.snapshot(wrong, 200) == []
    assert decoder.snapshot(right, 300) == []
    assert decoder.wants_snapshot
    assert decoder.stats.refused_snapshots == 1
    assert sides(book_of(decoder.snapshot(right, 400))) == ({990: 1000, 980: 5000}, {1010: 1000})


def test_what_lies_between_two_is_waited_for_before_they_are_called_different() -> None:
    decoder = cautious(SPOT)
    decoder.message(spot_diff(5, 10, 1, [(99.0, 1)]), 100)
    decoder.snapshot(snapshot(10, [(99.0, 1)], ASKS), 200)
    assert decoder.snapshot(snapshot(12, [(99.0, 7)], ASKS), 300) == []
    assert not decoder.buffering  # no third one is needed yet
    assert decoder.stats.refused_snapshots == 0
    rows = decoder.message(spot_diff(11, 13, 2, [(99.0, 8)]), 400)
    assert sides(book_of(rows)) == ({990: 8000}, {1010: 1000})


def test_what_one_does_not_reach_is_no_disagreement() -> None:
    decoder = cautious(SPOT)
    decoder.message(spot_diff(5, 10, 1, [(99.0, 1)]), 100)
    decoder.snapshot(snapshot(10, [(99.0, 1), (98.0, 1), (97.0, 1)], ASKS), 200)
    assert decoder.snapshot(snapshot(10, [(99.0, 1), (98.0, 1)], ASKS), 300)


def test_a_loss_forgets_the_first_of_two() -> None:
    decoder = cautious(SPOT)
    decoder.message(spot_diff(5, 10, 1, [(99.0, 1)]), 100)
    decoder.snapshot(snapshot(10, [(99.0, 1)], ASKS), 200)
    decoder.lost(GapReason.CONNECTION, 300)
    decoder.message(spot_diff(5, 10, 1, [(99.0, 1)]), 400)
    assert decoder.snapshot(snapshot(10, [(99.0, 1)], ASKS), 500) == []


def ticker(update_id: int, bid: float, quantity: float) -> str:
    data = {"u": update_id, "s": "BTCUSDT", "b": f"{bid:.2f}", "B": f"{quantity:.3f}"}
    return envelope("btcusdt@bookTicker", data | {"a": "101.00", "A": "1.000"})


def test_a_crossed_book_is_in_doubt_at_once_and_a_loss_takes_the_doubt_away() -> None:
    decoder = wire(SPOT)
    decoder.message(spot_diff(5, 10, 1, [(99.0, 1)]), 100)
    decoder.snapshot(snapshot(10, [(99.0, 1)], ASKS), 200)
    assert not decoder.doubt
    decoder.message(spot_diff(11, 11, 2, [(101.0, 1)]), 300)
    assert "crossed: bid 1010 and ask 1010" in decoder.doubt
    decoder.lost(GapReason.CHECK, 400)
    assert not decoder.doubt


def test_best_prices_that_differ_again_and_again_put_the_book_in_doubt() -> None:
    decoder = wire(SPOT)
    decoder.message(spot_diff(5, 10, 1, [(99.0, 1)]), 100)
    decoder.snapshot(snapshot(10, [(99.0, 1)], ASKS), 200)
    for wrong in range(1, DISAGREEING):
        decoder.message(ticker(10, 99.0, 2), 300)
        assert not decoder.doubt
        assert decoder.stats.tickers_different == wrong
    decoder.message(ticker(10, 99.0, 1), 400)  # one that is right speaks for the book
    for _ in range(DISAGREEING):
        assert not decoder.doubt
        decoder.message(ticker(10, 99.0, 2), 500)
    assert "other best prices 3 times in a row" in decoder.doubt


def test_a_live_book_that_the_venues_best_prices_contradict_is_a_gap_and_built_anew() -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        for _ in range(2000):
            await socket.send(venue.diff())
            # The bid's quantity is the update's id; the first snapshot had another best ask.
            await socket.send(ticker(venue.last, 99.0, venue.last))
            await asyncio.sleep(0.005)

    async def main() -> None:
        venue = Venue(script)
        wrong = json.loads(snapshot(101, [(99.0, 101)], [(100.0, 5)]))
        venue.answers["depth"] = [web.json_response(wrong)]
        async with venue.open():
            found = venue.source(streams=["depth", "bookTicker"])
            rows = await collect(found, lambda rows: len(gaps(rows)) > 1 and book_of(rows).known)
            assert gaps(rows) == [GapReason.START, GapReason.CHECK]
            assert dict(book_of(rows).asks.levels) == {1010: 1000}

    asyncio.run(main())


@pytest.mark.parametrize("cut", [b'{"lastUpdateId":150,"bids":[["99.', b"{}"])
def test_a_snapshot_cut_short_or_off_the_grid_is_asked_for_again(cut: bytes) -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        await venue.flow(socket)

    async def main() -> None:
        venue = Venue(script)
        off_grid = snapshot(150, [(99.05, 1)], ASKS)
        venue.answers["depth"] = [
            web.Response(body=body, content_type="application/json")
            for body in (cut, off_grid.encode())
        ]
        async with venue.open():
            found = venue.source(confirm=True)
            rows = await collect(found, lambda rows: book_of(rows).known)
            assert gaps(rows) == [GapReason.START]
            assert found.stats.refused_snapshots == 2
            assert sum("depth" in path for path in venue.asked) >= 4

    asyncio.run(main())
