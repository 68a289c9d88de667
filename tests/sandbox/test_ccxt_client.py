"""A client that is not ours: ccxt.pro, pointed at the sandbox, with every address overridden."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest
from sandbox_fixtures import BOTH, NATIVE, Client, remember, running

PINNED = "4.5.90"
"""The options that point ccxt elsewhere have changed before; see docs/sandbox.md."""


ALL = (*BOTH, "BTC/USD:BTC")


def here(known: Any, base: str) -> Any:
    """Return a tree of addresses with the host of each replaced by `base`."""
    if isinstance(known, dict):
        return {key: here(value, base) for key, value in known.items()}
    scheme = "ws" if known.startswith("ws") else "http"
    return scheme + base.removeprefix("http") + urlsplit(known).path


def leaves(tree: Any) -> list[str]:
    if isinstance(tree, dict):
        return [leaf for branch in tree.values() for leaf in leaves(branch)]
    return [tree] if isinstance(tree, str) else []


def exchange(base: str) -> Any:
    import ccxt.pro

    assert ccxt.pro.__version__ == PINNED
    urls = here(ccxt.pro.binance().describe()["urls"]["api"], base)
    ws = "ws" + base.removeprefix("http")
    # ccxt tells spot from USD-M by "/stream" in the address.
    urls["ws"] |= {
        "spot": f"{ws}/stream/ws",
        "linear": f"{ws}/fstream/ws",
        "inverse": f"{ws}/dstream/ws",
    }
    client = ccxt.pro.binance(
        {"urls": {"api": urls}, "options": {"fetchCurrencies": False, "fetchMargins": False}}
    )
    # A key that was forgotten would send requests to the real exchange.
    strangers = [url for url in leaves(client.urls["api"]) if "127.0.0.1" not in url]
    assert strangers == []
    return client


def test_ccxt_parses_the_markets_with_their_grids() -> None:
    async def main() -> dict[str, Any]:
        async with running(symbols=ALL) as sandbox:
            client = exchange(sandbox.url)
            try:
                return dict(await client.load_markets())
            finally:
                await client.close()

    markets = asyncio.run(main())
    assert set(markets) == set(ALL)
    inverse = markets["BTC/USD:BTC"]
    assert (inverse["id"], inverse["active"], inverse["inverse"]) == ("BTCUSD_PERP", True, True)
    assert (inverse["settle"], inverse["contractSize"]) == ("BTC", 100)
    assert (inverse["precision"]["price"], inverse["precision"]["amount"]) == (0.1, 1)
    spot, perpetual = markets["BTC/USDT"], markets["BTC/USDT:USDT"]
    assert spot["precision"]["price"] == 0.01
    assert spot["precision"]["amount"] == 0.00001
    assert spot["limits"]["cost"]["min"] == 5
    assert spot["active"] is perpetual["active"] is True
    assert perpetual["precision"]["price"] == 0.1
    assert perpetual["precision"]["amount"] == 0.001
    assert perpetual["limits"]["cost"]["min"] == 100
    assert (perpetual["swap"], perpetual["linear"], perpetual["settle"]) == (True, True, "USDT")


async def watch(sandbox: Client, client: Any, symbol: str) -> None:
    """Follow one symbol until ccxt's book and the exchange's have been seen at the same update id."""
    market = {"BTC/USDT": "spot", "BTC/USDT:USDT": "usdm", "BTC/USD:BTC": "coinm"}[symbol]
    served = sandbox.sandbox.exchange
    assert served is not None
    listing = served.listing(market, NATIVE[market])
    assert listing is not None
    states = remember(served, market)
    compared = 0
    for _ in range(30):
        book = await asyncio.wait_for(client.watch_order_book(symbol), 5)
        expected = states.get(book["nonce"])
        if expected is not None:
            for side, levels in zip(("bids", "asks"), expected, strict=True):
                assert [tuple(level[:2]) for level in book[side][:20]] == levels
            compared += 1
    assert compared >= 3
    seen: list[Any] = []
    while len(seen) < 5:
        seen += await asyncio.wait_for(client.watch_trades(symbol), 5)
    known = {str(trade.trade_id): trade for trade in served.trades(listing, 1000)}
    for trade in seen:
        ours = known[trade["id"]]
        assert (trade["price"], trade["amount"]) == (float(ours.price), float(ours.quantity))
        assert trade["side"] == ("sell" if ours.buyer_is_maker else "buy")
        assert trade["timestamp"] == ours.ts_ms


@pytest.mark.parametrize("symbol", ALL)
def test_ccxts_book_is_the_sandboxs_and_its_trades_are_too(symbol: str) -> None:
    async def main() -> None:
        async with running(symbols=(symbol,)) as sandbox:
            client = exchange(sandbox.url)
            try:
                await watch(sandbox, client, symbol)
            finally:
                await client.close()

    asyncio.run(main())


def test_ccxt_watches_spot_and_usdm_at_the_same_time() -> None:
    async def main() -> None:
        async with running() as sandbox:
            client = exchange(sandbox.url)
            try:
                for _ in range(5):
                    spot, perpetual = await asyncio.wait_for(
                        asyncio.gather(
                            client.watch_order_book("BTC/USDT"),
                            client.watch_order_book("BTC/USDT:USDT"),
                        ),
                        5,
                    )
                assert spot["bids"][0][0] < spot["asks"][0][0]
                assert perpetual["bids"][0][0] < perpetual["asks"][0][0]
                client.options["watchTrades"] = {"name": "aggTrade"}
                trades = await asyncio.wait_for(client.watch_trades("BTC/USDT:USDT"), 5)
                assert trades[0]["price"] > 0
            finally:
                await client.close()

    asyncio.run(main())
