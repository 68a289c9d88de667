"""Which streams do not say what they should. Pure: whoever uses it tells the time, in seconds.

A stream that must speak (`STEADY`) and never has is a mistake, most often of the address. One of the
others may have nothing to say. A stream that has spoken and stops is *stalled* if another one proves that
it had something to say (`WITNESSES`), else merely quiet.
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

    Attributes:
        heard: When each stream that is asked for was last heard; 0 for never.
    """

    def __init__(self, silence_s: float, within_s: float) -> None:
        self._silence_s, self._within_s = silence_s, within_s
        self._slack_s = min(_SLACK_S, silence_s / 2)
        self.heard: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        self._closed: dict[str, float] = {}
        self._suspected: dict[str, float] = {}
        self._told: dict[str, float] = {}

    def hear(self, name: str, now: float) -> None:
        """Say that a stream has spoken."""
        if name in self.heard:
            self.heard[name] = now

    def ask(self, names: Iterable[str], now: float) -> None:
        """Begin to expect streams."""
        for name in names:
            self.heard.setdefault(name, 0.0)
            self._asked.setdefault(name, now)

    def forget(self, names: Iterable[str]) -> None:
        """Expect streams no more."""
        for name in names:
            for known in (self.heard, self._asked, self._closed, self._suspected, self._told):
                known.pop(name, None)

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
            if self.heard[name]:
                self.heard[name] = now  # what it missed meanwhile is told as a loss

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
        if since < self._silence_s:
            self._suspected.pop(name, None)
            return None
        if self._witnessed(name, last):
            suspected = self._suspected.setdefault(name, now)
            if now - suspected < self._slack_s:
                return None
            return self._tell(name, Finding.STALLED, now, since)
        if steady and latest > last + self._silence_s / 2:
            return self._tell(name, Finding.QUIET, now, since)
        return None

    def _witnessed(self, name: str, last: float) -> bool:
        kind = kind_of(name)
        if kind in _PERIODIC:
            return any(at > last + self._slack_s for at in self.heard.values())
        symbol = name.partition("@")[0]
        witnesses = WITNESSES.get(kind, ())
        return any(
            at > last + self._slack_s
            for other, at in self.heard.items()
            if other.partition("@")[0] == symbol and kind_of(other) in witnesses
        )

    def _tell(self, name: str, finding: Finding, now: float, since: float) -> Found:
        self._told[name] = now
        self._suspected.pop(name, None)
        return Found(name, finding, since)
