"""How much a client has asked for and how many orders an account has sent, against Binance's limits.

Source: Binance Spot API, "LIMITS" and WebSocket API, "Rate limits": windows are fixed, not rolling. On spot
an order that has traded does not count any more (FAQ "Spot Unfilled Order Count Rules"). USD-M and COIN-M share theirs.
"""

from __future__ import annotations

from typing import Any

from mmkit_sandbox.listing import COINM, ORDER_LIMITS, USDM, WEIGHT_PER_MINUTE
from mmkit_sandbox.refused import Refused

_SECONDS = {"SECOND": 1, "MINUTE": 60, "DAY": 86_400}
_LETTERS = {"SECOND": "S", "MINUTE": "M", "DAY": "D"}
_S = 1_000_000_000


class _Window:
    """What has been used in the present interval."""

    def __init__(self, seconds: int) -> None:
        self._length = seconds * _S
        self._number = self.used = 0

    def at(self, now_ns: int) -> _Window:
        number = now_ns // self._length
        if number != self._number:
            self._number, self.used = number, 0
        return self

    def ends_in_s(self, now_ns: int) -> int:
        return -(-(self._length - now_ns % self._length) // _S)


class Limits:
    """Weight by market, as if there was one address; orders by account and market."""

    def __init__(self) -> None:
        self._weights = {market: _Window(60) for market in WEIGHT_PER_MINUTE}
        self._weights[COINM] = self._weights[USDM]
        self._orders: dict[tuple[str, str], list[_Window]] = {}

    def weigh(self, market: str, weight: int, now_ns: int) -> None:
        """Take note of a request.

        Raises:
            Refused: -1003 with status 429 if the minute's weight is used up.
        """
        limit = WEIGHT_PER_MINUTE[market]
        if self.count(market, weight, now_ns) > limit:
            raise Refused(
                -1003,
                f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
                "Please use WebSocket Streams for live updates to avoid polling the API.",
                429,
            )

    def count(self, market: str, weight: int, now_ns: int) -> int:
        """Take note of a request that is answered anyway; return what has been used in the minute."""
        window = self._weights[market].at(now_ns)
        window.used += weight
        return window.used

    def order(self, market: str, key: str, now_ns: int) -> None:
        """Take note of an order that is sent.

        Raises:
            Refused: -1015 with status 429 if there have been too many.
        """
        for window, (interval, count, limit) in zip(
            self._windows(market, key), ORDER_LIMITS[market], strict=True
        ):
            if window.at(now_ns).used >= limit:
                raise Refused(
                    -1015,
                    f"Too many new orders; current limit is {limit} orders per {count} {interval}.",
                    429,
                )
        for window in self._windows(market, key):
            window.used += 1

    def traded(self, market: str, key: str, now_ns: int) -> None:
        """Let an order that has traded count no more."""
        for window in self._windows(market, key):
            window.at(now_ns).used = max(0, window.used - 1)

    def retry_after_s(self, market: str, now_ns: int) -> int:
        """Return how long the minute's weight will be used up."""
        return self._weights[market].ends_in_s(now_ns)

    def headers(self, market: str, key: str | None, now_ns: int) -> dict[str, str]:
        """Return the headers that tell about it."""
        found = {"X-MBX-USED-WEIGHT-1M": str(self._weights[market].at(now_ns).used)}
        if key is not None:
            for window, (interval, count, _) in zip(
                self._windows(market, key), ORDER_LIMITS[market], strict=True
            ):
                name = f"X-MBX-ORDER-COUNT-{count}{_LETTERS[interval]}"
                found[name] = str(window.at(now_ns).used)
        return found

    def told(self, market: str, key: str | None, now_ns: int) -> list[dict[str, Any]]:
        """Return the same as WebSocket API answers tell it: ``rateLimits``."""
        rows: list[dict[str, Any]] = [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": WEIGHT_PER_MINUTE[market],
                "count": self._weights[market].at(now_ns).used,
            }
        ]
        return rows if key is None else rows + self.orders(market, key, now_ns)

    def orders(self, market: str, key: str, now_ns: int) -> list[dict[str, Any]]:
        """Return an account's order counts: ``rateLimit/order``."""
        return [
            {
                "rateLimitType": "ORDERS",
                "interval": interval,
                "intervalNum": count,
                "limit": limit,
                "count": window.at(now_ns).used,
            }
            for window, (interval, count, limit) in zip(
                self._windows(market, key), ORDER_LIMITS[market], strict=True
            )
        ]

    def _windows(self, market: str, key: str) -> list[_Window]:
        market = USDM if market == COINM else market
        found = self._orders.get((market, key))
        if found is None:
            found = self._orders[market, key] = [
                _Window(_SECONDS[interval] * count) for interval, count, _ in ORDER_LIMITS[market]
            ]
        return found
