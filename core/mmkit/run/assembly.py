"""Builds the parts of a run from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from mmkit.clock import Clock
from mmkit.engine import Engine
from mmkit.errors import ConfigError, Mistake, OffGrid
from mmkit.instruments import Instrument
from mmkit.interfaces import (
    Context,
    DataSource,
    ExecutionVenue,
    RiskCheck,
    Service,
    ServiceContext,
    SourceContext,
    Strategy,
)
from mmkit.recorder import Recorder
from mmkit.risk import RiskGate
from mmkit.run.session import Session
from mmkit.settings import FillReports, SimSettings

if TYPE_CHECKING:
    from mmkit.config import Chosen, Config


def data_source(
    config: Config, clock: Clock, endpoints: Mapping[str, str] | None = None
) -> DataSource:
    """Return the configured data source; `endpoints` are the addresses of running services."""
    context = SourceContext(
        spec=config.spec,
        clock=clock,
        userdir=config.userdir,
        wire_formats=config.plugins.wire_formats,
        endpoints=endpoints or {},
    )
    return cast(DataSource, config.data.build(context))


def service(config: Config, chosen: Chosen, clock: Clock) -> Service:
    """Return one of the configured services."""
    context = ServiceContext(spec=config.spec, clock=clock, userdir=config.userdir)
    return cast(Service, chosen.build(context))


def assemble(
    config: Config,
    instrument: Instrument,
    recorder: Recorder,
    start_ns: int,
    fill_reports: FillReports | None = None,
) -> Session:
    """Return a session that begins at `start_ns`.

    Args:
        config: Names strategy, venue and risk checks.
        instrument: What is traded.
        recorder: Is told of every command and event.
        start_ns: ns since the epoch.
        fill_reports: Overrides the configuration's; a dry run can only know what it has received.

    Raises:
        ConfigError: if the venue is a real one: backtests, dry runs and their replays send no order; or
            if a size of the strategy is off the grid.
    """
    sim: SimSettings = config.sim
    if fill_reports is not None:
        sim = sim.model_copy(update={"fill_reports": fill_reports})
    context = Context(instrument, sim)
    checks = [(chosen.name, cast(RiskCheck, chosen.build(context))) for chosen in config.risk]
    strategy = _strategy(config.strategy, context)
    engine = Engine(instrument, strategy, RiskGate(checks), start_ns)
    venue = cast(ExecutionVenue, config.venue.build(context))
    if not venue.simulated:
        found = f"a simulated venue was expected; '{config.venue.name}' sends real orders"
        raise ConfigError([Mistake("", "venue.plugin", found, "use 'paper'")])
    return Session(engine, venue, recorder, sim.fill_reports)


def _strategy(chosen: Chosen, context: Context) -> Strategy:
    """Build the strategy; only now is it known which sizes the instrument has."""
    try:
        return cast(Strategy, chosen.build(context))
    except OffGrid as error:
        keys = [
            key for key, value in chosen.config if _refused(context.instrument, value, str(error))
        ]
        path = f"strategy.{keys[0]}" if keys else "strategy"
        raise ConfigError([Mistake("", path, str(error))]) from error


def _refused(instrument: Instrument, value: object, words: str) -> bool:
    """Whether it is `value` that was refused with these words."""
    for convert in (instrument.lots, instrument.ticks):
        try:
            if isinstance(value, Decimal):
                convert(value)
        except OffGrid as error:
            if str(error) == words:
                return True
    return False
