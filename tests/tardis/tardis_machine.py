"""A server with the routes and answers of tardis-machine: HTTP, and a WebSocket one port further."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiohttp import WSMsgType, web

EXCHANGE, SYMBOL = "binance-futures", "BTCUSDT"
T = 1_709_251_200_000_000  # 2024-03-01T00:00:00Z, us


def iso(us: int) -> str:
    """A time as JavaScript writes it; with six decimals, as tardis-node does where there are any."""
    time = datetime.fromtimestamp(us // 1_000_000, UTC)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{us % 1_000_000:06d}Z"


def message(kind: str, at: int, local: int, **fields: Any) -> dict[str, Any]:
    """A normalised message, times in us since `T`."""
    return {
        "type": kind,
        "symbol": SYMBOL,
        "exchange": EXCHANGE,
        "timestamp": iso(T + at),
        "localTimestamp": iso(T + local),
        **fields,
    }


def change(at: int, local: int, bids: dict[float, float], asks: dict[float, float], snapshot: bool):
    def levels(side: dict[float, float]) -> list[dict[str, float]]:
        return [{"price": price, "amount": amount} for price, amount in side.items()]

    return message(
        "book_change", at, local, isSnapshot=snapshot, bids=levels(bids), asks=levels(asks)
    )


def disconnect(local: int) -> dict[str, Any]:
    return {"type": "disconnect", "exchange": EXCHANGE, "localTimestamp": iso(T + local)}


Session = Callable[[web.WebSocketResponse], Awaitable[None]]
"""What happens on one WebSocket connection."""


class TardisMachine:
    """Answers as told.

    Attributes:
        lines: Of the replay: messages, or raw bytes.
        answer: In place of a replay: status and text.
        breaks_off: Whether the replay ends without its end.
        sessions: What happens on each WebSocket connection, in turn; the last one again and again. A string in
            place of one is a web page.
        asked: The options of every request.
    """

    def __init__(self) -> None:
        self.lines: Sequence[dict[str, Any] | bytes] = ()
        self.answer: tuple[int, str] | None = None
        self.breaks_off = False
        self.sessions: list[Session | str] = []
        self.asked: list[dict[str, Any]] = []
        self.url = ""

    async def replay(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(json.loads(request.query["options"]))
        if self.answer is not None:
            return web.Response(status=self.answer[0], text=self.answer[1])
        response = web.StreamResponse(headers={"Content-Type": "application/x-json-stream"})
        await response.prepare(request)
        for line in self.lines:
            raw = line if isinstance(line, bytes) else json.dumps(line).encode()
            await response.write(raw + b"\n")
        if self.breaks_off:
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write_eof()
        return response

    async def stream(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(json.loads(request.query["options"]))
        session = self.sessions.pop(0) if len(self.sessions) > 1 else self.sessions[0]
        if isinstance(session, str):
            return web.Response(text=session, content_type="text/html")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await session(socket)
        return socket


@asynccontextmanager
async def running(machine: TardisMachine) -> AsyncIterator[TardisMachine]:
    """Serve it at two ports, the second one further."""
    http, ws = web.Application(), web.Application()
    http.router.add_get("/replay-normalized", machine.replay)
    ws.router.add_get("/ws-stream-normalized", machine.stream)
    runners = [web.AppRunner(app, shutdown_timeout=0.1) for app in (http, ws)]
    for runner in runners:
        await runner.setup()
    try:
        for _ in range(20):  # until two neighbouring ports are free
            site = web.TCPSite(runners[0], "127.0.0.1", 0)
            await site.start()
            port = runners[0].addresses[0][1]
            try:
                await web.TCPSite(runners[1], "127.0.0.1", port + 1).start()
                break
            except OSError:
                await site.stop()
        machine.url = f"http://127.0.0.1:{port}"
        yield machine
    finally:
        for runner in runners:
            await runner.cleanup()


def sends(*messages: dict[str, Any] | str, close: int | None = None, reason: str = "") -> Session:
    """A connection that sends, then is closed with a code, or stays open and silent."""

    async def session(socket: web.WebSocketResponse) -> None:
        for each in messages:
            await socket.send_str(each if isinstance(each, str) else json.dumps(each))
        if close is not None:
            await socket.close(code=close, message=reason.encode())
            return
        async for got in socket:
            if got.type is WSMsgType.ERROR:
                break

    return session


async def vanishes(socket: web.WebSocketResponse) -> None:
    """A connection that breaks without a word."""
    await asyncio.sleep(0.01)
    transport = socket._req.transport
    transport.abort()
