"""mmkit, as the benchmark runs it: the only place that knows which engine that is."""

from __future__ import annotations

from collections.abc import Sequence

from mmkit.engine import Engine
from mmkit.events import MAIN
from mmkit.interfaces import Context, Strategy
from mmkit.recorder import Nothing
from mmkit.risk import RiskGate
from mmkit.run.compiled import replay_compiled, why_not
from mmkit.run.many import Failed, Prepare, run_many
from mmkit.run.replay import replay_plain
from mmkit.run.session import Session
from mmkit.settings import SimSettings
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.tape import Tape

from .mm_strategy import mid_quoter
from .outcome import Outcome, log

Parameters = tuple[float, float]
"""Half spread and skew of the quoter, in ticks."""


def run(tape: Tape, strategy: Strategy, sim: SimSettings) -> Outcome:
    """Run a strategy in plain Python; compiled around it where `mmkit backtest` would have it so."""
    session = _session(tape, strategy, sim)
    if why := why_not(session, {MAIN: tape}):
        log(f"the reference runs: {why}")
        replay_plain(session, {MAIN: tape})
    else:
        replay_compiled(session, tape)
    return _outcome(session)


def run_compiled(tape: Tape, parameters: Parameters, sim: SimSettings) -> Outcome:
    """Run the quoter as a compiled decision."""
    return run(tape, mid_quoter(*parameters, compiled=True), sim)


def sweep(tape: Tape, sets: Sequence[Parameters], sim: SimSettings) -> list[Outcome]:
    """Run the quoter with every set of parameters over one tape, using both cores."""

    def prepare(parameters: Parameters) -> Prepare:
        return lambda: _session(tape, mid_quoter(*parameters, compiled=True), sim)

    ended = run_many({MAIN: tape}, [prepare(parameters) for parameters in sets])
    found: dict[int, Outcome] = {}
    for done in ended:
        if isinstance(done, Failed):
            raise done.error
        found[done.number] = _outcome(done.session)
    return [found[number] for number in range(len(sets))]


def _session(tape: Tape, strategy: Strategy, sim: SimSettings) -> Session:
    engine = Engine(tape.instrument, strategy, RiskGate(), tape.start_ns)
    venue = PaperVenue(PaperConfig(), Context(tape.instrument, sim))
    return Session(engine, venue, Nothing())


def _outcome(session: Session) -> Outcome:
    engine = session.engine
    return Outcome(
        orders=engine.counts["orders"],
        fills=engine.counts["fills"],
        position=engine.instrument.quantity(engine.position),
        balance=engine.portfolio.cash,
        fees=engine.portfolio.fees,
        equity=engine.equity,
    )
