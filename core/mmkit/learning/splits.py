"""Training, validation and test data: one after the other in time, with an embargo between them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmkit.errors import DataError
from mmkit.learning.labels import LabelRule
from mmkit.learning.samples import Ints, Samples


class Part(NamedTuple):
    """Rows `start` to `stop` of the samples, the latter not included."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def of(self, samples: Samples) -> Samples:
        """Return these rows."""
        return samples.part(self.start, self.stop)


class Split(NamedTuple):
    """Three parts in the order of time; between two of them lie the rows of the embargo."""

    train: Part
    valid: Part
    test: Part


def split_at(
    ts: Ints,
    rule: LabelRule,
    valid_from: int,
    test_from: int,
    *,
    stop: int | None = None,
    embargo: int | None = None,
    least: int = 1,
) -> Split:
    """Return the split whose validation begins at row `valid_from` and whose test at row `test_from`.

    The embargo is taken from the end of the earlier part: the last labels of training would otherwise look
    into the validation data, and those of validation into the test data.

    Args:
        ts: int64[n], ns.
        rule: Whose `reach` the embargo must cover.
        valid_from: Row.
        test_from: Row.
        stop: Row after the last of the test; None for all.
        embargo: In what the rule's horizon is in, samples or ns; None for the least there may be.
        least: Samples that each part must have, such as the window of the model.

    Raises:
        DataError: if a part is shorter than `least`, or the embargo is shorter than `rule.reach`.
    """
    end = len(ts) if stop is None else stop
    if embargo is None:
        embargo = rule.reach
    elif embargo < rule.reach:
        raise DataError(
            f"split: an embargo of at least {rule.reach} {rule.unit} was expected, as far as a label looks; "
            f"found {embargo}"
        )
    if not 0 <= valid_from <= test_from <= end <= len(ts):
        raise DataError(
            f"split: validation from row {valid_from} and test from row {test_from} to {end} do not follow each "
            f"other within {len(ts)} rows"
        )
    split = Split(
        Part(0, _cut(ts, rule, valid_from, embargo)),
        Part(valid_from, max(_cut(ts, rule, test_from, embargo), valid_from)),
        Part(test_from, end),
    )
    for name, part in zip(("training", "validation", "test"), split, strict=True):
        if len(part) < max(least, 1):
            found = f"only {len(part):,} samples" if len(part) else "no sample"
            raise DataError(
                f"split: at least {max(least, 1):,} samples for {name} were expected; found {found} of {len(ts):,} "
                f"after an embargo of {embargo:,} {rule.unit}; use more data, another share or a shorter horizon"
            )
    return split


def split_by_shares(
    ts: Ints,
    rule: LabelRule,
    *,
    train: float = 0.6,
    valid: float = 0.2,
    embargo: int | None = None,
    least: int = 1,
) -> Split:
    """Return the split that gives training and validation these shares of the samples, the test the rest.

    Raises:
        DataError: as `split_at`, and if the shares are not positive or leave nothing for the test.
    """
    if not (train > 0 and valid > 0 and train + valid < 1):
        raise DataError(
            f"split: shares above 0 that leave some for the test were expected; found {train} for training and "
            f"{valid} for validation"
        )
    n = len(ts)
    return split_at(
        ts, rule, int(n * train), int(n * (train + valid)), embargo=embargo, least=least
    )


def walk_forward(
    ts: Ints,
    rule: LabelRule,
    *,
    folds: int = 5,
    valid: float = 0.2,
    rolling: bool = False,
    embargo: int | None = None,
    least: int = 1,
) -> list[Split]:
    """Return `folds` splits whose tests follow each other without overlap and cover the later data.

    The samples are cut into ``folds + 1`` blocks of the same number; fold i is tested on block i + 1.

    Args:
        ts: int64[n], ns.
        rule: As in `split_at`.
        folds: How many.
        valid: Share of what lies before the test that is validation, its end.
        rolling: Train on the block before the test only, not on all that lies before it.
        embargo: As in `split_at`.
        least: As in `split_at`.

    Raises:
        DataError: as `split_at`, naming the fold, and if there is no fold or no share.
    """
    if folds < 1:
        raise DataError(f"walk-forward: at least one fold was expected; found {folds}")
    if not 0 < valid < 1:
        raise DataError(f"walk-forward: a share between 0 and 1 was expected; found {valid}")
    edges = [len(ts) * block // (folds + 1) for block in range(folds + 2)]
    found = []
    for fold in range(folds):
        begin = edges[fold] if rolling else 0
        test, end = edges[fold + 1], edges[fold + 2]
        valid_from = test - int((test - begin) * valid)
        try:
            split = split_at(
                ts[begin:],
                rule,
                valid_from - begin,
                test - begin,
                stop=end - begin,
                embargo=embargo,
                least=least,
            )
        except DataError as error:
            raise DataError(f"walk-forward, fold {fold + 1} of {folds}: {error}") from error
        found.append(Split(*(Part(part.start + begin, part.stop + begin) for part in split)))
    return found


def _cut(ts: Ints, rule: LabelRule, boundary: int, embargo: int) -> int:
    """Return the row after the last one whose label does not reach row `boundary` or beyond."""
    if rule.unit == "updates" or boundary == len(ts):
        return max(boundary - embargo, 0)
    return int(np.searchsorted(ts[:boundary], ts[boundary] - embargo, side="left"))
