"""The source with ccxt.pro's own client and real sockets: what comes, what is lost, what is wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import socket as sockets
from collections.abc import Callable
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from ccxt_venue import (
    StrangerError,
    Venue,
    book_of,
    collect,
    gaps,
    kinds_of,
    only_this_machine,
    source,
    spec_of,
)

from mmkit.clock import SystemClock
from mmkit.errors import ConfigError, FeedError
from mmkit.instruments import ContractKind, InstrumentSpec
from mmkit.interfaces import ServiceContext
from mmkit.log import set_up_log
from mmkit.tape import KIND, SELL, GapReason, Kind, Row
from mmkit_ccxt import source as source_module
from mmkit_ccxt.client import addresses_of, make_client
from mmkit_ccxt.failures import Answer, meaning_of
from mmkit_ccxt.listing import parse_market
from mmkit_sandbox.service import Config, Sandbox

BOTH = ("BTC/USDT", "BTC/USDT:USDT")


def known_again(losses: int) -> Callable[[list[Row]], bool]:
    """Return whether the book has become known after so many losses, and has gone on."""

    def until(rows: list[Row]) -> bool:
        kinds = kinds_of(rows)
        return (
            kinds.count(Kind.SNAPSHOT) > losses and kinds[-1] == Kind.LEVEL and book_of(rows).known
        )

    return until


def run(venue: Venue, until: Callable[[list[Row]], bool], **config: Any) -> list[Row]:
    async def inside() -> list[Row]:
        async with venue.open():
            return await collect(source(spec_of(), venue.url, **config), until)

    return asyncio.run(inside())


def check_book(venue: Venue, rows: list[Row]) -> None:
    """Check that the book is one that the venue had: its bid's size is its update id."""
    book = book_of(rows)
    assert book.known
    assert set(book.bids.levels) == {9900, 9850}
    assert 100 <= book.bids.levels[9900] <= venue.last
    assert book.asks.levels == {10100: 100}


async def steady(venue: Venue, socket: web.WebSocketResponse, number: int) -> None:
    await venue.flow(socket)


