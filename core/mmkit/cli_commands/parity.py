"""``mmkit parity``: replay a recorded run as a backtest and compare."""

from __future__ import annotations

from pathlib import Path

import click

from mmkit.cli_commands.options import json_option, userdir_option, verbose_option


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@userdir_option
@json_option
@verbose_option
def parity(run: Path, userdir: Path | None, json: bool) -> None:
    """Replay the run in folder RUN as a backtest and compare, entry by entry.

    RUN is a folder that 'mmkit trade' has written, or 'last' for the newest one under the
    user's folder. Ends with status 1 if anything differs.
    """
    import msgspec

    from mmkit.config import load_resolved
    from mmkit.discovery import USERDIR
    from mmkit.run.parity import newest_run, open_recorded, parity

    recorded = open_recorded(newest_run(userdir or Path(USERDIR)) if str(run) == "last" else run)
    # A run folder lies under the results of the user's folder, whose strategies it may need.
    home = userdir or recorded.folder.resolve().parent.parent
    found = parity(recorded, load_resolved(recorded.config(), home))
    if json:
        click.echo(msgspec.json.Encoder(decimal_format="number").encode(found))
    else:
        click.echo(
            f"{found.run_id}: {found.events:,} rows replayed in {found.wall_s:.2f} s, "
            f"{found.orders:,} orders, {found.fills:,} fills"
        )
        click.echo(
            f"equal: all {found.entries:,} commands and events are the same"
            if found.equal
            else f"DIFFERENT: {found.first_difference}"
        )
    if not found.equal:
        raise SystemExit(1)
