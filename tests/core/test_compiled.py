"""The compiled engine beside the reference: the same commands, events and money on random markets."""

from typing import Any

import pytest
from both_engines import KINDS, Memory, compare, outcome, risks, sims, wakes
from core_rows import INVERSE, SPOT
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import TO_MIDNIGHT, with_funding

from mmkit.engine import Engine
from mmkit.errors import StrategyError
from mmkit.events import MAIN
from mmkit.instruments import Instrument
from mmkit.interfaces import Context, Strategy
from mmkit.risk import RiskGate
from mmkit.run.compiled import replay_compiled
from mmkit.run.replay import replay_plain
from mmkit.run.session import Session
from mmkit.settings import SimSettings
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.tape import Tape
from mmkit.testing import BTCUSDT, build_strategy, random_tape
from mmkit_strategies.avellaneda_stoikov import AvellanedaStoikov
from mmkit_strategies.glft import Glft
from mmkit_strategies.grid import Grid
from mmkit_strategies.imbalance import Imbalance
from mmkit_strategies.join_best import JoinBest
from mmkit_strategies.skewed import Skewed


@pytest.mark.timeout(600)  # the first of them compiles the engine
@settings(max_examples=500, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    messages=st.integers(1, 900),
    sim=sims,
    asked=wakes,
    risk=risks,
    strategy=st.sampled_from(KINDS),
    rough=st.booleans(),
    instrument=st.sampled_from([BTCUSDT, SPOT, INVERSE]),
    funding=st.booleans(),
)
def test_the_compiled_engine_does_what_the_reference_does_entry_by_entry(
    seed: int,
    messages: int,
    sim: SimSettings,
    asked: dict[str, Any],
    risk: dict[str, str],
    strategy: type[Strategy],
    rough: bool,
    instrument: Instrument,
    funding: bool,
) -> None:
    tape = random_tape(seed, messages, rough=rough, instrument=instrument)
    if funding:
        # A day ends on the way, and with it, perhaps, a fee tier.
        tape = with_funding(tape, seed, shift_ns=TO_MIDNIGHT)
    compare(tape, sim, asked, risk, strategy)


@pytest.mark.parametrize("model", ["risk_averse", "power", "log"])
@pytest.mark.parametrize("strategy", KINDS)
def test_a_long_random_market_with_gaps_fills_and_rejections_is_the_same(
    model: str, strategy: type[Strategy]
) -> None:
    sim = SimSettings.model_validate({"queue": {"model": model}})
    asked = {"every": "50ms", "on": ["best"]}

    reference = compare(random_tape(3, 6_000), sim, asked, {"max_position": "0.05"}, strategy)

    assert reference.engine.counts["fills"] > 100
    assert reference.engine.counts["gaps"] > 3
    assert reference.engine.counts["rejected"] > 10


FORMS: list[tuple[type[Strategy], dict[str, Any]]] = [
    (JoinBest, {"size": "0.005", "max_position": "0.02"}),
    (
        Skewed,
        {"size": "0.005", "max_position": "0.02", "half_spread": "0.05bps", "skew": "0.3ticks"},
    ),
    (Skewed, {"size": "0.01", "max_position": "0.05", "half_spread": "1ticks", "skew": "0.001%"}),
    (
        Grid,
        {
            "size": "0.003",
            "max_position": "0.02",
            "levels": 4,
            "half_spread": "1ticks",
            "spacing": "1ticks",
        },
    ),
    (Imbalance, {"size": "0.005", "max_position": "0.02", "half_spread": "1ticks"}),
    (Skewed, {"size": "0.003", "max_position": "0.05", "half_spread": "0.2", "skew": "0.07"}),
    (
        Glft,
        {
            "size": "0.005",
            "max_position": "0.05",
            "A": 0.9,
            "k": 0.9,
            "gamma": 0.01,
            "sigma": "1ticks",
        },
    ),
    (
        AvellanedaStoikov,
        {
            "size": "0.005",
            "max_position": "0.05",
            "gamma": 0.01,
            "k": 0.9,
            "sigma": "1ticks",
            "horizon": "1s",
        },
    ),
    (
        AvellanedaStoikov,
        {
            "size": "0.005",
            "max_position": "0.05",
            "gamma": 0.05,
            "k": 0.9,
            "sigma": "2ticks",
            "horizon": "3s",
            "horizon_is": "fixed",
        },
    ),
    (
        Glft,
        {
            "size": "0.005",
            "max_position": "0.05",
            "A": 0.9,
            "k": 0.9,
            "gamma": 0.01,
            "sigma": "1ticks",
            "solution": "exact",
        },
    ),
]


@pytest.mark.parametrize(("strategy", "config"), FORMS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_compiled_decision_decides_like_the_same_strategy_in_plain_python(
    strategy: type[Strategy], config: dict[str, Any], seed: int
) -> None:
    tape = random_tape(seed, 3_000)
    sim = SimSettings()

    def run(*, engine: str, compiled: bool) -> tuple[list[Any], dict[str, Any]]:
        memory, context = Memory(), Context(BTCUSDT, sim)
        built = build_strategy(strategy, every="50ms", compiled=compiled, **config)
        assert built.decision
        start_ns = tape.start_ns
        made = Session(
            Engine(BTCUSDT, built, RiskGate(), start_ns), PaperVenue(PaperConfig(), context), memory
        )
        if engine == "compiled":
            replay_compiled(made, tape)
        else:
            replay_plain(made, {MAIN: tape})
        return memory.entries, outcome(made)

    expected = run(engine="reference", compiled=False)
    assert len(expected[0]) > 500
    assert run(engine="compiled", compiled=False) == expected
    assert run(engine="compiled", compiled=True) == expected


class Lost(JoinBest):
    """Its compiled decision is nowhere to be found."""

    decision = "mmkit_strategies.join_best_compiled:nowhere"


def of_lost(tape: Tape, **config: Any) -> Session:
    built = build_strategy(Lost, every="50ms", size="0.01", max_position="0.05", **config)
    venue = PaperVenue(PaperConfig(), Context(BTCUSDT, SimSettings()))
    return Session(Engine(BTCUSDT, built, RiskGate(), tape.start_ns), venue, Memory())


def test_a_compiled_decision_that_cannot_be_imported_is_named_with_what_to_do() -> None:
    tape = random_tape(1)
    with pytest.raises(StrategyError, match=r"nowhere.*cannot be used.*strategy.compiled=false"):
        replay_compiled(of_lost(tape), tape)


def test_told_to_the_compiled_engine_asks_in_plain_python_and_needs_no_compiled_decision() -> None:
    tape = random_tape(1)
    plain, told = of_lost(tape), of_lost(tape, compiled=False)
    replay_plain(plain, {MAIN: tape})
    replay_compiled(told, tape)
    assert outcome(told) == outcome(plain)
    assert told.engine.counts["fills"] > 0
