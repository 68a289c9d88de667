"""What can go wrong with the sandbox's gateway, and with which requests."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Sequence
from enum import StrEnum
from random import Random
from typing import NamedTuple

from mmkit.units import format_duration, parse_duration
from mmkit_sandbox.chat import ChatRequest

_S = 1_000_000_000
_KEPT = 1000  # of what happened


class ChatFaultKind(StrEnum):
    """What goes wrong with an answer, besides ``http_NNN``: the status, with an error as its body."""

    DELAY = "delay"
    """It comes late [2s]; another fault may happen to it, too."""
    HANG = "hang"
    """It never comes [1h]; the connection stays open until the client goes."""
    RESET = "reset"
    """The connection is cut before a word."""
    CUT = "cut"
    """The connection is cut in the middle of the answer."""
    HTML = "html"
    """A web page with status 200."""
    ERROR_BODY = "error_body"
    """An error as the body, with status 200."""
    NO_CHOICES = "no_choices"
    """Nothing in ``choices``."""
    BLANK = "blank"
    """Spaces instead of words, and ``finish_reason`` is ``stop``."""
    HALF_JSON = "half_json"
    """JSON that ends in the middle."""
    NAN = "nan"
    """Numbers that are none."""
    CONFIDENCE_85 = "confidence_85"
    """A confidence of 85; other numbers are a thousand times too large."""
    NO_SUCH_SIGNAL = "no_such_signal"
    """``MOON`` instead of one of the choices."""
    INJECTION = "injection"
    """All words tell the reader to ignore the limits and buy; the rest is as sure of that as it may be."""
    ORDERS = "orders"
    """The injection, and besides the fields that were asked for others with orders."""
    LONG = "long"
    """Ten thousand tokens, whatever the request allows."""
    NO_USAGE = "no_usage"
    """The answer does not say what it used."""
    NO_JSON_SCHEMA = "no_json_schema"
    """400 for a request with ``json_schema``."""
    ONLY_TEXT = "only_text"
    """400 for a request with ``json_schema`` or ``json_object``."""
    CHATTER = "chatter"
    """Words before and after the JSON."""
    FENCES = "fences"
    """The JSON in a Markdown code block."""


STATUS = re.compile(r"http_([45]\d\d)")
"""A fault that is a status."""

_EXPECTED = (
    "'WHICH WHAT [HOW LONG]', such as '3 hang', '2-5 http_429 1s', '20% cut' or '* delay 2s'"
)
_LASTS = {ChatFaultKind.DELAY.value: 2 * _S, ChatFaultKind.HANG.value: 3600 * _S}
_RETRY_AFTER = ("http_429", "http_503")


class ChatFault(NamedTuple):
    """One thing that goes wrong with some of the requests.

    Attributes:
        kind: What: a `ChatFaultKind`, or ``http_NNN``.
        first: The first request it may happen to, from 1.
        last: The last; `None` for no end.
        chance: With which probability it happens to each of those.
        lasts_ns: How late, or the Retry-After of 429 and 503; 0 for neither.
    """

    kind: str
    first: int = 1
    last: int | None = None
    chance: float = 1.0
    lasts_ns: int = 0

    def __str__(self) -> str:
        if self.chance < 1:
            which = f"{self.chance * 100:g}%"
        elif self.last == self.first:
            which = str(self.first)
        elif self.last is None:
            which = "*" if self.first == 1 else f"{self.first}-"
        else:
            which = f"{self.first}-{self.last}"
        lasts = f" {format_duration(self.lasts_ns)}" if self.lasts_ns else ""
        return f"{which} {self.kind}{lasts}"


def parse_chat_fault(text: str) -> ChatFault:
    """Read ``WHICH WHAT [HOW LONG]``: which requests, counted from 1, or with which chance.

    Raises:
        ValueError: if it is none; says what was expected.
    """
    words = text.split()
    if len(words) not in (2, 3):
        raise ValueError(f"{_EXPECTED}, was expected; found {text!r}")
    which, kind = words[:2]
    if kind not in list(ChatFaultKind) and STATUS.fullmatch(kind) is None:
        there = ", ".join((*ChatFaultKind, "http_400 to http_599"))
        raise ValueError(f"{_EXPECTED}, was expected; found {text!r}; what goes wrong is {there}")
    lasts_ns = _LASTS.get(kind, 0)
    if len(words) == 3:
        if kind not in (*_LASTS, *_RETRY_AFTER):
            raise ValueError(f"{kind!r} takes no time; found {text!r}; {_EXPECTED}, was expected")
        try:
            lasts_ns = parse_duration(words[2])
        except ValueError as error:
            raise ValueError(f"{_EXPECTED}, was expected; found {text!r}: {error}") from None
    first, last, chance = _which(which, text)
    return ChatFault(kind, first, last, chance, lasts_ns)


def _which(which: str, text: str) -> tuple[int, int | None, float]:
    """Return the first and the last request, and the chance."""
    if which == "*":
        return 1, None, 1.0
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)%", which):
        share = float(found[1]) / 100
        if 0 < share <= 1:
            return 1, None, share
    elif found := re.fullmatch(r"(\d+)(-?)(\d*)", which):
        first = int(found[1])
        last = int(found[3]) if found[3] else (None if found[2] else first)
        if first >= 1 and (last is None or last >= first) and (found[2] or not found[3]):
            return first, last, 1.0
    raise ValueError(
        f"{_EXPECTED}, was expected; found {which!r} in {text!r}; requests are counted from 1, a "
        "chance is more than 0% and at most 100%"
    )


class ChatHappened(NamedTuple):
    """One thing that a fault did: to which request, which, to what in words."""

    request: int
    fault: ChatFault
    what: str


class ChatTrouble:
    """Knows which faults happen to which request.

    Args:
        faults: What may happen; the first of those that hit a request does.
        seed: Decides what is left to chance.
    """

    def __init__(self, faults: Sequence[ChatFault], seed: int) -> None:
        self._faults, self._seed = tuple(faults), seed
        self._random = Random(f"gateway {seed}")  # noqa: S311  # not for secrets
        self._requests = 0
        self.happened: deque[ChatHappened] = deque(maxlen=_KEPT)
        """What faults did, oldest first; the last thousand."""
        self.counts: Counter[str] = Counter()
        """How often which fault happened, by its kind."""

    def begin(self, faults: Sequence[ChatFault]) -> None:
        """Replace what may happen; requests are counted anew, from the next one."""
        self._faults, self._requests = tuple(faults), 0
        self._random = Random(f"gateway {self._seed}")  # noqa: S311  # not for secrets

    def next(self, request: ChatRequest, number: int) -> tuple[int, ChatFault | None]:
        """Return by how much the next request's answer is late, ns, and what else happens to it.

        Args:
            request: The request.
            number: What it is called in `happened`.
        """
        self._requests += 1
        late, hit = 0, None
        for fault in self._faults:
            last = self._requests if fault.last is None else fault.last
            # The chance is drawn for every request, so that one fault more does not change the others.
            drawn = fault.chance >= 1 or self._random.random() < fault.chance
            if (
                not fault.first <= self._requests <= last
                or not drawn
                or not _applies(fault, request)
            ):
                continue
            if fault.kind == ChatFaultKind.DELAY:
                late += fault.lasts_ns
            elif hit is None:
                hit = fault
            else:
                continue
            self.counts[fault.kind] += 1
            self.happened.append(ChatHappened(number, fault, f"{request.model} {request.form}"))
        return late, hit


def _applies(fault: ChatFault, request: ChatRequest) -> bool:
    if fault.kind == ChatFaultKind.NO_JSON_SCHEMA:
        return request.form == "json_schema"
    if fault.kind == ChatFaultKind.ONLY_TEXT:
        return request.form != "text"
    return True
