"""The example that ships: a market maker that listens to the sandbox's advisors, and its replay."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mmkit import cli
from mmkit.commands import SubmitOrder
from mmkit.config import load_config
from mmkit.events import Advice
from mmkit.journal import RecordedRun

EXAMPLE = Path(__file__).parents[2] / "user_data" / "advised.yml"


def test_the_example_names_an_advisor_for_every_key_that_listens() -> None:
    config = load_config([EXAMPLE])
    asked = {one.name: one.section.question for one in config.advisors}
    strategy = config.resolved["strategy"]
    assert {
        key: asked[strategy[key]] for key in ("volatility", "conditions", "structure", "anomaly")
    } == {
        "volatility": "volatility",
        "conditions": "conditions",
        "structure": "market_structure",
        "anomaly": "explain_anomaly",
    }


def test_the_example_runs_on_the_sandbox_and_its_replay_with_the_same_advice_gives_the_same_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # The same, asked more often than anybody would, and close enough to the market to be filled.
    text = re.sub(r"every: [23]0s\}", "every: 1s}", EXAMPLE.read_text())
    text = text.replace("spread: 15bps", "spread: 0.1bps").replace("times: 1}", "times: 0}")
    assert text.count("every: 1s}") == 3
    (tmp_path / "advised.yml").write_text(text)
    status = cli.main(
        ["trade", "-c", "advised.yml", "--userdir", "home", "--duration", "8s", "--json"]
    )
    assert status == 0
    report = json.loads(capsys.readouterr().out)
    (folder,) = (tmp_path / "home" / "results").iterdir()
    entries = RecordedRun(folder).entries()
    advice = [one for one in entries if isinstance(one, Advice)]
    answered = {one.name for one in advice if one.answer is not None}
    assert {"vol", "state", "side"} <= answered
    assert report["orders"] == sum(isinstance(one, SubmitOrder) for one in entries) > 0
    assert cli.main(["parity", str(folder)]) == 0
    assert "equal: all" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            "volatility: vols",
            "strategy.volatility: an advisor of this run was expected; found 'vols'",
        ),
        (
            "volatility: moods",
            "an advisor that is asked volatility was expected; 'moods' is asked sentiment",
        ),
    ],
)
def test_a_wrong_advisor_is_refused_before_the_run_begins(
    changed: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    more = "advisors:\n  - {plugin: holysheep, as: moods, question: sentiment, base_url: sandbox}\n"
    text = EXAMPLE.read_text().replace("advisors:\n", more)
    (tmp_path / "advised.yml").write_text(text.replace("volatility: vol\n", f"{changed}\n"))
    assert cli.main(["trade", "-c", "advised.yml", "--userdir", "home", "--duration", "1s"]) in (
        1,
        3,
    )
    assert said in capsys.readouterr().err
