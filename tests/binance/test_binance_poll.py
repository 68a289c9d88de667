"""REST polling against the sandbox and a venue that refuses: what is told, and what is never asked."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from binance_fixtures import book_of, snapshot
from binance_venue import Venue, collect, source, spec_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sandboxed import exchange
from websockets.asyncio.server import ServerConnection

from mmkit.errors import ConfigError, FeedError
from mmkit.tape import KIND, SELL, GapReason, Kind, Row
from mmkit_binance import allowance as allowances
from mmkit_binance.allowance import Allowance, Rank, Weight


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mmkit.binance")


def gaps(rows: list[Row]) -> list[GapReason]:
    return [GapReason(row[3]) for row in rows if row[2] & KIND == Kind.GAP]


def snapshots(rows: list[Row]) -> int:
    return sum(row[2] & KIND == Kind.SNAPSHOT for row in rows)


@pytest.mark.parametrize(
    ("market", "told"),
    [
        ("spot", "trade"),
        ("usdm", "trade"),
        ("coinm", "trade"),
        ("spot", "aggTrade"),
        ("coinm", "aggTrade"),
    ],
)
def test_polled_books_and_trades_are_the_exchanges(market: str, told: str) -> None:
    async def inside() -> None:
        spec = spec_of(market)
        async with exchange(spec.symbol) as found:
            answered: list[Any] = []
            served: Any = found.sandbox.exchange
            (listing,) = served.listings
            depth = served.depth

            def answering(*arguments: Any) -> Any:
                answered.append(depth(*arguments))
                return answered[-1]

            served.depth = answering
            marked = market != "spot" and told == "trade"  # else it would weigh too much
            streams = ["depth", told, "bookTicker"] + ["markPrice"] * marked
            live = source(
                spec,
                endpoint="sandbox",
                endpoints={"sandbox": found.url},
                mode="rest",
                every="800ms" if market == "coinm" else "500ms",
                streams=streams,
                snapshot_limit=100,
            )
            rows = await collect(live, lambda rows: snapshots(rows) > 2)
            grid = await live.instrument()
            assert gaps(rows) == [GapReason.START]
            kinds = {Kind(row[2] & KIND) for row in rows}
            expected = {Kind.GAP, Kind.SNAPSHOT, Kind.LEVEL, Kind.TRADE, Kind.BEST}
            if marked:
                expected |= {Kind.MARK, Kind.FUNDING}
            assert kinds == expected

            books = [
                [
                    {grid.ticks(price): grid.lots(quantity) for price, quantity in side}
                    for side in (one.bids, one.asks)
                ]
                for one in answered
                if len(one.bids) == 100  # bookTicker asks for one level
            ]
            book = book_of(rows)
            assert [dict(book.bids.levels), dict(book.asks.levels)] in books

            trades = [
                (grid.price(row[3]), grid.quantity(row[4]), bool(row[2] & SELL))
                for row in rows
                if row[2] & KIND == Kind.TRADE
            ]
            truth = [
                (Decimal(one.price), Decimal(one.quantity), one.buyer_is_maker)
                for one in (
                    served.trades(listing, 1000) if told == "trade" else served.agg_trades(listing)
                )
            ]
            places = [
                start for start in range(len(truth)) if truth[start : start + len(trades)] == trades
            ]
            assert trades
            assert places

    asyncio.run(inside())


async def nothing(venue: Venue, socket: ServerConnection, number: int) -> None:
    raise AssertionError("no connection is opened")


def run(venue: Venue, until: Callable[[list[Row]], bool], **config: Any) -> list[Row]:
    async def moving() -> None:
        while True:
            venue.last += 1
            await asyncio.sleep(0.01)

    async def inside() -> list[Row]:
        async with venue.open():
            task = asyncio.ensure_future(moving())
            try:
                given: dict[str, Any] = {"mode": "rest", "streams": ["depth"], "every": "100ms"}
                live = venue.source(**(given | {"snapshot_limit": 100} | config))
                return await collect(live, until)
            finally:
                task.cancel()

    return asyncio.run(inside())


@pytest.mark.parametrize("status", [429, 418])
def test_a_venue_that_refuses_is_not_asked_before_the_time_is_up(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    venue = Venue(nothing)
    refused: list[int] = []

    def until(rows: list[Row]) -> bool:
        if snapshots(rows) == 3 and not refused:
            refused.append(len(venue.asked))
            answer = web.Response(status=status, headers={"Retry-After": "2"})
            venue.answers["depth"] = [answer]
        return snapshots(rows) > 5

    rows = run(venue, until, streams=["depth", "bookTicker"][:1])
    assert gaps(rows) == [GapReason.START, GapReason.CONNECTION]
    assert book_of(rows).known
    waits = [
        after - before for before, after in zip(venue.asked_at, venue.asked_at[1:], strict=False)
    ]
    assert sum(wait >= 2 for wait in waits) == 1
    assert sum(wait > 1 for wait in waits) == 1
    assert f"(HTTP {status}), too many were sent; wait 2 s" in caplog.text


def test_a_refusal_of_one_request_holds_for_every_other() -> None:
    venue = Venue(nothing)
    ticker = {"bidPrice": "99.0", "bidQty": "1", "askPrice": "101.0", "askQty": "1"}
    venue.answers["bookTicker"] = [web.json_response(ticker) for _ in range(1000)]
    refused_at: list[float] = []

    def until(rows: list[Row]) -> bool:
        if snapshots(rows) == 3 and not refused_at:
            refused_at.append(asyncio.get_running_loop().time())
            venue.answers["bookTicker"].insert(
                0, web.Response(status=429, headers={"Retry-After": "1"})
            )
        return snapshots(rows) > 5

    run(venue, until, streams=["depth", "bookTicker"])
    late = [at for at in venue.asked_at if at > refused_at[0] + 0.2]
    # What was on its way already has come; then there is nothing for a second, of either kind.
    assert late[0] >= refused_at[0] + 1.0


def test_what_the_venue_does_not_serve_ends_the_run() -> None:
    venue = Venue(nothing)

    def until(rows: list[Row]) -> bool:
        if snapshots(rows) == 3:
            venue.answers["depth"] = [web.Response(status=451, text='{"code":0}')]
        return False

    with pytest.raises(FeedError, match=r"does not serve this address \(HTTP 451\)"):
        run(venue, until)


def test_too_many_trades_between_two_answers_are_noted(caplog: pytest.LogCaptureFixture) -> None:
    venue = Venue(nothing)

    def trades(*numbers: int) -> web.Response:
        one = {"price": "100.0", "qty": "1", "time": venue.now_ms(), "isBuyerMaker": True}
        return web.Response(text=json.dumps([{"id": number, **one} for number in numbers]))

    venue.answers["trades"] = [trades(1, 2), trades(1, 2, 3), trades(7, 8), trades(7, 8), trades()]

    def until(rows: list[Row]) -> bool:
        return len(rows) == 4  # the first GAP, and 3, 7, 8

    run(venue, until, streams=["trade"], every="300ms")
    assert "trades between 3 and 7 were not seen" in caplog.text


class Aggregates:
    """Serves ``aggTrades`` numbered from 1 without a hole; what it was asked is in `asked`."""

    def __init__(self, made: int) -> None:
        self.made, self.asked, self.fails = made, list[tuple[int | None, int]](), 0

    async def answer(self, request: web.Request) -> web.Response:
        limit = int(request.query["limit"])
        first = int(request.query["fromId"]) if "fromId" in request.query else None
        self.asked.append((first, limit))
        if self.fails:
            self.fails -= 1
            return web.Response(status=500, text="{}")
        now_ms = time.time_ns() // 10**6
        found = range(self.made - limit + 1 if first is None else first, self.made + 1)[:limit]
        one = {"q": "1", "T": now_ms, "m": True}
        return web.json_response(
            [{"a": number, "p": f"{number}.0", **one} for number in found if number > 0]
        )


@pytest.mark.parametrize("before", [0, 7])
def test_aggregate_trades_are_asked_for_from_the_last_one_on_and_none_is_missed(
    before: int, caplog: pytest.LogCaptureFixture
) -> None:
    served = Aggregates(before)

    async def inside() -> list[Row]:
        venue = Venue(nothing, "usdm")
        async with venue.open():
            app = web.Application()
            app.router.add_get("/fapi/v1/aggTrades", served.answer)
            app.router.add_get("/fapi/v1/{tail:.*}", venue._answer)
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            rest_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            live = venue.source(mode="rest", streams=["aggTrade"], every="560ms", rest_url=rest_url)

            def until(rows: list[Row]) -> bool:
                last = rows[-1][3] // 10  # the price is the number
                if last == before + 1:
                    served.fails = 1
                    served.made = 2_600  # more than two answers hold
                return last == 2_600

            async def trading() -> None:
                while not served.asked:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)
                served.made += 1

            task = asyncio.ensure_future(trading())
            try:
                return await collect(live, until)
            finally:
                await task
                await runner.cleanup()

    rows = asyncio.run(inside())
    told = [row[3] // 10 for row in rows if row[2] & KIND == Kind.TRADE]
    assert told == list(range(before + 1, 2_601))
    first = (0 if not before else before + 1, 1000)
    # Where it stands; what is new; the try that failed and the same again; on without a pause.
    assert served.asked == [
        (None, 1),
        first,
        (before + 2, 1000),
        (before + 2, 1000),
        (before + 1002, 1000),
        (before + 2002, 1000),
    ]
    assert "hole in the trades" not in caplog.text


def test_an_older_book_from_another_server_is_not_taken() -> None:
    venue = Venue(nothing)
    old = {"lastUpdateId": 50, "bids": [["90.0", "1"]], "asks": []}

    def until(rows: list[Row]) -> bool:
        if snapshots(rows) == 3:
            venue.answers["depth"] = [web.json_response(old)]
        return snapshots(rows) > 5

    rows = run(venue, until)
    assert 900 not in {row[3] for row in rows if row[2] & KIND == Kind.LEVEL}


def test_what_would_ask_too_much_is_a_mistake_with_what_would_not() -> None:
    with pytest.raises(ConfigError) as error:
        source(spec_of("spot"), mode="rest", every="100ms", snapshot_limit=100)
    assert str(error.value) == (
        "data.every: at least 334ms was expected, as these streams weigh 30 each time and 5400 may be used "
        "in a minute; found 100ms; ask less often, for fewer streams, or for fewer levels with "
        "'snapshot_limit'"
    )
    source(spec_of("spot"), mode="rest", every="334ms", snapshot_limit=100)
    with pytest.raises(ConfigError, match=r"mode 'rest' has no 'forceOrder', 'kline_1m'"):
        source(spec_of("usdm"), mode="rest", streams=["depth", "forceOrder", "kline_1m"])
    # COIN-M: depth 5, aggTrades 20, premiumIndex 10.
    streams = ["depth", "aggTrade", "markPrice"]
    with pytest.raises(ConfigError, match=r"at least 973ms .* weigh 35 each time and 2160 may"):
        source(spec_of("coinm"), mode="rest", every="900ms", snapshot_limit=100, streams=streams)


@pytest.fixture
def short_minute(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(allowances, "_MINUTE_S", 0.05)
    return 0.05


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(weights=st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_in_no_span_of_a_minute_is_more_than_the_weight_used(
    weights: list[int], short_minute: float
) -> None:
    async def inside() -> list[tuple[float, int]]:
        found = Allowance(20)  # of which 18 are used
        passed: list[tuple[float, int]] = []

        async def ask(weight: int) -> None:
            await found.wait(Weight(weight))
            passed.append((asyncio.get_running_loop().time(), weight))

        await asyncio.gather(*map(ask, weights))
        return passed

    passed = asyncio.run(inside())
    assert [weight for _, weight in passed] == weights
    for begun, _ in passed:
        # Whoever passes hears of it a moment later, so the span is looked at without its end.
        span = [weight for at, weight in passed if begun <= at < begun + short_minute * 0.8]
        assert sum(span) <= 18


def test_a_request_that_follows_on_another_goes_first_and_finds_room(short_minute: float) -> None:
    async def inside() -> list[str]:
        found = Allowance(10)  # of which 9 are used: one pair of 4 and 4
        done: list[str] = []

        async def pair(name: str) -> None:
            await found.wait(Weight(4, Rank.LATER, follows=4))
            done.append(name)
            await asyncio.sleep(0.005)
            await found.wait(Weight(4, Rank.FOLLOWS))
            done.append(name)

        await asyncio.gather(*map(pair, "abc"))
        return done

    assert asyncio.run(inside()) == list("aabbcc")


def test_who_waits_no_more_uses_no_weight(short_minute: float) -> None:
    async def inside() -> float:
        loop = asyncio.get_running_loop()
        found = Allowance(10)
        await found.wait(Weight(9))
        begun = loop.time()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(found.wait(Weight(9)), 0.001)
        await found.wait(Weight(9))
        return loop.time() - begun

    assert asyncio.run(inside()) < 2 * short_minute


def test_what_others_have_used_counts(short_minute: float) -> None:
    async def inside() -> float:
        found = Allowance(6000)
        await found.wait(Weight(1))
        found.used("5400")
        begun = asyncio.get_running_loop().time()
        await found.wait(Weight(1))
        return asyncio.get_running_loop().time() - begun

    assert asyncio.run(inside()) >= short_minute * 0.9


def test_a_polled_book_that_is_crossed_is_a_gap_and_never_told() -> None:
    async def inside() -> list[Row]:
        async with Venue(None).open() as venue:  # type: ignore[arg-type]
            books = [
                (101, [(99.0, 1)], [(101.0, 1)]),
                (102, [(101.5, 1)], [(101.0, 1)]),
                (103, [(99.5, 1)], [(101.0, 1)]),
            ]
            venue.answers["depth"] = [
                web.Response(body=snapshot(*book), content_type="application/json")
                for book in books
            ]
            live = venue.source(mode="rest", every="100ms", streams=["depth"], snapshot_limit=5)
            return await collect(live, lambda rows: snapshots(rows) == 2)

    rows = asyncio.run(inside())
    assert gaps(rows) == [GapReason.START, GapReason.CHECK]
    assert [row[3] for row in rows if row[2] & KIND == Kind.LEVEL] == [990, 1010, 995, 1010]
