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

- ``view``: integers, by name: ``view[NOW]`` in ns, ``view[BEST_BID]`` and ``view[BEST_ASK]`` in ticks (-1
  where that side of the book is empty), ``view[POSITION]`` in lots. If the strategy declares a ``depth`` of
  n levels, price and quantity of the n best bids follow from ``view[LEVELS]`` on, then those of the n best asks;
  a level that is not there is -1 and 0.
- ``parameters``: floats, what `mmkit.interfaces.Strategy.parameters` returns. Each run has its own, so that
  a decision may keep what it must remember there. Behind them, three more: down, flat and up of the signal that
  `mmkit.interfaces.Strategy.decision_signal` names; zeros while none holds.
- ``wanted``: integers to be filled in; ``wanted[0]`` bids and ``wanted[1]`` asks (both 0 beforehand), then
  price in ticks and quantity in lots of each bid and of each ask, at most `MOST_LEVELS` a side. Or
  ``wanted[0] = TARGET`` and ``wanted[1]`` the position to be reached by taking.

A float that is not a number, or infinite, must not be made an integer: compiled, what comes out is undefined.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import cfunc

from mmkit.sim.kernel.layout import BEST_ASK, BEST_BID, LEVELS, MOST_LEVELS, NOW, POSITION, TARGET
from mmkit.sim.kernel.pointers import DECISION

__all__ = [
    "BEST_ASK",
    "BEST_BID",
    "LEVELS",
    "MOST_LEVELS",
    "NOW",
    "POSITION",
    "TARGET",
    "decision",
]


def decision(function: Callable[[Any, Any, Any], None]) -> Any:
    """Compile a decision; the result is cached on disk beside its file."""
    return cfunc(DECISION, cache=True)(function)
