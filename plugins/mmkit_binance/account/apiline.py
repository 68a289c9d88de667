"""One connection to Binance's WebSocket API: requests and their answers, and on spot the user stream.

Source: Binance Spot API docs of 2026-07-21, "web-socket-api.md", "Request format" and "Response format"; events of a
user stream come in an envelope with their subscription.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from mmkit.accounts import FateUnknown
from mmkit_binance.account.answer import Answer, Limit, used
from mmkit_binance.account.places import Places

_OPEN_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 0.5  # Ctrl-C is to end a run within a second
_PING_S = 10.0
_PONG_WITHIN_S = 20.0
_MOST_BYTES = 2**24


class _Reply(msgspec.Struct):
    identity: int | None = msgspec.field(default=None, name="id")
    status: int = 0
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    limits: list[Limit] = msgspec.field(default_factory=list, name="rateLimits")
    event: msgspec.Raw = msgspec.Raw()


# The library's debug lines hold every frame, with key and signature, and addresses with listen keys.
_library_log = logging.getLogger("mmkit.binance.library")
_library_log.setLevel(logging.WARNING)
_reply = msgspec.json.Decoder(_Reply)
_encode = msgspec.json.Encoder().encode


async def connect(url: str, places: Places) -> Any:
    """Return an open socket.

    Raises:
        FateUnknown: if it does not come about; the address, which may hold a listen key, is not told.
    """
    from websockets.asyncio.client import connect as opened
    from websockets.exceptions import InvalidStatus, WebSocketException

    options: dict[str, Any] = {"proxy": None} if places.loopback else {}
    failure = ""
    try:
        return await opened(
            url,
            compression=None,  # an order is short, and the time it takes is what counts
            open_timeout=_OPEN_TIMEOUT_S,
            close_timeout=_CLOSE_TIMEOUT_S,
            ping_interval=_PING_S,
            ping_timeout=_PONG_WITHIN_S,
            max_size=_MOST_BYTES,
            logger=_library_log,
            **options,
        )
    except InvalidStatus as error:
        failure = f"HTTP {error.response.status_code}"
    except (OSError, WebSocketException) as error:
        failure = type(error).__name__
    raise FateUnknown(
        f"{url.partition('?')[0]}: a connection was expected; found {failure}; {places.advice}"
    )


class ApiLine:
    """An open connection.

    Args:
        socket: As `connect` returns it.
        told: Given each event of the user stream, as JSON.
        ended: Given, once, in words how the connection ended.
    """

    def __init__(
        self, socket: Any, told: Callable[[msgspec.Raw], None], ended: Callable[[str], None]
    ) -> None:
        self._socket, self._told, self._ended = socket, told, ended
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._closed = ""
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @property
    def open(self) -> bool:
        """Whether requests can be sent."""
        return not self._closed

    async def ask(self, method: str, params: dict[str, Any], within_s: float) -> Answer:
        """Send a request, once, and return its answer.

        Raises:
            FateUnknown: if none comes in time, or the connection ends first.
        """
        from websockets.exceptions import ConnectionClosed

        number = next(self._numbers)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        failure = ""
        try:
            request = _encode({"id": number, "method": method, "params": params})
            async with asyncio.timeout(within_s):
                await self._socket.send(request.decode())
                return await future
        except ConnectionClosed:
            failure = "the connection ended"
        except TimeoutError:
            failure = f"no answer within {within_s:.0f} s"
        finally:
            self._asked.pop(number, None)
            if future.done() and not future.cancelled():
                future.exception()  # it has been told
        raise FateUnknown(f"{method}: {failure}")

    async def close(self) -> None:
        """End the connection."""
        self._reading.cancel()
        await self._socket.close()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._end("the connection was closed")

    async def _read(self) -> None:
        from websockets.exceptions import ConnectionClosed

        reason = ""
        try:
            while True:
                self._take(await self._socket.recv(decode=False))
        except ConnectionClosed as error:
            closed = error.rcvd or error.sent
            reason = f"the connection closed ({f'code {closed.code}' if closed else 'no closing handshake'})"
        except (msgspec.MsgspecError, ValueError) as error:
            reason = f"a message as Binance documents it was expected; found one in which {error}"
        self._end(reason)

    def _take(self, raw: bytes) -> None:
        reply = _reply.decode(raw)
        if reply.identity is None:
            self._told(reply.event if bytes(reply.event) else msgspec.Raw(raw))
            return
        future = self._asked.get(reply.identity)
        if future is not None and not future.done():
            weight, orders = used(reply.limits)
            body = reply.result if reply.status == 200 else reply.error
            future.set_result(Answer(reply.status, body, weight, orders))

    def _end(self, reason: str) -> None:
        if self._closed:
            return
        self._closed = reason
        for future in self._asked.values():
            if not future.done():
                future.set_exception(FateUnknown(reason))
        self._ended(reason)
