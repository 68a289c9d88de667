"""From one socket to the next without a hole: both are open for a while, and the new one waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mmkit.errors import FeedError
from mmkit_binance.endpoints import Addresses, Limits, Route
from mmkit_binance.line import Closed, Line, NotOpened
from mmkit_binance.order import Seam

OVERLAP_S = 0.5
"""How long both are open at least. What happens after the new one is subscribed to comes over it, so the
old one must only live on for longer than a message is on its way; where streams are busy, their numbers
prove it besides."""
_LONGEST_OVERLAP_S = 30.0
_MOST_KEPT = 200_000  # messages of the new socket that wait
_LOOK_S = 0.02


class Handover:
    """A new socket beside an old one.

    The old one goes on being read by whoever owns it, who tells `said` what it says. When for every
    stream the old one has come as far as the new one began, it is closed: its owner reads what is left
    of it, takes the new one from `finish` and goes on with what that has said and the old one had not
    (`Seam.news`).

    Args:
        route: Where to, and which streams.
        addresses: The venue's.
        limits: The venue's.
        old: The socket that goes.
    """

    def __init__(self, route: Route, addresses: Addresses, limits: Limits, old: Line) -> None:
        self._route, self._addresses, self._limits, self._old = route, addresses, limits, old
        self._new: Line | None = None
        self._wanted = True
        self._agreed = False  # that the old one may go
        self._opened: float | None = None
        self._task: asyncio.Task[None] | None = None
        self.seam = Seam()

    def start(self, give_up: Callable[[str], None]) -> None:
        """Open the new socket and see to the rest; `give_up` is told why if that leads nowhere."""
        self._task = asyncio.get_running_loop().create_task(self._run(give_up))

    async def stop(self) -> None:
        """Leave it at the old socket."""
        self._wanted = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._new is not None:
            await self._new.close()

    def said(self, raw: bytes) -> None:
        """Take note of what the old socket has said."""
        self.seam.old(raw, also_new=self._overlap() > OVERLAP_S / 2)

    async def finish(self) -> Line | None:
        """Return the new socket, which nobody reads then; `None` if it would leave a hole."""
        if not self._agreed and (self._opened is None or not self.seam.met):
            await self.stop()
            return None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        return self._new

    def _overlap(self) -> float:
        """Return for how long both have been open, s."""
        return 0.0 if self._opened is None else asyncio.get_running_loop().time() - self._opened

    async def _run(self, give_up: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        try:
            new = self._new = await Line.open(self._route, self._addresses, self._limits)
        except NotOpened as error:
            give_up(str(error))
            return
        reading = loop.create_task(self._keep(new))
        try:
            if rest := self._route.streams[self._route.held :]:
                await new.ask("SUBSCRIBE", rest)
            self._opened = loop.time()
            while self._overlap() < OVERLAP_S or self.seam.behind():
                if self._overlap() > _LONGEST_OVERLAP_S:
                    behind = ", ".join(sorted(self.seam.behind()))
                    raise Closed(  # noqa: TRY301 - given up like any other
                        f"after {_LONGEST_OVERLAP_S:.0f} s the two sockets do not meet in {behind}"
                    )
                await asyncio.sleep(_LOOK_S)
                if reading.done():
                    reading.result()
            self._agreed = True
            await self._old.close()
        except (Closed, FeedError) as error:
            self._wanted = False
            give_up(f"the new socket: {error}")
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            if not self._wanted:
                await new.close()

    async def _keep(self, new: Line) -> None:
        while True:
            raw = await new.read()
            if not raw:
                raise Closed("the server that it has reached shuts down, too")
            self.seam.new(raw)
            if self.seam.kept > _MOST_KEPT:
                raise Closed(f"more than {_MOST_KEPT} of its messages wait")
