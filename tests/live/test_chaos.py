"""Order handling is right whatever goes wrong, and what tries it finds out order handling that is not."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from broken_handlers import BROKEN
from click.testing import CliRunner

from mmkit.live.handler import OrderHandler
from mmkit_sandbox.chaos import lived
from mmkit_sandbox.chaoscommand import chaos
from mmkit_sandbox.schedule import LASTS

SEEDS = 300
PARTS = 3
WITHIN = 60
"""So many schedules may be needed to find a broken handler out."""


@pytest.mark.parametrize("part", range(PARTS))
def test_in_three_hundred_schedules_nothing_is_lost_doubled_left_or_counted_wrongly(
    part: int,
) -> None:
    outcomes = [lived(seed) for seed in range(part * SEEDS // PARTS, (part + 1) * SEEDS // PARTS)]

    assert [(one.seed, one.violations) for one in outcomes if one.violations] == []
    # Everything that can go wrong has, and there was trading all the same.
    happened = Counter(kind for one in outcomes for kind in one.faults)
    assert set(happened) == {*(kind.value for kind in LASTS), "late", "crash"}
    assert sum(one.crashes for one in outcomes) > len(outcomes) / 5
    assert sum(one.orders for one in outcomes) > 5 * len(outcomes)
    assert sum(one.fills for one in outcomes) > 2 * len(outcomes)


@pytest.mark.parametrize("broken", BROKEN)
def test_a_handler_that_is_broken_is_caught(broken: type[OrderHandler]) -> None:
    assert any(lived(seed, broken).violations for seed in range(WITHIN))


def test_the_same_seed_gives_the_same_trace_in_every_process() -> None:
    code = "from mmkit_sandbox.chaos import lived\nprint(*lived(3, traced=True).trace, sep='\\n')"
    traces = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]
    assert traces[0] == traces[1]
    assert traces[0].count(b"\n") > 50
    assert lived(4, traced=True).trace != lived(3, traced=True).trace


def test_the_command_counts_what_went_wrong() -> None:
    result = CliRunner().invoke(chaos, ["--seeds", "4", "--first", "10", "--json"])
    assert result.exit_code == 0
    told = json.loads(result.output)
    assert told["schedules"] == 4
    assert told["violations"] == []
    faults = sum((lived(seed).faults for seed in range(10, 14)), Counter[str]())
    assert told["faults"] == dict(faults)
    assert told["schedules_per_core_s"] > 0


def test_a_violation_is_told_with_seed_and_trace_and_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = next(one for one in BROKEN if one.__name__ == "ForgetsWhatWasOpen")
    seed = next(seed for seed in range(WITHIN) if lived(seed, broken).violations)
    told = lived(seed, broken)
    monkeypatch.setattr("mmkit_sandbox.chaos.lived", lambda seed, *, traced: told)
    result = CliRunner().invoke(chaos, ["--seeds", "1", "--first", str(seed)])
    assert result.exit_code == 1
    assert f"seed {seed}: {told.violations[0]}" in result.output
    assert f"  {told.trace[0]}" in result.output
