"""Trees trained on a minute or two of a recording, and asked about the minutes after them, too: in batch, one at a time, and in a backtest."""

from __future__ import annotations

import functools
import tempfile
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import mmkit
from processes import SHARED
from signal_runs import MS, Entries, config_of, one_at_a_time, signal, still, told, trained

from mmkit.config import load_config
from mmkit.events import MAIN, OrderFilled
from mmkit.run.backtest import load_tape, run_backtest, run_info
from mmkit.run.signals.batch import predict
from mmkit.run.signals.live import Live
from mmkit.run.signals.loaded import load
from mmkit.tape import LAST, Tape
from mmkit.testing import BTCUSDT, random_tape

CONFIG = """
instrument: {{venue: binance, market: usdm, symbol: "BTC/USDT:USDT", tick: "0.1", lot: "0.001"}}
data: {{plugin: capture, paths: ["{path}"]}}
strategy: {{plugin: signal_taker, balance: "10000", enter: 0.34, leave: 0.34}}
sim: {{fees: {{maker: "0.0002", taker: "0.0005"}}}}
"""


@functools.cache
def capture(*days: str) -> Tape:
    """Some minutes of BTCUSDT; only the first day has a snapshot of the book."""
    folder = Path(tempfile.mkdtemp())
    paths = '", "'.join(str(SHARED / "binance_usdm" / f"btcusdt_{day}.gz") for day in days)
    (folder / "config.yml").write_text(CONFIG.format(path=paths))
    tape = load_tape(load_config([folder / "config.yml"], userdir=folder))
    rows = list(islice(tape.rows(), 100_000))
    while not rows[-1][2] & LAST:
        rows.pop()
    return Tape.from_rows(tape.instrument, rows)


@functools.cache
def trees(sampling: int | str) -> Path:
    folder = Path(tempfile.mkdtemp()) / "trees"
    return trained("lightgbm", sampling, 3, folder, capture("20240718"))


@pytest.mark.parametrize("sampling", [100 * MS, "update"])
def test_a_batch_over_a_capture_says_what_the_model_says_as_data_comes(
    sampling: int | str, tmp_path: Path
) -> None:
    tape = capture("20240718", "20240719")
    config = config_of(tmp_path, [signal(trees(sampling))])
    batch = predict(load(config.signals[0], BTCUSDT), tape)
    feed = Live([load(config.signals[0], BTCUSDT)], still(), tape.start_ns)
    said = told(one_at_a_time(config, tape, feed)[0])

    assert len(said) > 300
    assert [one.ts_exchange for one in said] == batch.ts.tolist()
    np.testing.assert_allclose(
        [(one.down, one.flat, one.up) for one in said], batch.said, atol=1e-9
    )
    assert np.ptp(batch.said, axis=0).min() > 0.1


def ran(userdir: Path, tape: Tape, **strategy: Any) -> tuple[list[Any], Any]:
    asked = {"plugin": "signal_taker", "balance": "10000", "enter": 0.34, "leave": 0.34, **strategy}
    config = config_of(
        userdir,
        [signal(trees(100 * MS))],
        asked,
        sim={"fees": {"maker": "0.0002", "taker": "0.0005"}, "fill_reports": "after_data"},
    )
    entries, tapes = Entries(), {MAIN: tape}
    return entries.entries, run_backtest(config, tapes, entries, run_info(config, tapes))[1]


def test_the_taker_pays_for_every_round_and_its_profit_is_that_of_its_fills(tmp_path: Path) -> None:
    entries, report = ran(tmp_path, capture("20240718", "20240719"))
    fills = [entry for entry in entries if isinstance(entry, OrderFilled)]
    sides = {entry.order_id: entry.side for entry in entries if hasattr(entry, "side")}

    assert report.taker_fills == report.fills == len(fills) > 3
    worth = [
        Fraction(BTCUSDT.price(one.price)) * Fraction(BTCUSDT.quantity(one.quantity))
        for one in fills
    ]
    assert Fraction(report.fees) == sum(worth) * Fraction(Decimal("0.0005"))
    signs = [sides[one.order_id].sign for one in fills]
    position = sum(sign * one.quantity for sign, one in zip(signs, fills, strict=True))
    assert position >= 0
    assert BTCUSDT.quantity(position) == report.position
    if position == 0:
        cash = -sum(sign * one for sign, one in zip(signs, worth, strict=True))
        assert Fraction(report.equity) == cash - Fraction(report.fees)
    # Never more than 95 % of what there is goes in.
    assert max(worth) < Fraction(9_600)


def test_noise_after_a_moment_changes_no_earlier_signal_and_no_earlier_order(
    tmp_path: Path,
) -> None:
    tape = capture("20240718", "20240719")
    rows = list(tape.rows())
    cut = len(rows) // 2
    while rows[cut][1] == rows[cut - 1][1]:
        cut += 1
    moment = rows[cut][1]
    other = random_tape(5, 3_000)
    shift = moment - int(other.ts_local[0])
    noise = [(row[0] + shift, row[1] + shift, *row[2:]) for row in other.rows()]
    changed = Tape.from_rows(tape.instrument, rows[:cut] + noise)

    def before(some: Tape) -> list[Any]:
        return [entry for entry in ran(tmp_path, some)[0] if entry.ts_local < moment]

    whole = before(tape)
    assert len(told(whole)) > 100
    assert sum(isinstance(entry, OrderFilled) for entry in whole) > 1
    assert before(changed) == whole


def test_the_report_says_what_became_of_a_signal_in_words_and_in_figures(tmp_path: Path) -> None:
    text = CONFIG.format(path=SHARED / "binance_usdm" / "btcusdt_20240718.gz")
    model = f'signals: [{{plugin: lightgbm, model: "{trees(100 * MS)}", latency: 250us}}]\n'
    (tmp_path / "config.yml").write_text(text + model)
    ended = mmkit("backtest", "-c", tmp_path / "config.yml", "--no-folder", cwd=tmp_path)
    assert ended.status == 0, ended.stderr
    line = next(line for line in ended.stdout.splitlines() if line.startswith("signal direction"))
    assert "lightgbm, " in line
    assert " told 250.0 us after their sample (configured)" in line
    assert "the reference engine runs: " in ended.stderr
    assert "reference engine" in ended.stdout

    as_json = mmkit(
        "backtest", "-c", tmp_path / "config.yml", "--no-folder", "--json", cwd=tmp_path
    )
    figures = as_json.json["signals"]["direction"]
    assert (figures["latency_ns"], figures["late"], figures["failed"]) == (250_000, 0, 0)
    assert f"{figures['told']:,} told" in line
