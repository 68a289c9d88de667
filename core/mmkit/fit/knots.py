"""The knots of the `calibrated` queue model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mmkit.sim.queue import QueueModel, QueuePosition

Knots = tuple[float, ...]

STEPS = (0.16, 0.08, 0.04, 0.02, 0.01)
"""Tried one after the other; a hundredth is finer than what any run yet seen could tell."""


def fit_knots(loss: Callable[[Knots, float], float], start: Sequence[float]) -> Knots:
    """Return values from 0 to 1, none above the one before it, of which no small move lowers the loss.

    Args:
        loss: What is to be low; it need not be found any further than the number beside the values.
        start: Where to begin, values of the same kind.
    """
    best = tuple(start)
    least = loss(best, math.inf)
    for step in STEPS:
        moved = True
        while moved:
            moved = False
            for number in range(len(best)):
                for by in (step, -step):
                    tried = _moved(best, number, by)
                    if tried != best and (found := loss(tried, least)) < least:
                        best, least, moved = tried, found, True
    return best


def _moved(knots: Knots, number: int, by: float) -> Knots:
    """Return `knots` with one of them moved, and those in its way along with it."""
    value = round(min(1.0, max(0.0, knots[number] + by)), 6)
    return tuple(
        max(knot, value) if place < number else min(knot, value) if place > number else value
        for place, knot in enumerate(knots)
    )


_QUEUE = 1 << 20
"""Lots, of which one leaves: few enough to move our place in the queue by nothing that counts."""


def knots_of(model: QueueModel, count: int) -> Knots:
    """Return the share of a cancellation that `model` thinks was behind us, at `count` places in the queue."""
    knots = []
    for number in range(count):
        front = _QUEUE * number / (count - 1)
        position = QueuePosition(front)
        model.level(position, _QUEUE, _QUEUE - 1)
        # One who leaves from before the first of the queue is nobody, and so was behind us.
        knots.append(1.0 - (front - position.front))
    return tuple(knots)
