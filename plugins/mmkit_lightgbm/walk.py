"""The walk down the trees, compiled.

Decisions are those of ``Tree::NumericalDecision`` (``include/LightGBM/tree.h``, LightGBM 4) where nothing is missing, sums in the order of
the trees, then the softmax of ``src/objective/multiclass_objective.hpp``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_ZERO = float(np.float32(1e-35))
"""No further from 0 than that is 0 (``kZeroThreshold``, ``include/LightGBM/meta.h``): the library hands on no such
value of a row (``RowPairFunctionFromDenseMatric``, ``src/c_api.cpp``)."""


@njit(cache=True, nogil=True)
def _votes(x: Any, nodes: Any, value: Any, root: Any, order: Any, depth: Any, found: Any) -> None:
    """Find each tree's vote: one comparison a step.

    Written out for `mmkit_lightgbm.layout.LANES` trees, which the compiler keeps in registers.
    """
    for group in range(depth.size):
        at = group * 8
        a = root[at + 0]
        b = root[at + 1]
        c = root[at + 2]
        d = root[at + 3]
        e = root[at + 4]
        f = root[at + 5]
        g = root[at + 6]
        h = root[at + 7]
        for _ in range(depth[group]):
            a = nodes[a].left + (x[nodes[a].feature] > nodes[a].threshold)
            b = nodes[b].left + (x[nodes[b].feature] > nodes[b].threshold)
            c = nodes[c].left + (x[nodes[c].feature] > nodes[c].threshold)
            d = nodes[d].left + (x[nodes[d].feature] > nodes[d].threshold)
            e = nodes[e].left + (x[nodes[e].feature] > nodes[e].threshold)
            f = nodes[f].left + (x[nodes[f].feature] > nodes[f].threshold)
            g = nodes[g].left + (x[nodes[g].feature] > nodes[g].threshold)
            h = nodes[h].left + (x[nodes[h].feature] > nodes[h].threshold)
        found[order[at + 0]] = value[a]
        found[order[at + 1]] = value[b]
        found[order[at + 2]] = value[c]
        found[order[at + 3]] = value[d]
        found[order[at + 4]] = value[e]
        found[order[at + 5]] = value[f]
        found[order[at + 6]] = value[g]
        found[order[at + 7]] = value[h]


@njit(cache=True, nogil=True)
def _softmax(found: Any, trees: Any, out: Any) -> None:
    out[0] = out[1] = out[2] = 0.0
    for tree in range(0, trees, 3):
        out[0] += found[tree]
        out[1] += found[tree + 1]
        out[2] += found[tree + 2]
    most = max(out[0], out[1], out[2])
    for number in range(3):
        out[number] = np.exp(out[number] - most)
    total = out[0] + out[1] + out[2]
    for number in range(3):
        out[number] /= total


@njit(cache=True, nogil=True)
def window(
    values: Any,
    places: Any,
    nodes: Any,
    value: Any,
    root: Any,
    order: Any,
    depth: Any,
    trees: Any,
    x: Any,
    found: Any,
    out: Any,
) -> bool:
    """Write the probabilities of one window, shape ``(window, f)``, into `out`; False if a value cannot be.

    Every value is looked at, whether a tree wants it or not: what is refused must not hang on the trees.
    """
    for sample in range(values.shape[0]):
        for column in range(values.shape[1]):
            if not np.isfinite(values[sample, column]):
                return False
    columns = values.shape[1]
    for number in range(places.size):
        taken = values[places[number] // columns, places[number] % columns]
        x[number] = 0.0 if -_ZERO <= taken <= _ZERO else taken
    _votes(x, nodes, value, root, order, depth, found)
    _softmax(found, trees, out)
    return True


@njit(cache=True, nogil=True)
def batch(
    windows: Any,
    places: Any,
    nodes: Any,
    value: Any,
    root: Any,
    order: Any,
    depth: Any,
    trees: Any,
    x: Any,
    found: Any,
    out: Any,
) -> int:
    """Write the probabilities of many windows; return the number of the first that cannot be, else -1."""
    for number in range(windows.shape[0]):
        if not window(
            windows[number],
            places,
            nodes,
            value,
            root,
            order,
            depth,
            trees,
            x,
            found,
            out[number],
        ):
            return number
    return -1
