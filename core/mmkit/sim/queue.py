"""How far a resting order has come in the queue at its price, seen from market data alone.

The venue tells the total at each price, not who is ahead of whom. The models differ in what they make of
a total that shrinks without a trade: somebody canceled, ahead of us or behind.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from mmkit.settings import QueueSettings


class QueuePosition:
    """Where one order stands. Quantities in lots."""

    __slots__ = ("front", "traded")

    def __init__(self, front: float) -> None:
        self.front = front
        """Thought to be ahead of us; below zero by what has traded beyond it."""
        self.traded = 0.0
        """Traded at this price since the book last told its total there."""


class QueueModel(ABC):
    """Moves orders up in their queues. Stateless: the state is in `QueuePosition`."""

    def ahead(self, total: int) -> float:
        """Return how much of `total` lots is ahead of an order that arrives."""
        return float(total)

    def trade(self, position: QueuePosition, quantity: int) -> None:
        """Take in a trade of `quantity` lots at the order's price, against its side."""
        position.front -= quantity
        position.traded += quantity

    @abstractmethod
    def level(self, position: QueuePosition, before: int, after: int) -> None:
        """Take in that the total at the order's price went from `before` to `after` lots."""

    def fillable(self, position: QueuePosition) -> int:
        """Return the lots that have traded beyond everything ahead, and start counting anew."""
        lots = math.floor(-position.front + 0.5)
        if lots <= 0:
            return 0
        position.front = 0.0
        return lots


class Optimistic(QueueModel):
    """Nobody is ever ahead of us: any trade at our price fills. No model can fill more."""

    def ahead(self, total: int) -> float:
        """Nobody."""
        return 0.0

    def level(self, position: QueuePosition, before: int, after: int) -> None:
        """Make nothing of it."""


class Pessimistic(QueueModel):
    """Everybody is always ahead of us: only a market that moves through our price fills. No model can fill less."""

    def level(self, position: QueuePosition, before: int, after: int) -> None:
        """Make nothing of it."""

    def fillable(self, position: QueuePosition) -> int:
        """Nothing."""
        return 0


class RiskAverse(QueueModel):
    """Every cancellation was behind us: only trades move us up, until the total is smaller than our front."""

    def level(self, position: QueuePosition, before: int, after: int) -> None:
        """Cap the front at the new total."""
        position.front = min(position.front, after)


class Probabilistic(QueueModel):
    """A cancellation was behind us with a probability that depends on where we stand.

    That share of a shrinkage which trades do not explain is thought to have happened behind us. After
    E. Rigtorp, "Estimating Order Queue Position", 2013, and the discussion at
    quant.stackexchange.com/questions/3782; the same rule as hftbacktest's ProbQueueModel, so that
    results can be compared, but for one thing: there more than is ahead of us may leave from ahead, and
    the next trade fills us by the difference.
    """

    def level(self, position: QueuePosition, before: int, after: int) -> None:
        """Share an unexplained shrinkage between front and back."""
        shrunk = before - after - position.traded
        # The trades since the last total are in this one.
        position.traded = 0.0
        front = position.front
        if shrunk < 0:
            position.front = min(front, after)
            return
        back = before - front
        behind = self._behind(front, back)
        moved = front - (1.0 - behind) * shrunk + min(back - behind * shrunk, 0.0)
        # Whoever leaves may put us first, but nothing trades by it: not below zero, where `trade` counts.
        position.front = max(min(moved, after), min(front, 0.0))

    @abstractmethod
    def _behind(self, front: float, back: float) -> float:
        """Return the probability that whoever left was behind us.

        `back` may be below zero, and `front` by half a lot, which is how far `fillable` lets it go.
        """


class Calibrated(Probabilistic):
    """The probability is measured: a function of ``x = front / (front + back)``, linear between knots.

    Args:
        behind: The probability at ``x = 0, 1 / n, 2 / n, ..., 1``.
    """

    def __init__(self, behind: Sequence[float]) -> None:
        self._knots = tuple(behind)

    def _behind(self, front: float, back: float) -> float:
        ahead = abs(front)
        total = ahead + max(back, 0.0)
        at = ahead / total * (len(self._knots) - 1) if total > 0.0 else 0.0
        left = min(int(at), len(self._knots) - 2)
        low, high = self._knots[left], self._knots[left + 1]
        return low + (high - low) * (at - left)


class Weighted(Probabilistic):
    """The probability is ``f(back) / (f(back) + f(front))``."""

    def _behind(self, front: float, back: float) -> float:
        weight_back, weight_front = self._weight(max(back, 0.0)), self._weight(abs(front))
        weights = weight_back + weight_front
        if math.isinf(weights):
            return 0.5 if weight_back == weight_front else float(weight_back > weight_front)
        return weight_back / weights if weights else 0.0

    @abstractmethod
    def _weight(self, quantity: float) -> float:
        """Return f(quantity); `quantity` is not below zero."""


class Power(Weighted):
    """``f(x) = x ** exponent``."""

    def __init__(self, exponent: float) -> None:
        self._exponent = exponent

    def _weight(self, quantity: float) -> float:
        if self._exponent == 2.0:
            return quantity * quantity  # by far the quicker, and exactly rounded
        try:
            return float(quantity**self._exponent)
        except OverflowError:
            return math.inf


class Log(Weighted):
    """``f(x) = log(1 + x)``, x in lots."""

    def _weight(self, quantity: float) -> float:
        return math.log1p(quantity)


def queue_model(settings: QueueSettings) -> QueueModel:
    """Return the model that the settings name."""
    match settings.model:
        case "optimistic":
            return Optimistic()
        case "pessimistic":
            return Pessimistic()
        case "risk_averse":
            return RiskAverse()
        case "calibrated":
            return Calibrated(settings.behind)
        case "log":
            return Log()
        case "power":
            return Power(settings.exponent)
