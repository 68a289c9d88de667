"""The private side over real sockets: signed REST, WebSocket APIs, user streams, and what goes wrong there."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from account_fixtures import World
from clients import until
from pydantic import SecretStr
from sandbox_fixtures import Client, running, service

from mmkit.errors import ConfigError
from mmkit.events import Side
from mmkit_sandbox import signing
from mmkit_sandbox.accountconfig import DEMO_KEY, DEMO_SECRET, AccountConfig
from mmkit_sandbox.faults import parse_fault
from mmkit_sandbox.signing import hmac_signature

NEVER = "3600s close_1000"
"""A schedule in which nothing happens, so that faults can be begun by hand."""


class Trader:
    """Asks as the demo account."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.headers: Any = {}

    async def ask(self, method: str, path: str, **params: Any) -> tuple[int, Any]:
        words = "&".join(f"{name}={value}" for name, value in (params | timestamp()).items())
        signed = f"{words}&signature={hmac_signature(DEMO_SECRET, words)}"
        key = {"X-MBX-APIKEY": DEMO_KEY}
        url = f"{self.client.url}{path}?{signed}"
        async with self.client.session.request(method, url, headers=key) as response:
            self.headers = response.headers
            text = await response.text()
            return response.status, await response.json() if text[:1] in "[{" else text

    async def place(self, market: str = "spot", **more: Any) -> tuple[int, Any]:
        price = self.away(market)
        words = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
        words |= {"quantity": "0.01", "price": price} | more
        path = "/api/v3/order" if market == "spot" else "/fapi/v1/order"
        return await self.ask("POST", path, **words)

    def away(self, market: str) -> str:
        sandbox = self.client.sandbox
        assert sandbox.accounts is not None
        listing = next(one for one in sandbox.listings if one.market == market)
        best = sandbox.accounts.exchange.market(listing).book.best(Side.BUY)
        assert best is not None
        return str(int(best * listing.tick * Decimal("0.99")))

    async def open_orders(self, market: str = "spot") -> list[Any]:
        path = "/api/v3/openOrders" if market == "spot" else "/fapi/v1/openOrders"
        return list((await self.ask("GET", path, symbol="BTCUSDT"))[1])

    def begin(self, fault: str) -> None:
        trouble = self.client.sandbox.trouble
        assert trouble is not None
        trouble.begin(parse_fault(f"0s {fault}"))


def timestamp() -> dict[str, int]:
    return {"timestamp": int(time.time() * 1000)}


@asynccontextmanager
async def trading(**config: Any) -> AsyncIterator[Trader]:
    async with running(**config) as client:
        yield Trader(client)


class Socket:
    """A connection to a WebSocket API, and what it has said."""

    def __init__(self, socket: Any) -> None:
        self._socket, self.told, self.replies = socket, [], {}  # type: ignore[var-annotated]
        self._count = 0
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                self.replies[said["id"]] = said
            else:
                self.told.append(said)

    async def ask(self, method: str, signed: bool = True, **params: Any) -> Any:
        if signed:
            params |= {"apiKey": DEMO_KEY} | timestamp()
            params["signature"] = hmac_signature(DEMO_SECRET, signing.socket_payload(params))
        return await self.send(method, params)

    async def send(self, method: str, params: dict[str, Any]) -> Any:
        self._count += 1
        await self._socket.send_json({"id": self._count, "method": method, "params": params})
        await until(lambda: self._count in self.replies or self._reading.done())
        return self.replies[self._count]


@asynccontextmanager
async def api(trader: Trader, market: str = "spot") -> AsyncIterator[Socket]:
    path = "/ws-api/v3" if market == "spot" else "/ws-fapi/v1"
    async with trader.client.connect(path) as socket:
        yield Socket(socket)


