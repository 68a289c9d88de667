from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from mmkit.cli import main
from mmkit.errors import DataError
from mmkit.intensity import Intensity, calibrate_intensity
from mmkit.tape import LAST, SELL, GapReason, Kind, Row, Tape
from mmkit.testing import BTCUSDT, ended, random_tape, snapshot_rows
from mmkit.tops import tops_of

STEP = 100_000_000  # 100 ms
START = 1_700_000_000_000_000_000
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def drawn_market(
    A: float,  # noqa: N803 - the paper's letter
    k: float,
    sigma: float,
    seconds: int,
    seed: int,
    spreads: tuple[int, ...] = (1,),
) -> Tape:
    """A market in which trades reach a distance d from mid exactly ``A exp(-k d)`` times a second.

    Mid jumps by whole ticks at each 100 ms, with variance sigma^2 a second; between, buyers and sellers
    arrive as Poisson processes of rate A, each going as far as an exponential with rate k says, that is to
    the last price on the way.
    """
    dice = np.random.default_rng(seed)
    rows: list[Row] = []
    bid, spread = 600_000, spreads[0]
    jump = max(1, round(sigma))  # wide enough for the variance
    chance = sigma**2 / 10 / jump**2
    assert chance <= 1
    for step in range(seconds * 10 + 1):
        at = START + step * STEP
        if step % 600 == 0:  # seldom, or its changes would be most of those of mid
            spread = int(dice.choice(spreads))
        if dice.random() < chance:
            bid += jump * int(dice.choice((-1, 1)))
        ask = bid + spread
        rows += snapshot_rows([(bid, 5)], [(ask, 5)], at, at)
        mid = (bid + ask) / 2
        trades = []
        for sell in (False, True):
            for _ in range(dice.poisson(A * 0.1)):
                far = dice.exponential(1 / k)
                price = math.ceil(mid - far) if sell else math.floor(mid + far)
                # Not as far as the next price on the other side of mid: it reached nothing.
                trades.append((at + int(dice.integers(1, STEP)), sell, price))
        for when, sell, price in sorted(trades):
            kind = Kind.TRADE | LAST | (SELL if sell else 0)
            rows.append((when, when, kind, price, 1))
    return Tape.from_rows(BTCUSDT, rows)


def assert_recovered(found: Intensity, A: float, k: float, sigma: float) -> None:  # noqa: N803
    """Within four of its own standard errors, which are a fraction of the thing itself."""
    for name, value, estimate, error in (
        ("A", A, found.A, found.A_error),
        ("k", k, found.k, found.k_error),
        ("sigma", sigma, found.sigma, found.sigma_error),
    ):
        assert 0 < error < 0.2 * value, name
        assert estimate == pytest.approx(value, abs=4 * error), name


@pytest.mark.parametrize(
    ("A", "k", "sigma", "spreads"),
    [
        (0.9, 0.3, 0.3, (1,)),  # the parameters of the GLFT paper
        (2.0, 0.05, 5.0, (1, 2)),
        (10.0, 1.0, 2.0, (2,)),  # several trades in most intervals
        (3.0, 0.8, 1.0, (1, 2, 3)),
    ],
)
def test_what_a_market_was_drawn_with_is_recovered(
    A: float,  # noqa: N803
    k: float,
    sigma: float,
    spreads: tuple[int, ...],
) -> None:
    tape = drawn_market(A, k, sigma, 3_000, seed=7, spreads=spreads)
    found = calibrate_intensity(tape)
    assert_recovered(found, A, k, sigma)
    assert found.r_squared > 0.97
    assert found.seconds == pytest.approx(3_000, abs=1)


def test_the_stated_errors_are_those_of_many_draws() -> None:
    found = [calibrate_intensity(drawn_market(2, 0.4, 1, 600, seed)) for seed in range(24)]
    for name in ("A", "k", "sigma"):
        values = [getattr(one, name) for one in found]
        stated = float(np.mean([getattr(one, f"{name}_error") for one in found]))
        assert stated == pytest.approx(float(np.std(values, ddof=1)), rel=0.5), name


