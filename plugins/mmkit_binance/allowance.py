"""What the venue lets this address ask over REST: weight in a minute, and nothing at all after a refusal.

Source: Binance Spot API, "LIMITS": weight is counted by IP address; after HTTP 429 a client that does not
back off is banned (HTTP 418), from two minutes up to three days. USD-M and COIN-M, the same; since
2026-06-30 those two share one budget.
"""

from __future__ import annotations

import asyncio
import logging
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


def depth_weight(market: str, limit: int) -> int:
    """Return what a request for the book of so many levels a side weighs."""
    return next(weight for most, weight in _DEPTH_WEIGHT[market] if limit <= most)


def minute_weight(market: str) -> int:
    """Return the weight that mmkit uses in a minute at most."""
    return int((WEIGHT["/api/v3"] if market == "spot" else WEIGHT["/fapi/v1"]) * _SHARE)


class Allowance:
    """How much may be asked, and when.

    Args:
        weight: What the venue allows in a minute.
    """

    def __init__(self, weight: int) -> None:
        self.limit = int(weight * _SHARE)
        self._allowed_at = 0.0
        self._window = -1
        self._used = 0

    def banned_s(self) -> float:
        """Return for how many seconds more nothing may be asked."""
        return max(0.0, self._allowed_at - asyncio.get_running_loop().time())

    def ban(self, seconds: float) -> None:
        """Ask nothing for so long."""
        now = asyncio.get_running_loop().time()
        self._allowed_at = max(self._allowed_at, now + seconds)

    async def wait(self, weight: int) -> None:
        """Return when a request of this weight may be sent; it is counted."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            if now < self._allowed_at:
                await asyncio.sleep(self._allowed_at - now)
                continue
            window = int(now // _MINUTE_S)
            if window != self._window:
                self._window, self._used = window, 0
            if not self._used or self._used + weight <= self.limit:
                self._used += weight
                return
            left = (window + 1) * _MINUTE_S - now
            _log.warning("weight used up used=%d wait_s=%.1f", self._used, left)
            await asyncio.sleep(left)

    def used(self, told: str | None) -> None:
        """Take in what the venue says has been used in its minute, by everybody at this address."""
        if told is not None and told.isdecimal():
            self._used = max(self._used, int(told))


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
