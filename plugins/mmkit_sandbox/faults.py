"""What can go wrong on the way from the exchange to its clients, and when it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from heapq import merge
from itertools import takewhile
from random import Random
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field

from mmkit.interfaces import PluginConfig
from mmkit.units import Duration, format_duration, parse_duration
from mmkit_sandbox.channel import StreamKind

_MS = 1_000_000
_S = 1000 * _MS


class FaultKind(StrEnum):
    """What goes wrong. Its duration, in brackets, is what it has unless it is given one."""

    DROP = "drop"
    """The next message of the stream is lost; with a duration, each with probability 1/2."""
    DUPLICATE = "duplicate"
    """The next message of the stream comes twice; with a duration, each with probability 1/2."""
    REORDER = "reorder"
    """The next message comes after the one behind it; with a duration, each with probability 1/2."""
    DELAY = "delay"
    """The next message comes late [300ms]; those behind it pass it."""
    STALL = "stall"
    """Nothing comes through for so long [1s], then all of it at once, in order."""
    SILENT = "silent"
    """The stream says nothing for so long [3s]; the others go on."""
    HTML = "html"
    """The next REST answer is a web page, with status 200; with a duration, all of them."""
    EMPTY = "empty"
    """The next REST answer has no body; with a duration, all of them."""
    CUT = "cut"
    """The next REST answer ends in the middle; with a duration, all of them."""
    HTTP_429 = "http_429"
    """REST refuses for so long [1s], with Retry-After."""
    HTTP_418 = "http_418"
    """REST bans the client for so long [2s], with Retry-After."""
    STALE = "stale"
    """The next snapshot is one of five seconds ago; with a duration, all of them."""
    OTHER_SYMBOL = "other_symbol"
    """The next snapshot is that of another symbol; with a duration, all of them."""
    ALTERED = "altered"
    """The next snapshot has wrong quantities, levels too few and too many; with a duration, all of them."""
    HALF_OPEN = "half_open"
    """Connections stay open, but nothing comes, and pings and closes are not answered."""
    SHUTDOWN = "shutdown"
    """``serverShutdown`` is sent, and a second later the connections are closed with 1001."""
    CLOSE_1000 = "close_1000"
    CLOSE_1001 = "close_1001"
    CLOSE_1006 = "close_1006"
    """The connections are cut without a closing handshake, which clients call 1006."""
    CLOSE_1008 = "close_1008"
    REFUSE = "refuse"
    """Nobody can connect or ask for so long [2s]; connections that are open stay."""
    RESTART = "restart"
    """Everything is cut, nothing listens for so long [1s], and update ids begin anew."""
    TIMEOUT = "timeout"
    """The next order, cancel or amendment is carried out and answered with -1007: nobody knows."""
    LOST_ANSWER = "lost_answer"
    """The next order, cancel or amendment is carried out and not answered."""
    LOST_REQUEST = "lost_request"
    """The next order, cancel or amendment is neither carried out nor answered."""
    HIDDEN = "hidden"
    """The next order is not found for so long [30s], whoever asks for it."""
    CLOCK = "clock"
    """The next signed request is refused for its timestamp, -1021; with a duration, all of them."""
    NO_FUNDS = "no_funds"
    """The next order is refused for lack of money, -2010 or -2019; with a duration, all of them."""
    BUSY = "busy"
    """Signed requests are refused for so long [2s], -1008."""
    ERROR_1003 = "error_1003"
    """Signed requests are refused for so long [1s] with -1003 and 400, and not a word of when to come back."""
    MAINTENANCE = "maintenance"
    """Signed requests are answered with a web page and status 503 for so long [5s]."""


MESSAGES = (
    FaultKind.DROP,
    FaultKind.DUPLICATE,
    FaultKind.REORDER,
    FaultKind.DELAY,
    FaultKind.SILENT,
)
"""Faults of single messages or streams."""
SNAPSHOTS = (FaultKind.STALE, FaultKind.OTHER_SYMBOL, FaultKind.ALTERED)
"""Faults of the answer to GET depth."""
ANSWERS = (
    FaultKind.HTML,
    FaultKind.EMPTY,
    FaultKind.CUT,
    FaultKind.HTTP_429,
    FaultKind.HTTP_418,
)
"""Faults of any REST answer."""
CLOSES = {
    FaultKind.CLOSE_1000: 1000,
    FaultKind.CLOSE_1001: 1001,
    FaultKind.CLOSE_1006: 1006,
    FaultKind.CLOSE_1008: 1008,
}
"""Faults that close connections, with the code."""
PRIVATE = (
    FaultKind.TIMEOUT,
    FaultKind.LOST_ANSWER,
    FaultKind.LOST_REQUEST,
    FaultKind.HIDDEN,
    FaultKind.CLOCK,
    FaultKind.NO_FUNDS,
    FaultKind.BUSY,
    FaultKind.ERROR_1003,
    FaultKind.MAINTENANCE,
)
"""Faults of what an account asks. By chance only where they are asked for by name."""
PUBLIC = tuple(kind for kind in FaultKind if kind not in PRIVATE)
"""All the others."""
NOT_IN_A_REPLAY = (*SNAPSHOTS, FaultKind.RESTART, *PRIVATE)
"""Faults that need a market: a capture has its own snapshots and its own past."""

ANY = "any"
STREAMS = (*(kind.value for kind in StreamKind if kind is not StreamKind.PARTIAL), ANY)
"""What a fault may be about. ``depth`` is diffs and partial books; ``any`` is all there is."""
_BY_CHANCE = ("depth", "trade", "aggTrade", "bookTicker", "markPrice", ANY)
"""Streams that chance picks from: what a run listens to."""

_LASTS = {
    FaultKind.DELAY: 300 * _MS,
    FaultKind.STALL: _S,
    FaultKind.SILENT: 3 * _S,
    FaultKind.HTTP_429: _S,
    FaultKind.HTTP_418: 2 * _S,
    FaultKind.REFUSE: 2 * _S,
    FaultKind.RESTART: _S,
    FaultKind.HIDDEN: 30 * _S,
    FaultKind.BUSY: 2 * _S,
    FaultKind.ERROR_1003: _S,
    FaultKind.MAINTENANCE: 5 * _S,
}


class Fault(NamedTuple):
    """One thing that goes wrong.

    Attributes:
        at_ns: When, after the start of the exchange.
        kind: What.
        lasts_ns: For how long; 0 for what happens once.
        stream: To which stream, or to the connections that carry it; one of `STREAMS`.
    """

    at_ns: int
    kind: FaultKind
    lasts_ns: int = 0
    stream: str = StreamKind.DIFF.value

    def __str__(self) -> str:
        lasts = f" {format_duration(self.lasts_ns)}" if self.lasts_ns else ""
        return f"{format_duration(self.at_ns)} {self.kind}{lasts} {self.stream}"

    def about(self, kind: StreamKind) -> bool:
        """Whether it is about messages of this kind."""
        if self.stream == ANY:
            return True
        return self.stream == (StreamKind.DIFF if kind is StreamKind.PARTIAL else kind).value


def parse_fault(text: str) -> Fault:
    """Read ``WHEN WHAT [HOW LONG] [STREAM]``, such as ``12s silent 5s trade``.

    Raises:
        ValueError: if it is none; says what was expected.
    """
    expected = "'WHEN WHAT [HOW LONG] [STREAM]', such as '12s silent 5s trade', was expected"
    when, *rest = text.split() or [""]
    try:
        at_ns = parse_duration(when)
    except ValueError as error:
        raise ValueError(f"{expected}; found {text!r}: {error}") from None
    if not rest or rest[0] not in list(FaultKind):
        there = ", ".join(FaultKind)
        raise ValueError(f"{expected}; found {text!r}; what goes wrong is one of {there}")
    kind, lasts_ns, stream = FaultKind(rest[0]), None, None
    for word in rest[1:]:
        if word in STREAMS and stream is None:
            stream = word
        elif lasts_ns is None and word[:1].isdigit():
            try:
                lasts_ns = parse_duration(word)
            except ValueError as error:
                raise ValueError(f"{expected}; found {text!r}: {error}") from None
        else:
            raise ValueError(
                f"{expected}; found {word!r} in {text!r}; a stream is one of {', '.join(STREAMS)}"
            )
    if lasts_ns is None:
        lasts_ns = _LASTS.get(kind, 0)
    return Fault(at_ns, kind, lasts_ns, stream or StreamKind.DIFF.value)


def _readable(text: str) -> str:
    parse_fault(text)
    return text


class FaultsConfig(PluginConfig):
    """What may be written below ``faults``."""

    seed: int = Field(1, description="Decides what happens by chance, and to what.")
    every: Duration | None = Field(
        None, gt=0, description="Mean time between faults that happen by chance; none if not given."
    )
    kinds: tuple[FaultKind, ...] = Field(
        (), description="What may happen by chance; if empty, everything about public data."
    )
    after: Duration = Field(0, ge=0, description="No fault by chance before.")
    until: Duration | None = Field(None, gt=0, description="No fault by chance after.")
    at: tuple[Annotated[str, AfterValidator(_readable)], ...] = Field(
        (),
        description="A schedule: 'WHEN WHAT [HOW LONG] [STREAM]', such as '12s silent 5s trade'.",
    )

    @property
    def on(self) -> bool:
        """Whether anything ever goes wrong."""
        return bool(self.every or self.at)


def planned(
    config: FaultsConfig,
    possible: Sequence[FaultKind] = PUBLIC,
) -> Iterator[Fault]:
    """Yield the faults of a configuration in the order of time, without end if it has none."""
    scheduled = sorted(map(parse_fault, config.at), key=_at)
    return merge(scheduled, _by_chance(config, possible), key=_at)


def _at(fault: Fault) -> int:
    return fault.at_ns


def _by_chance(config: FaultsConfig, possible: Sequence[FaultKind]) -> Iterator[Fault]:
    if config.every is None:
        return iter(())
    random = Random(f"faults {config.seed}")  # noqa: S311  # not for secrets
    endless = _endless(config.every, config.after, config.kinds or possible, random)
    until = config.until
    if until is None:
        return endless
    return takewhile(lambda fault: fault.at_ns <= until, endless)


def _endless(every: int, after: int, kinds: Sequence[FaultKind], random: Random) -> Iterator[Fault]:
    at = after
    while True:
        at += round(random.expovariate(1 / every))
        yield drawn(at, random.choice(kinds), random)


def drawn(at_ns: int, kind: FaultKind, random: Random) -> Fault:
    """Return a fault whose duration and stream are left to chance."""
    # Whole milliseconds, so that it can be written down and given back as a schedule.
    at_ns -= at_ns % _MS
    lasts = round(_LASTS.get(kind, 0) * random.uniform(0.3, 1.5) / _MS) * _MS
    if not lasts and kind in (*MESSAGES, *SNAPSHOTS, *ANSWERS) and random.random() < 0.25:
        lasts = random.randrange(200, 1500) * _MS
    # A book is what most can be lost on.
    stream = StreamKind.DIFF.value if random.random() < 0.75 else random.choice(_BY_CHANCE)
    return Fault(at_ns, kind, lasts, stream)


def possible(replay: bool) -> tuple[FaultKind, ...]:
    """Return what can go wrong by chance with a market, or with a capture that is played."""
    return tuple(kind for kind in PUBLIC if not (replay and kind in NOT_IN_A_REPLAY))


def impossible(config: FaultsConfig, replay: bool) -> list[FaultKind]:
    """Return what the configuration asks for and cannot have."""
    wanted: list[Any] = [*config.kinds, *(parse_fault(text).kind for text in config.at)]
    return [kind for kind in dict.fromkeys(wanted) if replay and kind in NOT_IN_A_REPLAY]