def hand_made(rows: list[tuple[float, bool, int]], seconds: float = 10) -> Tape:
    """A book of 100 to 101 for so long, with trades ``(second, sold, price)``."""
    end = START + round(seconds * 1e9)
    told = snapshot_rows([(100, 5)], [(101, 5)], START, START)
    for second, sold, price in sorted(rows):
        at = START + round(second * 1e9)
        told.append((at, at, Kind.TRADE | LAST | (SELL if sold else 0), price, 1))
    # Another quantity: the last change of the best prices, which ends what is known.
    told += ended([(end, end, int(Kind.LEVEL), 100, 6)])
    return Tape.from_rows(BTCUSDT, told)


def test_reaches_are_counted_by_hand() -> None:
    buys = [(0.05 + n * 0.1, False, 101 + (n % 2)) for n in range(20)]
    sells = [(5.05 + n * 0.1, True, 100 - 2 * (n % 2)) for n in range(10)]
    # The second trade of an interval goes no further than the first; it adds nothing.
    found = calibrate_intensity(hand_made([*buys, (0.16, False, 101), *sells]))
    # 15 intervals reach one tick more; five of the sells two. 2 x 100 quotes were thought of.
    assert [(p.distance, p.reached) for p in found.points] == [(0.5, 30), (1.5, 15), (2.5, 5)]
    assert [p.quoted_s for p in found.points] == pytest.approx([20.0] * 3)
    rates = [-math.log(1 - n / 200) / 0.1 for n in (30, 15, 5)]
    assert [p.rate for p in found.points] == pytest.approx(rates)
    slope = (math.log(rates[2]) - math.log(rates[0])) / 2  # of a line through three even points
    assert found.k == pytest.approx(-slope)
    level = sum(map(math.log, rates)) / 3
    assert math.log(found.A) == pytest.approx(level - slope * 1.5)
    assert (found.trades, found.sigma) == (31, 0.0)


def test_the_range_of_distances_can_be_chosen() -> None:
    tape = drawn_market(5, 0.2, 1, 1_000, seed=3)
    nearer = calibrate_intensity(tape, min_distance=2, max_distance=6)
    assert [point.distance for point in nearer.points] == [2.5, 3.5, 4.5, 5.5]
    assert nearer.k == pytest.approx(0.2, rel=0.2)


def test_a_trade_in_the_moment_of_a_look_belongs_to_the_book_before_it() -> None:
    buys = [(0.1 + n * 0.1, False, 102 + n % 2) for n in range(20)]
    # The book has moved up by two ticks in the moment of the last trade, and after it.
    rows = list(hand_made(buys, seconds=2).rows())
    at = START + 2 * 10**9
    rows += snapshot_rows([(102, 5)], [(103, 5)], at, at)
    rows += ended([(at + 10**10, at + 10**10, int(Kind.LEVEL), 102, 7)])
    found = calibrate_intensity(Tape.from_rows(BTCUSDT, rows))
    assert [(p.distance, p.reached) for p in found.points] == [(0.5, 20), (1.5, 20), (2.5, 10)]


def test_a_gap_ends_what_is_known_wherever_in_a_message_it_stands() -> None:
    rows = snapshot_rows([(9, 1)], [(10, 1)], 0, 0)
    rows += [(5, 5, int(Kind.GAP), 0, 0), (7, 7, Kind.TRADE | LAST, 10, 1)]
    tops = tops_of(Tape.from_rows(BTCUSDT, rows))
    assert (tops.ts.tolist(), tops.span.tolist()) == ([0, 5, 7], [0, -1, -1])


def test_prints_that_did_not_meet_the_book_reach_nothing() -> None:
    tape = hand_made([(0.05 + n * 0.1, False, 101 + n % 2) for n in range(20)])
    tape.kind[(tape.kind & 0x0F) == Kind.TRADE] = Kind.OFF_BOOK | LAST
    with pytest.raises(DataError, match="trades reached 0 distances"):
        calibrate_intensity(tape)


