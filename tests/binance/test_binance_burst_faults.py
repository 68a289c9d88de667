"""With faults planted among them, messages that piled up make the rows and gaps that they make one by one."""

from __future__ import annotations

from collections import Counter

import pytest
from binance_fixtures import SPOT, USDM, book_of, snapshot, spot_diff, wire
from faulty import FAULTS, Faulty
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.book import Book
from mmkit.tape import KIND, GapReason, Kind, Row
from mmkit_binance.burst import Burst
from mmkit_binance.wire import BinanceWire

INSTRUMENTS = {"spot": SPOT, "usdm": USDM}
STREAMS = ("depth", "trade", "bookTicker")


def one_by_one(found: BinanceWire, messages: list[bytes], ts_local: int) -> list[Row]:
    """Take messages in as slowly and plainly as can be: what makes a book wrong is a gap, and no rows."""
    rows: list[Row] = []
    for raw in messages:
        made = found.message(raw, ts_local)
        rows += found.lost(GapReason.CHECK, ts_local) if found.doubt else made
    return rows


def in_bursts(found: BinanceWire, burst: Burst, messages: list[bytes], ts_local: int) -> list[Row]:
    rows: list[Row] = []
    while messages:
        number, made = burst.take(messages, ts_local)
        messages = messages[number:]
        rows += made
        if found.doubt:
            rows += found.lost(GapReason.CHECK, ts_local)
    return rows


def answered(found: BinanceWire, raw: bytes, ts_local: int) -> list[Row]:
    made = found.snapshot(raw, ts_local)
    return found.lost(GapReason.CHECK, ts_local) if found.doubt else made


def gaps(rows: list[Row]) -> Counter[GapReason]:
    return Counter(GapReason(row[3]) for row in rows if row[2] & KIND == Kind.GAP)


def check(
    market: str, seed: int, share: float, sizes: list[int], switch: int
) -> tuple[Counter[GapReason], list[str]]:
    said = Faulty(market, seed, share)
    single, many = (wire(INSTRUMENTS[market], *STREAMS) for _ in range(2))
    burst = Burst(many)
    found: Counter[GapReason] = Counter()
    book = Book()
    for number, size in enumerate(sizes, 1):
        if number == switch:
            burst.use_compiled()
        messages = said.say(size)
        expected = one_by_one(single, messages, number)
        assert in_bursts(many, burst, messages, number) == expected
        if single.wants_snapshot and single.buffering:
            raw = said.snapshot()
            told = [answered(one, raw, number) for one in (single, many)]
            assert told[0] == told[1]
            expected += told[0]
        assert many.wants_snapshot == single.wants_snapshot
        assert (many.doubt, single.doubt) == ("", "")
        for row in expected:
            book.apply(row)
            if row[2] & 0x80 and book.known and book.bids.levels and book.asks.levels:
                assert max(book.bids.levels) < min(book.asks.levels)  # a trusted one never crosses
        found += gaps(expected)
    assert many.stats == single.stats
    return found, said.planted


@settings(max_examples=150, deadline=None)
@given(
    market=st.sampled_from(["spot", "usdm"]),
    seed=st.integers(0, 2**32),
    share=st.sampled_from([0.0, 0.01, 0.05, 0.3]),
    # Fewer than would have the compiled reader loaded, which there is no loop for here.
    sizes=st.lists(st.integers(1, 24), min_size=1, max_size=30),
    switch=st.integers(1, 10),
)
def test_rows_and_gaps_are_the_same_whatever_is_wrong_and_however_they_are_grouped(
    market: str, seed: int, share: float, sizes: list[int], switch: int
) -> None:
    check(market, seed, share, sizes, switch)


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_every_fault_is_planted_and_every_gap_is_told_by_compiled_code_as_well(market: str) -> None:
    found: Counter[GapReason] = Counter()
    planted: set[str] = set()
    for seed in range(40):
        gap, fault = check(market, seed, 0.02, [60] * 20, switch=1)
        found += gap
        planted.update(fault)
    assert planted == set(FAULTS)
    assert found[GapReason.CHECK] > 40
    assert found[GapReason.SEQUENCE] > 40


def known(burst_of: BinanceWire) -> Burst:
    burst_of.snapshot(snapshot(100, [(99.0, 1)], [(101.0, 1)]), 1)
    burst = Burst(burst_of)
    burst.use_compiled()
    return burst


def test_a_message_that_crosses_the_book_ends_a_burst_and_is_not_told() -> None:
    found = wire(SPOT, *STREAMS)
    burst = known(found)
    good = [spot_diff(100 + n, 100 + n, 5, [(99.0, n)]).encode() for n in range(1, 6)]
    crossing = spot_diff(106, 106, 5, [(101.5, 1)]).encode()
    after = spot_diff(107, 107, 5, [(101.5, 0)]).encode()
    number, rows = burst.take([*good, crossing, after, after], 7)
    assert number == 6
    assert [row[4] for row in rows] == [1000, 2000, 3000, 4000, 5000]
    assert found.doubt == "it is crossed: bid 1015 and ask 1010 in ticks at update 106"
    found.lost(GapReason.CHECK, 7)
    assert not found.doubt
    assert burst.take([after], 7) == (1, [])  # it waits for a snapshot
    assert found.wants_snapshot


def test_the_words_of_a_doubt_are_the_same_from_compiled_code() -> None:
    for planted in ("crossed", "contradicted"):
        words = []
        for compiled in (False, True):
            found = wire(SPOT, *STREAMS)
            burst = known(found) if compiled else None
            if burst is None:
                found.snapshot(snapshot(100, [(99.0, 1)], [(101.0, 1)]), 1)
            said = [spot_diff(101, 101, 5, [(99.5, 2)])]
            if planted == "crossed":
                said += [spot_diff(102, 102, 5, [(101.0, 2)])]
            else:
                ticker = '{"u":101,"s":"BTCUSDT","b":"99.4","B":"1.0","a":"101.0","A":"1.0"}'
                said += [f'{{"stream":"btcusdt@bookTicker","data":{ticker}}}'] * 3
            raws = [one.encode() for one in said]
            if burst is None:
                for raw in raws:
                    found.message(raw, 7)
            else:
                burst.take([*raws, *raws], 7)
            words.append(found.doubt)
        assert words[0] == words[1] != ""


def test_tickers_that_differed_before_compiled_code_took_over_count() -> None:
    found = wire(SPOT, *STREAMS)
    found.snapshot(snapshot(100, [(99.0, 1)], [(101.0, 1)]), 1)
    ticker = b'{"u":100,"s":"BTCUSDT","b":"99.4","B":"1.0","a":"101.0","A":"1.0"}'
    raw = b'{"stream":"btcusdt@bookTicker","data":' + ticker + b"}"
    found.message(raw, 2)
    found.message(raw, 2)
    burst = Burst(found)
    burst.use_compiled()
    number, rows = burst.take([raw] * 6, 3)
    assert (number, rows) == (1, [])
    assert "3 times in a row" in found.doubt


def test_recordings_are_told_as_they_are() -> None:
    found = wire(SPOT, *STREAMS)
    rows = found.snapshot(snapshot(100, [(99.0, 1)], [(101.0, 1)]), 1)
    reader = found.fast_reader()
    assert reader is not None
    rows += found.message(spot_diff(101, 101, 5, [(102.0, 2)]), 2)
    assert not found.doubt
    assert book_of(rows).bids.best == 1020
