from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_market import market

from mmkit.errors import DataError
from mmkit.learning import (
    Samples,
    Scaling,
    grid_times,
    span_of,
    update_times,
    window_ends,
    windows,
    windows_at,
)
from mmkit.tape import GapReason, Kind, Row, Tape
from mmkit.testing import BTCUSDT, snapshot_rows


def gap_row(at: int) -> Row:
    return (at, at, Kind.GAP | 0x80, GapReason.CONNECTION, 0)


def test_an_update_is_a_time_at_which_the_book_changed_and_a_gap_ends_a_span() -> None:
    rows: list[Row] = [
        *snapshot_rows([(100, 1)], [(101, 1)], 10, 10),
        *snapshot_rows([(100, 2)], [(101, 1)], 20, 20),
        (20, 20, Kind.TRADE | 0x80, 101, 1),
        (25, 25, Kind.TRADE | 0x80, 101, 1),
        *snapshot_rows([(100, 3)], [(101, 1)], 30, 30),
        gap_row(35),
        *snapshot_rows([(100, 3)], [(101, 1)], 40, 40),
    ]
    tape = Tape.from_rows(BTCUSDT, rows)
    times = update_times(tape)
    assert times.tolist() == [10, 20, 30, 40]
    span = span_of(tape, times)
    assert span[0] == span[1] == span[2] == span[3] - 1


def test_a_grid_lies_on_multiples_whatever_it_begins_with() -> None:
    assert grid_times(101, 500, 100).tolist() == [200, 300, 400, 500]
    assert grid_times(200, 200, 100).tolist() == [200]
    with pytest.raises(DataError, match="no multiple of 100 ns lies between 101 and 199"):
        grid_times(101, 199, 100)
    with pytest.raises(DataError, match="more than 0 ns"):
        grid_times(0, 1, 0)


def made(values: list[list[float]], mid: list[float]) -> Samples:
    n = len(mid)
    return Samples.of(np.arange(n) * 10**9, np.array(values), ("a", "b"), np.array(mid))


def test_rows_not_known_yet_are_left_out_counted_and_end_a_span() -> None:
    nan = float("nan")
    samples = made(
        [[nan, nan], [nan, 1], [1, 1], [2, 2], [nan, 3], [4, 4], [5, 5], [6, 6]],
        [1, 1, 1, 1, 1, 1, nan, 1],
    )
    assert samples.unknown() == {"a": 3, "b": 1, "mid": 1}
    known = samples.known()
    assert known.values[:, 0].tolist() == [1, 2, 4, 6]
    assert known.span.tolist() == [0, 0, 1, 2]
    assert all(array.flags.c_contiguous for array in (known.ts, known.values, known.mid))


def test_values_that_are_no_numbers_are_named_with_column_and_time() -> None:
    nan, inf = float("nan"), float("inf")
    samples = made([[1, 1], [1, -inf], [nan, inf]], [1, 1, 1])
    with pytest.raises(DataError) as caught:
        samples.check_finite()
    assert "'a' is nan at 1970-01-01T00:00:02.000000000Z (row 2) and in 1 rows" in str(caught.value)
    assert "'b' is -inf at 1970-01-01T00:00:01.000000000Z (row 1) and in 2 rows" in str(
        caught.value
    )
    with pytest.raises(DataError, match="'b' is -inf"):
        samples.known()
    with pytest.raises(DataError, match="none of 2 rows has every feature; not known: a in 2"):
        made([[nan, 1], [nan, 1]], [1, 1]).known()


def test_samples_that_do_not_fit_together_are_refused() -> None:
    ts, values, mid = np.arange(3), np.zeros((3, 2)), np.ones(3)
    for arguments, words in (
        ((ts, values, ("a",), mid), r"shape \(3, 1\).*found \(3, 2\)"),
        ((ts, values, ("a", "a"), mid), "found twice: a"),
        ((ts, values, ("a", "b"), mid[:2]), "a mid for each of 3 times"),
        ((ts[::-1], values, ("a", "b"), mid), "time goes back at row 1, from 2 to 1"),
        ((ts, values, ("a", "b"), mid, ts[::-1]), "span goes back at row 1"),
    ):
        with pytest.raises(DataError, match=words):
            Samples.of(*arguments)  # type: ignore[arg-type]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(1, 8))
def test_a_window_holds_the_rows_up_to_its_own_and_no_gap(lengths: list[int], length: int) -> None:
    span = np.repeat(np.arange(len(lengths)), lengths)
    values = np.arange(len(span) * 2, dtype=float).reshape(-1, 2)
    if max(lengths) < length:
        with pytest.raises(
            DataError, match=f"{length} samples without a gap.*at most {max(lengths)}"
        ):
            window_ends(span, length)
        return
    ends = window_ends(span, length)
    expected = [
        row
        for row in range(len(span))
        if row >= length - 1 and len(set(span[row - length + 1 : row + 1].tolist())) == 1
    ]
    assert ends.tolist() == expected
    found = windows_at(values, ends, length)
    assert found.shape == (len(expected), length, 2)
    for window, end in zip(found, expected, strict=True):
        np.testing.assert_array_equal(window, values[end - length + 1 : end + 1])


