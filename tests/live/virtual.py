"""An event loop in which waiting takes no time: when nothing else is to be done, it is the time of what is due next."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from mmkit.clock import Clock

T = TypeVar("T")
START = 1_700_000_000 * 1_000_000_000


class _Jumping(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if not found:
            if timeout is None:
                raise RuntimeError("everybody waits, and nothing is due")
            self.now += max(timeout, 0.0)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """Has no sockets to wait for."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


class LoopClock(Clock):
    """The time of the loop that runs, each call later than the one before."""

    def __init__(self) -> None:
        self._last = 0

    def now_ns(self) -> int:
        now = START + round(asyncio.get_running_loop().time() * 1e9)
        self._last = max(self._last + 1, now)
        return self._last

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run until the work is done, in no time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
