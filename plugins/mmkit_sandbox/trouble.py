"""Carries faults out on messages and answers: without I/O and without a clock, as the exchange is."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable, Iterator
from random import Random
from typing import NamedTuple

from mmkit_sandbox.channel import StreamKind
from mmkit_sandbox.exchange import Exchange
from mmkit_sandbox.faults import ANSWERS, MESSAGES, PRIVATE, SNAPSHOTS, Fault, FaultKind
from mmkit_sandbox.listing import SPOT
from mmkit_sandbox.refused import Refused
from mmkit_sandbox.wrongbooks import WrongBooks

_PAGE = (
    b"<!DOCTYPE html><html><head><title>Service unavailable</title></head>"
    b"<body><h1>Please try again later</h1></body></html>"
)
PAGE = _PAGE
"""What a client sees that was not meant for programs."""
_KEPT = 1000  # of what happened


class Happened(NamedTuple):
    """One thing that a fault did: when, ns of the exchange's clock; which; to what, in words."""

    at_ns: int
    fault: Fault
    what: str


class Reply(NamedTuple):
    """A REST answer as it goes out."""

    status: int
    body: bytes
    content_type: str = "application/json"
    retry_after_s: int | None = None


class Meddled(NamedTuple):
    """What is done to a private request.

    Attributes:
        refusal: It is refused so, and nothing is carried out.
        page: It is answered with a web page and status 503, and nothing is carried out.
        retry_after_s: When to ask again, with a refusal.
        lost: It never gets there.
        unanswered: It is carried out, and the answer is lost.
        unknown: It is carried out, and the answer says that nobody knows.
        hide_ns: The order that it places is not found for so long.
    """

    refusal: Refused | None = None
    page: bool = False
    retry_after_s: int | None = None
    lost: bool = False
    unanswered: bool = False
    unknown: bool = False
    hide_ns: int = 0


class _Lane:
    """What is held back on the way to one client."""

    def __init__(self) -> None:
        self.late: list[tuple[int, int, bytes]] = []  # a heap of when, number, message
        self.swapped: dict[StreamKind, list[bytes]] = {}
        self.stalled: deque[bytes] = deque()


class _Armed:
    """A fault that has begun: until when, or what it has not happened to yet."""

    def __init__(self, fault: Fault, now_ns: int) -> None:
        self.fault, self.until = fault, now_ns + fault.lasts_ns
        self.told: set[StreamKind] = set()


_LASTING = (
    FaultKind.HTTP_429,
    FaultKind.HTTP_418,
    FaultKind.BUSY,
    FaultKind.ERROR_1003,
)
_ONCE = (FaultKind.DELAY, FaultKind.HIDDEN)  # their duration is not how long they go on