# --- on the sandbox -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("venue", "symbol"),
    [("binance", BOTH[0]), ("binance", BOTH[1]), ("binanceusdm", BOTH[1])],
)
def test_every_book_is_one_that_the_exchange_had_and_every_trade_is_its(
    venue: str, symbol: str
) -> None:
    async def inside() -> None:
        spec = spec_of(symbol, venue)
        service = Sandbox(
            Config(symbols=BOTH), ServiceContext(spec, SystemClock(), Path("user_data"))
        )
        url = await service.start()
        exchange = service.exchange
        assert exchange is not None
        listing = exchange.listing(spec.market, "BTCUSDT")
        assert listing is not None
        shown = Shown(exchange, listing)
        try:
            found = source(spec, url)
            instrument = await found.instrument()
            assert instrument.kind is (ContractKind.LINEAR if ":" in symbol else ContractKind.SPOT)
            assert (instrument.tick, instrument.lot) == (listing.tick, listing.lot)
            rows: list[Row] = []
            compared = 0
            async with aclosing(found.stream()) as stream, asyncio.timeout(20):  # type: ignore[type-var]
                async for made in stream:
                    rows += made
                    if made[-1][2] & KIND != Kind.LEVEL:
                        continue
                    compared += 1
                    # The first is the snapshot; what the exchange showed are updates.
                    book = book_of(rows)
                    tops = tuple(
                        tuple(
                            (instrument.price(price), instrument.quantity(lots))
                            for price, lots in side.top(20)
                        )
                        for side in (book.bids, book.asks)
                    )
                    assert compared <= 2 or tops in shown.tops
                    if compared >= 20 and kinds_of(rows).count(Kind.TRADE) >= 5:
                        break
            await found.close()
            served = exchange.trades(listing, 1000)
        finally:
            await service.stop()
        assert gaps(rows) == [GapReason.START]
        assert [row[1] for row in rows] == sorted(row[1] for row in rows)
        trades = [row for row in rows if row[2] & KIND == Kind.TRADE]
        # Binance's aggregate trades add up what one order took at one price.
        single = {(instrument.ticks(one.price), one.buyer_is_maker, one.ts_ms) for one in served}
        offset = found.stats.clock_offset_ns[0]
        for row in trades:
            told = (row[3], bool(row[2] & SELL), (row[0] + offset) // 10**6)
            assert told in single

    asyncio.run(inside())


class Shown:
    """The best 20 levels after each update that the exchange sent, made of its own messages.

    Attributes:
        tops: Of both sides, price and quantity as decimals.
    """

    def __init__(self, exchange: Any, listing: Any) -> None:
        self.tops: set[Any] = set()
        self._exchange, self._listing = exchange, listing
        self._advance = exchange.advance
        self._sides: list[dict[Decimal, Decimal]] | None = None
        self._base: Any = None
        exchange.advance = self._remembering

    def _remembering(self, *arguments: Any) -> Any:
        said = self._advance(*arguments)
        for message in said:
            if b'"depthUpdate"' in message.data:
                self._apply(json.loads(message.data))
        if self._sides is None:
            self._base = self._exchange.depth(self._listing, 5000)
        return said

    def _apply(self, update: Any) -> None:
        if self._sides is None:
            self._sides = [
                {Decimal(price): Decimal(quantity) for price, quantity in side}
                for side in (self._base.bids, self._base.asks)
            ]
        for side, levels in zip(self._sides, (update["b"], update["a"]), strict=True):
            for price, quantity in levels:
                side[Decimal(price)] = Decimal(quantity)
        bids, asks = ([level for level in sorted(side.items()) if level[1]] for side in self._sides)
        self.tops.add((tuple(bids[::-1][:20]), tuple(asks[:20])))


@pytest.mark.parametrize(
    ("venue", "symbol"), [("binance", BOTH[0]), ("binance", BOTH[1]), ("binanceusdm", BOTH[1])]
)
def test_no_address_of_ccxts_is_left_that_leads_elsewhere(venue: str, symbol: str) -> None:
    base = "http://127.0.0.1:4567"
    client = make_client(spec_of(symbol, venue), "sandbox", {"sandbox": base})
    original = make_client(spec_of(symbol, venue), "live", {})
    there = addresses_of(client)
    assert len(there) == len(addresses_of(original)) > 30
    assert {urlsplit(one).netloc for one in there} == {"127.0.0.1:4567"}
    assert all(urlsplit(one).netloc != "127.0.0.1:4567" for one in addresses_of(original))


def test_another_host_is_refused_so_that_these_tests_would_notice() -> None:
    async def inside() -> None:
        found = source(spec_of(), endpoint="live")
        try:
            await found.instrument()
        finally:
            await found.close()

    # The client that is not the sandbox's does try to leave.
    with only_this_machine() as tried, pytest.raises((FeedError, StrangerError)):
        asyncio.run(inside())
    assert set(tried) == {"api.binance.com"}


def test_a_venue_that_the_sandbox_does_not_speak_is_refused_there() -> None:
    with pytest.raises(
        ConfigError, match="the sandbox speaks binance and binanceusdm; found venue 'kraken'"
    ):
        source(spec_of("BTC/USD", "kraken"), "http://127.0.0.1:1")


# --- what is lost ---------------------------------------------------------------------------------


def test_the_book_becomes_known_and_follows_the_venue() -> None:
    venue = Venue(steady)
    rows = run(venue, lambda rows: known_again(0)(rows) and len(rows) > 30)
    assert gaps(rows) == [GapReason.START]
    check_book(venue, rows)
    # A change of one level is one row.
    snapshot = kinds_of(rows).index(Kind.SNAPSHOT)
    assert kinds_of(rows)[snapshot + 4 :] == [Kind.LEVEL] * (len(rows) - snapshot - 4)


def test_a_missing_update_is_a_gap_and_the_book_is_known_again_afterwards() -> None:
    async def script(venue: Venue, socket: web.WebSocketResponse, number: int) -> None:
        await venue.flow(socket, 40)
        if number == 1:
            await socket.send_str(venue.diff(skip=1))
        await venue.flow(socket)

    venue = Venue(script)
    rows = run(venue, known_again(1))
    assert gaps(rows) == [GapReason.START, GapReason.SEQUENCE]
    check_book(venue, rows)


@pytest.mark.parametrize("code", [1000, 1006, 1008])
def test_a_connection_that_closes_is_a_gap_and_another_is_made(code: int) -> None:
    async def script(venue: Venue, socket: web.WebSocketResponse, number: int) -> None:
        await venue.flow(socket, 40)
        if number == 1:
            if code == 1006:  # no closing handshake at all
                assert socket._req is not None
                assert socket._req.transport is not None
                socket._req.transport.abort()
            await socket.close(code=code)
            return
        await venue.flow(socket)

    venue = Venue(script)
    rows = run(venue, known_again(1))
    assert gaps(rows) == [GapReason.START, GapReason.CONNECTION]
    assert venue.connected == 2
    # What changed meanwhile is in the book that is told anew.
    check_book(venue, rows)


def test_a_venue_that_drops_every_connection_is_asked_less_and_less_often() -> None:
    async def script(venue: Venue, socket: web.WebSocketResponse, number: int) -> None:
        await venue.flow(socket, 40)
        await socket.close(code=1001)

    rows = run(Venue(script), known_again(3))
    lost = [row[1] for row in rows if row[2] & KIND == Kind.GAP][1:]
    told = [row[1] for row in rows if row[2] & KIND == Kind.SNAPSHOT][1:]
    # 0.25 s, 0.5 s, 1 s, each half as long or half as long again.
    for number, (begin, end) in enumerate(zip(lost, told, strict=True)):
        assert (end - begin) / 1e9 > 0.125 * 2**number


def test_a_stream_that_falls_silent_is_a_gap_and_another_is_made() -> None:
    async def script(venue: Venue, socket: web.WebSocketResponse, number: int) -> None:
        await venue.flow(socket, 40 if number == 1 else 10_000)
        await asyncio.sleep(5)

    venue = Venue(script)
    rows = run(venue, known_again(1), silence="300ms")
    assert gaps(rows) == [GapReason.START, GapReason.SILENCE]
    check_book(venue, rows)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (502, "<html><body>Bad Gateway</body></html>", "text/html"),
        (503, '{"code": -1001, "msg": "Internal error"}', "application/json"),
    ],
)
def test_a_snapshot_that_fails_leaves_the_book_unknown_until_one_comes(
    status: int, body: str, kind: str
) -> None:
    venue = Venue(steady)
    venue.answers["depth"] = [
        web.Response(status=status, text=body, content_type=kind) for _ in range(2)
    ]
    rows = run(venue, known_again(0))
    kinds = kinds_of(rows)
    assert Kind.LEVEL not in kinds[: kinds.index(Kind.SNAPSHOT)]
    assert gaps(rows) == [GapReason.START, GapReason.CONNECTION, GapReason.CONNECTION]
    check_book(venue, rows)


