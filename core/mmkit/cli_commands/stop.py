"""``mmkit stop``: end a run from elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from mmkit.cli_commands.options import home_of, home_options, verbose_option
from mmkit.errors import RunError


@click.command()
@click.argument("run", required=False)
@home_options
@verbose_option
def stop(run: str | None, config: tuple[Path, ...], userdir: Path | None) -> None:
    """End RUN, or the newest run that goes on: its orders are canceled, its report is written.

    Returns when it has ended.
    """
    from mmkit.cli_commands.telling import the_run, told

    going = the_run(home_of(config, userdir), run)
    told(going, "stop")
    if not going.ended(within_s=60):
        raise RunError(
            f"{going.folder.name}, process {going.process}, has not ended within 60 s; 'mmkit panic "
            f"{going.folder.name}' ends it, and cancels what it has left"
        )
    click.echo(f"{going.folder.name}: ended")
