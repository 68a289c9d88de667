"""The simulated markets: the same seed is the same market, and the streams tell all of it."""

from __future__ import annotations

import itertools
import math
import statistics
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox_fixtures import BOTH, NATIVE, LocalBook, decode, top_of

from mmkit.errors import UsageError
from mmkit.events import Side
from mmkit_sandbox.channel import Channel, parse_stream
from mmkit_sandbox.flow import FlowParameters, OrderFlow
from mmkit_sandbox.listing import Listing
from mmkit_sandbox.matching import MatchingBook, Report, ReportKind, TimeInForce
from mmkit_sandbox.simulation import SimulatedExchange

START = 1_700_000_000_000_000_000
MS, S = 1_000_000, 1_000_000_000
ALL = (*BOTH, "BTC/USD:BTC")
STREAMS = ("depth@100ms", "depth", "depth5", "trade", "aggTrade", "bookTicker", "markPrice@1s")
STREAMS += ("kline_1s", "kline_1m", "forceOrder")


def channels(market: str, *names: str) -> set[Channel]:
    found = {parse_stream(market, f"{NATIVE[market].lower()}@{name}") for name in names}
    return {channel for channel in found if channel is not None}


EVERYTHING = {channel for market in NATIVE for channel in channels(market, *STREAMS)}


def exchange(seed: int = 1, symbols: tuple[str, ...] = ALL) -> SimulatedExchange:
    return SimulatedExchange([Listing.of(symbol) for symbol in symbols], seed, START)


def listing(market: SimulatedExchange, name: str) -> Listing:
    return next(one for one in market.listings if one.market == name)


def depth(simulated: SimulatedExchange, of: Listing, limit: int = 5000) -> dict[str, Any]:
    book = simulated.depth(of, limit)
    return {"lastUpdateId": book.last_update_id, "bids": book.bids, "asks": book.asks}


@given(st.lists(st.integers(1, 400), min_size=1, max_size=20), st.sampled_from(ALL))
@settings(max_examples=15, deadline=None)
def test_the_market_does_not_depend_on_how_time_is_sliced(slices: list[int], symbol: str) -> None:
    whole, sliced = exchange(symbols=(symbol,)), exchange(symbols=(symbol,))
    end = START + sum(slices) * MS
    expected = whole.advance(end, EVERYTHING)
    now, heard = START, []
    for part in slices:
        now += part * MS
        heard += sliced.advance(now, EVERYTHING)
    assert heard == expected
    of = whole.listings[0]
    assert sliced.depth(of, 5000) == whole.depth(of, 5000)


def test_the_market_does_not_depend_on_who_listens() -> None:
    heard, unheard = exchange(), exchange()
    heard.advance(START + 20 * S, EVERYTHING)
    unheard.advance(START + 20 * S, ())
    for of in heard.listings:
        assert heard.depth(of, 5000) == unheard.depth(of, 5000)
        assert heard.trades(of, 1000) == unheard.trades(of, 1000)


def test_another_seed_is_another_market() -> None:
    one, other = (exchange(seed).advance(START + 2 * S, EVERYTHING) for seed in (1, 2))
    assert one != other


@pytest.mark.parametrize("market", list(NATIVE))
@pytest.mark.parametrize("stream", ["depth@100ms", "depth"])
def test_a_snapshot_and_the_diffs_after_it_are_the_exchanges_book(market: str, stream: str) -> None:
    simulated = exchange()
    of = listing(simulated, market)
    wanted = channels(market, stream)
    # The snapshot is taken between two messages, as a client's is.
    now = START + 3330 * MS
    early = [decode(message.data) for message in simulated.advance(now, wanted)]
    local = LocalBook(market, depth(simulated, of))
    late = [decode(message.data) for message in simulated.advance(START + 10 * S, wanted)]
    assert len(early) > 2
    assert len(late) > 5
    for diff in early + late:
        local.apply(diff)
    assert local.synchronised
    assert local.update_id == simulated.depth(of, 1).last_update_id
    assert local.top(9999) == top_of(depth(simulated, of), 9999)


