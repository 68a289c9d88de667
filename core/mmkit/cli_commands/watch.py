"""``mmkit watch``: the market watch, live or over recorded data."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmkit.cli_commands.options import (
    file_options,
    json_option,
    load_without_strategy,
    verbose_option,
)

if TYPE_CHECKING:
    from mmkit.instruments import Instrument
    from mmkit.run.watch import Watched
    from mmkit.watch import WatchEvent


@click.command()
@file_options
@click.option(
    "--duration",
    metavar="TIME",
    help="End by itself after so long, such as 30s or 2h; of recorded data, so long in its own time.",
)
@json_option
@verbose_option
def watch(
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    duration: str | None,
    json: bool,
) -> None:
    """Show what stands out in the market: anomalies of price, large trades, flow, volatility.

    On a terminal one screen is refreshed; in a pipe there is a line for each event, with --json a JSON object. With
    recorded data it goes through it as fast as it can. Ctrl-C prints the summary and ends with status 130. What is
    watched is in the section 'watch', where it is sent in 'notify'; docs/watch.md explains both.
    """
    from mmkit.report import value_json
    from mmkit.run.watch import is_recorded, watch_live, watch_recorded
    from mmkit.units import parse_duration
    from mmkit.watch.told import line

    try:
        duration_ns = parse_duration(duration) if duration is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--duration") from error
    loaded = load_without_strategy(config, overrides, userdir=userdir)
    recorded = is_recorded(loaded)

    def tell(event: WatchEvent, instrument: Instrument) -> None:
        said = _json(event, instrument) if json else line(event, instrument)
        sys.stdout.write(f"{said}\n")
        if not recorded:
            sys.stdout.flush()

    if recorded:
        watched, interrupted = watch_recorded(loaded, tell, duration_ns=duration_ns)
        failure = None
    else:
        from mmkit.terminal import wait_for_terminals
        from mmkit.watch_screen import on_terminal

        screen = on_terminal if sys.stdout.isatty() and not json else None
        watched, failure, interrupted = asyncio.run(
            watch_live(
                loaded,
                _nothing if screen else tell,
                duration_ns=duration_ns,
                watcher=screen,
            )
        )
        wait_for_terminals()
    click.echo(value_json(watched) if json else _summary(watched))
    if failure is not None:
        raise failure
    if interrupted:
        raise SystemExit(130)


def _nothing(event: WatchEvent, instrument: Instrument) -> None:
    """Say nothing: the screen shows it."""


def _json(event: WatchEvent, instrument: Instrument) -> str:
    import msgspec

    from mmkit.watch.told import plain

    return msgspec.json.Encoder(decimal_format="number").encode(plain(event, instrument)).decode()


def _summary(watched: Watched) -> str:
    """Return what was seen, for people."""
    from mmkit.report import counted, format_span, notified_rows

    rows = [("time", format_span(watched.end_ns - watched.start_ns))]
    for market, symbol in watched.symbols.items():
        gaps = watched.gaps[market]
        lost = f", feed lost {gaps:,} times" if gaps else ""
        rows.append((market, f"{symbol}: {watched.trades[market]:,} trades{lost}"))
    rows.append(("events", counted(watched.events)))
    if (told := watched.notified) is not None:
        rows += notified_rows(told)
    return "\n".join(f"{name:<14}{value}" for name, value in rows)
