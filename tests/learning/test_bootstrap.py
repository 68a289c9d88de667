from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mmkit.errors import DataError
from mmkit.learning import BlockBootstrap, block_length, confusion
from mmkit.learning.metrics import macro_f1

Floats = npt.NDArray[np.float64]


def ar1(n: int, rho: float, seed: int) -> Floats:
    noise = np.random.default_rng(seed).standard_normal(n)
    series = np.empty(n)
    series[0] = noise[0]
    for at in range(1, n):
        series[at] = rho * series[at - 1] + noise[at]
    return series


@pytest.mark.parametrize(("n", "length"), [(40, 4), (43, 4), (50, 5), (30, 1), (39, 3)])
def test_totals_are_the_sums_of_resamples_really_made(n: int, length: int) -> None:
    values = np.random.default_rng(1).standard_normal((n, 3))
    found = BlockBootstrap(length=length, resamples=20, seed=7).totals(values)
    dice = np.random.default_rng(7)
    first = dice.integers(n, size=(20, -(-n // length)))
    for row in range(20):
        rows = [(start + step) % n for start in first[row].tolist() for step in range(length)][:n]
        assert len(rows) == n
        np.testing.assert_allclose(found[row], values[rows].sum(axis=0), atol=1e-12)


def test_the_same_seed_gives_the_same_and_pieces_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(1).integers(0, 2, (500, 2)).astype(float)
    whole = BlockBootstrap(length=7, resamples=50, seed=3).totals(values)
    monkeypatch.setattr("mmkit.learning.bootstrap._CELLS", 500)
    np.testing.assert_array_equal(
        whole, BlockBootstrap(length=7, resamples=50, seed=3).totals(values)
    )
    assert (whole != BlockBootstrap(length=7, resamples=50, seed=4).totals(values)).any()


@pytest.mark.parametrize(
    ("rho", "seed", "n", "reference"),
    [
        # optimal_block_length(series)["circular"] of the package arch, of the same series.
        (0.5, 2, 2_000, 12.357322313502006),
        (0.9, 3, 5_000, 62.756164722380646),
        (0.95, 4, 20_000, 247.18455354360938),
    ],
)
def test_a_block_is_as_long_as_another_package_says(
    rho: float, seed: int, n: int, reference: float
) -> None:
    assert block_length(ar1(n, rho, seed)) == pytest.approx(reference, rel=0.03, abs=1)


def test_a_block_is_never_shorter_than_the_horizon_nor_more_than_a_tenth() -> None:
    assert block_length(ar1(2_000, 0.0, 1)) == 1
    assert block_length(ar1(2_000, 0.0, 1), least=50) == 50
    assert block_length(ar1(200, 0.99, 1)) == 20
    assert block_length(np.ones(100), least=4) == 4
    with pytest.raises(
        DataError, match="10 times the horizon of 50 samples was expected; found 499"
    ):
        block_length(ar1(499, 0.0, 1), least=50)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_an_interval_holds_the_true_mean_about_as_often_as_it_says(rho: float) -> None:
    n, times = 1_500, 100
    held = {"blocks": 0, "one by one": 0}

    def mean(sums: Floats) -> Floats:
        return sums[..., 0] / n  # type: ignore[no-any-return]

    for seed in range(times):
        series = ar1(n + 200, rho, seed)[200:]
        for how, length in (("blocks", block_length(series)), ("one by one", 1)):
            bootstrap = BlockBootstrap(length=length, resamples=300, seed=seed)
            held[how] += bootstrap.interval(series[:, None], mean).holds(0.0)
    # 95 % of 100, less three standard errors and the few points that a block bootstrap is short of.
    assert held["blocks"] / times >= 0.86
    # Samples taken one by one are far off as soon as there is memory: the blocks are what does it.
    assert rho == 0 or held["one by one"] / times < 0.8


def test_an_interval_of_macro_f1_holds_the_truth_where_labels_overlap() -> None:
    horizon = 20

    def drawn(n: int, seed: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
        dice = np.random.default_rng(seed)
        signal = np.convolve(dice.standard_normal(n + 3 * horizon), np.ones(horizon), "valid")
        signal /= np.sqrt(horizon)
        walk = np.cumsum(0.5 * signal + dice.standard_normal(len(signal)))
        ahead = (walk[horizon:] - walk[:-horizon])[:n] / np.sqrt(horizon)
        truth = np.digitize(ahead, [-0.8, 0.8]).astype(np.int8)
        return truth, np.digitize(signal[:n], [-0.5, 0.5]).astype(np.int8)

    truth, called = drawn(500_000, 1)
    true_f1 = float(macro_f1(confusion(truth, called)))
    held, alone, times = 0, 0, 80
    for seed in range(100, 100 + times):
        truth, called = drawn(2_000, seed)
        cells = np.eye(9)[truth.astype(np.int64) * 3 + called]
        for length in (1, block_length((truth == called).astype(float), least=horizon)):
            found = BlockBootstrap(length=length, resamples=300, seed=seed).interval(
                cells, lambda sums: macro_f1(sums.reshape(*sums.shape[:-1], 3, 3))
            )
            held += found.holds(true_f1) * (length > 1)
            alone += found.holds(true_f1) * (length == 1)
    assert held / times >= 0.82
    assert alone / times < 0.75


def test_an_interval_from_too_little_is_refused() -> None:
    with pytest.raises(
        DataError, match="at least 10 blocks of 20 samples were expected; found 199"
    ):
        BlockBootstrap(length=20).totals(np.zeros((199, 1)))
    with pytest.raises(DataError, match="finite numbers"):
        BlockBootstrap(length=1).totals(np.full((20, 1), np.nan))
    with pytest.raises(DataError, match=r"found 0, 2000 and 0\.95"):
        BlockBootstrap(length=0)
    rare = np.zeros((20, 1))
    rare[3] = 1
    with (
        pytest.raises(DataError, match=r"not defined in .* of 2,000 resamples"),
        np.errstate(divide="ignore"),
    ):
        BlockBootstrap(length=1).interval(rare, lambda sums: 1 / sums[..., 0])


@pytest.mark.parametrize(("level", "errors"), [(0.95, 1.959964), (0.8, 1.281552)])
def test_without_memory_the_interval_is_that_of_the_normal_distribution(
    level: float, errors: float
) -> None:
    series = ar1(4_000, 0.0, 3)
    found = BlockBootstrap(length=1, resamples=4_000, level=level).interval(
        series[:, None], lambda sums: sums[..., 0] / 4_000
    )
    error = series.std() / np.sqrt(4_000)
    assert found.value == pytest.approx(series.mean())
    assert (found.low - found.value) / error == pytest.approx(-errors, abs=0.12)
    assert (found.high - found.value) / error == pytest.approx(errors, abs=0.12)


def test_counts_give_the_totals_that_the_same_numbers_give_as_floats() -> None:
    counts = np.random.default_rng(1).integers(0, 2, (500, 9)).astype(np.int8)
    bootstrap = BlockBootstrap(length=7, resamples=50, seed=3)
    np.testing.assert_array_equal(bootstrap.totals(counts), bootstrap.totals(counts.astype(float)))
