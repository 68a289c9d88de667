"""The sockets of the private side: signed REST, WebSocket APIs and private streams. A thin shell around a `Desk`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from mmkit_sandbox.channel import StreamKind
from mmkit_sandbox.connection import CLOSE_WITHIN_S, Connection, Speaker
from mmkit_sandbox.desk import Desk
from mmkit_sandbox.listing import COINM, SPOT, USDM
from mmkit_sandbox.pace import Pace
from mmkit_sandbox.routes import ENDPOINTS
from mmkit_sandbox.wsapi import ApiSession, PrivateStream

Serve = Callable[[Connection], Awaitable[None]]
Refuses = Callable[[web.Request, int], bool]
_SOCKETS = (("/ws-api/v3", SPOT), ("/ws-fapi/v1", USDM), ("/ws-dapi/v1", COINM))


class PrivateSide:
    """Serves a desk.

    Args:
        desk: Where requests are carried out.
        pace: The exchange's clock.
        serve: Talks to a client until either side ends it.
        refuses: Whether nobody is to be answered now.
    """

    def __init__(self, desk: Desk, pace: Pace, serve: Serve, refuses: Refuses) -> None:
        self.desk, self._pace, self._serve, self._refuses = desk, pace, serve, refuses
        self._listening: dict[Connection, ApiSession | PrivateStream] = {}

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add what Binance has private addresses for; before the public ones, which take the rest."""
        for method, path in ENDPOINTS:
            router.add_route(method, path, self._rest)
        router.add_get("/sandbox/ledger", self._tell_ledger)
        for path, market in _SOCKETS:
            router.add_get(path, self._api(market))
        router.add_get("/fstream/private/ws", self._stream(USDM))
        router.add_get("/fstream/private/ws/{key}", self._stream(USDM))
        router.add_get("/fstream/private/stream", self._stream(USDM, combined=True))
        # As it was before the routes, and as some clients still do; COIN-M has none.
        router.add_get("/fstream/ws/{key:[0-9a-f]{64}}", self._stream(USDM))
        router.add_get("/dstream/ws/{key:[0-9a-f]{64}}", self._stream(COINM))

    def flush(self) -> None:
        """Tell those who listen what has happened to their accounts."""
        now_ns = self._pace.now_ns()
        for key, market, event in self.desk.take():
            data = msgspec.json.encode(event)
            for connection, session in self._listening.items():
                for name in session.told(key, market):
                    self._tell(connection, session.envelope(name, data), now_ns)
        for key, name in self.desk.listen_keys.expire(now_ns):
            for connection, session in self._listening.items():
                if isinstance(session, PrivateStream) and session.listen_key == name:
                    ended = {"e": "listenKeyExpired", "E": now_ns // 1_000_000, "listenKey": name}
                    connection.put(session.envelope(key, msgspec.json.encode(ended)))

    def _tell(self, connection: Connection, data: bytes, now_ns: int) -> None:
        trouble = self.desk.trouble
        if trouble is None:
            connection.put(data)
            return
        for one in trouble.pass_on(connection, StreamKind.USER, data, now_ns):
            connection.put(one)

    async def _rest(self, request: web.Request) -> web.Response:
        try:
            body = await request.text()
        except ConnectionResetError:
            return web.Response()  # to nobody: the client has gone in the middle of its request
        now_ns = self._pace.now_ns()
        if self._refuses(request, now_ns):
            return web.Response()  # to nobody: the connection is gone
        # As it was sent: the signature is of that, not of what it means.
        query = request.raw_path.partition("?")[2]
        key = request.headers.get("X-MBX-APIKEY")
        reply, headers = self.desk.rest(request.method, request.path, key, query, body, now_ns)
        self.flush()
        if reply is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if reply.retry_after_s is not None:
            headers["Retry-After"] = str(reply.retry_after_s)
        return web.Response(
            body=reply.body, status=reply.status, content_type=reply.content_type, headers=headers
        )

    async def _tell_ledger(self, request: web.Request) -> web.Response:
        """Answer with all that is known of an account; no part of Binance's protocol."""
        keys = list(self.desk.accounts.by_key)
        key = request.query.get("key", keys[0] if len(keys) == 1 else "")
        found = self.desk.ledger(key)
        if found is None:
            words = f"key=K of one of the {len(keys)} accounts was expected, found {key!r}"
            return web.json_response({"code": -1100, "msg": words}, status=400)
        return web.Response(body=msgspec.json.encode(found), content_type="application/json")

    def _api(self, market: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            session = ApiSession(market, self.desk, self._pace.now_ns, self.flush)
            return await self._talk(request, session)

        return handle

    def _stream(
        self, market: str, combined: bool = False
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            name = request.match_info.get("key", "")
            if not name or name.isdecimal():  # ccxt numbers its connections
                name = request.query.get("listenKey", request.query.get("streams", ""))
            session = PrivateStream(name, self.desk, self._pace.now_ns, combined, market)
            return await self._talk(request, session)

        return handle

    async def _talk(
        self, request: web.Request, session: ApiSession | PrivateStream
    ) -> web.StreamResponse:
        if self._refuses(request, self._pace.now_ns()):
            return web.Response()
        response = web.WebSocketResponse(autoping=False, compress=False, timeout=CLOSE_WITHIN_S)
        if not response.can_prepare(request):
            return web.json_response(
                {"code": -5000, "msg": f"{request.path} is a WebSocket address"}, status=400
            )
        await response.prepare(request)
        speaker: Speaker = session
        connection = Connection(speaker, response, request.transport)
        self._listening[connection] = session
        try:
            await self._serve(connection)
        finally:
            del self._listening[connection]
        return response
