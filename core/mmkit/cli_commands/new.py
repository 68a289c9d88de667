"""``mmkit new``: a strategy or a plugin to start from."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

import click

from mmkit.cli_commands.options import userdir_option, verbose_option
from mmkit.cli_commands.templates import named, template, write_new
from mmkit.errors import UsageError


@click.group()
def new() -> None:
    """Write a strategy or a plugin to start from."""


@new.command()
@click.argument("name")
@userdir_option
@verbose_option
def strategy(name: str, userdir: Path | None) -> None:
    """Write a strategy that works, and a test for it.

    NAME is how config.yml and -s ask for it, such as my_strategy.
    """
    folder = _folder(userdir, "strategies")
    path, test = folder / f"{name}.py", folder / f"test_{name}.py"
    _refuse(name, path, test)
    _refuse_taken(name, "strategy", userdir)
    folder.mkdir(parents=True, exist_ok=True)
    for target, text in ((path, "strategy.py.txt"), (test, "strategy_test.py.txt")):
        write_new(target, named(template(text), "strategy", name))
        click.echo(f"created {target}")
    option = _option(userdir)
    click.echo(f"run it on recorded data:     mmkit backtest -s {name}{option}")
    click.echo(f"run it with simulated money: mmkit trade -s {name}{option}")
    click.echo(f"test it:                     pytest {test}")


@new.command()
@click.argument("name")
@userdir_option
@verbose_option
def plugin(name: str, userdir: Path | None) -> None:
    """Write a plugin that works: a risk check, with an explanation of the rest.

    NAME is the plugin's name and how config.yml asks for the check.
    """
    folder = _folder(userdir, "plugins")
    path = folder / f"{name}.py"
    _refuse(name, path)
    _refuse_taken(name, "risk check", userdir)
    folder.mkdir(parents=True, exist_ok=True)
    write_new(path, named(template("plugin.py.txt"), "plugin", name))
    click.echo(f"created {path}")
    click.echo(f"see it:    mmkit plugins{_option(userdir)}")
    click.echo(f"switch on: 'risk: {{{name}: 20bps}}' in the configuration")


def _folder(userdir: Path | None, name: str) -> Path:
    return (userdir or Path("user_data")) / name


def _option(userdir: Path | None) -> str:
    return f" --userdir {userdir}" if userdir is not None else ""


def _refuse(name: str, *paths: Path) -> None:
    """Refuse a name that cannot be a module's, or a file that is there."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or keyword.iskeyword(name):
        fixed = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
        hint = (
            f"; such as '{fixed}'" if fixed.isidentifier() and not keyword.iskeyword(fixed) else ""
        )
        raise UsageError(
            f"'{name}' cannot be the name of a Python file: letters, digits and '_' were expected, "
            f"a letter first{hint}"
        )
    if name.startswith("test_"):
        raise UsageError(f"'{name}': files that start with 'test_' are tests and are not loaded")
    if name in sys.stdlib_module_names or name == "mmkit":
        raise UsageError(
            f"'{name}' is the name of a Python module, which the file would hide; such as 'my_{name}'"
        )
    for path in paths:
        if path.exists():
            raise UsageError(f"{path} is there already and stays as it is; choose another name")


def _refuse_taken(name: str, kind: str, userdir: Path | None) -> None:
    """Refuse a name that a plugin or what it offers has, because none of the two could be used then."""
    from mmkit.plugins import Plugins

    plugins = Plugins.load(userdir or Path("user_data"))
    offered = plugins.names("strategy" if kind == "strategy" else "risk check")
    what = kind if name in offered else "plugin" if name in plugins.plugin_names else None
    if what is not None:
        raise UsageError(f"there is a {what} named '{name}' already; choose another name")
