"""What the venue lets this address ask over REST: weight in a minute, and nothing at all after a refusal.

Source: Binance Spot API, "LIMITS": weight is counted by IP address; after HTTP 429 a client that does not
back off is banned (HTTP 418), from two minutes up to three days. USD-M and COIN-M, the same; since
2026-06-30 those two share one budget.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections import deque
from enum import IntEnum
from typing import NamedTuple
from urllib.parse import urlsplit

_log = logging.getLogger("mmkit.binance")

WEIGHT = {"/api/v3": 6000, "/fapi/v1": 2400, "/dapi/v1": 2400}
"""A minute, by the end of the REST root."""
TRADES_WEIGHT = {"spot": 25, "usdm": 5, "coinm": 5}
AGG_TRADES_WEIGHT = {"spot": 4, "usdm": 20, "coinm": 20}
TICKER_WEIGHT = {"spot": 2, "usdm": 2, "coinm": 2}
MARK_WEIGHT = {"usdm": 1, "coinm": 10}
_DEPTH_WEIGHT = {
    "spot": ((100, 5), (500, 25), (1000, 50), (5000, 250)),
    "usdm": ((50, 2), (100, 5), (500, 10), (1000, 20)),
    "coinm": ((50, 2), (100, 5), (500, 10), (1000, 20)),
}
_MINUTE_S = 60.0
_SHARE = 0.9
"""Of the weight that is used: others may ask from the same address."""
_KEPT_S = 5.0
"""For so long room is kept for a request that follows on another."""
_LEAST_S = 0.001
_WORTH_TELLING_S = 1.0


def depth_weight(market: str, limit: int) -> int:
    """Return what a request for the book of so many levels a side weighs."""
    return next(weight for most, weight in _DEPTH_WEIGHT[market] if limit <= most)


def minute_weight(market: str) -> int:
    """Return the weight that mmkit uses in a minute at most."""
    return int((WEIGHT["/api/v3"] if market == "spot" else WEIGHT["/fapi/v1"]) * _SHARE)


class Rank(IntEnum):
    """Which request goes first when not all of them may be sent."""

    FOLLOWS = 0
    """One that another was sent for: without it that was for nothing."""
    SOON = 1
    LATER = 2


class Weight(NamedTuple):
    """What a request weighs, and when it may be sent."""

    weight: int
    rank: Rank = Rank.SOON
    """Who goes first; those of one rank in order."""
    follows: int = 0
    """What the request that follows on it, of `Rank.FOLLOWS`, will weigh: room is kept for that."""


class _Turn(NamedTuple):
    request: Weight
    future: asyncio.Future[None]


class Allowance:
    """How much may be asked, and when: in no span of a minute more than its share of the venue's weight.

    The venue counts by its own minutes. Where those begin is not known, and so no span may hold more.

    Args:
        weight: What the venue allows in a minute.
    """

    def __init__(self, weight: int) -> None:
        self.limit = int(weight * _SHARE)
        self._allowed_at = 0.0
        self._passed: deque[tuple[float, int]] = deque()  # in the last minute: when, and the weight
        self._used = 0
        self._kept: deque[tuple[float, int]] = deque()  # until when, and the weight
        self._waiting: list[tuple[int, int, _Turn]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._told_until = 0.0

    def banned_s(self) -> float:
        """Return for how many seconds more nothing may be asked."""
        return max(0.0, self._allowed_at - asyncio.get_running_loop().time())

    def ban(self, seconds: float) -> None:
        """Ask nothing for so long."""
        now = asyncio.get_running_loop().time()
        self._allowed_at = max(self._allowed_at, now + seconds)

    async def wait(self, request: Weight) -> None:
        """Return when a request may be sent; it is counted."""
        turn = _Turn(request, asyncio.get_running_loop().create_future())
        heapq.heappush(self._waiting, (request.rank, next(self._numbers), turn))
        self._pass()
        try:
            await turn.future
        finally:
            turn.future.cancel()  # one that waits no more stands in nobody's way

    def used(self, told: str | None) -> None:
        """Take in what the venue says has been used in its minute, by everybody at this address."""
        if told is not None and told.isdecimal():
            now = asyncio.get_running_loop().time()
            self._forget(now)
            self._count(now, int(told) - self._used)

    def _count(self, now: float, weight: int) -> None:
        if weight > 0:
            self._passed.append((now, weight))
            self._used += weight

    def _forget(self, now: float) -> None:
        while self._passed and self._passed[0][0] <= now - _MINUTE_S:
            self._used -= self._passed.popleft()[1]
        while self._kept and self._kept[0][0] <= now:
            self._kept.popleft()

    def _pass(self) -> None:
        """Let pass who may, in order."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        while self._waiting:
            request, _ = turn = self._waiting[0][2]
            if not turn.future.done():
                now = loop.time()
                if (left := self._left_s(now, request)) > 0:
                    self._timer = loop.call_later(left, self._pass)
                    return
                self._count(now, request.weight)
                if request.rank is Rank.FOLLOWS:
                    if self._kept:
                        self._kept.popleft()
                elif request.follows:
                    self._kept.append((now + _KEPT_S, request.follows))
                turn.future.set_result(None)
            heapq.heappop(self._waiting)

    def _left_s(self, now: float, request: Weight) -> float:
        """Return after how long it is to be looked at again whether this one may pass; 0 if it may."""
        if now < self._allowed_at:
            return self._allowed_at - now
        self._forget(now)
        wanted = request.weight
        if request.rank is not Rank.FOLLOWS:
            wanted += request.follows + sum(weight for _, weight in self._kept)
        if not self._used or self._used + wanted <= self.limit:
            return 0.0
        left = self._passed[0][0] + _MINUTE_S - now
        if self._kept:
            left = min(left, self._kept[0][0] - now)
        if left > _WORTH_TELLING_S and now >= self._told_until:
            self._told_until = now + left
            words = "weight used up used=%d requests_waiting=%d wait_s=%.1f"
            _log.info(words, self._used, len(self._waiting), left)
        return max(left, _LEAST_S)


_allowances: dict[tuple[int, str], Allowance] = {}


def allowance(root: str) -> Allowance:
    """Return the allowance of a REST root, such as ``https://api.binance.com/api/v3``; shared in this process."""
    parts = urlsplit(root)
    path = parts.path[-len("/api/v3") :] if parts.path.endswith("/api/v3") else parts.path[-8:]
    # The futures share theirs; by loop, too, whose clock it is.
    family = "spot" if path == "/api/v3" else "futures"
    key = (id(asyncio.get_running_loop()), f"{parts.netloc} {family}")
    if path != "/api/v3" and parts.hostname in ("fapi.binance.com", "dapi.binance.com"):
        key = (key[0], "binance.com futures")
    if key not in _allowances:
        _allowances[key] = Allowance(WEIGHT.get(path, min(WEIGHT.values())))
    return _allowances[key]
