"""Every account client of ours does at the sandbox what every account client has to do, and one that does not is found out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from msgspec.structs import replace
from scripted_venue import INVERSE, LINEAR, SPOT

from mmkit.accounts import (
    AccountClient,
    AccountContext,
    AccountEvent,
    AccountInfo,
    Amendment,
    Balance,
    FillRecord,
    OrderRecord,
    OrderUpdate,
    Placement,
    Refusal,
    Refused,
)
from mmkit.clock import SystemClock
from mmkit.instruments import Instrument, InstrumentSpec
from mmkit.interfaces import ServiceContext
from mmkit.plugins import Plugins
from mmkit.testing import check_account
from mmkit_sandbox.accountconfig import DEMO_KEY, DEMO_SECRET
from mmkit_sandbox.service import Config, Sandbox

ROOT = {"spot": "/api/v3", "usdm": "/fapi/v1", "coinm": "/dapi/v1"}
PLUGINS = Plugins.load(None)
QUANTITY = {"spot": Decimal("0.005"), "usdm": Decimal("0.005"), "coinm": Decimal(7)}


class Market(NamedTuple):
    """A market of a running sandbox."""

    url: str
    sandbox: Sandbox
    session: aiohttp.ClientSession
    instrument: Instrument
    """With the grid that the sandbox has."""

    async def prices(self) -> tuple[Decimal, Decimal]:
        path = f"{ROOT[self.instrument.market]}/ticker/bookTicker?symbol={self.instrument.native}"
        async with self.session.get(self.url + path) as answer:
            told = await answer.json()
        if isinstance(told, list):  # as COIN-M answers
            (told,) = told
        return Decimal(told["bidPrice"]), Decimal(told["askPrice"])

    def client(self, plugin: str, **config: Any) -> AccountClient:
        provider = PLUGINS.provider("account", plugin)
        keys = {"endpoint": "sandbox", "key": DEMO_KEY, "secret": DEMO_SECRET} | config
        context = AccountContext(self.instrument, SystemClock(), {"sandbox": self.url})
        built: AccountClient = provider.build(provider.config.model_validate(keys), context)
        return built


@asynccontextmanager
async def trading(instrument: Instrument, **config: Any) -> AsyncIterator[Market]:
    spec = InstrumentSpec(venue="binance", market="usdm", symbol="BTC/USDT:USDT")
    sandbox = Sandbox(
        Config.model_validate({"symbols": (instrument.symbol,)} | config),
        ServiceContext(spec, SystemClock(), Path("user_data")),
    )
    url = await sandbox.start()
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}{ROOT[instrument.market]}/exchangeInfo") as answer:
                symbols = (await answer.json())["symbols"]
            (found,) = [one for one in symbols if one["symbol"] == instrument.native]
            filters = {one["filterType"]: one for one in found["filters"]}
            grid = replace(
                instrument,
                tick=Decimal(filters["PRICE_FILTER"]["tickSize"]).normalize(),
                lot=Decimal(filters["LOT_SIZE"]["stepSize"]).normalize(),
            )
            yield Market(url, sandbox, session, grid)
    finally:
        await sandbox.stop()


async def checked(client: AccountClient, market: Market) -> None:
    try:
        quantity = QUANTITY[market.instrument.market]
        await check_account(client, market.instrument, quantity=quantity, prices=market.prices)
    finally:
        await client.close()


@pytest.mark.parametrize("instrument", [SPOT, LINEAR], ids=["spot", "usdm"])
@pytest.mark.parametrize("plugin", PLUGINS.names("account"))
def test_the_client_does_what_every_account_client_does(
    plugin: str, instrument: Instrument
) -> None:
    async def main() -> None:
        async with trading(instrument) as market:
            await checked(market.client(plugin), market)

    asyncio.run(main())


def test_ccxts_client_does_so_on_coin_m_where_money_is_the_base_currency() -> None:
    async def main() -> None:
        async with trading(INVERSE) as market:
            await checked(market.client("ccxt"), market)

    asyncio.run(main())


def test_so_it_does_by_ccxts_unified_methods_which_other_venues_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ccxt's class of Binance US speaks spot's protocol, and mmkit knows nothing of its own about it."""
    monkeypatch.setattr("mmkit_ccxt.client._SANDBOXED", ("binanceus",))

    async def main() -> None:
        async with trading(SPOT) as market:
            elsewhere = market._replace(instrument=replace(market.instrument, venue="binanceus"))
            await checked(elsewhere.client("ccxt"), elsewhere)

    asyncio.run(main())


@pytest.mark.parametrize("plugin", PLUGINS.names("account"))
@pytest.mark.parametrize("instrument", [SPOT, LINEAR], ids=["spot", "usdm"])
def test_an_account_that_signs_with_ed25519_trades(plugin: str, instrument: Instrument) -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    private = ed25519.Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    account = {
        "key": "ed25519Key",
        "public_key": public.decode(),
        "balances": {"USDT": "10000", "BTC": "1"},
    }

    async def main() -> None:
        async with trading(instrument, accounts=[account]) as market:
            await checked(market.client(plugin, key="ed25519Key", secret=pem), market)

    asyncio.run(main())


