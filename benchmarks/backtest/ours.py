"""mmkit, as the benchmark runs it: the only place that knows which engine that is."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from mmkit.interfaces import Strategy
from mmkit.settings import SimSettings
from mmkit.tape import Tape
from mmkit.testing import run_strategy

from .outcome import NotYetError, Outcome

Parameters = tuple[float, float]
"""Half spread and skew of the quoter, in ticks."""


def run(tape: Tape, strategy: Strategy, sim: SimSettings) -> Outcome:
    """Run a strategy in plain Python."""
    engine, _ = run_strategy(strategy, tape, sim)
    return Outcome(
        orders=engine.counts["orders"],
        fills=engine.counts["fills"],
        position=engine.instrument.quantity(engine.position),
        balance=Decimal(engine.portfolio.cash),
        fees=Decimal(engine.portfolio.fees),
        equity=Decimal(engine.equity),
    )


def run_compiled(tape: Tape, parameters: Parameters, sim: SimSettings) -> Outcome:
    """Run the quoter as a compiled decision.

    Raises:
        NotYetError: as there is no compiled path.
    """
    raise NotYetError("mmkit has no compiled decisions yet")


def sweep(tape: Tape, sets: Sequence[Parameters], sim: SimSettings) -> list[Outcome]:
    """Run the quoter with every set of parameters over one tape, using both cores.

    Raises:
        NotYetError: as there is no such call.
    """
    raise NotYetError("mmkit has no call yet that runs many parameter sets over one tape")
