"""The compiled engine beside the reference: the same commands, events and money on random markets."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.engine import Engine
from mmkit.interfaces import Context, MarketView, Quotes, RiskCheck, Strategy, StrategyConfig
from mmkit.risk import (
    DistanceLimit,
    MaxDrawdown,
    MaxOrder,
    MaxPosition,
    MoneyLimit,
    PriceBand,
    QuantityLimit,
    RiskGate,
    StaleAfter,
    TimeLimit,
)
from mmkit.run.compiled import replay_compiled, why_not
from mmkit.run.replay import replay_plain
from mmkit.run.session import Session
from mmkit.settings import SimSettings
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.sim.prepared import Prepared
from mmkit.tape import Tape
from mmkit.testing import BTCUSDT, random_tape


class Restless(Strategy):
    """Quotes that depend on everything a strategy may look at, several levels a side, often changing."""

    levels = 2

    def quote(self, view: MarketView) -> Quotes:
        bid, ask = view.best_bid, view.best_ask
        if bid is None or ask is None:
            return Quotes(bid=(599_000, 3))
        turn = (view.now // 100_000_000 + view.position + len(view.orders)) % 7
        size = 5 + turn
        own = sum(order.remaining for order in view.orders)
        return Quotes(
            bids=[
                (bid - step * (turn % 3), size + step)
                for step in range(self.levels if turn % 3 else 1)
            ]
            if view.position < 40
            else (),
            asks=[(ask + turn % 2 + step, 4 + own % 3) for step in range(self.levels)]
            if view.position > -40 and view.equity < 10**9
            else (),
        )


class Memory:
    def __init__(self) -> None:
        self.entries: list[Any] = []

    def note(self, entry: Any) -> None:
        self.entries.append(entry)


def checks(wanted: dict[str, str]) -> RiskGate:
    context = Context(BTCUSDT)
    made: dict[str, tuple[type, type]] = {
        "max_position": (QuantityLimit, MaxPosition),
        "max_order": (QuantityLimit, MaxOrder),
        "price_band": (DistanceLimit, PriceBand),
        "max_drawdown": (MoneyLimit, MaxDrawdown),
        "stale_after": (TimeLimit, StaleAfter),
    }
    gate: list[tuple[str, RiskCheck]] = []
    for name, limit in wanted.items():
        config, check = made[name]
        gate.append((name, check(config.model_validate({"limit": limit}), context)))
    return RiskGate(gate)


def session(
    sim: SimSettings, every: str, risk: dict[str, str], start_ns: int
) -> tuple[Session, Memory]:
    memory = Memory()
    context = Context(BTCUSDT, sim)
    strategy = Restless(StrategyConfig.model_validate({"every": every}), context)
    engine = Engine(BTCUSDT, strategy, checks(risk), start_ns)
    return Session(engine, PaperVenue(PaperConfig(), context), memory), memory


def outcome(run: Session) -> dict[str, Any]:
    engine, portfolio = run.engine, run.engine.portfolio
    return {
        "counts": {name: count for name, count in engine.counts.items() if count},
        "vetoes": dict(engine.risk.vetoes),
        "held_back": engine.quoter.held_back,
        "halted": engine.halted,
        "peak": engine.peak_equity,
        "drawdown": engine.max_drawdown,
        "now": engine.now,
        "equity": engine.equity,
        "money": (portfolio.cash, portfolio.fees, portfolio.volume, portfolio.realized_pnl),
        "position": engine.position,
        "bids": engine.book.bids.levels,
        "asks": engine.book.asks.levels,
        "known": engine.book.known,
    }


def compare(tape: Tape, sim: SimSettings, every: str, risk: dict[str, str]) -> Session:
    start_ns = int(min(tape.ts_local[0], tape.ts_exchange.min()))
    reference, expected = session(sim, every, risk, start_ns)
    replay_plain(reference, tape)
    compiled, found = session(sim, every, risk, start_ns)
    prepared = Prepared(tape)
    assert why_not(compiled, prepared) == ""
    replay_compiled(compiled, found, prepared)
    for number, (left, right) in enumerate(zip(expected.entries, found.entries, strict=False)):
        assert left == right, f"entry {number}"
    assert len(expected.entries) == len(found.entries)
    assert outcome(compiled) == outcome(reference)
    return reference


sims = st.builds(
    lambda entry, response, model, exponent, partial, maker: SimSettings.model_validate(
        {
            "latency": {"entry": entry, "response": response},
            "queue": {"model": model, "exponent": exponent},
            "partial_fills": partial,
            "fees": {"maker": maker},
        }
    ),
    st.sampled_from(["0s", "1ms", "10ms", "137ms", "450ms"]),
    st.sampled_from(["0s", "1ms", "10ms", "90ms"]),
    st.sampled_from(["risk_averse", "power", "log"]),
    st.sampled_from([0.5, 1, 2, 3]),
    st.booleans(),
    st.sampled_from(["0.0002", "-0.00005", "0"]),
)
risks = st.fixed_dictionaries(
    {},
    optional={
        "max_position": st.sampled_from(["0.02", "0.05"]),
        "max_order": st.sampled_from(["0.006", "0.02"]),
        "price_band": st.sampled_from(["2ticks", "0.1bps", "0.2", "0.001%"]),
        "max_drawdown": st.sampled_from(["0.5", "5", "1000"]),
        "stale_after": st.sampled_from(["50ms", "150ms", "5s"]),
    },
)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    messages=st.integers(1, 900),
    sim=sims,
    every=st.sampled_from(["20ms", "100ms", "333ms", "2s"]),
    risk=risks,
)
def test_the_compiled_engine_does_what_the_reference_does_entry_by_entry(
    seed: int, messages: int, sim: SimSettings, every: str, risk: dict[str, str]
) -> None:
    compare(random_tape(seed, messages), sim, every, risk)


@pytest.mark.parametrize("model", ["risk_averse", "power", "log"])
def test_a_long_random_market_with_gaps_fills_and_rejections_is_the_same(model: str) -> None:
    sim = SimSettings.model_validate({"queue": {"model": model}})

    reference = compare(random_tape(3, 6_000), sim, "50ms", {"max_position": "0.05"})

    assert reference.engine.counts["fills"] > 100
    assert reference.engine.counts["gaps"] > 3
    assert reference.engine.counts["rejected"] > 10
