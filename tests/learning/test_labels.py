from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_market import market

from mmkit.errors import DataError
from mmkit.learning import LabelRule, Samples, check_classes, class_shares

How = Literal["from_now", "from_past"]
Unit = Literal["updates", "ns"]


def slow_move(samples: Samples, row: int, how: How, unit: Unit, horizon: int) -> float:
    """The definition, read off the paper, for one sample."""
    ts, mid, span = samples.ts.tolist(), samples.mid.tolist(), samples.span.tolist()
    mine = [at for at in range(len(ts)) if span[at] == span[row]]
    if unit == "updates":
        ahead = list(range(row + 1, row + horizon + 1))
        behind = list(range(row - horizon + 1, row + 1))
        if ahead[-1] > mine[-1] or (how == "from_past" and behind[0] < mine[0]):
            return math.nan
    else:
        ahead = [at for at in mine if at > row and ts[at] <= ts[row] + horizon]
        behind = [at for at in mine if at <= row and ts[at] > ts[row] - horizon]
        if ts[mine[-1]] < ts[row] + horizon:
            return math.nan
        if how == "from_past" and ts[mine[0]] > ts[row] - horizon:
            return math.nan
    after = math.fsum(mid[at] for at in ahead) / len(ahead) if ahead else mid[row]
    before = mid[row]
    if how == "from_past":
        before = math.fsum(mid[at] for at in behind) / len(behind)
    return (after - before) / before * 1e4


@st.composite
def some_samples(draw: st.DrawFn) -> Samples:
    n = draw(st.integers(1, 40))
    gaps = st.lists(st.integers(1, 30), min_size=n, max_size=n)
    ticks = draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n))
    breaks = draw(st.lists(st.sampled_from([0, 0, 0, 0, 1]), min_size=n, max_size=n))
    return Samples.of(
        np.cumsum(draw(gaps)),
        np.zeros((n, 1)),
        ("x",),
        500.0 + np.cumsum(ticks) * 0.1,
        np.cumsum(breaks),
    )


@given(
    some_samples(),
    st.sampled_from(["from_now", "from_past"]),
    st.sampled_from(["updates", "ns"]),
    st.integers(1, 60),
)
def test_a_move_is_what_the_papers_say_and_never_looks_across_a_gap(
    samples: Samples, how: How, unit: Unit, horizon: int
) -> None:
    rule = LabelRule(how=how, unit=unit, horizon=horizon, threshold_bps=0.0)
    expected = [slow_move(samples, row, how, unit, horizon) for row in range(len(samples))]
    np.testing.assert_allclose(rule.moves(samples), expected, rtol=0, atol=2e-6)


def test_running_sums_lose_nothing_over_a_million_samples() -> None:
    made = market(1_000_000, seed=1).samples
    moves = LabelRule(how="from_past", horizon=50, threshold_bps=0.0).moves(made)
    for row in (49, 400_000, 999_949):
        now = made.mid[row - 49 : row + 1].mean()
        assert moves[row] == pytest.approx(
            (made.mid[row + 1 : row + 51].mean() / now - 1) * 1e4, abs=2e-6
        )


def test_a_mid_that_stands_still_does_not_move_at_all() -> None:
    mid = np.repeat([0.1, 0.3, 0.7], 100)
    made = Samples.of(np.arange(300), np.zeros((300, 1)), ("x",), mid)
    for how in ("from_now", "from_past"):
        moves = LabelRule(how=how, horizon=7, threshold_bps=0.0).moves(made)
        assert (moves[120:190] == 0).all()


@pytest.mark.parametrize("unit", ["updates", "ns"])
@pytest.mark.parametrize("how", ["from_now", "from_past"])
def test_noise_in_place_of_the_future_changes_no_earlier_move(how: How, unit: Unit) -> None:
    made = market(2_000, seed=3).samples
    horizon = 20 if unit == "updates" else 20 * 100_000_000
    rule = LabelRule(how=how, unit=unit, horizon=horizon, threshold_bps=0.0)
    mid = made.mid.copy()
    mid[1_000:] = np.random.default_rng(0).uniform(50, 150, 1_000)
    before, after = rule.moves(made), rule.moves(replace(made, mid=mid))
    np.testing.assert_array_equal(before[: 1_000 - 20], after[: 1_000 - 20])
    # And it does change the next one: this test can fail.
    assert before[1_000 - 20] != after[1_000 - 20]


@pytest.mark.parametrize("quantile", [0.0, 0.2, 1 / 3, 0.8])
def test_the_quantile_is_the_share_that_is_flat_in_training_and_kept_afterwards(
    quantile: float,
) -> None:
    train, later = market(20_000, seed=4).samples, market(20_000, seed=5, pull=2.0).samples
    rule = LabelRule(horizon=50, quantile=quantile)
    fitted = rule.fit(rule.moves(train))
    shares = class_shares(fitted.labels(fitted.moves(train)))
    assert shares[1] == pytest.approx(quantile, abs=0.01)
    assert sum(shares) == pytest.approx(1)
    assert msgspec.json.decode(msgspec.json.encode(fitted), type=LabelRule) == fitted
    # Not fitted again: other data has its own share.
    if quantile:
        assert class_shares(fitted.labels(fitted.moves(later)))[1] < quantile - 0.02


def test_a_fixed_threshold_is_not_fitted() -> None:
    rule = LabelRule(horizon=1, threshold_bps=3.0)
    assert rule.fit(np.array([100.0, -100.0])) is rule
    np.testing.assert_array_equal(
        rule.labels(np.array([-3.1, -3.0, 0.0, 3.0, 3.1, np.nan])), [0, 1, 1, 1, 2, -1]
    )


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([2, 2, 1, -1], "no down among 0 down, 1 flat, 2 up"),
        ([1, 1], "no down and no up among"),
        ([-1, -1], "none of 2 samples has a label"),
        ([], "none of 0 samples has a label"),
        ([0, 1, 2, 3], "-1, 0, 1 or 2 was expected; found 3"),
    ],
)
def test_labels_that_cannot_be_learned_from_are_refused(labels: list[int], words: str) -> None:
    with pytest.raises(DataError, match=f"training labels: .*{words}"):
        check_classes(np.array(labels, np.int8), "training")


def test_a_rule_that_cannot_be_is_refused() -> None:
    for wrong, words in (
        ({"horizon": 0, "threshold_bps": 1.0}, "horizon of at least 1"),
        ({"horizon": 5}, "give a threshold in bps, or the quantile"),
        ({"horizon": 5, "threshold_bps": -1.0}, "found -1.0"),
        ({"horizon": 5, "threshold_bps": math.nan}, "found nan"),
        ({"horizon": 5, "quantile": 1.0}, "found 1.0"),
    ):
        with pytest.raises(DataError, match=words):
            LabelRule(**wrong)  # type: ignore[arg-type]
    rule = LabelRule(horizon=5, quantile=0.5)
    with pytest.raises(DataError, match="has not been fitted"):
        rule.labels(np.zeros(3))
    with pytest.raises(DataError, match="ends before any horizon of 5 updates"):
        rule.fit(np.full(4, np.nan))


def test_a_mid_that_is_not_known_is_named_with_its_time() -> None:
    mid: npt.NDArray[np.float64] = np.array([1.0, np.nan, 1.0])
    made = Samples.of(np.array([0, 1_000_000_000, 2_000_000_000]), np.zeros((3, 1)), ("x",), mid)
    with pytest.raises(DataError, match=r"found nan at 1970-01-01T00:00:01.000000000Z \(row 1\)"):
        LabelRule(horizon=1, threshold_bps=0.0).moves(made)
