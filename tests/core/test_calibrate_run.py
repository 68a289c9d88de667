"""`mmkit calibrate latency` and `queue`, the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fit_runs import config_of, queueing_market, write_dry_run

from mmkit.cli import main
from mmkit.settings import LatencySettings, QueueSettings

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
    assert "exponent 2 +- 0.0063; from 1.989 to 2.011 all are as good" in out
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
