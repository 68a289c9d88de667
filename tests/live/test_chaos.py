"""Order handling is right whatever goes wrong, and what tries it finds out order handling that is not."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from broken_handlers import BROKEN, BROKEN_TO_OTHERS, BROKEN_VENUES
from click.testing import CliRunner

from mmkit.events import Side
from mmkit.live.handler import OrderHandler
from mmkit.live.venue import LiveVenue
from mmkit_sandbox.channel import StreamKind
from mmkit_sandbox.chaos import lived
from mmkit_sandbox.chaoscommand import chaos
from mmkit_sandbox.chaosothers import Act, Doing
from mmkit_sandbox.chaosvenue import Allowed
from mmkit_sandbox.faults import Fault, FaultKind
from mmkit_sandbox.schedule import LASTS, schedule

SEEDS = 300
PARTS = 3
S = 1_000_000_000
HAPPENS = {
    *(kind.value for kind in LASTS if kind is not FaultKind.NO_FUNDS),
    *("late", "crash", "no_funds_2019"),
    *("held_back", "limit_1003", "limit_1003_banned", "limit_1015"),
    *(act.value for act in Act if act is not Act.ASK_ON),
}
"""What happens in each hundred schedules; the rest is rarer, and has tests of its own."""
WITHIN = 200
"""So many schedules may be needed to find a broken handler out."""


@pytest.mark.parametrize("part", range(PARTS))
def test_in_three_hundred_schedules_nothing_is_lost_doubled_left_or_counted_wrongly(
    part: int,
) -> None:
    outcomes = [lived(seed) for seed in range(part * SEEDS // PARTS, (part + 1) * SEEDS // PARTS)]

    assert [(one.seed, one.violations) for one in outcomes if one.violations] == []
    # Everything that can go wrong has, and there was trading all the same.
    happened = Counter(kind for one in outcomes for kind in one.faults)
    assert set(happened) >= HAPPENS
    assert set(Counter(one.market for one in outcomes)) == {"spot", "usdm", "coinm"}
    assert sum(one.crashes for one in outcomes) > len(outcomes) / 5
    assert sum(one.orders for one in outcomes) > 5 * len(outcomes)
    assert sum(one.fills for one in outcomes) > 2 * len(outcomes)


def test_a_lack_of_money_and_a_ban_are_counted_by_the_codes_that_they_are_told_with() -> None:
    for market, kind in (("spot", "no_funds_2010"), ("coinm", "no_funds_2019")):
        plan = schedule(5)._replace(
            market=market,
            faults=[Fault(2 * S, FaultKind.NO_FUNDS)],
            crash_at=[],
            others=[Doing(5 * S, Act.ASK_ON, Side.BUY, 0, 0)],
            allowed=Allowed(weight=900),
        )
        outcome = lived(5, plan=plan)
        assert outcome.violations == []
        assert {kind, "limit_1003", "limit_1003_banned", "others_ask_on"} <= set(outcome.faults)


def test_an_order_that_nobody_finds_for_hours_is_counted_by_name() -> None:
    plan = schedule(5)
    user = StreamKind.USER.value
    faults = [
        Fault(S, FaultKind.HIDDEN, 2 * 3600 * S, user),
        Fault(S, FaultKind.LOST_ANSWER),
        Fault(S, FaultKind.SILENT, 5 * S, user),
    ]
    plan = plan._replace(
        market="coinm",
        lasts_ns=20 * S,
        faults=faults,
        crash_at=[],
        others=[],
        allowed=Allowed(),
    )

    outcome = lived(5, plan=plan)

    assert outcome.violations == []
    assert outcome.faults["hidden_for_hours"] == 1
    assert outcome.virtual_ns > 2 * 3600 * S


def test_others_on_the_account_are_left_alone_and_what_they_trade_stops_the_quotes() -> None:
    doing = [
        Doing(3 * S, Act.REST, Side.BUY, 5000, 30),
        Doing(4 * S, Act.REST, Side.SELL, 5000, 40),
        Doing(6 * S, Act.CANCEL, Side.SELL, 0, 0),
        Doing(8 * S, Act.TAKE, Side.BUY, 0, 50),
    ]
    plan = schedule(5)._replace(
        market="usdm", faults=[], crash_at=[], others=doing, allowed=Allowed(), lasts_ns=20 * S
    )

    outcome = lived(5, plan=plan, traced=True)

    assert outcome.violations == []
    said = [line for line in outcome.trace if "engine VenueDown" in line]
    assert "the account differs: the position is" in said[-1]
    sent = [line for line in outcome.trace if " sent ('POST', '/fapi/v1/order'" in line]
    down_ns = int(said[-1].split()[0])
    assert sent
    assert [line for line in sent if int(line.split()[0]) > down_ns] == []


@pytest.mark.parametrize("broken", BROKEN_VENUES)
def test_a_venue_that_is_broken_is_caught(broken: type[LiveVenue]) -> None:
    assert any(lived(seed, venue=broken).violations for seed in range(WITHIN))


@pytest.mark.parametrize("broken", BROKEN + BROKEN_TO_OTHERS)
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
