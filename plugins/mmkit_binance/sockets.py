"""One connection to the streams: opened again whenever it is lost, and replaced before it is."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple

from mmkit.errors import FeedError
from mmkit_binance.endpoints import Addresses, Limits, Route
from mmkit_binance.handover import Handover
from mmkit_binance.line import Closed, Line, NotOpened
from mmkit_binance.order import stream_of
from mmkit_binance.rest import FIRST_CONTACT_S, FIRST_DELAYS_S

_log = logging.getLogger("mmkit.binance")

_LONGEST_DELAY_S = 30.0
_SOON_S = 1.0  # until the next try to leave a server that shuts down
_PROVEN_AFTER_S = 5.0  # open for so long without a message is a quiet market, not a wrong address


class What(Enum):
    """What a connection has to tell."""

    OPENED = "opened"
    MESSAGE = "message"
    LOST = "lost"
    FAILED = "failed"
    SNAPSHOT = "snapshot"
    SILENCE = "silence"
    STALLED = "stalled"
    """A stream says nothing although another proves that it should; `Item.content` says which. Without a
    route its connection is left as it is."""
    OVERRUN = "overrun"
    """So much waited to be taken that messages were thrown away."""
    UNHEARD = "unheard"
    """A stream has said nothing yet, which may be right; `Item.content` is `Unheard`."""
    NEVER = "never"
    """A stream that should have spoken by now never has, or was refused; `Item.content` is the error."""


class Item(NamedTuple):
    """One thing that happened: `what`, on which route, the message or error, and the message's stream."""

    what: What
    route: Route | None = None
    content: Any = None
    stream: str = ""


class Unheard(NamedTuple):
    """For how long a stream has been asked for and has said nothing, and the error that is if it is not right."""

    seconds: float
    error: FeedError


