"""tardis-machine's live stream: one connection, opened again whenever it is lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from mmkit.errors import FeedError
from mmkit.tape import GapReason, Row
from mmkit_tardis.machine import Machine
from mmkit_tardis.normalized import Normalized, excerpt

_log = logging.getLogger("mmkit.tardis")

_FIRST_DELAYS_S = (0.3, 0.6, 1.2, 2.4)  # of a first contact: five tries in 4.5 s
_LONGEST_DELAY_S = 30.0
_OPEN_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 0.5  # Ctrl-C is to end a run within a second
_MOST_BYTES = 2**24  # of a message; a snapshot of all levels is larger than websockets' own limit


class Stream:
    """Reads the stream for ever; what may have been missed is told at once.

    Args:
        machine: Where to.
        messages: Takes the messages in.
        silence_ns: Connect anew when nothing has arrived for so long.
    """

    def __init__(self, machine: Machine, messages: Normalized, silence_ns: int) -> None:
        self._machine, self._messages, self._silence_s = machine, messages, silence_ns / 1e9
        self._url = machine.stream_url(silence_ns)
        self._address = self._url.partition("?")[0]
        self._proven = False  # market data has been received over any connection
        self._failures = 0

    async def rows(self, now_ns: Callable[[], int]) -> AsyncIterator[list[Row]]:
        """Yield what arrives as rows.

        Args:
            now_ns: The run's clock, read when a message is received.

        Raises:
            FeedError: if the first contact fails, or a message cannot be read.
            OffGrid: if a price or amount is not on the grid.
        """
        from websockets.exceptions import ConnectionClosed

        while True:
            socket = await self._connected()
            if socket is None:
                continue
            try:
                try:
                    while True:
                        async with asyncio.timeout(self._silence_s):
                            raw = await socket.recv(decode=False)
                        # From here to the yield nothing is awaited: no timer of the run can come between.
                        if rows := self._taken(raw, now_ns()):
                            yield rows
                except TimeoutError:
                    reason, gap = f"nothing arrived for {self._silence_s:g} s", GapReason.SILENCE
                except ConnectionClosed as error:
                    closed = error.rcvd or error.sent
                    code = f"code {closed.code}" if closed else "no closing handshake"
                    words = f" {closed.reason!r}" if closed and closed.reason else ""
                    reason = f"the connection closed ({code}{words})"
                    gap = GapReason.CONNECTION
                # Told before the connection is closed, which may take a moment.
                if rows := self._messages.lost(gap, now_ns()):
                    yield rows
            finally:
                await socket.close()
            self._failures += 1
            await self._wait(reason)

    def _taken(self, raw: bytes, now: int) -> list[Row]:
        try:
            rows = self._messages.message(raw, now)
        except FeedError as error:
            raise FeedError(f"{self._address}: {error}") from error
        if rows:
            self._proven, self._failures = True, 0
        return rows

    async def _connected(self) -> Any:
        """Return an open connection; `None` if it did not come about, after waiting a while."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.version import version

        options: dict[str, Any] = {}
        if self._machine.loopback and int(version.partition(".")[0]) >= 15:
            options["proxy"] = None  # the environment's proxy cannot reach this machine's loopback
        try:
            socket = await connect(
                self._url,
                open_timeout=_OPEN_TIMEOUT_S,
                close_timeout=_CLOSE_TIMEOUT_S,
                max_size=_MOST_BYTES,
                **options,
            )
        except InvalidStatus as error:
            answer = error.response
            reason = f"HTTP {answer.status_code} with {excerpt(bytes(answer.body or b''))}"
        except (OSError, WebSocketException) as error:
            refused = isinstance(error, ConnectionRefusedError)
            reason = (
                "that nothing listens there (connection refused)"
                if refused
                else str(error) or type(error).__name__
            )
        else:
            _log.info("connected url=%s", self._address)
            return socket
        self._failures += 1
        await self._wait(reason)
        return None

    async def _wait(self, reason: str) -> None:
        """Wait before the next try.

        Raises:
            FeedError: if there has never been a message, and no hope of one.
        """
        if not self._proven and self._failures > len(_FIRST_DELAYS_S):
            raise FeedError(
                f"{self._address}: market data of '{self._machine.exchange}' '{self._machine.symbol}' was "
                f"expected; found {reason}, {self._failures} times; {self._machine.advice}"
            )
        if self._proven:
            # Half as much again or as little, so that many clients do not come back at once.
            longest = min(_LONGEST_DELAY_S, 0.25 * 2.0 ** min(self._failures, 10))
            delay = longest * random.uniform(0.5, 1.5)  # noqa: S311 - no secret depends on it
        else:
            delay = _FIRST_DELAYS_S[min(self._failures, len(_FIRST_DELAYS_S)) - 1]
        _log.warning("reconnecting try=%d wait_s=%.1f reason=%s", self._failures, delay, reason)
        await asyncio.sleep(delay)
