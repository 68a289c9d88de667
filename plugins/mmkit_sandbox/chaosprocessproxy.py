"""What lies between a trader's process and the sandbox: every connection goes through it, and it is a bad line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from enum import StrEnum
from random import Random
from typing import NamedTuple

_CHUNK = 1 << 16
_CONNECT_WITHIN_S = 5.0


class LineFaultKind(StrEnum):
    """What goes wrong on the line."""

    CUT = "line_cut"
    """Connections are reset."""
    CUT_AFTER_REQUEST = "line_cut_after_request"
    """What the trader says next gets there, and the connection is reset before there is an answer."""
    CUT_IN_THE_MIDDLE = "line_cut_in_the_middle"
    """Half of what either side says next gets there."""
    STALL_REQUESTS = "line_stall_requests"
    """Nothing that the trader says gets there for so long, and then all of it."""
    STALL_ANSWERS = "line_stall_answers"
    """Nothing gets to the trader for so long, and then all of it."""
    STALL = "line_stall"
    """Both."""
    DELAY = "line_delay"
    """For so long everything is late, by up to `MOST_LATE_S`."""
    REFUSE = "line_refuse"
    """Nobody can connect for so long; connections that are open stay."""
    SILENT = "line_silent"
    """Connections stay open, and nothing comes through any more."""


MOST_LATE_S = 0.8


class LineFault(NamedTuple):
    """One thing that goes wrong on the line.

    Attributes:
        at_ns: When, after the first order.
        kind: What.
        lasts_ns: For how long; 0 for what happens once.
        share: Of the connections that there are; which, is left to chance.
    """

    at_ns: int
    kind: LineFaultKind
    lasts_ns: int = 0
    share: float = 1.0


class _Line:
    """One connection, both halves of it."""

    def __init__(self, trader: asyncio.StreamWriter, venue: asyncio.StreamWriter) -> None:
        self._ends = (trader, venue)
        self.until = [0.0, 0.0]
        """When what the trader says, and what the venue says, comes through again; of the loop's clock."""
        self.cut_after: LineFaultKind | None = None

    def cut(self) -> None:
        """Reset both halves."""
        for end in self._ends:
            end.transport.abort()

    def leave(self) -> None:
        """Reset the trader's half; what the venue has been sent gets there."""
        trader, venue = self._ends
        trader.transport.abort()
        venue.close()


class Proxy:
    """Listens on a port of its own, and hands on what comes to the sandbox's.

    Args:
        port: Of the sandbox, on 127.0.0.1.
        seed: Decides which connections are hit.
        told: Is told what has gone wrong: its kind, and words.
    """

    def __init__(self, port: int, seed: int, told: Callable[[str, str], None]) -> None:
        self._port, self._told = port, told
        self._random = Random(f"proxy {seed}")  # noqa: S311  # not for secrets
        self._lines: set[_Line] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._refuse_until = self._late_until = 0.0

    async def start(self) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Cut every connection, and listen no more."""
        if self._server is not None:
            self._server.close()
        for line in self._lines:
            line.cut()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    # --- what goes wrong ---

    def begin(self, fault: LineFault) -> None:
        """Let a fault begin."""
        now, lasts_s = asyncio.get_running_loop().time(), fault.lasts_ns / 1e9
        kind = fault.kind
        if kind is LineFaultKind.REFUSE:
            self._refuse_until = max(self._refuse_until, now + lasts_s)
            self._told(kind, f"{lasts_s:.1f} s")
            return
        if kind is LineFaultKind.DELAY:
            self._late_until = max(self._late_until, now + lasts_s)
            self._told(kind, f"{lasts_s:.1f} s")
            return
        hit = [line for line in self._lines if self._random.random() < fault.share]
        for line in hit:
            self._harm(line, kind, now + lasts_s)
        if hit:
            self._told(kind, f"{len(hit)} of {len(self._lines)} connections, {lasts_s:.1f} s")

    @staticmethod
    def _harm(line: _Line, kind: LineFaultKind, until: float) -> None:
        if kind is LineFaultKind.CUT:
            line.cut()
        elif kind in {LineFaultKind.CUT_AFTER_REQUEST, LineFaultKind.CUT_IN_THE_MIDDLE}:
            line.cut_after = kind
        elif kind is LineFaultKind.SILENT:
            line.until = [float("inf"), float("inf")]
        else:
            if kind is not LineFaultKind.STALL_ANSWERS:
                line.until[0] = max(line.until[0], until)
            if kind is not LineFaultKind.STALL_REQUESTS:
                line.until[1] = max(line.until[1], until)

    def calm(self) -> None:
        """From now on nothing goes wrong; what was held comes through, and what would never is cut."""
        self._refuse_until = self._late_until = 0.0
        for line in self._lines:
            line.cut_after = None
            if max(line.until) == float("inf"):
                line.cut()
            line.until = [0.0, 0.0]

    # --- connections ---

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio's would log that it was canceled.
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._connect(reader, writer)
        finally:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if asyncio.get_running_loop().time() < self._refuse_until:
            return
        try:
            async with asyncio.timeout(_CONNECT_WITHIN_S):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except (OSError, TimeoutError):
            return  # nobody listens there, as the sandbox's own faults want it
        line = _Line(writer, far_writer)
        self._lines.add(line)
        pumps = [
            asyncio.ensure_future(self._pump(line, 0, reader, far_writer)),
            asyncio.ensure_future(self._pump(line, 1, far_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            # What the other side was saying may still come; a half that stays open is of no use to either.
            await asyncio.wait(pumps, timeout=0.5)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._lines.discard(line)
            far_writer.transport.abort()

    async def _pump(
        self, line: _Line, way: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):  # either side has cut it
            while data := await reader.read(_CHUNK):
                await self._wait(line, way)
                kind = line.cut_after
                if kind is LineFaultKind.CUT_IN_THE_MIDDLE:
                    data = data[: len(data) // 2]
                writer.write(data)
                await writer.drain()
                if kind is LineFaultKind.CUT_IN_THE_MIDDLE or (kind is not None and way == 0):
                    line.leave()
                    return

    async def _wait(self, line: _Line, way: int) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._late_until:
            await asyncio.sleep(self._random.uniform(0.01, MOST_LATE_S))
        # Looked at again and again: calm takes back how long it was to be.
        while loop.time() < line.until[way]:
            await asyncio.sleep(0.05)
