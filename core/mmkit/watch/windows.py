"""Rolling sums. All are of whole numbers and so exact: no rounding piles up, however long they roll.

Each change is O(1), or O(1) a trade on average where time makes trades drop out.
"""

from __future__ import annotations

from collections import deque
from math import sqrt


class PriceWindow:
    """The last prices, with their mean and deviation.

    With ``n`` prices of sum ``s`` and sum of squares ``q`` the mean is ``s / n`` and the sample variance
    ``(n q - s s) / (n (n - 1))``. In floats that formula loses all its digits when prices are large and their
    spread is small; in whole ticks it loses none, and the quotient is rounded once.

    Args:
        size: How many are kept.
    """

    __slots__ = ("_prices", "_size", "_squares", "_sum")

    def __init__(self, size: int) -> None:
        self._size = size
        self._prices: deque[int] = deque()
        self._sum = self._squares = 0

    def __len__(self) -> int:
        return len(self._prices)

    def push(self, price: int) -> None:
        """Add a price, in ticks; the oldest drops out if there are too many."""
        prices = self._prices
        if len(prices) == self._size:
            oldest = prices.popleft()
            self._sum -= oldest
            self._squares -= oldest * oldest
        prices.append(price)
        self._sum += price
        self._squares += price * price

    @property
    def mean(self) -> float:
        """Their average; there must be one."""
        return self._sum / len(self._prices)

    @property
    def deviation(self) -> float:
        """Their sample standard deviation; there must be two."""
        n = len(self._prices)
        return sqrt((n * self._squares - self._sum * self._sum) / (n * (n - 1)))

    def distance(self, price: int) -> float:
        """Return how far a price is above their average; exact before it is rounded once."""
        n = len(self._prices)
        return (n * price - self._sum) / n

    def clear(self) -> None:
        """Forget every price."""
        self._prices.clear()
        self._sum = self._squares = 0


class TradeWindow:
    """The last trades by the aggressor's side: how many, and how much.

    Args:
        size: How many are kept.
    """

    __slots__ = ("_size", "_trades", "bought", "buys", "sells", "sold")

    def __init__(self, size: int) -> None:
        self._size = size
        self._trades: deque[tuple[bool, int]] = deque()
        self.buys = self.sells = self.bought = self.sold = 0

    @property
    def full(self) -> bool:
        """Whether there are as many as are kept."""
        return len(self._trades) == self._size

    def push(self, sell: bool, quantity: int) -> None:
        """Add a trade, in lots; the oldest drops out if there are too many."""
        if self.full:
            self._count(*self._trades.popleft(), -1)
        self._trades.append((sell, quantity))
        self._count(sell, quantity, 1)

    def _count(self, sell: bool, quantity: int, sign: int) -> None:
        if sell:
            self.sells += sign
            self.sold += sign * quantity
        else:
            self.buys += sign
            self.bought += sign * quantity

    def clear(self) -> None:
        """Forget every trade."""
        self._trades.clear()
        self.buys = self.sells = self.bought = self.sold = 0


class FlowWindow:
    """The quantity that aggressors of each side traded within a span of time.

    Args:
        span: In ns. At time ``t`` a trade of time ``u`` counts while ``u > t - span``.
    """

    __slots__ = ("_span", "_trades", "bought", "sold")

    def __init__(self, span: int) -> None:
        self._span = span
        self._trades: deque[tuple[int, bool, int]] = deque()
        self.bought = self.sold = 0

    def __len__(self) -> int:
        return len(self._trades)

    def advance(self, now: int) -> None:
        """Let drop out what is too long ago at `now`, which never goes back."""
        trades, before = self._trades, now - self._span
        while trades and trades[0][0] <= before:
            _, sell, quantity = trades.popleft()
            if sell:
                self.sold -= quantity
            else:
                self.bought -= quantity

    def push(self, now: int, sell: bool, quantity: int) -> None:
        """Add a trade of this time, in lots."""
        self.advance(now)
        self._trades.append((now, sell, quantity))
        if sell:
            self.sold += quantity
        else:
            self.bought += quantity

    def clear(self) -> None:
        """Forget every trade."""
        self._trades.clear()
        self.bought = self.sold = 0
