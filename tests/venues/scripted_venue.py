"""A server that speaks the private side of Binance as it is told to: every answer is written down beforehand."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web

from mmkit.instruments import ContractKind, Instrument
from mmkit.testing import BTCUSDT

KEY = "MARKEDKEYvmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "MARKEDSECRETNhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"

SPOT = Instrument(
    venue="binance",
    market="spot",
    symbol="BTC/USDT",
    native="BTCUSDT",
    base="BTC",
    quote="USDT",
    kind=ContractKind.SPOT,
    tick=Decimal("0.01"),
    lot=Decimal("0.00001"),
)
LINEAR = BTCUSDT
INVERSE = Instrument(
    venue="binance",
    market="coinm",
    symbol="BTC/USD:BTC",
    native="BTCUSD_PERP",
    base="BTC",
    quote="USD",
    kind=ContractKind.INVERSE,
    tick=Decimal("0.1"),
    lot=Decimal(1),
    contract_size=Decimal(100),
)
ALL = (SPOT, LINEAR, INVERSE)
ROOT = {"spot": "/api/v3", "usdm": "/fapi/v1", "coinm": "/dapi/v1"}

Answer = tuple[int, Any]
Make = Callable[[dict[str, str]], Answer]


def listing(instrument: Instrument) -> dict[str, Any]:
    contract: dict[str, Any] = {}
    least: dict[str, Any] = {"filterType": "NOTIONAL", "minNotional": "5.00000000"}
    if instrument.market != "spot":
        contract = {"contractType": "PERPETUAL", "pair": instrument.base + instrument.quote}
        contract["marginAsset"] = instrument.settle
        least = {"filterType": "MIN_NOTIONAL", "notional": "5"}
    if instrument.market == "coinm":
        contract |= {"contractSize": 100, "contractStatus": "TRADING"}
    return {
        "symbol": instrument.native,
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "status": "TRADING",
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.01",
                "maxPrice": "1000000",
                "tickSize": f"{instrument.tick}",
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": f"{instrument.lot}",
                "maxQty": "9000",
                "stepSize": f"{instrument.lot:f}",
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            least,
        ],
        **contract,
    }


class ScriptedVenue:
    """Answers what it is told to, checks signatures, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | Make | None] = {}
        """By ``METHOD path`` or a method of the WebSocket API; `None` never answers."""
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.headers: dict[str, str] = {}
        self.sockets: list[web.WebSocketResponse] = []
        self.ahead_ms = 0
        self.refused_strangers: list[str] = []
        self.url = ""
        for market, root in ROOT.items():
            symbols = [listing(one) for one in ALL if one.market == market]
            limits = [
                {
                    "rateLimitType": "REQUEST_WEIGHT",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": 6000,
                },
                {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
            ]
            self.answers[f"GET {root}/exchangeInfo"] = (
                200,
                {"symbols": symbols, "rateLimits": limits},
            )
            self.answers[f"GET {root}/time"] = lambda _: (200, {"serverTime": self.now_ms()})
            self.answers[f"POST {root}/listenKey"] = (200, {"listenKey": "MARKEDLISTENKEY"})
            self.answers[f"GET {root}/commissionRate"] = (
                200,
                {"makerCommissionRate": "0.0002", "takerCommissionRate": "0.0005"},
            )
        rates = {"maker": "0.001", "taker": "0.001"}
        self.answers |= {
            "GET /api/v3/account": (
                200,
                {
                    "canTrade": True,
                    "balances": [{"asset": "BTC", "free": "1.00000001", "locked": "0.5"}],
                },
            ),
            "GET /api/v3/account/commission": (200, {"standardCommission": rates}),
            "GET /fapi/v1/accountConfig": (200, {"canTrade": True, "dualSidePosition": False}),
            "GET /dapi/v1/positionSide/dual": (200, {"dualSidePosition": False}),
            "GET /api/v3/ticker/bookTicker": (200, {"bidPrice": "60000", "askPrice": "60000.01"}),
            "GET /fapi/v1/ticker/bookTicker": (200, {"bidPrice": "60000", "askPrice": "60000.1"}),
            "GET /dapi/v1/ticker/bookTicker": (200, [{"bidPrice": "60000", "askPrice": "60000.1"}]),
            "GET /fapi/v1/symbolConfig": (
                200,
                [{"symbol": "BTCUSDT", "marginType": "CROSSED", "leverage": 20}],
            ),
            "GET /dapi/v1/positionRisk": (
                200,
                [
                    {
                        "symbol": "BTCUSD_PERP",
                        "positionAmt": "0",
                        "marginType": "cross",
                        "leverage": "20",
                    }
                ],
            ),
            "GET /sapi/v1/account/apiRestrictions": (
                200,
                {
                    "enableWithdrawals": True,
                    "enableSpotAndMarginTrading": True,
                    "enableFutures": True,
                },
            ),
            "GET /fapi/v3/account": (
                200,
                {
                    "assets": [
                        {"asset": "USDT", "walletBalance": "1000.12345678", "initialMargin": "10.1"}
                    ]
                },
            ),
            "GET /dapi/v1/account": (
                200,
                {"assets": [{"asset": "BTC", "walletBalance": "2.00000001", "initialMargin": "0"}]},
            ),
            "userDataStream.subscribe.signature": (200, {"subscriptionId": 0}),
        }

    def now_ms(self) -> int:
        return int(time.time() * 1000) + self.ahead_ms

    def requests(self, what: str) -> list[dict[str, str]]:
        return [params for asked, params in self.asked if asked == what]

    async def tell(self, event: dict[str, Any], *, wrapped: bool) -> None:
        """Send an event to whoever listens."""
        told = {"subscriptionId": 0, "event": event} if wrapped else event
        for socket in self.sockets:
            if not socket.closed:
                await socket.send_str(json.dumps(told))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request)
        raw = request.query_string + await request.text()
        what = f"{request.method} {request.path}"
        if "signature=" in raw:
            payload, _, signature = raw.rpartition("&signature=")
            wanted = hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()
            if signature != wanted or request.headers.get("X-MBX-APIKEY") != KEY:
                return web.json_response(
                    {"code": -1022, "msg": "Signature for this request is not valid."}, status=400
                )
        params = dict(parse_qsl(raw, keep_blank_values=True))
        self.asked.append((what, params))
        status, body = await self._answer(what, params)
        if isinstance(body, str):
            return web.Response(status=status, text=body, headers=self.headers)
        return web.json_response(body, status=status, headers=self.headers)

    async def _answer(self, what: str, params: dict[str, str]) -> Answer:
        answer = self.answers.get(
            what, (404, {"code": -1, "msg": f"nothing is scripted for {what}"})
        )
        if answer is None:
            await asyncio.sleep(60)
            return 504, ""
        return answer(params) if callable(answer) else answer

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        self.asked.append((f"CONNECT {request.path}", dict(request.query)))
        self.sockets.append(socket)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            asked = json.loads(message.data)
            params = asked.get("params") or {}
            self.asked.append((asked["method"], params))
            if "signature" in params:
                payload = "&".join(
                    f"{key}={_text(params[key])}" for key in sorted(params) if key != "signature"
                )
                wanted = hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()
                assert params["signature"] == wanted, payload
            status, body = await self._answer(asked["method"], params)
            part = {"result": body} if status == 200 else {"error": body}
            await socket.send_str(json.dumps({"id": asked["id"], "status": status, **part}))
        return socket


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@asynccontextmanager
async def scripted() -> AsyncIterator[ScriptedVenue]:
    venue = ScriptedVenue()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", venue.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    venue.url = f"http://{host}:{port}"
    try:
        yield venue
    finally:
        for socket in venue.sockets:
            await socket.close()
        await runner.cleanup()


def order_answer(instrument: Instrument, params: dict[str, str], **changes: Any) -> dict[str, Any]:
    """What Binance says of an order that was placed with these parameters."""
    body = {
        "symbol": instrument.native,
        "orderId": 4711,
        "clientOrderId": params.get("newClientOrderId") or params.get("origClientOrderId"),
        "price": params.get("price", "60000.10"),
        "origQty": params.get("quantity", "0.01000"),
        "executedQty": "0.00000",
        "status": "NEW",
        "timeInForce": params.get("timeInForce", "GTC"),
        "type": params.get("type", "LIMIT"),
        "side": params.get("side", "BUY"),
        "transactTime": 1_700_000_000_123,
        "updateTime": 1_700_000_000_123,
    }
    if instrument.market == "spot":
        body |= {"cummulativeQuoteQty": "0.0", "fills": []}
    else:
        body |= {"cumQuote": "0", "avgPrice": "0"}
    return body | changes
