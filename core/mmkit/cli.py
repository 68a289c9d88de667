"""The command line. Each command's module is imported when it is called, so that ``--help`` is quick."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

import click

from mmkit import __version__
from mmkit.cli_commands.options import Asked, asked_of, verbose_option
from mmkit.errors import ConfigError, MmkitError, StrategyError

if TYPE_CHECKING:
    from mmkit.plugins import Plugins


class Core(NamedTuple):
    """A command of mmkit itself: where it is, and its line in ``mmkit --help``."""

    attribute: str
    summary: str
    section: str


_BEGIN, _RUN, _DATA, _PLUGINS = "Begin", "Run", "Data and models", "From plugins"
CORE = {
    "init": Core("init", "Create a folder with a configuration that works", _BEGIN),
    "new": Core("new", "Write a strategy or a plugin to start from", _BEGIN),
    "plugins": Core("plugins", "List plugins, what they offer and what is wrong with them", _BEGIN),
    "config": Core("config", "Check or show the configuration, or print its JSON Schema", _BEGIN),
    "doctor": Core("doctor", "Check that everything is in place for a run", _BEGIN),
    "trade": Core("trade", "Quote on a live feed, with simulated money or real orders", _RUN),
    "stop": Core("stop", "End a run from elsewhere: its orders are canceled", _RUN),
    "panic": Core("panic", "Cancel every order, also of a run that hangs or was killed", _RUN),
    "pause": Core("pause", "Have a run quote nothing until 'mmkit resume'", _RUN),
    "resume": Core("resume", "Have a paused run quote again", _RUN),
    "record": Core("record", "Keep what a live feed says, for backtests", _RUN),
    "backtest": Core("backtest", "Run a strategy over recorded order books", _RUN),
    "watch": Core("watch", "Show what stands out in the market, and send it on", _RUN),
    "parity": Core("parity", "Replay a recorded run as a backtest and compare", _RUN),
    "calibrate": Core("calibrate", "Measure a market for the parameters of a strategy", _RUN),
    "train": Core("train", "Train a signal model and say what it is worth", _DATA),
    "signals": Core("signals", "Judge saved signal models on other data", _DATA),
    "data": Core("data", "Check recorded market data, list it, import it, convert it", _DATA),
}


class Cli(click.Group):
    """The commands of `CORE`, and those that plugins add."""

    _plugins: Plugins | None = None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        self._load_plugins(ctx)
        return [*CORE, *sorted(self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, or ask the plugins for it."""
        core = CORE.get(cmd_name)
        if core is not None:
            module = import_module(f"mmkit.cli_commands.{cmd_name}")
            command: click.Command = getattr(module, core.attribute)
            return command
        self._load_plugins(ctx)
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown one is answered with the nearest there is."""
        name = args[0]
        if name.startswith("-") or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        from difflib import get_close_matches

        near = get_close_matches(name, self.list_commands(ctx), 1)
        hint = f"did you mean '{near[0]}'?" if near else "'mmkit --help' lists them"
        broken = self._plugins.broken if self._plugins is not None else []
        failed = f" Plugins that failed to load: {', '.join(broken)}." if broken else ""
        raise click.UsageError(f"no command named '{name}'; {hint}{failed}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing a command of the core."""
        sections: dict[str, list[tuple[str, str]]] = {_BEGIN: [], _RUN: [], _DATA: [], _PLUGINS: []}
        for name in self.list_commands(ctx):
            if name in CORE:
                sections[CORE[name].section].append((name, CORE[name].summary))
            elif not self.commands[name].hidden:
                sections[_PLUGINS].append((name, self.commands[name].get_short_help_str(80)))
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        broken = self._plugins.broken if self._plugins is not None else []
        if broken:
            formatter.write_paragraph()
            formatter.write_text(
                f"Plugins that failed to load: {', '.join(broken)} (see 'mmkit plugins')"
            )

    def _load_plugins(self, ctx: click.Context) -> None:
        if self._plugins is None:
            from mmkit.plugins import Plugins

            userdir, disabled = _userdir_and_disabled(
                ctx.find_root().ensure_object(Asked).arguments
            )
            # Only those that may add a command: importing them all takes longer than --help may.
            self._plugins = Plugins.load(userdir, disabled, mentioning="register_commands")
            self._plugins.call_commands(self, reserved=CORE)


