"""The kline streams: every candle is what its trades say it is, and comes when Binance's would."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sandbox_fixtures import NATIVE, decode

from mmkit_sandbox.candles import INTERVALS, span
from mmkit_sandbox.channel import Channel, StreamKind, parse_stream
from mmkit_sandbox.listing import Listing
from mmkit_sandbox.payload import in_microseconds
from mmkit_sandbox.simulation import SimulatedExchange

S, MS = 1_000_000_000, 1_000_000
SYMBOLS = {"spot": "BTC/USDT", "usdm": "BTC/USDT:USDT", "coinm": "BTC/USD:BTC"}


def begins(interval: str, moment: datetime) -> datetime:
    """Return when the candle around a moment begins, by the calendar."""
    number, unit = int(interval[:-1]), interval[-1]
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "M":
        return day.replace(day=1)
    if unit == "w":
        return day - timedelta(days=day.weekday())
    if unit == "d":
        return day - timedelta(days=(day - datetime(1970, 1, 1, tzinfo=UTC)).days % number)
    parts = {"s": moment.second, "m": moment.minute, "h": moment.hour}
    whole = moment.replace(microsecond=0)
    if unit != "s":
        whole = whole.replace(second=0)
    if unit == "h":
        whole = whole.replace(minute=0)
    return whole - timedelta(
        **{{"s": "seconds", "m": "minutes", "h": "hours"}[unit]: parts[unit] % number}
    )


@given(
    st.datetimes(datetime(2017, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(INTERVALS),
)
def test_candles_lie_on_the_calendar_side_by_side(moment: datetime, interval: str) -> None:
    ts_ms = int(moment.timestamp() * 1000)
    start, end = span(interval, ts_ms)
    assert start <= ts_ms < end
    assert datetime.fromtimestamp(start / 1000, UTC) == begins(interval, moment)
    assert span(interval, end)[0] == end
    assert span(interval, start - 1)[1] == start


def candle_of(trades: list[dict[str, Any]], coinm: bool) -> dict[str, Any]:
    """Return what a candle of these trades says, from their decimals alone."""
    prices = [Decimal(one["p"]) for one in trades]

    def paid(some: list[dict[str, Any]]) -> Decimal:
        pairs = [(Decimal(one["p"]), Decimal(one["q"])) for one in some]
        return sum((100 * q / p if coinm else p * q for p, q in pairs), Decimal())

    taken = [one for one in trades if not one["m"]]
    return {
        "f": trades[0]["t"],
        "L": trades[-1]["t"],
        "o": prices[0],
        "c": prices[-1],
        "h": max(prices),
        "l": min(prices),
        "v": sum(Decimal(one["q"]) for one in trades),
        "n": len(trades),
        "q": paid(trades),
        "V": sum(Decimal(one["q"]) for one in taken),
        "Q": paid(taken),
    }


def check_candle(told: dict[str, Any], trades: list[dict[str, Any]], coinm: bool) -> None:
    expected = candle_of(trades, coinm)
    for key in ("f", "L", "n"):
        assert told[key] == expected[key], key
    for key in ("o", "c", "h", "l", "v", "V"):
        assert Decimal(told[key]) == expected[key], key
    for key in ("q", "Q"):
        # Each trade's share is rounded to the eighth place, as a balance would be.
        assert abs(Decimal(told[key]) - expected[key]) <= len(trades) * Decimal("5.001e-9"), key


# What fails is not made smaller: a market of half the time says no more.
@settings(max_examples=5, deadline=None, phases=(Phase.generate,))
@given(
    st.sampled_from(list(SYMBOLS)),
    st.integers(0, 10_000),
    st.integers(1_700_000_000_000, 1_700_300_000_000),
)
def test_every_candle_is_what_its_trades_say(market: str, seed: int, start_ms: int) -> None:
    listing = Listing.of(SYMBOLS[market])
    simulated = SimulatedExchange([listing], seed, start_ms * MS)
    name = NATIVE[market].lower()
    intervals = ["1m", "3m"] + ["1s"] * (market == "spot")
    wanted = {
        parse_stream(market, f"{name}@{one}")
        for one in ("trade", *map("kline_{}".format, intervals))
    }
    trades: list[dict[str, Any]] = []
    closed: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    told: dict[str, int] = {}
    some = itertools.count()  # of the open ones every tenth is looked at in full
    for channel, data in simulated.advance((start_ms + 100_000) * MS, wanted):  # type: ignore[arg-type]
        said = decode(data)
        if channel.kind is StreamKind.TRADE:
            trades.append(said)
            continue
        candle = said["k"]
        assert said["E"] > told.get(candle["i"], 0)  # no two of a stream at one time
        told[candle["i"]] = said["E"]
        assert (candle["i"], candle["s"], candle["B"]) == (channel.candle, NATIVE[market], "0")
        # So far: what is told is of the trades told before it.
        first = bisect_left(trades, candle["t"], key=itemgetter("T"))
        within = trades[first : bisect_right(trades, candle["T"], key=itemgetter("T"))]
        if candle["n"] and not candle["x"] and next(some) % 10:
            assert candle["n"] == len(within)
        elif candle["n"]:
            check_candle(candle, within, market == "coinm")
        else:
            assert not within
            assert candle["x"]
            assert (candle["f"], candle["L"]) == (-1, -1)
            assert len({candle[key] for key in "ohlc"}) == 1
        every = {"1s": 1000}.get(candle["i"], 2000) if market == "spot" else 250
        assert said["E"] % every == 0 or candle["x"]
        assert candle["x"] == (said["E"] > candle["T"])
        if candle["x"]:
            assert said["E"] == candle["T"] + 1
            closed[candle["i"]].append(candle)
    assert set(closed) >= {"1m"}
    for candles in closed.values():
        for before, after in itertools.pairwise(candles):
            assert after["t"] == before["T"] + 1  # none is left out
            if not after["n"]:
                assert after["c"] == before["c"]


def test_a_candle_that_nobody_traded_in_closes_at_the_last_price() -> None:
    listing = Listing.of("BTC/USDT")
    simulated = SimulatedExchange([listing], 1, 1_700_000_000 * S)
    simulated.advance(1_700_000_010 * S, ())
    market = simulated.market(listing)
    market._flow.next_ns = 1_700_000_900 * S  # nobody comes for a quarter of an hour
    channel = Channel("spot", "BTCUSDT", StreamKind.KLINE, candle="1m")
    candles = [decode(data)["k"] for _, data in simulated.advance(1_700_000_300 * S, {channel})]
    assert [one["n"] > 0 for one in candles] == [True, False, False, False, False]
    last = simulated.trades(listing, 1)[0].price
    assert {one[key] for one in candles[1:] for key in "ohlc"} == {last}


def test_in_microseconds_a_candle_ends_with_its_last_one() -> None:
    simulated = SimulatedExchange([Listing.of("BTC/USDT")], 1, 1_700_000_000 * S)
    wanted = {Channel("spot", "BTCUSDT", StreamKind.KLINE, candle="1s")}
    for _, data in simulated.advance(1_700_000_005 * S, wanted):
        plain, micro = decode(data), decode(in_microseconds(data))
        assert micro["E"] == plain["E"] * 1000
        assert micro["k"]["t"] == plain["k"]["t"] * 1000
        assert micro["k"]["T"] == micro["k"]["t"] + 999_999
        same = plain["k"].keys() - {"t", "T"}
        assert {key: plain["k"][key] for key in same} == {key: micro["k"][key] for key in same}


@pytest.mark.parametrize("market", list(SYMBOLS))
def test_the_candles_of_a_day_are_those_of_its_minutes_put_together(market: str) -> None:
    listing = Listing.of(SYMBOLS[market])
    midnight = 1_700_006_400  # 2023-11-15
    simulated = SimulatedExchange([listing], 3, (midnight - 90) * S)
    wanted = {Channel(market, listing.symbol, StreamKind.KLINE, candle=one) for one in INTERVALS}
    said = [decode(data) for _, data in simulated.advance((midnight + 5) * S, wanted)]
    closed: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in said:
        if one["k"]["x"]:
            closed[one["k"]["i"]].append(one["k"])
    # A new day at midnight of a Wednesday: everything up to a day ends, weeks and months do not.
    assert set(closed) == set(INTERVALS) - {"3d", "1w", "1M"} - (
        {"1s"} if market != "spot" else set()
    )
    parts = closed["1m"]
    for interval in ("3m", "1h", "12h", "1d"):
        (whole,) = closed[interval]
        inside = [one for one in parts if one["t"] >= whole["t"]]
        assert whole["n"] == sum(one["n"] for one in inside)
        assert Decimal(whole["q"]) == sum(Decimal(one["q"]) for one in inside)
        assert Decimal(whole["h"]) == max(Decimal(one["h"]) for one in inside)
        assert (whole["o"], whole["c"]) == (inside[0]["o"], inside[-1]["c"])
