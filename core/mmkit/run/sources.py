"""The data sources that a command line names: those of a configuration, or one that reads given files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmkit.clock import SystemClock
from mmkit.config import Config, draft_config, load_config
from mmkit.config.mistakes import check
from mmkit.config.sections import InstrumentSection
from mmkit.config.yaml_source import Written
from mmkit.discovery import USERDIR
from mmkit.errors import ConfigError, Mistake
from mmkit.events import MAIN
from mmkit.instruments import Instrument, InstrumentSpec
from mmkit.interfaces import DataSource, SourceContext
from mmkit.plugins import Plugins, build
from mmkit.run.assembly import data_source

_OPTION = "--instrument"


class Named(NamedTuple):
    """A data source, whose market it is, what it is about, and by which name it was asked for."""

    market: str
    spec: InstrumentSpec
    source: DataSource
    source_name: str


def configured_sources(
    config: Sequence[Path], overrides: Sequence[str] = (), *, userdir: Path | None = None
) -> list[Named]:
    """Return the data source of every market of a configuration.

    Raises:
        ConfigError: with every mistake there is in the configuration.
    """
    return sources_of(load_config(config, overrides, userdir=userdir))


def sources_of(config: Config) -> list[Named]:
    """Return the data source of every market of a configuration that has been loaded."""
    return [_of_market(config, market) for market in config.markets]


def source_of_paths(
    paths: Sequence[str],
    config: Sequence[Path],
    overrides: Sequence[str] = (),
    *,
    userdir: Path | None = None,
    instrument: str | None = None,
    plugin: str = "capture",
) -> Named:
    """Return a data source that reads files.

    Args:
        paths: The files.
        config: As of `mmkit.config.load_config`; not looked at if `instrument` is given.
        overrides: Likewise.
        userdir: Likewise.
        instrument: ``VENUE:MARKET:SYMBOL``, and ``,tick=...,lot=...`` if need be; by default what the
            configuration says.
        plugin: The data source; what the configuration says of it besides stays.

    Raises:
        ConfigError: if the configuration, or `instrument`, cannot be used.
    """
    if instrument is None:
        draft = draft_config(config, overrides, userdir=userdir)
        return _of_market(draft.config({"data.plugin": plugin, "data.paths": list(paths)}), MAIN)
    mistakes: list[Mistake] = []
    section = check(
        InstrumentSection, Written.of(_instrument(instrument), _OPTION), ("instrument",), mistakes
    )
    home = userdir or Path(USERDIR)
    plugins = Plugins.load(home)
    provider = plugins.provider("data source", plugin)
    settings = check(
        provider.config, Written.of({"paths": list(paths)}, "PATHS"), ("data",), mistakes
    )
    if section is None or settings is None:
        raise ConfigError(mistakes)
    spec = section.spec()
    context = SourceContext(spec, SystemClock(), home, plugins.wire_formats)
    return Named(MAIN, spec, build(provider, settings, context), plugin)


def spec_of(text: str) -> InstrumentSpec:
    """Return what ``VENUE:MARKET:SYMBOL``, and ``,tick=...,lot=...``, say.

    Raises:
        ConfigError: if that is not what it is.
    """
    mistakes: list[Mistake] = []
    section = check(
        InstrumentSection, Written.of(_instrument(text), _OPTION), ("instrument",), mistakes
    )
    if section is None:
        raise ConfigError(mistakes)
    return section.spec()


def instrument_of(text: str) -> Instrument:
    """Return the instrument of ``VENUE:MARKET:SYMBOL,tick=...,lot=...``.

    Raises:
        ConfigError: if it is none, or tick or lot is missing.
    """
    spec = spec_of(text)
    if spec.tick is None or spec.lot is None:
        message = f"tick and lot were expected, too; found '{text}'"
        raise ConfigError([Mistake(_OPTION, "", message, f"such as {text},tick=0.1,lot=0.001")])
    return spec.on_grid(spec.tick, spec.lot)


def _of_market(config: Config, market: str) -> Named:
    source = data_source(config, SystemClock(), market=market)
    chosen = config.markets[market]
    return Named(market, chosen.spec, source, chosen.data.name)


def _instrument(text: str) -> dict[str, Any]:
    """Return what was written as ``VENUE:MARKET:SYMBOL,tick=...``, as YAML would hold it."""
    whole, *more = text.split(",")
    parts = whole.split(":", 2)
    if len(parts) < 3:
        message = f"VENUE:MARKET:SYMBOL was expected; found '{text}'"
        raise ConfigError(
            [Mistake(_OPTION, "", message, "such as binance:usdm:BTC/USDT:USDT,tick=0.1,lot=0.001")]
        )
    found: dict[str, Any] = dict(zip(("venue", "market", "symbol"), parts, strict=True))
    for one in more:
        key, _, value = one.partition("=")
        found[key.strip()] = value.strip()
    return found
