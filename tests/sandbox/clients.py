"""Clients that are not ours, pointed at the sandbox with the demo account's key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from mmkit_sandbox.accountconfig import DEMO_KEY, DEMO_SECRET


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


def ccxt_client(base: str, usdm: bool = False, coinm: bool = False, **options: Any) -> Any:
    """Return a client of ccxt.pro for the demo account, on spot, USD-M or COIN-M."""
    import ccxt.pro

    kind = ccxt.pro.binance
    if usdm or coinm:
        kind = ccxt.pro.binanceusdm if usdm else ccxt.pro.binancecoinm
    urls = here(kind().describe()["urls"]["api"], base)
    ws = "ws" + base.removeprefix("http")
    urls["ws"] |= {
        "spot": f"{ws}/stream/ws",
        "linear": f"{ws}/fstream/ws",
        "inverse": f"{ws}/dstream/ws",
    }
    found = {"fetchCurrencies": False, "fetchMargins": False} | options
    market = "linear" if usdm else "inverse" if coinm else "spot"
    found["fetchMarkets"] = {"types": [market]}
    client = kind(
        {"apiKey": DEMO_KEY, "secret": DEMO_SECRET, "urls": {"api": urls}, "options": found}
    )
    strangers = [url for url in leaves(client.urls["api"]) if "127.0.0.1" not in url]
    assert strangers == []  # one that was forgotten would send requests to the real exchange
    return client


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    """Return once something is true."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)
