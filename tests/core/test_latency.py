from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rows import BTCUSDT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba import njit
from scripted import Scripted, sim

from mmkit.commands import SubmitOrder
from mmkit.errors import ConfigError, DataError
from mmkit.events import Side
from mmkit.interfaces import Context, MarketView, Quotes
from mmkit.settings import LatencySettings
from mmkit.sim.latency import SALTS, Drawn, Latency, Recorded, splitmix64
from mmkit.sim.latency_files import check_covers, digests, refuse_recorded
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.tape import NEVER
from mmkit.testing import random_tape, run_strategy

MS, S = 1_000_000, 1_000_000_000
NOW = 1_700_000_000 * S
times = st.integers(-(2**63), 2**63 - 1)
seeds = st.integers(0, 2**64 - 1)
ascending = st.lists(st.integers(0, 10**12), min_size=2, max_size=9).map(sorted)


def latency(entry: Any, response: Any = "1ms") -> Latency:
    return Latency(LatencySettings.model_validate({"entry": entry, "response": response}))


def table(folder: Path, *lines: str) -> Path:
    path = folder / "latency.csv"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


# --- constant ---


def test_a_duration_is_the_latency_of_every_moment() -> None:
    both = latency("10ms", "0s")
    assert {both.entry(ts) for ts in (0, NOW, NOW + 1)} == {10 * MS}
    assert both.response(NOW) == 0


# --- drawn ---


def test_the_generator_gives_the_published_numbers() -> None:
    # The first five outputs for the seed 1234567, as in the reference implementation of splitmix64.c.
    outputs = [
        *(6457827717110365317, 3203168211198807973, 9817491932198370423),
        *(4593380528125082431, 16408922859458223821),
    ]
    step = 0x9E3779B97F4A7C15
    assert [splitmix64((1234567 + n * step) % 2**64) for n in range(5)] == outputs


@given(values=ascending, seed=seeds, ts=times)
def test_a_draw_is_a_pure_function_of_its_moment_between_the_outer_quantiles(
    values: list[int], seed: int, ts: int
) -> None:
    drawn, again = (Drawn(values, seed, SALTS["entry"]) for _ in range(2))
    first = drawn.at(ts)
    drawn.at(ts + 1)
    assert values[0] <= first <= values[-1]
    assert first == drawn.at(ts) == again.at(ts)


