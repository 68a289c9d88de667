"""A strategy's decision as a compiled function, for backtests in which even calling Python is too slow.

Put it in a module of its own, which is imported only when a backtest can use it::

    from mmkit.decision import BEST_ASK, BEST_BID, POSITION, decision

    @decision
    def decide(view, parameters, wanted):
        if view[BEST_BID] < 0 or view[BEST_ASK] < 0:
            return
        wanted[0], wanted[1] = 1, 1
        wanted[2], wanted[3] = view[BEST_BID], parameters[0]
        wanted[4], wanted[5] = view[BEST_ASK], parameters[0]

``view``, ``parameters`` and ``wanted`` are pointers: they are indexed and have no length.

- ``view``: integers, by the names below; prices in ticks, -1 where that side of the book is empty.
- ``parameters``: floats, what `mmkit.interfaces.Strategy.parameters` returns.
- ``wanted``: integers to be filled in; ``wanted[0]`` bids and ``wanted[1]`` asks (both 0 beforehand), then
  price in ticks and quantity in lots of each bid and of each ask, at most 16 a side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import cfunc

from mmkit.sim.kernel import DECISION

NOW, BEST_BID, BEST_ASK, POSITION = 0, 1, 2, 3
"""Places in ``view``: time in ns, best prices in ticks, position in lots."""


def decision(function: Callable[[Any, Any, Any], None]) -> Any:
    """Compile a decision; the result is cached on disk beside its file."""
    return cfunc(DECISION, cache=True)(function)
