"""Builds the parts of a run from the configuration."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from mmkit.clock import Clock
from mmkit.engine import Engine, listens
from mmkit.errors import (
    ConfigError,
    Mistake,
    MmkitError,
    OffGrid,
    OtherQuestion,
    UnknownAdvisor,
    UnknownMarket,
    UnknownSignal,
)
from mmkit.events import MAIN
from mmkit.fusion import Fusion
from mmkit.instruments import Instrument
from mmkit.interfaces import (
    AccountConfig,
    ByMarket,
    Context,
    DataSource,
    ExecutionVenue,
    RiskCheck,
    Service,
    ServiceContext,
    SourceContext,
    Strategy,
)
from mmkit.plugins import build
from mmkit.recorder import Recorder
from mmkit.risk import RiskGate
from mmkit.run.session import AdviceFeed, Market, Session, SignalFeed
from mmkit.settings import FillReports
from mmkit.watch import Watch

if TYPE_CHECKING:
    from mmkit.config import Chosen, Config


_log = logging.getLogger("mmkit.services")


def section_of(market: str) -> str:
    """Return what stands before a market's keys in the configuration, such as ``markets.spot.``"""
    return "" if market == MAIN else f"markets.{market}."


@contextlib.contextmanager
def told_of(market: str) -> Iterator[None]:
    """Say of which market an error is that data raises; what is raised in the main one stays as it is."""
    try:
        yield
    except ConfigError as error:
        section = section_of(market)
        raise ConfigError(
            [replace(one, path=f"{section}{one.path}") for one in error.mistakes]
        ) from error
    except MmkitError as error:
        if market != MAIN:
            error.args = (f"market '{market}': {error}",)
        raise


def data_source(
    config: Config,
    clock: Clock,
    endpoints: Mapping[str, str] | None = None,
    market: str = MAIN,
) -> DataSource:
    """Return the configured data source of a market.

    Args:
        config: Names it.
        clock: The run's.
        endpoints: Addresses of running services.
        market: Which.
    """
    chosen = config.markets[market]
    context = SourceContext(
        spec=chosen.spec,
        clock=clock,
        userdir=config.userdir,
        wire_formats=config.plugins.wire_formats,
        endpoints=endpoints or {},
    )
    return cast(DataSource, chosen.data.build(context))


def service(config: Config, chosen: Chosen, clock: Clock) -> Service:
    """Return one of the configured services."""
    markets = {name: one.spec for name, one in config.others.items()}
    context = ServiceContext(config.spec, clock, config.userdir, markets)
    return cast(Service, chosen.build(context))


@contextlib.asynccontextmanager
async def services(config: Config, clock: Clock) -> AsyncIterator[dict[str, str]]:
    """Start the configured services in order, give their addresses; stop them in reverse order."""
    endpoints: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as stack:
        for chosen in config.services:
            started = service(config, chosen, clock)
            stack.push_async_callback(started.stop)
            endpoints[chosen.name] = await started.start()
            _log.info("service_started name=%s address=%s", chosen.name, endpoints[chosen.name])
        yield endpoints


@contextlib.asynccontextmanager
async def live_sources(config: Config, clock: Clock) -> AsyncIterator[dict[str, DataSource]]:
    """Start the configured services and build the data source of every market; close all in reverse order."""
    async with (
        services(config, clock) as endpoints,
        open_sources(config, clock, endpoints) as sources,
    ):
        yield sources


@contextlib.asynccontextmanager
async def open_sources(
    config: Config, clock: Clock, endpoints: Mapping[str, str]
) -> AsyncIterator[dict[str, DataSource]]:
    """Build the data source of every market, where services run already; close all in reverse order."""
    async with contextlib.AsyncExitStack() as stack:
        sources: dict[str, DataSource] = {}
        for market in config.markets:
            with told_of(market):
                sources[market] = data_source(config, clock, endpoints, market)
            stack.push_async_callback(sources[market].close)
        yield sources


async def instruments_of(sources: Mapping[str, DataSource]) -> dict[str, Instrument]:
    """Ask every market's data source what is traded there."""
    instruments: dict[str, Instrument] = {}
    for market, source in sources.items():
        with told_of(market):
            instruments[market] = await source.instrument()
    return instruments


