"""The configuration of a run: read from YAML, checked as a whole, every part resolved to a plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmkit.config.check import Chosen, ChosenAdvisor, ChosenSignal, Parts, check_all
from mmkit.config.files import environment_of, read_files, with_changes, with_overrides
from mmkit.config.learning import LearningConfig
from mmkit.config.sections import Gaps, Level, Mode, NotifySection, QuotingSection
from mmkit.config.yaml_source import Written
from mmkit.discovery import USERDIR, userdir_of
from mmkit.errors import Mistake
from mmkit.events import MAIN
from mmkit.fusion import FusionSettings
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import Provider
from mmkit.plugins import Plugins
from mmkit.settings import SimSettings
from mmkit.watch import WatchSettings

__all__ = [
    "Chosen",
    "ChosenAdvisor",
    "ChosenSignal",
    "Config",
    "Draft",
    "LearningConfig",
    "MarketConfig",
    "draft_config",
    "draft_plain",
    "load_config",
    "load_resolved",
    "loaded_plugins",
]


@dataclass(frozen=True)
class MarketConfig:
    """One market beside the main one.

    Attributes:
        spec: What is traded, as far as the user said.
        data: Where market data comes from.
        gaps: What to do with recorded data in which the book is unknown for a while.
        venue: Where orders go.
        sim: How a simulated venue behaves.
        risk: What forbids orders.
        watch: What is watched.
    """

    spec: InstrumentSpec
    data: Chosen
    gaps: Gaps
    venue: Chosen
    sim: SimSettings
    risk: tuple[Chosen, ...]
    watch: WatchSettings


@dataclass(frozen=True)
class Config:
    """A configuration without mistakes.

    Attributes:
        mode: ``dry_run`` or ``live``.
        spec: What is traded, as far as the user said.
        services: Run beside the run.
        data: Where market data comes from.
        gaps: What to do with recorded data in which the book is unknown for a while.
        others: The markets beside the main one, by name.
        signals: What models say of the markets, in the order of the file.
        advisors: What language models are asked about the main market, in the order of the file.
        fusion: How signal and advice become one; `None` if nothing is said of it.
        strategy: Decides what to quote.
        venue: Where orders go.
        sim: How a simulated venue behaves.
        risk: What forbids orders, in the order of the file.
        quoting: How what the strategy wants is brought about, in every market.
        watch: What is watched.
        notify: Where the watch's events, and what becomes of a run, are sent.
        learning: What trains a signal model, as far as there are such sections.
        log_level: The least important that is logged.
        keeps_from_live: What keeps it from trading with real orders; nothing if ``mode`` is not ``live``.
        files: What was read, in order.
        userdir: The user's folder.
        plugins: All that were loaded.
        resolved: Merged plain data with defaults filled in and secrets hidden, fit for YAML;
            `load_resolved` takes it back.
    """

    mode: Mode
    spec: InstrumentSpec
    services: tuple[Chosen, ...]
    data: Chosen
    gaps: Gaps
    others: dict[str, MarketConfig]
    signals: tuple[ChosenSignal, ...]
    advisors: tuple[ChosenAdvisor, ...]
    fusion: FusionSettings | None
    strategy: Chosen
    venue: Chosen
    sim: SimSettings
    risk: tuple[Chosen, ...]
    quoting: QuotingSection
    watch: WatchSettings
    notify: NotifySection
    learning: LearningConfig
    log_level: Level
    keeps_from_live: tuple[Mistake, ...]
    files: tuple[Path, ...]
    userdir: Path
    plugins: Plugins
    resolved: dict[str, Any] = field(repr=False)

    @property
    def markets(self) -> dict[str, MarketConfig]:
        """Every market by name, the main one first."""
        main = MarketConfig(
            self.spec, self.data, self.gaps, self.venue, self.sim, self.risk, self.watch
        )
        return {MAIN: main, **self.others}


def load_config(
    paths: Sequence[Path],
    overrides: Sequence[str] = (),
    *,
    userdir: Path | None = None,
    strategy: str | None = None,
) -> Config:
    """Read, merge, check and resolve; the plugins are loaded on the way.

    Args:
        paths: YAML files, later ones on top; none means ``config.yml`` of the user's folder.
        overrides: ``a.b=c`` of ``--set``.
        userdir: The user's folder; by default that of the first file if it looks like one, else
            ``user_data``.
        strategy: Takes the place of ``strategy.plugin``; the section's other keys stay only if it is
            the same.

    Raises:
        ConfigError: with every mistake there is.
    """
    return draft_config(paths, overrides, userdir=userdir, strategy=strategy).config()


def draft_config(
    paths: Sequence[Path],
    overrides: Sequence[str] = (),
    *,
    userdir: Path | None = None,
    strategy: str | None = None,
) -> Draft:
    """Read, merge, and load the plugins, as `load_config` does; nothing is checked yet.

    Raises:
        ConfigError: if a file cannot be read at all.
    """
    paths = list(paths) or [(userdir or Path(USERDIR)) / "config.yml"]
    userdir = userdir or userdir_of(paths[0])
    mistakes: list[Mistake] = []
    root = read_config(paths, overrides, mistakes, strategy=strategy)
    return Draft(root, Plugins.load(userdir, disabled_in(root)), userdir, tuple(paths), mistakes)


def draft_plain(plain: Mapping[str, Any], *, userdir: Path | None = None) -> Draft:
    """Return a configuration given as plain data, as YAML would hold it; nothing is checked yet."""
    root = Written.of(plain, "configuration")
    userdir = userdir or Path(USERDIR)
    return Draft(root, Plugins.load(userdir, disabled_in(root)), userdir, (), [])


@dataclass(frozen=True)
class Draft:
    """A configuration that has been read and not been checked, of which variations can be made.

    Attributes:
        root: Files and overrides, merged.
        plugins: Where the parts come from.
        userdir: The user's folder.
        files: What was read.
        mistakes: Found while reading.
    """

    root: Written
    plugins: Plugins
    userdir: Path
    files: tuple[Path, ...]
    mistakes: list[Mistake]

    def config(
        self,
        changes: Mapping[str, Any] | None = None,
        strategy: Provider[Any, Any] | None = None,
    ) -> Config:
        """Return the configuration with some values changed.

        Args:
            changes: Plain values by path, such as ``{"strategy.half_spread": "8bps"}``.
            strategy: One that no plugin offers; its name takes the place of ``strategy.plugin``.

        Raises:
            ConfigError: with every mistake there is.
        """
        mistakes = list(self.mistakes)
        changes = dict(changes or {})
        if strategy is not None:
            changes["strategy.plugin"] = strategy.name
        root = with_changes(self.root, changes, mistakes)
        where = str(self.files[0]) if self.files else "configuration"
        parts = check_all(root, self.plugins, mistakes, where=where, strategy=strategy)
        return _config(parts, self.plugins, self.userdir, self.files)


def load_resolved(resolved: Mapping[str, Any], userdir: Path) -> Config:
    """Return the configuration of a recorded run, from its `Config.resolved`.

    Services are left out and the data source cannot be built: a recorded run has its data.

    Raises:
        ConfigError: if a plugin it needs is gone, or needs a secret, which is not recorded.
    """
    where = "recorded configuration"
    root = Written.of(resolved, where)
    plugins = Plugins.load(userdir, disabled_in(root))
    return _config(check_all(root, plugins, where=where, recorded=True), plugins, userdir, ())


def loaded_plugins(
    paths: Sequence[Path], overrides: Sequence[str] = (), *, userdir: Path | None = None
) -> Plugins:
    """Return the plugins as a run would load them, whatever else is wrong with the configuration.

    A configuration that is not there disables no plugin; `paths` that were named must be there.

    Raises:
        ConfigError: if a file cannot be read.
    """
    userdir = userdir or (userdir_of(paths[0]) if paths else Path(USERDIR))
    files = list(paths) or [path for path in [userdir / "config.yml"] if path.exists()]
    return Plugins.load(userdir, disabled_in(read_config(files, overrides, [])))


def read_config(
    paths: Sequence[Path],
    overrides: Sequence[str],
    mistakes: list[Mistake],
    *,
    strategy: str | None = None,
) -> Written:
    """Return files, ``-s`` and ``--set`` laid over each other, unchecked.

    Raises:
        ConfigError: if a file cannot be read at all.
    """
    folders = [*dict.fromkeys(path.parent.resolve() for path in paths), Path.cwd()]
    environment = environment_of(folders)
    root = read_files(paths, environment, mistakes)
    if strategy is not None:
        root = root.merged(Written.of({"strategy": {"plugin": strategy}}, "-s"))
    return with_overrides(root, overrides, environment, mistakes)


def disabled_in(root: Written) -> list[str]:
    """Return ``plugins.disabled`` as far as it can be understood; it is checked with the rest."""
    section = root.get("plugins")
    names = section.get("disabled") if section is not None else None
    listed = names.plain if names is not None and isinstance(names.value, list) else []
    return [name for name in listed if isinstance(name, str)]


def _config(parts: Parts, plugins: Plugins, userdir: Path, files: tuple[Path, ...]) -> Config:
    return Config(
        mode=parts.mode,
        spec=parts.instrument.spec(),
        services=parts.services,
        data=parts.data,
        gaps=parts.gaps,
        others={
            name: MarketConfig(
                one.instrument.spec(), one.data, one.gaps, one.venue, one.sim, one.risk, one.watch
            )
            for name, one in parts.markets.items()
        },
        signals=parts.signals,
        advisors=parts.advisors,
        fusion=parts.fusion,
        strategy=parts.strategy,
        venue=parts.venue,
        sim=parts.sim,
        risk=parts.risk,
        quoting=parts.quoting,
        watch=parts.watch,
        notify=parts.notify,
        learning=parts.learning,
        log_level=parts.logging.level,
        keeps_from_live=parts.keeps_from_live,
        files=files,
        userdir=userdir,
        plugins=plugins,
        resolved=parts.resolved,
    )
