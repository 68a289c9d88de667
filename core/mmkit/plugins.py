"""The plugins of one run: what is loaded, what it offers, what is wrong with it.

A plugin that raises, when it is imported or in any hook, takes itself out; the others live on.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import pluggy

from mmkit import hookspecs
from mmkit.discovery import GROUP, Found, Offer, PluginInfo, files, installed, reason_of
from mmkit.errors import MmkitError, PluginError

if TYPE_CHECKING:
    import click

    from mmkit.instruments import Instrument
    from mmkit.interfaces import Provider, RunInfo, WireFormat
    from mmkit.report import Report

logger = logging.getLogger(__name__)

Kind: TypeAlias = Literal[
    "data source",
    "wire format",
    "execution venue",
    "account",
    "strategy",
    "risk check",
    "service",
    "signal model",
    "signal trainer",
    "advisor",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
_HOOKS: dict[Kind, str] = {
    "data source": "register_data_sources",
    "wire format": "register_wire_formats",
    "execution venue": "register_execution_venues",
    "account": "register_accounts",
    "strategy": "register_strategies",
    "risk check": "register_risk_checks",
    "service": "register_services",
    "signal model": "register_signal_models",
    "signal trainer": "register_signal_trainers",
    "advisor": "register_advisors",
}
OWN_KEYS: dict[Kind, tuple[str, ...]] = {
    "data source": ("plugin", "gaps"),
    "execution venue": ("plugin",),
    "strategy": ("plugin",),
    "service": ("plugin",),
    "signal model": ("plugin", "model", "as", "market", "every", "expires", "latency"),
    "signal trainer": (
        "plugin",
        "out",
        "window",
        "stride",
        "folds",
        "test",
        "valid",
        "rolling",
        "seed",
    ),
    "advisor": (
        "plugin",
        "question",
        "as",
        "every",
        "messages",
        "on",
        "expires",
        "language",
        "journal",
    ),
}
"""Keys that mean something to mmkit where a plugin's own are written beside them; no plugin may take one."""
_RUN_HOOKS = ("run_started", "run_finished")