class Connection:
    """Reads its streams for ever and tells what happens there, in order.

    Before its `lifetime_s` is over, and when the server says that it shuts down, it is replaced: the new
    socket is open and delivers before the old one goes, and of what both have said each message is told
    once, in order. Nothing of this is told. Only if the old one ends before that is it a loss.

    Args:
        route: Where to, and the first streams.
        addresses: For what to advise when it cannot be reached.
        tell: Takes what happens; awaited, so that a full queue slows the reading.
        hand_on: Takes a message at once if it can; returns whether it has.
        limits: The venue's.
        lifetime_s: How long a socket is used.
    """

    def __init__(
        self,
        route: Route,
        addresses: Addresses,
        tell: Callable[[Item], Awaitable[None]],
        hand_on: Callable[[Item], bool],
        limits: Limits,
        lifetime_s: float,
    ) -> None:
        self.route, self._addresses, self._tell, self._hand_on = route, addresses, tell, hand_on
        self._limits, self._lifetime_s = limits, lifetime_s
        self._line: Line | None = None
        self._handover: Handover | None = None
        self._last: dict[str, bytes] = {}  # the last message of each stream
        self._timer: asyncio.TimerHandle | None = None
        self._proven = False
        self._failures = 0
        self._dropped = False
        self.renewed = 0
        """Times that it was replaced without a loss."""

    @property
    def open(self) -> bool:
        """Whether there is a socket."""
        return self._line is not None

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
                    f"{self.route.shown}: a stream of market data was expected; found {reason}, "
                    f"{_times(self._failures)}; {self._addresses.advice}"
                )
                await self._tell(Item(What.FAILED, self.route, found))
                return
            delay = self._delay()
            _log.warning(
                "reconnecting route=%s try=%d wait_s=%.1f reason=%s",
                self.route.name,
                self._failures,
                delay,
                reason,
            )
            await asyncio.sleep(delay)

    async def drop(self) -> None:
        """Close the connection; `run` opens another."""
        if self._line is not None:
            self._dropped = True
            await self._line.close()

    def renew(self, reason: str) -> None:
        """Begin to replace the socket, unless that is under way."""
        if self._line is None or self._handover is not None:
            return
        _log.info("renewing route=%s reason=%s", self.route.name, reason)
        self._handover = Handover(self.route, self._addresses, self._limits, self._line)
        for raw in self._last.values():
            self._handover.said(raw)
        self._handover.start(self._give_up)

    async def subscribe(self, names: Sequence[str]) -> None:
        """Ask for more streams, on every socket there is and will be.

        Raises:
            FeedError: if the venue refuses them.
        """
        new = [name for name in names if name not in self.route.streams]
        self.route = self.route._replace(streams=(*self.route.streams, *new))
        await self._ask("SUBSCRIBE", new)

    async def unsubscribe(self, names: Sequence[str]) -> None:
        """Ask for streams no more.

        Raises:
            FeedError: if the venue refuses.
        """
        left = tuple(name for name in self.route.streams if name not in names)
        self.route = self.route._replace(streams=left)
        for name in names:
            self._last.pop(name, None)
        await self._ask("UNSUBSCRIBE", names)

    async def _ask(self, method: str, names: Sequence[str]) -> None:
        if self._handover is not None:
            # The new socket was opened with the streams of before: another will be.
            await self._stop_handover()
            self._later(0.0)
        try:
            if self._line is not None and names:
                await self._line.ask(method, names)
        except Closed:
            pass  # the next socket is opened with them

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
        try:
            line = await Line.open(self.route, self._addresses, self._limits)
        except NotOpened as error:
            self._failures += 1
            return str(error)
        opened = asyncio.get_running_loop().time()
        await self._tell(Item(What.OPENED, self.route))
        try:
            while True:
                reason = await self._read(line)
                successor = await self._take_over()
                if successor is None:
                    break
                line = successor
        finally:
            self._line = None
            if self._timer is not None:
                self._timer.cancel()
            await self._stop_handover()
            await line.close()
        if not self._proven and asyncio.get_running_loop().time() - opened >= _PROVEN_AFTER_S:
            self._proven = True
        # A server that goes, as it said it would, is no failure of the address.
        if not line.leaving:
            self._failures += 1
        self._last.clear()
        await self._tell(Item(What.LOST, self.route, reason))
        return reason

    async def _read(self, line: Line) -> str:
        """Read one socket to its end; return why it ended."""
        self._line = line
        self._dropped = False
        self._later(self._lifetime_s)
        # What its address could not hold, and what was asked for, or no more, while it was opened.
        rest = [name for name in self.route.streams if name not in line.names]
        gone = [name for name in line.names if name not in self.route.streams]
        asking = None
        if rest or gone:
            asking = asyncio.ensure_future(self._ask_for(line, rest, gone))
        tell, route, last = self._tell, self.route, self._last
        line.offer(self._at_once)
        try:
            while True:
                raw = await line.read()
                self._proven, self._failures = True, 0
                if not raw:
                    self.renew("the server says that it shuts down")
                    continue
                if self._handover is not None:
                    self._handover.said(raw)
                stream = stream_of(raw)
                last[stream] = raw
                await tell(Item(What.MESSAGE, route, raw, stream))
        except Closed as error:
            return str(error)
        finally:
            line.offer(None)
            if asking is not None:
                asking.cancel()

    def _at_once(self, raw: bytes) -> bool:
        """Tell a message that nothing stands before, without a turn of the loop; return False if it has to be read."""
        if self._handover is not None:
            return False
        stream = stream_of(raw)
        if not self._hand_on(Item(What.MESSAGE, self.route, raw, stream)):
            return False
        self._proven, self._failures = True, 0
        self._last[stream] = raw
        return True

    async def _ask_for(self, line: Line, names: Sequence[str], gone: Sequence[str]) -> None:
        """Subscribe to what a socket lacks, and unsubscribe; tell if the venue refuses."""
        try:
            await line.ask("UNSUBSCRIBE", gone)
            await line.ask("SUBSCRIBE", names)
        except Closed:
            pass  # told by whoever reads it
        except FeedError as error:
            await self._tell(Item(What.NEVER, self.route, error))

    async def _take_over(self) -> Line | None:
        """Go on with the new socket if nothing was lost between the two; tell what is new."""
        handover, self._handover = self._handover, None
        if handover is None:
            return None
        successor = await handover.finish()
        if self._dropped or successor is None:
            if successor is not None:
                await successor.close()
            return None
        news = handover.seam.news()
        _log.info(
            "renewed route=%s repeated=%d new=%d",
            self.route.name,
            handover.seam.repeated,
            len(news),
        )
        self.renewed += 1
        for raw in news:
            stream = stream_of(raw)
            self._last[stream] = raw
            await self._tell(Item(What.MESSAGE, self.route, raw, stream))
        return successor

    def _give_up(self, reason: str) -> None:
        """Keep the old socket for now: no new one could take its place."""
        _log.warning("not renewed route=%s reason=%s", self.route.name, reason)
        self._handover = None
        leaving = self._line is not None and self._line.leaving
        self._later(_SOON_S if leaving else min(self._lifetime_s, _LONGEST_DELAY_S))

    async def _stop_handover(self) -> None:
        handover, self._handover = self._handover, None
        if handover is not None:
            await handover.stop()

    def _later(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay_s, self.renew, "it has been open for long enough")


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
