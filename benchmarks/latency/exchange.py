"""The other side, in a process of its own: the sandbox, which takes the orders, and beside it a stream of its market's book.

    python -m benchmarks.latency.exchange LEVELS RATE

Prints the sandbox's address and the stream's. The sandbox's own best prices change some three times a second, which would make
an hour of a benchmark; each message of this stream changes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from pathlib import Path

from aiohttp import ClientSession, web

from mmkit.clock import SystemClock
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import ServiceContext
from mmkit_sandbox.listing import ORDER_LIMITS, USDM, WEIGHT_PER_MINUTE
from mmkit_sandbox.service import Config, Sandbox

SYMBOL = "BTC/USDT:USDT"
_MIDDLE = 600_000  # ticks of 0.1; where the sandbox's market begins, too
_DEEP = 1000


class Updates:
    """Depth updates as Binance USD-M sends them; the best bid is there after one and gone after the next.

    Source of the format: Binance USD-M futures, "Diff. Book Depth Streams".
    """

    def __init__(self, levels: int) -> None:
        self._levels, self._draw = levels, random.Random(1)
        self._last = 100
        self._there = False

    def snapshot(self) -> str:
        """Return the book as it is but for quantities, as REST answers."""
        first = 1 if self._there else 2
        bids = ",".join(_level(_MIDDLE - n, 1000) for n in range(first, _DEEP))
        asks = ",".join(_level(_MIDDLE + n, 1000) for n in range(1, _DEEP))
        now = time.time_ns() // 1_000_000
        return (
            f'{{"lastUpdateId":{self._last},"E":{now},"T":{now},"bids":[{bids}],"asks":[{asks}]}}'
        )

    def next(self) -> str:
        """Return the next one."""
        self._there = not self._there
        before, self._last = self._last, self._last + self._levels
        others = self._levels - 1
        bids = [_level(_MIDDLE - 1, 1000 if self._there else 0), *self._some(-1, others // 2)]
        asks = self._some(1, others - others // 2)
        now = time.time_ns() // 1_000_000
        return (
            f'{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{now},"T":{now},"s":"BTCUSDT",'
            f'"U":{before + 1},"u":{self._last},"pu":{before},"b":[{",".join(bids)}],"a":[{",".join(asks)}]}}}}'
        )

    def _some(self, sign: int, number: int) -> list[str]:
        draw = self._draw
        return [
            _level(_MIDDLE + sign * draw.randrange(3, 300), draw.randrange(1, 9_999))
            for _ in range(number)
        ]


def _level(ticks: int, lots: int) -> str:
    return f'["{ticks // 10}.{ticks % 10}0","{lots // 1000}.{lots % 1000:03}"]'


async def serve(levels: int, rate: float) -> None:
    """Answer until killed."""
    # As of an account with more: with 20 orders a second, an ordinary one's, the run would be asleep between them.
    ORDER_LIMITS[USDM] = (("SECOND", 10, 100_000), ("MINUTE", 1, 600_000))
    WEIGHT_PER_MINUTE[USDM] = 1_000_000
    spec = InstrumentSpec(venue="binance", market="usdm", symbol=SYMBOL)
    sandbox = Sandbox(
        Config(symbols=(SYMBOL,)), ServiceContext(spec, SystemClock(), Path("user_data"))
    )
    orders = await sandbox.start()
    made = Updates(levels)

    async def stream(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        # Read, too, so that it is known when the other end has gone: of two that go on, each would miss what the other is told.
        reading = asyncio.ensure_future(socket.receive())
        with contextlib.suppress(ConnectionError):
            while not reading.done():
                await socket.send_str(made.next())
                await asyncio.sleep(1 / rate)
        reading.cancel()
        return socket

    async def rest(request: web.Request) -> web.Response:
        if request.path.endswith("/depth"):
            return web.Response(text=made.snapshot(), content_type="application/json")
        # What is listed, and the time, are the sandbox's.
        async with ClientSession() as client, client.get(f"{orders}{request.path_qs}") as answer:
            return web.Response(body=await answer.read(), content_type="application/json")

    app = web.Application()
    app.router.add_get("/public/stream", stream)
    app.router.add_get("/{tail:.*}", rest)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(orders, f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
