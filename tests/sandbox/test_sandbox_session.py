"""Control messages, as Binance answers them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mmkit_sandbox.channel import Channel, Route, StreamKind, parse_stream
from mmkit_sandbox.session import MAX_STREAMS, Session


def ask(session: Session, **request: Any) -> Any:
    return msgspec.json.decode(session.answer(msgspec.json.encode(request)))


def test_subscriptions_are_acknowledged_listed_and_taken_back() -> None:
    session = Session(Route.SPOT, combined=False, streams=["btcusdt@trade"])
    names = ["btcusdt@depth", "no such stream"]
    assert ask(session, method="SUBSCRIBE", params=names, id=1) == {"result": None, "id": 1}
    assert ask(session, method="LIST_SUBSCRIPTIONS", id="a-b_2") == {
        "result": ["btcusdt@trade", *names],
        "id": "a-b_2",
    }
    assert ask(session, method="UNSUBSCRIBE", params=["btcusdt@trade"], id=None) == {
        "result": None,
        "id": None,
    }
    assert session.subscriptions == {
        "btcusdt@depth": Channel("spot", "BTCUSDT", StreamKind.DIFF, 0, 1000),
        "no such stream": None,
    }


def test_the_combined_property_can_be_read_and_set() -> None:
    session = Session(Route.SPOT, combined=False)
    assert session.envelope("btcusdt@trade", b"{}") == b"{}"
    assert ask(session, method="GET_PROPERTY", params=["combined"], id=1)["result"] is False
    assert ask(session, method="SET_PROPERTY", params=["combined", True], id=2) == {
        "result": None,
        "id": 2,
    }
    assert ask(session, method="GET_PROPERTY", params=["combined"], id=3)["result"] is True
    assert session.envelope("btcusdt@trade", b"{}") == b'{"stream":"btcusdt@trade","data":{}}'


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        ({"method": "SET_PROPERTY", "params": ["color", True], "id": 1}, 0, "Unknown property"),
        ({"method": "GET_PROPERTY", "params": ["color"], "id": 1}, 0, "Unknown property"),
        ({"method": "SET_PROPERTY", "params": ["combined", "yes"], "id": 1}, 1, "Boolean"),
        ({"method": "SET_PROPERTY", "params": ["combined"], "id": 1}, 1, "Boolean"),
        ({"method": "SET_PROPERTY", "params": [True], "id": 1}, 2, "must be a string"),
        ({"method": "GET_PROPERTY", "id": 1}, 2, "must be a string"),
        ({"method": "GET_PROPERTY", "params": ["combined", 1], "id": 1}, 2, "too many parameters"),
        ({"method": "LIST_SUBSCRIPTIONS", "params": ["x"], "id": 1}, 2, "too many parameters"),
        ({"method": "SUBSCRIBE", "params": ["x"], "id": "a b"}, 2, "request ID"),
        ({"method": "SUBSCRIBE", "params": ["x"], "id": 1.5}, 2, "request ID"),
        ({"method": "SUBSCRIBE", "params": ["x"]}, 2, "request ID"),
        ({"method": "SUBSCRIBE", "params": [7], "id": 1}, 2, "must be strings"),
        ({"method": "SUBSCRIBE", "params": "x", "id": 1}, 2, "must be an array"),
        ({"method": "subscribe", "params": ["x"], "id": 1}, 2, "unknown variant `subscribe`"),
        ({"params": ["x"], "id": 1}, 2, "missing field `method`"),
        ([], 2, "expected an object"),
    ],
)
def test_a_wrong_request_gets_a_flat_error(request_: Any, code: int, words: str) -> None:
    session = Session(Route.SPOT, combined=False)
    reply = msgspec.json.decode(session.answer(msgspec.json.encode(request_)))
    assert reply["code"] == code
    assert words in reply["msg"]
    assert set(reply) <= {"code", "msg", "id"}
    assert session.subscriptions == {}


def test_what_is_not_json_is_told_so() -> None:
    reply = msgspec.json.decode(Session(Route.SPOT, combined=False).answer("hello"))
    assert reply == {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}


def test_a_connection_has_at_most_1024_streams() -> None:
    session = Session(Route.SPOT, combined=False)
    names = [f"s{number}@trade" for number in range(MAX_STREAMS)]
    assert ask(session, method="SUBSCRIBE", params=names, id=1) == {"result": None, "id": 1}
    assert ask(session, method="SUBSCRIBE", params=names, id=2) == {"result": None, "id": 2}
    assert ask(session, method="SUBSCRIBE", params=["x@trade"], id=3)["code"] == 2
    assert len(session.subscriptions) == MAX_STREAMS


@pytest.mark.parametrize(
    ("market", "name", "kind", "levels", "interval"),
    [
        ("spot", "btcusdt@depth", StreamKind.DIFF, 0, 1000),
        ("spot", "btcusdt@depth@100ms", StreamKind.DIFF, 0, 100),
        ("spot", "btcusdt@depth20@100ms", StreamKind.PARTIAL, 20, 100),
        ("usdm", "btcusdt@depth", StreamKind.DIFF, 0, 250),
        ("usdm", "btcusdt@depth@500ms", StreamKind.DIFF, 0, 500),
        ("usdm", "btcusdt@depth@0ms", StreamKind.DIFF, 0, 100),
        ("usdm", "btcusdt@depth5", StreamKind.PARTIAL, 5, 250),
        ("usdm", "btcusdt@markPrice", StreamKind.MARK_PRICE, 0, 3000),
        ("usdm", "btcusdt@markPrice@1s", StreamKind.MARK_PRICE, 0, 1000),
        ("usdm", "btcusdt@aggTrade", StreamKind.AGG_TRADE, 0, 0),
    ],
)
def test_a_stream_name_means_what_binance_says(
    market: str, name: str, kind: StreamKind, levels: int, interval: int
) -> None:
    assert parse_stream(market, name) == Channel(market, "BTCUSDT", kind, levels, interval)


@pytest.mark.parametrize(
    ("market", "name"),
    [
        ("spot", "BTCUSDT@trade"),
        ("spot", "btcusdt@depth@250ms"),
        ("spot", "btcusdt@depth7"),
        ("spot", "btcusdt@markPrice@1s"),
        ("usdm", "btcusdt@mark_price"),
        ("usdm", "btcusdt@depth@1000ms"),
        ("coinm", "btcusd_perp@depth@1000ms"),
        ("usdm", "btcusdt@kline_1s"),
        ("coinm", "btcusd_perp@kline_1s"),
        ("spot", "btcusdt@kline_2m"),
        ("spot", "btcusdt@kline"),
        ("spot", "btcusdt@forceOrder"),
        ("usdm", "!bookTicker"),
        ("usdm", "btcusdt"),
    ],
)
def test_a_name_that_binance_does_not_know_means_nothing(market: str, name: str) -> None:
    assert parse_stream(market, name) is None


@pytest.mark.parametrize(
    ("route", "carried"),
    [
        (Route.USDM_PUBLIC, {"depth", "trade", "bookTicker"}),
        (Route.USDM_MARKET, {"aggTrade", "markPrice", "kline_1m", "forceOrder"}),
        (Route.USDM_LEGACY, {"depth", "trade", "bookTicker"}),
        (Route.USDM_PRIVATE, set()),
    ],
)
def test_each_route_of_usdm_carries_its_own_streams(route: Route, carried: set[str]) -> None:
    names = ["depth", "trade", "bookTicker", "aggTrade", "markPrice", "kline_1m", "forceOrder"]
    session = Session(route, combined=True, streams=[f"btcusdt@{name}" for name in names])
    heard = {name.partition("@")[2] for name, channel in session.subscriptions.items() if channel}
    assert heard == carried
