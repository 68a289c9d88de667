"""What a language model has answered: it comes late, holds for a while, and an answer that did not come changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from mmkit.answers import MarketStructure
from mmkit.engine import Engine
from mmkit.errors import StrategyError, UnknownAdvisor
from mmkit.events import Advice, Signal
from mmkit.interfaces import NO_QUOTES, Context, MarketView, Quotes, Strategy, Wake
from mmkit.recorder import Recorder
from mmkit.risk import RiskGate
from mmkit.run.advisors.known import KnownAdvice
from mmkit.run.session import Session
from mmkit.run.signals.known import Known
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.testing import BTCUSDT, advice_of, build_strategy, market_view, snapshot_rows

MS = 1_000_000
BUY = MarketStructure(signal="BUY", confidence=0.9, direction="UP", risk="LOW", reason="bids")


class Seen(Strategy):
    """Writes down when it is asked, what holds then, and what it hears."""

    on: tuple[str, ...] = ("advice",)

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.asked: list[tuple[int, tuple[str, ...], tuple[str, ...]]] = []
        self.heard: list[Any] = []

    @property
    def wake(self) -> Wake:
        return Wake(on_advice="advice" in self.on, on_signal="signal" in self.on)

    def quote(self, view: MarketView) -> Quotes:
        self.asked.append((view.now, tuple(view.signals), tuple(view.advice)))
        return NO_QUOTES

    def on_event(self, event: Any) -> None:
        self.heard.append(event)


class Entries(Recorder):
    def __init__(self) -> None:
        self.entries: list[Any] = []

    def note(self, entry: Any) -> None:
        self.entries.append(entry)


def run(
    *advice: Advice, signals: tuple[Signal, ...] = (), on: tuple[str, ...] = ("advice",)
) -> tuple[Seen, list[Any]]:
    """Tell a strategy advice and signals in a market that is known from the start and stands still."""
    strategy = build_strategy(Seen)
    assert isinstance(strategy, Seen)
    strategy.on = on
    engine = Engine(BTCUSDT, strategy, RiskGate(), 0)
    entries = Entries()
    session = Session(
        engine,
        PaperVenue(PaperConfig(), Context(BTCUSDT)),
        entries,
        signals=Known(signals),
        advice=KnownAdvice(advice),
    )
    session.receive(snapshot_rows([(100, 5)], [(101, 5)], 1, 1))
    session.advance(1_000 * MS)
    return strategy, [one for one in entries.entries if isinstance(one, Advice | Signal)]


def test_advice_wakes_the_strategy_when_it_comes_and_when_it_expires() -> None:
    one = advice_of(BUY, "a", 10 * MS, asked_ns=2 * MS, holds_ns=20 * MS)
    strategy, entries = run(one)
    assert strategy.asked == [(10 * MS, (), ("a",)), (30 * MS, (), ())]
    assert entries == [one]


def test_a_question_without_an_answer_is_noted_and_heard_and_changes_nothing() -> None:
    good = advice_of(BUY, "a", 10 * MS, holds_ns=20 * MS)
    none = advice_of(None, "a", 15 * MS, holds_ns=60 * MS)
    strategy, entries = run(good, none)
    assert entries == [good, none]
    assert [one for one in strategy.heard if isinstance(one, Advice)] == [good, none]
    assert strategy.asked == [(10 * MS, (), ("a",)), (30 * MS, (), ())]


def test_a_strategy_that_is_asked_on_signals_alone_sees_no_advice_that_has_expired() -> None:
    def signal(at: int) -> Signal:
        return Signal(
            ts_exchange=at, ts_local=at, name="s", down=0, flat=0, up=1, expires_ns=at + MS
        )

    strategy, _ = run(
        advice_of(BUY, "a", 10 * MS, holds_ns=20 * MS),
        signals=(signal(20 * MS), signal(40 * MS)),
        on=("signal",),
    )
    assert strategy.asked == [
        (20 * MS, ("s",), ("a",)),
        (21 * MS, (), ("a",)),
        (40 * MS, ("s",), ()),
        (41 * MS, (), ()),
    ]


def test_at_one_instant_signals_come_before_advice() -> None:
    signal = Signal(
        ts_exchange=0, ts_local=10 * MS, name="s", down=0, flat=0, up=1, expires_ns=50 * MS
    )
    advice = advice_of(BUY, "a", 10 * MS, holds_ns=MS)
    strategy, entries = run(advice, signals=(signal,))
    assert entries == [signal, advice]
    assert strategy.asked[0] == (10 * MS, ("s",), ("a",))


def test_advice_that_is_not_there_is_none_by_get_and_an_error_by_name() -> None:
    view = market_view(advice={"a": BUY})
    assert view.advice["a"].answer == BUY
    assert view.advice.get("b") is None
    with pytest.raises(
        StrategyError, match="an advice 'b' that holds now was expected; there is a"
    ):
        view.advice["b"]
    with pytest.raises(
        StrategyError, match=r"looks at view\.fused, for which the section 'fusion'"
    ):
        _ = view.fused


def test_a_strategy_may_refuse_a_run_without_its_advisor() -> None:
    with pytest.raises(UnknownAdvisor, match="found 'vol'; there is structure; name it under"):
        Context(BTCUSDT, advisors={"structure": "market_structure"}).check_advisor("vol")
    Context(BTCUSDT, advisors={"structure": "market_structure"}).check_advisor("structure")