@pytest.mark.parametrize("market", list(NATIVE))
def test_the_chain_of_update_ids_has_no_gap(market: str) -> None:
    diffs = [
        decode(message.data)
        for message in exchange().advance(START + 5 * S, channels(market, "depth@100ms"))
    ]
    for before, after in itertools.pairwise(diffs):
        assert after["E"] >= before["E"] + 100
        if market == "spot":
            assert after["U"] == before["u"] + 1
        else:
            assert after["pu"] == before["u"] < after["U"]
    assert any(diff["u"] - diff["U"] > 5 for diff in diffs)
    if market != "spot":
        assert any(after["U"] > after["pu"] + 1 for after in diffs)


@pytest.mark.parametrize("market", list(NATIVE))
def test_every_book_ticker_is_the_best_of_the_book_with_the_same_update_id(market: str) -> None:
    simulated = exchange()
    of = listing(simulated, market)
    local = LocalBook(market, depth(simulated, of))
    messages = simulated.advance(START + 20 * S, channels(market, "depth@100ms", "bookTicker"))
    tickers: dict[int, Any] = {}
    compared = 0
    for message in messages:
        said = decode(message.data)
        if "a" in said and "B" in said:
            tickers[said["u"]] = said
            continue
        local.apply(said)
        ticker = tickers.get(said["u"])
        if ticker:
            bid, ask = local.top(1)
            assert bid == [(float(ticker["b"]), float(ticker["B"]))]
            assert ask == [(float(ticker["a"]), float(ticker["A"]))]
            compared += 1
    assert compared > 20


