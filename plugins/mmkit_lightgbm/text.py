"""LightGBM's text format, version v4: ``Booster.save_model``.

Format: ``src/boosting/gbdt_model_text.cpp`` and ``src/io/tree.cpp`` of LightGBM 4. What is not of a plain
softmax over numbers is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError

T = TypeVar("T", bound=np.generic)

# include/LightGBM/tree.h: kCategoricalMask, and the two bits of MissingType, which is 1 for Zero.
_CATEGORICAL, _MISSING, _ZERO = 1, 0b1100, 0b0100


class Forest(NamedTuple):
    """Trees in flat arrays, in the order in which they are summed.

    Attributes:
        inputs: Names of the inputs.
        classes: How many; tree t votes for class t % classes.
        root: Where each tree begins, int32: a node, or ``~leaf`` of a tree that is one leaf.
        feature: Of each node, int32.
        threshold: Of each node, float64: at most that goes left.
        child: Of each node, int32, left then right; ``~leaf`` for a leaf.
        value: Of each leaf, float64.
    """

    inputs: tuple[str, ...]
    classes: int
    root: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int32]
    threshold: npt.NDArray[np.float64]
    child: npt.NDArray[np.int32]
    value: npt.NDArray[np.float64]


def read(text: str) -> Forest:
    """Return the trees of a model for three classes.

    Raises:
        DataError: if the text is truncated, of another version or objective, or holds what is not read here.
    """
    head, trees = _blocks(text)
    _expect("version", head.get("version"), "v4")
    _expect("objective", head.get("objective"), "multiclass num_class:3")
    _expect("num_tree_per_iteration", head.get("num_tree_per_iteration"), "3")
    if "average_output" in head:
        raise _bad("a sum of trees was expected; found an average of them (a random forest)")
    inputs = tuple(head.get("feature_names", "").split())
    sizes = head.get("tree_sizes", "").split()
    if len(trees) != len(sizes) or len(trees) % 3:
        raise _bad(f"{len(sizes)} trees were expected, a multiple of 3; found {len(trees)}")

    roots, parts, nodes, leaves = [], [], 0, 0
    for number, tree in enumerate(trees):
        part = _tree(number, tree, len(inputs), nodes, leaves)
        roots.append(nodes if len(part[0]) else ~leaves)
        nodes, leaves = nodes + len(part[0]), leaves + len(part[3])
        parts.append(part)
    empty = (np.empty(0, np.int32), np.empty(0), np.empty(0, np.int32), np.empty(0))
    feature, threshold, child, value = (
        np.concatenate(column) for column in zip(empty, *parts, strict=True)
    )
    return Forest(
        inputs,
        3,
        np.array(roots, np.int32),
        feature,
        threshold,
        child,
        value,
    )


def _blocks(text: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    body, end, _ = text.partition("\nend of trees\n")
    if not text.startswith("tree\n"):
        raise _bad(f"'tree' was expected on line 1; found {text[:20]!r}")
    if not end:
        raise _bad("'end of trees' was expected; found the end of the file, which is truncated")
    head, *trees = body.split("\nTree=")
    return _pairs(head), [_pairs(tree) for tree in trees]


def _pairs(block: str) -> dict[str, str]:
    return {
        key: value for line in block.splitlines() for key, _, value in [line.partition("=")] if key
    }


_Columns = tuple[
    npt.NDArray[np.int32],
    npt.NDArray[np.float64],
    npt.NDArray[np.int32],
    npt.NDArray[np.float64],
]


def _tree(number: int, tree: Mapping[str, str], inputs: int, nodes: int, leaves: int) -> _Columns:
    """Return feature, threshold, child and value of one tree, counted on from `nodes` and `leaves`."""
    where = f"tree {number}"
    _expect(f"{where}: num_cat", tree.get("num_cat"), "0")
    _expect(f"{where}: is_linear", tree.get("is_linear", "0"), "0")
    (count,) = _column(where, tree, "num_leaves", 1, np.int64)
    value = _column(where, tree, "leaf_value", int(count), np.float64)
    size = int(count) - 1
    feature = _column(where, tree, "split_feature", size, np.int32)
    threshold = _column(where, tree, "threshold", size, np.float64)
    decision = _column(where, tree, "decision_type", size, np.uint8)
    child = np.empty((size, 2), np.int32)
    child[:, 0] = _column(where, tree, "left_child", size, np.int32)
    child[:, 1] = _column(where, tree, "right_child", size, np.int32)
    if (decision & _CATEGORICAL).any():
        raise _bad(f"{where}: numbers were expected; found a split by category")
    if (decision & _MISSING == _ZERO).any():
        raise _bad(f"{where}: zeros that are numbers were expected; found zero_as_missing")
    if not np.isfinite(value).all() or np.isnan(threshold).any():
        raise _bad(f"{where}: finite numbers were expected; found others")
    if size and not (feature.min() >= 0 and feature.max() < inputs):
        raise _bad(f"{where}: inputs from 0 to {inputs - 1} were expected; found others")
    # Each node and leaf is the child of one node that comes before it: so a walk ends.
    inner, leaf = child[child >= 0], ~child[child < 0]
    later = child > np.arange(size)[:, None]
    if not (
        np.array_equal(np.sort(inner), np.arange(1, size))
        and (later | (child < 0)).all()
        and (not size or np.array_equal(np.sort(leaf), np.arange(count)))
    ):
        raise _bad(f"{where}: each node and leaf was expected once, after its parent")
    child = np.where(child >= 0, child + nodes, child - leaves).astype(np.int32)
    return feature, threshold, child.ravel(), value


def _column(
    where: str, tree: Mapping[str, str], name: str, size: int, dtype: type[T]
) -> npt.NDArray[T]:
    text = tree.get(name, "")
    try:
        # Python's float, which is exact: the library writes 17 digits.
        numbers = [float(number) for number in text.split()]
    except ValueError as error:
        raise _bad(f"{where}: {name}: numbers were expected; found {text[:40]!r}") from error
    if len(numbers) != size:
        raise _bad(f"{where}: {name}: {size} numbers were expected; found {len(numbers)}")
    with np.errstate(invalid="ignore"):
        return np.array(numbers, np.float64).astype(dtype)


def _expect(what: str, found: str | None, expected: str) -> None:
    if found is None or found.strip() != expected:
        raise _bad(f"{what}: '{expected}' was expected; found {found!r}")


def _bad(why: str) -> DataError:
    return DataError(f"model.txt: {why}; take a copy that is whole, or train again with this mmkit")
