"""What is sent on to people while a market is watched or traded."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from mmkit.clock import Clock
from mmkit.events import WatchEvent
from mmkit.instruments import Instrument
from mmkit.notify import Notified, Notifier
from mmkit.units import format_time
from mmkit.watch.told import line

if TYPE_CHECKING:
    from mmkit.config import Config


class Messages:
    """Sends on what the section ``notify`` asks for; nothing if it names no address. All but `close` return at once.

    Args:
        config: Says where, and which events.
        command: What goes on, for the title.
        clock: The run's.

    Raises:
        ConfigError: if apprise is not installed, or does not know an address.
    """

    def __init__(self, config: Config, command: str, clock: Clock) -> None:
        notify = config.notify
        self._kinds = frozenset(notify.events)
        self._notifier: Notifier | None = None
        if notify.urls:
            urls = [url.get_secret_value() for url in notify.urls]
            title = f"mmkit {command}: {config.spec.symbol}"
            self._notifier = Notifier(urls, notify.every, title, clock)
            self._notifier.start()

    @property
    def wanted(self) -> bool:
        """Whether anything is sent."""
        return self._notifier is not None

    @property
    def notified(self) -> Notified | None:
        """What came of it so far; `None` if nothing is to be sent."""
        return None if self._notifier is None else self._notifier.notified

    def event(self, event: WatchEvent, instrument: Instrument) -> None:
        """Send an event of the market watch, if it is of a kind that is asked for."""
        if self._notifier is not None and type(event).__name__ in self._kinds:
            self._notifier.tell(line(event, instrument))

    def say(self, now_ns: int, words: str) -> None:
        """Send what has become of the run, in one line; `now_ns` is put before it."""
        if self._notifier is not None:
            self._notifier.tell(f"{format_time(now_ns)} {words}", of_run=True)

    async def close(self) -> None:
        """Send what is waiting, and wait for it, but not long; nothing is sent afterwards."""
        if self._notifier is not None:
            await self._notifier.close()


@contextlib.asynccontextmanager
async def messages(config: Config, command: str, clock: Clock) -> AsyncIterator[Messages]:
    """Send on until the block ends."""
    sent = Messages(config, command, clock)
    try:
        yield sent
    finally:
        await sent.close()
