"""Sends lines of text on to people, by way of `apprise` (extra ``notify``): gathered, never waited for.

An address of apprise is a secret as a whole: it holds passwords and tokens, and the services' own addresses hold them
again. So none of it, nor anything that a library says while it sends, reaches a log, an error or a report; what is
told is the address's place in the configuration and the status that was answered.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mmkit.clock import Clock
from mmkit.errors import ConfigError, Mistake
from mmkit.log import SILENT_THREADS

_log = logging.getLogger("mmkit.notify")

_MOST_LINES = 20
"""Lines in one message; chats cut what is longer, and nobody reads it. Of what becomes of a run there may be as many again."""
_ANSWER_WAIT_S = 20.0
"""How long an answer is waited for. Most of apprise's services give up after 4 s to connect and 4 s to read."""
_HOLD_S = 1.0
"""How long an address that does not answer holds up the next message to the others."""
_LAST_WAIT_S = 3.0
"""How long the end of a run waits for the last message."""
# apprise tells its failures with parts of the address; what it sends with tells whole paths, tokens in them.
_TALKATIVE = ("apprise", "urllib3", "requests")


class Notified(msgspec.Struct, kw_only=True):
    """What came of the messages. A message to two addresses counts twice.

    Attributes:
        lines: Events and other lines that were to be sent.
        sent: Messages that were delivered.
        failed: Messages that were not.
        left_out: Lines that no longer fit into a message, which said how many.
        unsent: Lines that were still waiting when the run ended.
        failures: Why messages failed, and how often, such as ``"notify.urls[0]: HTTP 500"``.
    """

    lines: int = 0
    sent: int = 0
    failed: int = 0
    left_out: int = 0
    unsent: int = 0
    failures: dict[str, int] = msgspec.field(default_factory=dict)


