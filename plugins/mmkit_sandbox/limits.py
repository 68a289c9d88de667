"""How much a client has asked for and how many orders an account has sent, against Binance's limits.

Source: Binance Spot API, "LIMITS" and WebSocket API, "Rate limits": windows are fixed, not rolling. On spot
an order that has traded does not count any more (FAQ "Spot Unfilled Order Count Rules"). USD-M and COIN-M share theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """Weight by market, as if there was one address; orders by account and market.

    Args:
        weight: In a minute, by market.
        orders: By market: interval, how many of it, and how many orders.
        patience: After so many requests beyond the weight of a minute the address is banned; `None` for never.
        ban_s: For how long. Binance: from two minutes to three days.
    """

    def __init__(
        self,
        weight: Mapping[str, int] = WEIGHT_PER_MINUTE,
        orders: Mapping[str, tuple[tuple[str, int, int], ...]] = ORDER_LIMITS,
        patience: int | None = None,
        ban_s: int = 120,
    ) -> None:
        self._weight, self._limits = weight, orders
        self._patience, self._ban_ns = patience, ban_s * _S
        self._impatient = _Window(60)
        self._banned_until = 0
        self._weights = {market: _Window(60) for market in WEIGHT_PER_MINUTE}
        self._weights[COINM] = self._weights[USDM]
        self._orders: dict[tuple[str, str], list[_Window]] = {}

    def weigh(self, market: str, weight: int, now_ns: int) -> None:
        """Take note of a request.

        Raises:
            Refused: -1003 with status 429 if the minute's weight is used up.
        """
        limit = self._weight[market]
        if self.count(market, weight, now_ns) > limit:
            self._mind(now_ns)
            raise Refused(
                -1003,
                f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
                "Please use WebSocket Streams for live updates to avoid polling the API.",
                429,
            )

    def let_in(self, now_ns: int) -> None:
        """Turn away who is banned, whatever is asked.

        Raises:
            Refused: -1003 with status 418.
        """
        if now_ns < self._banned_until:
            until = self._banned_until // 1_000_000
            raise Refused(-1003, f"Way too much request weight used; IP banned until {until}.", 418)

    def _mind(self, now_ns: int) -> None:
        """Take note of a request beyond what is allowed, and ban who asks on and on."""
        window = self._impatient.at(now_ns)
        window.used += 1
        if self._patience is not None and window.used > self._patience:
            self._banned_until = now_ns + self._ban_ns
        self.let_in(now_ns)

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
            self._windows(market, key), self._limits[market], strict=True
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
        """Return how long the minute's weight will be used up, or a ban goes on."""
        if now_ns < self._banned_until:
            return -((now_ns - self._banned_until) // _S)
        return self._weights[market].ends_in_s(now_ns)

    def orders_after_s(self, market: str, key: str, now_ns: int) -> int:
        """Return how long no order will be taken, as there have been too many."""
        windows = zip(self._windows(market, key), self._limits[market], strict=True)
        full = (one for one, (*_, limit) in windows if one.at(now_ns).used >= limit)
        return max((one.ends_in_s(now_ns) for one in full), default=0)

    def headers(self, market: str, key: str | None, now_ns: int) -> dict[str, str]:
        """Return the headers that tell about it."""
        found = {"X-MBX-USED-WEIGHT-1M": str(self._weights[market].at(now_ns).used)}
        if key is not None:
            for window, (interval, count, _) in zip(
                self._windows(market, key), self._limits[market], strict=True
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
                "limit": self._weight[market],
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
                self._windows(market, key), self._limits[market], strict=True
            )
        ]

    def _windows(self, market: str, key: str) -> list[_Window]:
        market = USDM if market == COINM else market
        found = self._orders.get((market, key))
        if found is None:
            found = self._orders[market, key] = [
                _Window(_SECONDS[interval] * count) for interval, count, _ in self._limits[market]
            ]
        return found
