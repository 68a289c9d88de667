"""A call at a time of a clock that may be put off or brought forward."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mmkit.clock import Clock
from mmkit.tape import NEVER


class Alarm:
    """Calls back on the running event loop once a time has come, the last one that was set.

    Args:
        clock: Whose time it is.
        call: What is called; it sets the next time, if there is one.
    """

    def __init__(self, clock: Clock, call: Callable[[], object]) -> None:
        self._clock, self._call = clock, call
        self._timer: asyncio.TimerHandle | None = None
        self._due_ns = NEVER

    def set(self, due_ns: int) -> None:
        """Call at `due_ns`, in place of any time before; `NEVER` for not at all."""
        if due_ns == self._due_ns:
            return
        self.cancel()
        self._due_ns = due_ns
        if due_ns != NEVER:
            delay = max(0.0, (due_ns - self._clock.now_ns()) / 1e9)
            self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def cancel(self) -> None:
        """Call no more, until a time is set."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._due_ns = None, NEVER

    def _ring(self) -> None:
        self._timer, self._due_ns = None, NEVER
        self._call()
