"""What one order tells about the queue it stood in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmkit.sim.queue import Calibrated, QueueModel, QueuePosition, RiskAverse

NEAREST, FURTHEST = Calibrated((0.0, 0.0)), RiskAverse()
"""Everybody who left was ahead of us, and everybody was behind us. The fronts of all models that share out who
left lie between theirs: each trade and total leaves a front that is further up at least as far up."""

_FILLS_FROM = 0.5
"""Lots beyond the front from which on `QueueModel.fillable` fills, as it rounds to whole ones."""

Happening = tuple[int, int]
"""A trade at the order's price against its side, ``(quantity, -1)``; or a new total there, ``(before, after)``."""


@dataclass(frozen=True)
class Evidence:
    """What happened at an order's price while it rested, and what came of it. Quantities in lots.

    Attributes:
        order_id: Ours.
        accepted_ns: When it came to the book, by the venue's clock.
        total: At its price on arrival.
        passed: What happened while it was not filled, up to the last trade of that time.
        filling: What happened next, up to the trade that filled it at the latest; empty if none did.
    """

    order_id: int
    accepted_ns: int
    total: int
    passed: tuple[Happening, ...]
    filling: tuple[Happening, ...]

    def miss(self, model: QueueModel) -> float:
        """Return by how much the model's front was wrong, relative to the total on arrival.

        Above zero: so much was still thought to be ahead when the order had been filled. Below zero: so much
        was thought to have traded beyond it when it had not been. No more than 1 either way: no front can
        be wrong by more than the whole queue, so that beyond it something else is.
        """
        position = QueuePosition(model.ahead(self.total))
        _move(model, position, self.passed)
        # A front only ever moves up, so the last trade that did not fill speaks for all of them.
        off = min(position.front + _FILLS_FROM, 0.0) if self.passed else 0.0
        if not off and self.filling:
            _move(model, position, self.filling)
            off = max(position.front + _FILLS_FROM, 0.0)
        return max(-1.0, min(1.0, off / max(self.total, 1)))


def _move(model: QueueModel, position: QueuePosition, happenings: Sequence[Happening]) -> None:
    trade, level = model.trade, model.level
    for first, second in happenings:
        if second < 0:
            trade(position, first)
        else:
            level(position, first, second)
