"""Signals that are computed while data comes, and taken from the journal by the replay: equal to the last bit."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import journal, mmkit, write_config
from signal_runs import MS, config_of, model, signal, told

from mmkit.clock import SimClock
from mmkit.config import Config, load_resolved
from mmkit.events import MAIN
from mmkit.interfaces import RunInfo
from mmkit.journal import Journal, RecordedRun, RunRecord
from mmkit.run.assembly import assemble
from mmkit.run.parity import open_recorded, parity
from mmkit.run.signals.live import Live, live_signals
from mmkit.settings import FillReports
from mmkit.tape import LAST, Row
from mmkit.testing import BTCUSDT, random_tape

LEANING = {
    "plugin": "skewed",
    "every": "70ms",
    "on": ["best", "signal"],
    "half_spread": "1ticks",
    "signal_skew": "4ticks",
    "size": "0.01",
    "max_position": "0.05",
}


class Passing(SimClock):
    """A clock that goes on whenever it is read, as a machine's does; now and then by much."""

    def __init__(self, start_ns: int, seed: int) -> None:
        super().__init__(start_ns)
        self._dice = random.Random(seed)

    def now_ns(self) -> int:
        step = self._dice.choice((20_000, 90_000, 3 * MS) if self._dice.random() < 0.1 else (1, 40))
        self.advance_to(super().now_ns() + step)
        return super().now_ns()

    def reach(self, now_ns: int) -> int:
        """Let it be at least so late; return how late it is."""
        self.advance_to(max(now_ns, super().now_ns()))
        return super().now_ns()


def dry_run(config: Config, folder: Path, seed: int) -> Live:
    """Run as 'mmkit trade' does: messages as they come, a timer whenever something is due, a stop, an end."""
    folder.mkdir()
    rows = list(random_tape(seed, 300).rows())
    start_ns = rows[0][1] - 3 * MS
    clock = Passing(start_ns, seed)
    feed = live_signals(config, {MAIN: BTCUSDT}, clock, start_ns)
    assert feed is not None
    recorder = Journal(folder, market=True)
    run = RunInfo(
        run_id="by-hand", command="trade", folder=str(folder), instrument=BTCUSDT, strategy="skewed"
    )
    record = RunRecord(info=run, start_ns=start_ns)
    live = assemble(
        config, {MAIN: BTCUSDT}, recorder, start_ns, FillReports.AFTER_DATA, signals=feed
    )

    def timers(until_ns: int) -> None:
        while (due := live.next_ns()) < until_ns:
            live.advance(clock.reach(due + 1))

    message: list[Row] = []
    late = 0
    for row in rows:
        message.append(row)
        if row[2] & LAST:
            timers(message[0][1] + late)
            # Stamped with the time at which it is received, which is never before now.
            now = clock.reach(message[0][1] + late)
            late = now - message[0][1]
            message = [(one[0], now, *one[2:]) for one in message]
            recorder.market(message)
            live.receive(message)
            message = []
    record.stop_ns = clock.reach(live.engine.now + 9 * MS)
    live.advance(record.stop_ns)
    live.stop(record.stop_ns)
    record.end_ns = clock.reach(record.stop_ns + 200 * MS)
    live.advance(record.end_ns)
    recorder.write_record(record)
    recorder.close()
    return feed


