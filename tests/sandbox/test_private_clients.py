"""Clients that are not ours trade at the sandbox: ccxt, ccxt.pro, Binance's own SDK and python-binance."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from clients import ccxt_client
from sandbox_fixtures import running


@pytest.mark.parametrize(("symbol", "usdm"), [("BTC/USDT", False), ("BTC/USDT:USDT", True)])
def test_ccxt_places_queries_and_cancels_and_its_stream_tells_of_it(
    symbol: str, usdm: bool
) -> None:
    async def main() -> None:
        async with running(symbols=(symbol,)) as sandbox:
            client = ccxt_client(sandbox.url, usdm)
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
                    0.01,
                    bid * 0.99,
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
                bought = await client.create_order(symbol, "market", "buy", 0.01)
                trades = await client.fetch_my_trades(symbol)
                assert sum(Decimal(str(one["amount"])) for one in trades) == Decimal("0.01")
                assert {one["order"] for one in trades} == {bought["id"]}
                balance = await client.fetch_balance()
                if usdm:
                    (position,) = await client.fetch_positions([symbol])
                    assert (position["contracts"], position["side"]) == (0.01, "long")
                    assert balance["USDT"]["used"] > 0
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


@pytest.mark.parametrize(("symbol", "usdm"), [("BTC/USDT", False), ("BTC/USDT:USDT", True)])
def test_ccxt_pro_places_over_the_websocket_api_and_hears_of_fills_and_balances(
    symbol: str, usdm: bool
) -> None:
    async def main() -> None:
        async with running(symbols=(symbol,)) as sandbox:
            client = ccxt_client(sandbox.url, usdm)
            try:
                await client.load_markets()
                fills = asyncio.create_task(client.watch_my_trades(symbol))
                money = asyncio.create_task(client.watch_balance())
                await asyncio.sleep(0.7)
                book = await client.fetch_order_book(symbol, 5)
                resting = await client.create_order_ws(
                    symbol, "limit", "sell", 0.01, book["asks"][0][0] * 1.01, {"postOnly": True}
                )
                canceled = await client.cancel_order_ws(resting["id"], symbol)
                assert canceled["status"] == "canceled"
                taken = await client.create_order_ws(symbol, "market", "sell", 0.01)
                (first, *_) = await asyncio.wait_for(fills, 5)
                assert (first["order"], first["side"], first["takerOrMaker"]) == (
                    taken["id"],
                    "sell",
                    "taker",
                )
                assert "USDT" in await asyncio.wait_for(money, 5)
            finally:
                await client.close()

    asyncio.run(main())
