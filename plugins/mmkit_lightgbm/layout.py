"""Trees laid out for the walk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmkit_lightgbm.text import Forest

LANES = 8
"""How many trees are walked side by side: each step waits for memory, and they wait together."""

NODE = np.dtype([("threshold", "<f8"), ("feature", "<u4"), ("left", "<u4")])


class Layout(NamedTuple):
    """A forest whose children lie side by side, and whose leaves lead to themselves.

    So a walk is one comparison and one addition a step, and may go on after it has arrived.

    Attributes:
        nodes: Of dtype `NODE`; the right child is ``left + 1``.
        value: Of each leaf, by its node.
        root: The first node of each tree, uint32, in order of depth; a multiple of `LANES`, the last ones leaves.
        order: The number of the tree in the forest that each of `root` is, int32.
        depth: How many steps each `LANES` of them take at most, int32.
        trees: How many trees there are.
    """

    nodes: npt.NDArray[np.void]
    value: npt.NDArray[np.float64]
    root: npt.NDArray[np.uint32]
    order: npt.NDArray[np.int32]
    depth: npt.NDArray[np.int32]
    trees: int


def lay(forest: Forest) -> Layout:
    """Return the forest in another order."""
    size = len(forest.feature) + len(forest.value) + 1
    nodes, value = np.zeros(size, NODE), np.zeros(size)
    threshold, feature, left = nodes["threshold"], nodes["feature"], nodes["left"]
    child = forest.child.tolist()
    roots, depths, free = [], [], 0
    for root in forest.root.tolist():
        roots.append(free)
        level, depth, free = [(root, free)], 0, free + 1
        while level:
            below = []
            for node, slot in level:
                if node < 0:
                    left[slot], threshold[slot], value[slot] = slot, np.inf, forest.value[~node]
                    continue
                left[slot], threshold[slot] = free, forest.threshold[node]
                feature[slot] = forest.feature[node]
                below += [(child[2 * node], free), (child[2 * node + 1], free + 1)]
                free += 2
            level, depth = below, depth + bool(below)
        depths.append(depth)
    left[free], threshold[free] = free, np.inf  # a tree of one leaf, to fill up the last lanes
    order = np.argsort(depths, kind="stable")
    spare = -len(order) % LANES
    root = np.append(np.array(roots)[order], np.full(spare, free))
    steps = np.append(np.array(depths)[order], np.zeros(spare, int)).reshape(-1, LANES).max(1)
    return Layout(
        nodes,
        value,
        root.astype(np.uint32),
        np.append(order, len(order) + np.arange(spare)).astype(np.int32),
        steps.astype(np.int32),
        len(order),
    )
