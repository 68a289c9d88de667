"""`mmkit calibrate latency` and `queue`, the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fit_runs import config_of, queueing_market, write_dry_run

from mmkit.cli import main
from mmkit.journal import RecordedRun
from mmkit.settings import LatencySettings, QueueSettings
from mmkit.sim.latency import Latency
from mmkit.sim.latency_files import check_covers

LATENCY = {"entry": "4ms", "response": "6ms"}
MARKET = queueing_market(5)


def calibrated_run(folder: Path, **sim: Any) -> Path:
    return write_dry_run(config_of(folder, sim), MARKET, folder / "results" / "1-trade").folder


def test_the_command_prints_how_models_did_and_yaml_that_a_run_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrated_run(tmp_path, queue={"model": "power", "exponent": 2}, latency=LATENCY)
    assert main(["calibrate", "queue", "last", "--userdir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "455 orders rested, 455 could be followed, 415 of these were filled by a trade" in out
    assert "20 filled as the market moved through their price" in out
    assert "212 tell models apart" in out
    assert "The run was simulated: this gives back the sim.queue that it ran with" in out
    for name in ("risk_averse", "log", "power 1", "power 2", "power 3"):
        assert f"\n{name} " in out
    assert "exponent 2 +- 0.0094; from 1.989 to 2.011 all are as good" in out
    assert yaml.safe_load(out[out.index("# under sim:") :]) == {
        "queue": {"model": "power", "exponent": 2.0}
    }


def test_the_command_prints_knots_where_they_are_better(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    behind = [1.0, 0.8, 0.3, 0.1, 0.0]
    queue = {"model": "calibrated", "behind": behind}
    run = calibrated_run(tmp_path, queue=queue, latency=LATENCY)
    assert main(["calibrate", "queue", str(run)]) == 0
    out = capsys.readouterr().out
    assert "calibrated: clearly misses less than the others" in out
    found = QueueSettings.model_validate(yaml.safe_load(out[out.index("# under sim:") :])["queue"])
    assert found.model == "calibrated"
    assert found.behind == pytest.approx(behind, abs=0.05)


def test_the_command_speaks_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = calibrated_run(tmp_path, queue={"model": "log"}, latency=LATENCY)
    assert main(["calibrate", "queue", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["run_id"], found["simulated"], found["queue"]) == (
        "by-hand",
        True,
        {"model": "log"},
    )
    assert found["seen"]["rested"] == 488
    assert [each["name"] for each in found["tried"]][:2] == ["risk_averse", "log"]


def test_a_run_that_never_ended_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(tmp_path, {"latency": LATENCY})
    run = write_dry_run(config, MARKET, tmp_path / "run", ends=False)
    assert main(["calibrate", "queue", str(run.folder)]) == 1
    assert "the run never ended" in capsys.readouterr().err


def test_only_a_run_of_trade_will_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = calibrated_run(tmp_path, latency=LATENCY)
    record = json.loads((run / "run.json").read_text())
    record["info"]["command"] = "backtest"
    (run / "run.json").write_text(json.dumps(record))
    for what in ("queue", "latency"):
        assert main(["calibrate", what, str(run)]) == 1
        assert f"'mmkit calibrate {what}' needs a run of 'mmkit trade'" in capsys.readouterr().err


DRAWN = {"entry": {"quantiles": ["1ms", "2ms", "9ms"]}, "response": "3ms"}


def test_latency_prints_a_table_what_it_rests_on_and_yaml_that_a_run_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrated_run(tmp_path, latency=DRAWN)
    assert main(["calibrate", "latency", "last", "--userdir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "490 commands were answered, 0 were not; 1,145 reports about orders; times in ms" in out
    assert "\nentry           490      1.0" in out
    assert "is known to within 6.5% (entry) and 4.1% (response), with 95% confidence" in out
    assert "that no latency is below zero says -3.000 ms <= d <= 1.0" in out
    assert "entry is what its sim.latency was, and says nothing about a venue" in out
    assert "(fill_reports: after_data), so response is longer than it was" in out
    yaml_lines = out[out.index("# under sim:") :]
    assert max(map(len, yaml_lines.splitlines())) <= 100
    found = LatencySettings.model_validate(yaml.safe_load(yaml_lines)["latency"])
    assert len(found.entry.quantiles) == 21
    assert "entry: 21 quantiles; mean and P99 of what is drawn from them are right to 1%" in out
    # One report waited a quarter of a second for data.
    assert "response: 201 quantiles; drawn from them the mean would be" in out
    assert "--samples keeps every value" in out


def test_samples_are_written_with_yaml_that_reads_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, folder = calibrated_run(tmp_path, latency=DRAWN), tmp_path / "it's measured"
    command = ["calibrate", "latency", str(run), "--samples", str(folder)]
    assert main(command) == 0
    out = capsys.readouterr().out
    plain, in_time = out[out.index("# under sim:") :].split("# or, ")
    drawn = LatencySettings.model_validate(yaml.safe_load(plain)["latency"])
    lines = in_time.splitlines()[1:]
    series = yaml.safe_load("\n".join(line.removeprefix("# ") for line in lines))["latency"]
    recorded = LatencySettings.model_validate(series)
    tape = RecordedRun(run).tape()
    check_covers(recorded, tape.start_ns, tape.end_ns)
    for settings in (drawn, recorded):
        latencies = [Latency(settings).entry(int(ts)) for ts in tape.ts_local[::50]]
        assert 10**6 <= min(latencies) < max(latencies) <= 9 * 10**6
    assert {path.name for path in folder.iterdir()} == {
        "entry.csv",
        "response.csv",
        "entry_series.csv",
        "response_series.csv",
    }
    assert main(command) == 4
    assert "entry.csv: there is a file already" in capsys.readouterr().err


def test_latency_speaks_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = calibrated_run(tmp_path, latency=LATENCY)
    assert main(["calibrate", "latency", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["simulated"], found["unanswered"], found["entry"]["p99"]) == (True, 0, 4_000_000)
    assert found["latency"]["entry"] == "4ms"


def test_the_latencies_of_a_run_that_was_killed_are_still_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(tmp_path, {"latency": LATENCY})
    run = write_dry_run(config, MARKET, tmp_path / "run", ends=False)
    assert main(["calibrate", "latency", str(run.folder)]) == 0
    assert "commands were answered" in capsys.readouterr().out


def test_a_run_that_sent_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = calibrated_run(tmp_path, latency=LATENCY)
    (run / "journal.jsonl").write_bytes(b"")
    assert main(["calibrate", "latency", str(run)]) == 4
    assert "error: no command of the run was answered (0 were sent)" in capsys.readouterr().err