@pytest.mark.parametrize("status", [418, 429])
def test_a_venue_that_has_had_too_many_requests_is_left_alone_as_long_as_it_says(
    status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(source_module, "_SLOW_DOWN_S", (0.05, 1.0))
    venue = Venue(steady)
    body = '{"code": -1003, "msg": "Too many requests"}'
    venue.answers["depth"] = [
        web.Response(
            status=status, text=body, content_type="application/json", headers={"Retry-After": "1"}
        )
    ]
    with caplog.at_level(logging.WARNING, logger="mmkit.ccxt"):
        rows = run(venue, known_again(0))
    _, lost, told = (row for row in rows if row[2] & KIND in (Kind.GAP, Kind.SNAPSHOT))
    assert (told[1] - lost[1]) / 1e9 >= 1
    assert "too many requests were sent" in caplog.text
    check_book(venue, rows)


def test_a_trade_that_comes_twice_counts_once_and_an_old_one_not_at_all() -> None:
    venue = Venue(steady)

    async def inside() -> list[Row]:
        async with venue.open():
            new = [venue.trade(number, T=venue.now_ms() + 60_000) for number in (7, 8, 7, 9)]
            venue.trades = [venue.trade(1, T=venue.now_ms() - 60_000), *new]
            found = source(spec_of(), venue.url)
            rows = await collect(found, lambda rows: kinds_of(rows).count(Kind.TRADE) >= 3)
            assert found.stats.ignored == 2
            assert any("more than once" in note for note in found.stats.notes)
            assert any("from before the stream was opened" in note for note in found.stats.notes)
            return rows

    rows = asyncio.run(inside())
    trades = [row for row in rows if row[2] & KIND == Kind.TRADE]
    assert [(row[2] & SELL, row[3], row[4]) for row in trades] == [(SELL, 9900, 500)] * 3


def test_the_venues_times_are_moved_by_the_difference_between_the_clocks() -> None:
    venue = Venue(steady)
    venue.ahead_ms = 5000
    rows = run(venue, lambda rows: known_again(0)(rows) and len(rows) > 30)
    updates = rows[-10:]
    assert all(abs(row[1] - row[0]) < 10**9 for row in updates)


# --- what is wrong from the start -----------------------------------------------------------------


def test_an_unknown_venue_is_named_with_its_near_matches() -> None:
    with pytest.raises(
        ConfigError, match=r"instrument.venue: ccxt.pro knows no 'binanse'; did you mean .*binance"
    ):
        source(spec_of(venue="binanse"), endpoint="live")


def test_a_venue_without_streams_is_told_from_one_that_ccxt_does_not_know() -> None:
    import ccxt.pro

    import ccxt

    name = next(one for one in ccxt.exchanges if one not in ccxt.pro.exchanges)
    with pytest.raises(ConfigError, match=f"ccxt has '{name}' without streams"):
        source(spec_of(venue=name), endpoint="live")


def test_a_venue_whose_book_cannot_be_watched_is_refused() -> None:
    with pytest.raises(ConfigError, match="'mudrex' has no watchOrderBook"):
        source(spec_of(venue="mudrex"), endpoint="live")


def test_a_test_network_that_ccxt_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match="ccxt has no 'testnet' of 'kraken'"):
        source(spec_of("BTC/USD", "kraken"), endpoint="testnet")
    with pytest.raises(ConfigError, match="ccxt has no 'demo' of 'kraken'"):
        source(spec_of("BTC/USD", "kraken"), endpoint="demo")
    known = set(addresses_of(make_client(spec_of(venue="bybit"), "live", {})))
    assert known.isdisjoint(addresses_of(make_client(spec_of(venue="bybit"), "testnet", {})))
    demo = addresses_of(make_client(spec_of(venue="bybit"), "demo", {}))
    assert "https://api-demo.{hostname}" in demo