@pytest.mark.parametrize(
    ("plugin", "sampling", "window"), [("lightgbm", 100 * MS, 3), ("imbalance", "update", 2)]
)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_replay_finds_the_signals_where_they_came_and_gives_the_same_orders(
    plugin: str,
    sampling: int | str,
    window: int,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("user")
    config = config_of(
        folder,
        [signal(model(plugin, sampling, window), plugin, expires="150ms")],
        LEANING,
        risk={"max_position": "0.04", "stale_after": "80ms"},
        sim={"latency": {"entry": "4ms", "response": "6ms"}, "data_wait": "50ms"},
    )
    feed = dry_run(config, folder / "run", seed)
    entries = RecordedRun(folder / "run").entries()
    said = told(entries)
    assert len(said) > 20
    assert {one.ts_local > one.ts_exchange for one in said} == {True}
    assert len({one.ts_local - one.ts_exchange for one in said}) > 5
    assert feed.figures["direction"].told == len(said)

    replayed = parity(
        open_recorded(folder / "run"), load_resolved(config.resolved, folder / "elsewhere")
    )
    assert (replayed.first_difference, replayed.equal) == ("", True)
    assert replayed.entries == len(entries)


def test_a_signal_that_was_altered_in_the_journal_is_told_by_the_orders(tmp_path: Path) -> None:
    config = config_of(tmp_path, [signal()], LEANING)
    dry_run(config, tmp_path / "run", 3)
    path = tmp_path / "run" / "journal.jsonl"
    lines = path.read_bytes().splitlines()
    changed = [
        msgspec.json.encode({**entry, "up": 1.0, "down": 0.0})
        if (entry := msgspec.json.decode(line))["type"] == "Signal"
        else line
        for line in lines
    ]
    path.write_bytes(b"\n".join(changed) + b"\n")
    replayed = parity(open_recorded(tmp_path / "run"), config)
    assert not replayed.equal
    assert "Order(" in replayed.first_difference


CONFIG = """
instrument: {{venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}}
services: [{{plugin: sandbox}}]
data: {{plugin: binance, endpoint: sandbox}}
signals:
  - {{plugin: lightgbm, model: "{trees}", as: trees}}
  - {{plugin: imbalance, model: "{rule}", as: rule, expires: 500ms}}
strategy: {{plugin: skewed, every: 100ms, on: [signal], half_spread: 1bps, signal_skew: 2bps, signal: trees,
           size: "0.01", max_position: "0.05"}}
"""


def test_a_dry_run_on_the_sandbox_tells_signals_and_its_replay_needs_no_model(
    tmp_path: Path,
) -> None:
    text = CONFIG.format(trees=model(), rule=model("imbalance", "update", 2))
    userdir = write_config(tmp_path / "user_data", text)
    ended = mmkit(
        *("trade", "-c", userdir / "config.yml", "--duration", "4s", "--json"), cwd=tmp_path
    )
    assert ended.status == 0, ended.stderr
    report: dict[str, Any] = ended.json
    said = [one for one in journal(Path(report["folder"])) if one["type"] == "Signal"]
    for name, least in (("trees", 10), ("rule", 20)):
        figures = report["signals"][name]
        assert figures["told"] == sum(one["name"] == name for one in said) > least
        assert (figures["failed"], figures["failure"]) == (0, "")
        assert figures["latency_ns"] > 0
    assert report["orders"] > 5

    # The replay builds no model: it knows the folder of the run alone.
    config = Path(report["folder"]) / "config.yml"
    config.write_text(config.read_text().replace(str(model()), str(tmp_path / "gone")))
    compared = mmkit("parity", report["folder"], "--json", cwd=tmp_path)
    assert compared.status == 0, compared.stderr
    assert compared.json["equal"] is True
    assert compared.json["equity"] == report["equity"]


SECOND = """
markets:
  ether:
    instrument: {{venue: binance, market: usdm, symbol: "ETH/USDT:USDT"}}
    data: {{plugin: binance, endpoint: sandbox}}
signals:
  - {{plugin: imbalance, model: {rule}, as: own}}
  - {{plugin: imbalance, model: {rule}, as: ether, market: ether}}
strategy: {{plugin: skewed, every: 100ms, on: [signal], half_spread: 1bps, signal_skew: 2bps, signal: ether,
           size: "0.01", max_position: "0.05"}}
"""


def test_a_strategy_leans_to_a_signal_of_another_market_and_the_replay_does_too(
    tmp_path: Path,
) -> None:
    head = CONFIG.partition("signals:")[0].replace(
        '["BTC/USDT:USDT"]', '["BTC/USDT:USDT", "ETH/USDT:USDT"]'
    )
    text = (head + SECOND).format(rule=model("imbalance", 50 * MS, 2))
    userdir = write_config(tmp_path / "user_data", text)
    ended = mmkit(
        *("trade", "-c", userdir / "config.yml", "--duration", "4s", "--json"), cwd=tmp_path
    )
    assert ended.status == 0, ended.stderr
    report: dict[str, Any] = ended.json
    said = [one for one in journal(Path(report["folder"])) if one["type"] == "Signal"]
    of = {
        name: [(one["ts_exchange"], one["down"], one["up"]) for one in said if one["name"] == name]
        for name in ("own", "ether")
    }
    assert min(map(len, of.values())) > 20
    assert {ts: rest for ts, *rest in of["own"]} != {ts: rest for ts, *rest in of["ether"]}
    assert report["signals"]["ether"]["told"] == len(of["ether"])
    assert report["orders"] > 5
    compared = mmkit("parity", report["folder"], "--json", cwd=tmp_path)
    assert compared.status == 0, compared.stderr
    assert compared.json["equal"] is True


SLOW = """
import time
from mmkit import PluginConfig, Provider, SignalModel, hookimpl
from mmkit.model_folder import read_card
import numpy as np

class Config(PluginConfig):
    seconds: float = 0.03

class Slow(SignalModel):
    def __init__(self, config, context):
        card = read_card(context.folder)
        self.names, self.window, self.seconds = card.names, card.window, config.seconds

    def predict(self, window):
        time.sleep(self.seconds)
        return (0.2, 0.2, 0.6)

    def predict_batch(self, windows):
        return np.array([self.predict(window) for window in windows])

@hookimpl
def register_signal_models():
    return [Provider("slow", Config, Slow)]
"""


def test_a_model_that_takes_long_is_asked_beside_the_loop_and_its_replay_is_equal(
    tmp_path: Path,
) -> None:
    text = CONFIG.format(trees=model(), rule=model("imbalance", "update", 2))
    text = text.replace("plugin: lightgbm", "plugin: slow")
    text = text.replace("plugin: imbalance", "plugin: slow, seconds: 0.15")
    userdir = write_config(tmp_path / "user_data", text)
    (userdir / "plugins").mkdir()
    (userdir / "plugins" / "slow.py").write_text(SLOW)
    ended = mmkit(
        *("trade", "-c", userdir / "config.yml", "--duration", "4s", "--json"), cwd=tmp_path
    )
    assert ended.status == 0, ended.stderr
    report: dict[str, Any] = ended.json
    trees, rule = (report["signals"][name] for name in ("trees", "rule"))
    # Both are to be asked every 100 ms or so, which 30 ms can follow and 150 cannot.
    assert trees["told"] > 10
    assert rule["told"] > 10
    assert rule["late"] > 10
    assert trees["latency_ns"] > 30 * MS
    assert ended.stderr.count("signal=rule is late: the model is still at the window before") == 1
    entries = journal(Path(report["folder"]))
    said = [one["ts_local"] for one in entries if one["type"] == "Signal"]
    assert said == sorted(said)
    compared = mmkit("parity", report["folder"], "--json", cwd=tmp_path)
    assert compared.status == 0, compared.stderr
    assert compared.json["equal"] is True
