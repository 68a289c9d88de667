"""Signals on the compiled engine beside the reference: the same entries, money and counts on random markets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from both_engines import Memory, Restless, checks, outcome, risks, sims
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import with_funding

from mmkit.engine import Engine
from mmkit.events import MAIN, AnyEvent, Signal
from mmkit.fusion import Fusion, FusionSettings
from mmkit.interfaces import Context, MarketView, Quotes, Strategy, StrategyConfig, Target
from mmkit.recorder import Detail
from mmkit.report import SignalFigures
from mmkit.risk import RiskGate
from mmkit.run.compiled import replay_compiled, why_not
from mmkit.run.replay import replay_plain
from mmkit.run.session import Session
from mmkit.run.signals.ahead import Ahead, Column, Columns
from mmkit.run.trail import Trail
from mmkit.settings import SimSettings
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.tape import Tape
from mmkit.testing import BTCUSDT, build_strategy, random_tape
from mmkit_strategies.avellaneda_stoikov import AvellanedaStoikov
from mmkit_strategies.glft import Glft
from mmkit_strategies.grid import Grid
from mmkit_strategies.imbalance import Imbalance
from mmkit_strategies.signal_taker import SignalTaker
from mmkit_strategies.skewed import Skewed

MS = 1_000_000


class Told(Restless):
    """Quotes by what signals say, and by the order in which it is shown them."""

    def quote(self, view: MarketView) -> Quotes | Target:
        wanted = super().quote(view)
        if not isinstance(wanted, Quotes):
            return wanted
        shift = 0
        for name, signal in view.signals.items():
            shift = 3 * shift + round(4 * (signal.up - signal.down)) + len(name)
        return Quotes(
            bids=[(price - shift % 3, quantity + shift % 2) for price, quantity in wanted.bids],
            asks=[(price + shift % 2, quantity) for price, quantity in wanted.asks],
        )


class Hearing(Told):
    """Quotes by what it has heard besides."""

    def __init__(self, config: StrategyConfig, context: Context) -> None:
        super().__init__(config, context)
        self.heard = 0

    def on_event(self, event: AnyEvent) -> None:
        self.heard += 2 if isinstance(event, Signal) else 1

    def quote(self, view: MarketView) -> Quotes | Target:
        self.levels = 1 + self.heard % 3
        return super().quote(view)


class Following(Restless):
    """Takes to where one signal points."""

    def quote(self, view: MarketView) -> Quotes | Target:
        signal = view.signals.get("two")
        return super().quote(view) if signal is None else Target(round(20 * signal.up) - 8)


def columns(tape: Tape, seed: int, models: int) -> Columns:
    """What some models say at random times, some of them those of rows and of wakes, before and after the data too."""
    dice = np.random.default_rng(seed)
    span = (tape.start_ns - 50 * MS, tape.end_ns + 50 * MS)
    each: list[Column] = []
    for name in ("one", "two", "three")[:models]:
        n = int(dice.integers(0, 80))
        ts = np.concatenate(
            [
                dice.integers(*span, n),
                dice.choice(tape.ts_local, n),
                tape.start_ns + 10 * MS * dice.integers(0, 1 + (span[1] - span[0]) // MS // 10, n),
            ]
        )
        ts = np.unique(ts[ts >= tape.start_ns])
        said = dice.dirichlet((1.0, 1.0, 1.0), len(ts))
        latency = int(dice.choice([0, 10 * MS, 33 * MS]))
        each.append(
            Column(name, ts, said, latency, latency + int(dice.choice([1, 40 * MS, 10**9])))
        )
    return Columns(each)


FIGURES = SignalFigures(plugin="made", model="", card="", sampling="update", expires_ns=0)


def session(
    strategy: Strategy,
    sim: SimSettings,
    risk: RiskGate,
    tape: Tape,
    said: Columns,
    fusion: FusionSettings | None = None,
) -> tuple[Session, Memory]:
    memory = Memory()
    engine = Engine(
        tape.instrument,
        strategy,
        risk,
        tape.start_ns,
        fusion=Fusion(fusion) if fusion is not None else None,
    )
    venue = PaperVenue(PaperConfig(), Context(tape.instrument, sim))
    feed = Ahead(said, dict.fromkeys(said.names, FIGURES))
    return Session(engine, venue, memory, signals=feed), memory


def of(session: Session) -> dict[str, Any]:
    feed = session.signals
    assert feed is not None
    return {**outcome(session), "told": {name: one.told for name, one in feed.figures.items()}}


wakes = st.fixed_dictionaries(
    {"every": st.sampled_from(["20ms", "100ms", "333ms"])},
    optional={"on": st.sets(st.sampled_from(["best", "trade", "fill", "signal"]), min_size=1)},
) | st.just({"on": {"signal"}})


@pytest.mark.timeout(600)  # the first of them compiles the engine
@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    messages=st.integers(1, 700),
    models=st.integers(1, 3),
    sim=sims,
    asked=wakes,
    risk=risks,
    kind=st.sampled_from([Told, Hearing, Following]),
    rough=st.booleans(),
    funding=st.booleans(),
)
def test_the_compiled_engine_tells_signals_as_the_reference_does_entry_by_entry(
    seed: int,
    messages: int,
    models: int,
    sim: SimSettings,
    asked: dict[str, Any],
    risk: dict[str, str],
    kind: type[Strategy],
    rough: bool,
    funding: bool,
) -> None:
    tape = random_tape(seed, messages, rough=rough)
    if funding:
        tape = with_funding(tape, seed)
    said = columns(tape, seed, models)

    def made() -> tuple[Session, Memory]:
        strategy = kind(StrategyConfig.model_validate(asked), Context(BTCUSDT, sim))
        return session(strategy, sim, checks(risk, BTCUSDT), tape, said)

    reference, expected = made()
    replay_plain(reference, {MAIN: tape})
    compiled, found = made()
    assert why_not(compiled, {MAIN: tape}) == ""
    replay_compiled(compiled, tape)
    for number, (left, right) in enumerate(zip(expected.entries, found.entries, strict=False)):
        assert left == right, f"entry {number}"
    assert len(expected.entries) == len(found.entries)
    assert of(compiled) == of(reference)


SIZES = {"size": "0.005", "max_position": "0.05"}
AS = {"gamma": 0.01, "k": 0.9, "sigma": "1ticks", "horizon": "1s"}
GLFT = {"A": 0.9, "k": 0.9, "gamma": 0.01, "sigma": "1ticks"}
LEANING: list[tuple[type[Strategy], dict[str, Any]]] = [
    (Skewed, {"half_spread": "1ticks", "skew": "0.3ticks", "signal_skew": "4ticks"}),
    (Skewed, {"half_spread": "0.05bps", "signal_skew": "0.002%"}),
    (Skewed, {"half_spread": "1ticks"}),
    (Grid, {"levels": 3, "half_spread": "1ticks", "spacing": "1ticks", "signal_skew": "4ticks"}),
    (Imbalance, {"half_spread": "1ticks", "signal_skew": "3ticks"}),
    (Imbalance, {"half_spread": "1ticks", "signal_skew": "3ticks", "adjustment": ((-1.0, 1.0),)}),
    (AvellanedaStoikov, {**AS, "signal_skew": "3ticks"}),
    (Glft, {**GLFT, "signal_skew": "3ticks"}),
    (Glft, {**GLFT, "signal_skew": "3ticks", "solution": "exact"}),
]


@pytest.mark.parametrize(("strategy", "config"), LEANING)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_compiled_decision_leans_to_a_signal_as_the_plain_one_does(
    strategy: type[Strategy], config: dict[str, Any], seed: int
) -> None:
    tape, sim = random_tape(seed, 1_500), SimSettings()
    said = columns(tape, seed, 3)

    def run(
        *, compiled: bool, skew: dict[str, str] | None = None
    ) -> tuple[list[Any], dict[str, Any]]:
        built = build_strategy(
            strategy,
            every="20ms",
            compiled=compiled,
            signals=said.names,
            signal="two",
            **{**SIZES, **config, **(skew or {})},
        )
        assert built.decision
        made, memory = session(built, sim, RiskGate(), tape, said)
        if compiled:
            replay_compiled(made, tape)
        else:
            replay_plain(made, {MAIN: tape})
        return memory.entries, of(made)

    expected = run(compiled=False)
    assert len(expected[0]) > 500
    assert run(compiled=True) == expected
    if "signal_skew" in config:
        assert run(compiled=True, skew={"signal_skew": "0ticks"}) != expected


def test_a_taker_that_waits_for_signals_runs_compiled_and_does_the_same() -> None:
    tape, sim = random_tape(5, 3_000), SimSettings()
    said = columns(tape, 5, 1)

    def made() -> tuple[Session, Memory]:
        built = build_strategy(
            SignalTaker, signals=["one"], signal="one", balance="5000", short=True
        )
        return session(built, sim, RiskGate(), tape, said)

    reference, expected = made()
    replay_plain(reference, {MAIN: tape})
    compiled, found = made()
    replay_compiled(compiled, tape)
    assert reference.engine.counts["fills"] > 20
    assert found.entries == expected.entries
    assert of(compiled) == of(reference)


def test_the_frames_of_a_run_hold_no_signals_on_either_engine() -> None:
    tape, sim = random_tape(5, 800), SimSettings()
    said = columns(tape, 5, 2)
    tables: list[Any] = []
    for replay in (
        lambda run: replay_plain(run, {MAIN: tape}),
        lambda run: replay_compiled(run, tape),
    ):
        strategy = build_strategy(Skewed, every="20ms", half_spread="1ticks", **SIZES)
        run, _ = session(strategy, sim, RiskGate(), tape, said)
        run.recorder = trail = Trail({MAIN: BTCUSDT})
        assert trail.detail is Detail.ALL
        replay(run)
        tables.append(trail.orders().to_dict("list"))
    assert tables[0] == tables[1]
    assert len(tables[0]["order_id"]) > 100


def test_more_signals_than_the_compiled_engine_has_room_for_are_left_to_the_reference() -> None:
    tape = random_tape(1)
    many = Columns(
        [Column(f"n{n}", tape.ts_local[:1], np.ones((1, 3)) / 3, 0, 1) for n in range(17)]
    )
    strategy = build_strategy(Skewed, half_spread="1ticks", **SIZES)
    run, _ = session(strategy, SimSettings(), RiskGate(), tape, many)
    assert why_not(run, {MAIN: tape}) == "more than 16 signals"


def test_what_signals_come_to_without_advice_is_the_same_on_both_engines() -> None:
    tape, sim = random_tape(5, 3_000), SimSettings()
    said = columns(tape, 5, 1)
    fusion = FusionSettings(signal="one")

    def made() -> tuple[Session, Memory]:
        built = build_strategy(
            SignalTaker, signals=["one"], fusion=fusion, balance="5000", short=True
        )
        return session(built, sim, RiskGate(), tape, said, fusion)

    reference, expected = made()
    replay_plain(reference, {MAIN: tape})
    compiled, found = made()
    replay_compiled(compiled, tape)
    assert reference.engine.counts["fills"] > 20
    assert found.entries == expected.entries
    assert of(compiled) == of(reference)