class Trouble:
    """Knows which faults are at work, and does to messages and answers what they do.

    Args:
        faults: In the order of time.
        start_ns: What their times count from.
        seed: Decides what is left to chance.
    """

    def __init__(self, faults: Iterator[Fault], start_ns: int, seed: int) -> None:
        self._faults, self._start = faults, start_ns
        self._random = Random(f"trouble {seed}")  # noqa: S311  # not for secrets
        self._next = next(faults, None)
        self._added: list[Fault] = []
        self._armed: list[_Armed] = []
        self._lanes: dict[Hashable, _Lane] = {}
        self._number = 0
        self._stalled_until = 0
        self.down_until = 0
        """Nobody can connect or ask before, ns."""
        self.happened: deque[Happened] = deque(maxlen=_KEPT)
        """What faults did, oldest first; the last thousand."""
        self.count = 0
        """How much that was, with what is forgotten."""

    @property
    def idle(self) -> bool:
        """Whether nothing is going wrong or will, but for what waits for something to happen to."""
        waiting = all(self._waits(one) for one in self._armed)
        late = any(lane.late or lane.stalled for lane in self._lanes.values())
        return self._next is None and waiting and not late

    def advance(self, now_ns: int) -> list[Fault]:
        """Let faults begin and end; return those that are about connections, to be carried out."""
        self._armed = [one for one in self._armed if not self._ended(one, now_ns)]
        begun = []
        while self._next is not None and self._start + self._next.at_ns <= now_ns:
            self._added.append(self._next)
            self._next = next(self._faults, None)
        for fault in self._added:
            if fault.kind in (*MESSAGES, *SNAPSHOTS, *ANSWERS, *PRIVATE):
                self._armed.append(_Armed(fault, now_ns))
            elif fault.kind is FaultKind.STALL:
                self._stalled_until = max(self._stalled_until, now_ns + fault.lasts_ns)
                self._note(now_ns, fault, "everything")
            else:
                if fault.kind in (FaultKind.REFUSE, FaultKind.RESTART):
                    self.down_until = max(self.down_until, now_ns + fault.lasts_ns)
                self._note(now_ns, fault, "connections")
                begun.append(fault)
        self._added.clear()
        return begun

    def begin(self, fault: Fault) -> None:
        """Let a fault begin with the next `advance`, whatever its time, besides those that were planned."""
        self._added.append(fault)

    def end(self) -> None:
        """Let nothing go wrong any more, but for what has begun and goes on by itself, such as being down."""
        self._faults, self._next = iter(()), None
        self._armed.clear()
        self._added.clear()

    @staticmethod
    def _waits(armed: _Armed) -> bool:
        # What happens once waits until there is something to happen to.
        return not armed.fault.lasts_ns or armed.fault.kind in _ONCE

    def _ended(self, armed: _Armed, now_ns: int) -> bool:
        return not self._waits(armed) and armed.until < now_ns

    def pass_on(self, lane: Hashable, kind: StreamKind, data: bytes, now_ns: int) -> list[bytes]:
        """Return what a client gets when `data` is sent to it.

        Args:
            lane: Which client.
            kind: The stream of the message.
            data: The message.
            now_ns: The exchange's time.
        """
        if not self._armed and not self._lanes and now_ns >= self._stalled_until:
            return [data]
        held = self._lanes.setdefault(lane, _Lane())
        through = [data]
        for armed in list(self._armed):
            fault = armed.fault
            if fault.kind in MESSAGES and fault.about(kind) and through:
                through = self._harm(armed, held, kind, through, now_ns)
        if through and kind in held.swapped:
            through += held.swapped.pop(kind)
        if now_ns < self._stalled_until:
            held.stalled.extend(through)
            return []
        through = [*held.stalled, *through]
        held.stalled.clear()
        return through

    def release(self, lane: Hashable, now_ns: int) -> list[bytes]:
        """Return what was held back on the way to a client until now."""
        held = self._lanes.get(lane)
        if held is None or now_ns < self._stalled_until:
            return []
        through = list(held.stalled)
        held.stalled.clear()
        while held.late and held.late[0][0] <= now_ns:
            through.append(heapq.heappop(held.late)[2])
        if not held.late and not held.swapped:
            del self._lanes[lane]
        return through

    def forget(self, lane: Hashable) -> None:
        """Let go of what is held back for a client that has gone."""
        self._lanes.pop(lane, None)

    def book(self, exchange: Exchange, now_ns: int, name: str) -> Exchange:
        """Return the exchange that a REST request is to be answered from."""
        for armed in self._armed:
            if name == "depth" and armed.fault.kind in SNAPSHOTS:
                self._spend(armed, now_ns, "GET depth")
                return WrongBooks(exchange, armed.fault.kind, now_ns, self._random)
        return exchange

    def request(self, now_ns: int, name: str, market: str, *, acts: bool, places: bool) -> Meddled:
        """Return what is done to a signed request.

        Args:
            now_ns: The exchange's time.
            name: What is asked, for the log.
            market: ``spot`` or ``usdm``.
            acts: Whether it is to change something.
            places: Whether it is to place an order.
        """
        hide_ns, after = 0, None
        for armed in list(self._armed):
            fault = armed.fault
            kind = fault.kind
            needed = {
                FaultKind.LOST_REQUEST: acts,
                FaultKind.LOST_ANSWER: acts and after is None,
                FaultKind.TIMEOUT: acts and after is None,
                FaultKind.HIDDEN: places and not hide_ns,
                FaultKind.NO_FUNDS: places,
            }
            known = kind in PRIVATE or kind in (FaultKind.HTTP_429, FaultKind.HTTP_418)
            if not known or not needed.get(kind, True):
                continue
            if kind is FaultKind.HIDDEN:
                hide_ns = fault.lasts_ns
            elif kind in (FaultKind.LOST_ANSWER, FaultKind.TIMEOUT):
                after = kind
            if kind in _LASTING:
                # They last; one without a duration would be over at once.
                self._note(now_ns, fault, name)
            else:
                self._spend(armed, now_ns, name)
            if (met := self._met(armed, now_ns, market)) is not None:
                return met
        return Meddled(
            unanswered=after is FaultKind.LOST_ANSWER,
            unknown=after is FaultKind.TIMEOUT,
            hide_ns=hide_ns,
        )

    @staticmethod
    def _met(armed: _Armed, now_ns: int, market: str) -> Meddled | None:
        """Return how a request is turned away, `None` if it is let through."""
        left = max(1, -(-(armed.until - now_ns) // 1_000_000_000))
        match armed.fault.kind:
            case FaultKind.HTTP_429:
                words = "Too many requests; please slow down."
                return Meddled(Refused(-1003, words, 429), retry_after_s=left)
            case FaultKind.HTTP_418:
                until = armed.until // 1_000_000
                words = f"Way too many requests; IP banned until {until}."
                return Meddled(Refused(-1003, words, 418), retry_after_s=left)
            case FaultKind.BUSY:
                words = "Server is currently overloaded with other requests. Please try again in a few minutes."
                return Meddled(Refused(-1008, words, 503))
            case FaultKind.ERROR_1003:
                return Meddled(Refused(-1003, "Too many requests queued."))
            case FaultKind.MAINTENANCE:
                return Meddled(page=True)
            case FaultKind.CLOCK:
                words = "Timestamp for this request is outside of the recvWindow."
                return Meddled(Refused(-1021, words))
            case FaultKind.NO_FUNDS:
                if market == SPOT:
                    words = "Account has insufficient balance for requested action."
                    return Meddled(Refused(-2010, words))
                return Meddled(Refused(-2019, "Margin is insufficient."))
            case FaultKind.LOST_REQUEST:
                return Meddled(lost=True)
        return None

    def answer(self, reply: Reply, now_ns: int, name: str) -> Reply:
        """Return what a client gets for an answer of the exchange."""
        for armed in self._armed:
            kind = armed.fault.kind
            if kind not in ANSWERS:
                continue
            if kind in (FaultKind.HTTP_429, FaultKind.HTTP_418):
                left = max(1, -(-(armed.until - now_ns) // 1_000_000_000))
                self._note(now_ns, armed.fault, f"GET {name}")
                status = 429 if kind is FaultKind.HTTP_429 else 418
                words = b'{"code":-1003,"msg":"Too many requests; please slow down."}'
                return Reply(status, words, retry_after_s=left)
            self._spend(armed, now_ns, f"GET {name}")
            if kind is FaultKind.HTML:
                return Reply(200, _PAGE, "text/html")
            if kind is FaultKind.EMPTY:
                return reply._replace(status=200, body=b"")
            return reply._replace(body=reply.body[: len(reply.body) // 2])
        return reply

    def _harm(
        self, armed: _Armed, held: _Lane, kind: StreamKind, through: list[bytes], now_ns: int
    ) -> list[bytes]:
        fault = armed.fault
        if fault.kind is FaultKind.SILENT:
            if kind not in armed.told:
                armed.told.add(kind)
                self._note(now_ns, fault, kind.value)
            return []
        if fault.lasts_ns and fault.kind not in _ONCE and self._random.random() < 0.5:
            return through
        self._spend(armed, now_ns, kind.value)
        if fault.kind is FaultKind.DROP:
            return []
        if fault.kind is FaultKind.DUPLICATE:
            return through * 2
        if fault.kind is FaultKind.REORDER:
            held.swapped.setdefault(kind, []).extend(through)
            return []
        for data in through:
            self._number += 1
            heapq.heappush(held.late, (now_ns + fault.lasts_ns, self._number, data))
        return []

    def _spend(self, armed: _Armed, now_ns: int, what: str) -> None:
        if armed.fault.kind in _ONCE or not armed.fault.lasts_ns:
            self._armed = [one for one in self._armed if one is not armed]
        self._note(now_ns, armed.fault, what)

    def _note(self, now_ns: int, fault: Fault, what: str) -> None:
        self.count += 1
        self.happened.append(Happened(now_ns, fault, what))