def assemble(
    config: Config,
    instruments: Mapping[str, Instrument],
    recorder: Recorder,
    start_ns: int,
    fill_reports: FillReports | None = None,
    *,
    watched: bool = False,
    signals: SignalFeed | None = None,
    advice: AdviceFeed | None = None,
    accounts: Mapping[str, ExecutionVenue] | None = None,
) -> Session:
    """Return a session that begins at `start_ns`.

    Args:
        config: Names strategy, venues and risk checks.
        instruments: What is traded, by market.
        recorder: Is told of commands and events.
        start_ns: ns since the epoch.
        fill_reports: Overrides the configuration's; a dry run can only know what it has received.
        watched: Whether the recorder is told of the market watch's events though the strategy does not hear them.
        signals: Where the configuration's signals come from; none are told without.
        advice: Where that of the configuration's advisors comes from; none is told without.
        accounts: Where real orders go, by market. Without them a market whose orders would go to an account is
            simulated: backtests, dry runs and their replays send no order.

    Raises:
        ConfigError: if a venue is a real one and no account; if a size of the strategy is off the grid, or a
            market, a signal or an advisor that it needs is not there.
    """
    # One run has one rule of what a report may overtake.
    fill_reports = fill_reports or config.sim.fill_reports
    others = ByMarket({name: one for name, one in instruments.items() if name != MAIN})
    contexts = {
        name: Context(
            instruments[name],
            chosen.sim.model_copy(update={"fill_reports": fill_reports}),
            others if name == MAIN else ByMarket(),
            tuple(one.name for one in config.signals) if name == MAIN else (),
            {one.name: one.section.question for one in config.advisors} if name == MAIN else {},
            config.fusion if name == MAIN else None,
        )
        for name, chosen in config.markets.items()
    }
    strategy = _strategy(config.strategy, contexts[MAIN])
    if strategy.wake.on_signal and not config.signals:
        found = "signals were expected under 'signals', as the strategy is to be asked on them; found none"
        raise ConfigError([Mistake("", "strategy.on", found, "add one, or leave 'signal' out")])
    if strategy.wake.on_advice and not config.advisors:
        found = "advisors were expected under 'advisors', as the strategy is to be asked on advice; found none"
        raise ConfigError([Mistake("", "strategy.on", found, "add one, or leave 'advice' out")])
    markets: list[Market] = []
    for name, chosen in config.markets.items():
        context = contexts[name]
        checks = [(check.name, cast(RiskCheck, check.build(context))) for check in chosen.risk]
        watch: Watch | None = None
        if watched or listens(strategy):
            watch = Watch(context.instrument, chosen.watch, name)
        engine = Engine(
            context.instrument,
            strategy,
            RiskGate(checks),
            start_ns,
            market=name,
            watch=watch,
            fusion=Fusion(context.fusion) if context.fusion is not None else None,
        )
        if accounts is not None:
            markets.append(_quoted(Market(engine, accounts[name]), config))
            continue
        venue = _simulated(config, chosen.venue, context)
        if not venue.simulated:
            place = f"{section_of(name)}venue.plugin"
            found = f"a simulated venue was expected; '{chosen.venue.name}' sends real orders"
            raise ConfigError([Mistake("", place, found, "use 'paper'")])
        markets.append(_quoted(Market(engine, venue), config))
    (engine, venue), *rest = markets
    return Session(engine, venue, recorder, fill_reports, rest, signals, advice)


def _quoted(market: Market, config: Config) -> Market:
    """Have orders amended, where that is asked for and the venue can."""
    if config.quoting.amend:
        market.engine.quoter.amends = market.venue.amends
    return market


def _simulated(config: Config, chosen: Chosen, context: Context) -> ExecutionVenue:
    """Build the venue; in place of an account at a real one, `paper`."""
    if not issubclass(chosen.provider.config, AccountConfig):
        return cast(ExecutionVenue, chosen.build(context))
    paper = config.plugins.provider("execution venue", "paper")
    return cast(ExecutionVenue, build(paper, paper.config(), context))


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
    except (UnknownMarket, UnknownSignal, UnknownAdvisor, OtherQuestion) as error:
        keys = [key for key, value in chosen.config if value == error.name]
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
