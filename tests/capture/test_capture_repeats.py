"""What was recorded twice is refused; files that only lie beside each other are not."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from capture_fixtures import (
    DATA,
    RECORDINGS,
    line,
    small,
    snapshot_message,
    tape,
    trade_message,
    write,
)
from hypothesis import given
from hypothesis import strategies as st

from mmkit.errors import CaptureError
from mmkit.tape import KIND, Kind, Tape
from mmkit_capture.repeats import Run, StreamSpan

SPOT, USDM = RECORDINGS[3], RECORDINGS[2]


@cache
def recording(market: str) -> tuple[str, ...]:
    path = {"spot": SPOT, "usdm": USDM}[market].paths[0]
    with gzip.open(DATA / path, "rt") as file:
        return tuple(next(file) for _ in range(4000))


def build(market: str, tmp_path: Path, *files: tuple[str, ...], **options: Any) -> Tape:
    found = {"spot": SPOT, "usdm": USDM}[market]
    paths = [write(tmp_path / f"{number}.txt", lines) for number, lines in enumerate(files)]
    return tape(
        paths,
        tmp_path / "userdir",
        market=found.market,
        symbol=found.symbol,
        tick=found.tick,
        lot=found.lot,
        **options,
    )


def moved(lines: tuple[str, ...], seconds: float) -> tuple[str, ...]:
    """Return the lines as a recorder would have written them whose clock is ahead by so much."""
    unit = 10 ** (len(lines[0].split()[0]) - 10)
    stamps = (text.partition(" ") for text in lines)
    return tuple(f"{int(stamp) + int(seconds * unit)} {body}" for stamp, _, body in stamps)


MARKETS = pytest.mark.parametrize("market", ["spot", "usdm"])


@MARKETS
@pytest.mark.parametrize("seconds", [0, 0.01, 2, 3600])
def test_the_same_stream_in_two_files_is_refused_whatever_the_clocks_say(
    market: str, seconds: float, tmp_path: Path
) -> None:
    lines = recording(market)
    first, second = lines[:2500], moved(lines[1500:], seconds)
    with pytest.raises(CaptureError) as error:
        build(market, tmp_path, first, second)
    words = str(error.value)
    assert words.startswith(f"{tmp_path}/0.txt and {tmp_path}/1.txt: one recording of each stream")
    assert "found 'depth' in both (20" in words
    assert "Z to 20" in words
    assert "list one of the two under 'data.paths', or have each recorder take streams" in words


@MARKETS
def test_the_span_is_that_of_the_venue_and_the_ids_are_those_of_the_trades(
    market: str, tmp_path: Path
) -> None:
    lines = recording(market)
    trades = [text for text in lines if "@trade" in text]
    depth = tuple(text for text in lines if "@trade" not in text)
    with pytest.raises(CaptureError) as error:
        build(market, tmp_path, depth, tuple(trades[:60]), tuple(trades[40:]))
    first, last = (text.split('"t":')[1].split(",")[0] for text in (trades[40], trades[59]))
    assert f"ids {first} to {last})" in str(error.value)
    assert "1.txt" in str(error.value)
    assert "2.txt" in str(error.value)


@MARKETS
def test_a_file_that_is_listed_twice_is_refused_under_another_name_and_read_once_under_its_own(
    market: str, tmp_path: Path
) -> None:
    lines = recording(market)
    with pytest.raises(CaptureError, match="in both"):
        build(market, tmp_path, lines, lines)
    path = tmp_path / "0.txt"
    found = {"spot": SPOT, "usdm": USDM}[market]
    options = {"market": market, "symbol": found.symbol, "tick": found.tick, "lot": found.lot}
    once = tape(path, tmp_path / "userdir", **options)
    twice = tape([path, path], tmp_path / "userdir", **options)
    assert len(once) == len(twice)


@MARKETS
def test_pieces_that_do_not_share_a_message_are_one_recording(market: str, tmp_path: Path) -> None:
    lines = recording(market)
    whole = build(market, tmp_path, lines)
    # A second recorder bridged the time in which the first was down.
    hole = build(market, tmp_path, lines[:1500] + lines[2500:], lines[1500:2500])
    # Each stream in its own file, all at once.
    depth = tuple(text for text in lines if "@depth" in text or "lastUpdateId" in text)
    rest = tuple(text for text in lines if "@depth" not in text and "lastUpdateId" not in text)
    apart = build(market, tmp_path, depth, rest)
    for found in (hole, apart):
        for name in ("ts_exchange", "ts_local", "kind", "price", "quantity"):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


@MARKETS
def test_a_stream_that_does_not_become_rows_may_be_there_twice(market: str, tmp_path: Path) -> None:
    lines = recording(market)
    tickers = tuple(text for text in lines if "@bookTicker" in text)
    found = build(market, tmp_path, lines, tickers)
    assert found.stats.tickers_different == 0
    with pytest.raises(CaptureError, match="'bookTicker' in both"):
        build(market, tmp_path, lines, tickers, streams=["depth", "trade", "bookTicker"])


@MARKETS
def test_a_trade_that_a_file_holds_twice_is_refused_with_its_line(
    market: str, tmp_path: Path
) -> None:
    lines = recording(market)
    twice = tuple(text for text in lines for _ in range(1 + ("@trade" in text)))
    number = 2 + next(at for at, text in enumerate(lines) if "@trade" in text)
    with pytest.raises(CaptureError) as error:
        build(market, tmp_path, twice)
    assert str(error.value).startswith(f"{tmp_path}/0.txt:{number}: each trade was expected once")
    assert "choose 'data.streams' without 'trade'" in str(error.value)
    assert build(market, tmp_path, twice, streams=["depth"]).stats.gaps == 0


def test_an_update_that_a_file_holds_twice_changes_nothing(tmp_path: Path) -> None:
    lines = recording("usdm")
    twice = tuple(text for text in lines for _ in range(1 + ("@depth" in text)))
    found, once = build("usdm", tmp_path, twice), build("usdm", tmp_path, lines)
    assert len(found) == len(once)
    assert found.stats.gaps == 0


def numbered(number: int, trade: int) -> str:
    message = trade_message(number)
    message["data"]["t"] = trade
    return line(number, message)


def test_a_venue_that_was_reset_counts_anew_and_that_is_no_repetition(tmp_path: Path) -> None:
    first = [*small()[:-1], numbered(7, 1), numbered(8, 2)]
    path = write(tmp_path / "one.txt", [*first, numbered(20, 1), numbered(21, 2)])
    assert (tape(path, tmp_path).kind & KIND == Kind.TRADE).sum() == 4
    paths = [
        write(tmp_path / "first.txt", first),
        write(tmp_path / "second.txt", [numbered(20, 1), numbered(21, 2)]),
    ]
    assert (tape(paths, tmp_path).kind & KIND == Kind.TRADE).sum() == 4


def test_without_ids_the_recorders_times_tell(tmp_path: Path) -> None:
    lines = small()
    trades = [line(number, trade_message(number)) for number in range(10, 20)]
    whole = write(tmp_path / "whole.txt", [*lines, *trades[:6]])
    later = write(tmp_path / "later.txt", trades[6:])
    assert (tape([whole, later], tmp_path).kind & KIND == Kind.TRADE).sum() == 11
    over = write(tmp_path / "over.txt", trades[4:])
    with pytest.raises(CaptureError) as error:
        tape([whole, over], tmp_path)
    begin, end = "2023-11-14T22:13:21.400000Z", "2023-11-14T22:13:21.500000Z"
    assert f"'trade' in both ({begin} to {end})" in str(error.value)


def test_two_books_at_once_by_two_clocks_are_refused_as_well(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "one.txt", small()),
        write(tmp_path / "two.txt", [line(0, snapshot_message()), *small()[1:-1]]),
    ]
    with pytest.raises(CaptureError, match="'depth' in both"):
        tape(paths, tmp_path)


# --- what a file holds, message by message and many at a time --------------------------------------

runs = st.lists(
    st.tuples(st.integers(1, 12), st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=30
)


def span(messages: list[tuple[int, int, int]]) -> StreamSpan:
    found = StreamSpan(0, 0)
    for number, (first, more, at) in enumerate(messages, 1):
        found.add(Run(first, first + more, at, at), number)
    return found


@given(mine=runs, theirs=runs)
def test_two_files_share_something_if_a_message_of_one_is_in_the_other(
    mine: list[tuple[int, int, int]], theirs: list[tuple[int, int, int]]
) -> None:
    # Times go forward, as the venue's do, so that the runs are what was recorded.
    mine = [(first, 0, at) for at, (first, _, _) in enumerate(mine)]
    theirs = [(first, 0, at) for at, (first, _, _) in enumerate(theirs)]
    shared = span(mine).shared(span(theirs))
    assert bool(shared) == bool(span(theirs).shared(span(mine)))
    if set(mine) & set(theirs):
        assert shared
    if not {first for first, _, _ in mine} & {first for first, _, _ in theirs}:
        assert not shared