class Notifier:
    """Gathers lines and sends them, at most one message in so long. Failures are counted, told once each, never raised.

    Args:
        urls: Addresses as apprise has them.
        every_ns: The least time from one message to the next.
        title: Of each message.
        clock: The run's.

    Raises:
        ConfigError: if apprise is not installed, or does not know an address.
    """

    def __init__(self, urls: Sequence[str], every_ns: int, title: str, clock: Clock) -> None:
        self._targets = _targets(urls)
        self._every_ns, self._title, self._clock = every_ns, title, clock
        self._waiting: list[str] = []
        self._more = 0
        self._some = asyncio.Event()
        self._busy: set[int] = set()
        self._task: asyncio.Task[None] | None = None
        self._sending: dict[asyncio.Task[None], int] = {}
        self._quiet = _Quiet()
        self.notified = Notified()
        """What came of it so far."""

    def start(self) -> None:
        """Begin to send, on the running event loop."""
        self._quiet.begin()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="notify")

    def tell(self, line: str, *, of_run: bool = False) -> None:
        """Have a line sent, with others if need be; returns at once.

        Args:
            line: What to send.
            of_run: Whether it tells what becomes of the run, which many events do not crowd out.
        """
        self.notified.lines += 1
        if len(self._waiting) < (2 * _MOST_LINES if of_run else _MOST_LINES):
            self._waiting.append(line)
        else:
            self._more += 1
        self._some.set()

    async def close(self) -> None:
        """Send what is waiting, and wait for it, but not long."""
        task, self._task = self._task, None
        if task is None:
            return
        deadline = asyncio.get_running_loop().time() + _LAST_WAIT_S
        await self._answered(_HOLD_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if self._waiting:
            self._send()
        await self._answered(deadline - asyncio.get_running_loop().time())
        self.notified.unsent = sum(self._sending.values()) + len(self._waiting) + self._more
        for one in list(self._sending):
            one.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        if not self._busy:
            # A thread that still waits for its answer may yet have something to say.
            self._quiet.end()
        if self.notified.unsent:
            _log.warning("notify_unsent lines=%d; the run has ended", self.notified.unsent)

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            self._send()
            await self._answered(_HOLD_S)
            await self._clock.sleep(self._every_ns / 1e9)

    async def _answered(self, seconds: float) -> None:
        """Wait until every message has been answered, but not longer."""
        if self._sending:
            await asyncio.wait(list(self._sending), timeout=max(0.0, seconds))

    def _send(self) -> None:
        """Begin to send what is waiting to every address at once."""
        lines, more = self._waiting, self._more
        self._waiting, self._more = [], 0
        self._some.clear()
        body = "\n".join([*lines, f"and {more:,} more"] if more else lines)
        task = asyncio.get_running_loop().create_task(self._deliver(body, more))
        self._sending[task] = len(lines) + more
        task.add_done_callback(lambda done: self._sending.pop(done, None))

    async def _deliver(self, body: str, more: int) -> None:
        await asyncio.gather(
            *(self._tell_one(number, body) for number in range(len(self._targets)))
        )
        # Only now: what the end of the run interrupts has not been sent.
        self.notified.left_out += more

    async def _tell_one(self, number: int, body: str) -> None:
        """Send a message to one address, and note what came of it."""
        reason = await self._send_to(number, body)
        if not reason:
            self.notified.sent += 1
            return
        self.notified.failed += 1
        key = f"notify.urls[{number}]: {reason}"
        before = self.notified.failures.get(key, 0)
        self.notified.failures[key] = before + 1
        if not before:
            _log.warning(
                "notify_failed url=notify.urls[%d] reason='%s'; the run goes on, and its summary counts them",
                number,
                reason,
            )

    async def _send_to(self, number: int, body: str) -> str:
        """Return why a message could not be delivered; empty if it was."""
        if number in self._busy:
            return "the message before is still waiting for its answer"
        self._busy.add(number)
        target = self._targets[number]

        def send() -> str:
            try:
                delivered = target.notify(body=body, title=self._title)
            except Exception as error:  # noqa: BLE001 - any service's code; its text may hold the address
                return type(error).__name__
            said = self._quiet.said.pop(threading.get_ident(), "")
            return "" if delivered else said or "apprise could not deliver it"

        try:
            async with asyncio.timeout(_ANSWER_WAIT_S):
                return await _in_thread(send, lambda: self._busy.discard(number))
        except TimeoutError:
            return f"no answer within {_ANSWER_WAIT_S:g} s"


def _targets(urls: Sequence[str]) -> list[Any]:
    try:
        import apprise
    except ImportError as error:
        raise ConfigError(
            [
                Mistake(
                    "",
                    "notify.urls",
                    "the library apprise is needed to send events and is not installed",
                    "pip install 'mmkit[notify]', or leave the section out",
                )
            ]
        ) from error
    quiet = _Quiet()
    quiet.begin()
    # Not one `Apprise` of all: which of them failed is told, a slow one holds up no other, and its pool of
    # threads, for which the end of the process would wait, is not needed.
    targets = [apprise.Apprise.instantiate(url) for url in urls]
    quiet.end()
    mistakes = [
        Mistake(
            "",
            f"notify.urls[{number}]",
            "an address that apprise understands was expected; found '***'",
            "'apprise --details' lists the services and how their addresses are made up",
        )
        for number, target in enumerate(targets)
        if target is None
    ]
    if mistakes:
        raise ConfigError(mistakes)
    return targets


async def _in_thread(work: Callable[[], str], done: Callable[[], None]) -> str:
    """Do blocking work in a thread that the end of the process does not wait for.

    Args:
        work: What to do.
        done: Called on the event loop once it is done, even if nobody waits any more.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[str] = loop.create_future()

    def finish(value: str) -> None:
        done()
        if not result.done():
            result.set_result(value)

    def run() -> None:
        value = work()
        try:
            loop.call_soon_threadsafe(finish, value)
        except RuntimeError:  # the loop is closed: the run has ended without waiting
            return

    threading.Thread(target=run, name=f"{SILENT_THREADS}notify", daemon=True).start()
    return await result


class _Quiet(logging.Handler):
    """Keeps what libraries log while they send from the log, and the status answered out of it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[int, str] = {}
        """By thread, why a message was not delivered."""
        self._before: dict[str, bool] = {}

    def begin(self) -> None:
        """Take over."""
        for name in _TALKATIVE:
            logger = logging.getLogger(name)
            self._before[name] = logger.propagate
            logger.propagate = False
            logger.addHandler(self)

    def end(self) -> None:
        """Leave everything as it was."""
        for name, propagate in self._before.items():
            logger = logging.getLogger(name)
            logger.propagate = propagate
            logger.removeHandler(self)
        self._before.clear()

    def emit(self, record: logging.LogRecord) -> None:
        """Take the status out of apprise's line; the rest may hold a secret."""
        if record.name != "apprise" or record.thread is None:
            return
        said: Any = record.getMessage()
        status = re.search(r"error=([1-5][0-9]{2})\b", said)
        if status:
            self.said[record.thread] = f"HTTP {status[1]}"
        elif "onnection error" in said:
            self.said[record.thread] = "no connection"
