"""Language models are asked beside a dry run: what they say is told, counted, paid for and replayed, and delays nothing."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import statistics
import time
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from advisor_runs import PLUGIN, structure, written
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import journal, mmkit, start
from test_screens import Terminal

from mmkit.advisors import Facts
from mmkit.book import Book
from mmkit.clock import SimClock
from mmkit.config import Config, load_config
from mmkit.events import MAIN, Advice, LargeTrade, Side
from mmkit.journal import Journal
from mmkit.recorder import Nothing
from mmkit.report import AdvisorFigures, advisor_words
from mmkit.run.advisors.facts import Memory
from mmkit.run.advisors.live import LiveAdvice, live_advice
from mmkit.run.assembly import assemble
from mmkit.run.session import Session
from mmkit.tape import KIND, SELL, GapReason, Kind
from mmkit.testing import BTCUSDT, random_tape, snapshot_rows

S = 1_000_000_000
SECRET = "a-key-that-nobody-may-see"


def test_what_it_cost_is_to_the_last_digit_the_sum_over_the_journal(
    ran: tuple[dict[str, Any], str, Path],
) -> None:
    report = ran[0]
    run = Path(report["folder"])
    told = [one for one in journal(run) if one["type"] == "Advice"]
    # As text: a float has not all the digits.
    figures = json.loads((run / "report.json").read_text(), parse_float=Decimal)["advisors"]
    for name, one in figures.items():
        mine = [entry for entry in told if entry["name"] == name]
        calls = [call for entry in mine for call in entry["calls"]]
        costs = [Fraction(call["cost"]) for call in calls if call["cost"] is not None]
        assert Fraction(one["cost"]) == sum(costs)
        assert (one["calls"], one["unpriced"]) == (len(calls), len(calls) - len(costs))
        assert one["prompt_tokens"] == sum(call["prompt_tokens"] for call in calls)
        assert one["answered"] == sum(entry["answer"] is not None for entry in mine)
        why = Counter(entry["refused"].split(":")[0] for entry in mine if entry["answer"] is None)
        assert one["refused"] == dict(why)
    assert figures["table"]["answered"] > 3
    assert figures["table"]["cost"] > 0
    assert set(figures["table"]["refused"]) == {"timeout", "failed"}
    assert figures["table"]["failure"].startswith("an answer within its bounds was expected")
    assert figures["late"]["refused"] == {"late": figures["late"]["calls"]}
    assert figures["late"]["unpriced"] == figures["late"]["calls"] > 0
    assert figures["alert"]["refused"].keys() == {"busy"}
    assert report["orders"] > 0


def test_one_that_hangs_is_at_one_question_all_the_time_and_that_is_counted(
    ran: tuple[dict[str, Any], str, Path],
) -> None:
    report, log, _ = ran
    for name in ("stuck", "waits"):
        one = report["advisors"][name]
        assert (one["answered"], one["refused"], one["under_way"]) == (0, {}, 1)
        assert one["passed_over"] >= 2
    assert log.count("advisor=stuck does not end, and is left to itself") == 1
    assert "advisor=waits does not end" not in log
    # Named once, however often.
    assert log.count("advisor=table failed:") == 1
    assert log.count("advisor=late is late:") == 1
    assert "Traceback" not in log
    assert "destroyed" not in log


def test_nobody_is_told_advice_out_of_bounds_or_before_it_is_known(
    ran: tuple[dict[str, Any], str, Path],
) -> None:
    entries = journal(Path(ran[0]["folder"]))
    told = [one for one in entries if one["type"] == "Advice"]
    for one in told:
        assert one["ts_local"] > one["ts_exchange"]
        if one["answer"] is not None:
            assert 0 <= one["answer"]["confidence"] <= 1
            assert one["expires_ns"] > one["ts_local"]
    asked: dict[str, int] = {}
    for one in told:
        # One question at a time.
        assert one["ts_exchange"] >= asked.get(one["name"], 0)
        asked[one["name"]] = one["ts_local"]
    assert {one["side"] for one in entries if one["type"] == "SubmitOrder"} == {"buy", "sell"}


def test_a_model_is_told_facts_of_the_market_and_what_has_happened(
    ran: tuple[dict[str, Any], str, Path],
) -> None:
    folder = ran[2]
    asked = [json.loads(line) for line in (folder / "asked").read_text().splitlines()]
    for one in asked:
        facts = one["facts"]
        bid, ask = float(facts["bids"][0][0]), float(facts["asks"][0][0])
        assert bid < facts["mid"] < ask
        assert len(facts["bids"]) == len(facts["asks"]) == 5
        assert facts["happened"] == ""
    assert asked[-1]["facts"]["records"] >= 2
    alerts = [json.loads(line) for line in (folder / "alerts").read_text().splitlines()]
    assert {one["question"] for one in alerts} == {"explain_anomaly"}
    happened = {one["facts"]["happened"].split(" ")[0] for one in alerts}
    assert happened
    assert happened <= {"PriceAnomaly", "LargeTrade"}


def test_its_replay_is_equal_and_asks_nobody(ran: tuple[dict[str, Any], str, Path]) -> None:
    report, _, folder = ran
    # Without the plugin: what it said is in the journal.
    plugin = folder / "user_data" / "plugins" / "table.py"
    plugin.rename(plugin.with_suffix(".gone"))
    try:
        compared = mmkit("parity", report["folder"], "--json", cwd=folder)
    finally:
        plugin.with_suffix(".gone").rename(plugin)
    assert compared.status == 0, compared.stderr
    assert compared.json["equal"] is True
    assert compared.json["equity"] == report["equity"]


def test_advice_that_was_altered_in_the_journal_is_told_by_the_replay(
    ran: tuple[dict[str, Any], str, Path], tmp_path: Path
) -> None:
    run = Path(ran[0]["folder"])
    other = tmp_path / run.name
    other.mkdir()
    for file in run.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    text = (other / "journal.jsonl").read_text()
    (other / "journal.jsonl").write_text(text.replace('"signal":"BUY"', '"signal":"SELL"'))
    compared = mmkit("parity", other, "--userdir", ran[2] / "user_data", "--json", cwd=tmp_path)
    assert compared.status == 1
    assert "Order(" in compared.json["first_difference"]


def test_ctrl_c_is_quick_while_an_advisor_hangs(tmp_path: Path) -> None:
    config = written(
        tmp_path, [{"as": "stuck", "answers": [structure()], "messages": 1, "hang": "block"}]
    )
    process = start("trade", "-c", config, cwd=tmp_path, start_new_session=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "fill order" in line:
            break
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    # The services end in that time, too; it is 0.9 s here without an advisor.
    assert time.monotonic() - began < 3
    assert "advisor stuck" in out
    assert "1 still under way at the end; 0 tokens, 0 USD" in out


def test_the_screen_has_a_line_for_each_advisor(tmp_path: Path) -> None:
    config = written(
        tmp_path,
        [
            {"as": "table", "answers": [structure()], "messages": 30, "cost": "0.0000001"},
            {"as": "waits", "answers": [structure()], "messages": 1, "hang": "await"},
        ],
    )
    terminal = Terminal(120, 40, ("trade", "-c", str(config)), tmp_path)
    try:
        shown = "\n".join(terminal.read(20, until="BUY 0.90 UP risk LOW"))
        terminal.interrupt()
    finally:
        terminal.child.close(force=True)
    assert re.search(r"table +BUY 0\.90 UP risk LOW, \d s old, 0\.0000\d+ USD", shown), shown
    assert re.search(r"waits +no answer yet, 0 USD", shown), shown


# --- when it asks ---------------------------------------------------------------------------------


def config_of(folder: Path, *advisors: dict[str, Any]) -> Config:
    (folder / "plugins").mkdir(exist_ok=True)
    (folder / "plugins" / "table.py").write_text(PLUGIN)
    plain = {
        "instrument": {"venue": "binance", "market": "usdm", "symbol": "BTC/USDT:USDT"},
        "data": {"plugin": "capture", "paths": ["none.gz"]},
        "strategy": {"plugin": "join_best", "size": "0.01", "max_position": "0.05"},
        "advisors": [{"plugin": "table", "answers": [structure()], **one} for one in advisors],
    }
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(plain))
    return load_config([path], userdir=folder)


def begun(config: Config, clock: SimClock) -> tuple[Session, LiveAdvice]:
    """A session in a market that stands still, from 0 on."""
    feed = live_advice(config, BTCUSDT, clock, 0, {})
    assert feed is not None
    session = assemble(config, {MAIN: BTCUSDT}, Nothing(), 0, advice=feed)
    feed.engine = session.engine
    return session, feed


async def until(condition: Any) -> None:
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0.000_2)
    raise AssertionError("nothing came")


@settings(max_examples=15, deadline=None)
@given(
    every=st.integers(1, 4),
    messages=st.integers(1, 5),
    times=st.lists(st.integers(0, 12_000), min_size=1, max_size=30),
)
def test_it_is_asked_at_every_interval_and_after_so_many_messages_or_counted(
    every: int, messages: int, times: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = config_of(
        tmp_path_factory.mktemp("user"),
        {"as": "clock", "every": f"{every}s", "after": 0},
        {"as": "count", "messages": messages, "hang": "await"},
    )

    async def run() -> LiveAdvice:
        clock = SimClock(0)
        session, feed = begun(config, clock)
        try:
            for at in sorted(times):
                now = max(at * 1_000_000, clock.now_ns())
                while session.next_ns() < now:
                    due = session.next_ns()
                    clock.advance_to(max(due, clock.now_ns()))
                    session.advance(due + 1)
                    # Whoever is asked answers at once, while the clock stands still.
                    await until(lambda: not feed._asked["clock"].busy)
                clock.advance_to(now)
                session.receive(snapshot_rows([(100, 5)], [(101, 5)], now, now))
            last = clock.now_ns() + 1
            while session.next_ns() < last:
                session.advance(session.next_ns() + 1)
                await until(lambda: not feed._asked["clock"].busy)
        finally:
            feed.close()
        return feed

    feed = asyncio.run(run())
    end, first = max(times) * 1_000_000, min(times) * 1_000_000
    clock, count = feed.figures["clock"], feed.figures["count"]
    due = end // (every * S)
    assert clock.asked + clock.passed_over == due
    # At one instant market data comes first: the book is known.
    known = due - len([n for n in range(1, due + 1) if n * every * S < first])
    assert (clock.answered, clock.under_way) == (known, 0)
    of_messages = len(times) // messages
    assert (count.under_way, count.answered) == (min(of_messages, 1), 0)


def test_of_alerts_it_is_asked_on_those_it_is_to_be_asked_on(tmp_path: Path) -> None:
    config = config_of(tmp_path, {"as": "a", "on": ["anomaly"]}, {"as": "l", "on": ["large_trade"]})
    alert = LargeTrade(ts_exchange=5, ts_local=5, side=Side.BUY, price=1, quantity=9)

    async def run() -> dict[str, bool]:
        session, feed = begun(config, SimClock(6))
        session.receive(snapshot_rows([(100, 5)], [(101, 5)], 4, 4))
        feed.on_notice(alert)
        session.advance(7)
        busy = {name: one.busy for name, one in feed._asked.items()}
        feed.close()
        return busy

    assert asyncio.run(run()) == {"a": False, "l": True}


@pytest.mark.parametrize("said", ["nothing", "another answer", "no words"])
def test_an_advisor_that_returns_something_else_is_at_fault_and_changes_nothing(
    said: str, tmp_path: Path
) -> None:
    other = {"question": "volatility", "level": "LOW", "direction": "UP", "reason": ""}
    answer = {**other, "confidence": 0.5} if said == "another answer" else structure()
    config = config_of(tmp_path, {"as": "a", "messages": 1, "after": 0, "answers": [answer]})
    text = PLUGIN
    if said == "nothing":
        text = text.replace("return Consulted(", "return dict(")
    if said == "no words":
        # Half a surrogate pair, which no file can hold.
        text = text.replace("text=text", 'text="\\ud800"')
    (tmp_path / "plugins" / "table.py").write_text(text)
    config = load_config([tmp_path / "config.yml"], userdir=tmp_path)
    told: list[Advice] = []

    class Keep(Nothing):
        detail = Nothing.detail.ALL

        def note(self, entry: Any) -> None:
            if isinstance(entry, Advice):
                told.append(entry)

    async def run() -> Any:
        clock = SimClock(6)
        feed = live_advice(config, BTCUSDT, clock, 0, {})
        assert feed is not None
        session = assemble(config, {MAIN: BTCUSDT}, Keep(), 0, advice=feed)
        feed.engine = session.engine
        session.receive(snapshot_rows([(100, 5)], [(101, 5)], 4, 4))
        session.advance(7)
        await until(lambda: not feed._asked["a"].busy)
        session.advance(8)
        feed.close()
        return feed.figures["a"]

    figures = asyncio.run(run())
    assert figures.refused == {"failed": 1}
    assert "was expected" in figures.failure
    assert [one.answer for one in told] == [None]
    # What was paid is counted all the same, where it is told.
    assert figures.calls == (0 if said == "nothing" else 1)


def test_as_many_questions_as_a_day_has_minutes_cost_to_the_last_digit_what_the_journal_says(
    tmp_path: Path,
) -> None:
    # A number that no float holds, times 1 to 1,440.
    cost = "0.000000123456789123456789123"
    config = config_of(tmp_path, {"as": "day", "every": "1s", "after": 0, "cost": cost})
    folder = tmp_path / "run"
    folder.mkdir()

    async def run() -> AdvisorFigures:
        clock, recorder = SimClock(0), Journal(folder)
        feed = live_advice(config, BTCUSDT, clock, 0, {})
        assert feed is not None
        session = assemble(config, {MAIN: BTCUSDT}, recorder, 0, advice=feed)
        feed.engine = session.engine
        session.receive(snapshot_rows([(100, 5)], [(101, 5)], 0, 0))
        # Orders that nobody is asked about would come every 100 ms.
        session.engine.halted = "a test of money"
        for minute in range(1, 24 * 60 + 1):
            clock.advance_to(minute * S)
            session.advance(clock.now_ns() + 1)
            await until(lambda: not feed._asked["day"].busy)
        session.advance(clock.now_ns() + 2)
        feed.close()
        recorder.close()
        return feed.figures["day"]

    figures = asyncio.run(run())
    calls = [call for one in journal(folder) for call in one.get("calls", ())]
    assert len(calls) == 1_440
    assert Fraction(figures.cost) == sum(Fraction(call["cost"]) for call in calls)
    assert Fraction(figures.cost) == Fraction(cost) * (1_440 * 1_441 // 2)
    assert f" {figures.cost.normalize():f} USD" in advisor_words(figures)


# --- facts ----------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_facts_are_those_of_an_independent_calculation(seed: int) -> None:
    tape = random_tape(seed, 400)
    rows = list(tape.rows())
    book, memory = Book(), Memory(BTCUSDT)
    second = rows[0][1] // S + 1
    kept: list[tuple[Decimal, Decimal, Decimal]] = []
    trades: list[tuple[int, int, bool]] = []
    for row in rows:
        while row[1] >= second * S:
            if book.known and book.bids.levels and book.asks.levels:
                bids = sorted(book.bids.levels.items(), reverse=True)[:5]
                asks = sorted(book.asks.levels.items())[:5]
                bid, ask = Decimal(bids[0][0]), Decimal(asks[0][0])
                volume = [Decimal(sum(lots for _, lots in side)) for side in (bids, asks)]
                shares = (volume[0] - volume[1]) / (volume[0] + volume[1])
                kept.append(((bid + ask) / 20, 20_000 * (ask - bid) / (bid + ask), shares))
                trades.append((len(kept), 0, False))
            memory.record(book)
            second += 1
        book.apply(row)
        memory.on_message([row])
        if row[2] & KIND == Kind.GAP:
            kept.clear()
            trades.clear()
        if row[2] & KIND == Kind.TRADE:
            trades.append((0, row[4], not row[2] & SELL))
    facts = memory.facts(book, second * S, "something")
    if facts is None:
        assert not (book.known and book.bids.levels and book.asks.levels)
        return
    kept = kept[-60:]
    assert facts.records == len(kept)
    assert (facts.venue, facts.symbol, facts.happened) == ("binance", "BTC/USDT:USDT", "something")
    if not kept:
        return
    mids = [float(mid) for mid, _, _ in kept]
    assert facts.mean_mid == pytest.approx(statistics.fmean(mids))
    assert facts.mean_spread_bps == pytest.approx(float(sum(one[1] for one in kept)) / len(kept))
    assert facts.mean_imbalance == pytest.approx(float(sum(one[2] for one in kept)) / len(kept))
    assert facts.deviation_bps == pytest.approx(10_000 * (facts.mid / facts.mean_mid - 1))
    returns = [10_000 * (mids[n] - mids[n - 1]) / mids[n - 1] for n in range(1, len(mids))]
    deviation = statistics.stdev(returns) if len(kept) > 2 else 0.0
    assert facts.volatility_bps == pytest.approx(deviation, abs=1e-9)
    # Trades of the time that the records are of: after the record before the first, until the last.
    places = [place for place, one in enumerate(trades) if one[0]]
    begin = places[-len(kept) - 1] if len(places) > len(kept) else 0
    counted = [one for one in trades[begin : places[-1]] if not one[0]]
    assert facts.trades == len(counted)
    lots = sum(one[1] for one in counted)
    bought = sum(one[1] for one in counted if one[2])
    assert facts.bought_share == (pytest.approx(bought / lots) if lots else None)


def test_there_are_no_facts_while_the_book_is_not_known() -> None:
    book, memory = Book(), Memory(BTCUSDT)
    for row in snapshot_rows([(100, 5)], [(101, 3)]):
        book.apply(row)
    memory.record(book)
    facts = memory.facts(book, S)
    assert isinstance(facts, Facts)
    assert (facts.bids, facts.asks) == ((("10.0", "0.005"),), (("10.1", "0.003"),))
    assert (facts.records, facts.imbalance, facts.bought_share) == (1, 0.25, None)
    gap = (1, 1, int(Kind.GAP), int(GapReason.SEQUENCE), 0)
    book.apply(gap)
    memory.on_message([gap])
    assert memory.facts(book, S) is None
    for row in snapshot_rows([(100, 5)], [(101, 3)]):
        book.apply(row)
    assert memory.facts(book, S).records == 0  # type: ignore[union-attr]
