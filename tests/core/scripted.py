"""Strategies for the tests of the core, and runs of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from core_rows import BTCUSDT

from mmkit.commands import AnyCommand, CancelOrder, SubmitOrder
from mmkit.engine import Engine
from mmkit.events import (
    AnyEvent,
    CancelRejected,
    FeedLost,
    FeedRestored,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderRejected,
)
from mmkit.interfaces import (
    NO_QUOTES,
    Context,
    MarketView,
    Quotes,
    Strategy,
    StrategyConfig,
    Target,
)
from mmkit.recorder import Recorder
from mmkit.risk import RiskGate
from mmkit.run.session import Session
from mmkit.settings import SimSettings
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.tape import Row, Tape
from mmkit.testing import run_strategy

Entry = AnyCommand | AnyEvent
Answer = Callable[[MarketView], Any]


class Scripted(Strategy):
    """Answers as it is told, and remembers when it was asked and what it heard."""

    def __init__(self, answer: Answer | None = None, **config: Any) -> None:
        super().__init__(StrategyConfig.model_validate(config), Context(BTCUSDT))
        self._answer = answer or (lambda view: NO_QUOTES)
        self.asked: list[int] = []
        self.heard: list[AnyEvent] = []
        self.story: list[Any] = []

    def quote(self, view: MarketView) -> Quotes | Target:
        self.asked.append(view.now)
        self.story.append(("asked", view.now, view.best_bid, view.best_ask, view.position))
        answer: Quotes | Target = self._answer(view)
        return answer

    def on_event(self, event: AnyEvent) -> None:
        self.heard.append(event)
        self.story.append(event)


class Entries(Recorder):
    """A recorder in memory."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def note(self, entry: Entry) -> None:
        self.entries.append(entry)


def sim(reports: str = "after_data", **changes: Any) -> SimSettings:
    """Latency 3 ns there and 5 ns back, no fees, every cancellation behind us."""
    return SimSettings.model_validate(
        {
            "latency": {"entry": "3ns", "response": "5ns"},
            "data_wait": "20ns",
            "queue": {"model": "risk_averse"},
            "fees": {"maker": "0", "taker": "0"},
            "fill_reports": reports,
            **changes,
        }
    )


def run(
    strategy: Strategy,
    rows: Iterable[Row],
    settings: SimSettings | None = None,
    risk: RiskGate | None = None,
) -> tuple[Engine, list[Entry]]:
    return run_strategy(strategy, Tape.from_rows(BTCUSDT, rows), settings or sim(), risk)


def session(
    strategy: Strategy,
    settings: SimSettings | None = None,
    risk: RiskGate | None = None,
    start_ns: int = 0,
) -> tuple[Session, list[Entry]]:
    entries = Entries()
    engine = Engine(BTCUSDT, strategy, risk or RiskGate(), start_ns)
    settings = settings or sim()
    venue = PaperVenue(PaperConfig(), Context(BTCUSDT, settings))
    return Session(engine, venue, entries, settings.fill_reports), entries.entries


def brief(entries: Iterable[Entry]) -> list[tuple[Any, ...]]:
    """What happened, in a word, with the time at which it was known here."""
    told: list[tuple[Any, ...]] = []
    for entry in entries:
        match entry:
            case SubmitOrder():
                told.append(
                    (entry.ts_local, str(entry.side), entry.order_id, entry.price, entry.quantity)
                )
            case CancelOrder():
                told.append((entry.ts_local, "cancel", entry.order_id))
            case OrderAccepted():
                told.append((entry.ts_local, "accepted", entry.order_id))
            case OrderRejected():
                told.append((entry.ts_local, "rejected", entry.order_id))
            case OrderFilled():
                told.append((entry.ts_local, "filled", entry.order_id, entry.quantity))
            case OrderCanceled():
                told.append((entry.ts_local, "canceled", entry.order_id))
            case CancelRejected():
                told.append((entry.ts_local, "too late", entry.order_id))
            case FeedLost():
                told.append((entry.ts_local, "lost", entry.reason))
            case FeedRestored():
                told.append((entry.ts_local, "restored"))
    return told