@dataclass(eq=False)
class _Plugin:
    found: Found
    module: object = None
    error: str | None = None
    traceback: str = ""
    disabled: bool = False
    providers: dict[Kind, list[Provider[Any, Any]]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.found.name

    @property
    def works(self) -> bool:
        return self.module is not None and self.error is None

    def fail(self, error: BaseException) -> None:
        self.error = reason_of(error)
        self.traceback = "".join(traceback.format_exception(error))


class Plugins:
    """All plugins that were found. Made by `load`."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._plugins: list[_Plugin] = []

    @classmethod
    def load(
        cls,
        userdir: Path | None,
        disabled: Sequence[str] = (),
        user_files: bool = True,
        *,
        mentioning: str = "",
    ) -> Plugins:
        """Import the installed plugins, then the files of the user's folder; never raises for one of them.

        Args:
            userdir: Holds ``plugins`` and ``strategies``; `None` for no folder.
            disabled: Names of plugins not to import.
            user_files: Whether to load the files of `userdir`.
            mentioning: Leave out the plugins whose source does not hold this word. The command line
                looks for ``register_commands`` so that ``mmkit --help`` imports next to nothing.
        """
        self = cls()
        for found in installed():
            self._add(found, disabled, mentioning)
        if userdir is not None and user_files:
            for found in files(userdir):
                self._add(found, disabled, mentioning)
        return self

    @property
    def plugin_names(self) -> list[str]:
        """Names of all plugins found, broken and disabled ones included."""
        return [plugin.name for plugin in self._plugins]

    @property
    def broken(self) -> list[str]:
        """Names of the plugins found broken so far."""
        return [plugin.name for plugin in self._plugins if plugin.error is not None]

    @property
    def infos(self) -> list[PluginInfo]:
        """Everything there is to say about each plugin. Asks each for all it offers."""
        offers = {id(plugin): self._offers_of(plugin) for plugin in self._plugins}
        return [
            PluginInfo(
                name=plugin.name,
                version=plugin.found.version,
                origin=plugin.found.origin,
                offers=() if plugin.error else tuple(offers[id(plugin)]),
                error=plugin.error,
                traceback=plugin.traceback,
                disabled=plugin.disabled,
            )
            for plugin in self._plugins
        ]

    def provider(self, kind: Kind, name: str) -> Provider[Any, Any]:
        """Return what is asked for by that name.

        Raises:
            PluginError: if nothing or more than one thing has the name, or a module it needs is missing.
        """
        offered = [
            (plugin, provider)
            for plugin in self._plugins
            for provider in self._providers(plugin, kind)
            if provider.name == name
        ]
        if not offered:
            raise PluginError(self._unknown(kind, name))
        if len(offered) > 1:
            raise PluginError(_duplicate(kind, name, [plugin.name for plugin, _ in offered]))
        _, provider = offered[0]
        if why_not := _missing(provider):
            raise PluginError(f"the {kind} '{name}' {why_not}")
        return provider

    def providers(self, kind: Kind) -> list[Provider[Any, Any]]:
        """Return everything of one kind that can be used, in order of names."""
        usable = []
        for name in self.names(kind):
            with suppress(PluginError):
                usable.append(self.provider(kind, name))
        return usable

    def names(self, kind: Kind) -> list[str]:
        """Return the names of one kind, usable or not."""
        return sorted({p.name for plugin in self._plugins for p in self._providers(plugin, kind)})

    def wire_formats(self, instrument: Instrument, streams: Sequence[str]) -> WireFormat:
        """Return a new decoder for the instrument's venue (`mmkit.interfaces.WireFormats`).

        Raises:
            PluginError: if no plugin offers one.
        """
        from mmkit.interfaces import WireFormatContext

        provider = self.provider("wire format", instrument.venue)
        context = WireFormatContext(instrument, tuple(streams))
        built: WireFormat = build(provider, provider.config(), context)
        return built

    def call_commands(self, cli: click.Group, reserved: Iterable[str] = ()) -> None:
        """Let each plugin add its commands to `cli`; none may take a name of `reserved` or another's."""
        import click

        owners: dict[str, str] = dict.fromkeys(reserved, "")
        for plugin in self._with_hook("register_commands"):
            own = click.Group(cli.name)
            try:
                self._call(plugin, "register_commands", cli=own)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code
                plugin.fail(error)
                continue
            taken = next((name for name in own.commands if name in owners), None)
            if taken is not None:
                whose = (
                    f"plugin '{owners[taken]}' adds it too"
                    if owners[taken]
                    else "it is mmkit's own"
                )
                plugin.fail(PluginError(f"command '{taken}' is taken: {whose}; rename it"))
                continue
            for name, command in own.commands.items():
                owners[name] = plugin.name
                cli.add_command(command, name)

    def run_started(self, run: RunInfo) -> None:
        """Tell every plugin that a run is about to begin; one that raises is a warning in the log."""
        self._tell("run_started", run=run)

    def run_finished(self, run: RunInfo, report: Report) -> None:
        """Tell every plugin that a run has ended; one that raises is a warning in the log."""
        self._tell("run_finished", run=run, report=report)

    def _add(self, found: Found, disabled: Sequence[str], mentioning: str) -> None:
        if mentioning and not found.mentions(mentioning):
            return
        plugin = _Plugin(found, disabled=found.name in disabled)
        namesake = next((other for other in self._plugins if other.name == found.name), None)
        self._plugins.append(plugin)
        if plugin.disabled:
            return
        if namesake is not None:
            origins = f"{namesake.found.origin} and {found.origin}"
            plugin.fail(
                PluginError(f"two plugins are named '{found.name}': {origins}; rename one of them")
            )
            return
        try:
            module = found.load()
            self._register(found.name, module)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code
            plugin.fail(error)
        else:
            plugin.module = module

    def _register(self, name: str, module: object) -> None:
        try:
            self._manager.register(module, name)
        except BaseException:
            with suppress(Exception):  # half registered
                self._manager.unregister(name=name)
            raise
        for caller in self._manager.get_hookcallers(module) or ():
            if not caller.has_spec():
                hooks = [name for name in vars(hookspecs) if name.startswith(("register_", "run_"))]
                near = get_close_matches(caller.name, hooks, 1)
                hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(hooks)}"
                raise PluginError(f"'{caller.name}' is no hook of mmkit; {hint}")

    def _with_hook(self, hook: str) -> list[_Plugin]:
        return [
            plugin
            for plugin in self._plugins
            if plugin.works
            and any(
                caller.name == hook for caller in self._manager.get_hookcallers(plugin.module) or ()
            )
        ]

    def _call(self, plugin: _Plugin, hook: str, **arguments: object) -> list[Any]:
        others = [
            other.module
            for other in self._plugins
            if other is not plugin and other.module is not None
        ]
        caller = self._manager.subset_hook_caller(hook, remove_plugins=others)
        results: list[Any] = caller(**arguments)
        return results

    def _tell(self, hook: str, **arguments: object) -> None:
        for plugin in self._with_hook(hook):
            try:
                self._call(plugin, hook, **arguments)
            except Exception as error:
                logger.warning("plugin=%s hook=%s error=%s", plugin.name, hook, reason_of(error))
                logger.debug("plugin=%s hook=%s", plugin.name, hook, exc_info=error)

    def _providers(self, plugin: _Plugin, kind: Kind) -> list[Provider[Any, Any]]:
        """Return what a plugin offers of one kind; asked once."""
        if not plugin.works:
            return []
        if kind not in plugin.providers:
            try:
                plugin.providers[kind] = self._ask(plugin, kind)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code
                plugin.fail(error)
                return []
        return plugin.providers[kind]

    def _ask(self, plugin: _Plugin, kind: Kind) -> list[Provider[Any, Any]]:
        if plugin not in self._with_hook(_HOOKS[kind]):
            return []
        from mmkit.interfaces import Provider

        providers: list[Provider[Any, Any]] = []
        for result in self._call(plugin, _HOOKS[kind]):
            listed = list(result) if isinstance(result, Iterable) else [result]
            for provider in listed:
                if not isinstance(provider, Provider):
                    raise PluginError(
                        f"{_HOOKS[kind]} must return providers; found {type(provider).__name__}"
                    )
                _check_keys(kind, provider)
            providers += listed
        return providers

    def _offers_of(self, plugin: _Plugin) -> list[Offer]:
        offers = [
            Offer(kind, provider.name, provider.summary, self._why_not(kind, provider.name))
            for kind in KINDS
            for provider in self._providers(plugin, kind)
        ]
        offers += [Offer("hook", hook) for hook in _RUN_HOOKS if plugin in self._with_hook(hook)]
        if plugin in self._with_hook("register_commands"):
            import click

            own = click.Group()
            try:
                self._call(plugin, "register_commands", cli=own)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code
                plugin.fail(error)
            offers += [
                Offer("command", name, command.get_short_help_str(80))
                for name, command in own.commands.items()
            ]
        return offers

    def _why_not(self, kind: Kind, name: str) -> str:
        try:
            self.provider(kind, name)
        except PluginError as error:
            return str(error)
        return ""

    def _unknown(self, kind: Kind, name: str) -> str:
        names, broken = self.names(kind), self.broken
        if kind == "execution venue":
            # The same key names either: orders go to a simulation, or to an account.
            names = sorted({*names, *self.names("account")})
        for plugin in self._plugins:
            if plugin.name == name and (plugin.error or plugin.disabled):
                why = f"failed to load: {plugin.error}" if plugin.error else "is disabled"
                return f"no {kind} named '{name}': the plugin of that name {why}"
        near = get_close_matches(name, names, 1)
        parts = [f"no {kind} named '{name}'"]
        if near:
            parts.append(f"did you mean '{near[0]}'?")
        parts.append(f"available: {', '.join(names) or 'none'}")
        if broken:
            parts.append(f"plugins that failed to load: {', '.join(broken)} (see 'mmkit plugins')")
        return "; ".join(parts).replace("?; ", "? ")


