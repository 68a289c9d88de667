"""The compiled engine beside the reference: the same commands, events and money on random markets."""

from typing import Any

import pytest
from core_rows import INVERSE, SPOT
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import TO_MIDNIGHT, with_funding

from mmkit.engine import Engine
from mmkit.errors import StrategyError
from mmkit.events import MAIN, AnyEvent
from mmkit.instruments import Instrument
from mmkit.interfaces import (
    Context,
    MarketView,
    Quotes,
    RiskCheck,
    Strategy,
    StrategyConfig,
    Target,
)
from mmkit.recorder import Recorder
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
from mmkit.tape import Tape
from mmkit.testing import BTCUSDT, build_strategy, random_tape
from mmkit_strategies.grid import Grid
from mmkit_strategies.imbalance import Imbalance
from mmkit_strategies.join_best import JoinBest
from mmkit_strategies.skewed import Skewed


class Restless(Strategy):
    """Quotes that depend on everything a strategy may look at, several levels a side, often changing."""

    levels = 2

    def quote(self, view: MarketView) -> Quotes | Target:
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


class Deep(Restless):
    """Looks at three levels a side, too."""

    depth = 3
    levels = 3

    def quote(self, view: MarketView) -> Quotes | Target:
        wanted = super().quote(view)
        assert isinstance(wanted, Quotes)
        bids, asks = view.book
        if bids and asks:
            assert (bids[0][0], asks[0][0]) == (view.best_bid, view.best_ask)
        weight = sum(quantity for _, quantity in bids) - sum(quantity for _, quantity in asks)
        return Quotes(
            bids=[(price, quantity + weight % 3) for price, quantity in wanted.bids],
            asks=[(price + weight % 2, quantity) for price, quantity in wanted.asks],
        )


class Taker(Restless):
    """Takes to a position now and then, as far as there are prices."""

    def quote(self, view: MarketView) -> Quotes | Target:
        turn = view.now // 70_000_000 % 5
        return Target(int(turn) * 13 - 20) if turn < 3 else super().quote(view)


class Listener(Restless):
    """Quotes by what it has heard."""

    def __init__(self, config: StrategyConfig, context: Context) -> None:
        super().__init__(config, context)
        self.heard: list[AnyEvent] = []

    def on_event(self, event: AnyEvent) -> None:
        self.heard.append(event)

    def quote(self, view: MarketView) -> Quotes | Target:
        self.levels = 1 + len(self.heard) % 3
        return super().quote(view)


KINDS: list[type[Strategy]] = [Restless, Deep, Taker, Listener]


class Memory(Recorder):
    def __init__(self) -> None:
        self.entries: list[Any] = []

    def note(self, entry: Any) -> None:
        self.entries.append(entry)


def checks(wanted: dict[str, str], instrument: Instrument) -> RiskGate:
    context = Context(instrument)
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
    strategy_of: type[Strategy],
    sim: SimSettings,
    asked: dict[str, Any],
    risk: dict[str, str],
    tape: Tape,
) -> tuple[Session, Memory]:
    memory = Memory()
    context = Context(tape.instrument, sim)
    strategy = strategy_of(StrategyConfig.model_validate(asked), context)
    engine = Engine(tape.instrument, strategy, checks(risk, tape.instrument), tape.start_ns)
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
        "money": (portfolio.cash, portfolio.fees, portfolio.funding, portfolio.realized_pnl),
        "traded": (portfolio.volume, portfolio.turnover),
        "position": engine.position,
        "bids": engine.book.bids.levels,
        "asks": engine.book.asks.levels,
        "known": engine.book.known,
    }


def compare(
    tape: Tape,
    sim: SimSettings,
    asked: dict[str, Any],
    risk: dict[str, str],
    strategy: type[Strategy] = Restless,
) -> Session:
    reference, expected = session(strategy, sim, asked, risk, tape)
    replay_plain(reference, {MAIN: tape})
    compiled, found = session(strategy, sim, asked, risk, tape)
    assert why_not(compiled, {MAIN: tape}) == ""
    replay_compiled(compiled, tape)
    for number, (left, right) in enumerate(zip(expected.entries, found.entries, strict=False)):
        assert left == right, f"entry {number}"
    assert len(expected.entries) == len(found.entries)
    assert outcome(compiled) == outcome(reference)
    return reference


delays = st.sampled_from(
    [
        *("0s", "1ms", "10ms", "137ms", "450ms"),
        {"quantiles": ["1ms", "10ms", "300ms"]},
        {"quantiles": ["0s", "90ms"], "seed": 7},
    ]
)
queues = st.sampled_from(
    [
        *({"model": "power", "exponent": exponent} for exponent in (0.5, 1, 2, 3)),
        *({"model": model} for model in ("risk_averse", "log", "optimistic", "pessimistic")),
        {"model": "calibrated", "behind": [1, 0.7, 0.1]},
    ]
)
fees = st.sampled_from(
    [
        *({"maker": maker, "taker": "0.0005"} for maker in ("0.0002", "-0.00005", "0")),
        {
            "tiers": [
                {"volume": "0", "maker": "0.0002", "taker": "0.0005"},
                {"volume": "6000", "maker": "-0.00001", "taker": "0.00033"},
                {"volume": "9000", "maker": "-0.0001", "taker": "0"},
            ],
            "volume_30d": "6000",
        },
    ]
)
sims = st.builds(
    lambda entry, response, queue, partial, fees: SimSettings.model_validate(
        {
            "latency": {"entry": entry, "response": response},
            "queue": queue,
            "partial_fills": partial,
            "fees": fees,
        }
    ),
    delays,
    delays,
    queues,
    st.booleans(),
    fees,
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


wakes = st.fixed_dictionaries(
    {"every": st.sampled_from(["20ms", "100ms", "333ms", "2s"])},
    optional={"on": st.sets(st.sampled_from(["best", "trade", "fill"]), min_size=1)},
) | st.fixed_dictionaries({"on": st.sets(st.sampled_from(["best", "trade", "fill"]), min_size=1)})


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
]


@pytest.mark.parametrize(("strategy", "config"), FORMS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_compiled_decision_decides_like_the_same_strategy_in_plain_python(
    strategy: type[Strategy], config: dict[str, Any], seed: int
) -> None:
    tape = random_tape(seed, 3_000)
    sim = SimSettings()
    plain = type("Plain", (strategy,), {"decision": ""})

    def run(form: type[Strategy], *, compiled: bool) -> tuple[list[Any], dict[str, Any]]:
        memory, context = Memory(), Context(BTCUSDT, sim)
        built = build_strategy(form, every="50ms", **config)
        start_ns = tape.start_ns
        made = Session(
            Engine(BTCUSDT, built, RiskGate(), start_ns), PaperVenue(PaperConfig(), context), memory
        )
        if compiled:
            replay_compiled(made, tape)
        else:
            replay_plain(made, {MAIN: tape})
        return memory.entries, outcome(made)

    expected = run(plain, compiled=False)
    assert len(expected[0]) > 500
    assert run(plain, compiled=True) == expected
    assert run(strategy, compiled=True) == expected


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
