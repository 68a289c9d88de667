from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from learning_market import market

from mmkit.errors import DataError
from mmkit.learning import (
    LabelRule,
    Samples,
    Split,
    split_at,
    split_by_shares,
    walk_forward,
)

Unit = Literal["updates", "ns"]


def looks_at(samples: Samples, rule: LabelRule, row: int) -> set[int]:
    """The rows whose mid the label of `row` depends on, found by changing one after the other."""
    before = rule.moves(samples)[row]
    rows = set()
    for other in range(len(samples)):
        mid = samples.mid.copy()
        mid[other] += 0.5
        changed = Samples(samples.ts, samples.values, samples.names, mid, samples.span)
        if rule.moves(changed)[row] != before:
            rows.add(other)
    return rows


@pytest.mark.parametrize("how", ["from_now", "from_past"])
@pytest.mark.parametrize(("unit", "horizon"), [("updates", 4), ("ns", 400_000_000)])
def test_no_label_looks_into_another_part(
    how: Literal["from_now", "from_past"], unit: Unit, horizon: int
) -> None:
    made = market(60, seed=1).samples
    rule = LabelRule(how=how, unit=unit, horizon=horizon, threshold_bps=0.0)
    split = split_by_shares(made.ts, rule, train=0.5, valid=0.25)
    parts = [set(range(part.start, part.stop)) for part in split]
    known = np.flatnonzero(~np.isnan(rule.moves(made)))
    for at, part in enumerate(parts):
        for row in sorted(part & set(known.tolist())):
            seen = looks_at(made, rule, row)
            assert seen
            for other in range(3):
                assert other == at or not seen & parts[other]


@given(
    st.lists(st.integers(0, 20), min_size=6, max_size=80),
    st.sampled_from(["updates", "ns"]),
    st.integers(1, 30),
    st.integers(0, 30),
)
def test_between_two_parts_lies_the_embargo_and_time_goes_on(
    gaps: list[int], unit: Unit, horizon: int, more: int
) -> None:
    ts = np.cumsum(gaps)
    rule = LabelRule(unit=unit, horizon=horizon, threshold_bps=0.0)
    embargo = rule.reach + more
    try:
        split = split_by_shares(ts, rule, embargo=embargo)
    except DataError:
        assume(False)
        raise
    for earlier, later in ((split.train, split.valid), (split.valid, split.test)):
        if unit == "updates":
            assert later.start - earlier.stop >= embargo
        else:
            assert ts[later.start] - ts[earlier.stop - 1] > embargo
    assert split.train.start == 0
    assert split.test.stop == len(ts)


@pytest.mark.parametrize("rolling", [False, True])
def test_walk_forward_tests_follow_each_other_and_training_is_always_before(rolling: bool) -> None:
    ts = np.arange(1_003) * 10
    rule = LabelRule(horizon=20, threshold_bps=0.0)
    folds = walk_forward(ts, rule, folds=4, rolling=rolling, least=10)
    assert len(folds) == 4
    tested = [row for fold in folds for row in range(fold.test.start, fold.test.stop)]
    assert tested == list(range(folds[0].test.start, 1_003))
    for fold in folds:
        assert fold.train.stop + 20 <= fold.valid.start
        assert fold.valid.stop + 20 <= fold.test.start
    starts = [fold.train.start for fold in folds]
    assert starts == ([0, 200, 401, 601] if rolling else [0, 0, 0, 0])


def test_a_fold_of_time_is_the_split_of_its_own_rows() -> None:
    ts = np.cumsum(np.random.default_rng(2).integers(1, 50, 500))
    rule = LabelRule(unit="ns", horizon=300, threshold_bps=0.0)
    last = walk_forward(ts, rule, folds=4)[-1]
    assert last == split_at(ts, rule, last.valid.start, last.test.start)


def test_splits_that_cannot_be_are_refused() -> None:
    ts = np.arange(100)
    rule = LabelRule(horizon=10, threshold_bps=0.0)
    with pytest.raises(DataError, match=r"embargo of at least 10 updates was expected.*found 9"):
        split_by_shares(ts, rule, embargo=9)
    with pytest.raises(DataError, match="for training were expected; found no sample of 100"):
        split_at(ts, rule, 10, 50)
    with pytest.raises(DataError, match="for validation were expected; found no sample"):
        split_at(ts, rule, 50, 60)
    with pytest.raises(DataError, match="for test were expected; found no sample"):
        split_at(ts, rule, 50, 100)
    with pytest.raises(DataError, match=r"at least 30 samples for test.*found only 20"):
        split_by_shares(ts, rule, train=0.4, valid=0.4, least=30)
    with pytest.raises(DataError, match="do not follow each other"):
        split_at(ts, rule, 60, 50)
    with pytest.raises(DataError, match="leave some for the test"):
        split_by_shares(ts, rule, train=0.7, valid=0.3)
    with pytest.raises(DataError, match="fold 1 of 20: split: "):
        walk_forward(ts, rule, folds=20)
    with pytest.raises(DataError, match="at least one fold"):
        walk_forward(ts, rule, folds=0)
    assert isinstance(split_by_shares(ts, rule), Split)
