"""What the commands that tell a run something share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmkit.errors import RunError

if TYPE_CHECKING:
    from mmkit.run.control import Running, Standing, Wish


def the_run(home: Path, run: str | None) -> Running:
    """Return the run of that name in the user's folder, or the newest that goes on; say which others go on too.

    Raises:
        RunError: if there is none.
    """
    from mmkit.run.control import running

    found = running(home, run)
    if not found:
        every = [one.folder.name for one in running(home)]
        there = f"going on: {', '.join(every)}" if every else "none is going on"
        if run is not None:
            raise RunError(f"no run '{run}' is going on in {home / 'results'}; {there}")
        raise RunError(
            f"no run is going on in {home / 'results'}; name the folder with '--userdir', or the configuration with '-c'"
        )
    newest, *others = found
    for other in others:
        click.echo(f"{other.folder.name} goes on too; name it to tell it something", err=True)
        other.close()
    return newest


def told(run: Running, wish: Wish) -> Standing:
    """Tell a run something; return its answer.

    Raises:
        RunError: if it does not answer, or could not do it.
    """
    standing = run.ask(wish)
    if standing is None:
        raise RunError(
            f"{run.folder.name}, process {run.process}, does not answer; 'mmkit panic {run.folder.name}' ends it, "
            "and cancels what it has left"
        )
    if standing.error:
        raise RunError(f"{run.folder.name}: {standing.error}")
    return standing
