"""``mmkit trade``: quote on a live feed, with simulated money or with real orders."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmkit.cli_commands.options import (
    config_options,
    json_option,
    load_with_log,
    verbose_option,
)

if TYPE_CHECKING:
    from mmkit.config import Config


@click.command()
@config_options
@click.option("--duration", metavar="TIME", help="End by itself after so long, such as 30s or 2h.")
@click.option("--yes", is_flag=True, help="Of mode live: send real orders without asking.")
@json_option
@verbose_option
def trade(
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    strategy: str | None,
    duration: str | None,
    yes: bool,
    json: bool,
) -> None:
    """Quote on a live feed: with simulated money (dry run), or with real orders (mode: live).

    On a terminal one screen is refreshed; in a pipe lines are logged. Ctrl-C pulls the quotes,
    prints the summary and ends with status 130. What was seen and decided is recorded;
    'mmkit parity' replays it. The section 'notify' has its start, its end, halts, lost feeds and
    what stands out in the market sent on; docs/watch.md explains it.

    With 'mode: live' what is about to happen is shown, and a yes is asked for; docs/trading.md explains it.
    """
    from mmkit.log import unhurried
    from mmkit.report import report_json, report_text
    from mmkit.run.trade import trade
    from mmkit.screen import in_lines, on_terminal
    from mmkit.terminal import wait_for_terminals
    from mmkit.units import parse_duration

    try:
        duration_ns = parse_duration(duration) if duration is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--duration") from error
    loaded = load_with_log(config, overrides, userdir=userdir, strategy=strategy)
    watcher = on_terminal if sys.stdout.isatty() and not json else in_lines
    confirmed = loaded.mode == "live" and _confirmed(loaded, yes=yes)
    with unhurried():
        report, failure, interrupted = asyncio.run(
            trade(loaded, duration_ns=duration_ns, watcher=watcher, confirmed=confirmed)
        )
    wait_for_terminals()
    click.echo(report_json(report) if json else report_text(report))
    if failure is not None:
        raise failure
    if interrupted:
        raise SystemExit(130)


def _confirmed(config: Config, *, yes: bool) -> bool:
    """Show what is about to be traded with real orders; return whether somebody agrees."""
    from mmkit.config.real import is_real_money
    from mmkit.errors import ConfigError, UsageError
    from mmkit.run.accounts import words_before

    if config.keeps_from_live:
        raise ConfigError(config.keeps_from_live)
    click.echo("LIVE: real orders are about to be sent", err=True)
    for line in words_before(config):
        click.echo(f"  {line}", err=True)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(
            "real orders have to be confirmed, and there is no terminal to ask on; look at the lines above, and add "
            "'--yes' if that is what you want"
        )
    real = any(is_real_money(market.venue) for market in config.markets.values())
    question = "Send orders that cost real money?" if real else "Send real orders?"
    return click.confirm(question, default=False, err=True)
