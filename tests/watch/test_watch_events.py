"""The market watch's events as a strategy hears them: those that `mmkit watch` shows of the same data, and no others."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit import NO_QUOTES, MarketView, Provider, Quotes, Strategy, StrategyConfig
from mmkit.commands import AnyCommand, SubmitOrder
from mmkit.config import Config, draft_plain
from mmkit.events import AnyEvent, FeedLost, LargeTrade, Statistics, WatchEvent
from mmkit.recorder import Detail, Recorder
from mmkit.report import Report, report_text
from mmkit.run.backtest import load_tapes, run_backtest, run_info
from mmkit.run.replay import Tapes
from mmkit.run.watch import watch_recorded
from mmkit.tape import KIND, Kind, Tape
from mmkit.testing import random_tape

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
USDM = {
    "instrument": {
        "venue": "binance",
        "market": "usdm",
        "symbol": "BTC/USDT:USDT",
        "tick": "0.1",
        "lot": "0.001",
    },
    "data": {
        "plugin": "capture",
        "paths": [f"{DATA}/binance_usdm/btcusdt_20240808.gz"],
        "clock_offset": "1272157us",
    },
}
SPOT = {
    "instrument": {
        "venue": "binance",
        "market": "spot",
        "symbol": "BTC/USDT",
        "tick": "0.01",
        "lot": "0.00001",
    },
    "data": {
        "plugin": "capture",
        "paths": [f"{DATA}/binance_spot/btcusdt_20240808.gz"],
        "clock_offset": "1274761us",
    },
}
# Of a random market: every kind of event, and often.
OFTEN = {
    "window": 6,
    "least": 3,
    "deviations": 1.2,
    "large_trade": "0.03",
    "trades": 4,
    "one_sided": 0.7,
    "span": "1s",
    "strong_flow": "0.05",
    "high_volatility": "2ticks",
    "cooldown": "300ms",
    "every": "100ms",
}


class Listener(Strategy):
    """Keeps what it hears, and what `view.watch` said when it was asked."""

    watches = True
    heard: ClassVar[list[AnyEvent]]
    asked: ClassVar[list[Statistics]]

    def quote(self, view: MarketView) -> Quotes:
        self.asked.append(view.watch)
        if view.best_bid is None or view.best_ask is None:
            return NO_QUOTES
        return Quotes(bid=(view.best_bid, 10), ask=(view.best_ask, 10))

    def on_event(self, event: AnyEvent) -> None:
        self.heard.append(event)


class Deaf(Listener):
    """Declares nothing."""

    watches = False

    def quote(self, view: MarketView) -> Quotes:
        return NO_QUOTES


class Entries(Recorder):
    detail = Detail.ALL

    def __init__(self) -> None:
        self.entries: list[AnyCommand | AnyEvent] = []

    def note(self, entry: AnyCommand | AnyEvent) -> None:
        self.entries.append(entry)


def configured(kind: type[Listener], changes: dict[str, Any]) -> Config:
    kind.heard, kind.asked = [], []
    plain = {**USDM, "strategy": {"plugin": "none"}, **changes}
    return draft_plain(plain).config(strategy=Provider("none", StrategyConfig, kind))


def ran(config: Config, tapes: Tapes) -> tuple[list[AnyCommand | AnyEvent], Report]:
    recorder = Entries()
    run = run_info(config, tapes)
    return recorder.entries, run_backtest(config, tapes, recorder, run, engine="reference")[1]


def shown(config: Config, tapes: Tapes) -> list[WatchEvent]:
    """What `mmkit watch` shows."""
    told: list[WatchEvent] = []
    watch_recorded(config, lambda event, _: told.append(event), tapes=tapes)
    return told


def but_the_last_instant(events: list[Any], tapes: Tapes) -> list[WatchEvent]:
    """Leave out statistics that are due once the last row has been received: a run may have ended."""
    end = max(int(tape.ts_local[-1]) for tape in tapes.values())
    return [e for e in events if not (isinstance(e, Statistics) and e.ts_local >= end)]


def of_the_watch(entries: list[Any]) -> list[WatchEvent]:
    return [entry for entry in entries if isinstance(entry, WatchEvent)]


def coarse(tape: Tape, grid: int) -> Tape:
    """The same with times in whole multiples of `grid`, so that much happens at one instant, and statistics are due then."""
    rows = [(row[0] // grid * grid, row[1] // grid * grid, *row[2:]) for row in tape.rows()]
    return Tape.from_rows(tape.instrument, rows)


@settings(max_examples=40, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 10**6), min_size=1, max_size=2),
    rough=st.booleans(),
    reports=st.sampled_from(["plain", "after_data"]),
    grid=st.sampled_from([1, 50_000_000]),
)
def test_a_strategy_hears_what_the_watch_shows_of_any_market_in_the_same_order(
    seeds: list[int], rough: bool, reports: str, grid: int
) -> None:
    names = ["main", "spot"][: len(seeds)]
    tapes = {
        name: coarse(random_tape(seed, 250, rough=rough), grid)
        for name, seed in zip(names, seeds, strict=True)
    }
    strategy = {"plugin": "none", "every": "70ms", "on": ["best", "trade"]}
    changes: dict[str, Any] = {
        "watch": OFTEN,
        "sim": {"fill_reports": reports},
        "strategy": strategy,
    }
    if len(seeds) > 1:
        changes["markets"] = {"spot": SPOT}
    config = configured(Listener, changes)
    entries, report = ran(config, tapes)

    heard = of_the_watch(Listener.heard)
    assert but_the_last_instant(heard, tapes) == but_the_last_instant(shown(config, tapes), tapes)
    assert [e.ts_local for e in Listener.heard] == sorted(e.ts_local for e in Listener.heard)
    assert {event.market for event in heard} <= set(names)
    # The journal has them, at their place among the other events.
    assert [e for e in entries if isinstance(e, AnyEvent)] == Listener.heard
    counts = {name: dict(each.watch) for name, each in (("main", report), *report.markets.items())}
    assert counts == {name: _counts(heard, name) for name in names}


def _counts(heard: list[WatchEvent], market: str) -> dict[str, int]:
    kinds = [type(event).__name__ for event in heard if event.market == market]
    return {kind: kinds.count(kind) for kind in kinds}


def test_of_two_real_captures_the_strategy_hears_what_the_watch_shows() -> None:
    watch = {"large_trade": "1", "every": "7s", "cooldown": "5s", "one_sided": 0.95}
    changes = {"markets": {"spot": {**SPOT, "watch": {"large_trade": "0.2"}}}, "watch": watch}
    config = configured(Listener, {**changes, "strategy": {"plugin": "none", "every": "5s"}})
    tapes = load_tapes(config)
    entries, report = ran(config, tapes)

    heard = of_the_watch(Listener.heard)
    assert but_the_last_instant(heard, tapes) == but_the_last_instant(shown(config, tapes), tapes)
    assert of_the_watch(entries) == heard
    assert {(type(event).__name__, event.market) for event in heard} == {
        (kind, market)
        for kind in ("PriceAnomaly", "LargeTrade", "OneSidedTrades", "Statistics")
        for market in ("main", "spot")
    }
    for each in (report, report.markets["spot"]):
        assert f"{each.watch['LargeTrade']} LargeTrade" in report_text(report)
    assert "Statistics" not in report_text(report)


def test_asked_on_watch_it_is_asked_once_the_trade_is_in_the_statistics() -> None:
    tapes = {"main": random_tape(7, 400)}
    changes = {"watch": OFTEN, "strategy": {"plugin": "none", "on": ["watch"]}}
    config = configured(Listener, changes)
    ran(config, tapes)

    known, times = True, set()
    for event in Listener.heard:
        if isinstance(event, FeedLost):
            known = False
        elif not isinstance(event, WatchEvent):
            known = True
        elif known:
            times.add(event.ts_local)
    asked = [statistics.ts_local for statistics in Listener.asked]
    assert set(asked) == times
    assert len(asked) > 20
    trades: dict[int, list[int]] = {}
    for _, ts_local, kind, price, _ in tapes["main"].rows():
        if kind & KIND == Kind.TRADE:
            trades.setdefault(ts_local, []).append(price)
    alone = [one for one in Listener.asked if len(trades.get(one.ts_local, [])) == 1]
    assert len(alone) > 10
    assert [[one.price] for one in alone] == [trades[one.ts_local] for one in alone]


@pytest.mark.parametrize("reports", ["plain", "after_data"])
def test_hearing_events_changes_nothing_else_that_a_run_does(reports: str) -> None:
    """Not even the instants at which it is asked: statistics come by a timer of their own."""
    tapes = {"main": random_tape(11, 1_500, rough=True)}
    asked, others = [], []
    for every in ("70ms", None):
        watch = {**OFTEN, "every": every}
        config = configured(Listener, {"watch": watch, "sim": {"fill_reports": reports}})
        entries, _ = ran(config, tapes)
        asked.append(Listener.asked)
        others.append([entry for entry in entries if not isinstance(entry, WatchEvent)])
    assert asked[0] == asked[1]
    assert others[0] == others[1]


def test_who_declares_nothing_hears_nothing_and_no_event_is_noted() -> None:
    tapes = {"main": random_tape(3, 500)}
    config = configured(Deaf, {"watch": OFTEN})
    entries, report = ran(config, tapes)
    assert of_the_watch(Deaf.heard) == of_the_watch(entries) == []
    assert report.watch == {}
    assert "watch " not in report_text(report)


@pytest.mark.parametrize("name", ["Calm", "StepBack"])
def test_the_strategies_of_the_documentation_do_what_they_say(name: str) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "watch.md").read_text()
    blocks = [block.partition("```")[0] for block in page.split("```python\n")[1:]]
    names: dict[str, Any] = {}
    exec(next(block for block in blocks if f"class {name}(" in block), names)
    plain = {**USDM, "strategy": {"plugin": "none"}, "watch": OFTEN}
    kind = names[name]
    config = draft_plain(plain).config(strategy=Provider("none", StrategyConfig, kind))
    entries, report = ran(config, {"main": random_tape(5, 1_500)})
    assert report.orders > 5
    large = [entry.ts_local for entry in entries if isinstance(entry, LargeTrade)]
    assert len(large) > 5
    if name == "StepBack":
        sent = [entry.ts_local for entry in entries if isinstance(entry, SubmitOrder)]
        assert not any(at < when < at + 10**9 for at in large for when in sent)
