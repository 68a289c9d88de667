"""One connection to the streams, opened again whenever it is lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, NamedTuple

from mmkit.errors import FeedError
from mmkit_binance.endpoints import Addresses, Route
from mmkit_binance.messages import excerpt
from mmkit_binance.rest import FIRST_CONTACT_S, FIRST_DELAYS_S

_log = logging.getLogger("mmkit.binance")

_LONGEST_DELAY_S = 30.0
_PROVEN_AFTER_S = 5.0  # open for so long without a message is a quiet market, not a wrong address
_OPEN_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 0.5  # Ctrl-C is to end a run within a second
_MOST_BYTES = 2**24  # a message; websockets' own limit of 1 MiB is less than a large snapshot


class What(Enum):
    """What a connection has to tell."""

    OPENED = "opened"
    MESSAGE = "message"
    LOST = "lost"
    FAILED = "failed"
    SNAPSHOT = "snapshot"
    SILENCE = "silence"


class Item(NamedTuple):
    """One thing that happened: `what`, on which route, and the message or error."""

    what: What
    route: Route | None = None
    content: Any = None


class Connection:
    """Reads one route for ever and tells what happens there, in order.

    Args:
        route: Where to.
        addresses: For what to advise when it cannot be reached.
        tell: Takes what happens; awaited, so that a full queue slows the reading.
    """

    def __init__(
        self, route: Route, addresses: Addresses, tell: Callable[[Item], Awaitable[None]]
    ) -> None:
        self._route, self._addresses, self._tell = route, addresses, tell
        self._socket: Any = None
        self._proven = False
        self._failures = 0

    async def run(self) -> None:
        """Read; return only after telling `What.FAILED`."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            reason = await self._connect_and_read()
            tried = loop.time() - begun
            if not self._proven and (
                self._failures > len(FIRST_DELAYS_S) or tried > FIRST_CONTACT_S
            ):
                found = FeedError(
                    f"{self._route.url}: a stream of market data was expected; found {reason}, "
                    f"{_times(self._failures)}; {self._addresses.advice}"
                )
                await self._tell(Item(What.FAILED, self._route, found))
                return
            delay = self._delay()
            _log.warning(
                "reconnecting route=%s try=%d wait_s=%.1f reason=%s",
                self._route.name,
                self._failures,
                delay,
                reason,
            )
            await asyncio.sleep(delay)

    async def drop(self) -> None:
        """Close the connection; `run` opens another."""
        if self._socket is not None:
            await self._socket.close()

    def _delay(self) -> float:
        if not self._failures:
            return 0.0
        if not self._proven:
            return FIRST_DELAYS_S[min(self._failures, len(FIRST_DELAYS_S)) - 1]
        # Half as much again or as little, so that many clients do not come back at once.
        longest = min(_LONGEST_DELAY_S, 0.25 * 2.0 ** min(self._failures, 10))
        return longest * random.uniform(0.5, 1.5)  # noqa: S311 - no secret depends on it

    async def _connect_and_read(self) -> str:
        """Return why the connection ended or did not come about."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
        from websockets.version import version

        options: dict[str, Any] = {}
        if self._addresses.loopback and int(version.partition(".")[0]) >= 15:
            options["proxy"] = None  # the environment's proxy cannot reach this machine's loopback
        try:
            socket = await connect(
                self._route.url,
                open_timeout=_OPEN_TIMEOUT_S,
                max_size=_MOST_BYTES,
                close_timeout=_CLOSE_TIMEOUT_S,
                **options,
            )
        except InvalidStatus as error:
            self._failures += 1
            answer = error.response
            return f"HTTP {answer.status_code} with {excerpt(answer.body or b'')}"
        except (OSError, WebSocketException) as error:
            self._failures += 1
            if isinstance(error, ConnectionRefusedError):
                return "that nothing listens there (connection refused)"
            return str(error) or type(error).__name__
        self._socket = socket
        loop = asyncio.get_running_loop()
        opened = loop.time()
        await self._tell(Item(What.OPENED, self._route))
        reason = ""
        try:
            while True:
                raw = await socket.recv(decode=False)
                self._proven, self._failures = True, 0
                if b'"serverShutdown"' in raw:
                    reason = "the server says that it shuts down"
                    break
                await self._tell(Item(What.MESSAGE, self._route, raw))
        except ConnectionClosed as error:
            closed = error.rcvd or error.sent
            code = f"code {closed.code}" if closed else "no closing handshake"
            words = f" {closed.reason!r}" if closed and closed.reason else ""
            reason = f"the connection closed ({code}{words})"
            if not self._proven and loop.time() - opened >= _PROVEN_AFTER_S:
                self._proven = True
            self._failures += 1
        finally:
            self._socket = None
            await socket.close()
        await self._tell(Item(What.LOST, self._route, reason))
        return reason


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