def test_answers_say_what_they_weigh_and_how_many_orders_there_were() -> None:
    async def main() -> None:
        async with trading() as trader:
            assert (await trader.place())[0] == 200
            assert trader.headers["X-MBX-ORDER-COUNT-10S"] == "1"
            assert trader.headers["X-MBX-ORDER-COUNT-1D"] == "1"
            assert trader.headers["X-MBX-USED-WEIGHT-1M"] == "0"  # an order that succeeds is free
            await trader.ask("GET", "/api/v3/account")
            assert trader.headers["X-MBX-USED-WEIGHT-1M"] == "20"
            await trader.place("usdm")
            assert trader.headers["X-MBX-ORDER-COUNT-1M"] == "1"

    asyncio.run(main())


def test_too_many_orders_and_too_much_weight_are_refused_until_the_window_ends() -> None:
    world = World()
    words = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.0001"}
    low = {"type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001", "price": "50000"}
    world.wait(10 - world.now / 1e9 % 10)
    for _ in range(100):
        assert world.ask("POST", "/api/v3/order", **words)[0] == 200
    for _ in range(99):  # what has traded does not count
        assert world.ask("POST", "/api/v3/order", **(words | low))[0] == 200
    status, body = world.ask("POST", "/api/v3/order", **(words | low))
    while status == 200:
        status, body = world.ask("POST", "/api/v3/order", **(words | low))
    assert (status, body["code"]) == (429, -1015)
    assert len(world.account.open_orders(world.spot)) == 100
    world.wait(10)
    assert world.ask("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")[0] == 200
    for _ in range(300):
        status, body = world.ask("GET", "/api/v3/account")
    for _ in range(20):
        status, body = world.ask("GET", "/api/v3/account")
    assert (status, body["code"]) == (429, -1003)
    retry = world.reply("GET", "/api/v3/account")
    assert retry is not None
    assert 0 < (retry.retry_after_s or 0) <= 60


@pytest.mark.parametrize(
    ("mode", "standing", "funds", "status", "code", "halves"),
    [
        ("STOP_ON_FAILURE", True, True, 200, None, ("SUCCESS", "SUCCESS")),
        ("STOP_ON_FAILURE", True, False, 409, -2021, ("SUCCESS", "FAILURE")),
        ("STOP_ON_FAILURE", False, True, 400, -2022, ("FAILURE", "NOT_ATTEMPTED")),
        ("ALLOW_FAILURE", False, True, 409, -2021, ("FAILURE", "SUCCESS")),
        ("ALLOW_FAILURE", False, False, 400, -2022, ("FAILURE", "FAILURE")),
    ],
)
def test_cancel_replace_tells_which_half_was_done(
    mode: str, standing: bool, funds: bool, status: int, code: int | None, halves: tuple[str, str]
) -> None:
    world = World()
    old = world.place(world.spot, Side.BUY, "0.01", world.away(world.spot, Side.BUY))
    answer = world.ask(
        "POST",
        "/api/v3/order/cancelReplace",
        symbol="BTCUSDT",
        side="BUY",
        type="LIMIT_MAKER",
        price="50000",
        quantity="0.01" if funds else "10",
        cancelReplaceMode=mode,
        cancelOrderId=old.order_id if standing else 10**9,
    )
    assert answer[0] == status
    body = answer[1]
    assert body.get("code") == code
    told = body if code is None else body["data"]
    assert (told["cancelResult"], told["newOrderResult"]) == halves
    waiting = world.account.open_orders(world.spot)
    done = halves[1] == "SUCCESS"
    assert len([one for one in waiting if one is not old]) == done
    assert old.open is (halves[0] == "FAILURE")


