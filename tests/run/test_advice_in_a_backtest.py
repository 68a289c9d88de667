"""A backtest asks no language model: it is told recorded advice when it really came, or none, and says so."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from in_process import Ended, mmkit
from processes import journal, newest_run

from mmkit.errors import DataError
from mmkit.events import Advice
from mmkit.journal import RecordedRun

Ran = tuple[dict[str, Any], str, Path]

CONFIG = """
instrument: {{venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}}
data: {{plugin: rows, paths: ["{run}"]}}
advisors: [{{plugin: table, as: table, expires: 10s{keys}}}]
fusion: {{policy: advisor, advice: table}}
strategy: {{plugin: signal_taker, balance: "1000", short: true}}
{more}
"""


def backtest(ran: Ran, *options: object, keys: str = "", more: str = "") -> Ended:
    folder = ran[2]
    config = folder / "backtest.yml"
    run = newest(folder)
    config.write_text(CONFIG.format(run=run, keys=keys, more=more))
    userdir = folder / "user_data"
    return mmkit("backtest", "-c", config, "--userdir", userdir, *options, cwd=folder)


def newest(folder: Path) -> Path:
    return max((folder / "user_data" / "results").glob("*-trade"))


def advice(run: Path) -> list[Advice]:
    entries = RecordedRun(run).entries()
    return [one for one in entries if isinstance(one, Advice) and one.name == "table"]


def test_recorded_advice_is_told_when_it_came_and_costs_what_it_cost(ran: Ran) -> None:
    run = newest(ran[2])
    ended = backtest(ran, "--advice", run, "--journal", "all", "--json")
    assert ended.status == 0, ended.stderr
    told = [one for one in journal(newest_run(ran[2] / "user_data")) if one["type"] == "Advice"]
    # To the last field, and no other advisor's.
    recorded = [
        json.loads(line)
        for line in (run / "journal.jsonl").read_text().splitlines()
        if '"name":"table"' in line
    ]
    end = int(RecordedRun(run).tape().ts_local[-1])
    assert told == [one for one in recorded if one["ts_local"] <= end]
    assert len(told) > 10
    report = json.loads(ended.stdout, parse_float=Decimal)
    figures = report["advisors"]["table"]
    costs = [Decimal(call["cost"]) for one in told for call in one["calls"]]
    assert figures["cost"] == sum(costs)
    assert figures["source"] == f"as it came in {run.name}"
    assert figures["answered"] == sum(one["answer"] is not None for one in told)
    assert report["orders"] > 0
    assert report["engine"] == "reference"


def test_without_a_journal_there_is_no_advice_and_log_and_report_say_so(ran: Ran) -> None:
    ended = backtest(ran)
    assert ended.status == 0, ended.stderr
    said = "no advice: a backtest asks no language model; name a recorded run with 'journal'"
    assert ended.stderr.count(f"advisor=table: {said}") == 1
    assert f"advisor table  table (market_structure): {said}" in ended.stdout
    assert "orders         0 sent" in ended.stdout


def test_with_advice_the_reference_engine_runs_and_the_log_says_so(ran: Ran) -> None:
    run = newest(ran[2])
    asked = backtest(ran, "--advice", run, "--engine", "compiled", "--no-folder")
    assert asked.status == 2
    assert "cannot run this: advice is not compiled; leave '--engine' out" in asked.stderr


def test_ablation_is_the_difference_of_two_backtests(ran: Ran) -> None:
    run = newest(ran[2])
    keys = f", journal: '{run}'"
    given = json.loads(
        backtest(ran, "--json", "--no-folder", keys=keys).stdout, parse_float=Decimal
    )
    none = json.loads(backtest(ran, "--json", "--no-folder").stdout, parse_float=Decimal)
    both = backtest(ran, "--ablate", "advisors", "--json", keys=keys)
    assert both.status == 0, both.stderr
    found = json.loads(both.stdout, parse_float=Decimal)
    for name in ("orders", "fills", "volume", "position", "fees", "equity", "max_drawdown"):
        assert found["with_advice"][name] == given[name]
        assert found["without"][name] == none[name]
        assert found["difference"][name] == given[name] - none[name]
    assert found["with_advice"]["orders"] > found["without"]["orders"] == 0
    assert found["advisors"] == given["advisors"]

    text = backtest(ran, "--ablate", "advisors", "--advice", run)
    assert text.status == 0, text.stderr
    lines = text.stdout.splitlines()
    assert lines[0].split() == ["with", "advice", "without", "difference"]
    assert lines[1].split() == [
        "orders",
        *(f"{n:,}" for n in (given["orders"], 0)),
        f"{given['orders']:+,}",
    ]
    cost = found["advisors"]["table"]["cost"].normalize()
    assert lines[-1] == f"The advice cost {cost:f} USD; no figure above has that in it."


@pytest.mark.parametrize(
    ("options", "keys", "status", "said"),
    [
        (["--ablate", "advisors"], "", 2, "recorded advice was expected; the configuration names none"),
        (["--ablate", "advisors", "--bracket"], "", 2, "each run it in ways of their own; leave one out"),
        (["--ablate", "advisors", "--no-folder"], "", 2, "'--no-folder' has no meaning beside '--ablate'"),
        ([], ", journal: nowhere", 1, "nowhere: no 'run.json' in it"),
        (["--advice", "RUN"], ", question: signal5", 4, "advice to signal5 was expected of 'table'; it was asked market_structure"),
        (["--advice", "RUN", "--set", "advisors.0.as=other", "--set", "fusion.advice=other"], "", 4, "an advisor named 'other' was expected; it has table, stuck, waits, late, alert"),
    ],
)  # fmt: skip
def test_advice_that_cannot_be_had_is_refused(
    ran: Ran, options: list[str], keys: str, status: int, said: str
) -> None:
    options = [str(newest(ran[2])) if one == "RUN" else one for one in options]
    ended = backtest(ran, *options, keys=keys)
    assert ended.status == status, ended.stderr
    assert said in " ".join(ended.stderr.split())


def test_advice_of_another_time_or_market_is_refused(ran: Ran, tmp_path: Path) -> None:
    import msgspec

    from mmkit.config import load_config
    from mmkit.run.advisors.recorded import advice_over, with_advice_of
    from mmkit.testing import BTCUSDT, random_tape

    folder, run = ran[2], newest(ran[2])
    config = folder / "other.yml"
    config.write_text(CONFIG.format(run=run, keys="", more=""))
    loaded = with_advice_of(load_config([config], userdir=folder / "user_data"), run)
    with pytest.raises(DataError, match="advice of the time of the data, 2023-11-14"):
        advice_over(loaded, {"main": random_tape(1, 100)})
    ether = msgspec.structs.replace(BTCUSDT, symbol="ETH/USDT:USDT")
    with pytest.raises(
        DataError, match=r"advice about ETH/USDT:USDT \(binance usdm\) was expected"
    ):
        advice_over(loaded, {"main": random_tape(1, 100, ether)})


def test_the_rows_of_a_recorded_run_are_a_tape(ran: Ran) -> None:
    run = newest(ran[2])
    tape = RecordedRun(run).tape()
    ended = backtest(ran, "--no-folder", "--json")
    assert ended.json["events"] == len(tape)
    other = backtest(ran, "--no-folder", "--set", 'instrument.symbol="ETH/USDT:USDT"')
    assert other.status == 4
    assert "ETH/USDT:USDT" in other.stderr
