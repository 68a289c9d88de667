"""Binance's messages as rows, kind by kind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from binance_fixtures import MS, SPOT, USDM, envelope, snapshot, spot_diff, usdm_diff, wire

from mmkit.errors import ConfigError, FeedError, OffGrid
from mmkit.tape import LAST, SELL, GapReason, Kind

NOW = 7_000
LEVEL, ASK = int(Kind.LEVEL), Kind.LEVEL | SELL


def start(ts_exchange: int, ts_local: int = NOW) -> tuple[int, int, int, int, int]:
    return (ts_exchange, ts_local, Kind.GAP | LAST, GapReason.START, 0)


SPOT_TRADE = {
    "e": "trade",
    "E": 1_672_515_782_136,
    "s": "BTCUSDT",
    "t": 12345,
    "p": "16800.10000000",
    "q": "0.20000000",
    "T": 1_672_515_782_134,
    "m": True,
    "M": True,
}
USDM_TRADE = {
    "e": "trade",
    "E": 1_680_652_700_455,
    "T": 1_680_652_700_452,
    "s": "BTCUSDT",
    "t": 3_535_186_032,
    "p": "28145.10",
    "q": "0.002",
    "X": "MARKET",
    "m": False,
}


def test_a_trade_whose_buyer_is_the_maker_is_a_sell_at_its_trade_time() -> None:
    time = 1_672_515_782_134 * MS
    assert wire(SPOT).message(envelope("btcusdt@trade", SPOT_TRADE), NOW) == [
        start(time),
        (time, NOW, Kind.TRADE | SELL | LAST, 168_001, 200),
    ]


def test_a_trade_whose_buyer_is_the_taker_is_a_buy() -> None:
    time = 1_680_652_700_452 * MS
    assert wire(USDM).message(envelope("btcusdt@trade", USDM_TRADE), NOW)[1:] == [
        (time, NOW, Kind.TRADE | LAST, 281_451, 2)
    ]


@pytest.mark.parametrize("reason", ["INSURANCE_FUND", "ADL", "NA"])
def test_a_print_that_did_not_meet_the_book_is_off_book_and_counted(reason: str) -> None:
    decoder = wire(USDM)
    rows = decoder.message(envelope("btcusdt@trade", USDM_TRADE | {"X": reason}), NOW)
    assert [row[2] for row in rows[1:]] == [Kind.OFF_BOOK | LAST]
    assert decoder.stats.off_book == 1


def test_an_aggregated_trade_becomes_a_trade_when_it_is_asked_for() -> None:
    message = {
        "e": "aggTrade",
        "E": 1_626_992_741_575,
        "a": 16_599_292,
        "s": "BTCUSDT",
        "p": "28145.10",
        "q": "0.010",
        "nq": "0.010",
        "f": 1,
        "l": 2,
        "T": 1_626_992_741_421,
        "m": False,
        "st": 1,
    }
    raw = envelope("btcusdt@aggTrade", message)
    time = 1_626_992_741_421 * MS
    assert wire(USDM, "depth", "aggTrade").message(raw, NOW)[1:] == [
        (time, NOW, Kind.TRADE | LAST, 281_451, 10)
    ]
    unwanted = wire(USDM, "depth", "trade")
    assert (unwanted.message(raw, NOW), unwanted.stats.ignored) == ([], 1)


def test_a_spot_snapshot_and_the_diffs_after_it_are_levels_bids_before_asks() -> None:
    decoder = wire(SPOT)
    first = decoder.message(snapshot(10, [(100.0, 1), (99.9, 2)], [(100.1, 3)]), NOW)
    assert first == [
        start(NOW),
        (NOW, NOW, Kind.SNAPSHOT, 0, 0),
        (NOW, NOW, LEVEL, 1000, 1000),
        (NOW, NOW, LEVEL, 999, 2000),
        (NOW, NOW, ASK | LAST, 1001, 3000),
    ]
    second = decoder.message(spot_diff(11, 12, 5, [(100.0, 0)], [(100.1, 4), (100.2, 5)]), NOW + 1)
    assert second == [
        (5 * MS, NOW + 1, LEVEL, 1000, 0),
        (5 * MS, NOW + 1, ASK, 1001, 4000),
        (5 * MS, NOW + 1, ASK | LAST, 1002, 5000),
    ]


def test_a_usdm_update_is_dated_by_its_transaction_time_not_its_event_time() -> None:
    decoder = wire(USDM)
    decoder.message(snapshot(10, [(100.0, 1)], [(100.1, 3)], time=4), NOW)
    rows = decoder.message(usdm_diff(9, 12, 8, 5, [(100.0, 2)]), NOW + 1)
    assert rows == [(5 * MS, NOW + 1, LEVEL | LAST, 1000, 2000)]


def test_an_update_without_levels_makes_no_rows_but_the_next_one_follows_it() -> None:
    decoder = wire(SPOT)
    decoder.message(snapshot(10, [(100.0, 1)], [(100.1, 3)]), NOW)
    assert decoder.message(spot_diff(11, 12, 5), NOW) == []
    assert len(decoder.message(spot_diff(13, 13, 6, [(99.0, 1)]), NOW)) == 1
    assert decoder.stats.gaps == 0


def test_a_spot_partial_depth_is_a_snapshot_at_local_time() -> None:
    data = json.loads(snapshot(10, [(100.0, 1)], [(100.1, 3)]))
    rows = wire(SPOT, "depth5").message(envelope("btcusdt@depth5@100ms", data), NOW)
    expected = [
        start(NOW),
        (NOW, NOW, Kind.SNAPSHOT, 0, 0),
        (NOW, NOW, LEVEL, 1000, 1000),
        (NOW, NOW, ASK | LAST, 1001, 3000),
    ]
    assert rows == expected
    # Without an envelope nothing but the question tells it from a REST answer.
    assert wire(SPOT, "depth5").message(json.dumps(data), NOW) == expected


def test_a_usdm_partial_depth_is_told_from_a_diff_by_its_stream() -> None:
    raw = usdm_diff(9, 12, 8, 5, [(100.0, 2)], [(100.1, 1)])
    partial = raw.replace("@depth@100ms", "@depth20@100ms")
    rows = wire(USDM, "depth20").message(partial, NOW)
    assert rows[1:] == [
        (5 * MS, NOW, Kind.SNAPSHOT, 0, 0),
        (5 * MS, NOW, LEVEL, 1000, 2000),
        (5 * MS, NOW, ASK | LAST, 1001, 1000),
    ]
    assert wire(USDM, "depth20").message(raw, NOW) == []
    assert wire(USDM, "depth").message(partial, NOW) == []
    bare = json.dumps(json.loads(raw)["data"])
    assert wire(USDM, "depth20").message(bare, NOW) == rows


def test_a_partial_depth_needs_no_snapshot_and_replaces_the_one_before() -> None:
    decoder = wire(SPOT, "depth5")
    assert not decoder.wants_snapshot
    for last in (10, 11):
        data = json.loads(snapshot(last, [(100.0 + last, 1)], [(120.0, 3)]))
        rows = decoder.message(envelope("btcusdt@depth5", data), NOW + last)
    assert [row[2] & 0x0F for row in rows] == [Kind.SNAPSHOT, Kind.LEVEL, Kind.LEVEL]


def test_a_usdm_book_ticker_is_two_best_rows_when_it_is_asked_for() -> None:
    message = {
        "e": "bookTicker",
        "u": 1,
        "s": "BTCUSDT",
        "b": "28145.10",
        "B": "3.868",
        "a": "28145.20",
        "A": "6.887",
        "T": 1_680_652_700_430,
        "E": 1_680_652_700_435,
    }
    time = 1_680_652_700_430 * MS
    raw = envelope("btcusdt@bookTicker", message)
    assert wire(USDM, "bookTicker").message(raw, NOW)[1:] == [
        (time, NOW, int(Kind.BEST), 281_451, 3868),
        (time, NOW, Kind.BEST | SELL | LAST, 281_452, 6887),
    ]
    assert wire(USDM, "depth").message(raw, NOW) == []


def test_a_spot_book_ticker_has_no_time_and_takes_ours() -> None:
    message = {"u": 1, "s": "BTCUSDT", "b": "100.10", "B": "1", "a": "100.20", "A": "2"}
    expected = [
        start(NOW),
        (NOW, NOW, int(Kind.BEST), 1001, 1000),
        (NOW, NOW, Kind.BEST | SELL | LAST, 1002, 2000),
    ]
    assert (
        wire(SPOT, "bookTicker").message(envelope("btcusdt@bookTicker", message), NOW) == expected
    )
    assert wire(SPOT, "bookTicker").message(json.dumps(message), NOW) == expected


@pytest.mark.parametrize(
    ("change", "different"),
    [
        ({}, 0),
        ({"b": "99.90"}, 1),
        ({"B": "2.001"}, 1),
        ({"a": "100.20"}, 1),
        ({"A": "2"}, 1),
        ({"u": 12, "B": "9"}, None),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_a_ticker_of_the_books_update_is_compared_with_it_whichever_comes_first(
    change: dict[str, object], different: int | None, before: bool
) -> None:
    decoder = wire(SPOT)
    message = {"u": 11, "s": "BTCUSDT", "b": "100.00", "B": "2", "a": "100.10", "A": "3"} | change
    told = [
        envelope("btcusdt@bookTicker", message),
        spot_diff(11, 11, 5, [(100.0, 2)]),
    ]
    decoder.message(snapshot(10, [(100.0, 1)], [(100.1, 3)]), NOW)
    for raw in told if before else reversed(told):
        decoder.message(raw, NOW)
    stats = decoder.stats
    assert (stats.tickers_compared, stats.tickers_different) == (
        (0, 0) if different is None else (1, different)
    )


def test_tickers_that_wait_for_a_snapshot_are_compared_when_their_update_comes_out() -> None:
    decoder = wire(SPOT)
    for last, bid in ((11, "99.00"), (12, "99.50"), (13, "99.00")):
        message = {"u": last, "s": "BTCUSDT", "b": bid, "B": "2", "a": "0.00", "A": "0"}
        decoder.message(envelope("btcusdt@bookTicker", message), NOW)
    decoder.message(spot_diff(11, 12, 5, [(99.5, 2)]), NOW)
    decoder.message(spot_diff(13, 13, 6, [(99.5, 0)]), NOW)
    decoder.snapshot(snapshot(11, [(99.0, 2)]), NOW)
    assert (decoder.stats.tickers_compared, decoder.stats.tickers_different) == (3, 0)


def test_a_mark_price_is_a_mark_row_and_a_funding_row_scaled_by_1e8() -> None:
    message = {
        "e": "markPriceUpdate",
        "E": 1_680_652_800_010,
        "s": "BTCUSDT",
        "p": "28155.10000000",
        "P": "28141.47600845",
        "i": "28165.04857143",
        "r": "-0.00002760",
        "T": 1_680_652_800_000,
    }
    time = 1_680_652_800_010 * MS
    rows = wire(USDM, "markPrice").message(envelope("btcusdt@markPrice@1s", message), NOW)
    assert rows[1:] == [
        (time, NOW, int(Kind.MARK), 0, 2_815_510_000_000),
        (time, NOW, Kind.FUNDING | LAST, 1_680_652_800, -2760),
    ]


def test_a_mark_price_without_funding_is_one_row() -> None:
    message = {"e": "markPriceUpdate", "E": 5, "s": "BTCUSDT", "p": "1.5", "r": "", "T": 0}
    rows = wire(USDM, "markPrice").message(json.dumps(message), NOW)
    assert rows[1:] == [(5 * MS, NOW, Kind.MARK | LAST, 0, 150_000_000)]


def test_times_in_microseconds_are_recognised_by_their_size() -> None:
    message = SPOT_TRADE | {"T": 1_672_515_782_134_567}
    rows = wire(SPOT).message(json.dumps(message), NOW)
    assert rows[-1][0] == 1_672_515_782_134_567_000


def test_the_bare_payload_gives_the_rows_of_the_envelope() -> None:
    for found, message in ((SPOT, SPOT_TRADE), (USDM, USDM_TRADE)):
        bare = wire(found).message(json.dumps(message), NOW)
        assert bare == wire(found).message(envelope("btcusdt@trade", message), NOW)
        assert bare == wire(found).message(json.dumps(message).encode(), NOW)


@pytest.mark.parametrize(
    "raw",
    [
        envelope("ethusdt@trade", SPOT_TRADE | {"s": "ETHUSDT"}),
        json.dumps(SPOT_TRADE | {"s": "ETHUSDT"}),
        envelope("btcusdt@kline_1m", {"e": "kline", "E": 1, "s": "BTCUSDT", "k": {"t": 1}}),
        json.dumps({"e": "24hrTicker", "E": 1, "s": "BTCUSDT", "p": "1", "b": "2", "u": "x"}),
        envelope("!miniTicker@arr", [{"e": "24hrMiniTicker", "s": "BTCUSDT"}]),
        envelope("btcusdt@rpiDepth@500ms", {"e": "depthUpdate", "s": "BTCUSDT"}),
        json.dumps({"something": "new"}),
    ],
)
def test_messages_that_were_not_asked_for_are_ignored_and_counted(raw: str) -> None:
    decoder = wire(SPOT)
    assert decoder.message(raw, NOW) == []
    assert (decoder.stats.ignored, decoder.stats.messages) == (1, 0)


@pytest.mark.parametrize(
    "raw",
    [
        '{"result":null,"id":1}',
        '{"result":["btcusdt@trade"],"id":"a"}',
        '{"e":"serverShutdown","E":1}',
        '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}',
    ],
)
def test_control_messages_are_no_market_data(raw: str) -> None:
    decoder = wire(SPOT)
    assert (decoder.message(raw, NOW), decoder.stats.ignored) == ([], 0)
    assert decoder.describe(raw) is None


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ('{"code":2,"msg":"Invalid request: unknown stream","id":3}', "unknown stream"),
        ('{"id":1,"status":400,"error":{"code":-1121,"msg":"Invalid symbol."}}', "Invalid symbol"),
        ("<html><body>Sign in</body></html>", "a web page"),
        ("not json", "as JSON was expected; found 'not json'"),
        ("", "found nothing"),
        ('{"stream":"btcusdt@trade","data":{"p":"1","q":"1"}}', "missing required field"),
        ('{"stream":"btcusdt@depth","data":{"E":1,"U":1,"u":1,"b":[["1"]],"a":[]}}', "array"),
        (b'{"stream":"btcusdt@trade\xff"}', "as JSON was expected"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_was_found(raw: str | bytes, words: str) -> None:
    with pytest.raises(FeedError) as error:
        wire(SPOT).message(raw, NOW)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ('{"code":-1121,"msg":"Invalid symbol."}', "Invalid symbol"),
        ("<!DOCTYPE html>", "a web page"),
        ('{"bids":[],"asks":[]}', "missing required field"),
    ],
)
def test_an_answer_that_is_no_snapshot_is_refused(raw: str, words: str) -> None:
    with pytest.raises(FeedError) as error:
        wire(SPOT).snapshot(raw, NOW)
    assert words in str(error.value)


def test_spot_updates_where_usdm_was_configured_are_refused_by_name() -> None:
    with pytest.raises(FeedError, match=r"instrument\.market"):
        wire(USDM).message(spot_diff(1, 2, 3), NOW)


def test_a_price_between_two_ticks_is_refused() -> None:
    with pytest.raises(OffGrid, match=r"100\.15"):
        wire(SPOT).message(spot_diff(1, 2, 3, [(100.15, 1)]), NOW)


def test_a_usdm_quantity_between_two_lots_is_refused() -> None:
    with pytest.raises(OffGrid, match="quantity"):
        wire(USDM).message(envelope("btcusdt@trade", USDM_TRADE | {"q": "0.0005"}), NOW)


def test_a_rare_spot_quantity_finer_than_the_lot_is_rounded_up_and_noted() -> None:
    decoder = wire(SPOT)
    rows = decoder.message(envelope("btcusdt@trade", SPOT_TRADE | {"q": "0.0001"}), NOW)
    assert rows[-1][4] == 1
    assert decoder.stats.notes == [
        "1 quantities finer than the lot 0.001 were rounded up, such as 0.0001"
    ]


def test_a_spot_lot_that_is_simply_wrong_is_refused() -> None:
    decoder = wire(SPOT)
    finer = [
        envelope("btcusdt@trade", SPOT_TRADE | {"q": f"0.0{number:02d}5"})
        for number in range(1, 12)
    ]
    for raw in finer[:10]:
        decoder.message(raw, NOW)
    with pytest.raises(OffGrid, match="quantity"):
        decoder.message(finer[10], NOW)


@pytest.mark.parametrize(
    ("streams", "words"),
    [
        (("depht",), "'depht'"),
        (("depth", "depth20"), "both tell the book"),
        (("trade", "aggTrade"), "both tell trades"),
    ],
)
def test_streams_that_make_no_sense_are_a_mistake(streams: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        wire(SPOT, *streams)


def test_describing_a_message_changes_nothing() -> None:
    decoder = wire(USDM)
    info = decoder.describe(usdm_diff(9, 12, 8, 5, [(100.0, 2)]), numbers=True)
    assert info is not None
    assert (info.symbol, info.stream, info.ts_exchange) == ("BTCUSDT", "depth", 5 * MS)
    assert (info.prices, info.quantities) == (("100.00",), ("2.000",))
    mark = {"e": "markPriceUpdate", "E": 5, "s": "BTCUSDT", "p": "1.5", "T": 9}
    found = decoder.describe(json.dumps(mark))
    assert found is not None
    assert found.ts_exchange == 5 * MS  # not the next funding's
    assert decoder.stats == wire(USDM).stats


# --- what is checked and becomes no rows ---------------------------------------------------------

KLINE = {
    "e": "kline",
    "E": 1672515782136,
    "s": "BTCUSDT",
    "k": {
        "t": 1672515780000,
        "T": 1672515839999,
        "s": "BTCUSDT",
        "i": "1m",
        "o": "100.0",
        "c": "100.5",
        "h": "101.0",
        "l": "99.5",
        "v": "1000",
        "n": 100,
        "x": False,
        "q": "1.0",
    },
}
FORCE_ORDER = {
    "e": "forceOrder",
    "E": 1568014460893,
    "o": {
        "s": "BTCUSDT",
        "S": "SELL",
        "o": "LIMIT",
        "f": "IOC",
        "q": "0.014",
        "p": "9910",
        "ap": "9910.25",
        "X": "FILLED",
        "l": "0.014",
        "z": "0.014",
        "T": 1568014460893,
    },
    "ps": "BTCUSDT",
    "st": 1,
}


@pytest.mark.parametrize(("stream", "data"), [("kline_1m", KLINE), ("forceOrder", FORCE_ORDER)])
@pytest.mark.parametrize("bare", [True, False])
def test_klines_and_liquidations_are_read_and_become_no_rows(
    stream: str, data: dict[str, Any], bare: bool
) -> None:
    found = wire(USDM, "depth", stream)
    raw = json.dumps(data) if bare else envelope(f"btcusdt@{stream}", data)
    assert found.message(raw, 1) == []
    assert (found.stats.messages, found.stats.ignored) == (1, 0)
    assert found.fast_reader() is None  # which does not know them
    other = raw.replace("BTCUSDT", "ETHUSDT").replace("btcusdt", "ethusdt")
    assert found.message(other, 2) == []
    assert (found.stats.messages, found.stats.ignored) == (1, 1)


@pytest.mark.parametrize(
    ("stream", "data", "before", "after", "words"),
    [
        ("kline_1m", KLINE, '"h": "101.0"', '"h": "100.2"', "open and close lie between low and"),
        ("kline_1m", KLINE, '"h": "101.0"', '"h": "101.03"', "not a multiple of 0.1"),
        ("kline_1m", KLINE, '"x": false', '"x": 0', "a kline was expected, but expected `bool`"),
        ("forceOrder", FORCE_ORDER, '"SELL"', '"SOLD"', "'BUY' or 'SELL' was expected; found 'SO"),
        ("forceOrder", FORCE_ORDER, '"q": "0.014"', '"q": "0.0141"', "not a multiple of 0.001"),
        ("forceOrder", FORCE_ORDER, '"p": "9910", ', "", "missing required field `p`"),
    ],
)
def test_klines_and_liquidations_that_cannot_be_are_refused(
    stream: str, data: dict[str, Any], before: str, after: str, words: str
) -> None:
    raw = envelope(f"btcusdt@{stream}", data)
    assert before in raw
    with pytest.raises((FeedError, OffGrid), match=words):
        wire(USDM, "depth", stream).message(raw.replace(before, after), 1)
