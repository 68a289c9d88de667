"""The decision of `MidQuoter`, compiled."""

from __future__ import annotations

import math
from typing import Any

from mmkit.decision import BEST_ASK, BEST_BID, POSITION, decision

LOTS, SIZE, LIMIT, HALF_SPREAD, SKEW, HELD, COUNTED = range(7)
"""Places in ``parameters``. The last two are this run's memory: the sum of floats, and the lots that are in
it. That is the oracle's position, a concession of the benchmark."""


@decision
def decide(view: Any, parameters: Any, wanted: Any) -> None:
    """Quote both sides, as `MidQuoter` does."""
    best_bid, best_ask = view[BEST_BID], view[BEST_ASK]
    if best_bid < 0 or best_ask < 0:
        return
    lots = int(parameters[LOTS])
    filled = (view[POSITION] - int(parameters[COUNTED])) // lots
    for _ in range(abs(filled)):
        parameters[HELD] += parameters[SIZE] if filled > 0 else -parameters[SIZE]
    parameters[COUNTED] = view[POSITION]
    held, limit = parameters[HELD], parameters[LIMIT]
    center = (best_bid + best_ask) / 2.0 - held / limit * parameters[SKEW]
    bid = min(math.floor(center - parameters[HALF_SPREAD]), best_bid)
    ask = max(math.ceil(center + parameters[HALF_SPREAD]), best_ask)
    buys, sells = held < limit, held > -limit
    place = 2
    if buys:
        wanted[0] = 1
        wanted[place] = bid
        wanted[place + 1] = lots
        place += 2
    if sells:
        wanted[1] = 1
        wanted[place] = ask
        wanted[place + 1] = lots
