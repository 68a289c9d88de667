"""Every account client of ours does at the sandbox what every account client has to do."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from scripted_venue import LINEAR, SPOT

from mmkit.accounts import AccountClient, AccountContext
from mmkit.clock import SystemClock
from mmkit.instruments import Instrument, InstrumentSpec
from mmkit.interfaces import ServiceContext
from mmkit.plugins import Plugins
from mmkit.testing import check_account
from mmkit_sandbox.accountconfig import DEMO_KEY, DEMO_SECRET
from mmkit_sandbox.service import Config, Sandbox

ROOT = {"spot": "/api/v3", "usdm": "/fapi/v1"}
PLUGINS = Plugins.load(None)


def built(plugin: str, instrument: Instrument, url: str, **config: Any) -> AccountClient:
    provider = PLUGINS.provider("account", plugin)
    keys = {"endpoint": "sandbox", "key": DEMO_KEY, "secret": DEMO_SECRET} | config
    context = AccountContext(instrument, SystemClock(), {"sandbox": url})
    client: AccountClient = provider.build(provider.config.model_validate(keys), context)
    return client


async def listed(session: aiohttp.ClientSession, url: str, instrument: Instrument) -> Instrument:
    """The instrument with the grid that the sandbox has."""
    from msgspec.structs import replace

    async with session.get(f"{url}{ROOT[instrument.market]}/exchangeInfo") as answer:
        symbols = (await answer.json())["symbols"]
    (found,) = [one for one in symbols if one["symbol"] == instrument.native]
    filters = {one["filterType"]: one for one in found["filters"]}
    return replace(
        instrument,
        tick=Decimal(filters["PRICE_FILTER"]["tickSize"]).normalize(),
        lot=Decimal(filters["LOT_SIZE"]["stepSize"]).normalize(),
    )


@pytest.mark.parametrize("instrument", [SPOT, LINEAR], ids=["spot", "usdm"])
@pytest.mark.parametrize("plugin", PLUGINS.names("account"))
def test_the_client_does_what_every_account_client_does(
    plugin: str, instrument: Instrument
) -> None:
    async def main() -> None:
        spec = InstrumentSpec(venue="binance", market="usdm", symbol="BTC/USDT:USDT")
        sandbox = Sandbox(
            Config(symbols=("BTC/USDT", "BTC/USDT:USDT")),
            ServiceContext(spec, SystemClock(), Path("user_data")),
        )
        url = await sandbox.start()
        try:
            async with aiohttp.ClientSession() as session:
                traded = await listed(session, url, instrument)

                async def prices() -> tuple[Decimal, Decimal]:
                    path = f"{ROOT[instrument.market]}/ticker/bookTicker?symbol={instrument.native}"
                    async with session.get(url + path) as answer:
                        told = await answer.json()
                    return Decimal(told["bidPrice"]), Decimal(told["askPrice"])

                client = built(plugin, traded, url)
                try:
                    await check_account(client, traded, quantity=Decimal("0.005"), prices=prices)
                finally:
                    await client.close()
        finally:
            await sandbox.stop()

    asyncio.run(main())
