"""The other side of the benchmark, in a process of its own: REST and one stream, as fast as asked.

    python -m benchmarks.feed.sender NUMBER LEVELS RATE

RATE 0 is as fast as it is taken. Prints its address. Each connection gets all updates from the first on;
the first goes alone, and the others once the book has been asked for, as otherwise it would be stale.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import time

from aiohttp import web
from benchmarks.feed.updates import snapshot, updates

_SLICE_S = 0.001
_PIECE = 64  # updates written at once at full speed


def frame(payload: bytes) -> bytes:
    """Return a WebSocket text frame of a server, RFC 6455, section 5.2."""
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", 0x81, length) + payload
    return struct.pack("!BBH", 0x81, 126, length) + payload


async def serve(number: int, levels: int, rate: float) -> None:
    """Answer until killed."""
    made, book = updates(number, levels), snapshot()
    now = str(time.time_ns() // 1000).encode()
    ready = [frame(head + now + tail) for head, tail in made] if not rate else []
    asked = asyncio.Event()

    def stamped(at: int) -> bytes:
        head, tail = made[at]
        return frame(head + str(time.time_ns() // 1000).encode() + tail)

    async def stream(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, autoping=False)
        await socket.prepare(request)
        writer = request._payload_writer
        asked.clear()
        await writer.write(stamped(0))
        await asked.wait()
        await asyncio.sleep(0.2)
        begun, sent = time.perf_counter(), 1
        try:
            while sent < number:
                if rate:
                    due = min(number, 1 + int((time.perf_counter() - begun) * rate))
                    if due > sent:
                        await writer.write(b"".join(stamped(at) for at in range(sent, due)))
                        sent = due
                    await asyncio.sleep(_SLICE_S / 4)
                else:
                    await writer.write(b"".join(ready[sent : sent + _PIECE]))
                    sent = min(number, sent + _PIECE)
                    await writer.drain()
            await socket.receive()
        except ConnectionError:
            pass
        return socket

    async def rest(request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        if name == "depth":
            asked.set()
            return web.Response(body=book, content_type="application/json")
        if name == "time":
            return web.json_response({"serverTime": time.time_ns() // 1000})
        filters = [
            {"filterType": "PRICE_FILTER", "tickSize": "0.10000000"},
            {"filterType": "LOT_SIZE", "stepSize": "0.00100000"},
        ]
        listed = {"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": filters}
        return web.json_response({"symbols": [listed]})

    app = web.Application()
    app.router.add_get("/stream", stream)
    app.router.add_get("/{tail:.*}", rest)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
