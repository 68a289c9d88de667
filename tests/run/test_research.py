"""Backtests and sweeps from Python: pandas frames, the same on either engine, with nothing left on disk."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import SHARED

import mmkit
import mmkit.run.backtest as runs
from mmkit.errors import ConfigError, PluginError, StrategyError, UsageError
from mmkit.report import Report
from mmkit.tape import LAST, SCALE, Kind
from mmkit.testing import random_tape

CONFIG: dict[str, Any] = {
    "instrument": {
        "venue": "binance",
        "market": "usdm",
        "symbol": "BTC/USDT:USDT",
        "tick": "0.1",
        "lot": "0.001",
    },
    "data": {
        "plugin": "capture",
        "paths": [str(SHARED / "binance_usdm" / "btcusdt_20240718.gz")],
    },
    "strategy": {
        "plugin": "grid",
        "every": "50ms",
        "levels": 8,
        "spacing": "5ticks",
        "half_spread": "1ticks",
        "skew": "0ticks",
        "size": "0.002",
        "max_position": "0.1",
    },
    "risk": {"max_position": "0.09", "price_band": "1%"},
}
COIN_M = mmkit.Instrument(
    venue="binance",
    market="coinm",
    symbol="BTC/USD:BTC",
    native="BTCUSD_PERP",
    base="BTC",
    quote="USD",
    kind=mmkit.ContractKind.INVERSE,
    tick=Decimal("0.1"),
    lot=Decimal(1),
    contract_size=Decimal(100),
)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, mmkit.Tape]:
    with contextlib.chdir(tmp_path_factory.mktemp("capture")):
        return mmkit.load_tapes(CONFIG)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def told(report: Report) -> dict[str, Any]:
    """The report without what no two runs share."""
    values = msgspec.structs.asdict(report)
    return {
        name: value
        for name, value in values.items()
        if name not in ("wall_s", "events_per_s", "engine")
    }


def frames(run: mmkit.Backtest) -> dict[str, pd.DataFrame]:
    return {
        "fills": run.fills(),
        "orders": run.orders(),
        "funding": run.funding(),
        "equity": run.equity("250ms"),
    }


def assert_alike(left: mmkit.Backtest, right: mmkit.Backtest) -> None:
    assert told(left.report) == told(right.report)
    for (name, one), other in zip(frames(left).items(), frames(right).values(), strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True, obj=name)


# --- one backtest ---


def test_a_dict_and_the_yaml_that_says_the_same_give_the_same_run(
    tmp_path: Path, capture: Mapping[str, mmkit.Tape]
) -> None:
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(CONFIG))

    plain = mmkit.backtest(CONFIG, tapes=capture)
    for config in (path, str(path), [path]):
        assert_alike(mmkit.backtest(config), plain)
    assert plain.report.fills > 50


def test_files_are_laid_over_each_other_and_changes_over_them(
    tmp_path: Path, capture: Mapping[str, mmkit.Tape]
) -> None:
    (tmp_path / "base.yml").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "over.yml").write_text("strategy: {half_spread: 3ticks, skew: 7ticks}")

    run = mmkit.backtest(
        [tmp_path / "base.yml", tmp_path / "over.yml"], {"strategy.skew": "0ticks"}, tapes=capture
    )

    expected = {**CONFIG, "strategy": {**CONFIG["strategy"], "half_spread": "3ticks"}}
    expected["strategy"]["skew"] = "0ticks"
    assert_alike(run, mmkit.backtest(expected, tapes=capture))


class EveryOther(mmkit.Strategy):
    """Quotes on one side, then on the other."""

    class Config(mmkit.StrategyConfig):
        lots: int = 3

    def quote(self, view: mmkit.MarketView) -> mmkit.Quotes:
        if view.best_bid is None or view.best_ask is None:
            return mmkit.NO_QUOTES
        lots = self.config.lots
        if view.now // 1_000_000_000 % 2:
            return mmkit.Quotes(bid=(view.best_bid, lots))
        return mmkit.Quotes(ask=(view.best_ask, lots))


def test_a_class_takes_the_place_of_the_plugin_with_its_own_settings(
    capture: Mapping[str, mmkit.Tape],
) -> None:
    config = {**CONFIG, "strategy": {"every": "100ms"}}

    three = mmkit.backtest(config, strategy=EveryOther, tapes=capture)
    five = mmkit.backtest(config, {"strategy.lots": 5}, strategy=EveryOther, tapes=capture)

    assert three.report.strategy == "EveryOther"
    assert set(three.orders()["quantity"]) == {3 * 0.001}
    assert set(five.orders()["quantity"]) == {5 * 0.001}
    with pytest.raises(ConfigError, match=r"strategy\.lotz: unknown key; did you mean 'lots'"):
        mmkit.backtest(config, {"strategy.lotz": 5}, strategy=EveryOther, tapes=capture)


def test_the_frames_have_the_columns_types_and_index_that_are_documented(
    capture: Mapping[str, mmkit.Tape],
) -> None:
    quiet = mmkit.backtest(CONFIG, {"strategy.half_spread": "50%"}, tapes=capture)
    traded = mmkit.backtest(CONFIG, tapes=capture)
    expected = {
        "fills": "time_exchange:time order_id:int64 side:category liquidity:category price:float64 "
        "quantity:float64 remaining:float64 fee:float64 position:float64",
        "orders": "order_id:int64 side:category time_in_force:category price:float64 quantity:float64 "
        "filled:float64 status:category accepted:time ended:time",
        "funding": "time_exchange:time position:float64 amount:float64",
        "equity": "mid:float64 position:float64 cash:float64 fees:float64 funding:float64 equity:float64",
    }
    categories = {
        "side": ["buy", "sell"],
        "liquidity": ["maker", "taker"],
        "time_in_force": ["post_only", "ioc", "market"],
        "status": ["open", "filled", "canceled", "rejected"],
    }

    assert len(quiet.fills()) == 0
    assert len(traded.fills()) > 50
    for run in (quiet, traded):
        for name, frame in frames(run).items():
            kinds = [str(kind).replace("datetime64[ns, UTC]", "time") for kind in frame.dtypes]
            found = " ".join(f"{n}:{kind}" for n, kind in zip(frame.columns, kinds, strict=True))
            assert found == expected[name]
            assert (frame.index.name, str(frame.index.dtype)) == ("time", "datetime64[ns, UTC]")
            assert frame.index.is_monotonic_increasing
            for column in frame.columns.intersection(pd.Index(categories)):
                assert list(frame[column].cat.categories) == categories[column]
            documented = str(getattr(mmkit.Backtest, name).__doc__)
            assert all(f"``{column}``" in documented for column in frame.columns)


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_the_frames_add_up_to_the_report(
    capture: Mapping[str, mmkit.Tape], engine: runs.EngineChoice
) -> None:
    run = mmkit.backtest(CONFIG, tapes=capture, engine=engine)
    report, fills, orders = run.report, run.fills(), run.orders()

    assert report.engine == engine
    assert (len(orders), len(fills)) == (report.orders, report.fills)
    assert (orders["status"] == "rejected").sum() == report.rejected
    assert (fills["liquidity"] == "maker").sum() == report.maker_fills
    assert fills["quantity"].sum() == pytest.approx(float(report.volume))
    assert (fills["quantity"] * fills["price"]).sum() == pytest.approx(float(report.turnover))
    assert fills["fee"].sum() == pytest.approx(float(report.fees))
    assert fills["position"].iloc[-1] == pytest.approx(float(report.position))
    filled = fills.groupby("order_id")["quantity"].sum()
    by_order = orders.set_index("order_id")
    assert by_order.loc[filled.index, "filled"].to_numpy() == pytest.approx(filled.to_numpy())
    assert by_order["filled"].sum() == pytest.approx(float(report.volume))
    whole = by_order["filled"].round(6) == by_order["quantity"].round(6)
    assert (whole == (by_order["status"] == "filled")).all()
    assert (orders["accepted"].dropna() > orders.index[orders["accepted"].notna()]).all()
    assert (orders["ended"].isna() == (orders["status"] == "open")).all()
    sides = fills["order_id"].map(by_order["side"].astype(str))
    assert (sides == fills["side"].astype(str)).all()
    assert (fills.index >= fills["time_exchange"]).all()


@pytest.mark.parametrize("every", ["100ms", "777ms", "1h"])
def test_the_trail_of_equity_is_what_the_fills_so_far_come_to_and_ends_at_the_report(
    capture: Mapping[str, mmkit.Tape], every: str
) -> None:
    run = mmkit.backtest(CONFIG, tapes=capture)
    trail, fills = run.equity(every), run.fills()

    tick, lot = Fraction("0.1"), Fraction("0.001")
    for moment, row in trail.iloc[:: max(1, len(trail) // 20)].iterrows():
        cash = held = Fraction(0)
        for _, fill in fills[fills.index <= moment].iterrows():
            lots = round(fill["quantity"] / 0.001) * (1 if fill["side"] == "buy" else -1)
            held += lots * lot
            cash -= lots * lot * round(fill["price"] / 0.1) * tick
        paid = fills.loc[fills.index <= moment, "fee"].sum()
        worth = float(held) * row["mid"] if held else 0.0
        assert row["position"] == pytest.approx(float(held))
        assert row["cash"] == pytest.approx(float(cash))
        assert row["fees"] == pytest.approx(paid)
        assert row["equity"] == pytest.approx(float(cash) + worth - paid, abs=1e-9)
    last = trail.iloc[-1]
    assert last["equity"] == pytest.approx(float(run.report.equity), abs=1e-9)
    assert last["position"] == pytest.approx(float(run.report.position))
    steps = np.diff(trail.index.to_numpy())
    assert len(set(steps.tolist())) == 1


def test_a_fill_learned_of_after_the_last_of_the_data_is_in_the_trail_of_equity(
    capture: Mapping[str, mmkit.Tape],
) -> None:
    slow = {"sim.latency.response": "30s"}
    run = mmkit.backtest(CONFIG, slow, tapes=capture)

    late = pd.Timestamp(capture["main"].end_ns, tz="UTC")
    assert run.fills().index[-1] > late
    assert run.equity("1s")["position"].iloc[-1] == pytest.approx(float(run.report.position))
    assert run.equity("1s")["equity"].iloc[-1] == pytest.approx(float(run.report.equity))


def test_both_engines_give_equal_frames_on_a_real_capture(
    capture: Mapping[str, mmkit.Tape],
) -> None:
    changes = {"sim.fees.maker": "-0.00007", "sim.queue.model": "log"}
    compiled, reference = (
        mmkit.backtest(CONFIG, changes, tapes=capture, engine=engine)
        for engine in ("compiled", "reference")
    )

    assert (compiled.report.engine, reference.report.engine) == ("compiled", "reference")
    assert compiled.report.fills > 50
    assert compiled.report.fees < 0
    assert_alike(compiled, reference)


def paid(tape: mmkit.Tape, seed: int) -> mmkit.Tape:
    """The tape with a mark price and a funding rate every now and then, due every three seconds."""
    dice, rows = np.random.default_rng(seed), []
    for row in tape.rows():
        rows.append(row)
        if row[2] & LAST and dice.random() < 0.1:
            mark = 60_000 * SCALE + int(dice.integers(-(10**10), 10**10))
            due = (row[0] // 10**9 // 3 + 1) * 3
            rows.append((row[0], row[1], int(Kind.MARK), 0, mark))
            rate = int(dice.integers(-300_000, 300_000))
            rows.append((row[0], row[1], Kind.FUNDING | LAST, due, rate))
    return mmkit.Tape.from_rows(tape.instrument, rows)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    messages=st.integers(1, 800),
    inverse=st.booleans(),
    funding=st.booleans(),
    maker=st.sampled_from(["0.0002", "-0.00005", "0"]),
    on=st.sampled_from([[], ["best"], ["fill"]]),
    rough=st.booleans(),
)
def test_both_engines_give_equal_frames_on_random_markets(
    seed: int, messages: int, inverse: bool, funding: bool, maker: str, on: list[str], rough: bool
) -> None:
    tape = random_tape(seed, messages, COIN_M if inverse else None, rough=rough)
    tapes = {"main": paid(tape, seed) if funding else tape}
    changes: dict[str, Any] = {"sim.fees.maker": maker, "strategy.on": on}
    if inverse:
        sizes = {"strategy.size": "3", "strategy.max_position": "50", "risk.max_position": "40"}
        changes |= {"instrument.market": "coinm", "instrument.symbol": "BTC/USD:BTC", **sizes}

    compiled, reference = (
        mmkit.backtest(CONFIG, changes, tapes=tapes, engine=engine)
        for engine in ("compiled", "reference")
    )

    assert_alike(compiled, reference)


def test_a_run_leaves_nothing_on_disk_but_the_tape_that_its_source_keeps(
    tmp_path: Path, capture: Mapping[str, mmkit.Tape]
) -> None:
    (tmp_path / "config.yml").write_text(yaml.safe_dump(CONFIG))

    mmkit.backtest("config.yml", tapes=capture).equity()
    mmkit.sweep("config.yml", {"strategy.skew": ["0ticks", "1ticks"]}, tapes=capture)
    assert [path.name for path in tmp_path.rglob("*")] == ["config.yml"]

    mmkit.backtest(CONFIG)
    mmkit.sweep("config.yml", {"strategy.skew": ["0ticks"]})
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.suffix for path in files] in (
        [".yml"],
        [".yml", ".tape"],  # where the folder of the capture cannot be written to
    )


def test_every_mistake_in_a_configuration_is_told_with_where_and_what_was_expected_and_found(
    tmp_path: Path,
) -> None:
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump({**CONFIG, "strategi": {}}, sort_keys=False))
    line = path.read_text().splitlines().index("strategi: {}") + 1

    with pytest.raises(ConfigError) as found:
        mmkit.backtest(path, {"strategy.half_spread": "-1ticks", "strategy.skw": "1ticks"})

    mistakes = str(found.value).splitlines()
    assert len(mistakes) == 3
    assert any(
        m.startswith(f"{path}:{line}: strategi: unknown key; known are: ") for m in mistakes
    ), mistakes
    assert any(
        m.startswith("changes: strategy.half_spread: a distance such as")
        and m.endswith("was expected; found '-1ticks'")
        for m in mistakes
    ), mistakes
    assert "changes: strategy.skw: unknown key; did you mean 'skew'?" in mistakes


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda tapes: mmkit.backtest(CONFIG, tapes=tapes, engine="fast"),  # type: ignore[arg-type]
            UsageError,
            "'engine': one of auto, compiled, reference was expected; found 'fast'",
        ),
        (
            lambda tapes: mmkit.backtest(7),  # type: ignore[arg-type]
            UsageError,
            "a path, several, or plain data was expected; found 7",
        ),
        (lambda tapes: mmkit.backtest("nowhere.yml"), ConfigError, "nowhere.yml: there is no such"),
        (
            lambda tapes: mmkit.backtest(CONFIG, tapes=tapes).fills("hedge"),
            UsageError,
            "'market': one of main was expected; found 'hedge'",
        ),
        (
            lambda tapes: mmkit.backtest(CONFIG, tapes=tapes).equity("0s"),
            UsageError,
            "'every': a time above 0",
        ),
        (
            lambda tapes: mmkit.backtest(CONFIG, tapes=tapes).equity("often"),
            UsageError,
            "'every': a duration with its unit",
        ),
        (
            lambda tapes: mmkit.backtest(CONFIG, strategy=mmkit.Strategy, tapes=tapes),
            PluginError,
            "abstract",
        ),
        (
            lambda tapes: mmkit.backtest(CONFIG, strategy="skewed", tapes=tapes),  # type: ignore[arg-type]
            UsageError,
            "'strategy': a class was expected; found 'skewed'",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    capture: Mapping[str, mmkit.Tape], call: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as found:
        call(capture)

    assert words in str(found.value)


# --- sweeps ---

SETS: dict[str, list[Any]] = {
    "strategy.half_spread": ["1ticks", "0.1bps", "20ticks"],
    "strategy.every": ["50ms", "1s"],
}


@pytest.fixture(scope="module")
def alone(capture: Mapping[str, mmkit.Tape]) -> list[Report]:
    combined = [
        {"strategy.half_spread": half_spread, "strategy.every": every}
        for half_spread in SETS["strategy.half_spread"]
        for every in SETS["strategy.every"]
    ]
    return [
        mmkit.backtest(CONFIG, changes, tapes=capture, engine="reference").report
        for changes in combined
    ]


@pytest.mark.parametrize("workers", [1, 2, 7, None])
def test_a_sweep_is_its_backtests_one_by_one_in_order_whatever_the_number_of_threads(
    capture: Mapping[str, mmkit.Tape], alone: list[Report], workers: int | None
) -> None:
    ends: list[tuple[int, int]] = []
    swept = mmkit.sweep(
        CONFIG, SETS, tapes=capture, workers=workers, progress=lambda *done: ends.append(done)
    )

    assert [one.changes for one in swept.tried] == [
        {"strategy.half_spread": half_spread, "strategy.every": every}
        for half_spread in SETS["strategy.half_spread"]
        for every in SETS["strategy.every"]
    ]
    assert [told(one.report) for one in swept.tried] == [told(report) for report in alone]
    assert len({report.fills for report in alone}) == 6
    assert (swept.asked, swept.interrupted, swept.failed) == (6, False, [])
    assert str(swept) == "6 of 6 sets have been run"
    assert ends == [(n, 6) for n in range(1, 7)]


def test_the_frame_of_a_sweep_has_parameters_and_figures_as_documented(
    capture: Mapping[str, mmkit.Tape],
) -> None:
    swept = mmkit.sweep(CONFIG, SETS, tapes=capture)
    frame = swept.frame()

    floats = "equity realized_pnl unrealized_pnl fees funding max_drawdown position volume turnover"
    counts = "orders cancels rejected fills maker_fills taker_fills"
    assert list(frame.columns) == [*SETS, *f"{floats} {counts} halted engine".split()]
    assert all(frame[name].dtype == np.float64 for name in floats.split())
    assert all(frame[name].dtype == np.int64 for name in counts.split())
    for (_, row), one in zip(frame.iterrows(), swept.tried, strict=True):
        assert {name: row[name] for name in SETS} == one.changes
        assert all(
            row[name] == float(getattr(one.report, name)) for name in f"{floats} {counts}".split()
        )


def test_a_list_of_changes_is_taken_as_it_is(capture: Mapping[str, mmkit.Tape]) -> None:
    listed: list[dict[str, Any]] = [{"strategy.skew": "3ticks"}, {}, {"sim.latency.entry": "80ms"}]

    swept = mmkit.sweep(CONFIG, iter(listed), tapes=capture)

    assert [one.changes for one in swept.tried] == listed
    assert told(swept.tried[1].report) == told(mmkit.backtest(CONFIG, tapes=capture).report)


def test_a_sweep_reads_the_data_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[object] = []
    load = runs.load_tapes

    def counted(config: Any) -> Any:
        loads.append(config)
        return load(config)

    monkeypatch.setattr(runs, "load_tapes", counted)

    assert len(mmkit.sweep(CONFIG, {**SETS, "strategy.every": ["1s"]}).tried) == 3
    assert len(loads) == 1


class Told(EveryOther):
    """Says when it is asked; fails with too many lots."""

    asked = 0

    class Config(EveryOther.Config):
        size: mmkit.Exact | None = None

    def __init__(self, config: Any, context: mmkit.Context) -> None:
        super().__init__(config, context)
        if config.size is not None:
            context.instrument.lots(config.size)

    def quote(self, view: mmkit.MarketView) -> mmkit.Quotes:
        type(self).asked += 1
        if self.config.lots > 90:
            raise ZeroDivisionError(f"{self.config.lots} lots")
        return super().quote(view)


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (
            {"strategy.lots": [1, 2, "many"]},
            "set 3 of 3: strategy.lots: a whole number was expected; found 'many'",
        ),
        ([{"strategy.lots": 1}, {"strategy.lost": 1}], "set 2 of 2: strategy.lost: unknown key"),
        (
            {"strategy.size": ["0.001", "0.0015"]},
            "set 2 of 2: strategy.size: BTC/USDT:USDT: quantity 0.0015 is not a multiple of the lot 0.001",
        ),
        (
            [{"strategy.lots": 1}, {"data.paths": ["other.gz"]}],
            "the sets change 'data', 'instrument' or 'markets'",
        ),
        ([], "no parameter set was given"),
        ({"strategy.lots": []}, "no parameter set was given"),
        (
            {"strategy.lots": 5},
            "'strategy.lots': a list of values to be tried was expected; found 5",
        ),
        ({"strategy.lots": "12"}, "a list of values to be tried was expected; found '12'"),
        ([{"strategy.lots": 1}, 5], "set 2: values by path"),
    ],
)
def test_one_bad_set_is_refused_with_its_number_before_anything_runs(
    capture: Mapping[str, mmkit.Tape], sets: Any, words: str
) -> None:
    Told.asked = 0

    with pytest.raises((ConfigError, UsageError)) as found:
        mmkit.sweep({**CONFIG, "strategy": {}}, sets, strategy=Told, tapes=capture)

    assert words in str(found.value)
    assert Told.asked == 0


def test_no_worker_at_all_is_refused(capture: Mapping[str, mmkit.Tape]) -> None:
    with pytest.raises(UsageError, match="'workers': at least 1 was expected; found 0"):
        mmkit.sweep(CONFIG, SETS, tapes=capture, workers=0)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_strategy_that_fails_with_one_set_does_not_end_the_others(
    capture: Mapping[str, mmkit.Tape], workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    lots = {"strategy.lots": [1, 91, 2, 92, 3]}

    swept = mmkit.sweep(
        {**CONFIG, "strategy": {"every": "1s"}}, lots, strategy=Told, tapes=capture, workers=workers
    )

    assert [one.changes["strategy.lots"] for one in swept.tried] == [1, 2, 3]
    assert [one.changes["strategy.lots"] for one in swept.failed] == [91, 92]
    assert str(swept) == (
        "3 of 5 sets have been run\n"
        "failed: strategy.lots=91: Told.quote raised ZeroDivisionError: 91 lots\n"
        "failed: strategy.lots=92: Told.quote raised ZeroDivisionError: 92 lots"
    )
    assert list(swept.frame()["strategy.lots"]) == [1, 2, 3]
    assert "strategy.lots=91: Told.quote raised ZeroDivisionError" in caplog.text


def test_a_strategy_that_fails_with_every_set_is_an_error(
    capture: Mapping[str, mmkit.Tape],
) -> None:
    with pytest.raises(StrategyError) as found:
        mmkit.sweep(
            {**CONFIG, "strategy": {}}, {"strategy.lots": [91, 92]}, strategy=Told, tapes=capture
        )

    assert str(found.value) == (
        "the strategy failed with every one of the 2 sets; strategy.lots=91: "
        "Told.quote raised ZeroDivisionError: 91 lots"
    )


def test_ctrl_c_keeps_what_has_been_finished_and_says_how_much(
    capture: Mapping[str, mmkit.Tape], caplog: pytest.LogCaptureFixture
) -> None:
    def progress(done: int, everything: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    swept = mmkit.sweep(CONFIG, SETS, tapes=capture, workers=1, progress=progress)

    assert swept.interrupted
    assert str(swept) == "interrupted: 2 of 6 sets have been run"
    assert "interrupted: 2 of 6 sets" in caplog.text
    assert [one.changes["strategy.every"] for one in swept.tried] == ["50ms", "1s"]
    assert len(swept.frame()) == 2


# Sets that are asked every nanosecond take for ever, within compiled code; the others a moment.
INTERRUPTED = """
import json, sys
import mmkit

config = json.loads(sys.argv[1])
sets = [{"strategy.every": every} for every in ("1s", "1ns", "2s", "3s", "1ns", "4s")]
swept = mmkit.sweep(config, sets, workers=2, progress=lambda *done: print(*done, flush=True))
print(json.dumps([one.changes["strategy.every"] for one in swept.tried]))
print(swept)
"""


def test_a_real_ctrl_c_ends_compiled_runs_at_once_and_keeps_the_finished_ones(
    tmp_path: Path,
) -> None:
    config = {**CONFIG, "strategy": {**CONFIG["strategy"], "plugin": "join_best"}}
    for name in ("levels", "spacing", "half_spread", "skew"):
        del config["strategy"][name]
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, json.dumps(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        try:
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(3)] == ["1 6\n", "2 6\n", "3 6\n"]
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            out, errors = process.communicate(timeout=30)
            took = time.monotonic() - began
        finally:
            process.kill()

    assert out.splitlines() == ['["1s", "2s", "3s"]', "interrupted: 3 of 6 sets have been run"]
    assert "interrupted: 3 of 6 sets have been run" in errors
    assert "Traceback" not in errors
    assert process.returncode == 0
    assert took < 10
