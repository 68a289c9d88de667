"""Both engines on one tape: strategies that try everything, and the comparison entry by entry."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mmkit.engine import Engine
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
