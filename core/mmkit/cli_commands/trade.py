"""``mmkit trade``: quote on a live feed with simulated money."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from mmkit.cli_commands.options import (
    config_options,
    json_option,
    load_with_log,
    verbose_option,
)


@click.command()
@config_options
@click.option("--duration", metavar="TIME", help="End by itself after so long, such as 30s or 2h.")
@json_option
@verbose_option
def trade(
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    strategy: str | None,
    duration: str | None,
    json: bool,
) -> None:
    """Quote on a live feed with simulated money (dry run).

    On a terminal one screen is refreshed; in a pipe lines are logged. Ctrl-C pulls the quotes,
    prints the summary and ends with status 130. What was seen and decided is recorded;
    'mmkit parity' replays it. The section 'notify' has its start, its end, halts, lost feeds and
    what stands out in the market sent on; docs/watch.md explains it.
    """
    from mmkit.report import report_json, report_text
    from mmkit.run.trade import trade
    from mmkit.screen import in_lines, on_terminal
    from mmkit.units import parse_duration

    try:
        duration_ns = parse_duration(duration) if duration is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--duration") from error
    loaded = load_with_log(config, overrides, userdir=userdir, strategy=strategy)
    watcher = on_terminal if sys.stdout.isatty() and not json else in_lines
    report, failure, interrupted = asyncio.run(
        trade(loaded, duration_ns=duration_ns, watcher=watcher)
    )
    click.echo(report_json(report) if json else report_text(report))
    if failure is not None:
        raise failure
    if interrupted:
        raise SystemExit(130)
