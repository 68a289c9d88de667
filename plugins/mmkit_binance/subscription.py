"""What arrives for one symbol, on connections that it may share with others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from mmkit_binance.inbox import Inbox
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
        self._inbox = Inbox(WAITING)

    @property
    def closed(self) -> bool:
        """Whether some of the streams have no connection at the moment."""
        return self.group is None or self.group.closed(self.names)

    @property
    def full(self) -> bool:
        """Whether there is no room for more."""
        return self._inbox.full

    def offer(self, take: Callable[[Item], bool] | None) -> None:
        """Offer messages to `take` as soon as they are there, where nothing stands before them; what it does not take is iterated over."""
        self._inbox.direct = take

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
        return self._inbox.add(item)

    async def room(self, within_s: float) -> None:
        """Return when what waits has been taken.

        If that does not happen within `within_s` the messages are thrown away, and so are all until then;
        `What.OVERRUN` says so.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._inbox.emptied()
        except TimeoutError:
            self._inbox.throw_away()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Item:
        return await self._inbox.take()

    def more(self, most: int) -> list[Item]:
        """Return messages that have arrived as well, after the one just taken and before anything else."""
        return self._inbox.more(most)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start `work`; a fault of ours in it ends the streams rather than silence them."""
        return asyncio.get_running_loop().create_task(self._guard(work))

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - told to whoever takes what happens
            self.give(Item(What.FAILED, None, error))
