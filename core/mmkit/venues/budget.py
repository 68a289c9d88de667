"""How much more may be asked of a venue that counts requests in windows of fixed length, such as clock minutes.

Nothing waits here: a quote that comes late is worth less than none. What does not fit is refused before it is sent,
with the time from which on it will fit. Cancels are first in line: they may use what others must leave.

Source: Binance Spot API, "LIMITS", and "Rate limits" of its WebSocket API: windows are fixed, begin with the clock's
minute or ten seconds, and weight is counted by address, so that others may use it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from mmkit.accounts import Refusal, Refused

_MS = 1_000_000


class Rank(Enum):
    """Whose share of a window a request may use."""

    CANCEL = 1.0
    ORDER = 0.9
    ASK = 0.75


class Window:
    """One limit: so much in so long.

    Args:
        limit: What the venue allows.
        length_ms: For how long.
    """

    def __init__(self, limit: int, length_ms: int) -> None:
        self.limit, self.length_ms = limit, length_ms
        self._number = -1
        self._used = 0
        self._under_way = 0

    def left(self, now_ms: int, share: float = 1.0) -> int:
        """Return how much may be used now, of a share of the whole."""
        self._turn(now_ms)
        return int(self.limit * share) - self._used - self._under_way

    def opens_in_ms(self, now_ms: int) -> int:
        """Return after how long the next window begins."""
        return self.length_ms - now_ms % self.length_ms

    def sent(self, weight: int) -> None:
        """Count what is under way: the venue has not said yet what it weighs."""
        self._under_way += weight

    def answered(self, weight: int, told: int | None, now_ms: int) -> None:
        """Take in an answer, with what the venue says was used; `None` if it does not, or none came."""
        self._turn(now_ms)
        self._under_way -= weight
        self._used = self._used + weight if told is None else max(self._used, told)

    def _turn(self, now_ms: int) -> None:
        number = now_ms // self.length_ms
        if number > self._number:
            self._number, self._used = number, 0


class Budget:
    """What an account, at one address, may ask.

    Args:
        weight: Of all requests, in a minute.
        orders: Limits on orders alone, by length in ms.
    """

    def __init__(self, weight: int, orders: Mapping[int, int] | None = None) -> None:
        self.weight = Window(weight, 60_000)
        self.orders = [Window(limit, length) for length, limit in (orders or {}).items()]
        self._closed_until_ms = self._orders_closed_until_ms = 0

    def admit(self, weight: int, rank: Rank, now_ms: int) -> None:
        """Count a request that is about to be sent.

        Raises:
            Refused: if it does not fit now (`Refusal.RATE`); nothing is counted then.
        """
        if now_ms < self._closed_until_ms:
            self._refuse("the venue has said to send nothing", self._closed_until_ms - now_ms)
        if self.weight.left(now_ms, rank.value) < weight:
            self._refuse("the weight of this minute is used up", self.weight.opens_in_ms(now_ms))
        if rank is Rank.ORDER:
            if now_ms < self._orders_closed_until_ms:
                wait_ms = self._orders_closed_until_ms - now_ms
                self._refuse("the venue has said to send no order", wait_ms)
            for window in self.orders:
                if window.left(now_ms) < 1:
                    words = f"the orders of these {window.length_ms // 1000} s are used up"
                    self._refuse(words, window.opens_in_ms(now_ms))
            for window in self.orders:
                window.sent(1)
        self.weight.sent(weight)

    def answered(
        self,
        weight: int,
        rank: Rank,
        now_ms: int,
        told: int | None = None,
        orders_told: Mapping[int, int] | None = None,
    ) -> None:
        """Take in that a request is over, and what the venue says has been used."""
        self.weight.answered(weight, told, now_ms)
        if rank is Rank.ORDER:
            for window in self.orders:
                window.answered(1, (orders_told or {}).get(window.length_ms), now_ms)

    def close(self, for_ms: int, now_ms: int, *, orders_only: bool = False) -> None:
        """Send nothing for so long: the venue has said so.

        Args:
            for_ms: How long.
            now_ms: The time.
            orders_only: It has said so of new orders (Binance: -1015); cancels and questions go on.
        """
        until_ms = now_ms + for_ms
        if orders_only:
            self._orders_closed_until_ms = max(self._orders_closed_until_ms, until_ms)
        else:
            self._closed_until_ms = max(self._closed_until_ms, until_ms)

    @staticmethod
    def _refuse(words: str, wait_ms: int) -> None:
        said = f"not sent: {words}; it may be in {wait_ms / 1000:.1f} s"
        raise Refused(Refusal.RATE, said, None, wait_ms * _MS)


_LENGTHS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def used_of(headers: Mapping[str, str]) -> tuple[int | None, dict[int, int]]:
    """Return what Binance's headers say was used: weight of the minute, and orders by length of the window in ms."""
    weight, orders = None, {}
    for key, value in headers.items():
        name = key.lower()
        if not name.startswith("x-mbx-") or not value.isdecimal():
            continue
        if name == "x-mbx-used-weight-1m":
            weight = int(value)
        elif name.startswith("x-mbx-order-count-"):
            length = name.rpartition("-")[2]
            if length[:-1].isdecimal() and length[-1] in _LENGTHS_MS:
                orders[int(length[:-1]) * _LENGTHS_MS[length[-1]]] = int(value)
    return weight, orders