@given(st.integers(0, 10**6), st.lists(st.integers(0, 19), unique=True, min_size=1, max_size=15))
def test_windows_with_gaps_between_them_are_indexed_like_the_array_of_them(
    seed: int, chosen: list[int]
) -> None:
    values = np.random.default_rng(seed).normal(size=(24, 3))
    ends = np.sort(np.array(chosen)) + 4
    found = windows_at(values, ends, 5)
    array = np.array([values[end - 4 : end + 1] for end in ends])
    dice = np.random.default_rng(seed + 1)
    some, mask = dice.integers(0, len(ends), 4), dice.random(len(ends)) < 0.5
    assert (len(found), found.shape, found.ndim, found.dtype) == (
        len(array),
        array.shape,
        3,
        array.dtype,
    )
    keys: list[Any] = [
        *(0, -1, slice(1, 4), slice(None), some, mask),
        *((slice(None), -1), (slice(None), -1, slice(None)), (slice(None), -1, 1), (0, 2, 1)),
        *((slice(None), slice(1, 3)), (slice(None), slice(None), 1), (some, 2), (0, [1, 2])),
        *((slice(None), [4, 0, 0]), (slice(1, 3), [2], slice(None)), (mask, slice(1), slice(2))),
        *((slice(None), slice(None), [2, 0]), (slice(None), [1, 2], 1)),
    ]
    for key in keys:
        np.testing.assert_array_equal(found[key], array[key], str(key))
    np.testing.assert_array_equal(np.asarray(found), array)


def test_windows_over_one_span_take_no_memory() -> None:
    values = market(1_000, seed=1).samples.values
    every = windows_at(values, window_ends(np.zeros(1_000, np.int64), 30), 30)
    assert np.shares_memory(every, values)
    assert every.shape == (971, 30, 2)
    some = windows_at(values, np.arange(40, 1_000, 7), 30)
    assert np.shares_memory(some, values)
    assert np.array_equal(some, every[11::7])
    assert np.array_equal(windows_at(values, np.array([40, 47, 55]), 30), every[[11, 18, 26]])


def test_sequences_shorter_than_the_window_are_refused() -> None:
    with pytest.raises(DataError, match="at least 30 samples were expected, the window; found 29"):
        windows(np.zeros((29, 4)), 30)
    with pytest.raises(DataError, match="ends from 4 to 9 were expected; found 3 to 9"):
        windows_at(np.zeros((10, 1)), np.array([3, 9]), 5)
    with pytest.raises(DataError, match="length of at least 1"):
        window_ends(np.zeros(3, np.int64), 0)


@pytest.mark.parametrize("kind", ["standard", "minmax", "none"])
def test_scaling_is_of_the_training_data_alone_and_survives_json(kind: str, tmp_path: Path) -> None:
    dice = np.random.default_rng(1)
    train, later = dice.normal(5, 3, (1_000, 3)), dice.normal(50, 30, (50, 3))
    scaling = Scaling.fit(train, kind)  # type: ignore[arg-type]
    scaled = scaling.apply(train)
    if kind == "standard":
        np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(scaled.std(axis=0), 1)
    elif kind == "minmax":
        np.testing.assert_allclose([scaled.min(axis=0), scaled.max(axis=0)], [[0] * 3, [1] * 3])
        assert scaling.apply(later).max() > 1
    else:
        np.testing.assert_array_equal(scaled, train)
    file = tmp_path / "scaling.json"
    file.write_bytes(msgspec.json.encode(scaling))
    again = msgspec.json.decode(file.read_bytes(), type=Scaling)
    np.testing.assert_array_equal(again.apply(later), scaling.apply(later))
    # The same for a window as for its rows.
    np.testing.assert_array_equal(
        scaling.apply(windows(later, 5)), windows(scaling.apply(later), 5)
    )


def test_a_feature_that_is_constant_in_training_becomes_zero_and_stays_finite() -> None:
    train = np.column_stack((np.full(1_000, 0.1), np.arange(1_000.0)))
    for kind in ("standard", "minmax"):
        scaling = Scaling.fit(train, kind)  # type: ignore[arg-type]
        assert (scaling.apply(train)[:, 0] == 0).all()
        assert scaling.apply(np.array([[1.1, 0.0]]))[0, 0] == 1.0


def test_scaling_that_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="n above 0"):
        Scaling.fit(np.empty((0, 3)))
    with pytest.raises(DataError, match="found nan in row 1, column 0"):
        Scaling.fit(np.array([[1.0], [np.nan]]))
    with pytest.raises(DataError, match="minmax, standard or none was expected; found 'robust'"):
        Scaling.fit(np.ones((2, 1)), "robust")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"1 features were expected; found shape \(2, 3\)"):
        Scaling.fit(np.ones((2, 1))).apply(np.ones((2, 3)))
    with pytest.raises(DataError, match="scales above 0"):
        Scaling(kind="standard", offset=[0.0], scale=[0.0])