def _cli() -> None:
    """Make markets, or trade off the order book, on crypto exchanges.

    'mmkit init' creates a folder to work in; 'mmkit trade' quotes with simulated money.
    """


def command_line() -> Cli:
    """Return the command line; each has asked no plugin yet."""
    group = Cli(
        "mmkit",
        callback=_cli,
        help=_cli.__doc__,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    version = click.version_option(__version__, prog_name="mmkit", message="%(prog)s %(version)s")
    return version(verbose_option(group))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = Asked(arguments=tuple(given))
    try:
        result = command_line().main(
            args=given,
            prog_name="mmkit",
            obj=asked,
            standalone_mode=False,
        )
        sys.stdout.flush()
    except click.ClickException as error:
        return _show_usage(error)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        return _closed_pipe()
    except Exception as error:  # noqa: BLE001 - the last to answer for anything
        return _explain(error, asked)
    return result if isinstance(result, int) else 0


def _show_usage(error: click.ClickException) -> int:
    """Print what is wrong with the command line; return the exit status."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None or type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return error.exit_code
    click.echo(context.get_usage(), err=True)
    click.echo(f"Try '{context.command_path} --help'.\n", err=True)
    click.echo(f"error: {error.format_message()}", err=True)
    return error.exit_code


def _explain(error: Exception, asked: Asked) -> int:
    """Print what went wrong; return the exit status."""
    known = _only(error)
    if not isinstance(known, MmkitError):
        _print(traceback.format_exception(error))
        click.echo("error: this is a bug in mmkit; please report it with the lines above", err=True)
        return 1
    if asked.verbose:
        _print(traceback.format_exception(known))
    elif isinstance(known, StrategyError) and known.__cause__ is not None:
        # The mistake is in the user's file: show the way through it, without mmkit's own frames.
        cause = known.__cause__
        _print(traceback.format_exception(type(cause), cause, _outside(cause.__traceback__)))
    if isinstance(known, ConfigError):
        for mistake in known.mistakes:
            click.echo(f"error: {mistake}", err=True)
        count = len(known.mistakes)
        click.echo(f"{count} mistake{'' if count == 1 else 's'} in the configuration", err=True)
    else:
        click.echo(f"error: {known}", err=True)
    return known.exit_code


def _only(error: Exception) -> BaseException:
    """Return the one error in a group of one, however deep."""
    found: BaseException = error
    while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
        found = found.exceptions[0]
    return found


def _outside(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the first frame that is not mmkit's."""
    from mmkit.discovery import OURS

    here = trace
    while here is not None and here.tb_frame.f_code.co_filename.startswith(OURS):
        here = here.tb_next
    return here or trace


def _print(lines: Sequence[str]) -> None:
    click.echo("".join(lines), err=True, nl=False)


def _closed_pipe() -> int:
    """Answer a reader that has gone, such as ``head``: quietly."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more
    return 1


def _userdir_and_disabled(arguments: Sequence[str]) -> tuple[Path, list[str]]:
    """Return the user's folder and the disabled plugins, before the command line is parsed.

    Read loosely: a mistake here is told when a command loads its configuration.
    """
    import yaml

    from mmkit.discovery import USERDIR, userdir_of

    configs = [Path(value) for value in asked_of(arguments, "-c", "--config")]
    given = asked_of(arguments, "--userdir")
    userdir = Path(given[-1]) if given else userdir_of(configs[0]) if configs else Path(USERDIR)
    disabled: list[str] = []
    for path in configs or [userdir / "config.yml"]:
        try:
            names = yaml.safe_load(path.read_bytes())["plugins"]["disabled"]
            disabled = [name for name in names if isinstance(name, str)]
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
            continue
    return userdir, disabled
