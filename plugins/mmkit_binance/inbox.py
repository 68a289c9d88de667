"""What has happened and waits for one reader, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from mmkit_binance.sockets import Item, What


class Inbox:
    """Takes items one by one and hands on all that wait at once: a queue's work for each message is more than reading it.

    Args:
        most: Where so many wait, there is no room for more; whoever adds them waits, or throws them away.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[Item] = deque()
        self._taken: deque[Item] = deque()
        self._arrived, self._emptied = asyncio.Event(), asyncio.Event()
        self._overrun = self._reading = self._direct = False
        self.direct: Callable[[Item], bool] | None = None
        """Is offered a message that nothing stands before, while nobody is busy with the last: it saves a turn of the
        loop. Only one in each turn, as several that are there together are taken in faster together. Returns whether it
        has taken the message."""

    @property
    def full(self) -> bool:
        """Whether there is no room for more."""
        return len(self._waiting) >= self._most

    def add(self, item: Item) -> bool:
        """Add an item; return whether there is room for more."""
        if self._overrun and item.what is What.MESSAGE:
            return True  # it is lost, which has been told
        if item.what is What.MESSAGE and self.hand_on(item):
            return True
        self._waiting.append(item)
        self._arrived.set()
        return len(self._waiting) < self._most

    def hand_on(self, message: Item) -> bool:
        """Offer a message to `direct` if it may be; return whether it has taken it."""
        if self.direct is None or self._direct or self._waiting or not self._reading:
            return False
        self._direct = True
        asyncio.get_running_loop().call_soon(self._turned)
        return self.direct(message)

    def _turned(self) -> None:
        self._direct = False

    async def emptied(self) -> None:
        """Return when what waits has been taken."""
        self._emptied.clear()
        await self._emptied.wait()

    def throw_away(self) -> None:
        """Throw the messages away that wait, and all until the rest is taken; `What.OVERRUN` says so."""
        self._overrun = True
        kept = [item for item in self._waiting if item.what is not What.MESSAGE]
        self._waiting = deque([*kept, Item(What.OVERRUN)])

    async def take(self) -> Item:
        """Return the next item."""
        while not self._taken:
            if not self._waiting:
                self._arrived.clear()
                self._reading = True
                try:
                    await self._arrived.wait()
                finally:
                    self._reading = False
            self._taken, self._waiting = self._waiting, deque()
            self._overrun = False
            self._emptied.set()
        return self._taken.popleft()

    def more(self, most: int) -> list[Item]:
        """Return messages that have arrived as well, after the one just taken and before anything else."""
        items: list[Item] = []
        taken = self._taken
        while taken and len(items) < most and taken[0].what is What.MESSAGE:
            items.append(taken.popleft())
        return items
