"""An event loop in which waiting takes no time, for exchanges and accounts that are in memory.

When nothing else is to be done it is the time of what is due next, so that hours pass as fast as they can be computed, and
the same work is always done in the same order. There are no sockets, threads or processes to wait for.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from mmkit.clock import Clock

T = TypeVar("T")
START_NS = 1_700_000_000 * 1_000_000_000
"""When virtual time begins, ns since the epoch."""


class _Jumping(selectors.DefaultSelector):
    """Never waits for longer than it takes to look; does not look where nobody else could have written."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing is due")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time in seconds since the loop began."""
        return self._jumping.now


class LoopClock(Clock):
    """The time of the loop that runs, each call later than the one before."""

    def __init__(self) -> None:
        self._last = 0

    def now_ns(self) -> int:
        """Return the time now."""
        now = START_NS + round(asyncio.get_running_loop().time() * 1e9)
        self._last = max(self._last + 1, now)
        return self._last

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(seconds)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run until the work is done, in no time.

    Raises:
        RuntimeError: if everybody waits, and nothing is due.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
