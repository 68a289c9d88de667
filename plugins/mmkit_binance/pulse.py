"""Whether the book keeps up with the trades: a stream of updates that falls silent while others go on."""

from __future__ import annotations

TRADES = 3
"""So many, as one alone may leave the book as it was: an order that the book does not show, or one that
shows as much again."""


class Pulse:
    """Knows how long trades have been told without an update of the book.

    A trade takes something off the book, so an update has to follow. Silence alone proves nothing: in a
    quiet market nothing happens for most of a minute.
    """

    def __init__(self) -> None:
        self.trades = 0
        """How many have been told since the last update."""
        self._since = 0

    def trade(self, ts_local: int) -> None:
        """Say that a trade on the book was told, ns."""
        if not self.trades:
            self._since = ts_local
        self.trades += 1

    def update(self) -> None:
        """Say that the book was told of, or that what was told is forgotten."""
        self.trades = 0

    def behind(self, ts_local: int) -> int:
        """Return for how long, ns, trades have been told and no update; 0 if there were too few."""
        return ts_local - self._since if self.trades >= TRADES else 0
