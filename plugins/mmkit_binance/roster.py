"""How many of the books that this process keeps are known, told in the log while that changes."""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakKeyDictionary

_log = logging.getLogger("mmkit.binance")

TELL_S = 5.0
"""Between two lines of the log: books become known one after the other, as the venue's weight allows."""


class Roster:
    """The books of one event loop, by whoever keeps them."""

    def __init__(self) -> None:
        self._known: dict[object, bool] = {}
        self._since: float | None = (
            None  # when the first of those that are not known was lost, or added
        )
        self._timer: asyncio.TimerHandle | None = None
        self._told = (0, 0)

    def put(self, keeper: object, *, known: bool) -> None:
        """Say of a book whether it is known."""
        self._known[keeper] = known
        loop = asyncio.get_running_loop()
        if not known and self._since is None:
            self._since = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(TELL_S, self._tell)

    def remove(self, keeper: object) -> None:
        """Count a book no more."""
        self._known.pop(keeper, None)
        if not self._known and self._timer is not None:
            self._timer.cancel()
            self._timer = self._since = None

    def _tell(self) -> None:
        self._timer = None
        if self._since is None:
            return
        known, total = sum(self._known.values()), len(self._known)
        loop = asyncio.get_running_loop()
        if total > 1 and self._told != (known, total):
            self._told = (known, total)
            seconds = loop.time() - self._since
            _log.info("%d of %d books known seconds=%.0f", known, total, seconds)
        if known == total:
            self._since, self._told = None, (0, 0)
        else:
            self._timer = loop.call_later(TELL_S, self._tell)


_rosters: WeakKeyDictionary[asyncio.AbstractEventLoop, Roster] = WeakKeyDictionary()


def roster() -> Roster:
    """Return the roster of this event loop."""
    return _rosters.setdefault(asyncio.get_running_loop(), Roster())
