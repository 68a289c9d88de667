"""Clients that are not ours trade at the sandbox: ccxt, ccxt.pro, Binance's own SDK and python-binance."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from clients import ccxt_client, until
from sandbox_fixtures import running

from mmkit_sandbox.accountconfig import DEMO_KEY, DEMO_SECRET
from mmkit_sandbox.ledger import EntryKind

SPOT, USDM, COINM = "BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC"
QUANTITIES = {SPOT: 0.01, USDM: 0.01, COINM: 3}
"""Of the orders here; on COIN-M in contracts."""


@pytest.mark.parametrize("symbol", QUANTITIES)
def test_ccxt_places_queries_and_cancels_and_its_stream_tells_of_it(
    symbol: str,
) -> None:
    async def main() -> None:
        async with running(symbols=(symbol,)) as sandbox:
            client = ccxt_client(sandbox.url, symbol == USDM, symbol == COINM)
            quantity = QUANTITIES[symbol]
            try:
                await client.load_markets()
                told: list[Any] = []

                async def watch() -> None:
                    while True:
                        told.extend(dict(one) for one in await client.watch_orders(symbol))

                watching = asyncio.create_task(watch())
                await asyncio.sleep(0.5)
                book = await client.fetch_order_book(symbol, 5)
                bid = book["bids"][0][0]
                placed = await client.create_order(
                    symbol,
                    "limit",
                    "buy",
                    quantity,
                    int(bid * 0.99),
                    {"postOnly": True, "clientOrderId": "mm1-1"},
                )
                assert placed["clientOrderId"] == "mm1-1"
                found = await client.fetch_order(placed["id"], symbol)
                assert (found["status"], found["filled"], found["postOnly"]) == ("open", 0, True)
                (waiting,) = await client.fetch_open_orders(symbol)
                assert waiting["id"] == placed["id"]
                canceled = await client.cancel_order(
                    None, symbol, {"origClientOrderId": "mm1-1", "clientOrderId": "mm1-1"}
                )
                assert canceled["status"] == "canceled"
                assert await client.fetch_open_orders(symbol) == []
                bought = await client.create_order(symbol, "market", "buy", quantity)
                trades = await client.fetch_my_trades(symbol)
                assert sum(Decimal(str(one["amount"])) for one in trades) == Decimal(str(quantity))
                assert {one["order"] for one in trades} == {bought["id"]}
                balance = await client.fetch_balance()
                if symbol != SPOT:
                    (position,) = await client.fetch_positions([symbol])
                    assert (position["contracts"], position["side"]) == (quantity, "long")
                    assert balance[symbol.partition(":")[2]]["used"] > 0
                else:
                    ours = sandbox.sandbox.accounts.by_key[client.apiKey].spot.of("BTC")
                    assert balance["BTC"]["total"] == float(ours.free + ours.locked)
                    assert ours.free == Decimal(2) + Decimal("0.01") * Decimal("0.999")
                await asyncio.sleep(0.3)
                watching.cancel()
                seen = [(one["clientOrderId"], one["status"]) for one in told]
                assert seen[:2] == [("mm1-1", "open"), ("mm1-1", "canceled")]
                assert seen[-1][1] == "closed"
            finally:
                await client.close()

    asyncio.run(main())


@pytest.mark.parametrize("symbol", QUANTITIES)
def test_ccxt_pro_places_over_the_websocket_api_and_hears_of_fills_and_balances(
    symbol: str,
) -> None:
    async def main() -> None:
        async with running(symbols=(symbol,)) as sandbox:
            client = ccxt_client(sandbox.url, symbol == USDM, symbol == COINM)
            quantity = QUANTITIES[symbol]
            try:
                await client.load_markets()
                fills = asyncio.create_task(client.watch_my_trades(symbol))
                money = asyncio.create_task(client.watch_balance())
                await asyncio.sleep(0.7)
                book = await client.fetch_order_book(symbol, 5)
                resting = await client.create_order_ws(
                    symbol,
                    "limit",
                    "sell",
                    quantity,
                    int(book["asks"][0][0] * 1.01),
                    {"postOnly": True},
                )
                canceled = await client.cancel_order_ws(resting["id"], symbol)
                assert canceled["status"] == "canceled"
                taken = await client.create_order_ws(symbol, "market", "sell", quantity)
                (first, *_) = await asyncio.wait_for(fills, 5)
                assert (first["order"], first["side"], first["takerOrMaker"]) == (
                    taken["id"],
                    "sell",
                    "taker",
                )
                assert ("BTC" if symbol == COINM else "USDT") in await asyncio.wait_for(money, 5)
            finally:
                await client.close()

    asyncio.run(main())


def test_ccxt_amends_batches_and_asks_for_fees_leverage_and_countdown() -> None:
    async def main() -> None:
        async with running() as sandbox:
            spot = ccxt_client(sandbox.url, fetchCurrencies=True, fetchMargins=True)
            usdm = ccxt_client(sandbox.url, usdm=True)
            accounts, (coin, contract) = sandbox.sandbox.accounts, sandbox.sandbox.listings
            try:
                await spot.load_markets()  # asks for what only an account is told
                assert (await spot.fetch_trading_fee("BTC/USDT"))["maker"] == 0.001
                low = float(accounts.mark(coin) * Decimal("0.99"))
                old = await spot.create_order("BTC/USDT", "limit", "buy", 0.01, low)
                new = await spot.edit_order(old["id"], "BTC/USDT", "limit", "buy", 0.02, low)
                (waiting,) = await spot.fetch_open_orders("BTC/USDT")
                assert (waiting["id"], waiting["amount"]) == (new["id"], 0.02)
                assert new["id"] != old["id"]
                assert len(await spot.cancel_all_orders("BTC/USDT")) == 1

                symbol = "BTC/USDT:USDT"
                assert (await usdm.fetch_trading_fee(symbol))["taker"] == 0.0005
                assert (await usdm.set_leverage(10, symbol))["leverage"] == 10
                low = float(accounts.mark(contract) * Decimal("0.99"))
                wanted = {"symbol": symbol, "type": "limit", "side": "buy", "price": low}
                placed = await usdm.create_orders([wanted | {"amount": 0.01}] * 2)
                ids = [one["id"] for one in placed]
                moved = await usdm.edit_order(ids[0], symbol, "limit", "buy", 0.02, low)
                assert moved["id"] == ids[0]
                sizes = [one["amount"] for one in await usdm.fetch_open_orders(symbol)]
                assert sizes == [0.02, 0.01]
                await usdm.cancel_orders(ids[1:], symbol)
                armed = {"symbol": "BTCUSDT", "countdownTime": 100}
                await usdm.fapiPrivatePostCountdownCancelAll(armed)
                await until(lambda: not accounts.by_key[usdm.apiKey].open_orders(contract))
            finally:
                await spot.close()
                await usdm.close()

    asyncio.run(main())


@pytest.mark.parametrize("symbol", [USDM, COINM])
def test_ccxt_is_told_what_funding_has_been_paid(symbol: str) -> None:
    async def main() -> None:
        async with running(symbols=(symbol,), funding_every="1s") as sandbox:
            client = ccxt_client(sandbox.url, symbol == USDM, symbol == COINM)
            try:
                await client.load_markets()
                money = asyncio.create_task(client.watch_balance())
                await asyncio.sleep(0.7)
                await client.create_order(symbol, "market", "buy", QUANTITIES[symbol])
                await asyncio.wait_for(money, 5)
                # Nothing but funding comes after that.
                told = await asyncio.wait_for(client.watch_balance(), 5)
                ours = sandbox.sandbox.accounts.by_key[client.apiKey]
                asset = "USDT" if symbol == USDM else "BTC"
                assert told["info"]["a"]["m"] == "FUNDING_FEE"
                (balance,) = told["info"]["a"]["B"]
                assert told[asset]["total"] == float(balance["wb"])
                history = await client.fetch_funding_history(symbol)
                booked = [one for one in ours.entries if one.kind is EntryKind.FUNDING]
                booked = booked[: len(history)]  # there may be more by now
                assert balance["bc"] == f"{booked[0].amount:.8f}"
                assert [(one["timestamp"], one["amount"], one["code"]) for one in history] == [
                    (one.ts_ns // 1_000_000, float(one.amount), asset) for one in booked
                ]
                assert history[0]["symbol"] == symbol
                assert history[0]["amount"] < 0  # longs pay
                later = history[0]["timestamp"] + 1
                since = await client.fetch_funding_history(symbol, later, 1)
                while not since:
                    since = await client.fetch_funding_history(symbol, later, 1)
                assert [one["timestamp"] for one in since] == [later + 999]
            finally:
                await client.close()

    asyncio.run(main())


def test_binances_own_sdk_trades_on_spot_over_rest_and_websocket() -> None:
    pytest.importorskip("binance_sdk_spot", reason="pip install 'mmkit[dev]'")
    from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketAPI
    from binance_sdk_spot.spot import Spot

    async def main() -> None:
        async with running(symbols=("BTC/USDT",)) as sandbox:
            keys = {"api_key": DEMO_KEY, "api_secret": DEMO_SECRET}
            ws = "ws" + sandbox.url.removeprefix("http")
            client = Spot(
                ConfigurationRestAPI(**keys, base_path=sandbox.url, retries=0, timeout=5000),
                ConfigurationWebSocketAPI(**keys, stream_url=f"{ws}/ws-api/v3"),
            )
            socket = client.websocket_api
            await socket.create_connection()
            try:
                subscribed = await socket.user_data_stream_subscribe_signature()
                told: list[Any] = []
                subscribed.stream.on("message", lambda event: told.append(event.actual_instance))
                mid = sandbox.sandbox.accounts.mark(sandbox.sandbox.listings[0])
                low = str(int(mid * Decimal("0.99")))
                order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT_MAKER"}

                def by_rest() -> str:
                    api = client.rest_api
                    placed = api.new_order(
                        **order, quantity="0.001", price=low, new_client_order_id="mm1-7"
                    ).data()
                    found = api.get_order("BTCUSDT", orig_client_order_id="mm1-7").data()
                    assert (found.order_id, found.status) == (placed.order_id, "NEW")
                    assert [one.client_order_id for one in api.get_open_orders().data()] == [
                        "mm1-7"
                    ]
                    return str(api.delete_order("BTCUSDT", order_id=placed.order_id).data().status)

                assert await asyncio.to_thread(by_rest) == "CANCELED"
                bought = await socket.order_place(
                    symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.001"
                )
                assert bought.data().result.status == "FILLED"
                status = await socket.order_status(
                    "BTCUSDT", order_id=bought.data().result.order_id
                )
                assert status.data().result.executed_qty == "0.00100000"
                await until(lambda: any(getattr(one, "x", "") == "TRADE" for one in told))
                happened = [one.x for one in told if getattr(one, "x", None)]
                assert happened[:3] == ["NEW", "CANCELED", "NEW"]
            finally:
                await socket.close_connection(close_session=True)

    asyncio.run(main())


def test_python_binance_trades_on_spot_usdm_and_coinm(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("binance", reason="pip install 'mmkit[dev]'")
    from binance.ws.reconnecting_websocket import ReconnectingWebsocket

    from binance import AsyncClient, BinanceSocketManager

    # It looks so often whether it is to end, in seconds; 10 of its own.
    monkeypatch.setattr(ReconnectingWebsocket, "TIMEOUT", 1)

    async def main() -> None:
        async with running(symbols=tuple(QUANTITIES), funding_every="1s") as sandbox:
            ws = "ws" + sandbox.url.removeprefix("http")

            class Here(AsyncClient):  # type: ignore[misc]
                API_URL = f"{sandbox.url}/api"
                MARGIN_API_URL = f"{sandbox.url}/sapi"
                FUTURES_URL = f"{sandbox.url}/fapi"
                FUTURES_COIN_URL = f"{sandbox.url}/dapi"
                WS_API_URL = f"{ws}/ws-api/v3"
                WS_FUTURES_URL = f"{ws}/ws-fapi/v1"

            class Sockets(BinanceSocketManager):  # type: ignore[misc]
                STREAM_URL = f"{ws}/"
                FSTREAM_URL = f"{ws}/fstream/"
                DSTREAM_URL = f"{ws}/dstream/"

            client = await Here.create(DEMO_KEY, DEMO_SECRET)
            accounts, (spot, usdm, coinm) = sandbox.sandbox.accounts, sandbox.sandbox.listings
            try:
                sockets = Sockets(client)
                async with sockets.user_socket() as mine:
                    price = str(int(accounts.mark(spot) * Decimal("0.99")))
                    placed = await client.order_limit_buy(
                        symbol="BTCUSDT", quantity="0.001", price=price
                    )
                    (found,) = await client.get_open_orders(symbol="BTCUSDT")
                    assert found["orderId"] == placed["orderId"]
                    canceled = await client.cancel_order(
                        symbol="BTCUSDT", orderId=placed["orderId"]
                    )
                    assert canceled["status"] == "CANCELED"
                    events = [await asyncio.wait_for(mine.recv(), 5) for _ in range(4)]
                    assert [one.get("x") for one in events] == ["NEW", None, "CANCELED", None]
                async with sockets.futures_socket() as mine:
                    side = {"symbol": "BTCUSDT", "side": "SELL"}
                    price = str(int(accounts.mark(usdm) * Decimal("1.01")))
                    placed = await client.futures_create_order(
                        **side, type="LIMIT", timeInForce="GTX", quantity="0.01", price=price
                    )
                    found = await client.futures_get_order(
                        symbol="BTCUSDT", orderId=placed["orderId"]
                    )
                    assert found["status"] == "NEW"
                    await client.futures_cancel_all_open_orders(symbol="BTCUSDT")
                    await client.futures_create_order(**side, type="MARKET", quantity="0.01")
                    (position,) = await client.futures_position_information(symbol="BTCUSDT")
                    assert position["positionAmt"] == "-0.010"
                    kinds = []
                    while "ACCOUNT_UPDATE" not in kinds:
                        kinds.append((await asyncio.wait_for(mine.recv(), 5))["e"])
                    assert kinds[:2] == ["ORDER_TRADE_UPDATE"] * 2
                async with sockets.coin_futures_socket() as mine:
                    side = {"symbol": "BTCUSD_PERP", "side": "SELL"}
                    price = str(int(accounts.mark(coinm) * Decimal("1.01")))
                    placed = await client.futures_coin_create_order(
                        **side, type="LIMIT", timeInForce="GTX", quantity="3", price=price
                    )
                    (found,) = await client.futures_coin_get_open_orders(symbol="BTCUSD_PERP")
                    assert (found["orderId"], found["cumBase"]) == (placed["orderId"], "0.00000000")
                    await client.futures_coin_cancel_all_open_orders(symbol="BTCUSD_PERP")
                    await client.futures_coin_create_order(**side, type="MARKET", quantity="3")
                    (position,) = await client.futures_coin_position_information(pair="BTCUSD")
                    assert position["positionAmt"] == "-3"
                    reasons = []
                    while "FUNDING_FEE" not in reasons:
                        event = await asyncio.wait_for(mine.recv(), 5)
                        reasons.append(event["a"]["m"] if "a" in event else event["o"]["x"])
                    assert reasons[:4] == ["NEW", "CANCELED", "NEW", "ORDER"]
                for ask, asset in (
                    (client.futures_income_history, "USDT"),
                    (client.futures_coin_income_history, "BTC"),
                ):
                    paid, *_ = await ask(incomeType="FUNDING_FEE")
                    assert (paid["asset"], float(paid["income"]) > 0) == (asset, True)  # to shorts
            finally:
                await client.close_connection()

    asyncio.run(main())