def test_the_websocket_api_of_spot_trades_and_tells() -> None:
    async def main() -> None:
        async with trading() as trader, api(trader) as socket:
            begun = await socket.ask("userDataStream.subscribe.signature")
            assert begun["result"] == {"subscriptionId": 0}
            again = await socket.ask("userDataStream.subscribe.signature")
            assert again["error"]["code"] == -2035
            order = {"symbol": "BTCUSDT", "side": "BUY", "price": trader.away("spot")}
            placed = await socket.ask("order.place", **order, type="LIMIT_MAKER", quantity="0.01")
            assert placed["status"] == 200
            assert {row["rateLimitType"] for row in placed["rateLimits"]} == {
                "REQUEST_WEIGHT",
                "ORDERS",
            }
            named = {"symbol": "BTCUSDT", "orderId": placed["result"]["orderId"]}
            quiet = await socket.ask("order.status", **named, returnRateLimits=False)
            assert (quiet["result"]["status"], "rateLimits" in quiet) == ("NEW", False)
            assert len((await socket.ask("openOrders.status", symbol="BTCUSDT"))["result"]) == 1
            moved = await socket.ask(
                "order.cancelReplace",
                **order,
                type="LIMIT_MAKER",
                quantity="0.02",
                cancelReplaceMode="STOP_ON_FAILURE",
                cancelOrderId=named["orderId"],
            )
            assert moved["result"]["newOrderResult"] == "SUCCESS"
            gone = await socket.ask("order.cancel", **named)
            assert (gone["status"], gone["error"]["code"]) == (400, -2011)
            assert len((await socket.ask("openOrders.cancelAll", symbol="BTCUSDT"))["result"]) == 1
            status = await socket.ask("account.status")
            assert {row["asset"] for row in status["result"]["balances"]} >= {"BTC", "USDT"}
            wrong = await socket.ask("order.plaice")
            assert wrong["error"]["code"] == -1000
            assert all(one["subscriptionId"] == 0 for one in socket.told)
            reports = [one["event"] for one in socket.told if "x" in one["event"]]
            assert [one["x"] for one in reports] == ["NEW", "CANCELED", "NEW", "CANCELED"]
            # On a cancel the order's own name is in C.
            assert reports[1]["C"] == reports[0]["c"] != reports[1]["c"]
            await socket.ask("userDataStream.unsubscribe", signed=False, subscriptionId=0)
            heard = len(socket.told)
            await trader.place()
            await asyncio.sleep(0.1)
            assert len(socket.told) == heard

    asyncio.run(main())