@given(values=ascending, seed=seeds, ts=times)
def test_a_draw_is_the_quantile_of_a_uniform_number_in_fractions(
    values: list[int], seed: int, ts: int
) -> None:
    key = splitmix64(seed ^ SALTS["response"])
    uniform = Fraction(splitmix64(key ^ ts % 2**64) // 2**11, 2**53)
    place = uniform * (len(values) - 1)
    left = math.floor(place)
    exact = values[left] + (values[left + 1] - values[left]) * (place - left)
    assert abs(Drawn(values, seed, SALTS["response"]).at(ts) - exact) <= 1


def test_draws_have_the_distribution_that_was_asked_for() -> None:
    quantiles = ["1ms", "1.2ms", "3ms", "20ms"]
    both = latency({"quantiles": quantiles, "seed": 7}, {"quantiles": quantiles, "seed": 7})
    many = 20_000
    moments = [NOW + n * MS for n in range(many)]
    entry = [both.entry(ts) for ts in moments]
    response = [both.response(ts) for ts in moments]
    other = latency({"quantiles": quantiles, "seed": 8})
    for draws in (entry, response, [other.entry(ts) for ts in moments]):
        thirds = Counter(sum(draw >= knot for knot in (1_200_000, 3 * MS)) for draw in draws)
        # A third each, within five standard deviations.
        assert all(abs(thirds[n] - many / 3) < 5 * math.sqrt(many * 2 / 9) for n in range(3))
    assert sum(a == b for a, b in zip(entry, response, strict=True)) < 50
    assert abs(np.corrcoef(entry, response)[0, 1]) < 0.04
    assert abs(np.corrcoef(entry[1:], entry[:-1])[0, 1]) < 0.04


def test_two_quantiles_alike_make_that_value_likely() -> None:
    drawn = latency({"quantiles": ["2ms", "2ms", "9ms"]})
    share = sum(drawn.entry(NOW + n) == 2 * MS for n in range(2_000)) / 2_000
    assert 0.45 < share < 0.55


def test_samples_are_quantiles_whatever_their_order(tmp_path: Path) -> None:
    path = table(tmp_path, "latency_ns", "3000000", "1000000", "20000000", "1200000")
    sampled = latency({"samples": str(path), "seed": 4})
    drawn = latency({"quantiles": ["1ms", "1.2ms", "3ms", "20ms"], "seed": 4})
    assert [sampled.entry(ts) for ts in range(NOW, NOW + 99)] == [
        drawn.entry(ts) for ts in range(NOW, NOW + 99)
    ]


@njit
def compiled_draw(values: Any, key: Any, ts: Any) -> int:
    """As `Drawn.at`, in the types a kernel has: uint64, int64, float64."""
    z = (key ^ np.uint64(ts)) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    place = np.float64(z >> np.uint64(11)) * 2.0**-53 * np.float64(len(values) - 1)
    left = min(int(place), len(values) - 2)
    low, high = values[left], values[left + 1]
    return math.floor(np.float64(low) + np.float64(high - low) * (place - np.float64(left)))


@njit
def compiled_interpolation(times: Any, values: Any, ts: Any) -> int:
    """As `Recorded.at`."""
    if ts <= times[0]:
        return int(values[0])
    if ts >= times[-1]:
        return int(values[-1])
    right = np.searchsorted(times, ts, side="right")
    low, begins = values[right - 1], times[right - 1]
    share = np.float64(ts - begins) / np.float64(times[right] - begins)
    return math.floor(np.float64(low) + np.float64(values[right] - low) * share)


@settings(max_examples=400, deadline=None)
@given(values=ascending, seed=seeds, ts=times)
def test_a_compiled_draw_is_the_same_to_the_nanosecond(
    values: list[int], seed: int, ts: int
) -> None:
    drawn = Drawn(values, seed, SALTS["entry"])
    assert compiled_draw(np.array(values), np.uint64(drawn.key), np.int64(ts)) == drawn.at(ts)


# --- recorded ---


series = st.lists(
    st.tuples(st.integers(NOW, NOW + 10**13), st.integers(0, 10**11)),
    min_size=2,
    max_size=12,
    unique_by=lambda point: point[0],
).map(sorted)


@settings(deadline=None)
@given(points=series, ts=st.integers(NOW - 10**9, NOW + 10**13 + 10**9))
def test_a_recorded_latency_is_linear_between_its_points(
    points: list[tuple[int, int]], ts: int
) -> None:
    moments, values = (list(column) for column in zip(*points, strict=True))
    recorded = Recorded(moments, values)
    found = recorded.at(ts)
    assert compiled_interpolation(np.array(moments), np.array(values), ts) == found
    for (begins, low), (ends, high) in pairwise(points):
        if begins <= ts <= ends:
            exact = low + Fraction((high - low) * (ts - begins), ends - begins)
            assert abs(found - exact) <= 1
    if ts <= moments[0]:
        assert found == values[0]
    if ts >= moments[-1]:
        assert found == values[-1]
    assert [recorded.at(moment) for moment in moments] == values


def test_a_recorded_latency_by_hand(tmp_path: Path) -> None:
    path = table(tmp_path, "ts_ns,latency_ns", "1000,100", "2000,200", "4000,50")
    both = latency({"series": str(path), "max_gap": "2us"}, {"series": str(path), "max_gap": "2us"})
    told = {0: 100, 1000: 100, 1009: 100, 1010: 101, 1500: 150, 2000: 200, 3000: 125, 9999: 50}
    assert {ts: both.entry(ts) for ts in told} == told == {ts: both.response(ts) for ts in told}


# --- files that are refused ---

SAMPLES, SERIES = "samples", "series"


@pytest.mark.parametrize(
    ("kind", "lines", "said"),
    [
        (SAMPLES, [], ":1: the header 'latency_ns' was expected; found nothing"),
        (SAMPLES, ["5", "6"], ":1: the header 'latency_ns' was expected; found '5'; write it"),
        (
            SERIES,
            ["ts,latency", "5,6"],
            ":1: the header 'ts_ns,latency_ns' was expected; found 'ts,latency'",
        ),
        (SERIES, ["latency_ns", "5"], ":1: the header 'ts_ns,latency_ns' was expected"),
        (
            SAMPLES,
            ["latency_ns", "5", "", "6"],
            ":3: latency_ns: whole nanoseconds, 0 or more, were expected; found nothing; mend",
        ),
        (SERIES, ["ts_ns,latency_ns", "5,", "6,7"], ":2: latency_ns: whole nanoseconds"),
        (SERIES, ["ts_ns,latency_ns", "5,1", ",7"], ":3: ts_ns: whole nanoseconds"),
        (SAMPLES, ["latency_ns", "5", "6ms"], ":3: latency_ns: whole .*; found '6ms'"),
        (SAMPLES, ["latency_ns", "5", "-6"], ":3: latency_ns: whole .*; found '-6'"),
        (SAMPLES, ["latency_ns", "5", "1e6"], ":3: latency_ns: whole .*; found '1e6'"),
        (SAMPLES, ["latency_ns", "5", "6.5"], ":3: latency_ns: whole .*; found '6.5'"),
        (SAMPLES, ["latency_ns", "5", "nan"], ":3: latency_ns: whole .*; found 'nan'"),
        (SAMPLES, ["latency_ns", "5", str(2**63)], f":3: latency_ns: whole .*; found '{2**63}'"),
        (
            SAMPLES,
            ["latency_ns", "5", "6,7"],
            ":3: 1 values were expected, as in the header 'latency_ns'; found 2",
        ),
        (SERIES, ["ts_ns,latency_ns", "5,1", "6"], ":3: 2 values were expected"),
        (
            SERIES,
            ["ts_ns,latency_ns", "5,1", "9,2", "7,3"],
            ":4: ts_ns: a time after 9, that of line 3, was expected; found 7; sort",
        ),
        (SERIES, ["ts_ns,latency_ns", "5,1", "5,2"], ":3: ts_ns: a time after 5, that of line 2"),
        (SAMPLES, ["latency_ns", "5"], ": at least 2 lines of values were expected; found 1"),
        (SERIES, ["ts_ns,latency_ns"], ": at least 2 lines of values were expected; found 0"),
        (
            SERIES,
            ["ts_ns,latency_ns", "0,1", "1000000000,1", "2500000000,1", "2600000000,1"],
            ":4: a measurement at least every 1s was expected .max_gap.; found none for 1.5 s "
            "between line 3 and line 4; measure without holes, or raise max_gap",
        ),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_the_line_and_what_to_do(
    kind: str, lines: list[str], said: str, tmp_path: Path
) -> None:
    path = table(tmp_path, *lines)
    setting = {kind: str(path), **({"max_gap": "1s"} if kind == SERIES else {})}
    with pytest.raises(DataError, match=f"^{path}{said}"):
        latency(setting)


def test_a_file_that_is_not_there_or_is_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"nowhere\.csv: a CSV file .* was expected .*No such file.*mmkit is started",
    ):
        latency({"samples": "nowhere.csv"})
    with pytest.raises(DataError, match=r"a CSV file .* was expected"):
        latency({"samples": str(tmp_path)})
    path = tmp_path / "raw.csv"
    path.write_bytes(b"latency_ns\n5\n\xff\n")
    with pytest.raises(DataError, match=r"raw\.csv:3: UTF-8 text was expected"):
        latency({"samples": str(path)})


@pytest.mark.parametrize(
    "raw", [b"latency_ns\r\n5\r\n7\r\n", b"\xef\xbb\xbflatency_ns\n 5 \n7", b"latency_ns\n5\n7"]
)
def test_how_a_spreadsheet_ends_its_lines_makes_no_difference(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "latency.csv"
    path.write_bytes(raw)
    assert 5 <= latency({"samples": str(path)}).entry(NOW) <= 7


# --- a series must be of the time of the run ---


def of_seconds(folder: Path, first: int, last: int) -> LatencySettings:
    path = table(
        folder, "ts_ns,latency_ns", *(f"{NOW + s * S},{5 * MS}" for s in range(first, last + 1))
    )
    return LatencySettings.model_validate({"response": {"series": str(path), "max_gap": "2s"}})


@pytest.mark.parametrize(
    ("start", "end", "covered"),
    [
        (10, 20, True),
        (8, 22, True),
        (7, 20, False),
        (10, 23, False),
        (30, 40, False),
        (0, 40, False),
    ],
)
def test_beyond_its_ends_a_series_holds_for_max_gap_and_no_longer(
    start: int, end: int, covered: bool, tmp_path: Path
) -> None:
    recorded = of_seconds(tmp_path, 10, 20)
    span = NOW + start * S, NOW + end * S
    if covered:
        check_covers(recorded, *span)
        with pytest.raises(DataError):
            check_covers(recorded, span[0] - 4 * S, span[1])
        return
    with pytest.raises(DataError) as raised:
        check_covers(recorded, *span)
    said = str(raised.value)
    assert "sim.latency.response was recorded from 2023-11-14T22:13:30.000Z to " in said
    assert f"the data, from 2023-11-14T22:13:{20 + start:02}.000Z to " in said
    assert "by 2s at most (max_gap); record" in said


def test_a_dry_run_is_now_and_has_no_recorded_latency(tmp_path: Path) -> None:
    refuse_recorded(LatencySettings(), NOW)
    with pytest.raises(ConfigError) as raised:
        refuse_recorded(of_seconds(tmp_path, 10, 20), NOW + 15 * S)
    said = str(raised.value)
    assert "sim.latency.response" in said
    assert "from 2023-11-14T22:13:30.000Z to 2023-11-14T22:13:40.000Z" in said
    assert "a dry run is now, 2023-11-14T22:13:35.000Z" in said


def test_a_run_notes_the_digest_of_what_it_read(tmp_path: Path) -> None:
    recorded = of_seconds(tmp_path, 10, 20)
    first = digests(recorded)
    assert list(first) == [str(tmp_path / "latency.csv")]
    of_seconds(tmp_path, 10, 21)
    assert digests(recorded) != first
    assert digests(LatencySettings()) == {}


# --- at the venue ---


def drawn_sim(reports: str, seed: int) -> Any:
    return sim(
        reports,
        latency={
            "entry": {"quantiles": ["0s", "2ns", "400ns"], "seed": seed},
            "response": {"quantiles": ["1ns", "500ns"], "seed": seed},
        },
    )


@pytest.mark.parametrize("reports", ["plain", "after_data"])
@given(seed=seeds, sent=st.lists(st.integers(0, 300), min_size=2, max_size=30).map(sorted))
def test_nothing_overtakes_on_one_connection_either_way(
    reports: str, seed: int, sent: list[int]
) -> None:
    paper = PaperVenue(PaperConfig(), Context(BTCUSDT, drawn_sim(reports, seed)))
    paper.open(0)
    for number, at in enumerate(sent):
        paper.send(SubmitOrder(ts_local=at, order_id=number, side=Side.BUY, price=1, quantity=1))
    told = []
    while (due := paper.next_ns()) != NEVER:
        told += paper.take(due)
    assert [event.order_id for event in told] == list(range(len(sent)))
    for column in ("ts_exchange", "ts_local"):
        moments = [getattr(event, column) for event in told]
        assert moments == sorted(moments)
    both = Latency(drawn_sim(reports, seed).latency)
    for event, at in zip(told, sent, strict=True):
        assert event.ts_exchange >= at + both.entry(at)
        assert event.ts_local >= event.ts_exchange + both.response(event.ts_exchange)
    # The first waits for nobody.
    assert told[0].ts_exchange == sent[0] + both.entry(sent[0])


@pytest.mark.parametrize("reports", ["plain", "after_data"])
def test_commands_of_one_moment_travel_together(reports: str) -> None:
    paper = PaperVenue(PaperConfig(), Context(BTCUSDT, drawn_sim(reports, 3)))
    for number in range(3):
        paper.send(SubmitOrder(ts_local=70, order_id=number, side=Side.BUY, price=1, quantity=1))
    told = []
    while (due := paper.next_ns()) != NEVER:
        told += paper.take(due)
    assert len({event.ts_exchange for event in told}) == 1


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("reports", ["plain", "after_data"])
@given(seed=seeds)
def test_a_run_with_drawn_latencies_is_the_same_twice_and_another_with_another_seed(
    reports: str, seed: int
) -> None:
    def touch(view: MarketView) -> Quotes:
        return Quotes(
            bid=(view.best_bid, 5) if view.best_bid else None,
            ask=(view.best_ask, 5) if view.best_ask else None,
        )

    def entries(seed: int) -> list[Any]:
        ways = {"quantiles": ["1ms", "5ms", "80ms"], "seed": seed}
        settings = sim(reports, latency={"entry": ways, "response": ways})
        return run_strategy(Scripted(touch, every="50ms"), random_tape(5, 300), settings)[1]

    first = entries(seed)
    assert first == entries(seed)
    assert first != entries(seed ^ 1)
