"""The compiled reader and the wire format: whatever they are given, they say the same."""

from __future__ import annotations

import gzip
import json
import lzma
import os
from contextlib import suppress
from copy import deepcopy
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from binance_fixtures import DATA, SPOT, USDM, instrument, wire
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmkit.book import Book
from mmkit.errors import MmkitError
from mmkit.instruments import Instrument
from mmkit.interfaces import FastReader, MessageInfo, Messages
from mmkit.tape import SELL, FeedStats, Kind, Row
from mmkit_binance.fast import CompiledCheck
from mmkit_binance.tickers import WAITING, Best, TickerCheck
from mmkit_binance.wire import BinanceWire

EXAMPLES = int(os.environ.get("FAST_EXAMPLES", "25"))


class Market(NamedTuple):
    """The beginning of a real recording."""

    instrument: Instrument
    messages: tuple[str, ...]


@cache
def market(name: str) -> Market:
    """Return messages before and after the snapshot, which is cut to a few levels."""
    path, found, count = {
        "usdm": ("binance_usdm/btcusdt_20230404.dat.gz", instrument("usdm"), 70),
        "spot": (
            "binance_spot/btcusdt_20240808.gz",
            instrument("spot", tick="0.01", lot="0.00001"),
            60,
        ),
        "quiet": (
            "binance_spot_nexousdt/nexousdt_20240723.dat.gz",
            instrument("spot", "NEXO", "USDT", "0.001", "0.01"),
            60,
        ),
        "several": (
            "binance_30s/BINANCE_FUTURES.ws.1.0.xz",
            instrument("usdm", "SUSHI", "USDT", "0.001", "1"),
            80,
        ),
    }[name]
    opener: Any = lzma.open if path.endswith(".xz") else gzip.open
    messages = []
    with opener(DATA / path, "rt") as file:
        for text in file:
            body = text.partition(" ")[2].strip()
            if not body.startswith("{"):
                continue
            said = json.loads(body)
            if "lastUpdateId" in said:
                for side in ("bids", "asks"):
                    said[side] = said[side][:5]
                body = json.dumps(said)
            messages.append(body)
            if len(messages) == count:
                break
    return Market(found, tuple(messages))


class Told(NamedTuple):
    """What came of some messages."""

    rows: list[Row]
    stats: FeedStats
    error: tuple[int, str, str] | None
    state: tuple[object, ...]


def told(decoder: BinanceWire, rows: list[Row], error: tuple[int, str, str] | None) -> Told:
    sync = decoder.sync
    state = (sync.chain, sync.book, sync.repeats, sync.floor, sync.seen, sync.started)
    return Told(
        rows, decoder.stats, error, (*state, sync.dated, decoder.buffering, decoder.local_times)
    )


def one_by_one(found: Instrument, streams: tuple[str, ...], messages: list[bytes]) -> Told:
    decoder, rows = wire(found, *streams), []
    for number, raw in enumerate(messages):
        try:
            rows += decoder.message(raw, number + 1)
        except MmkitError as error:
            return told(decoder, rows, (number, type(error).__name__, str(error)))
    return told(decoder, rows, None)


def many_at_a_time(
    found: Instrument, streams: tuple[str, ...], messages: list[bytes]
) -> tuple[Told, int]:
    """Also return how many were read fast."""
    decoder, describer = wire(found, *streams), wire(found)
    reader = decoder.fast_reader()
    assert reader is not None
    data = np.frombuffer(b"".join(raw + b"\n" for raw in messages), np.uint8)
    ends = np.cumsum([len(raw) + 1 for raw in messages])
    begin = np.concatenate([[0], ends[:-1]]).astype(np.uint64)
    block = Messages(data, begin, np.arange(1, len(messages) + 1))
    rows: list[Row] = []
    at = fast = 0
    while at < len(messages):
        made = reader.read(block, at)
        columns = [
            made.columns[name].tolist()
            for name in ("ts_exchange", "ts_local", "kind", "price", "quantity")
        ]
        rows += list(zip(*columns, strict=True))
        for number in range(at, made.stop):
            described(
                describer.describe(messages[number]), reader, made, number - at, found, streams
            )
        fast += made.stop - at
        at = made.stop
        if at < len(messages):
            try:
                rows += decoder.message(messages[at], at + 1)
            except MmkitError as error:
                return told(decoder, rows, (at, type(error).__name__, str(error))), fast
            at += 1
    return told(decoder, rows, None), fast


