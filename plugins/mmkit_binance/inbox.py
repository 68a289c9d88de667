"""What has happened and waits for one reader, in order."""

from __future__ import annotations

import asyncio
from collections import deque

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
        self._overrun = False

    @property
    def full(self) -> bool:
        """Whether there is no room for more."""
        return len(self._waiting) >= self._most

    def add(self, item: Item) -> bool:
        """Add an item; return whether there is room for more."""
        if self._overrun and item.what is What.MESSAGE:
            return True  # it is lost, which has been told
        self._waiting.append(item)
        self._arrived.set()
        return len(self._waiting) < self._most

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
                await self._arrived.wait()
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
