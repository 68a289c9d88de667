"""What arrives for one symbol, on connections that it may share with others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from mmkit_binance.sockets import Item, What

if TYPE_CHECKING:
    from mmkit_binance.group import Group, Groups

WAITING = 10_000
"""Messages received and not yet taken; then the reading waits, but not for long: others are read there, too."""


class Subscription:
    """The streams of one symbol; iterate to take what happens to them, for ever.

    As `mmkit_binance.streams.Streams`, but of what happens on a connection only what concerns these streams.

    Args:
        groups: Where connections are to be had.
        names: What the venue calls the streams; at least one.
    """

    def __init__(self, groups: Groups, names: Sequence[str]) -> None:
        self._groups, self.names = groups, tuple(names)
        self.group: Group | None = None
        # What waits is taken all at once: a queue's work for each message is more than reading it.
        self._waiting: deque[Item] = deque()
        self._taken: deque[Item] = deque()
        self._arrived, self._room = asyncio.Event(), asyncio.Event()
        self._overrun = False

    @property
    def closed(self) -> bool:
        """Whether some of the streams have no connection at the moment."""
        return self.group is None or self.group.closed(self.names)

    def start(self) -> None:
        """Ask for the streams."""
        self._groups.join(self)

    async def stop(self) -> None:
        """Ask for them no more; a connection that nobody else uses is closed when this returns."""
        if self.group is not None:
            await self.group.leave(self)

    async def put(self, item: Item) -> None:
        """Add to what happens, in order."""
        self.give(item)

    def give(self, item: Item) -> bool:
        """Add to what happens, in order; return whether there is room for more."""
        if self._overrun and item.what is What.MESSAGE:
            return True  # it is lost, which has been told
        waiting = self._waiting
        waiting.append(item)
        self._arrived.set()
        return len(waiting) < WAITING

    async def room(self, within_s: float) -> None:
        """Return when what waits has been taken.

        If that does not happen within `within_s` the messages are thrown away, and so are all until then;
        `What.OVERRUN` says so.
        """
        self._room.clear()
        try:
            async with asyncio.timeout(within_s):
                await self._room.wait()
        except TimeoutError:
            self._overrun = True
            kept = [item for item in self._waiting if item.what is not What.MESSAGE]
            self._waiting = deque([*kept, Item(What.OVERRUN)])

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Item:
        while not self._taken:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            self._taken, self._waiting = self._waiting, deque()
            self._overrun = False
            self._room.set()
        return self._taken.popleft()

    def more(self, most: int) -> list[Item]:
        """Return messages that have arrived as well, after the one just taken and before anything else."""
        items: list[Item] = []
        taken = self._taken
        while taken and len(items) < most and taken[0].what is What.MESSAGE:
            items.append(taken.popleft())
        return items

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start `work`; a fault of ours in it ends the streams rather than silence them."""
        return asyncio.get_running_loop().create_task(self._guard(work))

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - told to whoever takes what happens
            self.give(Item(What.FAILED, None, error))
