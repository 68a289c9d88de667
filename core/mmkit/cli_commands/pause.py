"""``mmkit pause``: have a run quote nothing."""

from __future__ import annotations

from pathlib import Path

import click

from mmkit.cli_commands.options import home_of, home_options, verbose_option


@click.command()
@click.argument("run", required=False)
@home_options
@verbose_option
def pause(run: str | None, config: tuple[Path, ...], userdir: Path | None) -> None:
    """Have RUN, or the newest run that goes on, quote nothing until 'mmkit resume'."""
    from mmkit.cli_commands.telling import the_run, told

    standing = told(the_run(home_of(config, userdir), run), "pause")
    click.echo(f"{standing.run_id}: {standing.state}")