def build(provider: Provider[Any, Any], config: Any, context: Any) -> Any:
    """Return what a provider builds.

    Raises:
        PluginError: if the plugin raises something that is not mmkit's.
    """
    try:
        return provider.build(config, context)
    except MmkitError:
        raise
    except Exception as error:
        raise PluginError(f"'{provider.name}' could not be built: {reason_of(error)}") from error


def _duplicate(kind: Kind, name: str, owners: Sequence[str]) -> str:
    article = "an" if kind[0] in "aeiou" else "a"
    if len(set(owners)) == 1:
        return f"plugin '{owners[0]}' registers {article} {kind} named '{name}' twice; rename one"
    listed = " and ".join(f"'{owner}'" for owner in dict.fromkeys(owners))
    return (
        f"plugins {listed} both register {article} {kind} named '{name}'; "
        f"disable one of them with 'plugins.disabled: [{owners[-1]}]'"
    )


def _check_keys(kind: Kind, provider: Provider[Any, Any]) -> None:
    keys = {field.alias or name for name, field in provider.config.model_fields.items()}
    if taken := [f"'{key}'" for key in OWN_KEYS.get(kind, ()) if key in keys]:
        raise PluginError(
            f"the {kind} '{provider.name}' has {' and '.join(taken)} in its config, which mmkit reads itself beside "
            f"'plugin: {provider.name}'; rename {'it' if len(taken) == 1 else 'them'}"
        )


def _missing(provider: Provider[Any, Any]) -> str:
    """Return which module is missing and the command that installs it, or an empty string."""
    from importlib.util import find_spec

    for module in provider.requires:
        try:
            there = find_spec(module) is not None
        except (ImportError, ValueError):
            there = False
        if not there:
            package = provider.install or module
            return f"needs '{module}', which is not installed: pip install \"{package}\""
    return ""