def described(
    info: MessageInfo | None,
    reader: FastReader,
    made: Any,
    at: int,
    found: Instrument,
    streams: tuple[str, ...],
) -> None:
    """See that the reader says of a message what the wire format says."""
    assert info is not None
    assert bool(made.chosen[at]) == (info.symbol == found.native)
    stream = reader.streams[made.stream[at]]
    assert stream == (info.stream if info.stream in reader.streams else "")
    assert made.ts_exchange[at] == ((info.ts_exchange or 0) if stream else 0)
    if made.chosen[at] and stream in streams:
        ids = (int(made.first_id[at]), int(made.last_id[at]))
        assert numbered(ids) == numbered(info.ids)


def numbered(ids: tuple[int, int] | None) -> tuple[int, int] | None:
    return ids if ids and ids[0] <= ids[1] else None


def agree(found: Instrument, streams: tuple[str, ...], messages: list[bytes]) -> int:
    """See that both say the same; return how many messages were read fast."""
    expected = one_by_one(found, streams, messages)
    try:
        ours, fast = many_at_a_time(found, streams, messages)
    except OverflowError:
        return 0  # said to whoever reads, who begins anew with the wire format alone
    assert ours == expected
    return fast


# --- messages as they might be --------------------------------------------------------------------

STREAMS = (
    ("depth", "trade"),
    ("depth", "aggTrade", "markPrice", "bookTicker"),
    ("depth20", "trade", "markPrice"),
    ("trade",),
    ("depth",),
    (),
)
NASTY = (
    '{}[]",:',
    "\\",
    '\\"',
    "é",
    "€uro",
    "\u0000",
    "\n",
    "\ud83d\ude00",
    "",
    " ",
    "true",
    "depth",
)
OTHER_TEXTS = ("", "0", "00.10", "1e3", "-1.0", "+1", ".5", "5.", "1_0", "NaN", " 1", "0.000000005")
OTHER_NUMBERS = (0, -1, 1, 10**13, 10**15, 10**18, 10**19, 1.5, 2.0, "12", None, True, [], {})
NAMES = (
    "depth",
    "depth5",
    "depth20@100ms",
    "trade",
    "aggTrade",
    "bookTicker",
    "markPrice@1s",
    "kline_1m",
)
TWICE = '"BTCUSDT"'
ODD_NAMES = ("", "snapshot", "depthX", "rpiDepth@500ms", "markPriceX", "unknown", "serverShutdown")

texts = st.text(st.sampled_from('ab1 {}[],:"\\é\n\u0000'), max_size=6) | st.sampled_from(NASTY)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-10, 10**20)
    | st.sampled_from([0.5, 1e30, -0.0])
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def objects(said: Any) -> list[dict[str, Any]]:
    """Return every object in a message, from the outside in."""
    found = [said] if isinstance(said, dict) else []
    inner = said.values() if isinstance(said, dict) else said if isinstance(said, list) else ()
    for value in inner:
        found += objects(value)
    return found


@st.composite
def reshaped(draw: st.DrawFn, text: str) -> str:
    """Return a message that says nearly the same in another shape."""
    said = json.loads(text)
    for _ in range(draw(st.integers(1, 3))):
        found = draw(st.sampled_from(objects(said) or [{}]))
        keys = list(found)
        what = draw(
            st.sampled_from(("order", "unknown", "value", "drop", "bare", "stream", "symbol"))
        )
        if what == "order":
            items = draw(st.permutations(list(found.items())))
            found.clear()
            found.update(items)
        elif what == "unknown":
            items = list(found.items())
            key = draw(
                texts
                | st.sampled_from(
                    ("M", "st", "ps", "e", "s", "code", "error", "result", "id", "nq")
                )
            )
            items.insert(draw(st.integers(0, len(items))), (key, deepcopy(draw(values))))
            found.clear()
            found.update(items)
        elif what == "value" and keys:
            key = draw(st.sampled_from(keys))
            found[key] = deepcopy(draw(changed(found[key])))  # it may be changed again
        elif what == "drop" and keys:
            del found[draw(st.sampled_from(keys))]
        elif what == "bare" and isinstance(said, dict) and isinstance(said.get("data"), dict):
            said = said["data"]
        elif what == "stream" and isinstance(said, dict) and "stream" in said:
            symbol = str(said["stream"]).partition("@")[0]
            said["stream"] = f"{symbol}@{draw(st.sampled_from(NAMES + ODD_NAMES))}"
        elif what == "symbol" and isinstance(said, dict):
            key = "stream" if "stream" in said else "s"
            if isinstance(said.get(key), str):
                change = draw(
                    st.sampled_from((str.upper, str.lower, str.swapcase, lambda old: "x" + old))
                )
                said[key] = change(said[key])
    separators = draw(st.sampled_from(((",", ":"), (", ", ": "), (" ,\t", "\r :  "))))
    return json.dumps(said, separators=separators, ensure_ascii=draw(st.booleans()))


