"""A sandbox on 127.0.0.1, and everything it has said, by stream, to compare with."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Container
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mmkit.clock import SystemClock
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import ServiceContext
from mmkit_binance.endpoints import Addresses, addresses
from mmkit_binance.sockets import Item, What
from mmkit_sandbox.channel import Channel
from mmkit_sandbox.exchange import Message
from mmkit_sandbox.service import Config, Sandbox


class Exchange:
    """A running sandbox.

    Attributes:
        said: Every payload that was published, by market, native symbol and kind, in order.
        told: The same by channel: by interval, too.
    """

    def __init__(self, sandbox: Sandbox, url: str) -> None:
        self.sandbox, self.url = sandbox, url
        self.said: defaultdict[tuple[str, str, str], list[bytes]] = defaultdict(list)
        self.told: defaultdict[Channel, list[bytes]] = defaultdict(list)
        exchange: Any = sandbox.exchange
        advance = exchange.advance

        def listening(now_ns: int, wanted: Container[Channel]) -> list[Message]:
            messages: list[Message] = advance(now_ns, wanted)
            for channel, data in messages:
                self.said[channel.market, channel.symbol, str(channel.kind)].append(data)
                self.told[channel].append(data)
            return messages

        exchange.advance = listening

    def at(self, market: str) -> Addresses:
        return addresses("binance", market, "sandbox", {"sandbox": self.url})

    def book(self, market: str, symbol: str) -> Any:
        exchange: Any = self.sandbox.exchange
        return exchange.market(exchange.listing(market, symbol)).book


@asynccontextmanager
async def exchange(*symbols: str, **config: Any) -> AsyncIterator[Exchange]:
    spec = InstrumentSpec(venue="binance", market="spot", symbol=symbols[0])
    context = ServiceContext(spec, SystemClock(), Path("user_data"))
    sandbox = Sandbox(Config(symbols=symbols, **config), context)
    url = await sandbox.start()
    try:
        yield Exchange(sandbox, url)
    finally:
        await sandbox.stop()


async def take(
    streams: AsyncIterator[Item], until: Callable[[list[Item]], bool], timeout_s: float = 15
) -> list[Item]:
    """Return what happens, up to and including that with which `until` is satisfied."""
    items: list[Item] = []
    async with asyncio.timeout(timeout_s):
        async for item in streams:
            items.append(item)
            if until(items):
                break
    return items


def payloads(items: list[Item]) -> dict[str, list[bytes]]:
    """Return the payloads by stream, without their envelopes, in order."""
    found: dict[str, list[bytes]] = defaultdict(list)
    for item in items:
        if item.what is What.MESSAGE:
            head, _, rest = item.content.partition(b'","data":')
            found[head.removeprefix(b'{"stream":"').decode()].append(rest[:-1])
    return found


def check_whole(heard: list[bytes], said: list[bytes]) -> None:
    """Check that `heard` is what was `said` between two moments: nothing lost, doubled or out of order."""
    assert heard
    start = said.index(heard[0])
    assert heard == said[start : start + len(heard)]
