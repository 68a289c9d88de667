"""``mmkit parity``: replay a recorded run as a backtest and compare."""

from __future__ import annotations

from pathlib import Path

import click

from mmkit.cli_commands.options import json_option, verbose_option


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@json_option
@verbose_option
def parity(run: Path, json: bool) -> None:
    """Replay the run in folder RUN as a backtest and compare, entry by entry.

    RUN is a folder that 'mmkit trade' has written, or 'last' for the newest one under
    user_data/results. Ends with status 1 if anything differs.
    """
    import msgspec

    from mmkit.config import load_resolved
    from mmkit.run.parity import newest_run, open_recorded, parity

    recorded = open_recorded(newest_run(Path("user_data")) if str(run) == "last" else run)
    found = parity(recorded, load_resolved(recorded.config(), recorded.folder.parent.parent))
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
