"""Which streams do not say what they should. Pure: whoever uses it tells the time, in seconds.

A stream that must speak (`STEADY`) and never has is a mistake, most often of the address. One of the
others may have nothing to say. A stream that has spoken and stops is *stalled* if another one proves that
it had something to say (`WITNESSES`), else merely quiet. For a book that proof comes soon: a trade takes
something off it, so that an update has to follow. Silence alone proves nothing: in a quiet market nothing
happens for most of a minute.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from mmkit_binance.endpoints import kind_of

_BOOK = ("depth", "depth5", "depth10", "depth20")
STEADY = frozenset({*_BOOK, "bookTicker", "markPrice"})
"""Kinds of streams that say something soon in any market that is open."""
WITNESSES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_BOOK, ("bookTicker", "trade", "aggTrade")),
    "bookTicker": ("trade", "aggTrade"),
    "kline": ("trade", "aggTrade"),
}
"""By kind: streams of the same symbol that change only if it does, too."""
_TRADES = ("trade", "aggTrade")
PASSED_BY = 3
"""So many trades without an update of the book, as one alone may leave the book as it was: an order that
the book does not show, or one that shows as much again."""
BEHIND_S = 3.0
_PERIODIC = frozenset({"markPrice"})
"""Kinds that speak by the clock, so that anything that is heard proves that they should have."""
_SLACK_S = 2.0  # what a witness says may come so much before; the slowest depth is of 1 s


class Finding(Enum):
    """What is the matter with a stream."""

    NEVER = "never"
    """It must speak and never has."""
    UNHEARD = "unheard"
    """It has never spoken, which may be right."""
    STALLED = "stalled"
    """It has stopped, and should not have."""
    QUIET = "quiet"
    """It has stopped while others go on, which may be right."""
    AGAIN = "again"
    """It speaks again."""


class Found(NamedTuple):
    """A stream, what is the matter with it, and since how many seconds."""

    name: str
    finding: Finding
    seconds: float


class Watch:
    """Remembers when each stream was heard.

    Args:
        silence_s: A stream that has said nothing for so long has stopped.
        within_s: A stream that must speak does so within this time of being asked for.
        behind_s: A book that several trades (`PASSED_BY`) have passed by for so long has stopped.

    Attributes:
        heard: When each stream that is asked for was last heard; 0 for never.
    """

    def __init__(self, silence_s: float, within_s: float, behind_s: float = BEHIND_S) -> None:
        self._silence_s, self._within_s, self._behind_s = silence_s, within_s, behind_s
        self._slack_s = min(_SLACK_S, silence_s / 2)
        self._certain_s = min(self._slack_s, behind_s / 4)
        self.heard: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        self._closed: dict[str, float] = {}
        self._suspected: dict[str, float] = {}
        self._told: dict[str, float] = {}
        # By trades' stream: the books of its symbol. By book: how many trades have passed it by, since when.
        self._books: dict[str, list[str]] = {}
        self._passed: dict[str, tuple[int, float]] = {}

    def hear(self, name: str, now: float, *, on_book: bool = True) -> None:
        """Say that a stream has spoken; `on_book` is not so for a print that did not meet the book."""
        if name not in self.heard:
            return
        self.heard[name] = now
        if name in self._passed:
            self._passed[name] = (0, now)
        elif on_book and name in self._books:
            for book in self._books[name]:
                trades, since = self._passed[book]
                self._passed[book] = (trades + 1, since if trades else now)

    def trades_passed(self, name: str) -> int:
        """Return how many trades have been told since the last update of a book."""
        return self._passed.get(name, (0, 0.0))[0]

    def ask(self, names: Iterable[str], now: float) -> None:
        """Begin to expect streams."""
        for name in names:
            self.heard.setdefault(name, 0.0)
            self._asked.setdefault(name, now)
            if kind_of(name) in _BOOK:
                self._passed.setdefault(name, (0, now))
        self._pair()

    def forget(self, names: Iterable[str]) -> None:
        """Expect streams no more."""
        for name in names:
            for known in (self.heard, self._asked, self._closed, self._suspected, self._told):
                known.pop(name, None)
            self._passed.pop(name, None)
        self._pair()

    def closed(self, names: Iterable[str], now: float) -> None:
        """Say that streams have no connection: nothing is expected of them until they have."""
        for name in names:
            if name in self.heard:
                self._closed.setdefault(name, now)

    def opened(self, names: Iterable[str], now: float) -> None:
        """Say that streams have a connection."""
        for name in names:
            if name not in self.heard:
                continue
            self._asked[name] += now - self._closed.pop(name, now)
            self._suspected.pop(name, None)
            if name in self._passed:
                self._passed[name] = (0, now)
            if self.heard[name]:
                self.heard[name] = now  # what it missed meanwhile is told as a loss
                self._told.pop(name, None)

    def look(self, now: float) -> list[Found]:
        """Return what is new: each stream is told once until it speaks again."""
        latest = max(self.heard.values(), default=0.0)
        return [
            found
            for name in self.heard
            if name not in self._closed and (found := self._look_at(name, now, latest)) is not None
        ]

    def _look_at(self, name: str, now: float, latest: float) -> Found | None:
        last = self.heard[name]
        told = self._told.get(name)
        if told is not None:
            if last > told:
                del self._told[name]
                return Found(name, Finding.AGAIN, last - told)
            return None
        steady = kind_of(name) in STEADY
        if not last:
            since = now - self._asked[name]
            if since < self._within_s:
                return None
            return self._tell(name, Finding.NEVER if steady else Finding.UNHEARD, now, since)
        since = now - last
        passed_by = self._passed_by(name, now)
        if since < self._silence_s and not passed_by:
            self._suspected.pop(name, None)
            return None
        if passed_by or self._witnessed(name, last):
            # Whoever takes what arrives may be late, and what it says still wait to be taken.
            suspected = self._suspected.setdefault(name, now)
            if now - suspected < (self._certain_s if passed_by else self._slack_s):
                return None
            return self._tell(name, Finding.STALLED, now, since)
        if steady and latest > last + self._silence_s / 2:
            return self._tell(name, Finding.QUIET, now, since)
        return None

    def _pair(self) -> None:
        """Note which books each stream of trades is about."""
        books: dict[str, list[str]] = {}
        for name in self._passed:
            books.setdefault(_symbol(name), []).append(name)
        self._books = {
            name: books.get(_symbol(name), []) for name in self.heard if kind_of(name) in _TRADES
        }

    def _passed_by(self, name: str, now: float) -> bool:
        trades, since = self._passed.get(name, (0, now))
        return trades >= PASSED_BY and now - since >= self._behind_s

    def _witnessed(self, name: str, last: float) -> bool:
        kind = kind_of(name)
        if kind in _PERIODIC:
            return any(at > last + self._slack_s for at in self.heard.values())
        symbol = _symbol(name)
        witnesses = WITNESSES.get(kind, ())
        return any(
            at > last + self._slack_s
            for other, at in self.heard.items()
            if _symbol(other) == symbol and kind_of(other) in witnesses
        )

    def _tell(self, name: str, finding: Finding, now: float, since: float) -> Found:
        self._told[name] = now
        self._suspected.pop(name, None)
        return Found(name, finding, since)


def _symbol(name: str) -> str:
    return name.partition("@")[0]