def test_every_venue_whose_book_and_trades_ccxt_pro_can_watch_is_taken() -> None:
    import ccxt.pro

    refused = []
    for venue in ccxt.pro.exchanges:
        try:
            source(spec_of(venue=venue), endpoint="live")
        except ConfigError:
            refused.append(venue)
    lacking = [
        venue
        for venue in ccxt.pro.exchanges
        if not all(
            getattr(ccxt.pro, venue)().has.get(f"watch{what}") for what in ("OrderBook", "Trades")
        )
    ]
    assert refused == lacking
    assert len(ccxt.pro.exchanges) - len(refused) > 70


def test_a_venue_whose_trades_cannot_be_watched_is_refused_until_one_does_without() -> None:
    with pytest.raises(ConfigError, match=r"say 'data\.trades: false'"):
        source(spec_of(venue="bydfi"), endpoint="live")
    found = source(spec_of(venue="bydfi"), endpoint="live", trades=False)
    asyncio.run(found.close())


def test_an_unknown_symbol_is_named_with_its_near_matches() -> None:
    async def inside(symbol: str) -> None:
        async with Venue(steady).open() as venue:
            found = source(spec_of(symbol), venue.url)
            try:
                await found.instrument()
            finally:
                await found.close()

    with pytest.raises(ConfigError, match=r"lists no 'BTC/USDC' on spot; did you mean BTC/USDT"):
        asyncio.run(inside("BTC/USDC"))