def test_time_with_an_unknown_book_counts_for_nothing() -> None:
    whole = drawn_market(2, 0.4, 1, 1_000, seed=5)
    rows = list(whole.rows())
    cut = START + 400 * 10**9 + 1
    gap: list[Row] = [(cut, cut, Kind.GAP | LAST, int(GapReason.CONNECTION), 0)]
    # A minute in which only trades are heard, at prices as far as they like.
    silent = [
        (cut + n, cut + n, Kind.TRADE | LAST, 700_000, 1) for n in range(10**9, 60 * 10**9, 10**8)
    ]
    later = [(a + 60 * 10**9, b + 60 * 10**9, c, d + 5_000, e) for a, b, c, d, e in rows if a > cut]
    # The jump of 5,000 ticks lies in the gap, and so is no move of mid.
    joined = Tape.from_rows(BTCUSDT, [*(r for r in rows if r[0] < cut), *gap, *silent, *later])
    found = calibrate_intensity(joined)
    assert found.seconds == pytest.approx(1_000, abs=2)
    assert_recovered(found, 2, 0.4, 1)


def test_tops_are_the_best_prices_after_each_message() -> None:
    tape = random_tape(3)
    tops = tops_of(tape)
    known = tops.span >= 0
    assert (tops.bid[known] < tops.ask[known]).all()
    assert (tops.bid_quantity[known] > 0).all()
    assert (tops.ask_quantity[known] > 0).all()
    assert (np.diff(tops.ts) >= 0).all()
    for column in (tops.bid, tops.ask, tops.bid_quantity, tops.ask_quantity):
        assert not column[~known].any()
    # One span more than gaps that interrupt one; spans only count up.
    assert tops.span.max() == int(((tape.kind & 0x0F) == Kind.GAP).sum())
    assert (np.diff(tops.span[known]) >= 0).all()
    assert tops.at(tops.ts[-1:] + 1).tolist() == [len(tops.ts) - 1]
    assert tops.at(tops.ts[:1] - 1).tolist() == [-1]


# --- what cannot be calibrated ---


@pytest.mark.parametrize(
    ("tape", "said"),
    [
        (hand_made([], seconds=0.5), r"5 intervals of 100 ms with a known book; 10 is the least"),
        (hand_made([]), r"trades reached 0 distances from mid 5 times or more; a line needs two"),
        (
            hand_made([(0.05 + n * 0.1, False, 103) for n in range(9)]),
            r"trades further from mid are not rarer",
        ),
        (
            Tape.from_rows(BTCUSDT, [(1, 1, Kind.TRADE | LAST, 5, 5)]),
            r"0 intervals of 100 ms with a known book",
        ),
    ],
)
def test_too_little_is_refused_in_words(tape: Tape, said: str) -> None:
    with pytest.raises(DataError, match=said):
        calibrate_intensity(tape)


# --- the command ---


@pytest.fixture
def capture(tmp_path: Path) -> list[str]:
    """A configuration for ten minutes of BTCUSDT."""
    day = DATA / "binance_usdm" / "btcusdt_20240808.gz"
    if not day.exists():
        assert not os.environ.get("CI"), f"{day} is missing"
        pytest.skip("the recorded data is not here")
    config = tmp_path / "config.yml"
    config.write_text(
        'instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT", tick: "0.1", lot: "0.001"}\n'
        f"data: {{plugin: capture, paths: ['{day}']}}\n"
        'strategy: {plugin: join_best, size: "0.01", max_position: "0.05"}\n'
    )
    return ["calibrate", "intensity", "-c", str(config), "--userdir", str(tmp_path)]


def test_the_command_prints_yaml_that_the_strategies_take(
    capture: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    from mmkit_strategies.glft import Glft

    assert main(capture) == 0
    out = capsys.readouterr().out
    assert "21,309 trades in 344 s with a known book" in out
    keys = yaml.safe_load(out[out.index("# strategy") :])
    assert set(keys) == {"A", "k", "sigma"}
    config = Glft.Config.model_validate({**keys, "gamma": 0.1, "size": "1", "max_position": "5"})
    assert (config.A, config.k) == pytest.approx((0.68, 0.026), rel=0.02)


def test_the_command_speaks_json(capture: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*capture, "--json", "--min-distance", "1", "--max-distance", "70"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["points"][0]["distance"] > 1
    assert found["points"][-1]["distance"] < 70
    assert found["interval_ms"] == 100


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--interval", "100"], "a duration with its unit"),
        (["--interval", "0s"], "a duration above zero was expected; found '0s'"),
        (["--min-distance", "-1"], "-1.0 is not in the range"),
        (["--max-distance", "0"], "0.0 is not in the range"),
    ],
)
def test_an_option_outside_its_range_is_refused_in_words(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "intensity", *options]) == 2
    assert said in capsys.readouterr().err
