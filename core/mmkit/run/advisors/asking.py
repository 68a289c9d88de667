"""An advisor in a thread of its own, so that nothing it does or leaves undone can delay a quote."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from mmkit.advisors import Advisor, Consulted, Inquiry

_CLOSE_S = 0.2
"""How long an advisor is given to let go of its connections."""
_END_S = 0.3
"""How long the end of a run waits for the threads; Ctrl-C is to take less than a second."""


class Asking:
    """One advisor, in an event loop of its own thread.

    Args:
        advisor: Is asked.
        name: For the thread.
    """

    def __init__(self, advisor: Advisor, name: str) -> None:
        self._advisor = advisor
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        # An event loop refers to its tasks weakly; one that waits for nothing that others know would be collected.
        self._tasks: set[asyncio.Task[Any] | None] = set()
        # A daemon: one that hangs in something that cannot be canceled must not keep the program.
        self._thread = threading.Thread(target=self._run, name=f"advisor-{name}", daemon=True)
        self._thread.start()

    def ask(self, inquiry: Inquiry, answered: Callable[[Future[Consulted]], None]) -> None:
        """Ask; `answered` is called in the event loop that this is called in, if it still runs by then."""
        home = asyncio.get_running_loop()
        future = asyncio.run_coroutine_threadsafe(self._ask(inquiry), self._loop)

        def tell(done: Future[Consulted]) -> None:
            with contextlib.suppress(RuntimeError):  # the run has ended
                home.call_soon_threadsafe(answered, done)

        future.add_done_callback(tell)

    async def _ask(self, inquiry: Inquiry) -> Consulted:
        # Called here and not where the run is: what is no coroutine at all would do its work there.
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            return await self._advisor.ask(inquiry)
        finally:
            self._tasks.discard(task)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._until_ended())
        finally:
            self._loop.close()

    async def _until_ended(self) -> None:
        await self._ended.wait()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=_CLOSE_S)
        # What is raised now changes nothing any more.
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._advisor.close(), _CLOSE_S)

    def end(self) -> None:
        """Cancel what is under way, and let go; returns at once."""
        with contextlib.suppress(RuntimeError):  # its loop has ended already
            self._loop.call_soon_threadsafe(self._ended.set)

    def join(self, timeout_s: float) -> bool:
        """Wait until the thread has ended, not longer than `timeout_s`; return whether it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()


def end_all(asking: Sequence[Asking]) -> list[bool]:
    """End all of them at once; return of each whether its thread has ended in time."""
    for one in asking:
        one.end()
    deadline = time.monotonic() + _END_S
    return [one.join(max(0.0, deadline - time.monotonic())) for one in asking]
