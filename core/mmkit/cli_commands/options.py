"""The options that commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from mmkit.config import Config, Draft

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Asked:
    """What was asked for on the command line as a whole.

    Attributes:
        arguments: As they were given.
        verbose: How many ``-v``.
    """

    arguments: tuple[str, ...] = ()
    verbose: int = 0


def config_options(command: F) -> F:
    """Add ``-c``, ``--set``, ``--userdir`` and ``-s``: what `mmkit.config.load_config` takes."""
    strategy = click.option("-s", "--strategy", metavar="NAME", help="Use this strategy.")
    return file_options(strategy(command))


def file_options(command: F) -> F:
    """Add ``-c``, ``--set`` and ``--userdir``."""
    config = _config_option(
        "Configuration; repeated, later files win. Default: user_data/config.yml."
    )
    overrides = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="A.B=C",
        help="Override a value, such as strategy.every=200ms. May be repeated.",
    )
    return config(overrides(userdir_option(command)))


def userdir_option(command: F) -> F:
    """Add ``--userdir``."""
    return click.option(
        "--userdir",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Folder with strategies, plugins, data and results. Default: user_data.",
    )(command)


def home_options(command: F) -> F:
    """Add ``-c`` and ``--userdir``, for what only has to find the user's folder: `home_of` says which it is."""
    config = _config_option(
        "Configuration that the run was started with: it says which folder is the user's."
    )
    return config(userdir_option(command))


def _config_option(text: str) -> Callable[[F], F]:
    return click.option(
        "-c",
        "--config",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help=text,
    )


def home_of(config: Sequence[Path], userdir: Path | None) -> Path:
    """Return the user's folder, as a run that is given the same has it.

    Raises:
        UsageError: if there is no such configuration.
    """
    from mmkit.discovery import USERDIR, userdir_of
    from mmkit.errors import UsageError

    for one in config:
        if not one.is_file():
            raise UsageError(
                f"{one}: a configuration was expected, and there is no such file; give the one that the run was started "
                "with, or its folder with '--userdir'"
            )
    return userdir or (userdir_of(config[0]) if config else Path(USERDIR))


def market_option(command: F) -> F:
    """Add ``--market``, for what looks at one market of several."""
    return click.option(
        "--market",
        metavar="NAME",
        # `mmkit.events.MAIN`; importing it would make `mmkit --help` slow.
        default="main",
        show_default=True,
        help="The market to look at, by its name under 'markets'.",
    )(command)


def json_option(command: F) -> F:
    """Add ``--json``, for other programs to read."""
    return click.option("--json", is_flag=True, help="Print one JSON object.")(command)


def verbose_option(command: F) -> F:
    """Add ``-v``; it sets up the log, so every command that logs has it."""
    return click.option(
        "-v",
        "--verbose",
        count=True,
        expose_value=False,
        callback=_verbose,
        help="Show more of the log, and tracebacks; -vv that of libraries too.",
    )(command)


def load_with_log(
    paths: Sequence[Path],
    overrides: Sequence[str] = (),
    *,
    userdir: Path | None = None,
    strategy: str | None = None,
) -> Config:
    """Do what `mmkit.config.load_config` does, then set the log to what the configuration says."""
    from mmkit.config import load_config
    from mmkit.log import set_up_log

    config = load_config(paths, overrides, userdir=userdir, strategy=strategy)
    asked = click.get_current_context().find_root().ensure_object(Asked)
    set_up_log(asked.verbose, config.log_level)
    return config


def load_without_strategy(
    paths: Sequence[Path],
    overrides: Sequence[str] = (),
    *,
    userdir: Path | None = None,
) -> Config:
    """Do what `load_with_log` does for a command that asks no strategy, and so needs none."""
    from mmkit.config import draft_config
    from mmkit.log import set_up_log

    config = without_strategy(draft_config(paths, overrides, userdir=userdir))
    asked = click.get_current_context().find_root().ensure_object(Asked)
    set_up_log(asked.verbose, config.log_level)
    return config


def without_strategy(draft: Draft) -> Config:
    """Return the configuration, with a strategy that cannot be built where there is none.

    Raises:
        ConfigError: with every mistake there is.
    """
    from mmkit.interfaces import Provider, StrategyConfig

    none = Provider("none", StrategyConfig, _no_strategy)
    return draft.config(strategy=none if draft.root.get("strategy") is None else None)


def _no_strategy(config: object, context: object) -> object:
    raise AssertionError("this command asks no strategy")


def asked_of(arguments: Sequence[str], *names: str) -> list[str]:
    """Return the values of an option in arguments that nobody has parsed yet."""
    values = []
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if equals and name in names:
            values.append(value)
        elif argument in names and index + 1 < len(arguments):
            values.append(arguments[index + 1])
    return values


def _verbose(ctx: click.Context, param: click.Parameter, count: int) -> None:
    from mmkit.log import set_up_log

    asked = ctx.find_root().ensure_object(Asked)
    asked.verbose = max(asked.verbose, count)
    set_up_log(asked.verbose)
