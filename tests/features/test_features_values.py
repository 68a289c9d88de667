"""What features say, against their definitions, and that nobody can tell batch from streaming."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_features import messages_of, moments, slow, wild_rows

from mmkit.features import DEFINITIONS, Features, Streaming
from mmkit.features import features as features_module
from mmkit.tape import KIND, LAST, SELL, Kind, Row, Tape, tape
from mmkit.testing import BTCUSDT, random_tape, snapshot_rows

S, MS = 10**9, 10**6
LOT = Fraction(BTCUSDT.lot)

EVERY: list[Any] = [
    *("spread", "mid", "microprice", "bid_size", "ask_size", "imbalance", "age"),
    *({"name": name, "levels": n} for name in ("bid_volume", "ask_volume") for n in (2, 6)),
    *({"name": "imbalance", "levels": n} for n in (2, 5, 10)),
    {"name": "levels", "levels": 3},
    *({"name": name, "level": 7} for name in ("ask_price", "ask_size", "bid_price", "bid_size")),
    *({"name": name, "levels": n} for name in ("bid_slope", "ask_slope") for n in (1, 4)),
    *({"name": "ofi", "levels": n, "window": w} for n in (1, 3) for w in ("100ms", "1s", "3s")),
    *(
        {"name": name, "window": w}
        for name in ("trade_imbalance", "buy_sell_ratio", "volatility", "return")
        for w in ("100ms", "700ms", "2s", "4s")
    ),
    {"name": "vpin", "bucket": "0.005", "buckets": 4},
    {"name": "vpin", "bucket": "0.001", "buckets": 1},
    {"name": "vpin", "bucket": "0.050", "buckets": 3},
]
FEATURES = Features(EVERY, BTCUSDT)


def compute(rows: list[Row], at: list[int], features: Features = FEATURES) -> npt.NDArray[Any]:
    return features.compute(Tape.from_rows(BTCUSDT, rows), np.array(at, np.int64))


def times(rows: list[Row], dice: random.Random, count: int) -> list[int]:
    """Times of rows, and between and beyond them."""
    begin, end = rows[0][1] - S, rows[-1][1] + 3 * S
    drawn = [dice.choice(rows)[1] + dice.choice([0, 0, 1, -1, 50 * MS]) for _ in range(count)]
    return sorted([*drawn, dice.randint(begin, end), rows[-1][1], end])


def market(seed: int) -> list[Row]:
    """A wild market, or one that could be."""
    if seed % 3:
        return wild_rows(seed)
    return list(random_tape(seed, 150, rough=bool(seed % 2)).rows())


def test_every_feature_is_among_those_that_are_tested() -> None:
    assert {spec.name for spec in FEATURES.specs} == set(DEFINITIONS)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_every_value_is_what_the_definition_says(seed: int) -> None:
    rows = market(seed)
    at = times(rows, random.Random(seed), 12)
    found, known = compute(rows, at), moments(rows)
    for moment, values in zip(at, found, strict=True):
        for name, value, expected in zip(
            FEATURES.names, values, slow(known, FEATURES.specs, LOT, moment), strict=True
        ):
            assert value == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True), name


def test_every_feature_is_known_at_times_and_takes_many_values() -> None:
    """So that the test above compares something."""
    found = np.concatenate([compute(r, [row[1] for row in r]) for r in map(market, range(30))])
    for name, column in zip(FEATURES.names, found.T, strict=True):
        known = column[~np.isnan(column)]
        assert len(known) > 100, name
        assert len(np.unique(known)) > (3 if name != "vpin_0.001_1" else 0), name
        assert np.isfinite(known).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), together=st.integers(1, 4))
def test_streaming_gives_the_values_of_the_whole_tape_bit_for_bit(seed: int, together: int) -> None:
    rows, dice = market(seed), random.Random(seed)
    messages = messages_of(rows)
    streaming = Streaming(FEATURES)
    at: list[int] = []
    found: list[npt.NDArray[Any]] = []
    while messages:
        new = [row for message in messages[:together] for row in message]
        del messages[:together]
        streaming.on_message(new)
        if messages and messages[0][0][1] == new[-1][1]:
            continue  # of this instant there is more to come
        until = messages[0][0][1] if messages else new[-1][1] + 5 * S
        asked = {new[-1][1], until - 1, dice.randint(new[-1][1], until - 1)}
        for now in sorted(asked):
            if dice.random() < 0.8:
                at.append(now)
                found.append(streaming.values(now))
    assert np.array_equal(np.array(found), compute(rows, at), equal_nan=True)


def with_noise(seed: int, share: float) -> tuple[list[Row], list[Row], int]:
    """Return a market, the same with noise after a moment, and the moment."""
    rows, dice = market(seed), random.Random(seed)
    moment = rows[int(len(rows) * share)][1]
    shift = moment + 1 - 1_700_000_000 * S
    noise = wild_rows(seed + 1)
    what = [row[2:] for row in noise]
    dice.shuffle(what)
    before = [row for row in rows if row[1] <= moment]
    before[-1] = (*before[-1][:2], before[-1][2] | LAST, *before[-1][3:])
    after = [row for row in rows if row[1] > moment]
    later = [(row[0] + shift, row[1] + shift, *w) for row, w in zip(noise, what, strict=True)]
    return before + after, before + later, moment


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.1, 0.9))
def test_no_value_depends_on_what_comes_later(seed: int, share: float) -> None:
    rows, other, moment = with_noise(seed, share)
    at = [time for time in times(rows, random.Random(seed), 20) if time <= moment] + [moment]
    found = compute(rows, at)
    assert np.array_equal(found, compute(other, at), equal_nan=True)
    assert np.array_equal(
        found, compute([row for row in rows if row[1] <= moment], at), equal_nan=True
    )


def test_what_came_earlier_does_change_values() -> None:
    """The other way round, so that the test above says something."""
    changed = 0
    for seed in range(20):
        rows, other, moment = with_noise(seed, 0.5)
        at = [moment + 2 * S]
        changed += not np.array_equal(compute(rows, at), compute(other, at), equal_nan=True)
    assert changed > 10


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_what_is_asked_for_changes_no_other_value(seed: int) -> None:
    rows, dice = market(seed), random.Random(seed)
    at = times(rows, dice, 60)
    some = sorted(dice.sample(range(len(at)), 10))
    assert np.array_equal(
        compute(rows, at)[some], compute(rows, [at[n] for n in some]), equal_nan=True
    )
    for n, spec in enumerate(FEATURES.specs):
        alone = compute(rows, at, Features([spec], BTCUSDT))
        assert np.array_equal(alone[:, 0], compute(rows, at)[:, n], equal_nan=True)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_prints_off_the_book_best_prices_and_marks_count_for_nothing(seed: int) -> None:
    rows = [row for row in market(seed) if row[2] & LAST or seed % 2]
    beside = (Kind.OFF_BOOK, Kind.BEST, Kind.MARK, Kind.FUNDING)
    without = [row for row in rows if row[2] & KIND not in beside]
    at = times(rows, random.Random(seed), 20)
    # A message whose last row is left out would end later.
    if all(row[2] & LAST for row in rows if row[2] & KIND in beside):
        assert np.array_equal(compute(rows, at), compute(without, at), equal_nan=True)


def test_a_gap_makes_everything_unknown_and_empties_the_windows() -> None:
    features = Features(
        ["mid", {"name": "ofi", "window": "1s"}, {"name": "vpin", "bucket": "0.002", "buckets": 1}],
        BTCUSDT,
    )
    book = ([(100, 5)], [(101, 5)])
    rows = snapshot_rows(*book, 0, 0)
    rows += [(1, 500 * MS, Kind.LEVEL | LAST, 100, 9), (1, 600 * MS, Kind.TRADE | LAST, 101, 2)]
    rows += [(2, 2 * S, Kind.LEVEL | LAST, 100, 7), (2, 2 * S, Kind.GAP | LAST, 2, 0)]
    rows += snapshot_rows(*book, 2 * S, 2 * S + 500 * MS)
    at = [S, 2 * S - 1, 2 * S, 2 * S + 500 * MS, 3 * S + 500 * MS]
    nan = math.nan
    expected = [
        [100.5, 4, 1],  # its window has just filled
        [100.5, 0, 1],
        [nan, nan, nan],
        [100.5, nan, nan],
        [100.5, 0, nan],
    ]
    assert np.array_equal(compute(rows, at, features), expected, equal_nan=True)


def flow(*tops: tuple[int, int, int, int]) -> list[float]:
    """Return the OFI of each of some tops (bid, size, ask, size) against the one before, a second apart."""
    rows = [
        row
        for n, (bid, bids, ask, asks) in enumerate(tops)
        for row in snapshot_rows([(bid, bids)], [(ask, asks)], n * S, n * S)
    ]
    features = Features([{"name": "ofi", "window": "1s"}], BTCUSDT)
    return [float(v) for v in compute(rows, [n * S for n in range(1, len(tops))], features)[:, 0]]


def test_order_flow_is_signed_as_in_the_paper() -> None:
    start = (100, 10, 102, 20)
    assert flow(start, (100, 14, 102, 20)) == [4]  # a limit buy
    assert flow(start, (100, 7, 102, 20)) == [-3]  # a market sell, or a cancel
    assert flow(start, (101, 5, 102, 20)) == [5]  # a better bid counts whole
    assert flow(start, (99, 8, 102, 20)) == [-10]  # a bid gone counts whole
    assert flow(start, (100, 10, 102, 26)) == [-6]
    assert flow(start, (100, 10, 101, 3)) == [-3]
    assert flow(start, (100, 10, 103, 9)) == [20]
    assert flow(start, start) == [0]


def test_a_trade_of_any_size_fills_buckets_at_once() -> None:
    features = Features([{"name": "vpin", "bucket": "0.003", "buckets": 4}], BTCUSDT)
    rows = snapshot_rows([(100, 5)], [(101, 5)], 0, 0)
    rows += [(1, S, Kind.TRADE | LAST, 101, 2), (2, 2 * S, Kind.TRADE | SELL | LAST, 101, 2**52)]
    # Every bucket that is looked back at was sold whole: 2 + 2^52 lots less 2 fill many more.
    assert compute(rows, [2 * S], features).tolist() == [[1.0]]
    rows += [(3, 3 * S, Kind.TRADE | LAST, 101, 2)]
    left = (2**52 + 2) % 3
    mixed = abs(left - 2) / 3 if left + 2 >= 3 and left else 1
    expected = (3 + mixed) / 4 if left else 1.0
    assert compute(rows, [3 * S], features)[0, 0] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_a_long_tape_that_is_released_on_the_way_gives_the_same(
    seed: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = random_tape(seed, 300)
    at = whole.ts_local[::7].copy()
    expected = FEATURES.compute(whole, at)
    whole.save(tmp_path / "day.tape")
    monkeypatch.setattr(tape, "_LONG", 10)
    monkeypatch.setattr(features_module, "RELEASED", 64)
    mapped = Tape.load(tmp_path / "day.tape")
    assert mapped.long
    assert np.array_equal(FEATURES.compute(mapped, at), expected, equal_nan=True)
    assert np.array_equal(FEATURES.compute(mapped, at[-1:]), expected[-1:], equal_nan=True)


def test_windows_hold_as_many_changes_as_there_are() -> None:
    dice, rows = random.Random(1), snapshot_rows([(100, 5)], [(103, 5)], 0, 0)
    for n in range(2_000):
        at = S + n * MS
        rows.append((at, at, Kind.LEVEL | LAST, dice.choice([101, 102]), dice.choice([0, 1, 2])))
        rows.append((at, at, Kind.TRADE | dice.choice([0, SELL]) | LAST, 103, dice.randint(1, 9)))
    windows = [
        {"name": name, "window": window}
        for name in ("ofi", "trade_imbalance", "buy_sell_ratio", "volatility", "return")
        for window in ("1s", "1500ms", "3ms")
    ]
    features = Features(windows, BTCUSDT)
    at = [2 * S, 3 * S]
    for moment, values in zip(at, compute(rows, at, features), strict=True):
        expected = slow(moments(rows), features.specs, LOT, moment)
        assert values.tolist() == pytest.approx(expected, rel=1e-12)
    streaming = Streaming(features)
    for message in messages_of(rows):
        streaming.on_message(message)
    assert np.array_equal(streaming.values(3 * S), compute(rows, at, features)[1])


def test_nothing_is_known_of_an_empty_tape_and_nothing_asked_gives_nothing() -> None:
    assert np.isnan(compute([], [1, 2])).all()
    assert compute(wild_rows(1), []).shape == (0, len(FEATURES.names))
