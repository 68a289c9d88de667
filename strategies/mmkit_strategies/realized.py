"""How much the mid has really moved of late."""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise

_SECOND = 1_000_000_000  # in ns


class RealizedVolatility:
    """The realized volatility of mid over a window: ``sqrt(sum of squared changes / sum of seconds)``.

    The square root of the realized variance per second of Andersen, Bollerslev, Diebold and Labys, "Modeling and
    Forecasting Realized Volatility", Econometrica 71(2), 2003, of absolute changes. Samples are a second apart at
    least: closer ones would count the bouncing of the best prices.

    Args:
        window: How far back it looks, ns.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._samples: deque[tuple[int, float]] = deque()

    def see(self, now: int, mid: float) -> None:
        """Take in the mid at `now`, ns since the epoch, in any unit of price."""
        samples = self._samples
        if samples and now - samples[-1][0] < _SECOND:
            return
        if samples and now - samples[-1][0] > self._window:
            samples.clear()  # nothing was seen for so long that nothing is known
        samples.append((now, mid))
        while now - samples[0][0] > self._window:
            samples.popleft()

    def per_root_second(self) -> float:
        """Return it in that unit of price per square root of a second; 0 until half the window has been seen."""
        samples = list(self._samples)
        if not samples or 2 * (samples[-1][0] - samples[0][0]) < self._window:
            return 0.0
        mids = [mid for _, mid in samples]
        squares = sum((b - a) ** 2 for a, b in pairwise(mids))
        return math.sqrt(squares / ((samples[-1][0] - samples[0][0]) / _SECOND))