def test_payloads_have_binances_fields() -> None:
    simulated = exchange()
    heard: dict[tuple[str, str], Any] = {}
    for channel, data in simulated.advance(START + 60 * S, EVERYTHING):
        heard.setdefault((channel.market, channel.kind.value), decode(data))
    fields = {key: list(payload) for key, payload in heard.items()}
    assert fields == {
        ("spot", "depth"): ["e", "E", "s", "U", "u", "b", "a"],
        ("spot", "partial"): ["lastUpdateId", "bids", "asks"],
        ("spot", "trade"): ["e", "E", "s", "t", "p", "q", "T", "m", "M"],
        ("spot", "aggTrade"): ["e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M"],
        ("spot", "bookTicker"): ["u", "s", "b", "B", "a", "A"],
        ("usdm", "depth"): ["e", "E", "T", "s", "ps", "U", "u", "pu", "b", "a", "st"],
        ("usdm", "partial"): ["e", "E", "T", "s", "ps", "U", "u", "pu", "b", "a", "st"],
        ("usdm", "trade"): ["e", "E", "T", "s", "t", "p", "q", "X", "m"],
        ("usdm", "aggTrade"): ["e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "nq", "st"],
        ("usdm", "bookTicker"): ["e", "u", "s", "ps", "b", "B", "a", "A", "T", "E", "st"],
        ("usdm", "markPrice"): ["e", "E", "s", "p", "ap", "P", "i", "r", "T", "st"],
        ("usdm", "forceOrder"): ["e", "E", "o", "ps", "st"],
        ("coinm", "depth"): ["e", "E", "T", "s", "ps", "U", "u", "pu", "b", "a", "st"],
        ("coinm", "partial"): ["e", "E", "T", "s", "ps", "U", "u", "pu", "b", "a", "st"],
        ("coinm", "trade"): ["e", "E", "T", "s", "t", "p", "q", "X", "m"],
        ("coinm", "aggTrade"): ["e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "st"],
        ("coinm", "bookTicker"): ["e", "u", "s", "ps", "b", "B", "a", "A", "T", "E", "st"],
        ("coinm", "markPrice"): ["e", "E", "s", "p", "P", "i", "r", "T", "st"],
        ("coinm", "forceOrder"): ["e", "E", "o", "st"],
        **{(market, "kline"): ["e", "E", "s", "k"] for market in NATIVE},
    }
    candle = ["t", "T", "s", "i", "f", "L", "o", "c", "h", "l", "v", "n", "x", "q", "V", "Q", "B"]
    assert all(list(heard[market, "kline"]["k"]) == candle for market in NATIVE)
    order = ["s", "S", "o", "f", "q", "p", "ap", "X", "l", "z", "T"]
    assert list(heard["usdm", "forceOrder"]["o"]) == order
    assert set(heard["coinm", "forceOrder"]["o"]) == {*order, "ps"}
    for kind in ("depth", "bookTicker"):
        assert {heard["usdm", kind][key] for key in ("s", "ps", "st")} == {"BTCUSDT", 1}
        told = heard["coinm", kind]
        assert (told["s"], told["ps"], told["st"]) == ("BTCUSD_PERP", "BTCUSD", 2)
    assert heard["coinm", "trade"]["p"].count(".") == 1
    assert heard["coinm", "trade"]["q"].isdecimal()
    assert len(heard["spot", "trade"]["p"].partition(".")[2]) == 8
    assert len(heard["usdm", "trade"]["p"].partition(".")[2]) == 2
    assert len(heard["usdm", "trade"]["q"].partition(".")[2]) == 3
    assert len(heard["usdm", "partial"]["b"]) == 5


def test_aggregate_trades_add_up_to_the_trades() -> None:
    messages = exchange().advance(START + 30 * S, channels("usdm", "trade", "aggTrade"))
    trades: dict[int, Any] = {}
    aggregates = []
    for message in messages:
        said = decode(message.data)
        if said["e"] == "trade":
            trades[said["t"]] = said
        else:
            aggregates.append(said)
    assert sorted(trades) == list(range(min(trades), min(trades) + len(trades)))
    covered = []
    for number, aggregate in enumerate(aggregates, start=aggregates[0]["a"]):
        parts = [trades[number] for number in range(aggregate["f"], aggregate["l"] + 1)]
        covered += parts
        assert aggregate["a"] == number
        assert {(part["p"], part["m"], part["T"]) for part in parts} == {
            (aggregate["p"], aggregate["m"], aggregate["T"])
        }
        assert Decimal(aggregate["q"]) == sum(Decimal(part["q"]) for part in parts)
    assert covered == list(trades.values())


def test_a_trade_is_marked_with_the_side_that_waited() -> None:
    simulated = exchange()
    of = listing(simulated, "usdm")
    simulated.advance(START + S, ())
    simulated.submit(of, "me", Side.SELL, None, 1, time_in_force=TimeInForce.IOC)
    assert simulated.trades(of, 1)[0].buyer_is_maker
    simulated.submit(of, "me", Side.BUY, None, 1, time_in_force=TimeInForce.IOC)
    assert not simulated.trades(of, 1)[0].buyer_is_maker


def test_an_accounts_order_rests_fills_and_is_reported() -> None:
    simulated = exchange()
    of = listing(simulated, "usdm")
    heard: list[Report] = []
    simulated.listen(of, "me", heard.append)
    simulated.advance(START + S, ())
    best = simulated.market(of).book.best(Side.BUY)
    assert best is not None
    order = simulated.submit(of, "me", Side.BUY, best, 5, time_in_force=TimeInForce.POST_ONLY)
    far = simulated.submit(of, "me", Side.BUY, best // 2, 7)
    assert simulated.cancel(of, "somebody else", far) == 0
    assert simulated.cancel(of, "me", far) == 7
    simulated.advance(START + 60 * S, ())
    mine = [report for report in heard if report.order_id == order]
    assert mine[0].kind is ReportKind.ACCEPTED
    assert {report.kind for report in mine[1:]} == {ReportKind.FILLED}
    assert sum(report.quantity for report in mine[1:]) == 5
    assert mine[-1].remaining == 0


def test_an_accounts_order_shows_in_the_public_book_with_an_update_id_of_its_own() -> None:
    simulated = exchange()
    of = listing(simulated, "spot")
    simulated.advance(START + S, ())
    before = simulated.depth(of, 5000)
    price = int(Decimal(30_000) / of.tick)
    simulated.submit(of, "me", Side.BUY, price, 12_345)
    after = simulated.depth(of, 5000)
    assert after.last_update_id == before.last_update_id + 1
    assert after.bids[-1] == ("30000.00000000", "0.12345000")


def test_the_flow_trades_with_an_account_that_stands_in_its_way() -> None:
    """An ask of an account is bought before the price moves past it; the book never crosses."""
    simulated = exchange(seed=3)
    of = listing(simulated, "usdm")
    book = simulated.market(of).book
    filled: list[Report] = []
    simulated.listen(of, "me", filled.append)
    for second in range(1, 61):
        simulated.advance(START + second * S, ())
        bid, ask = book.best(Side.BUY), book.best(Side.SELL)
        assert bid is not None
        assert ask is not None
        assert bid < ask
        simulated.submit(of, "me", Side.SELL, ask + 3, 1000)
        simulated.submit(of, "me", Side.BUY, bid - 3, 1000)
    sides = {report.side for report in filled if report.kind is ReportKind.FILLED}
    assert sides == {Side.BUY, Side.SELL}


def minutes(parameters: FlowParameters, seed: int, count: int) -> tuple[list[float], list[int]]:
    """Return mid prices and spreads in ticks, once a second."""
    book = MatchingBook()
    flow = OrderFlow(book, Random(seed), parameters, 600_000, 0)
    mids, spreads = [], []
    for second in range(count * 60):
        while flow.next_ns <= second * S:
            flow.step()
        book.take_changes()
        book.take_trades()
        bid, ask = book.best(Side.BUY), book.best(Side.SELL)
        assert bid is not None
        assert ask is not None
        mids.append((bid + ask) / 2)
        spreads.append(ask - bid)
    return mids, spreads


def test_the_market_looks_like_a_liquid_one() -> None:
    """Volatility as asked for, a tight spread, returns that do not repeat."""
    parameters = FlowParameters.of(Listing.of("BTC/USDT:USDT"), 0.9)
    returns, spreads = [], []
    for seed in (1, 2, 3):
        mids, found = minutes(parameters, seed, 6)
        returns += [after - before for before, after in itertools.pairwise(mids)]
        spreads += found
    volatility = statistics.pstdev(returns)  # 0.9 bps of 600,000 ticks are 54
    assert 54 / 1.35 < volatility < 54 * 1.35
    assert sum(spread <= 3 for spread in spreads) / len(spreads) > 0.9
    mean = statistics.fmean(returns)
    lagged = sum((before - mean) * (after - mean) for before, after in itertools.pairwise(returns))
    assert abs(lagged / len(returns) / volatility**2) < 0.15
    assert abs(mean) < 4 * volatility / math.sqrt(len(returns))


def test_a_market_with_large_ticks_moves_seldom_and_by_one() -> None:
    parameters = FlowParameters.of(
        Listing.of("NEXO/USDT", price=Decimal("1.2"), tick=Decimal("0.001"), lot=Decimal("0.01")),
        0.9,
    )
    mids, spreads = minutes(parameters, 1, 5)
    assert max(mids) - min(mids) < 10
    assert statistics.median(spreads) == 1


def test_the_number_of_orders_stays_bounded() -> None:
    simulated = exchange(symbols=BOTH[1:])
    book = simulated.market(simulated.listings[0]).book
    simulated.advance(START + 60 * S, ())
    first = len(book)
    simulated.advance(START + 300 * S, ())
    assert len(book) < 2 * first
    assert len(book) > first / 2


@pytest.mark.parametrize("symbol", ["BTCUSDT", "BTC/", "BTC/USD:ETH", "BTC/BTC:BTC", ""])
def test_a_symbol_that_cannot_be_listed_is_refused_in_words(symbol: str) -> None:
    with pytest.raises(UsageError, match="such as 'BTC/USDT'"):
        Listing.of(symbol)


def test_a_market_a_tenth_as_lively_changes_a_tenth_as_often_and_is_about_as_volatile() -> None:
    def walk(liveliness: float) -> tuple[int, float]:
        coin = Listing.of("BTC/USDT")
        market = SimulatedExchange([coin], 2, START, liveliness=liveliness)
        mids: list[float] = []
        for second in range(200):
            market.advance(START + second * S, ())
            mid = market.market(coin).mid
            assert mid is not None
            mids.append(float(mid))
        returns = [(b - a) / a * 1e4 for a, b in itertools.pairwise(mids)]
        changes = market.depth(coin, 1).last_update_id - 1_000_000
        return changes, math.sqrt(statistics.fmean(one * one for one in returns))

    (changes, volatility), (fewer, about_as_much) = walk(1.0), walk(0.1)
    assert 0.07 < fewer / changes < 0.15
    assert 0.5 < about_as_much / volatility < 2