def test_one_who_has_logged_on_signs_no_more_and_only_with_ed25519() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    money = {"USDT": Decimal(10_000)}
    accounts = (
        AccountConfig(key=DEMO_KEY, secret=SecretStr(DEMO_SECRET)),
        AccountConfig(key="ed", public_key=pem.decode(), balances=money),
    )

    async def main() -> None:
        async with trading(accounts=accounts) as trader, api(trader) as socket:
            assert (await socket.ask("session.logon"))["error"]["code"] == -4056
            early = await socket.send("userDataStream.subscribe", {})
            assert early["status"] == 400
            params: dict[str, Any] = {"apiKey": "ed"} | timestamp()
            payload = signing.socket_payload(params)
            params["signature"] = base64.b64encode(private.sign(payload.encode())).decode()
            assert (await socket.send("session.logon", params))["result"]["apiKey"] == "ed"
            assert (await socket.send("userDataStream.subscribe", {}))["status"] == 200
            bought = await socket.send(
                "order.place",
                {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
                | timestamp(),
            )
            assert bought["result"]["status"] == "FILLED"
            await until(lambda: any(one["event"].get("x") == "TRADE" for one in socket.told))
            ledger = await trader.client.get("/sandbox/ledger?key=ed")
            assert ledger["spot"]["BTC"]["free"] == "0.00999000"
            assert (await trader.client.status("/sandbox/ledger"))[0] == 400

    asyncio.run(main())


def test_the_private_stream_of_usdm_goes_by_listen_key() -> None:
    async def main() -> None:
        async with trading() as trader, api(trader, "usdm") as socket:
            key = {"X-MBX-APIKEY": DEMO_KEY}
            session, url = trader.client.session, f"{trader.client.url}/fapi/v1/listenKey"
            async with session.put(url, headers=key) as response:
                assert (await response.json())["code"] == -1125
            async with session.post(url, headers=key) as response:
                listen_key = (await response.json())["listenKey"]
            async with session.post(url, headers=key) as response:
                assert (await response.json())["listenKey"] == listen_key
            path = f"/fstream/private/ws?listenKey={listen_key}"
            async with (
                trader.client.connect(path) as stream,
                trader.client.connect("/fstream/private/ws?listenKey=other") as deaf,
            ):
                order = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.01"}
                sold = await socket.ask("order.place", **order, newOrderRespType="RESULT")
                assert sold["result"]["status"] == "FILLED"
                assert "avgPrice" not in sold["result"]
                told = [await stream.receive_json(timeout=5)]
                while told[-1].get("o", {}).get("X") != "FILLED":
                    told.append(await stream.receive_json(timeout=5))
                # As many trades as it takes.
                trades = ["ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"] * (len(told) // 2)
                assert [one["e"] for one in told] == ["ORDER_TRADE_UPDATE", *trades]
                assert len(told) > 1
                assert told[-2]["a"]["P"][0]["pa"] == "-0.010"
                desk = trader.client.sandbox.desk
                assert desk is not None
                async with session.delete(url, headers=key) as response:
                    assert response.status == 200
                # An hour that nobody extended is not waited for here.
                desk.listen_keys.make(DEMO_KEY, desk.accounts.now_ns - 3_600_000_000_000)
                with pytest.raises(TimeoutError):
                    await deaf.receive_json(timeout=0.2)

    asyncio.run(main())


def test_a_listen_key_ends_after_an_hour_and_says_so() -> None:
    world = World()
    keys = world.desk.listen_keys
    name = keys.make(DEMO_KEY, world.now)
    hour = 3_600_000_000_000
    assert keys.owner(name, world.now + hour - 1) == DEMO_KEY
    assert keys.extend(DEMO_KEY, world.now + hour // 2) == name
    assert keys.expire(world.now + hour) == []
    assert keys.expire(world.now + hour + hour // 2) == [(DEMO_KEY, name)]
    assert keys.make(DEMO_KEY, world.now + 2 * hour) != name


# --- what goes wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize("market", ["spot", "usdm"])
@pytest.mark.parametrize(
    ("fault", "stands"), [("timeout", True), ("lost_answer", True), ("lost_request", False)]
)
def test_an_order_whose_answer_is_lost_stands_or_does_not(
    fault: str, stands: bool, market: str
) -> None:
    async def main() -> None:
        async with trading(faults={"at": (NEVER,)}) as trader:
            trader.begin(fault)
            await asyncio.sleep(0.1)
            if fault == "timeout":
                status, body = await trader.place(market, newClientOrderId="mm1-1")
                assert (status, body["code"]) == (408, -1007)
            else:
                with pytest.raises(aiohttp.ClientError):
                    await trader.place(market, newClientOrderId="mm1-1")
            names = [one["clientOrderId"] for one in await trader.open_orders(market)]
            assert names == (["mm1-1"] if stands else [])
            # It happened once.
            assert (await trader.place(market, newClientOrderId="mm1-2"))[0] == 200
            found = await trader.client.get("/sandbox/faults")
            assert [one["fault"].split()[1] for one in found] == [fault]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fault", "market", "status", "code"),
    [
        ("clock", "spot", 400, -1021),
        ("no_funds", "spot", 400, -2010),
        ("no_funds", "usdm", 400, -2019),
        ("busy 1s", "usdm", 503, -1008),
        ("http_429 1s", "spot", 429, -1003),
        ("http_418 1s", "spot", 418, -1003),
        ("maintenance 1s", "spot", 503, None),
    ],
)
def test_an_order_that_is_turned_away_was_not_placed(
    fault: str, market: str, status: int, code: int | None
) -> None:
    async def main() -> None:
        async with trading(faults={"at": (NEVER,)}) as trader:
            trader.begin(fault)
            await asyncio.sleep(0.1)
            found = await trader.place(market)
            assert found[0] == status
            assert "<html>" in found[1] if code is None else found[1]["code"] == code
            if status in {418, 429}:
                assert trader.headers["Retry-After"] == "1"
            await asyncio.sleep(1.2 if "1s" in fault else 0)
            assert await trader.open_orders(market) == []
            assert (await trader.place(market))[0] == 200

    asyncio.run(main())


def test_a_hidden_order_is_found_later() -> None:
    async def main() -> None:
        async with trading(faults={"at": (NEVER,)}) as trader:
            trader.begin("hidden 1s")
            await asyncio.sleep(0.1)
            await trader.place(newClientOrderId="mm1-1")
            named = {"symbol": "BTCUSDT", "origClientOrderId": "mm1-1"}
            assert (await trader.ask("GET", "/api/v3/order", **named))[1]["code"] == -2013
            await asyncio.sleep(1.1)
            assert (await trader.ask("GET", "/api/v3/order", **named))[0] == 200

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("drop user", ["outboundAccountPosition"]),
        ("duplicate user", ["executionReport", "executionReport", "outboundAccountPosition"]),
        ("reorder user", ["outboundAccountPosition", "executionReport"]),
        ("delay 200ms user", ["outboundAccountPosition", "executionReport"]),
        ("stall 300ms", ["executionReport", "outboundAccountPosition"]),
        ("silent 300ms user", []),
    ],
)
def test_the_user_stream_loses_repeats_and_swaps_what_it_says(fault: str, told: list[str]) -> None:
    async def main() -> None:
        async with trading(faults={"at": (NEVER,)}) as trader, api(trader) as socket:
            await socket.ask("userDataStream.subscribe.signature")
            trader.begin(fault)
            await asyncio.sleep(0.1)
            assert (await trader.place())[0] == 200
            await asyncio.sleep(0.5)
            assert [one["event"]["e"] for one in socket.told] == told

    asyncio.run(main())


def test_a_dropped_user_stream_and_a_restart_cut_the_connection_and_orders_stay() -> None:
    async def main() -> None:
        async with trading(faults={"at": (NEVER,)}) as trader:
            for fault in ("close_1006 user", "restart 300ms"):
                async with api(trader) as socket:
                    await socket.ask("userDataStream.subscribe.signature")
                    await trader.place()
                    trader.begin(fault)
                    await until(socket._reading.done)
            await asyncio.sleep(0.6)
            assert len(await trader.open_orders()) == 2
            answered = await trader.ask("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")
            assert [one["status"] for one in answered[1]] == ["CANCELED"] * 2

    asyncio.run(main())


@pytest.mark.parametrize(
    ("market", "symbol", "status", "code"),
    [("spot", "BTC/USDT", "BREAK", -2010), ("usdm", "BTC/USDT:USDT", "SETTLING", -4140)],
)
def test_a_symbol_that_is_halted_says_so_and_takes_no_orders(
    market: str, symbol: str, status: str, code: int
) -> None:
    async def main() -> None:
        async with trading(halted=(symbol,)) as trader:
            path = "/api/v3" if market == "spot" else "/fapi/v1"
            (listed,) = (await trader.client.get(f"{path}/exchangeInfo"))["symbols"]
            assert listed["status"] == status
            answered = await trader.place(market)
            assert (answered[0], answered[1]["code"]) == (400, code)
            other = "usdm" if market == "spot" else "spot"
            assert (await trader.place(other))[0] == 200

    asyncio.run(main())


def test_what_is_halted_must_be_listed() -> None:
    with pytest.raises(ConfigError, match="'ETH/USDT' is not listed"):
        service(symbols=("BTC/USDT",), halted=("ETH/USDT",))


def test_a_replay_has_no_private_side() -> None:
    from sandbox_fixtures import SPOT_CAPTURE

    async def main() -> None:
        async with trading(replay=(SPOT_CAPTURE,), symbols=()) as trader:
            status, body = await trader.ask("POST", "/api/v3/order", symbol="NEXOUSDT")
            assert (status, body["code"]) == (404, -5000)

    asyncio.run(main())
