"""Orders over the signed WebSocket API, and what happens while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from scripted_venue import (
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
    AccountContext,
    AccountEvent,
    FateUnknown,
    OrderState,
    Placement,
    Refusal,
    Refused,
    StreamDown,
    StreamUp,
)
from mmkit.clock import SystemClock
from mmkit.errors import ConfigError
from mmkit.events import Side
from mmkit.instruments import Instrument
from mmkit_binance.account.client import BinanceAccount
from mmkit_binance.account.config import BinanceAccountConfig
from mmkit_binance.account.places import places

BID = Placement(client_id="mm1a-7", side=Side.BUY, price=Decimal("60000.1"), quantity=Decimal(3))
each = pytest.mark.parametrize("instrument", [SPOT, LINEAR], ids=["spot", "usdm"])
Do = Callable[[BinanceAccount, ScriptedVenue, AsyncIterator[AccountEvent]], Awaitable[None]]


def listening(instrument: Instrument, do: Do) -> None:
    """Run with an open client whose user stream is up."""

    async def main() -> None:
        async with scripted() as venue:
            keys = {"endpoint": "sandbox", "key": KEY, "secret": SECRET, "url": venue.url}
            config = BinanceAccountConfig.model_validate(keys)
            client = BinanceAccount(config, AccountContext(instrument, SystemClock()))
            events = client.events()
            try:
                await client.open()
                assert await soon(events) == StreamUp()
                await do(client, venue, events)
            finally:
                await events.aclose()  # type: ignore[attr-defined]
                await client.close()

    asyncio.run(main())


async def soon(events: AsyncIterator[AccountEvent]) -> AccountEvent:
    async with asyncio.timeout(5):
        return await anext(events)


@each
def test_an_order_leaves_over_the_socket_signed_and_its_record_comes_back(
    instrument: Instrument,
) -> None:
    async def main(client: BinanceAccount, venue: ScriptedVenue, _: Any) -> None:
        venue.answers["order.place"] = lambda sent: (200, order_answer(instrument, sent))
        venue.answers["order.cancel"] = lambda sent: (
            200,
            order_answer(
                instrument,
                {},
                clientOrderId="theirs",
                origClientOrderId="mm1a-7",
                status="CANCELED",
            ),
        )
        record = await client.place(BID)
        assert (record.client_id, record.state, record.price) == (
            "mm1a-7",
            OrderState.OPEN,
            BID.price,
        )
        (sent,) = venue.requests("order.place")
        assert sent["apiKey"] == KEY
        assert sent["type"] == ("LIMIT_MAKER" if instrument is SPOT else "LIMIT")
        assert sent.get("timeInForce") == (None if instrument is SPOT else "GTX")
        canceled = await client.cancel("mm1a-7")
        assert canceled is not None
        assert (canceled.client_id, canceled.state) == ("mm1a-7", OrderState.CANCELED)
        assert not venue.requests(f"POST {ROOT[instrument.market]}/order")

    listening(instrument, main)


@pytest.mark.parametrize(
    ("status", "code", "refusal"),
    [
        (400, -2010, Refusal.WOULD_TAKE),
        (400, -5022, Refusal.WOULD_TAKE),
        (429, -1003, Refusal.RATE),
        (400, -1021, Refusal.CLOCK),
        (408, -1007, None),
        (503, -1001, None),
    ],
)
def test_an_error_over_the_socket_means_what_it_means_over_rest(
    status: int, code: int, refusal: Refusal | None
) -> None:
    async def main(client: BinanceAccount, venue: ScriptedVenue, _: Any) -> None:
        words = "Order would immediately match and take."
        venue.answers["order.place"] = (status, {"code": code, "msg": words})
        with pytest.raises(FateUnknown if refusal is None else Refused) as error:
            await client.place(BID)
        assert getattr(error.value, "refusal", None) is refusal
        assert len(venue.requests("order.place")) == 1

    listening(LINEAR, main)


@each
def test_a_connection_that_is_cut_leaves_the_fate_unknown_and_sends_nothing_again(
    instrument: Instrument,
) -> None:
    async def main(
        client: BinanceAccount, venue: ScriptedVenue, events: AsyncIterator[Any]
    ) -> None:
        venue.answers["order.place"] = None
        placing = asyncio.ensure_future(client.place(BID))
        while not venue.requests("order.place"):
            await asyncio.sleep(0.01)
        for socket in venue.sockets:
            await socket.close()
        with pytest.raises(FateUnknown):
            await placing
        assert isinstance(await soon(events), StreamDown)
        assert await soon(events) == StreamUp()
        assert len(venue.requests("order.place")) == 1
        assert not venue.requests(f"POST {ROOT[instrument.market]}/order")

    listening(instrument, main)


@each
def test_while_the_socket_is_away_a_cancel_takes_the_way_over_rest(instrument: Instrument) -> None:
    async def main(
        client: BinanceAccount, venue: ScriptedVenue, events: AsyncIterator[Any]
    ) -> None:
        path = f"DELETE {ROOT[instrument.market]}/order"
        venue.answers[path] = lambda sent: (200, order_answer(instrument, sent, status="CANCELED"))
        for socket in venue.sockets:
            await socket.close()
        assert isinstance(await soon(events), StreamDown)
        canceled = await client.cancel("mm1a-7")
        assert canceled is not None
        assert canceled.state is OrderState.CANCELED
        assert len(venue.requests(path)) == 1

    listening(instrument, main)


def test_a_market_that_is_not_spoken_here_is_sent_to_the_other_venue() -> None:
    with pytest.raises(ConfigError, match="whose orders the venue 'ccxt' sends"):
        places(INVERSE.market, "sandbox", {}, None)


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_every_address_of_the_sandbox_is_this_machine(market: str) -> None:
    found = places(market, "sandbox", {}, None)
    assert found.loopback
    for address in (found.host, found.api, found.user or found.api):
        assert address.partition("://")[2].startswith("127.0.0.1:8787")
