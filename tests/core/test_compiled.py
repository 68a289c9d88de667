"""The compiled engine beside the reference: the same commands, events and money on random markets."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.engine import Engine
from mmkit.errors import StrategyError
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
from mmkit.testing import BTCUSDT, build_strategy, random_tape
from mmkit_strategies.join_best import JoinBest
from mmkit_strategies.skewed import Skewed


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
    if reference.engine.counts["self_trades"]:
        return reference  # the compiled engine has yet to learn the rule
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


@pytest.mark.timeout(600)  # the first of them compiles the engine
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


FORMS = [
    (JoinBest, {"size": "0.005", "max_position": "0.02"}),
    (
        Skewed,
        {"size": "0.005", "max_position": "0.02", "half_spread": "0.05bps", "skew": "0.3ticks"},
    ),
    (Skewed, {"size": "0.01", "max_position": "0.05", "half_spread": "1ticks", "skew": "0.001%"}),
    (Skewed, {"size": "0.003", "max_position": "0.05", "half_spread": "0.2", "skew": "0.07"}),
]


@pytest.mark.parametrize(("strategy", "config"), FORMS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_compiled_decision_decides_like_the_same_strategy_in_plain_python(
    strategy: type[Strategy], config: dict[str, str], seed: int
) -> None:
    tape = random_tape(seed, 3_000)
    sim = SimSettings()
    plain = type("Plain", (strategy,), {"decision": ""})

    def run(form: type[Strategy], *, compiled: bool) -> tuple[list[Any], dict[str, Any]]:
        memory, context = Memory(), Context(BTCUSDT, sim)
        built = build_strategy(form, every="50ms", **config)
        start_ns = int(min(tape.ts_local[0], tape.ts_exchange.min()))
        made = Session(
            Engine(BTCUSDT, built, RiskGate(), start_ns), PaperVenue(PaperConfig(), context), memory
        )
        if compiled:
            replay_compiled(made, memory, Prepared(tape))
        else:
            replay_plain(made, tape)
        return memory.entries, outcome(made)

    expected = run(plain, compiled=False)
    assert len(expected[0]) > 500
    assert run(plain, compiled=True) == expected
    assert run(strategy, compiled=True) == expected


def test_a_compiled_decision_that_cannot_be_imported_is_named_with_what_to_do() -> None:
    class Lost(JoinBest):
        decision = "mmkit_strategies.join_best_compiled:nowhere"

    tape = random_tape(1)
    context = Context(BTCUSDT, SimSettings())
    built = build_strategy(Lost, every="50ms", size="0.01", max_position="0.05")
    engine = Engine(BTCUSDT, built, RiskGate(), int(tape.ts_exchange.min()))

    with pytest.raises(StrategyError, match=r"nowhere.*cannot be used"):
        replay_compiled(
            Session(engine, PaperVenue(PaperConfig(), context), Memory()), None, Prepared(tape)
        )
