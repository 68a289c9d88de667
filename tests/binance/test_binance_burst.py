"""Messages taken in together make the rows that they make one by one, whenever compiled code takes over."""

from __future__ import annotations

import gzip
import json
from itertools import islice

import pytest
from binance_fixtures import DATA, SPOT, instrument, snapshot, spot_diff, wire
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.errors import FeedError
from mmkit.tape import Row
from mmkit_binance.burst import Burst
from mmkit_binance.wire import BinanceWire

CAPTURES = {
    "spot": (
        DATA / "binance_spot" / "btcusdt_20240808.gz",
        instrument("spot", tick="0.01", lot="0.00001"),
    ),
    "usdm": (DATA / "binance_usdm" / "btcusdt_20240808.gz", instrument("usdm")),
}


def recorded(market: str) -> list[bytes]:
    path = CAPTURES[market][0]
    with gzip.open(path, "rb") as file:
        return [line.partition(b" ")[2].strip() for line in islice(file, 3000)]


MESSAGES = {market: recorded(market) for market in CAPTURES}


@settings(max_examples=12, deadline=None)
@given(
    market=st.sampled_from(["spot", "usdm"]),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=40),
    switch=st.integers(0, 20),
    lost=st.integers(0, 40),
)
def test_however_they_are_grouped_the_rows_are_the_same(
    market: str, sizes: list[int], switch: int, lost: int
) -> None:
    messages, found = MESSAGES[market], CAPTURES[market][1]
    streams = ("depth", "trade", "bookTicker")
    single, many = wire(found, *streams), wire(found, *streams)
    burst = Burst(many)
    burst._loading = None
    at = 0
    for number, size in enumerate(sizes):
        if number == switch:
            burst.use_compiled()  # in the middle of everything
        if number == lost:
            assert single.lost(2, number) == many.lost(2, number)
        part = messages[at : at + size]
        at += size
        expected: list[Row] = []
        for raw in part:
            expected += single.message(raw, number)
        if part:
            assert without_loading(burst, part, number) == expected
    many_stats, single_stats = many.stats, single.stats
    assert many_stats == single_stats
    assert many.wants_snapshot == single.wants_snapshot


def without_loading(burst: Burst, part: list[bytes], ts_local: int) -> list[Row]:
    """Take messages in; there is no loop here that could load the compiled code."""
    if burst._reader is not None:
        return all_of(burst, part, ts_local)
    rows: list[Row] = []
    for start in range(0, len(part), 31):
        rows += all_of(burst, part[start : start + 31], ts_local)
    return rows


def all_of(burst: Burst, part: list[bytes], ts_local: int) -> list[Row]:
    number, rows = burst.take(part, ts_local)
    assert number == len(part)
    return rows


def ready() -> tuple[BinanceWire, Burst]:
    found = wire(SPOT, "depth", "trade")
    found.snapshot(snapshot(100, [(99.0, 1)], [(101.0, 1)]), 1)
    burst = Burst(found)
    burst.use_compiled()
    return found, burst


def test_what_came_before_a_message_that_cannot_be_read_is_told_first() -> None:
    _, burst = ready()
    good = [spot_diff(100 + n, 100 + n, 5, [(99.0, n)]).encode() for n in range(1, 6)]
    number, rows = burst.take([*good, b"<html>", *good], 7)
    assert number == 5
    assert [row[4] for row in rows] == [1000, 2000, 3000, 4000, 5000]
    with pytest.raises(FeedError, match="a web page"):
        burst.take([b"<html>", *good], 8)


def test_messages_that_the_compiled_reader_must_not_see_are_read_one_by_one() -> None:
    _, burst = ready()
    spread = json.dumps(json.loads(spot_diff(101, 101, 5, [(99.0, 1)])), indent=1)  # has newlines
    chinese = json.dumps({"e": "trade", "s": "币安人生USDT"}, ensure_ascii=False)
    for odd in (spread, chinese):
        last = burst._wire.sync.book or 0
        good = [spot_diff(last + n, last + n, 5, [(99.0, n)]) for n in range(1, 6)]
        if odd is spread:
            good[0] = odd
        else:
            good.insert(2, odd)
        rows = all_of(burst, [raw.encode() for raw in good], 7)
        assert [row[4] for row in rows] == [1000, 2000, 3000, 4000, 5000]
