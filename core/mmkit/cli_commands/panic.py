"""``mmkit panic``: cancel every order, whatever the run does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from mmkit.cli_commands.options import file_options, home_of, load_without_strategy, verbose_option


@click.command()
@click.argument("run", required=False)
@click.option("--flatten", is_flag=True, help="Then bring the position to nothing, by taking.")
@file_options
@verbose_option
def panic(
    run: str | None,
    flatten: bool,
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
) -> None:
    """End RUN, or every run that goes on, and cancel every order of the account.

    A run is asked to end; one that does not answer, or does not end within 15 s, is killed. Then, if the configuration
    says 'mode: live', each of its accounts is opened and every order in its market is canceled, those that are not
    mmkit's too, also if no run goes on. Ends with status 0 only if the venue says that no order is left.
    """
    from mmkit.run.panic import cancel_everything, end_runs

    home = home_of(config, userdir)
    ended = end_runs(home, run)
    for line in ended:
        click.echo(line)
    loaded = load_without_strategy(config, overrides, userdir=userdir)
    if loaded.mode != "live":
        if not ended:
            click.echo(f"no run is going on in {home / 'results'}", err=True)
        click.echo("mode is not live: no orders are at a venue")
        return
    for line in asyncio.run(cancel_everything(loaded, flatten=flatten)):
        click.echo(line)
