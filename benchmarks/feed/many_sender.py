"""Many symbols of Binance, spot and USD-M, in a process of their own: REST, combined streams, and the venue's limits.

    python -m benchmarks.feed.many_sender SPOT USDM RATE LEVELS TRADES

SPOT and USDM are numbers of symbols, RATE depth updates a second of each, with LEVELS levels, TRADES its trades a
second. Prints its address. Weight is counted as Binance does, in whole minutes, and refused with 429 beyond the limit;
attempts to connect and streams on a connection are counted. ``/stop`` ends the updates, ``/book`` then tells what a
client's book should be, ``/told`` what was counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections import defaultdict, deque
from typing import Any

import msgspec
from aiohttp import web
from benchmarks.feed.sender import frame

LIMIT = {"spot": 6000, "usdm": 2400}
"""Weight a minute: ../shared/facts/binance-market-data.md, section 8."""
_DEPTH = {
    "spot": ((100, 5), (500, 25), (1000, 50), (5000, 250)),
    "usdm": ((50, 2), (100, 5), (500, 10), (1000, 20)),
}
_STREAMS = {"spot": 1024, "usdm": 200}
_BLOCKS = 400
_DEEP = 300  # levels a side, so that a snapshot of 1000 holds all of them
_SLICE_S = 0.004


class Block:
    """The changed levels of one update, as JSON and taken apart."""

    def __init__(self, levels: int, draw: random.Random) -> None:
        self.changes: list[tuple[int, str, str]] = []
        for side in (0, 1):
            for away in draw.sample(range(1, _DEEP), levels // 2):
                price = 600_000 + (away if side else -away)
                quantity = draw.choice((0, 1, 1, 1)) * draw.randrange(1, 99_999)
                self.changes.append((side, f"{price / 10:.8f}", f"{quantity / 1000:.8f}"))
        bids, asks = (
            ",".join(
                f'["{price}","{quantity}"]' for at, price, quantity in self.changes if at == side
            )
            for side in (0, 1)
        )
        self.text = f'"b":[{bids}],"a":[{asks}]}}}}'.encode()


class Symbol:
    """One symbol's book and its place among the updates."""

    def __init__(self, market: str, number: int) -> None:
        self.market, self.base = market, f"C{number:03d}"
        self.native = f"{self.base}USDT"
        low = self.native.lower()
        self.depth = f"{low}@depth@100ms"
        self.trade = f"{low}@{'trade' if market == 'spot' else 'aggTrade'}"
        self.sides: tuple[dict[str, str], dict[str, str]] = (
            {f"{(600_000 - n) / 10:.8f}": "1.00000000" for n in range(1, _DEEP)},
            {f"{(600_000 + n) / 10:.8f}": "1.00000000" for n in range(1, _DEEP)},
        )
        self.last, self.trades, self.at = 100, 0, 7 * number
        head = f'{{"stream":"{self.depth}","data":{{"e":"depthUpdate","s":"{self.native}","E":'
        self._head = head.encode()

    def update(self, block: Block) -> bytes:
        """Change the book; return what the stream says."""
        before, self.last = self.last, self.last + len(block.changes)
        for side, price, quantity in block.changes:
            if quantity == "0.00000000":
                self.sides[side].pop(price, None)
            else:
                self.sides[side][price] = quantity
        if self.market == "spot":
            ids = b'%d,"U":%d,"u":%d,' % (time.time_ns() // 1000, before + 1, self.last)
        else:
            now = time.time_ns() // 10**6
            ids = b'%d,"T":%d,"U":%d,"u":%d,"pu":%d,' % (now, now, before + 1, self.last, before)
        return self._head + ids + block.text

    def print(self) -> bytes:
        """Return a trade, as its stream says it."""
        self.trades += 1
        now = time.time_ns() // (1000 if self.market == "spot" else 10**6)
        name = b'"t"' if self.market == "spot" else b'"a"'
        kind = b"trade" if self.market == "spot" else b"aggTrade"
        return (
            b'{"stream":"%b","data":{"e":"%b","E":%d,"s":"%b",%b:%d,"p":"60000.00000000",'
            b'"q":"0.00100000","T":%d,"m":true}}'
            % (self.trade.encode(), kind, now, self.native.encode(), name, self.trades, now)
        )

    def snapshot(self) -> bytes:
        """Return the book as REST does."""
        bids = sorted(self.sides[0].items(), key=lambda level: -float(level[0]))
        asks = sorted(self.sides[1].items(), key=lambda level: float(level[0]))
        book: dict[str, Any] = {"lastUpdateId": self.last, "bids": bids, "asks": asks}
        if self.market == "usdm":
            now = time.time_ns() // 10**6
            book |= {"E": now, "T": now}
        return msgspec.json.encode(book)

    def listed(self) -> dict[str, Any]:
        """Return what exchangeInfo says."""
        filters = [
            {"filterType": "PRICE_FILTER", "tickSize": "0.10000000"},
            {"filterType": "LOT_SIZE", "stepSize": "0.00100000"},
        ]
        found = {"symbol": self.native, "baseAsset": self.base, "quoteAsset": "USDT"}
        if self.market == "usdm":
            found["contractType"] = "PERPETUAL"
        return {**found, "filters": filters}


class Sender:
    """The venue: who listens to what, and what has been counted."""

    def __init__(self, spot: int, usdm: int, rate: float, levels: int, trades: float) -> None:
        self.symbols = [Symbol("spot", n) for n in range(spot)]
        self.symbols += [Symbol("usdm", n) for n in range(usdm)]
        self.by_name = {(one.market, one.native): one for one in self.symbols}
        draw = random.Random(1)  # the same in every run
        self.blocks = [Block(levels, draw) for _ in range(_BLOCKS)]
        self.rate, self.trades = rate, trades
        self.listeners: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
        self.stopped = False
        self.attempts: dict[str, deque[float]] = {"spot": deque(), "usdm": deque()}
        self.minute = {"spot": (0, 0), "usdm": (0, 0)}
        self.counted: dict[str, Any] = {
            "connections": {"spot": 0, "usdm": 0},
            "attempts_in_5_min": {"spot": 0, "usdm": 0},
            "streams_on_one": 0,
            "requests_on_one_in_1_s": 0,
            "weight_in_1_min": {"spot": 0, "usdm": 0},
            "refused_429": 0,
            "requests": defaultdict(int),
            "updates": 0,
            "late_s": 0.0,
        }

    async def send(self) -> None:
        """Send updates evenly until stopped."""
        gap = 1 / (self.rate * len(self.symbols))
        every = max(1, round(self.rate / self.trades)) if self.trades else 0
        begun, number = time.perf_counter(), 0
        while not self.stopped:
            now = time.perf_counter() - begun
            due = int(now / gap)
            if due - number > len(self.symbols) * self.rate:
                self.counted["late_s"] += (due - number) * gap
                number = due  # more than a second behind: this machine has no time
            out: dict[Any, list[bytes]] = {}
            for n in range(number, due):
                one = self.symbols[n % len(self.symbols)]
                turn = n // len(self.symbols)
                if listening := self.listeners.get((one.market, one.depth)):
                    one.at += 1
                    framed = frame(one.update(self.blocks[one.at % _BLOCKS]))
                    self.counted["updates"] += 1
                    for writer in listening:
                        out.setdefault(writer, []).append(framed)
                traded = every and turn % every == 0
                if traded and (listening := self.listeners.get((one.market, one.trade))):
                    framed = frame(one.print())
                    for writer in listening:
                        out.setdefault(writer, []).append(framed)
            number = due
            for writer, frames in out.items():
                # Its connection takes itself off the listeners.
                with contextlib.suppress(ConnectionError):
                    await writer.write(b"".join(frames))
            await asyncio.sleep(_SLICE_S)

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection of combined streams."""
        market = "usdm" if request.path.startswith("/fstream") else "spot"
        route = request.path.rpartition("/")[0].rpartition("/")[2]
        attempts, now = self.attempts[market], time.monotonic()
        attempts.append(now)
        while attempts[0] < now - 300:
            attempts.popleft()
        told = self.counted["attempts_in_5_min"]
        told[market] = max(told[market], len(attempts))
        if len(attempts) > 300:
            return web.Response(status=429)  # type: ignore[return-value]
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        writer = request._payload_writer
        names: set[str] = set()
        self.counted["connections"][market] += 1
        asked: deque[float] = deque()

        def change(method: str, wanted: list[str]) -> None:
            for name in wanted:
                # As on USD-M since 2026: accepted, and silent on the wrong route.
                carried = market == "spot" or (route == "market") == ("aggTrade" in name)
                if method == "SUBSCRIBE" and name not in names:
                    names.add(name)
                    if carried:
                        self.listeners[market, name].append(writer)
                elif method == "UNSUBSCRIBE" and name in names:
                    names.discard(name)
                    if carried:
                        self.listeners[market, name].remove(writer)
            self.counted["streams_on_one"] = max(self.counted["streams_on_one"], len(names))

        try:
            change("SUBSCRIBE", request.query["streams"].split("/"))
            async for message in socket:
                now = time.monotonic()
                asked.append(now)
                while asked[0] < now - 1:
                    asked.popleft()
                most = max(self.counted["requests_on_one_in_1_s"], len(asked))
                self.counted["requests_on_one_in_1_s"] = most
                request_of = msgspec.json.decode(message.data)
                change(request_of["method"], request_of["params"])
                if len(names) > _STREAMS[market]:
                    break
                await socket.send_json({"result": None, "id": request_of["id"]})
        finally:
            change("UNSUBSCRIBE", list(names))
            self.counted["connections"][market] -= 1
        return socket

    async def rest(self, request: web.Request) -> web.Response:
        """Answer a request, within the weight."""
        name = request.path.rpartition("/")[2]
        if name == "stop":
            self.stopped = True
            return web.json_response({})
        if name == "told":
            return web.json_response(self.counted | {"cpu_s": time.process_time()})
        if name == "book":
            one = self.by_name[request.query["market"], request.query["symbol"]]
            return web.Response(body=one.snapshot())
        market = "usdm" if request.path.startswith("/fapi") else "spot"
        self.counted["requests"][f"{market} {name}"] += 1
        weight = 1
        if name == "exchangeInfo" and market == "spot":
            weight = 20
        elif name == "depth":
            limit = int(request.query["limit"])
            weight = next(one for most, one in _DEPTH[market] if limit <= most)
        minute = int(time.time() // 60)
        at, used = self.minute[market]
        used = weight + (used if at == minute else 0)
        self.minute[market] = (minute, used)
        most = self.counted["weight_in_1_min"]
        most[market] = max(most[market], used)
        headers = {"X-MBX-USED-WEIGHT-1M": str(used)}
        if used > LIMIT[market]:
            self.counted["refused_429"] += 1
            left = 60 - time.time() % 60
            return web.Response(status=429, headers=headers | {"Retry-After": str(int(left) + 1)})
        if name == "depth":
            body = self.by_name[market, request.query["symbol"]].snapshot()
            return web.Response(body=body, headers=headers)
        if name == "time":
            micro = request.headers.get("X-MBX-TIME-UNIT") == "MICROSECOND"
            now = time.time_ns() // (1000 if micro else 10**6)
            return web.json_response({"serverTime": now}, headers=headers)
        only = request.query.get("symbol")
        listed = [
            one.listed()
            for one in self.symbols
            if one.market == market and only in (None, one.native)
        ]
        return web.json_response({"symbols": listed}, headers=headers)


async def serve(sender: Sender) -> None:
    """Answer until killed."""
    app = web.Application()
    for path in ("/stream", "/fstream/public/stream", "/fstream/market/stream"):
        app.router.add_get(path, sender.stream)
    app.router.add_get("/{tail:.*}", sender.rest)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await sender.send()
    await asyncio.Event().wait()


if __name__ == "__main__":
    spot, usdm, rate, levels, trades = sys.argv[1:]
    asyncio.run(serve(Sender(int(spot), int(usdm), float(rate), int(levels), float(trades))))
