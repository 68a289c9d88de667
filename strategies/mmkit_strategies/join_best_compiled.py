"""`mmkit_strategies.join_best`, compiled."""

from __future__ import annotations

from typing import Any

from mmkit.decision import BEST_ASK, BEST_BID, POSITION, decision


@decision
def decide(view: Any, parameters: Any, wanted: Any) -> None:
    """As `JoinBest.quote`; parameters: size, max_position, in lots."""
    bid, ask, position = view[BEST_BID], view[BEST_ASK], view[POSITION]
    if bid < 0 or ask < 0 or bid >= ask:
        return
    n = 2
    if position < parameters[1]:
        wanted[0] = 1
        wanted[n], wanted[n + 1] = bid, int(parameters[0])
        n += 2
    if position > -parameters[1]:
        wanted[1] = 1
        wanted[n], wanted[n + 1] = ask, int(parameters[0])
