"""The sockets: one port for REST and WebSocket, spot, USD-M and COIN-M. A thin shell around an `Exchange`."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import WSCloseCode, web

from mmkit.errors import VenueError
from mmkit_sandbox import rest
from mmkit_sandbox.channel import Channel, Route
from mmkit_sandbox.connection import CLOSE_WITHIN_S, Connection
from mmkit_sandbox.desk import Desk
from mmkit_sandbox.exchange import Exchange, Message
from mmkit_sandbox.faults import CLOSES, Fault, FaultKind
from mmkit_sandbox.limits import Limits
from mmkit_sandbox.listing import COINM, SPOT, USDM
from mmkit_sandbox.pace import Pace
from mmkit_sandbox.payload import in_microseconds
from mmkit_sandbox.private import PrivateSide
from mmkit_sandbox.session import MAX_STREAMS, Session
from mmkit_sandbox.trouble import Reply, Trouble

_log = logging.getLogger(__name__)

_SLICE_S = 0.01  # how often the exchange is advanced: well below the shortest depth interval
_STEP_NS = 50_000_000  # the most that is simulated without letting others run
_BACKLOG_WAIT = 1 << 20  # unsent bytes of one client above which a replay waits for it
_BACKLOG_MAX = 32 << 20  # unsent bytes of one client above which it is cut off
SHUTDOWN_AFTER_S = 1.0
"""Between ``serverShutdown`` and the end of a connection."""
_STALLED_S = 30.0  # how long a replay waits for a client that takes nothing


class SandboxServer:
    """Serves an exchange on one address.

    Args:
        exchange: What stands behind.
        pace: Its clock.
        host: The address to listen on.
        port: The port to listen on; 0 for any that is free.
        patient: Whether time waits for slow clients (a replay) or passes over them (a market).
        trouble: What goes wrong; `None` for nothing.
        desk: The private side; `None` for public data only.
    """

    def __init__(
        self,
        exchange: Exchange,
        pace: Pace,
        host: str,
        port: int,
        patient: bool = False,
        trouble: Trouble | None = None,
        desk: Desk | None = None,
    ) -> None:
        self._private = (
            None if desk is None else PrivateSide(desk, pace, self._serve, self._refuses)
        )
        self._exchange, self._pace, self._host, self._port = exchange, pace, host, port
        self._patient, self._trouble = patient, trouble
        self._told = 0  # faults that the log knows of
        self._site: web.SockSite | None = None
        self._connections: set[Connection] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._subscribers: dict[Channel, list[tuple[Connection, str]]] = {}
        self._runner: web.AppRunner | None = None
        self._pump: asyncio.Task[None] | None = None
        self._limits = Limits() if desk is None else desk.limits
        self.url = ""
        """The address clients use, such as ``http://127.0.0.1:8787``, once started."""

    async def start(self) -> str:
        """Listen; return `url`.

        Raises:
            VenueError: if the port is in use or the address is not ours.
        """
        listener = self._listen()
        self._runner = web.AppRunner(
            self._application(), access_log=None, shutdown_timeout=CLOSE_WITHIN_S
        )
        await self._runner.setup()
        self._site = web.SockSite(self._runner, listener)
        await self._site.start()
        self._port = listener.getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{host}:{self._port}"
        self._pump = asyncio.create_task(self._run())
        self._pump.add_done_callback(_tell_failure)
        return self.url

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        for connection in self._connections:
            connection.end(WSCloseCode.GOING_AWAY, "Server shutdown")
        if self._serving:
            await asyncio.wait(self._serving, timeout=CLOSE_WITHIN_S + 0.1)
        if self._runner is not None:
            await self._runner.cleanup()

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._host, self._port))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                problem = f"port {self._port} is in use on {self._host}"
            else:
                problem = f"cannot listen on {self._host}:{self._port}: {error.strerror or error}"
            raise VenueError(
                f"the sandbox cannot start: {problem}; choose another port with '--port 8788' "
                "('port: 8788' in the config file), or 0 for any that is free"
            ) from error
        listener.setblocking(False)
        return listener

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/sandbox/truth", self._tell_truth)
        application.router.add_get("/sandbox/faults", self._tell_faults)
        if self._private is not None:
            self._private.add_routes(application.router)
        for prefix, market in (("/api/v3", SPOT), ("/fapi/v1", USDM), ("/dapi/v1", COINM)):
            application.router.add_route("*", prefix + "/{name:.+}", self._rest(market))
        for prefix, route in (
            ("/fstream/public", Route.USDM_PUBLIC),
            ("/fstream/market", Route.USDM_MARKET),
            ("/fstream/private", Route.USDM_PRIVATE),
            ("/fstream", Route.USDM_LEGACY),
            ("/dstream", Route.COINM),
            ("", Route.SPOT),
            ("/stream", Route.SPOT),  # ccxt tells spot from USD-M by this part of the address
        ):
            raw = self._websocket(route, combined=False)
            application.router.add_get(prefix + "/ws", raw)
            application.router.add_get(prefix + "/ws/{streams:.*}", raw)
            application.router.add_get(prefix + "/stream", self._websocket(route, combined=True))
        application.router.add_route("*", "/{path:.*}", self._not_found)
        return application

    # --- REST ------------------------------------------------------------------------------------

    def _rest(self, market: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            name = request.match_info["name"]
            if request.method != "GET":
                return await self._not_found(request)
            if name == "time":
                self._pace.release()
            now_ns = self._pace.now_ns()
            trouble, exchange = self._trouble, self._exchange
            if trouble is not None:
                if self._refuses(request, now_ns):
                    return web.Response()  # to nobody: the connection is gone
                exchange = trouble.book(exchange, now_ns, name)
            query = rest.Request(exchange, market, request.query, now_ns // 1_000_000)
            answer = rest.answer(query, name)
            body = answer.body
            if (
                market == SPOT
                and request.headers.get("X-MBX-TIME-UNIT", "").upper() == "MICROSECOND"
            ):
                body = in_microseconds(body)
            reply = Reply(answer.status, body)
            if trouble is not None:
                reply = trouble.answer(reply, now_ns, name)
            self._limits.count(market, answer.weight, now_ns)
            return _response(reply, self._limits.headers(market, None, now_ns))

        return handle

    def _refuses(self, request: web.Request, now_ns: int) -> bool:
        """Whether nobody is to be answered now; if so, cut the connection that is still open."""
        if self._trouble is None or now_ns >= self._trouble.down_until:
            return False
        if request.transport is not None:
            request.transport.abort()
        return True

    async def _tell_truth(self, request: web.Request) -> web.Response:
        """Answer with the exchange's whole book, now or at ``updateId``; no part of Binance's protocol."""
        listing = self._exchange.listing(
            request.query.get("market", ""), request.query.get("symbol", "")
        )
        update_id = request.query.get("updateId")
        if listing is None or (update_id is not None and not update_id.isdecimal()):
            words = (
                "market=spot|usdm|coinm, symbol=BTCUSDT and, if wanted, updateId=N were expected"
            )
            return web.json_response({"code": -1100, "msg": words}, status=400)
        found = (
            self._exchange.depth(listing, 10**6)
            if update_id is None
            else self._exchange.depth_at(listing, int(update_id))
        )
        if found is None:
            words = f"the book of {listing.symbol} at {update_id or 'this time'} is not remembered"
            return web.json_response({"code": -1000, "msg": words}, status=404)
        book = {"lastUpdateId": found.last_update_id, "T": found.ts_ms}
        return web.json_response(book | {"bids": found.bids, "asks": found.asks})

    async def _tell_faults(self, request: web.Request) -> web.Response:
        """Answer with what has gone wrong so far; no part of Binance's protocol."""
        happened = () if self._trouble is None else self._trouble.happened
        return web.json_response(
            [
                {"time": one.at_ns // 1_000_000, "fault": str(one.fault), "what": one.what}
                for one in happened
            ]
        )

    async def _not_found(self, request: web.Request) -> web.Response:
        message = f"Path {request.path}, Method {request.method} is invalid"
        return web.json_response({"code": -5000, "msg": message}, status=404)

    # --- WebSocket -------------------------------------------------------------------------------

    def _websocket(
        self, route: Route, combined: bool
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if self._refuses(request, self._pace.now_ns()):
                return web.Response()
            text = request.query.get("streams", "") if combined else ""
            text = text or request.match_info.get("streams", "")
            # ccxt numbers its connections: /ws/0, /ws/1; no stream is called like that.
            names = [name for name in text.split("/") if name and not name.isdecimal()]
            if len(names) > MAX_STREAMS:
                return web.json_response(
                    {"code": 2, "msg": f"Invalid request: more than {MAX_STREAMS} streams"},
                    status=400,
                )
            response = web.WebSocketResponse(autoping=False, compress=False, timeout=CLOSE_WITHIN_S)
            if not response.can_prepare(request):
                return web.json_response(
                    {"code": -5000, "msg": f"{request.path} is a WebSocket address"}, status=400
                )
            await response.prepare(request)
            unit = request.query.get("timeUnit", "").upper()
            session = Session(
                route, combined, names, micro=route is Route.SPOT and unit == "MICROSECOND"
            )
            await self._serve(Connection(session, response, request.transport))
            return response

        return handle

    async def _serve(self, connection: Connection) -> None:
        serving = asyncio.current_task()
        assert serving is not None  # this is a coroutine
        self._serving.add(serving)
        self._connections.add(connection)
        self._index()
        try:
            # A reply is put before the first message of what it acknowledges.
            await connection.run(self._index)
        finally:
            self._connections.discard(connection)
            if self._trouble is not None:
                self._trouble.forget(connection)
            self._index()
        await connection.say_farewell()
        self._serving.discard(serving)

    def announce_shutdown(self, close_after_s: float) -> None:
        """Tell the clients there are that the server shuts down, and end their connections after so long.

        Others may connect meanwhile, as to Binance's other servers behind the same address.
        """
        self._announce(self._connections, close_after_s)

    def _announce(self, connections: Iterable[Connection], close_after_s: float) -> None:
        loop = asyncio.get_running_loop()
        for connection in connections:
            connection.put(connection.session.shutdown(self._pace.now_ns() // 1_000_000))
            loop.call_later(
                close_after_s, connection.end, WSCloseCode.GOING_AWAY, "Server shutdown"
            )

    def _index(self) -> None:
        """Work out who gets which channel."""
        subscribers: dict[Channel, list[tuple[Connection, str]]] = {}
        for connection in self._connections:
            for name, channel in connection.session.subscriptions.items():
                if channel is not None:
                    subscribers.setdefault(channel, []).append((connection, name))
        self._subscribers = subscribers
        if subscribers:
            self._pace.release()

    # --- time ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        reached = self._pace.now_ns()
        step = round(_STEP_NS * self._pace.speed)
        while True:
            pause_ends = self._exchange.pause_until(reached)
            if pause_ends is not None:
                self._pace.set(pause_ends)
            now = self._pace.now_ns()
            if self._trouble is not None:
                await self._cause(self._trouble, reached)
            # Wake-ups come late in a busy process; what was missed is made up in small steps.
            until = min(now, reached + step) if pause_ends is None else now
            self._publish(self._advance(until))
            reached = until
            if self._patient and await self._wait_for_the_slowest():
                self._pace.set(reached)
            await asyncio.sleep(_SLICE_S if until == now else 0)

    def _advance(self, until_ns: int) -> list[Message]:
        if self._private is None:
            return self._exchange.advance(until_ns, self._subscribers)
        messages = self._private.desk.accounts.advance(until_ns, self._subscribers)
        self._private.flush()
        return messages

    async def _wait_for_the_slowest(self) -> bool:
        """Return when nobody is far behind, and whether that took any waiting."""
        waited, deadline = False, time.monotonic() + _STALLED_S
        while slow := [one for one in self._connections if one.backlog > _BACKLOG_WAIT]:
            waited = True
            if time.monotonic() > deadline:
                for connection in slow:
                    self._cut_off(connection)
            await asyncio.sleep(_SLICE_S / 2)
        return waited

    def _publish(self, messages: list[Message]) -> None:
        trouble, now_ns = self._trouble, self._pace.now_ns()
        for channel, data in messages:
            for connection, name in self._subscribers.get(channel, ()):
                sent = connection.session.envelope(name, data)
                if trouble is None:
                    connection.put(sent)
                else:
                    for one in trouble.pass_on(connection, channel.kind, sent, now_ns):
                        connection.put(one)
        if messages and not self._patient:
            for connection in list(self._connections):
                if connection.backlog > _BACKLOG_MAX:
                    self._cut_off(connection)

    # --- what goes wrong -------------------------------------------------------------------------

    async def _cause(self, trouble: Trouble, now_ns: int) -> None:
        """Let begin what goes wrong by now, and end what has lasted long enough."""
        for fault in trouble.advance(now_ns):
            await self._carry_out(fault)
        for connection in list(self._connections):
            for data in trouble.release(connection, now_ns):
                connection.put(data)
        if self._site is None and now_ns >= trouble.down_until:
            assert self._runner is not None  # it has been started
            self._site = web.SockSite(self._runner, self._listen())
            await self._site.start()
        count = trouble.count
        for one in list(trouble.happened)[-(count - self._told) :] if count > self._told else ():
            _log.warning("fault %s what='%s'", one.fault, one.what)
        self._told = count

    async def _carry_out(self, fault: Fault) -> None:
        hit = [one for one in self._connections if one.carries(fault)] or list(self._connections)
        if fault.kind in CLOSES:
            for connection in hit:
                if fault.kind is FaultKind.CLOSE_1006:
                    connection.abort()
                else:
                    connection.end(CLOSES[fault.kind], "")
            self._index()
        elif fault.kind is FaultKind.HALF_OPEN:
            for connection in hit:
                connection.freeze()
        elif fault.kind is FaultKind.SHUTDOWN:
            self._announce(hit, SHUTDOWN_AFTER_S)
        else:
            if self._site is not None:  # nobody can connect
                await self._site.stop()
                self._site = None
            if fault.kind is FaultKind.RESTART:
                for connection in list(self._connections):
                    connection.abort()
                self._index()
                if self._private is None:
                    self._exchange.restart()
                else:
                    self._private.desk.accounts.restart()

    def _cut_off(self, connection: Connection) -> None:
        _log.warning(
            "client cut off: it does not read; route=%s unsent_bytes=%d",
            connection.session.name,
            connection.backlog,
        )
        connection.abort()
        self._index()


def _response(reply: Reply, headers: dict[str, str]) -> web.Response:
    if reply.retry_after_s is not None:
        headers["Retry-After"] = str(reply.retry_after_s)
    return web.Response(
        body=reply.body, status=reply.status, content_type=reply.content_type, headers=headers
    )


def _tell_failure(pump: asyncio.Task[None]) -> None:
    """Log why the exchange's time stands still, should that ever be: REST goes on answering."""
    if not pump.cancelled() and (error := pump.exception()) is not None:
        _log.error("the exchange has stopped", exc_info=error)