def changed(value: Any) -> st.SearchStrategy[Any]:
    """Return values that could stand where this one does."""
    if isinstance(value, list) and value and draw_levels(value):
        level = st.tuples(
            st.sampled_from((*OTHER_TEXTS, value[0][0])), st.sampled_from(OTHER_TEXTS)
        ).map(list)
        return st.lists(level | st.sampled_from(value) | values, max_size=4)
    if isinstance(value, str):
        more = [value + "0", value + "5", "9" * 17 + value, value.rstrip("0"), value + "0" * 30]
        return st.sampled_from([*OTHER_TEXTS, *more]) | values
    if isinstance(value, int):
        return (
            st.sampled_from([*OTHER_NUMBERS, value + 1, value - 1, value * 1000, -value]) | values
        )
    return values


def draw_levels(value: list[Any]) -> bool:
    return isinstance(value[0], list) and len(value[0]) > 0


@st.composite
def damaged(draw: st.DrawFn, text: str) -> str:
    """Return a message with something wrong in its text."""
    at = draw(st.integers(0, len(text)))
    what = draw(st.sampled_from(("cut", "insert", "replace", "remove", "twice", "escape")))
    if what == "cut":
        return text[:at]
    if what == "twice":
        key = draw(
            st.sampled_from(('"s":', '"u":', '"p":', '"e":', '"b":', '"stream":', '"data":'))
        )
        return text.replace(
            key, f"{key}{draw(st.sampled_from(('1', 'null', '[]', TWICE)))},{key}", 1
        )
    if what == "escape" and at < len(text):
        return f"{text[:at]}\\u{ord(text[at]):04x}{text[at + 1 :]}"
    new = draw(st.sampled_from('{}[]",:\\ \t0159aeE.-+tnf\x00\x7fé'))
    end = at if what == "insert" else at + 1
    return text[:at] + ("" if what == "remove" else new) + text[end:]


@st.composite
def streams_of_messages(draw: st.DrawFn, name: str) -> list[bytes]:
    """Return a real market's messages, some of them not as they were."""
    messages = list(market(name).messages)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(messages) - 1))
        what = draw(
            st.sampled_from(("reshape", "reshape", "reshape", "damage", "remove", "repeat", "move"))
        )
        if what == "reshape":
            with suppress(json.JSONDecodeError):  # what has been damaged before
                messages[at] = draw(reshaped(messages[at]))
        elif what == "damage":
            messages[at] = draw(damaged(messages[at]))
        elif what == "remove" and len(messages) > 1:
            del messages[at]
        elif what == "repeat":
            messages.insert(draw(st.integers(0, len(messages))), messages[at])
        else:
            messages.insert(draw(st.integers(0, len(messages) - 1)), messages.pop(at))
    return [text.replace("\n", " ").encode("utf-8", "surrogatepass") for text in messages]


@pytest.mark.parametrize("name", ["usdm", "spot", "quiet", "several"])
@pytest.mark.parametrize("streams", STREAMS, ids=",".join)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_the_messages_both_say_the_same(
    name: str, streams: tuple[str, ...], data: st.DataObject
) -> None:
    agree(market(name).instrument, streams, data.draw(streams_of_messages(name)))


@pytest.mark.parametrize("name", ["usdm", "spot", "quiet"])
def test_what_is_ordinary_is_read_fast(name: str) -> None:
    found, messages = market(name)
    raw = [text.encode() for text in messages]
    snapshot = next(at for at, text in enumerate(messages) if "lastUpdateId" in text)
    left = len(raw) - agree(found, ("depth", "trade", "markPrice"), raw)
    # The snapshot, what comes with it or waits for it, and the first message of all.
    assert left <= snapshot + 2


UPDATE = {
    "e": "depthUpdate",
    "E": 1_700_000_000_050,
    "T": 1_700_000_000_049,
    "s": "BTCUSDT",
    "U": 11,
    "u": 12,
    "pu": 10,
    "b": [["99.9", "2.000"], ["99.8", "0"]],
    "a": [["100.1", "0.500"]],
}


