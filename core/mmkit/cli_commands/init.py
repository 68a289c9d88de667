"""``mmkit init``: a folder to work in."""

from __future__ import annotations

from pathlib import Path

import click

from mmkit.cli_commands.templates import template, write_new

_FOLDERS = ("strategies", "plugins", "data", "results")


@click.command()
@click.argument(
    "folder", metavar="[DIR]", default="user_data", type=click.Path(file_okay=False, path_type=Path)
)
def init(folder: Path) -> None:
    """Create DIR (user_data unless given) with a configuration that works as it is.

    Nothing that is there already is changed.
    """
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    config = folder / "config.yml"
    if write_new(config, template("config.yml")):
        click.echo(f"created {config}")
    else:
        click.echo(f"kept {config}: it was there already")
    option = "" if folder == Path("user_data") else f" --userdir {folder}"
    click.echo(f"next: 'mmkit doctor{option}', then 'mmkit trade{option}'")
    click.echo(f"your own strategy: 'mmkit new strategy NAME{option}'")
