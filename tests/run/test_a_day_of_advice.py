"""One day in virtual time with a question each minute, asked of a real gateway: what it costs, to the last digit.

Three hours of it unless MMKIT_WHOLE_DAY is set: 1,440 requests take half a minute on a machine that is free.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from signal_runs import config_of

from mmkit.clock import SimClock, SystemClock
from mmkit.config import Config
from mmkit.events import MAIN
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import RunInfo, ServiceContext
from mmkit.journal import Journal
from mmkit.report import Report, report_json, report_of, report_text
from mmkit.run.advisors.live import LiveAdvice, live_advice
from mmkit.run.assembly import assemble
from mmkit.run.session import Session
from mmkit.settings import FillReports
from mmkit.tape import LAST, FeedStats, Row
from mmkit.testing import BTCUSDT, random_tape
from mmkit_sandbox.service import Config as SandboxConfig
from mmkit_sandbox.service import Sandbox

pytest.importorskip("openai")

MINUTE = 60 * 10**9
DAY = (24 if os.environ.get("MMKIT_WHOLE_DAY") else 3) * 60 * MINUTE
SPEC = InstrumentSpec(venue="binance", market="usdm", symbol="BTC/USDT:USDT")
# USD per million tokens, with more digits than a binary fraction has: a float anywhere on the way would be seen.
INPUT, OUTPUT = Decimal("0.283700000000000001"), Decimal("0.421900000000000003")
FAULTS = ("4% confidence_85", "3% http_500", "2% no_usage", "2% half_json", "2% no_json_schema")


def a_day() -> list[list[Row]]:
    """Return the messages of a market that takes a day."""
    rows = list(random_tape(3, 1_000).rows())
    first, last = rows[0][1], rows[-1][1]
    messages: list[list[Row]] = [[]]
    for exchange, local, *rest in rows:
        at = [first + (ts - first) * DAY // (last - first) for ts in (exchange, local)]
        messages[-1].append((at[0], at[1], *rest))  # type: ignore[arg-type]
        if rest[0] & LAST:
            messages.append([])
    return messages[:-1]


class Asker:
    """Lets time pass, and waits in real time for the answers that are under way."""

    def __init__(self, session: Session, advice: LiveAdvice, clock: SimClock, start: int) -> None:
        self._session, self._advice, self._clock = session, advice, clock
        self._start = start
        self._answered = asyncio.Event()
        advice.engine, advice.ready = session.engine, self._answered.set

    async def advance(self, now_ns: int) -> None:
        """Let everything happen that is due by then."""
        while (due := self._session.next_ns()) <= now_ns:
            self._clock.advance_to(due)
            self._session.step(due)
            while self._settled() < (due - self._start) // MINUTE:
                await asyncio.wait_for(self._answered.wait(), 10)
                self._answered.clear()
                self._session.step(due)
        self._clock.advance_to(now_ns)

    def _settled(self) -> int:
        """Return how many questions were due and have been answered, refused, or not asked as there was no book."""
        (figures,) = self._advice.figures.values()
        return figures.asked + figures.passed_over


async def run_a_day(config: Config, folder: Path) -> Report:
    """Run as a dry run does, with a clock that shows what it is told."""
    messages = a_day()
    start = messages[0][0][1] - 1_000_000
    clock = SimClock(start)
    # By the machine's clock: of its market only the gateway beside it is wanted, and not a day of order flow.
    sandbox = Sandbox(
        SandboxConfig(gateway={"faults": FAULTS}), ServiceContext(SPEC, SystemClock(), folder)
    )
    endpoints = {"sandbox": await sandbox.start()}
    journal = Journal(folder, market=False)
    advice = live_advice(config, BTCUSDT, clock, start, endpoints)
    assert advice is not None
    try:
        session = assemble(
            config, {MAIN: BTCUSDT}, journal, start, FillReports.AFTER_DATA, advice=advice
        )
        asker = Asker(session, advice, clock, start)
        for message in messages:
            await asker.advance(message[0][1])
            session.receive(message)
        session.stop(messages[-1][0][1])
    finally:
        advice.close()
        await sandbox.stop()
        journal.close()
    run = RunInfo(
        run_id="day", command="trade", folder=str(folder), instrument=BTCUSDT, strategy="skewed"
    )
    return report_of(
        {MAIN: session.engine},
        run,
        {MAIN: FeedStats()},
        start_ns=start,
        events={MAIN: len(messages)},
        wall_s=1.0,
        advisors=advice.figures,
    )


def _cost_in(report: bytes) -> str:
    """Return the digits of the cost as they stand in a report."""
    found = re.search(rb'"cost":([0-9.]+)', report)
    assert found is not None
    return found[1].decode()


@pytest.mark.timeout(600)
def test_the_cost_of_a_day_is_the_sum_over_its_journal_to_the_last_digit(tmp_path: Path) -> None:
    folder, userdir = tmp_path / "run", tmp_path / "user"
    folder.mkdir()
    userdir.mkdir()
    prices = tmp_path / "prices.yml"
    price = {"input": str(INPUT), "output": str(OUTPUT)}
    prices.write_text(
        yaml.safe_dump({"date": "2026-11-21", "models": {"sandbox-rule": price}}).replace(
            "'2026-11-21'", "2026-11-21"
        )
    )
    advisor: dict[str, Any] = {
        "plugin": "holysheep",
        "base_url": "sandbox",
        "model": "sandbox-rule",
        "every": "60s",
        "prices": str(prices),
        "retries": 0,
        "breaker": {"failures": 100, "pause": "1s"},
    }
    quotes = {"half_spread": "1ticks", "size": "0.01", "max_position": "0.05"}
    strategy = {"plugin": "skewed", "every": "60s", **quotes}
    config = config_of(userdir, [], strategy, advisors=[advisor])

    report = asyncio.run(run_a_day(config, folder))

    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    advices = [one for one in lines if one["type"] == "Advice"]
    calls = [call for one in advices for call in one["calls"]]
    assert len(advices) > 0.9 * DAY // MINUTE  # the market has a gap
    costs = [Fraction(call["cost"]) for call in calls if call["cost"] is not None]
    tokens = [(call["prompt_tokens"], call["completion_tokens"]) for call in calls]
    prompt, completion = (sum(one[place] or 0 for one in tokens) for place in (0, 1))
    by_tokens = (prompt * Fraction(INPUT) + completion * Fraction(OUTPUT)) / 10**6
    assert sum(costs) == by_tokens

    figures = report.advisors["market_structure"]
    assert Fraction(figures.cost) == by_tokens
    # 24 places: 18 of the prices and six of the million.
    written = f"0.{int(by_tokens * 10**24):024d}".rstrip("0")
    assert Fraction(written) == by_tokens
    assert f" {written} USD" in report_text(report)
    assert Fraction(_cost_in(report_json(report))) == by_tokens
    # What the gateway has not counted is not free, and is told.
    unknown = len(calls) - len(costs)
    assert figures.unpriced == unknown > 0
    assert f"{unknown:,} calls of unknown cost" in report_text(report)
    assert figures.calls == len(calls) > len(advices)  # some were asked again
    assert "http_500" in figures.refused
