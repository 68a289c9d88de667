"""What happens is taken in order, each once, whether it is handed on at once or waits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from binance_venue import Venue
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection

from mmkit.tape import Row
from mmkit_binance.endpoints import LIMITS, addresses, routes
from mmkit_binance.inbox import Inbox
from mmkit_binance.line import Line
from mmkit_binance.live import BinanceSource
from mmkit_binance.sockets import Item, What

_STEPS = st.lists(
    st.sampled_from(["message", "message", "other", "turn", "turn", "busy"]), max_size=60
)


async def taken(steps: Sequence[str], refused: Sequence[bool]) -> tuple[list[int], list[str]]:
    """Return what came out, by number, and how: by being ``handed`` on or ``read``."""
    inbox, numbers, ways = Inbox(1000), list[int](), list[str]()
    busy = asyncio.Event()
    refusals = iter(refused)

    def direct(item: Item) -> bool:
        if next(refusals, False):
            return False
        numbers.append(item.content)
        ways.append("handed")
        return True

    async def read() -> None:
        while True:
            for item in (await inbox.take(), *inbox.more(1000)):
                numbers.append(item.content)
                ways.append("read")
            if busy.is_set():
                busy.clear()
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    inbox.direct = direct
    reading = asyncio.create_task(read())
    number = 0
    for step in steps:
        if step == "turn":
            await asyncio.sleep(0)
        elif step == "busy":
            busy.set()
        else:
            number += 1
            inbox.add(Item(What.MESSAGE if step == "message" else What.OPENED, None, number))
    for _ in range(10):
        await asyncio.sleep(0)
    reading.cancel()
    return numbers, ways


@given(_STEPS, st.lists(st.booleans()))
@settings(max_examples=300)
def test_nothing_overtakes_and_nothing_is_lost_or_told_twice(
    steps: list[str], refused: list[bool]
) -> None:
    numbers, _ = asyncio.run(taken(steps, refused))
    assert numbers == list(range(1, 1 + sum(step in ("message", "other") for step in steps)))


def test_a_message_that_nothing_stands_before_is_handed_on_at_once() -> None:
    async def alone() -> None:
        inbox, got = Inbox(10), list[int]()
        inbox.direct = lambda item: got.append(item.content) or True
        reading = asyncio.create_task(inbox.take())
        await asyncio.sleep(0)
        inbox.add(Item(What.MESSAGE, None, 1))
        assert got == [1]
        assert not reading.done()
        reading.cancel()

    asyncio.run(alone())


def test_of_several_that_are_there_together_the_rest_is_read_together() -> None:
    numbers, ways = asyncio.run(taken(["turn", *["message"] * 5, "turn", "turn"], []))
    assert numbers == [1, 2, 3, 4, 5]
    assert ways == ["handed", "read", "read", "read", "read"]


def test_a_message_does_not_overtake_one_that_was_refused_and_waits_to_be_read() -> None:
    async def script(venue: Venue, socket: ServerConnection, number: int) -> None:
        first, second = ('{"stream":"x","data":"' + letter * 500 + '"}' for letter in "ab")
        await asyncio.sleep(0.1)  # until somebody reads
        # With one write, so that both come with the same bytes.
        for text in (first, second):
            socket.protocol.send_text(text.encode())
        socket.transport.write(b"".join(socket.protocol.data_to_send()))
        await asyncio.sleep(1)

    async def inside() -> list[bytes]:
        venue, got = Venue(script), list[bytes]()

        def take(raw: bytes) -> bool:
            if b"aaa" in raw:
                return False
            got.append(raw)
            return True

        async with venue.open():
            where = addresses("binance", "spot", "sandbox", {}, url=venue.url, rest_url=venue.url)
            (route,) = routes(where, "spot", ["btcusdt@depth"], "")
            line = await Line.open(route, where, LIMITS["spot"])
            line.offer(take)
            async with asyncio.timeout(5):
                while len(got) < 2:
                    got.append(await line.read())
            await line.close()
        return got

    assert [b"bbb" in raw for raw in asyncio.run(inside())] == [False, True]


def test_once_the_book_is_known_rows_are_handed_over_and_no_more_yielded() -> None:
    async def inside() -> tuple[int, int]:
        venue = Venue(lambda venue, socket, number: venue.flow(socket))
        handed = yielded = 0
        enough = asyncio.Event()

        def take(rows: list[Row]) -> None:
            nonlocal handed
            handed += 1
            if handed == 20:
                enough.set()

        async def read(live: BinanceSource) -> None:
            nonlocal yielded
            async for _ in live.stream():
                yielded += 1

        async with venue.open():
            live = venue.source()
            live.deliver(take)
            reading = asyncio.create_task(read(live))
            async with asyncio.timeout(10):
                await enough.wait()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        return handed, yielded

    handed, yielded = asyncio.run(inside())
    assert handed == 20
    assert yielded <= 5  # the gap at the start, and the snapshot with what followed it
