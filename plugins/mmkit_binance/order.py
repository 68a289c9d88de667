"""Which of a stream's messages comes before which: by this the same one on two connections is known."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from mmkit_binance.endpoints import kind_of
from mmkit_binance.messages import ON_BOOK as _ON_BOOK
from mmkit_binance.messages import decode


class Place(NamedTuple):
    """A message's stream and its number there, which only grows.

    Attributes:
        stream: In the venue's words.
        number: Of the message.
        after: The number it directly follows, nothing being between; `None` where numbers do not tell.
    """

    stream: str
    number: int
    after: int | None = None


class _Numbers(msgspec.Struct):
    event_time: Any = msgspec.field(default=None, name="E")
    first: Any = msgspec.field(default=None, name="U")
    last: Any = msgspec.field(default=None, name="u")
    previous: Any = msgspec.field(default=None, name="pu")
    last_update_id: Any = msgspec.field(default=None, name="lastUpdateId")
    trade: Any = msgspec.field(default=None, name="t")
    aggregate: Any = msgspec.field(default=None, name="a")


class _Message(msgspec.Struct):
    stream: str
    data: _Numbers | list[_Numbers]


class _Named(msgspec.Struct):
    stream: str = ""


_REASON = re.compile(rb'"X"\s*:\s*"([^"]*)"')
_ENVELOPE = b'{"stream":"'
_named = msgspec.json.Decoder(_Named)
_decoder = msgspec.json.Decoder(_Message)


def _event_time(data: _Numbers) -> Any:
    return data.event_time


_NUMBER: dict[str, Callable[[_Numbers], Any]] = {
    "depth": lambda data: data.last,
    "depth5": lambda data: data.last or data.last_update_id,
    "depth10": lambda data: data.last or data.last_update_id,
    "depth20": lambda data: data.last or data.last_update_id,
    "trade": lambda data: data.trade,
    "aggTrade": lambda data: data.aggregate,
    "bookTicker": lambda data: data.last,
}


def stream_of(raw: bytes) -> str:
    """Return the stream of a message in the combined-stream envelope; empty if it is in none."""
    if raw.startswith(_ENVELOPE):
        return raw[11 : raw.index(b'"', 11)].decode()
    try:
        return _named.decode(raw).stream
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""  # whoever takes it in says what is wrong with it


def place_of(raw: bytes) -> Place | None:
    """Return the place of a message in the combined-stream envelope; `None` if it cannot be told.

    Update ids, trade ids; the time of the event for streams that have neither.

    Raises:
        FeedError: if it is no such message.
    """
    found = decode(_decoder, raw, "a message in the combined-stream envelope")
    data = found.data
    if isinstance(data, list):
        if not data:
            return None
        data = data[0]
    kind = kind_of(found.stream)
    number = _NUMBER.get(kind, _event_time)(data)
    if type(number) is not int:
        return None
    after: Any = None
    if kind == "depth":
        after = data.previous
        if after is None and type(data.first) is int:
            after = data.first - 1
    elif kind in ("trade", "aggTrade"):
        after = number - 1
    return Place(found.stream, number, after if type(after) is int else None)


def on_book(raw: bytes) -> bool:
    """Return whether a message is none of a trade that did not meet the book, as only the futures tell them."""
    found = _REASON.search(raw)
    return found is None or found[1].decode() == _ON_BOOK


class Seam:
    """Where what an old connection says ends and what a new one says goes on.

    Both say the same streams for a while. Take in everything with `old` and `new`, in the order of each.

    Attributes:
        repeated: Messages of the new one that `news` has left out.
    """

    def __init__(self) -> None:
        # How far the old one is in each stream, where the new one began, and what it must say, too.
        self._reached: dict[str, int] = {}
        self._first: dict[str, Place] = {}
        self._expected: set[str] = set()
        self._kept: list[bytes] = []
        self.repeated = 0

    @property
    def kept(self) -> int:
        """How many messages of the new one wait."""
        return len(self._kept)

    @property
    def met(self) -> bool:
        """Whether in some stream the two are known to meet, and in none that they may not."""
        return bool(self._first) and not self.behind()

    def old(self, raw: bytes, *, also_new: bool) -> None:
        """Take in what the old one says; `also_new` if the new one must say it, too."""
        place = place_of(raw)
        if place is not None:
            stream, number, _ = place
            self._reached[stream] = max(number, self._reached.get(stream, -1))
            if also_new:
                self._expected.add(stream)

    def new(self, raw: bytes) -> None:
        """Take in what the new one says; it is kept."""
        place = place_of(raw)
        if place is not None:
            self._first.setdefault(place.stream, place)
        self._kept.append(raw)

    def behind(self) -> set[str]:
        """Return the streams of which there may be something that neither has said."""
        late = {name for name, first in self._first.items() if not self._meets(name, first)}
        return late | (self._expected - self._first.keys())

    def news(self) -> list[bytes]:
        """Return what the new one has said that the old one had not, in order."""
        news = []
        for raw in self._kept:
            place = place_of(raw)
            if place is not None and place.number <= self._reached.get(place.stream, -1):
                self.repeated += 1
            else:
                news.append(raw)
        self._kept = []
        return news

    def _meets(self, name: str, first: Place) -> bool:
        reached = self._reached.get(name)
        if reached is None:
            return False
        return reached >= first.number or (first.after is not None and reached >= first.after)
