"""Connections that the streams of several symbols share."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from mmkit.errors import FeedError
from mmkit_binance.endpoints import LIMITS, Addresses, route_of
from mmkit_binance.sockets import Item, What
from mmkit_binance.streams import DELIVER_WITHIN_S, LIFETIME_S, SILENCE_S, Streams
from mmkit_binance.subscription import Subscription
from mmkit_binance.watch import BEHIND_S

_log = logging.getLogger("mmkit.binance")

SYMBOLS = 50
"""On one connection. When it is lost, each needs two snapshots of 1000 levels: they weigh 5000 of spot's 6000 a
minute, 2000 of the futures' 2400, so that after a minute all books are known again."""
PATIENCE_S = 1.0
"""How long the reading waits for a symbol that takes nothing, once."""
_AT_ONCE = 1000  # messages; then others of the run have their turn


class Terms(NamedTuple):
    """What symbols must have in common to share connections; as the arguments of `Streams`."""

    addresses: Addresses
    market: str
    query: str = ""
    lifetime_s: float = LIFETIME_S
    silence_s: float = SILENCE_S
    deliver_within_s: float = DELIVER_WITHIN_S
    behind_s: float = BEHIND_S


class Group:
    """One connection for each part of the address (`route_of`), for up to `SYMBOLS` symbols.

    Symbols come and go while it runs. What happens to a connection is told to every symbol that has a stream
    on it, and to no other. A symbol whose stream stalls while others go on gets a connection of its own: theirs
    has nothing the matter with it.

    Args:
        groups: All there are.
        alone: For one symbol only.
    """

    def __init__(self, groups: Groups, alone: bool = False) -> None:
        self._groups, self._alone = groups, alone
        self._owners: dict[str, Subscription] = {}
        self._left: set[str] = (
            set()
        )  # streams of those that have gone, which may still say something
        self._joining: list[Subscription] = []
        self._leaving: list[str] = []
        self._streams: Streams | None = None
        self._pumping: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def symbols(self) -> list[Subscription]:
        """Who is told."""
        return list(dict.fromkeys(self._owners.values()))

    @property
    def connections(self) -> int:
        """How many connections there are, or will be."""
        return 0 if self._streams is None else self._streams.connections

    def takes(self, names: Sequence[str]) -> bool:
        """Whether there is room for one more symbol, with these streams."""
        if (
            self._alone
            or len(self.symbols) >= SYMBOLS
            or any(name in self._owners for name in names)
        ):
            return False
        market = self._groups.terms.market
        parts = Counter(route_of(market, name) for name in (*self._owners, *names))
        return max(parts.values()) <= LIMITS[market].streams

    def closed(self, names: Iterable[str]) -> bool:
        """Whether one of the streams has no connection at the moment."""
        return self._streams is None or self._streams.without_connection(names)

    def join(self, one: Subscription) -> None:
        """Take in a symbol; its streams are asked for soon."""
        one.group = self
        self._owners.update(dict.fromkeys(one.names, one))
        self._left.difference_update(one.names)
        if self._streams is None:
            terms = self._groups.terms
            self._streams = Streams(
                terms.addresses,
                terms.market,
                one.names,
                query=terms.query,
                lifetime_s=terms.lifetime_s,
                silence_s=terms.silence_s,
                deliver_within_s=terms.deliver_within_s,
                behind_s=terms.behind_s,
            )
            self._streams.offer(self._take)
            self._streams.start()
            self._pumping = asyncio.get_running_loop().create_task(
                self._guard(self._pump, self._streams)
            )
        else:
            self._joining.append(one)
            self._ask()
        self._streams.shared = len(self.symbols) > 1

    async def leave(self, one: Subscription) -> None:
        """Tell a symbol nothing more; when it was the last, return when the connections are closed."""
        self._let_go(one)
        if not self._owners:
            await self._end()

    async def _end(self) -> None:
        tasks = [task for task in (self._pumping, self._asking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._streams is not None:
            await self._streams.stop()

    def _let_go(self, one: Subscription) -> None:
        if one.group is not self:
            return
        one.group = None
        for name in one.names:
            del self._owners[name]
        if not self._owners:
            self._groups.remove(self)
            return
        if one in self._joining:
            self._joining.remove(one)
        assert self._streams is not None
        self._streams.shared = len(self.symbols) > 1
        self._left.update(one.names)
        self._leaving += one.names
        self._ask()

    # --- asking -----------------------------------------------------------------------------------

    def _ask(self) -> None:
        if self._asking is None or self._asking.done():
            assert self._streams is not None
            self._asking = asyncio.get_running_loop().create_task(
                self._guard(self._change, self._streams)
            )

    async def _change(self, streams: Streams) -> None:
        """Subscribe and unsubscribe; who comes meanwhile waits, and all of them are asked for in one request."""
        while self._leaving or self._joining:
            leaving, self._leaving = self._leaving, []
            joining, self._joining = self._joining, []
            try:
                if leaving:
                    await streams.unsubscribe(*leaving)
            except FeedError as error:
                _log.warning("not unsubscribed, what they say is ignored reason=%s", error)
            there = [one for one in joining if one.group is self]
            try:
                await streams.subscribe(*(name for one in there for name in one.names))
            except FeedError as error:
                words = "not subscribed, symbols=%d get connections of their own reason=%s"
                _log.warning(words, len(there), error)
                for one in there:
                    self._isolate(one)

    def _isolate(self, one: Subscription) -> None:
        """Give a symbol connections of its own."""
        if one.group is self:
            self._let_go(one)
            self._groups.join(one, alone=True)
            if not self._owners:
                # Not from here: this may be one of the tasks that it ends.
                self._ending = asyncio.get_running_loop().create_task(self._end())

    # --- telling ----------------------------------------------------------------------------------

    def _take(self, item: Item) -> bool:
        """Hand a message on at once, if there is room for it; return whether it was."""
        owner = self._owners.get(item.stream)
        if owner is None or owner.full:
            return False
        owner.give(item)
        return True

    async def _pump(self, streams: Streams) -> None:
        async for item in streams:
            for one in (item, *streams.more(_AT_ONCE)):
                if one.what is not What.MESSAGE:
                    self._tell(one)
                elif (owner := self._owners.get(one.stream)) is None:
                    self._stray(one)
                elif not owner.give(one):
                    await owner.room(PATIENCE_S)

    async def _guard(self, work: Callable[[Streams], Awaitable[None]], streams: Streams) -> None:
        try:
            await work(streams)
        except Exception as error:  # noqa: BLE001 - told to whoever takes what happens
            self._fail(Item(What.FAILED, None, error), self.symbols)

    def _tell(self, item: Item) -> None:
        if item.what is What.FAILED:
            self._fail(item, list(self._concerned(item)))
            return
        for one in list(self._concerned(item)):
            one.give(item)
            if item.what is What.STALLED and item.route is None:
                self._isolate(one)

    def _concerned(self, item: Item) -> Iterator[Subscription]:
        """Yield whom something concerns that is no message."""
        if item.stream:
            if item.stream in self._owners:
                yield self._owners[item.stream]
            return
        on_it = None if item.route is None else frozenset(item.route.streams)
        for one in self.symbols:
            if on_it is None or not on_it.isdisjoint(one.names):
                yield one

    def _fail(self, item: Item, told: list[Subscription]) -> None:
        self._groups.remove(self)  # who tries again does so on other connections
        for one in told:
            one.give(item)

    def _stray(self, item: Item) -> None:
        """Take a message of a stream that nobody here has asked for."""
        if not item.stream:
            # In no envelope: whose it is cannot be told, and each says what is wrong with it.
            for one in self.symbols:
                one.give(item)
        elif item.stream not in self._left:
            self._left.add(item.stream)
            _log.warning("a stream that was not asked for is ignored stream=%s", item.stream)


class Groups:
    """The groups of symbols whose terms are the same, in one event loop."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._groups: list[Group] = []

    @property
    def connections(self) -> int:
        """How many connections there are, or will be."""
        return sum(group.connections for group in self._groups)

    def join(self, one: Subscription, *, alone: bool = False) -> None:
        """Let a symbol into a group that takes it, or into a new one."""
        found = None
        if not alone:
            found = next((group for group in self._groups if group.takes(one.names)), None)
        if found is None:
            found = Group(self, alone)
            self._groups.append(found)
        found.join(one)

    def remove(self, group: Group) -> None:
        """Let no more symbols into a group."""
        if group in self._groups:
            self._groups.remove(group)


_there: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Terms, Groups]] = WeakKeyDictionary()


def groups(terms: Terms) -> Groups:
    """Return the groups with these terms: shared in this process."""
    # By loop, too: connections belong to one.
    there = _there.setdefault(asyncio.get_running_loop(), {})
    return there.setdefault(terms, Groups(terms))
