"""How fast the venue may be asked: messages a second, connections in five minutes."""

from __future__ import annotations

import asyncio
from collections import deque
from urllib.parse import urlsplit

from mmkit_binance.endpoints import ATTEMPTS_S


class Pace:
    """Lets at most so many pass in any span of so long; others wait, in order.

    Args:
        limit: How many.
        period_s: The span.
    """

    def __init__(self, limit: int, period_s: float) -> None:
        self._period_s = period_s
        self._passed: deque[float] = deque(maxlen=limit)
        self._turn = asyncio.Lock()

    async def wait(self) -> float:
        """Return when one more may pass, after how many seconds."""
        loop = asyncio.get_running_loop()
        waited = 0.0
        async with self._turn:
            passed = self._passed
            while len(passed) == passed.maxlen:
                left = passed[0] + self._period_s - loop.time()
                if left <= 0:
                    break
                waited += left
                await asyncio.sleep(left)
            passed.append(loop.time())
        return waited


_attempts: dict[tuple[int, str], Pace] = {}


def attempts(url: str, limit: int) -> Pace:
    """Return the pace of connection attempts, which the venue counts by address: shared in this process."""
    # By loop, too: a lock belongs to one. An id that is used again finds an old pace, which is harmless.
    key = (id(asyncio.get_running_loop()), urlsplit(url).netloc)
    if key not in _attempts:
        _attempts[key] = Pace(limit, ATTEMPTS_S)
    return _attempts[key]