def usdm_book(*messages: str) -> list[bytes]:
    """Return a snapshot and an update, so that the book is known, and what follows."""
    begin = [
        json.dumps({"lastUpdateId": 5, "E": 4, "T": 4, "bids": [["99.0", "1"]], "asks": []}),
        json.dumps(UPDATE | {"U": 5, "u": 10, "pu": 4}),
    ]
    return [text.encode() for text in (*begin, *messages)]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"stream": "btcusdt@depth", "data": UPDATE}),
        json.dumps({"data": UPDATE, "stream": "btcusdt@depth@100ms"}),
        json.dumps({"id": 1, "stream": "BTCusdt@depth", "new": [{"}": '{"'[:1]}], "data": UPDATE}),
        json.dumps({"stream": "btcusdt@depth", "data": dict(reversed(UPDATE.items()))}),
        json.dumps(UPDATE),
        json.dumps(dict(reversed(UPDATE.items())), separators=(" ,\t", " :\r")),
        json.dumps(UPDATE | {"ps": {"a": [], "b": [[["1", "]"]]]}, "st": -1.5, "ok": None}),
    ],
)
def test_an_update_is_read_fast_in_any_order_and_with_fields_that_are_not_known(text: str) -> None:
    assert agree(USDM, ("depth",), usdm_book(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(UPDATE | {"b": [["99.9", "1e3"]]}),
        json.dumps(UPDATE | {"b": [["99.95", "1"]]}),
        json.dumps(UPDATE | {"b": [["99.9", "1", []]]}),
        json.dumps(UPDATE | {"b": [["99.9", 1]]}),
        json.dumps(UPDATE | {"b": [["99.9", "١"]]}),
        json.dumps(UPDATE | {"b": [["+99.9", "1"]]}),
        json.dumps(UPDATE | {"b": [["9" * 19, "1"]]}),
        json.dumps(UPDATE | {"u": 12.0}),
        json.dumps(UPDATE | {"T": None}),
        json.dumps(UPDATE | {"pu": 9}),
        json.dumps(UPDATE | {"U": 10, "u": 10}),
        json.dumps(UPDATE | {"st": 1}).replace('"st": 1', '"st": 01'),
        json.dumps(UPDATE | {"st": 1}).replace('"st": 1', '"st": 1.'),
        json.dumps(UPDATE | {"st": 1}).replace('"st": 1', '"st": [1,]'),
        json.dumps(UPDATE | {"st": 1}).replace('"st": 1', '"st": {"a" 1}'),
        json.dumps(UPDATE).replace('"u"', '"\\u0075"'),
        json.dumps(UPDATE).replace('"u": 12', '"u": 12, "u": 13'),
        json.dumps(UPDATE).replace('"u": 12', '"u": 012'),
        json.dumps(UPDATE) + "}",
        json.dumps(UPDATE)[:-1],
        json.dumps(UPDATE).replace('"a": [', '"a": [,'),
        json.dumps({"stream": "btcusdt@depth", "data": UPDATE, "e": "trade"}),
        json.dumps({"stream": "btcusdt@depth", "data": [UPDATE]}),
        json.dumps({"stream": "!depth@arr", "data": UPDATE}),
    ],
)
def test_what_is_not_surely_an_update_is_left_to_the_wire_format(text: str) -> None:
    assert agree(USDM, ("depth",), usdm_book(text)) == 0


@pytest.mark.parametrize("found", [SPOT, USDM])
def test_a_partial_depth_is_read_fast(found: Instrument) -> None:
    sides = {"b": [["99.9", "2"], ["99.8", "1"]], "a": [["100.1", "3"]]}
    partial: dict[str, Any] = UPDATE | sides
    if found is SPOT:
        partial = {"lastUpdateId": 12, "asks": sides["a"], "bids": sides["b"]}
    raw = [
        json.dumps({"stream": "btcusdt@depth5", "data": partial}).encode(),
        json.dumps({"data": partial, "stream": "btcusdt@depth5@100ms"}).encode(),
        json.dumps({"stream": "btcusdt@depth5", "data": partial}).encode(),
        json.dumps(
            {"u": 12, "s": "BTCUSDT", "b": "99.9", "B": "2", "a": "100.1", "A": "3"}
        ).encode(),
    ]
    assert agree(found, ("depth5", "trade"), raw) == 3  # all but the first


