"""One WebSocket client: what it has asked for, what waits for it, and Binance's limits."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from mmkit_sandbox.channel import Channel
from mmkit_sandbox.faults import Fault
from mmkit_sandbox.listing import COINM, SPOT, USDM

CLOSE_WITHIN_S = 0.2
"""How long a client may take to answer a close: one that reads no more must not hold up the end."""

# Binance Spot API, "WebSocket Limits", and USD-M and COIN-M, the same: seconds between pings, seconds to answer one.
_PING_EVERY = {SPOT: 20.0, USDM: 180.0, COINM: 180.0}
_PONG_WITHIN = {SPOT: 60.0, USDM: 600.0, COINM: 600.0}


class Speaker(Protocol):
    """What is said on a connection: streams, or a WebSocket API."""

    @property
    def market(self) -> str:
        """``spot``, ``usdm`` or ``coinm``."""

    @property
    def name(self) -> str:
        """What the log calls it."""

    @property
    def messages_per_second(self) -> int | None:
        """How many a client may send; `None` for any number."""

    @property
    def subscriptions(self) -> dict[str, Channel | None]:
        """By name; `None` for what stays silent."""

    def answer(self, text: str | bytes) -> bytes | None:
        """Carry out what a client sends; return the reply, `None` for none."""

    def envelope(self, name: str, data: bytes) -> bytes:
        """Return a payload as this connection wants it."""

    def shutdown(self, now_ms: int) -> bytes:
        """Return the notice that the server shuts down."""


class Connection:
    """One WebSocket client: its session, and what has not been sent to it yet."""

    def __init__(
        self,
        session: Speaker,
        response: web.WebSocketResponse,
        transport: asyncio.BaseTransport | None,
    ) -> None:
        self.session, self._socket, self._transport = session, response, transport
        self._outbox: deque[bytes] = deque()
        self._filled = asyncio.Event()
        self.backlog = 0
        """Bytes that have not been handed to the operating system."""
        self._last_pong = time.monotonic()
        self._ended = asyncio.Event()
        self._farewell: tuple[int, str] = (WSCloseCode.OK, "")
        self._frozen = asyncio.Event()

    def put(self, data: bytes) -> None:
        """Send `data` when its turn comes."""
        if self._frozen.is_set():
            return
        self._outbox.append(data)
        self.backlog += len(data)
        self._filled.set()

    async def run(self, changed: Callable[[], None]) -> None:
        """Talk to the client until either side ends it.

        Args:
            changed: Called after each control message, once its reply has been put.
        """
        listening = asyncio.create_task(self._listen(changed))
        ended = asyncio.create_task(self._ended.wait())
        tasks = [
            listening,
            ended,
            asyncio.create_task(self._send()),
            asyncio.create_task(self._ping()),
        ]
        try:
            frozen = asyncio.create_task(self._frozen.wait())
            tasks.append(frozen)
            waiting = [listening, ended, frozen]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self._frozen.is_set():
                # Nobody reads, answers or sends; what is put goes nowhere.
                for task in tasks:
                    if task is not ended:
                        task.cancel()
                await asyncio.wait([ended])
        finally:
            for task in tasks:
                task.cancel()
            # A sender that found the connection gone has nothing more to say.
            await asyncio.gather(*tasks, return_exceptions=True)

    async def say_farewell(self) -> None:
        """Close the connection. Only after `run`: aiohttp waits for the client's answer if nobody reads."""
        code, reason = self._farewell
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(2 * CLOSE_WITHIN_S):
                await self._socket.close(code=code, message=reason.encode())

    async def _listen(self, changed: Callable[[], None]) -> None:
        limit = self.session.messages_per_second or 0
        received: deque[float] = deque(maxlen=limit)
        message: WSMessage
        async for message in self._socket:
            now = time.monotonic()
            if limit and len(received) == limit and now - received[0] < 1:
                self.end(WSCloseCode.POLICY_VIOLATION, "Too many requests")
                return
            received.append(now)
            if message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is WSMsgType.PONG:
                self._last_pong = now
            elif message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                reply = self.session.answer(message.data)
                if reply is not None:
                    self.put(reply)
                changed()

    async def _send(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._outbox:
                data = self._outbox.popleft()
                await self._socket.send_frame(data, WSMsgType.TEXT)
                self.backlog -= len(data)

    async def _ping(self) -> None:
        market = self.session.market
        while True:
            await asyncio.sleep(_PING_EVERY[market])
            if time.monotonic() - self._last_pong > _PONG_WITHIN[market]:
                self.end(WSCloseCode.POLICY_VIOLATION, "Pong timeout")
                return
            await self._socket.ping(str(time.time_ns() // 1_000_000).encode())

    def end(self, code: int, reason: str) -> None:
        """Ask for the connection to be closed, politely."""
        self._farewell = (code, reason)
        self._ended.set()

    def freeze(self) -> None:
        """Fall silent and deaf, but keep the connection: pings and closes are not answered."""
        self._outbox.clear()
        self.backlog = 0
        if isinstance(self._transport, asyncio.Transport):
            self._transport.pause_reading()
        self._frozen.set()

    @property
    def frozen(self) -> bool:
        """Whether it has fallen silent and deaf."""
        return self._frozen.is_set()

    def carries(self, fault: Fault) -> bool:
        """Whether a stream that a fault is about has been asked for here."""
        channels = self.session.subscriptions.values()
        return any(channel is not None and fault.about(channel.kind) for channel in channels)

    def abort(self) -> None:
        """Cut the connection off; what has not been sent is lost to this client, who will notice."""
        self.session.subscriptions.clear()
        self._outbox.clear()
        self.backlog = 0
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()
        self._ended.set()