def test_a_grid_that_is_not_the_venues_is_refused() -> None:
    async def inside() -> None:
        async with Venue(steady).open() as venue:
            found = source(spec_of(tick=Decimal("0.1"), lot=Decimal("0.00001")), venue.url)
            try:
                await found.instrument()
            finally:
                await found.close()

    with pytest.raises(ConfigError) as caught:
        asyncio.run(inside())
    assert [one.path for one in caught.value.mistakes] == ["instrument.tick"]
    assert "the venue's is 0.01" in str(caught.value)


def test_nobody_there_ends_the_run_with_what_to_do() -> None:
    with sockets.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def inside() -> None:
        found = source(spec_of(), f"http://127.0.0.1:{port}")
        try:
            await found.instrument()
        finally:
            await found.close()

    with pytest.raises(FeedError) as caught:
        asyncio.run(inside())
    assert "loadMarkets: 'binance' cannot be reached" in str(caught.value)
    assert "tried 5 times" in str(caught.value)
    assert "start it with 'mmkit sandbox'" in str(caught.value)


def test_a_venue_that_takes_the_subscription_and_says_nothing_ends_the_run() -> None:
    async def script(venue: Venue, socket: web.WebSocketResponse, number: int) -> None:
        await asyncio.sleep(5)

    venue = Venue(script)
    venue.deaf.add("subscribe")
    with pytest.raises(
        FeedError, match=r"watchOrderBook: no book arrived for 0.2 s; tried 3 times"
    ):
        run(venue, known_again(0), silence="200ms")


def test_the_log_never_tells_headers_however_much_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    venue = Venue(steady)
    try:
        set_up_log(2)
        run(venue, known_again(0))
    finally:
        logging.getLogger().handlers[:], level = before
        logging.getLogger().setLevel(level)
    said = capsys.readouterr().err
    assert "mmkit.ccxt" in said
    assert len(venue.headers) >= 4
    assert "user-agent" not in said.lower()
    assert "accept-encoding" not in said.lower()


# --- what ccxt says, without a network --------------------------------------------------------------


def test_every_error_of_ccxts_has_a_meaning_and_the_words_say_what_was_found() -> None:
    import ccxt

    expected = {
        "NetworkError": (Answer.RECONNECT, GapReason.CONNECTION),
        "ExchangeNotAvailable": (Answer.RECONNECT, GapReason.CONNECTION),
        "OnMaintenance": (Answer.RECONNECT, GapReason.CONNECTION),
        "RequestTimeout": (Answer.RECONNECT, GapReason.CONNECTION),
        "DDoSProtection": (Answer.SLOW_DOWN, GapReason.CONNECTION),
        "RateLimitExceeded": (Answer.SLOW_DOWN, GapReason.CONNECTION),
        "ChecksumError": (Answer.RECONNECT, GapReason.SEQUENCE),
        "InvalidNonce": (Answer.RECONNECT, GapReason.SEQUENCE),
        "BadResponse": (Answer.RECONNECT, GapReason.CONNECTION),
        "OperationFailed": (Answer.RECONNECT, GapReason.CONNECTION),
        "BadSymbol": (Answer.END, GapReason.CONNECTION),
        "BadRequest": (Answer.END, GapReason.CONNECTION),
        "ArgumentsRequired": (Answer.END, GapReason.CONNECTION),
        "NotSupported": (Answer.END, GapReason.CONNECTION),
        "AuthenticationError": (Answer.END, GapReason.CONNECTION),
        "PermissionDenied": (Answer.END, GapReason.CONNECTION),
        "RestrictedLocation": (Answer.END, GapReason.CONNECTION),
        "InvalidProxySettings": (Answer.END, GapReason.CONNECTION),
        "ExchangeError": (Answer.TRY_A_FEW_TIMES, GapReason.CONNECTION),
        "MarketClosed": (Answer.TRY_A_FEW_TIMES, GapReason.CONNECTION),
    }
    for name, (answer, reason) in expected.items():
        found = meaning_of(getattr(ccxt, name)("kraken says so"), "watchOrderBook", "kraken")
        assert (found.answer, found.reason) == (answer, reason), name
        assert f"({name}: kraken says so)" in found.words
        assert found.words.startswith("watchOrderBook: ")
    for name in ("ExchangeError", "OperationFailed", "UnsubscribeError"):
        assert meaning_of(getattr(ccxt, name)("x"), "watchTrades", "kraken").words
    unreadable = meaning_of(KeyError("marginAsset"), "loadMarkets", "kraken")
    assert unreadable.answer is Answer.END
    assert "could not read what 'kraken' sent (KeyError: 'marginAsset')" in unreadable.words
    page = meaning_of(ccxt.ExchangeNotAvailable("<html>" + "x" * 9999), "loadMarkets", "kraken")
    assert len(page.words) < 500


