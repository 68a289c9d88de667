"""Any number of streams of one market, over as many connections as the venue's limits ask for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from mmkit.errors import FeedError
from mmkit_binance.endpoints import LIMITS, Addresses, Route, kind_of, root_of, route_of, routes
from mmkit_binance.inbox import Inbox
from mmkit_binance.order import on_book
from mmkit_binance.sockets import Connection, Item, Unheard, What
from mmkit_binance.watch import BEHIND_S, Finding, Found, Watch

_log = logging.getLogger("mmkit.binance")

WAITING = 10_000
"""Messages received and not yet taken; then the reading waits."""
LIFETIME_S = 23 * 3600.0
"""The venue ends a connection after 24 hours."""
SILENCE_S = 30.0
DELIVER_WITHIN_S = 60.0


class Streams:
    """Streams that are there until they are no longer asked for; reconnects by itself.

    Iterate to take what happens, one `Item` after the other, for ever. Of `What.MESSAGE` the content is
    the message as it was received, in the combined-stream envelope, each once and in the venue's order. `What.LOST` says that of the streams of its route some may be missing;
    `What.SILENCE` and `What.STALLED` the same, and that the connection is opened anew. `What.UNHEARD` says that a
    stream has not spoken yet, which may be right; `What.NEVER` carries
    an error: go on, or raise it. `What.FAILED` carries the error of a first contact and is the last.

    Args:
        addresses: The venue's.
        market: ``spot``, ``usdm`` or ``coinm``.
        names: What the venue calls the first streams; at least one.
        query: Added to each address, such as ``&timeUnit=MICROSECOND``.
        most: Streams on one connection; 0 for the venue's limit.
        lifetime_s: A connection is replaced before it is as old as the venue lets it be.
        silence_s: Connect anew when nothing at all has arrived for so long.
        deliver_within_s: A stream that must speak and has not within this time is an error.
        behind_s: Connect a book anew that trades have passed by for so long (`mmkit_binance.watch`).

    Attributes:
        closed: Names of the routes that have no connection at the moment.
        heard: When anything was last heard, by the loop's clock.
        shared: Whether the streams are those of several symbols: one that stalls is told, and the connection, where
            the others go on, is left as it is.
    """

    def __init__(
        self,
        addresses: Addresses,
        market: str,
        names: Iterable[str],
        *,
        query: str = "",
        most: int = 0,
        lifetime_s: float = LIFETIME_S,
        silence_s: float = SILENCE_S,
        deliver_within_s: float = DELIVER_WITHIN_S,
        behind_s: float = BEHIND_S,
    ) -> None:
        self._addresses, self._market, self._query = addresses, market, query
        self._limits = LIMITS[market]
        self._most = min(most or self._limits.streams, self._limits.streams)
        self._lifetime_s, self._silence_s = lifetime_s, silence_s
        self._watch = Watch(silence_s, deliver_within_s, behind_s)
        self._look_s = min(1.0, silence_s / 4, deliver_within_s / 4, behind_s / 8)
        self._inbox = Inbox(WAITING)
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._watching: asyncio.Task[None] | None = None
        self._numbers: dict[str, int] = {}
        self._routes = routes(addresses, market, list(names), query, self._most)
        self.closed = {route.name for route in self._routes}
        self.heard = 0.0
        self.shared = False

    async def __aenter__(self) -> Streams:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def names(self) -> list[str]:
        """What is asked for."""
        return [name for one in self._connections for name in one.route.streams]

    @property
    def connections(self) -> int:
        """How many connections there are, or will be."""
        return len(self._connections)

    @property
    def renewed(self) -> int:
        """How many times a connection was replaced without a loss."""
        return sum(one.renewed for one in self._connections)

    def without_connection(self, names: Iterable[str]) -> bool:
        """Whether one of these streams, which are asked for, has no connection at the moment."""
        if not self.closed:
            return False
        wanted = frozenset(names)
        return any(
            one.route.name in self.closed and not wanted.isdisjoint(one.route.streams)
            for one in self._connections
        )

    def start(self) -> None:
        """Open the connections."""
        self.heard = asyncio.get_running_loop().time()
        for route in self._routes:
            self._connect(route)
        self._watching = self.spawn(self._look())

    async def stop(self) -> None:
        """Close the connections; return when everything that was started has ended."""
        tasks = [*self._connections.values()]
        if self._watching is not None:
            tasks.append(self._watching)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def subscribe(self, *names: str) -> None:
        """Ask for more streams; those that are there already are left alone.

        They go to connections that have room, and to new ones. Returns when the venue has acknowledged
        them, which does not prove that they exist: a stream that does not stays silent, and is named.
        Somebody must take what happens meanwhile: the answer comes behind the messages.

        Raises:
            FeedError: if the venue refuses.
        """
        there = set(self.names)
        new = [name for name in dict.fromkeys(names) if name not in there]
        now = asyncio.get_running_loop().time()
        self._watch.ask(new, now)
        asked = []
        for part in self._parts():
            mine = [name for name in new if route_of(self._market, name) == part]
            for connection in self._connections:
                if connection.route.root == root_of(self._addresses, part) and mine:
                    room = self._most - len(connection.route.streams)
                    taken, mine = mine[:room], mine[room:]
                    if taken:
                        asked.append(connection.subscribe(taken))
            for route in routes(self._addresses, self._market, mine, self._query, self._most):
                self._connect(route)
        await asyncio.gather(*asked)

    async def unsubscribe(self, *names: str) -> None:
        """Ask for streams no more; a connection that has none left is closed.

        Raises:
            FeedError: if the venue refuses.
        """
        asked = []
        for connection, task in list(self._connections.items()):
            gone = [name for name in connection.route.streams if name in names]
            if len(gone) == len(connection.route.streams):
                del self._connections[connection]
                self.closed.discard(connection.route.name)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            elif gone:
                asked.append(connection.unsubscribe(gone))
        self._watch.forget(names)
        await asyncio.gather(*asked)

    def offer(self, take: Callable[[Item], bool]) -> None:
        """Offer messages to `take` as soon as they are there, where nothing stands before them; what it does not take is iterated over."""

        def direct(item: Item) -> bool:
            try:
                if not take(item):
                    return False
                self._heard(item)
            except Exception as error:  # noqa: BLE001 - told to whoever takes what happens
                self._inbox.direct = None
                self._inbox.add(Item(What.FAILED, None, error))
            return True

        self._inbox.direct = direct

    async def put(self, item: Item) -> None:
        """Add to what happens, in order; return when there is room for more."""
        if not self._inbox.add(item):
            await self._inbox.emptied()

    def __aiter__(self) -> Streams:
        return self

    async def __anext__(self) -> Item:
        item = await self._inbox.take()
        what = item.what
        if what is What.MESSAGE:
            self._heard(item)
        elif what is What.OPENED:
            self._opened(item)
        elif what is What.LOST:
            assert item.route is not None
            _log.warning("lost route=%s reason=%s", item.route.name, item.content)
            self.closed.add(item.route.name)
            self._watch.closed(item.route.streams, asyncio.get_running_loop().time())
        return item

    def more(self, most: int) -> list[Item]:
        """Return messages that have arrived as well, after the one just taken and before anything else."""
        items = self._inbox.more(most)
        for item in items:
            self._hear(item)
        return items

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start `work`; a fault of ours in it ends the streams rather than silence them."""
        return asyncio.get_running_loop().create_task(self._guard(work))

    def _heard(self, item: Item) -> None:
        self.heard = asyncio.get_running_loop().time()
        self._hear(item)

    def _hear(self, item: Item) -> None:
        told = not item.stream.endswith("@trade") or on_book(item.content)
        self._watch.hear(item.stream, self.heard, on_book=told)

    def _parts(self) -> tuple[str, ...]:
        return ("public", "market") if self._market == "usdm" else ("",)

    def _connect(self, route: Route) -> None:
        # Names of routes are for the log and for `closed`: no two of them alike.
        base = route.name.partition("-")[0]
        number = self._numbers[base] = self._numbers.get(base, 0) + 1
        route = route._replace(name=base if number == 1 else f"{base}-{number}")
        connection = Connection(
            route, self._addresses, self.put, self._inbox.hand_on, self._limits, self._lifetime_s
        )
        self.closed.add(route.name)
        now = asyncio.get_running_loop().time()
        self._watch.ask(route.streams, now)
        self._watch.closed(route.streams, now)
        self._connections[connection] = self.spawn(connection.run())

    def _opened(self, item: Item) -> None:
        assert item.route is not None
        _log.info("connected route=%s url=%s", item.route.name, item.route.shown)
        self.closed.discard(item.route.name)
        self.heard = now = asyncio.get_running_loop().time()
        self._watch.opened(item.route.streams, now)

    async def _look(self) -> None:
        """Tell when nothing has arrived for too long, and which streams say nothing."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._look_s)
            now = loop.time()
            if self._inbox.full:
                continue  # nobody takes what there is: what has been heard is not known
            if self.closed:
                self.heard = now  # a lost connection is told by itself
            elif now - self.heard >= self._silence_s:
                self.heard = now
                _log.warning(
                    "silence: nothing arrived seconds=%.1f, connecting anew", self._silence_s
                )
                await self.put(Item(What.SILENCE))
                for connection in list(self._connections):
                    await connection.drop()
            for found in self._watch.look(now):
                await self._tell(found)

    async def _tell(self, found: Found) -> None:
        name, finding, seconds = found
        if finding is Finding.AGAIN:
            _log.info("stream speaks again stream=%s after_s=%.1f", name, seconds)
            return
        connection = self._carrier(name)
        if connection is None:
            return  # it has been unsubscribed meanwhile
        if finding is Finding.UNHEARD:
            _log.warning(
                "streams that have delivered nothing: %s seconds=%.1f, which may be right",
                name,
                seconds,
            )
            unheard = Unheard(seconds, FeedError(self._never(name, connection.route, seconds)))
            await self.put(Item(What.UNHEARD, connection.route, unheard, name))
        elif finding is Finding.QUIET:
            _log.warning(
                "stream says nothing while others go on: %s seconds=%.1f, which may be right",
                name,
                seconds,
            )
        elif finding is Finding.STALLED:
            _log.warning(
                "stream has stopped while others go on: %s seconds=%.1f trades=%d, connecting anew",
                name,
                seconds,
                self._watch.trades_passed(name),
            )
            if self.shared:
                await self.put(Item(What.STALLED, None, name, name))
                return
            await self.put(Item(What.STALLED, connection.route, name, name))
            await connection.drop()
        else:
            error = FeedError(self._never(name, connection.route, seconds))
            await self.put(Item(What.NEVER, connection.route, error, name))

    def _never(self, name: str, route: Route, seconds: float) -> str:
        words = (
            f"{route.root}: messages of '{name}' were expected within {seconds:.0f} s of asking for "
            "them; found none, although the venue has accepted the stream; "
        )
        if self._market == "usdm":
            carrier = route_of(self._market, name)
            return words + (
                f"USD-M carries {kind_of(name)} on /{carrier} only, and accepts what an address does not "
                "carry: look at 'data.url', and at the symbol"
            )
        return words + "look at the symbol: is it traded at present?"

    def _carrier(self, name: str) -> Connection | None:
        for connection in self._connections:
            if name in connection.route.streams:
                return connection
        return None

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - told to whoever takes what happens
            await self.put(Item(What.FAILED, None, error))
