"""What each of our account clients makes of a server over loopback that answers what it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from scripted_venue import (
    ALL,
    INVERSE,
    KEY,
    LINEAR,
    ROOT,
    SECRET,
    SPOT,
    ScriptedVenue,
    order_answer,
    scripted,
)

from mmkit.accounts import (
    AccountClient,
    AccountContext,
    AccountEvent,
    Balance,
    BalanceUpdate,
    FateUnknown,
    FillRecord,
    FundingRecord,
    OrderRecord,
    OrderState,
    OrderUpdate,
    Placement,
    PositionUpdate,
    Refusal,
    Refused,
    StreamDown,
    StreamUp,
)
from mmkit.clock import SystemClock
from mmkit.commands import TimeInForce
from mmkit.errors import ConfigError, VenueError
from mmkit.events import Liquidity, Side
from mmkit.instruments import Instrument
from mmkit_binance.account.client import BinanceAccount
from mmkit_binance.account.config import BinanceAccountConfig
from mmkit_ccxt.account import CcxtAccount, CcxtAccountConfig
from mmkit_ccxt.client import addresses_of

MARKS = ("MARKEDKEY", "MARKEDSECRET", "MARKEDLISTENKEY", "signature=")
IDS = [one.market for one in ALL]


KINDS: dict[str, tuple[Any, Any]] = {
    "ccxt": (CcxtAccountConfig, CcxtAccount),
    "binance": (BinanceAccountConfig, BinanceAccount),
}
EACH = [(kind, one) for kind in KINDS for one in ALL if (kind, one) != ("binance", INVERSE)]
EACH_ID = [f"{kind}-{one.market}" for kind, one in EACH]
each = pytest.mark.parametrize(("kind", "instrument"), EACH, ids=EACH_ID)
both = pytest.mark.parametrize("kind", KINDS)


def client_of(kind: str, venue: ScriptedVenue, instrument: Instrument, secret: str = SECRET) -> Any:
    config, client = KINDS[kind]
    keys = {"endpoint": "sandbox", "key": KEY, "secret": secret, "url": venue.url}
    return client(config.model_validate(keys), AccountContext(instrument, SystemClock()))


@contextlib.asynccontextmanager
async def opened(
    kind: str, instrument: Instrument
) -> AsyncIterator[tuple[AccountClient, ScriptedVenue]]:
    async with scripted() as venue:
        root = ROOT[instrument.market]
        venue.answers[f"POST {root}/order"] = lambda sent: (200, order_answer(instrument, sent))
        client = client_of(kind, venue, instrument)
        try:
            await client.open()
            yield client, venue
        finally:
            await client.close()


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmkit_ccxt.account._TIMEOUT_MS", 300)
    monkeypatch.setattr("mmkit_binance.account.client._ANSWER_WITHIN_S", 0.3)


def on(
    kind: str, instrument: Instrument, do: Callable[[AccountClient, ScriptedVenue], Awaitable[Any]]
) -> Any:
    async def main() -> Any:
        async with opened(kind, instrument) as (client, venue):
            return await do(client, venue)

    return asyncio.run(main())


def bid(**changes: Any) -> Placement:
    whole: dict[str, Any] = {
        "client_id": "mm1a-7",
        "side": Side.BUY,
        "price": Decimal("60000.1"),
        "quantity": Decimal(3),
    }
    return Placement(**(whole | changes))


# --- orders -----------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize(
    ("placement", "spot", "contract"),
    [
        (bid(), {"type": "LIMIT_MAKER"}, {"type": "LIMIT", "timeInForce": "GTX"}),
        (bid(time_in_force=TimeInForce.GTC), {"timeInForce": "GTC"}, {"timeInForce": "GTC"}),
        (bid(time_in_force=TimeInForce.IOC), {"timeInForce": "IOC"}, {"timeInForce": "IOC"}),
        (bid(price=None), {"type": "MARKET"}, {"type": "MARKET"}),
    ],
    ids=["post-only", "gtc", "ioc", "market"],
)
def test_an_order_leaves_as_it_is_meant_to_be(
    kind: str,
    instrument: Instrument,
    placement: Placement,
    spot: dict[str, str],
    contract: dict[str, str],
) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        record = await client.place(placement)
        (sent,) = venue.requests(f"POST {ROOT[instrument.market]}/order")
        wanted = spot if instrument is SPOT else contract
        assert {key: sent[key] for key in wanted} == wanted
        assert sent["newClientOrderId"] == "mm1a-7"
        assert Decimal(sent["quantity"]) == placement.quantity
        if placement.price is None:
            assert "price" not in sent
            assert "quoteOrderQty" not in sent
        else:
            assert Decimal(sent["price"]) == placement.price
        if "LIMIT_MAKER" in wanted.values():
            assert "timeInForce" not in sent  # which Binance refuses with -1106
        assert record == OrderRecord(
            client_id="mm1a-7",
            venue_id="4711",
            side=Side.BUY,
            price=placement.price or Decimal(0),
            quantity=Decimal(3),
            executed=Decimal(0),
            state=OrderState.OPEN,
            ts_ns=1_700_000_000_123_000_000,
        )

    on(kind, instrument, main)


@both
def test_a_reduce_only_order_says_so_and_spot_has_none(kind: str) -> None:
    async def contract(client: AccountClient, venue: ScriptedVenue) -> None:
        await client.place(bid(reduce_only=True, price=None))
        assert venue.requests("POST /fapi/v1/order")[0]["reduceOnly"] == "true"

    async def spot(client: AccountClient, venue: ScriptedVenue) -> None:
        with pytest.raises(Refused) as refused:
            await client.place(bid(reduce_only=True))
        assert refused.value.refusal is Refusal.REDUCE_ONLY
        assert not venue.requests("POST /api/v3/order")

    on(kind, LINEAR, contract)
    on(kind, SPOT, spot)


@pytest.mark.parametrize("price", ["60000.125", "60000.135", "0.019"])
def test_a_price_that_ccxt_would_round_is_refused_and_not_sent(price: str) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        with pytest.raises(Refused, match="of which ccxt makes") as refused:
            await client.place(bid(price=Decimal(price)))
        assert refused.value.refusal is Refusal.FILTER
        assert not venue.requests("POST /api/v3/order")

    on("ccxt", SPOT, main)


@both
def test_decimals_that_no_float_holds_come_through_to_the_last_digit(kind: str) -> None:
    quantity = "8999.99999"
    price = "999999.97"
    executed = "1234.56789"

    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        venue.answers["POST /api/v3/order"] = lambda sent: (
            200,
            order_answer(SPOT, sent, executedQty=executed, status="PARTIALLY_FILLED"),
        )
        record = await client.place(bid(price=Decimal(price), quantity=Decimal(quantity)))
        (sent,) = venue.requests("POST /api/v3/order")
        assert (sent["price"], sent["quantity"]) == (price, quantity)
        assert record.executed == Decimal(executed)
        assert (await client.balances())["BTC"].free == Decimal("1.00000001")

    on(kind, SPOT, main)


@each
def test_a_cancel_names_our_id_and_its_record_has_it(kind: str, instrument: Instrument) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        root = ROOT[instrument.market]
        # Spot's answer has the cancel's own id in clientOrderId.
        venue.answers[f"DELETE {root}/order"] = lambda sent: (
            200,
            order_answer(
                instrument,
                {},
                clientOrderId="theirs",
                origClientOrderId="mm1a-7",
                status="CANCELED",
            ),
        )
        record = await client.cancel("mm1a-7")
        assert record is not None
        assert (record.client_id, record.state) == ("mm1a-7", OrderState.CANCELED)
        assert venue.requests(f"DELETE {root}/order")[0]["origClientOrderId"] == "mm1a-7"

    on(kind, instrument, main)


@both
@pytest.mark.parametrize(
    ("status", "body", "refusal"),
    [
        (
            400,
            {"code": -2010, "msg": "Order would immediately match and take."},
            Refusal.WOULD_TAKE,
        ),
        (
            400,
            {"code": -2010, "msg": "Account has insufficient balance for requested action."},
            Refusal.BALANCE,
        ),
        (400, {"code": -2010, "msg": "Duplicate order sent."}, Refusal.DUPLICATE),
        (400, {"code": -1013, "msg": "Filter failure: PRICE_FILTER"}, Refusal.FILTER),
        (400, {"code": -1022, "msg": "Signature for this request is not valid."}, Refusal.KEY),
        (
            401,
            {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."},
            Refusal.PERMISSION,
        ),
        (429, {"code": -1003, "msg": "Too many requests."}, Refusal.RATE),
        (503, {"code": -1008, "msg": "Server is currently overloaded."}, Refusal.BUSY),
        (400, {"code": -1007, "msg": "Timeout waiting for response."}, None),
        (504, "<html>gateway</html>", None),
        (502, {"code": -1, "msg": "x"}, None),
        (200, "<html>a proxy's own page</html>", None),
        (200, {}, None),
    ],
)
def test_an_answer_is_a_refusal_or_settles_nothing_and_is_never_sent_again(
    kind: str, status: int, body: Any, refusal: Refusal | None
) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        venue.answers["POST /api/v3/order"] = (status, body)
        with pytest.raises(FateUnknown if refusal is None else Refused) as error:
            await client.place(bid())
        assert getattr(error.value, "refusal", None) is refusal
        assert len(venue.requests("POST /api/v3/order")) == 1

    on(kind, SPOT, main)


@both
@pytest.mark.parametrize(
    ("code", "words", "refusal"),
    [
        (-5022, "Due to the order could not be executed as maker.", Refusal.WOULD_TAKE),
        (-2019, "Margin is insufficient.", Refusal.BALANCE),
        (-2022, "ReduceOnly Order is rejected.", Refusal.REDUCE_ONLY),
        (-4164, "Order's notional must be no smaller than 5.", Refusal.FILTER),
        (-4116, "ClientOrderId is duplicated.", Refusal.DUPLICATE),
        (-4061, "Order's position side does not match user's setting.", Refusal.MODE),
    ],
)
def test_a_contracts_code_decides_whatever_class_ccxt_has_for_it(
    kind: str, code: int, words: str, refusal: Refusal
) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        venue.answers["POST /fapi/v1/order"] = (400, {"code": code, "msg": words})
        with pytest.raises(Refused) as refused:
            await client.place(bid())
        assert (refused.value.refusal, refused.value.code) == (refusal, code)

    on(kind, LINEAR, main)


@both
def test_an_order_that_is_not_there_is_none_and_none_to_cancel_is_as_good_as_all(kind: str) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        venue.answers["GET /api/v3/order"] = (400, {"code": -2013, "msg": "Order does not exist."})
        venue.answers["DELETE /api/v3/openOrders"] = (
            400,
            {"code": -2011, "msg": "Unknown order sent."},
        )
        assert await client.order("mm1a-7") is None
        await client.cancel_all()

    on(kind, SPOT, main)


@both
def test_a_server_that_does_not_answer_leaves_the_fate_unknown(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)

    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        venue.answers["POST /fapi/v1/order"] = None
        with pytest.raises(FateUnknown, match="no answer"):
            await client.place(bid())
        assert len(venue.requests("POST /fapi/v1/order")) == 1

    on(kind, LINEAR, main)


# --- limits -------------------------------------------------------------------------------------------


@both
def test_weight_that_the_venue_says_is_used_up_stops_orders_before_cancels(kind: str) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        venue.answers["DELETE /api/v3/order"] = lambda sent: (
            200,
            order_answer(SPOT, sent, status="CANCELED"),
        )
        # Both in one minute of the venue's.
        now = venue.now_ms()
        venue.ahead_ms = 60_000 - now % 60_000 + 1_000
        await client.open()
        venue.headers = {"X-MBX-USED-WEIGHT-1M": "5500"}
        await client.place(bid())
        with pytest.raises(
            Refused, match="not sent: the weight of this minute is used up"
        ) as refused:
            await client.place(bid(client_id="mm1a-8"))
        assert 50_000_000_000 < refused.value.retry_ns <= 60_000_000_000
        assert len(venue.requests("POST /api/v3/order")) == 1
        assert await client.cancel("mm1a-7") is not None

    on(kind, SPOT, main)


@both
def test_after_429_nothing_is_sent_until_the_venue_allows_it(kind: str) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        venue.answers["GET /fapi/v1/openOrders"] = (
            429,
            {"code": -1003, "msg": "Too many requests."},
        )
        venue.headers = {"Retry-After": "30"}
        for _ in range(2):
            with pytest.raises(Refused) as refused:
                await client.open_orders()
            assert refused.value.refusal is Refusal.RATE
            assert 25_000_000_000 < refused.value.retry_ns <= 30_000_000_000
        assert len(venue.requests("GET /fapi/v1/openOrders")) == 1

    on(kind, LINEAR, main)


# --- account ------------------------------------------------------------------------------------------


@both
def test_the_clock_of_a_venue_a_minute_ahead_is_followed(kind: str) -> None:
    async def main() -> None:
        async with scripted() as venue:
            venue.ahead_ms = 60_000
            client = client_of(kind, venue, SPOT)
            venue.answers["POST /api/v3/order"] = lambda sent: (200, order_answer(SPOT, sent))
            await client.open()
            await client.place(bid())
            sent = int(venue.requests("POST /api/v3/order")[0]["timestamp"])
            assert abs(sent - venue.now_ms()) < 900
            await client.close()

    asyncio.run(main())


@both
def test_a_clock_that_has_gone_wrong_is_measured_again(kind: str) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        venue.answers["POST /api/v3/order"] = (
            400,
            {"code": -1021, "msg": "Timestamp for this request"},
        )
        venue.ahead_ms = -30_000
        with pytest.raises(Refused) as refused:
            await client.place(bid())
        assert refused.value.refusal is Refusal.CLOCK
        venue.answers["POST /api/v3/order"] = lambda sent: (200, order_answer(SPOT, sent))
        await client.place(bid())
        assert (
            abs(int(venue.requests("POST /api/v3/order")[-1]["timestamp"]) - venue.now_ms()) < 900
        )

    on(kind, SPOT, main)


@both
def test_what_key_and_account_are_like_is_told(kind: str) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        venue.answers["GET /fapi/v1/accountConfig"] = (
            200,
            {"canTrade": True, "dualSidePosition": True},
        )
        info = await client.open()
        assert (info.can_trade, info.can_withdraw, info.hedge_mode) == (True, True, True)
        assert (info.maker_fee, info.taker_fee) == (Decimal("0.0002"), Decimal("0.0005"))
        assert (info.orders_per_10s, info.min_notional, info.max_open_orders) == (100, 5, 200)
        assert info.countdown

    on(kind, LINEAR, main)


@both
def test_a_wrong_secret_is_said_at_once(kind: str) -> None:
    async def main() -> None:
        async with scripted() as venue:
            client = client_of(kind, venue, SPOT, secret="another one altogether")
            with pytest.raises(Refused, match="-1022") as refused:
                await client.open()
            assert refused.value.refusal is Refusal.KEY
            await client.close()

    asyncio.run(main())


@both
def test_a_market_that_is_not_traded_any_more_is_told_in_the_venues_word(kind: str) -> None:
    async def main() -> None:
        async with scripted() as venue:
            listed = venue.answers["GET /api/v3/exchangeInfo"]
            assert isinstance(listed, tuple)
            listed[1]["symbols"][0]["status"] = "BREAK"
            client = client_of(kind, venue, SPOT)
            assert (await client.open()).halted == "BREAK"
            await client.close()

    asyncio.run(main())


@both
def test_a_key_or_secret_that_is_missing_is_a_mistake_with_its_place(kind: str) -> None:
    config, client = KINDS[kind]
    with pytest.raises(ConfigError) as error:
        client(config(endpoint="sandbox"), AccountContext(SPOT, SystemClock()))
    assert [one.path for one in error.value.mistakes] == ["venue.key", "venue.secret"]


def test_every_address_leads_to_the_sandbox() -> None:
    for instrument in ALL:
        venue = ScriptedVenue()
        venue.url = "http://127.0.0.1:9"
        addresses = addresses_of(client_of("ccxt", venue, instrument)._client)
        assert len(addresses) > 30
        assert all(one.partition("://")[2].startswith("127.0.0.1:9") for one in addresses)


@both
def test_positions_and_the_wallet_are_told_to_the_last_digit(kind: str) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        venue.answers["GET /fapi/v3/positionRisk"] = (
            200,
            [{"symbol": "BTCUSDT", "positionAmt": "-12.345"}],
        )
        assert await client.position() == Decimal("-12.345")
        venue.answers["GET /fapi/v3/positionRisk"] = (200, [])
        assert await client.position() == 0
        balance = (await client.balances())["USDT"]
        assert balance.free + balance.locked == Decimal("1000.12345678")

    async def spot(client: AccountClient, venue: ScriptedVenue) -> None:
        assert await client.position() is None
        assert await client.balances() == {
            "BTC": Balance(free=Decimal("1.00000001"), locked=Decimal("0.5"))
        }
        assert await client.countdown(1000) is False

    on(kind, LINEAR, main)
    on(kind, SPOT, spot)


@pytest.mark.parametrize(("kind", "instrument"), [one for one in EACH if one[1] is not SPOT])
def test_the_countdown_is_started_by_symbol(kind: str, instrument: Instrument) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        what = f"POST {ROOT[instrument.market]}/countdownCancelAll"
        venue.answers[what] = (200, {"symbol": instrument.native, "countdownTime": "5000"})
        assert await client.countdown(5000) is True
        assert venue.requests(what)[0]["countdownTime"] == "5000"

    on(kind, instrument, main)


# --- fills --------------------------------------------------------------------------------------------


def trade(number: int, ts_ms: int) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "id": number,
        "orderId": 4711,
        "price": "60000.12",
        "qty": "0.00001",
        "commission": "0.00000001",
        "commissionAsset": "BNB",
        "time": ts_ms,
        "isBuyer": True,
        "isMaker": True,
        "buyer": True,
        "maker": True,
    }


def trades_of(trades: list[dict[str, Any]], span_ms: int | None) -> Any:
    """Answer as Binance does: from a time, at most a span of it, or from a number, oldest first."""

    def answer(sent: dict[str, str]) -> tuple[int, Any]:
        assert not ("fromId" in sent and "startTime" in sent)
        found = trades
        if "startTime" in sent:
            start = int(sent["startTime"])
            end = int(sent.get("endTime", start + span_ms if span_ms else 2**62))
            assert span_ms is None or end - start <= span_ms
            found = [one for one in trades if start <= one["time"] <= end]
        if "fromId" in sent:
            found = [one for one in trades if one["id"] >= int(sent["fromId"])]
        return 200, found[: int(sent["limit"])]

    return answer


@both
@pytest.mark.parametrize("instrument", [SPOT, LINEAR], ids=["spot", "usdm"])
def test_every_fill_is_found_however_many_pages_and_weeks_there_are(
    kind: str, instrument: Instrument
) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        day = 86_400_000
        start = venue.now_ms() - 30 * day
        # 1200 in one millisecond, then one every two weeks or so.
        times = [start] * 1200 + [start + 9 * day, start + 10 * day, start + 29 * day]
        trades = [trade(number + 1, when) for number, when in enumerate(times)]
        path = "GET /api/v3/myTrades" if instrument is SPOT else "GET /fapi/v1/userTrades"
        venue.answers[path] = trades_of(trades, None if instrument is SPOT else 7 * day)
        fills = await client.fills(start * 1_000_000)
        assert [one.trade_id for one in fills] == [str(number + 1) for number in range(1203)]
        assert fills[0] == FillRecord(
            trade_id="1",
            venue_id="4711",
            client_id="",
            side=Side.BUY,
            price=Decimal("60000.12"),
            quantity=Decimal("0.00001"),
            fee=Decimal("0.00000001"),
            fee_asset="BNB",
            liquidity=Liquidity.MAKER,
            ts_ns=start * 1_000_000,
        )
        later = await client.fills((start + 10 * day) * 1_000_000)
        assert [one.trade_id for one in later] == ["1202", "1203"]

    on(kind, instrument, main)


@both
def test_both_sides_of_a_trade_with_ourselves_are_found_even_over_a_page(kind: str) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        start = venue.now_ms() - 60_000
        trades = [trade(number + 1, start + number) for number in range(1500)]
        for at in (5, 999):  # the second one's other side is the first of the second page
            other = trades[at] | {"orderId": 4712, "isBuyer": False, "buyer": False}
            trades.insert(at + 1, other)
        venue.answers["GET /api/v3/myTrades"] = trades_of(trades, None)
        fills = await client.fills(start * 1_000_000)
        assert len(fills) == len(trades) == 1502
        sides = [(one.trade_id, one.venue_id, one.side) for one in fills if one.trade_id == "6"]
        assert sides == [("6", "4711", Side.BUY), ("6", "4712", Side.SELL)]
        assert len({(one.trade_id, one.venue_id) for one in fills}) == 1502

    on(kind, SPOT, main)


FUNDED = [(kind, one) for kind, one in EACH if one is not SPOT]


@pytest.mark.parametrize(
    ("kind", "instrument"), FUNDED, ids=[f"{kind}-{one.market}" for kind, one in FUNDED]
)
def test_every_payment_of_funding_is_found_once_to_the_last_digit(
    kind: str, instrument: Instrument
) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        start = venue.now_ms() - 86_400_000
        # Two at a time over the end of a page, so that it is asked from the time of the last one on.
        payments = [
            {
                "symbol": instrument.native,
                "incomeType": "FUNDING_FEE",
                "income": f"-0.{number + 1:08}",
                "asset": instrument.settle,
                "info": "FUNDING_FEE",
                "time": start + (number + 1) // 2 * 1000,
                "tranId": 9_689_322_392_000_000_000 + number,
                "tradeId": "",
            }
            for number in range(1003)
        ]

        def answer(sent: dict[str, str]) -> tuple[int, Any]:
            assert sent["incomeType"] == "FUNDING_FEE"
            assert sent["symbol"] == instrument.native
            found = [one for one in payments if int(one["time"]) >= int(sent["startTime"])]
            return 200, found[: int(sent["limit"])]

        path = f"GET {ROOT[instrument.market]}/income"
        venue.answers[path] = answer
        found = await client.fundings(start * 1_000_000)
        assert [one.funding_id for one in found] == [str(one["tranId"]) for one in payments]
        assert found[999] == FundingRecord(
            funding_id="9689322392000000999",
            amount=Decimal("-0.00001000"),
            asset=instrument.settle,
            ts_ns=(start + 500_000) * 1_000_000,
        )
        assert len(venue.requests(path)) == 2
        later = await client.fundings((start + 500_000) * 1_000_000)
        assert [one.funding_id[-4:] for one in later] == ["0999", "1000", "1001", "1002"]

    on(kind, instrument, main)


@both
def test_spot_has_no_funding_and_nothing_is_asked(kind: str) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        asked = len(venue.asked)
        assert list(await client.fundings(0)) == []
        assert len(venue.asked) == asked

    on(kind, SPOT, main)


@both
def test_a_payment_without_a_number_is_none_that_can_be_counted(kind: str) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        now = venue.now_ms()
        row = {"symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "income": "1", "asset": "USDT"}
        venue.answers["GET /fapi/v1/income"] = (200, [row | {"time": now}])
        with pytest.raises(FateUnknown, match="was expected; found"):
            await client.fundings((now - 1000) * 1_000_000)

    on(kind, LINEAR, main)


@both
def test_nothing_is_asked_for_from_before_the_venue_remembers(kind: str) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        venue.answers["GET /fapi/v1/userTrades"] = (200, [])
        assert await client.fills(0) == []
        asked = venue.requests("GET /fapi/v1/userTrades")
        half_a_year_ms = 180 * 86_400_000
        assert 1 < len(asked) <= 27
        assert (
            min(int(one["startTime"]) for one in asked) >= venue.now_ms() - half_a_year_ms - 60_000
        )

    on(kind, LINEAR, main)


# --- the user stream ----------------------------------------------------------------------------------


def report(instrument: Instrument, **changes: Any) -> dict[str, Any]:
    """An executionReport, or an ORDER_TRADE_UPDATE."""
    body: dict[str, Any] = {
        "s": instrument.native, "c": "mm1a-7", "S": "BUY", "o": "LIMIT", "f": "GTC", "q": "3.00000", "p": "60000.10",
        "x": "NEW", "X": "NEW", "i": 4711, "l": "0", "z": "0", "L": "0", "T": 1_700_000_000_500, "t": -1, "m": False,
    }  # fmt: skip
    if instrument is SPOT:
        extra = {
            "e": "executionReport",
            "E": 1_700_000_000_501,
            "C": "",
            "n": "0",
            "N": None,
            "O": 1_700_000_000_400,
        }
        return body | extra | {"w": True, "Z": "0", "Y": "0", "Q": "0"} | changes
    inner = body | {"ps": "BOTH", "ap": "0", "R": False} | changes
    return {"e": "ORDER_TRADE_UPDATE", "E": 1_700_000_000_501, "T": 1_700_000_000_500, "o": inner}


def account_told(instrument: Instrument) -> dict[str, Any]:
    if instrument is SPOT:
        held = [{"a": "BTC", "f": "1.5", "l": "0.00000001"}]
        return {
            "e": "outboundAccountPosition",
            "E": 1_700_000_000_502,
            "u": 1_700_000_000_500,
            "B": held,
        }
    wallet = [{"a": instrument.settle, "wb": "99.12345678", "cw": "99.12345678", "bc": "0"}]
    position = [
        {
            "s": instrument.native,
            "pa": "-2.5",
            "ep": "60000",
            "up": "0",
            "mt": "cross",
            "iw": "0",
            "ps": "BOTH",
        }
    ]
    told = {"m": "ORDER", "B": wallet, "P": position}
    return {"e": "ACCOUNT_UPDATE", "E": 1_700_000_000_502, "T": 1_700_000_000_500, "a": told}


async def some(events: AsyncIterator[AccountEvent], count: int) -> list[AccountEvent]:
    async with asyncio.timeout(5):
        return [await anext(events) for _ in range(count)]


@each
def test_orders_trades_balances_and_positions_are_heard(kind: str, instrument: Instrument) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        spot = instrument is SPOT
        events = client.events()
        assert await some(events, 1) == [StreamUp()]
        two = [
            report(
                instrument,
                x="TRADE",
                X="PARTIALLY_FILLED",
                l="1.00001",
                z="1.00001",
                L="60000.10",
                t=1,
                n="0.00000001",
                N="BNB",
                m=True,
            ),
            report(
                instrument,
                x="TRADE",
                X="FILLED",
                l="1.99999",
                z="3.00000",
                L="60000.10",
                t=2,
                n="-0.5",
                N="USDT",
            ),
        ]
        await venue.tell(report(instrument), wrapped=spot)
        for one in two:
            await venue.tell(one, wrapped=spot)
        await venue.tell(account_told(instrument), wrapped=spot)
        heard: list[AccountEvent] = []
        async with asyncio.timeout(5):
            while len(
                [one for one in heard if isinstance(one, OrderUpdate) and one.fill]
            ) < 2 or not any(isinstance(one, BalanceUpdate) for one in heard):
                heard.append(await anext(events))
            if not spot:
                while not any(isinstance(one, PositionUpdate) for one in heard):
                    heard.append(await anext(events))
        updates = [one for one in heard if isinstance(one, OrderUpdate)]
        fills = [one.fill for one in updates if one.fill is not None]
        assert [
            (one.trade_id, one.quantity, one.fee, one.fee_asset, one.liquidity) for one in fills
        ] == [
            ("1", Decimal("1.00001"), Decimal("0.00000001"), "BNB", Liquidity.MAKER),
            ("2", Decimal("1.99999"), Decimal("-0.5"), "USDT", Liquidity.TAKER),
        ]
        assert {one.record.client_id for one in updates} == {"mm1a-7"}
        assert {one.client_id for one in fills} == {"mm1a-7"}
        # Each fill comes with the record as it was right after it.
        assert [one.record.executed for one in updates if one.fill] == [
            Decimal("1.00001"),
            Decimal(3),
        ]
        final = max((one.record for one in updates), key=lambda one: one.executed)
        assert (final.state, final.executed, final.price) == (
            OrderState.FILLED,
            Decimal(3),
            Decimal("60000.1"),
        )
        (balances,) = [one.balances for one in heard if isinstance(one, BalanceUpdate)]
        if spot:
            assert balances == {"BTC": Balance(free=Decimal("1.5"), locked=Decimal("0.00000001"))}
        else:
            assert balances == {
                instrument.settle: Balance(free=Decimal("99.12345678"), locked=Decimal(0))
            }
            (position,) = [one.quantity for one in heard if isinstance(one, PositionUpdate)]
            assert position == Decimal("-2.5")
        await events.aclose()  # type: ignore[attr-defined]

    on(kind, instrument, main)


@both
def test_on_a_cancel_the_orders_own_id_is_told_not_the_cancels(kind: str) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        events = client.events()
        await some(events, 1)
        canceled = report(SPOT, x="CANCELED", X="CANCELED", c="theirs", C="mm1a-7")
        await venue.tell(canceled, wrapped=True)
        (update,) = await some(events, 1)
        assert isinstance(update, OrderUpdate)
        assert (update.record.client_id, update.record.state) == ("mm1a-7", OrderState.CANCELED)
        await events.aclose()  # type: ignore[attr-defined]

    on(kind, SPOT, main)


@each
@pytest.mark.parametrize("how", ["cut", "ended by the venue"])
def test_a_lost_stream_is_said_and_had_back(kind: str, instrument: Instrument, how: str) -> None:
    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        spot = instrument is SPOT
        events = client.events()
        await some(events, 1)
        if how == "cut":
            for socket in venue.sockets:
                await socket.close()
        else:
            ends = (
                {"e": "eventStreamTerminated"}
                if spot
                else {"e": "listenKeyExpired", "listenKey": "MARKEDLISTENKEY"}
            )
            await venue.tell(ends | {"E": 1}, wrapped=spot)
        down, up = await some(events, 2)
        assert isinstance(down, StreamDown)
        assert not any(mark in down.reason for mark in MARKS)
        assert up == StreamUp()
        await venue.tell(report(instrument), wrapped=spot)
        (update,) = await some(events, 1)
        assert isinstance(update, OrderUpdate)
        if not spot:
            assert len(venue.requests(f"POST {ROOT[instrument.market]}/listenKey")) == 2
        await events.aclose()  # type: ignore[attr-defined]

    on(kind, instrument, main)


# --- secrets ------------------------------------------------------------------------------------------


@both
def test_no_secret_is_in_any_error_log_or_traceback(
    kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    async def main(client: AccountClient, venue: ScriptedVenue) -> None:
        events = client.events()
        await some(events, 1)
        quick = kind == "binance"
        requests = [
            ("order.place" if quick else "POST /fapi/v1/order", lambda: client.place(bid())),
            ("order.cancel" if quick else "DELETE /fapi/v1/order", lambda: client.cancel("mm1a-7")),
            ("GET /fapi/v1/order", lambda: client.order("mm1a-7")),
            ("GET /fapi/v1/openOrders", client.open_orders),
            ("GET /fapi/v3/account", client.balances),
        ]
        answers: list[Any] = [
            None,
            (500, "x"),
            (400, {"code": -1022, "msg": "no"}),
            (200, "<html>"),
            (200, {}),
        ]
        for what, ask in requests:
            for answer in answers:
                venue.answers[what] = answer
                with contextlib.suppress(AttributeError):
                    try:
                        await ask()  # type: ignore[operator]
                    except VenueError as error:
                        shown.append("".join(traceback.format_exception(error)))
        for socket in venue.sockets:
            await socket.close()
        shown.append(repr(await some(events, 2)))
        await events.aclose()  # type: ignore[attr-defined]
        shown.append(repr(client))

    on(kind, LINEAR, main)
    assert len(shown) > 15
    told = "\n".join([*shown, *caplog.messages])
    assert not [mark for mark in MARKS if mark in told]