@pytest.mark.parametrize(("tickers", "refused"), [(560, False), (500, True)])
def test_quantities_that_were_read_fast_count_when_some_are_finer_than_the_lot(
    tickers: int, refused: bool
) -> None:
    ticker = {"u": 1, "s": "BTCUSDT", "b": "99.9", "B": "2", "a": "100.1", "A": "3"}
    trade = {"e": "trade", "E": 5, "s": "BTCUSDT", "t": 1, "p": "100.1", "T": 5, "m": True}
    messages = [json.dumps(ticker)] * tickers
    messages += [json.dumps(trade | {"q": f"0.{number}5"}) for number in range(101, 112)]
    raw = [text.encode() for text in messages]
    expected = one_by_one(SPOT, ("depth", "trade"), raw)
    assert (expected.error is not None) == refused  # 11 of 1,131 quantities, or of 1,011
    assert agree(SPOT, ("depth", "trade"), raw) == tickers


def test_best_prices_without_a_time_of_their_own_are_known_to_have_ours() -> None:
    ticker = {"u": 1, "s": "BTCUSDT", "b": "99.9", "B": "2", "a": "100.1", "A": "3"}
    trade = {
        "e": "trade",
        "E": 5,
        "s": "BTCUSDT",
        "t": 1,
        "p": "100.1",
        "q": "1",
        "T": 5,
        "m": True,
    }
    raw = [json.dumps(trade).encode(), json.dumps(ticker).encode()]
    assert not one_by_one(SPOT, ("trade",), raw).state[-1]
    assert one_by_one(SPOT, ("trade", "bookTicker"), raw).state[-1]
    assert agree(SPOT, ("trade", "bookTicker"), raw) == 1


def test_the_compiled_check_makes_room_for_as_many_levels_as_there_are() -> None:
    levels = [[f"{price / 10:.1f}", "1"] for price in range(1, 9000)]
    raw = usdm_book(
        json.dumps(UPDATE | {"b": levels, "a": []}),
        json.dumps({"u": 12, "s": "BTCUSDT", "b": "899.9", "B": "1", "a": "0", "A": "0"}),
    )
    assert agree(USDM, ("depth",), raw) == 2


# --- the cross-check ------------------------------------------------------------------------------

prices = st.integers(1, 12) | st.sampled_from([1, 7_000, 10**9])
levels = st.tuples(st.sampled_from([int(Kind.LEVEL), Kind.LEVEL | SELL]), prices, st.integers(0, 2))
applied = st.tuples(
    st.sampled_from([None, None, Kind.SNAPSHOT, Kind.GAP]),
    st.lists(levels, max_size=8),
    st.integers(0, 3),
)
tickers = st.tuples(st.integers(-2, 3), st.booleans(), st.integers(0, 3))


@given(steps=st.lists(applied | tickers, max_size=60))
@settings(max_examples=10 * EXAMPLES, deadline=None)
def test_the_compiled_check_counts_what_the_other_one_counts(steps: list[Any]) -> None:
    stats, compiled_stats = FeedStats(), FeedStats()
    check, compiled = TickerCheck(stats), CompiledCheck(compiled_stats)
    compiled.table = compiled.table[:, :16].copy()  # so that it must grow
    book, at = Book(), 100
    for first, second, third in steps:
        if isinstance(second, list):
            rows: list[Row] = [(1, 1, int(first), 0, 0)] if first else []
            rows += [(1, 1, kind, price, quantity) for kind, price, quantity in second]
            for row in rows:
                book.apply(row)
            at += third
            update_id = None if first == Kind.GAP else at
            check.applied(update_id, rows)
            compiled.applied(update_id, rows)
        else:
            bid, ask = book.best_bid or 0, book.best_ask or 0
            best = Best(bid, book.bids.levels.get(bid, 0), ask, book.asks.levels.get(ask, 0))
            if second:
                best = Best(*(value + third for value in best))
            check.ticker(at + first, best)
            compiled.ticker(at + first, best)
        assert compiled_stats == stats


def test_tickers_that_wait_for_ever_do_not_fill_the_memory_of_either() -> None:
    stats, compiled_stats = FeedStats(), FeedStats()
    check, compiled = TickerCheck(stats), CompiledCheck(compiled_stats)
    for update_id in range(WAITING + 5):
        for found in (check, compiled):
            found.ticker(update_id, Best(0, 0, 0, 0))
    for found in (check, compiled):
        found.applied(4, [])
        found.applied(5, [])
    assert compiled_stats == stats
    assert stats.tickers_compared == 1