def market(**other: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"id": "XBTUSD", "type": "swap", "swap": True, "inverse": True}
    found |= {"linear": False, "contractSize": 1, "precision": {"price": 0.5, "amount": 100.0}}
    return found | other


def test_an_inverse_contracts_size_is_the_markets_own() -> None:
    spec = InstrumentSpec(venue="bitmex", market="coinm", symbol="BTC/USD:BTC")
    found = parse_market(market(contractSize=100.0), 4, spec)
    assert found.kind is ContractKind.INVERSE
    assert (found.tick, found.lot, found.contract_size) == (Decimal("0.5"), 100, 100)
    given = InstrumentSpec(
        venue="bitmex", market="coinm", symbol="BTC/USD:BTC", contract_size=Decimal(1)
    )
    with pytest.raises(ConfigError, match=r"instrument.contract_size: the venue's is 100"):
        parse_market(market(contractSize=100.0), 4, given)


def test_a_small_step_and_decimal_places_are_read_exactly() -> None:
    spec = spec_of("PEPE/USDT")
    spot = {"id": "PEPEUSDT", "spot": True, "precision": {"price": 1e-08, "amount": 1.0}}
    assert parse_market(spot, 4, spec).tick == Decimal("0.00000001")
    places = spot | {"precision": {"price": 5, "amount": 0}}
    found = parse_market(places, 2, spec)
    assert (found.tick, found.lot) == (Decimal("0.00001"), 1)


def test_a_venue_of_significant_digits_has_no_tick_and_asks_for_one() -> None:
    spot = {"id": "tBTCUSD", "spot": True, "precision": {"price": 5, "amount": 8}}
    with pytest.raises(ConfigError) as caught:
        parse_market(spot, 3, spec_of("BTC/USD", "bitfinex"))
    assert [one.path for one in caught.value.mistakes] == ["instrument.tick", "instrument.lot"]
    given = spec_of("BTC/USD", "bitfinex", tick=Decimal(1), lot=Decimal("0.00000001"))
    assert parse_market(spot, 3, given).tick == 1


def test_a_contract_that_is_not_what_its_symbol_says_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"instrument.market: .* says that it is inverse"):
        parse_market(market(), 4, spec_of("BTC/USD:USD", "bitmex"))


def test_closing_does_not_wait_for_an_other_end_that_no_longer_reads() -> None:
    async def inside() -> float:
        async with Venue(steady).open() as venue:
            found = source(spec_of(), venue.url)
            async with aclosing(found.stream()) as stream:  # type: ignore[type-var]
                async for rows in stream:
                    if kinds_of(rows)[-1] == Kind.LEVEL:
                        break
            began = asyncio.get_running_loop().time()
            await found.close()
            return asyncio.get_running_loop().time() - began

    assert asyncio.run(inside()) < 1
