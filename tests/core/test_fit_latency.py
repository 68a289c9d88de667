"""Latencies measured in runs whose latencies are known."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fit_runs import config_of, queueing_market, write_dry_run

from mmkit.commands import AnyCommand, CancelOrder, SubmitOrder, TimeInForce
from mmkit.errors import DataError
from mmkit.events import (
    AnyEvent,
    CancelRejected,
    FundingPaid,
    Liquidity,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderRejected,
    Side,
)
from mmkit.fit.latency import (
    Answers,
    answers_of,
    fit_latency,
    is_honest,
    mean_drawn,
    quantiles_of,
    series_of,
    widest_gap,
    yaml_of,
)
from mmkit.settings import LatencySettings, RecordedLatency, SimSettings
from mmkit.sim.latency_files import read_samples, read_series, write_samples, write_series
from mmkit.testing import build_strategy, run_strategy
from mmkit_strategies.join_best import JoinBest

MS, S = 10**6, 10**9
MARKET = queueing_market(8, 12_000)
ENTRY = {"quantiles": ["1ms", "1.5ms", "2ms", "9ms"], "seed": 3}
RESPONSE = {"quantiles": ["2ms", "4ms", "5ms", "6ms", "12ms"], "seed": 4}


def backtest(latency: dict[str, Any], every: str = "40ms") -> Answers:
    """Quote the whole of a market, on two clocks, and return how long everything took."""
    sim = SimSettings.model_validate({"latency": latency})
    strategy = build_strategy(JoinBest, every=every, size="0.005", max_position="10")
    return answers_of(run_strategy(strategy, MARKET, sim)[1])


def values(samples: Sequence[tuple[int, int]]) -> list[int]:
    return sorted(took for _, took in samples)


def share_below(quantiles: Sequence[float], value: float) -> float:
    """Return the probability of less than `value`, of a distribution linear between quantiles."""
    return float(np.interp(value, quantiles, np.linspace(0, 1, len(quantiles))))


def furthest(measured: Sequence[int], quantiles: Sequence[float]) -> float:
    """Return the largest difference between shares of those measured and of the distribution, at P5 to P95."""
    return max(
        abs(share_below(quantiles, np.quantile(measured, share)) - share)
        for share in np.linspace(0.05, 0.95, 19)
    )


# --- known latencies come back ---


def test_the_latencies_of_a_run_come_back() -> None:
    found = fit_latency(backtest({"entry": ENTRY, "response": RESPONSE}))
    for way, quantiles in (
        (found.entry, (1, 1.5, 2, 9)),
        (found.response, (2, 4, 5, 6, 12)),
    ):
        true = [ms * MS for ms in quantiles]
        assert way.moments > 700
        assert way.within < 0.05
        assert furthest(way.quantiles, true) < way.within
        assert true[0] <= way.least < 1.05 * true[0]
        assert 0.95 * true[-1] < way.largest <= true[-1]
        assert way.mean == pytest.approx(mean_drawn([int(ns) for ns in true]), rel=0.1)
        assert (way.median, way.p95) == (
            way.quantiles[10 * len(way.quantiles) // 20],
            way.quantiles[19 * len(way.quantiles) // 20],
        )
    assert found.unanswered == 0
    assert found.round_trip.count == found.entry.count < found.response.count
    trips = found.round_trip
    assert found.entry.least + found.response.least <= trips.least
    assert trips.largest <= found.entry.largest + found.response.largest
    # Several commands of one moment share a latency, so that there are fewer draws than commands.
    assert found.entry.moments < found.entry.count


def test_fitted_latencies_put_into_a_backtest_give_the_distribution_again() -> None:
    measured = backtest({"entry": ENTRY, "response": RESPONSE})
    found = fit_latency(measured)
    text = f"entry: {yaml_of(found.entry.quantiles)}\nresponse: {yaml_of(found.response.quantiles)}"
    again = backtest(yaml.safe_load(text), every="35ms")  # other moments, other draws
    for way in ("entry", "response"):
        first, second = values(getattr(measured, way)), values(getattr(again, way))
        within = getattr(found, way).within + getattr(fit_latency(again), way).within
        assert furthest(second, first) < within
        assert np.mean(second) == pytest.approx(np.mean(first), rel=0.1)


def test_in_a_dry_run_entries_come_back_and_responses_are_longer(tmp_path: Path) -> None:
    config = config_of(tmp_path, {"latency": {"entry": ENTRY, "response": RESPONSE}})
    run = write_dry_run(config, MARKET, tmp_path / "run")
    found = fit_latency(answers_of(run.entries()))
    assert furthest(found.entry.quantiles, [1 * MS, 1.5 * MS, 2 * MS, 9 * MS]) < found.entry.within
    for share, quantile in zip((0.25, 0.5, 0.75, 1), (4, 5, 6, 12), strict=True):
        assert np.quantile(found.response.quantiles, share) > quantile * MS


def test_one_latency_is_written_as_a_duration() -> None:
    found = fit_latency(backtest({"entry": "4ms", "response": "6123us"}))
    assert yaml_of(found.entry.quantiles) == "4ms"
    assert yaml_of(found.response.quantiles) == "6123us"


def test_what_is_written_is_right_to_half_a_percent_and_can_be_read() -> None:
    def read(quantiles: list[int]) -> tuple[int, ...]:
        settings = LatencySettings.model_validate({"entry": yaml.safe_load(yaml_of(quantiles))})
        found: tuple[int, ...] = settings.entry.quantiles
        return found

    assert read([123_456, 1_234_567, 987_654_321]) == (123_000, 1_235_000, 987_654_000)
    # Shorter ones are written to the nanosecond.
    assert read([0, 99_999, 1_234_567]) == (0, 99_999, 1_234_567)


# --- how many quantiles ---


def test_few_values_are_their_own_quantiles() -> None:
    assert quantiles_of([3, 5, 5, 900]) == [3, 5, 5, 900]


@pytest.mark.parametrize(("largest", "count"), [(2 * MS, 21), (5 * MS, 101), (8 * MS, 201)])
def test_one_value_far_out_takes_more_quantiles(largest: int, count: int) -> None:
    # One in ten thousand: in the last step, a whole share of all draws would lie evenly up to it.
    measured = sorted([*np.random.default_rng(6).integers(MS, 2 * MS, 9_999).tolist(), largest])
    found = quantiles_of(measured)
    assert len(found) == count
    assert is_honest(found, measured)
    assert mean_drawn(found) == pytest.approx(np.mean(measured), rel=0.01)
    assert np.quantile(found, 0.99) == pytest.approx(np.quantile(measured, 0.99), rel=0.01)
    assert (found[0], found[-1]) == (measured[0], measured[-1])
    assert found[(count - 1) * 19 // 20] == int(np.quantile(measured, 0.95))


def test_a_tail_that_no_quantiles_tell_is_said_to_be_so() -> None:
    measured = sorted([*np.random.default_rng(6).integers(MS, 2 * MS, 9_999).tolist(), S])
    found = quantiles_of(measured)
    assert (len(found), is_honest(found, measured)) == (201, False)
    assert mean_drawn(found) > 2 * np.mean(measured)


# --- what answers what ---


def submit(order_id: int, at: int) -> SubmitOrder:
    return SubmitOrder(
        ts_local=at,
        order_id=order_id,
        side=Side.BUY,
        price=1,
        quantity=5,
        time_in_force=TimeInForce.GTC,
    )


def filled(order_id: int, venue: int, local: int, liquidity: Liquidity) -> OrderFilled:
    return OrderFilled(
        ts_exchange=venue,
        ts_local=local,
        order_id=order_id,
        price=1,
        quantity=1,
        remaining=1,
        liquidity=liquidity,
        fee=Decimal(0),
    )


JOURNAL: list[AnyCommand | AnyEvent] = [
    submit(1, 100),
    submit(2, 101),
    submit(3, 102),
    submit(4, 103),
    OrderAccepted(order_id=1, ts_exchange=110, ts_local=115),
    OrderRejected(order_id=2, ts_exchange=111, ts_local=117, reason=""),
    # Takes, and rests with what is left: its first report answers it.
    filled(3, 112, 119, Liquidity.TAKER),
    OrderAccepted(order_id=3, ts_exchange=112, ts_local=120),
    # Neither took nor may rest.
    OrderCanceled(order_id=4, ts_exchange=113, ts_local=121),
    CancelOrder(ts_local=200, order_id=1),
    filled(1, 204, 211, Liquidity.MAKER),
    CancelRejected(order_id=1, ts_exchange=205, ts_local=212, reason=""),
    CancelOrder(ts_local=300, order_id=3),
    OrderCanceled(order_id=3, ts_exchange=330, ts_local=331),
    FundingPaid(
        ts_exchange=340,
        ts_local=990,
        rate=Decimal(0),
        mark=Decimal(1),
        position=0,
        amount=Decimal(0),
    ),
    submit(5, 400),
    CancelOrder(ts_local=410, order_id=5),
]


def test_every_command_is_measured_by_its_answer_and_every_report_about_an_order() -> None:
    assert answers_of(JOURNAL) == Answers(
        entry=[(100, 10), (101, 10), (102, 10), (103, 10), (200, 5), (300, 30)],
        response=[
            *((110, 5), (111, 6), (112, 7), (112, 8), (113, 8)),
            *((204, 7), (205, 7), (330, 1)),
        ],
        round_trip=[(100, 15), (101, 16), (102, 17), (103, 18), (200, 12), (300, 31)],
        unanswered=2,
        waited=0,
    )


def test_commands_that_may_have_waited_for_another_are_counted() -> None:
    journal = [
        submit(1, 100),
        submit(2, 100),
        submit(3, 105),
        *(OrderAccepted(order_id=n, ts_exchange=110, ts_local=115) for n in (1, 2, 3)),
    ]
    assert answers_of(journal).waited == 1  # the second one is of the same moment


# --- measurements in time ---


def test_a_series_has_the_longest_of_each_moment_in_order() -> None:
    assert series_of([(5, 2), (3, 9), (5, 7), (5, 1)]) == [(3, 9), (5, 7)]


def test_the_widest_gap_is_sought_up_to_both_ends() -> None:
    series = [(10, 1), (15, 1), (18, 1)]
    assert widest_gap(series, 9, 20) == 5
    assert widest_gap(series, 3, 20) == 7
    assert widest_gap(series, 9, 30) == 12


def test_files_are_read_back_and_never_overwritten(tmp_path: Path) -> None:
    samples, series = tmp_path / "new" / "entry.csv", tmp_path / "new" / "series.csv"
    write_samples(samples, [5, 3, 3])
    write_series(series, [(1, 9), (4, 2)])
    assert read_samples(samples) == [5, 3, 3]
    assert read_series(RecordedLatency(series=series, max_gap="3ns")) == ([1, 4], [9, 2])
    with pytest.raises(DataError, match=r"entry\.csv: there is a file already"):
        write_samples(samples, [1])
    with pytest.raises(DataError, match=r"cannot be written"):
        write_samples(samples / "under" / "a_file.csv", [1])
    assert read_samples(samples) == [5, 3, 3]


# --- what is refused ---


def answers(entry: Sequence[int], response: Sequence[int] = (7 * MS,) * 40) -> Answers:
    return Answers(
        entry=list(enumerate(entry)),
        response=list(enumerate(response)),
        round_trip=[(n, took + 7 * MS) for n, took in enumerate(entry)],
        unanswered=3,
        waited=0,
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (answers([]), r"no command of the run was answered \(3 were sent\)"),
        (answers([MS] * 19), r"^19 commands of the run were answered; 20 is the least"),
        (
            answers([5 * MS] * 30 + [-MS, -3 * MS]),
            r"^entry: 2 of 32 latencies are below zero, the least -3 ms\. The venue's clock was at least 3 ms "
            r"behind ours: set the clock .* by NTP.* The round trip, .* took 12 ms in half",
        ),
        (
            answers([50 * MS] * 30, [-40_500_000] * 40),
            r"^response: 40 of 40 latencies are below zero, the least -40\.5 ms\. The venue's clock was at least "
            r"40\.5 ms ahead of ours",
        ),
        (
            answers([-MS] * 5, [-2 * MS] * 9),
            r"^entry: 5 of 5 .*; response: 9 of 9 .* at least 1 ms behind ours, and at another time 2 ms ahead of",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_refused_in_words(given: Answers, said: str) -> None:
    with pytest.raises(DataError, match=said):
        fit_latency(given)
