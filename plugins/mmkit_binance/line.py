"""One open socket to the streams: what it says, and what it is asked."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from mmkit.errors import FeedError
from mmkit_binance.endpoints import Addresses, Limits, Route
from mmkit_binance.messages import excerpt
from mmkit_binance.pace import Pace, attempts

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

_log = logging.getLogger("mmkit.binance")

_OPEN_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 0.5  # Ctrl-C is to end a run within a second
_PONG_WITHIN_S = 60.0  # an answer waits behind everything that a busy run has not read yet
_MOST_BYTES = 2**24  # a message; websockets' own limit of 1 MiB is less than a large snapshot
_ANSWER_WITHIN_S = 10.0
_NAMES_AT_ONCE = 100  # in one request; the venue's own limit on its length is not documented
_SHORT = 400  # no answer or notice of the venue's is longer


class _Answer(msgspec.Struct):
    identity: int | str | None = msgspec.field(default=None, name="id")
    result: Any = None
    code: Any = None
    msg: Any = None


_answer = msgspec.json.Decoder(_Answer)


class NotOpened(Exception):  # noqa: N818 - in words, for whoever tries again
    """A connection did not come about; says why."""


class Closed(Exception):  # noqa: N818 - in words, for whoever connects anew
    """A connection has ended; says how."""


@cache
def _sockets() -> type[ClientConnection]:
    """Return a class of sockets that offer a message before they put it where `recv` finds it a turn of the loop later."""
    from websockets.asyncio.client import ClientConnection
    from websockets.frames import Frame, Opcode

    begins = (Opcode.TEXT, Opcode.BINARY)

    class Socket(ClientConnection):
        came: Callable[[bytes], bool] | None = None
        unread = 0  # messages, the one included of which only a part is there

        def process_event(self, event: Any) -> None:
            if isinstance(event, Frame) and event.opcode in begins:
                # Behind one that waits to be read nothing may overtake it.
                first = event.fin and not self.unread
                if first and self.came is not None and self.came(bytes(event.data)):
                    return
                self.unread += 1
            super().process_event(event)

    return Socket


class Line:
    """A socket that is open."""

    def __init__(self, socket: Any, route: Route, limits: Limits) -> None:
        self._socket, self._route = socket, route
        socket.came = self._came
        self._pace = Pace(limits.messages, 1.0)
        self._asked: dict[int, asyncio.Future[_Answer]] = {}
        self._numbers = itertools.count(1)
        self.names = set(route.streams[: route.held])
        """The streams that have been asked for."""
        self._offered: Callable[[bytes], bool] | None = None
        self._reading = False
        self.leaving = False
        """Whether the server has said that it shuts down."""

    @classmethod
    async def open(cls, route: Route, addresses: Addresses, limits: Limits) -> Line:
        """Connect, when the venue's limit on attempts lets us.

        Raises:
            NotOpened: if it did not come about.
        """
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.version import version

        options: dict[str, Any] = {}
        if addresses.loopback and int(version.partition(".")[0]) >= 15:
            options["proxy"] = None  # the environment's proxy cannot reach this machine's loopback
        if (waited := await attempts(route.root, limits.attempts).wait()) > 1.0:
            _log.warning("attempts to connect used up waited_s=%.1f", waited)
        try:
            socket = await connect(
                route.url,
                open_timeout=_OPEN_TIMEOUT_S,
                max_size=_MOST_BYTES,
                close_timeout=_CLOSE_TIMEOUT_S,
                ping_timeout=_PONG_WITHIN_S,
                create_connection=_sockets(),
                **options,
            )
        except InvalidStatus as error:
            answer = error.response
            words = f"HTTP {answer.status_code} with {excerpt(answer.body or b'')}"
            raise NotOpened(words) from error
        except (OSError, WebSocketException) as error:
            if isinstance(error, ConnectionRefusedError):
                words = "that nothing listens there (connection refused)"
                raise NotOpened(words) from error
            raise NotOpened(str(error) or type(error).__name__) from error
        return cls(socket, route, limits)

    def offer(self, take: Callable[[bytes], bool] | None) -> None:
        """Offer messages to `take` as soon as they are there, where none stands before them; what it takes is not read."""
        self._offered = take

    def _came(self, raw: bytes) -> bool:
        if self._offered is None or not self._reading:
            return False
        if len(raw) < _SHORT and (b'"serverShutdown"' in raw or not raw.startswith(b'{"stream"')):
            return False  # an answer, or a notice
        return self._offered(raw)

    async def read(self) -> bytes:
        """Return the next message that is no answer to a request of ours and no notice.

        Raises:
            Closed: when there are no more.
        """
        from websockets.exceptions import ConnectionClosed

        while True:
            try:
                self._reading = True
                raw: bytes = await self._socket.recv(decode=False)
                self._socket.unread -= 1
            except ConnectionClosed as error:
                closed = error.rcvd or error.sent
                code = f"code {closed.code}" if closed else "no closing handshake"
                words = f" {closed.reason!r}" if closed and closed.reason else ""
                reason = f"the connection closed ({code}{words})"
                if self.leaving:
                    reason += " after the server said that it shuts down"
                for future in self._asked.values():
                    if not future.done():
                        future.set_exception(Closed(reason))
                raise Closed(reason) from error
            finally:
                self._reading = False
            if len(raw) < _SHORT:
                # As it is raw, and as it is in the envelope.
                if b'"serverShutdown"' in raw:
                    self.leaving = True
                    return b""
                if self._asked and raw.startswith(b"{") and not raw.startswith(b'{"stream"'):
                    answer = _answer.decode(raw)
                    future = self._asked.pop(answer.identity, None)  # type: ignore[arg-type]
                    if future is not None:
                        if not future.done():
                            future.set_result(answer)
                        continue
            return raw

    async def ask(self, method: str, names: Sequence[str]) -> None:
        """Subscribe or unsubscribe, in as many requests as it takes and no faster than allowed.

        Somebody else must `read` meanwhile.

        Raises:
            FeedError: if the venue refuses, or does not answer.
            Closed: if the connection ends first.
        """
        for start in range(0, len(names), _NAMES_AT_ONCE):
            part = names[start : start + _NAMES_AT_ONCE]
            if method == "SUBSCRIBE":
                self.names.update(part)
            else:
                self.names.difference_update(part)
            await self._request(method, part)

    async def _request(self, method: str, names: Sequence[str]) -> None:
        from websockets.exceptions import ConnectionClosed

        await self._pace.wait()
        number = next(self._numbers)
        future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        request = msgspec.json.encode({"method": method, "params": names, "id": number})
        what = f"{self._route.root}: {method} of {', '.join(names[:3])}{'…' if names[3:] else ''}"
        try:
            await self._socket.send(request.decode())
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                answer = await future
        except ConnectionClosed as error:
            raise Closed(str(error)) from error
        except TimeoutError as error:
            words = f"{what}: an answer was expected; found none within {_ANSWER_WITHIN_S:.0f} s"
            raise FeedError(words) from error
        finally:
            self._asked.pop(number, None)
            if future.done() and not future.cancelled():
                future.exception()  # it has been told to `read`'s caller
        if answer.code is not None:
            found = f"code {answer.code}, {excerpt(str(answer.msg))}"
            raise FeedError(f"{what}: an acknowledgement was expected; found {found}")

    async def close(self) -> None:
        """End the connection; what it had said before can still be read."""
        await self._socket.close()
