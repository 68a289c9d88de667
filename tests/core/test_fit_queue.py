"""Queue models fitted to runs whose queue model is known."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_runs import JOIN_BEST, config_of, queueing_market, write_dry_run

from mmkit.commands import AnyCommand
from mmkit.errors import DataError
from mmkit.events import MAIN, AnyEvent, Side
from mmkit.fit.collect import Seen, collect
from mmkit.fit.evidence import Evidence
from mmkit.fit.lives import lives_of
from mmkit.fit.queue import QueueFit, fit_queue
from mmkit.journal import RecordedRun
from mmkit.run.backtest import load_tapes
from mmkit.settings import QueueSettings
from mmkit.sim.queue import queue_model
from mmkit.tape import KIND, SELL, Kind, Row, Tape
from mmkit.testing import build_strategy, random_tape, run_strategy
from mmkit_strategies.join_best import JoinBest

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
LATENCY = {"entry": "4ms", "response": "6ms"}
MARKET = queueing_market(5)


def dry_run(folder: Path, queue: dict[str, Any], tape: Tape = MARKET) -> RecordedRun:
    config = config_of(folder, {"queue": queue, "latency": LATENCY})
    return write_dry_run(config, tape, folder / "run")


def seen_in(run: RecordedRun) -> tuple[list[Evidence], Seen]:
    return collect(run.entries(), run.tape(), real=not run.simulated)


def fitted(run: RecordedRun) -> QueueFit:
    return fit_queue(*seen_in(run))


def losses(found: QueueFit) -> dict[str, float]:
    return {each.name: each.loss for each in found.tried}


# --- known parameters come back ---


@pytest.mark.parametrize("exponent", [1.0, 1.3, 2.0, 4.0])
def test_the_exponent_of_a_run_comes_back(exponent: float, tmp_path: Path) -> None:
    found = fitted(dry_run(tmp_path, {"model": "power", "exponent": exponent}))
    step = 1.003  # with which the ends are sought
    assert found.exponent_low / step <= exponent <= found.exponent_high * step
    assert found.exponent == (found.exponent_low + found.exponent_high) / 2
    assert abs(found.exponent - exponent) < 3 * found.exponent_error < 0.2 * exponent
    assert found.queue == {"model": "power", "exponent": found.exponent}
    assert found.orders > 200
    power = found.tried[-1]
    assert (power.loss, power.filled, power.unfilled) == (0, 0, 0)
    others = [each for each in found.tried[:-1] if each.name != f"power {exponent:g}"]
    assert all(each.loss > 0.001 and each.filled + each.unfilled > 5 for each in others)


def test_the_stated_error_is_that_of_many_runs(tmp_path: Path) -> None:
    found = [
        fitted(
            dry_run(
                tmp_path / str(seed),
                {"model": "power", "exponent": 2.5},
                queueing_market(seed, 3_000),
            )
        )
        for seed in range(10)
    ]
    exponents = [each.exponent for each in found]
    error = float(np.std(exponents, ddof=1))
    # It includes that an interval is equally good, so that it is rather too large than too small.
    assert 0.7 * error < np.mean([each.exponent_error for each in found]) < 2.5 * error
    assert abs(float(np.mean(exponents)) - 2.5) < 3 * error / np.sqrt(len(found))


@pytest.mark.parametrize("behind", [(1.0, 0.8, 0.3, 0.1, 0.0), (0.9, 0.7, 0.4, 0.3, 0.0)])
def test_the_knots_of_a_run_come_back(behind: tuple[float, ...], tmp_path: Path) -> None:
    found = fitted(dry_run(tmp_path, {"model": "calibrated", "behind": behind}))
    assert found.queue == {"model": "calibrated", "behind": found.behind}
    for knot, error, true in zip(found.behind, found.behind_error, behind, strict=True):
        assert abs(knot - true) < 3 * error
    assert max(found.behind_error[1:4]) < 0.1
    by_name = {each.name: each for each in found.tried}
    power = by_name["power, fitted"]
    assert by_name["calibrated, fitted"].left_out_loss is not None
    assert power.left_out_loss is not None
    assert by_name["calibrated, fitted"].left_out_loss < 0.2 * power.left_out_loss


@pytest.mark.parametrize("model", ["log", "risk_averse"])
def test_a_model_without_parameters_is_told_from_the_others(model: str, tmp_path: Path) -> None:
    found = fitted(dry_run(tmp_path, {"model": model}))
    assert found.queue == {"model": model}
    assert losses(found)[model] == 0
    other = ({"log", "risk_averse"} - {model}).pop()
    assert losses(found)[other] > 0.1


@pytest.mark.parametrize(
    "queue",
    [
        QueueSettings(model="power", exponent=0.6),
        QueueSettings(model="power", exponent=3),
        QueueSettings(model="log"),
        QueueSettings(model="risk_averse"),
        QueueSettings(model="calibrated", behind=(0.8, 0.8, 0.1)),
    ],
    ids=str,
)
def test_the_model_of_a_run_explains_every_fill_in_it(queue: QueueSettings, tmp_path: Path) -> None:
    run = dry_run(tmp_path, queue.model_dump(mode="json", exclude_unset=True))
    evidence, seen = seen_in(run)
    assert [each.miss(queue_model(queue)) for each in evidence] == [0.0] * len(evidence)
    assert (seen.contradicting, seen.left_out) == (0, {})
    assert 300 < seen.filled < seen.followed == seen.rested


def published(tape: Tape, entries: list[AnyCommand | AnyEvent]) -> Tape:
    """Return `tape` as a real venue tells it: our orders are in its totals."""
    lives = lives_of(entries)
    came = np.array([life.accepted[0] for life in lives])
    rows: list[Row] = []
    for ts, local, kind, price, quantity in tape.rows():
        own = 0
        if kind & KIND == Kind.LEVEL and quantity:
            side = Side.SELL if kind & SELL else Side.BUY
            # The market is short and orders end soon: the last few are all that can be there.
            for life in lives[max(0, int(np.searchsorted(came, ts)) - 20) :]:
                if life.place == (side, price) and life.accepted[0] < ts:
                    left = [left for (when, _), left in life.fills if when < ts] or [life.quantity]
                    gone = life.canceled is not None and life.canceled[0] < ts
                    own += 0 if gone else left[-1]
        rows.append((ts, local, kind, price, quantity + own))
    return Tape.from_rows(tape.instrument, rows)


def test_in_a_real_run_our_own_orders_are_taken_off_the_totals(tmp_path: Path) -> None:
    large = {**JOIN_BEST, "size": "0.04", "max_position": "2"}
    config = config_of(tmp_path, {"queue": {"exponent": 2}, "latency": LATENCY}, large)
    run = write_dry_run(config, MARKET, tmp_path / "run")
    entries, told = run.entries(), published(run.tape(), run.entries())
    assert told.quantity.sum() > run.tape().quantity.sum()
    found = fit_queue(*collect(entries, told, real=True))
    assert found.exponent_low <= 2 <= found.exponent_high
    assert losses(found)["power 2"] == 0
    with_ours = fit_queue(*collect(entries, told, real=False))
    assert losses(with_ours)["power 2"] > 0.001


def with_late_trades(tape: Tape) -> Tape:
    """Return `tape` with its trades received 30 ms after its levels, as on a connection of their own."""
    late = [
        (ts, local + 30_000_000 * (kind & KIND == Kind.TRADE), kind, price, quantity)
        for ts, local, kind, price, quantity in tape.rows()
    ]
    return Tape.from_rows(tape.instrument, sorted(late, key=lambda row: row[1]))


def test_a_real_venue_saw_the_rows_in_the_order_of_its_clock(tmp_path: Path) -> None:
    tape = with_late_trades(MARKET)
    config = config_of(tmp_path, {"queue": {"exponent": 2}, "latency": LATENCY})
    strategy = build_strategy(JoinBest, every="50ms", size="0.005", max_position="1")
    _, entries = run_strategy(strategy, tape, config.sim)  # fill_reports: plain
    told = published(tape, entries)
    found = fit_queue(*collect(entries, told, real=True))
    assert found.exponent_low <= 2 <= found.exponent_high
    assert losses(found)["power 2"] == 0
    # As they were received, most fills come before the trade that they are of.
    with pytest.raises(
        DataError, match=r"44\d of 44\d orders that were filled .* no trade at their"
    ):
        fit_queue(*collect(entries, told, real=False))


# --- real market data ---


@pytest.mark.parametrize(
    ("names", "market", "symbol", "tick", "lot", "strategy", "queue"),
    [
        (
            ["binance_usdm/btcusdt_20240808.gz"],
            *("usdm", "BTC/USDT:USDT", "0.1", "0.001"),
            {"every": "100ms", "size": "0.01", "max_position": "0.5"},
            {"model": "power", "exponent": 2.0},
        ),
        (
            ["binance_spot_nexousdt/nexousdt_20240723.dat.gz", "binance_spot_nexousdt/nexousdt_20240724.dat.gz"],
            *("spot", "NEXO/USDT", "0.001", "0.01"),
            {"every": "10s", "on": ["best", "fill"], "size": "20", "max_position": "2000"},
            {"model": "calibrated", "behind": [1.0, 0.8, 0.3, 0.1, 0.0]},
        ),
    ],
    ids=["BTCUSDT", "NEXOUSDT"],
)  # fmt: skip
def test_on_recorded_order_books_parameters_come_back_too(
    names: list[str],
    market: str,
    symbol: str,
    tick: str,
    lot: str,
    strategy: dict[str, Any],
    queue: dict[str, Any],
    tmp_path: Path,
) -> None:
    paths = [DATA / name for name in names]
    if not all(path.exists() for path in paths):
        assert not os.environ.get("CI"), f"{paths} are missing"
        pytest.skip("the recorded data is not here")
    changes = {
        "instrument": {"venue": "binance", "market": market, "symbol": symbol, "tick": tick, "lot": lot},
        "data": {"plugin": "capture", "paths": [str(path) for path in paths]},
    }  # fmt: skip
    config = config_of(tmp_path, {"queue": queue, "latency": LATENCY}, strategy, **changes)
    tape = load_tapes(config)[MAIN]
    if len(paths) == 2:
        tape = Tape.from_rows(tape.instrument, islice(tape.rows(), len(tape) // 2))
    found = fitted(write_dry_run(config, tape, tmp_path / "run"))
    assert found.orders > 100
    assert found.queue["model"] == queue["model"]
    if "exponent" in queue:
        assert abs(found.exponent - queue["exponent"]) < 3 * found.exponent_error < 0.3
    else:
        for knot, error, true in zip(
            found.behind, found.behind_error, queue["behind"], strict=True
        ):
            assert abs(knot - true) < 3 * error
        assert max(found.behind_error[:4]) < 0.1


# --- what cannot be fitted ---


def test_too_few_orders_are_refused_with_what_became_of_the_others(tmp_path: Path) -> None:
    # Prices that move all the time: no order waits in a queue for long.
    evidence, seen = seen_in(dry_run(tmp_path, {"model": "log"}, random_tape(3, 1_000)))
    with pytest.raises(DataError) as refused:
        fit_queue(evidence, seen)
    words = str(refused.value)
    assert f"{seen.rested:,} orders of the run rested, {seen.followed:,} could be followed" in words
    assert (
        f"{seen.filled:,} of these were filled by a trade at their price, and {len(evidence)} tell"
        in words
    )
    assert "30 is the least that can be fitted to" in words
    few = Evidence(1, 0, 40, ((40, 60), (60, 45), (30, -1)), ())
    with pytest.raises(DataError, match="29 tell queue models apart"):
        fit_queue([few] * 29, seen)