# --- one that does not --------------------------------------------------------------------------------


class Delegating(AccountClient):
    """A client that is right; those below are wrong in one thing."""

    def __init__(self, right: AccountClient) -> None:
        self.right = right

    async def open(self) -> AccountInfo:
        return await self.right.open()

    async def place(self, placement: Placement) -> OrderRecord:
        return await self.right.place(placement)

    async def amend(self, amendment: Amendment) -> OrderRecord | None:
        return await self.right.amend(amendment)

    async def cancel(self, client_id: str) -> OrderRecord | None:
        return await self.right.cancel(client_id)

    async def cancel_all(self) -> None:
        await self.right.cancel_all()

    async def order(self, client_id: str) -> OrderRecord | None:
        return await self.right.order(client_id)

    async def open_orders(self) -> Sequence[OrderRecord]:
        return await self.right.open_orders()

    async def fills(self, since_ns: int) -> Sequence[FillRecord]:
        return await self.right.fills(since_ns)

    async def balances(self) -> Mapping[str, Balance]:
        return await self.right.balances()

    async def position(self) -> Decimal | None:
        return await self.right.position()

    async def countdown(self, ms: int) -> bool:
        return await self.right.countdown(ms)

    async def events(self) -> AsyncIterator[AccountEvent]:
        async for event in self.right.events():
            yield event

    async def close(self) -> None:
        await self.right.close()


class RoundsPrices(Delegating):
    async def place(self, placement: Placement) -> OrderRecord:
        assert placement.price is not None
        return await super().place(replace(placement, price=placement.price.quantize(Decimal(10))))


class TakesWhereItShouldRest(Delegating):
    async def place(self, placement: Placement) -> OrderRecord:
        from mmkit.commands import TimeInForce

        return await super().place(replace(placement, time_in_force=TimeInForce.GTC))


class SaysEveryRefusalIsAFilter(Delegating):
    async def place(self, placement: Placement) -> OrderRecord:
        try:
            return await super().place(placement)
        except Refused as refused:
            raise Refused(Refusal.FILTER, str(refused)) from None


class SaysThatItCanceled(Delegating):
    async def cancel(self, client_id: str) -> OrderRecord | None:
        return None


class ForgetsTheFirstFill(Delegating):
    async def fills(self, since_ns: int) -> Sequence[FillRecord]:
        return (await super().fills(since_ns))[1:]


class HearsNoFees(Delegating):
    async def events(self) -> AsyncIterator[AccountEvent]:
        async for event in self.right.events():
            if isinstance(event, OrderUpdate) and event.fill is not None:
                yield replace(event, fill=replace(event.fill, fee=Decimal(0)))
            else:
                yield event


class HearsNothing(Delegating):
    async def events(self) -> AsyncIterator[AccountEvent]:
        async for event in self.right.events():
            if not isinstance(event, OrderUpdate):
                yield event


class RoundsMoney(Delegating):
    async def balances(self) -> Mapping[str, Balance]:
        told = await super().balances()
        return {
            asset: replace(one, free=one.free.quantize(Decimal("0.0001")))
            for asset, one in told.items()
        }


class CancelsAllButOne(Delegating):
    async def cancel_all(self) -> None:
        listed = await self.right.open_orders()
        for one in listed[1:]:
            await self.right.cancel(one.client_id)


class AmendsByAnotherOrder(Delegating):
    """Cancels, and places another of the same name: what ccxt's ``editOrder`` is on spot."""

    async def amend(self, amendment: Amendment) -> OrderRecord | None:
        canceled = await self.right.cancel(amendment.client_id)
        assert canceled is not None
        return await self.right.place(
            Placement(
                client_id=amendment.client_id,
                side=amendment.side,
                price=amendment.price,
                quantity=amendment.quantity,
            )
        )


class PromisesACountdown(Delegating):
    async def open(self) -> AccountInfo:
        return replace(await super().open(), countdown=True)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (RoundsPrices, "a record of"),
        (TakesWhereItShouldRest, "post-only order"),
        (SaysEveryRefusalIsAFilter, "refused as duplicate"),
        (SaysThatItCanceled, "a record of"),
        (ForgetsTheFirstFill, "fills()"),
        (HearsNoFees, "the stream's fills were expected to be those of fills()"),
        (HearsNothing, "was expected from events()"),
        (RoundsMoney, "was expected to change by"),
        (CancelsAllButOne, "after cancel_all()"),
        (PromisesACountdown, "countdown()"),
        (AmendsByAnotherOrder, "an amended order was expected to be the same"),
    ],
)
def test_a_client_that_is_wrong_in_one_thing_is_found_out(
    wrong: type[Delegating], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmkit.account_checks._HEARD_WITHIN_S", 2.0)

    async def main() -> None:
        async with trading(SPOT) as market:
            await checked(wrong(market.client("binance")), market)

    with pytest.raises(AssertionError) as error:
        asyncio.run(main())
    assert words in str(error.value)
