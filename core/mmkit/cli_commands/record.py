"""``mmkit record``: keep what a live feed says."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmkit.cli_commands.options import file_options, json_option, load_with_log, verbose_option

if TYPE_CHECKING:
    from mmkit.config import Config
    from mmkit.instruments import InstrumentSpec
    from mmkit.run.record import Summary


@click.command()
@file_options
@click.option(
    "--symbol",
    "symbols",
    multiple=True,
    metavar="SYMBOL",
    help="Record this instead of the configured markets, such as ETH/USDT:USDT. May be repeated.",
)
@click.option("--duration", metavar="TIME", help="End by itself after so long, such as 30s or 2h.")
@json_option
@verbose_option
def record(
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    symbols: tuple[str, ...],
    duration: str | None,
    json: bool,
) -> None:
    """Keep what a live feed says: raw messages, and rows as Parquet.

    Every market of the configuration is recorded, until Ctrl-C, which prints a summary and ends with
    status 130. Started again it goes on where it ended, also after a crash; at most a second is lost. A market
    that fails does not end the others: it is tried again, and if it has failed at the end, so has the command.
    """
    import msgspec

    from mmkit.record_screen import in_lines, on_terminal
    from mmkit.run.record import record
    from mmkit.terminal import wait_for_terminals
    from mmkit.units import parse_duration

    try:
        duration_ns = parse_duration(duration) if duration is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--duration") from error
    loaded = load_with_log(config, overrides, userdir=userdir)
    if symbols:
        loaded = _of_symbols(loaded, symbols)
    watcher = on_terminal if sys.stderr.isatty() else in_lines
    summary, failure, interrupted = asyncio.run(
        record(loaded, duration_ns=duration_ns, watcher=watcher)
    )
    wait_for_terminals()
    click.echo(msgspec.json.encode(summary).decode() if json else _text(summary))
    if failure is not None:
        raise failure
    if interrupted:
        raise SystemExit(130)


def _of_symbols(config: Config, symbols: Sequence[str]) -> Config:
    """Return the configuration with these symbols for markets, all from the main one's data source."""
    main, *others = [_spec(config.spec, symbol) for symbol in dict.fromkeys(symbols)]
    own = config.markets["main"]
    return replace(config, spec=main, others={one.symbol: replace(own, spec=one) for one in others})


def _spec(like: InstrumentSpec, symbol: str) -> InstrumentSpec:
    from mmkit.config.sections import InstrumentSection

    if symbol == like.symbol:
        return like
    pair, _, settle = symbol.partition(":")
    base, quote = pair.partition("/")[::2]
    market = {"": "spot", base: "coinm", quote: "usdm"}.get(settle, "usdm")
    try:
        return InstrumentSection(venue=like.venue, market=market, symbol=symbol).spec()
    except ValueError as error:
        message = f"ccxt's name of a symbol was expected, such as BTC/USDT or BTC/USDT:USDT; found '{symbol}'"
        raise click.BadParameter(message, param_hint="--symbol") from error


def _text(summary: Summary) -> str:
    from mmkit.units import format_size

    lines = [f"recorded {summary.seconds:.1f} s; it ended because: {summary.ended}"]
    for one in summary.markets:
        lines.append(f"{one.symbol} ({one.venue} {one.kind})")
        if one.failed:
            lines.append(f"  FAILED    {one.failed}")
        elif one.failures:
            times = "once" if one.failures == 1 else f"{one.failures} times"
            lines.append(f"  failed    {times}, and was recorded again")
        if not one.rows_in:
            lines.append("  nothing was recorded")
            continue
        lines += [
            f"  messages  {one.messages:,} ({format_size(one.raw_bytes)}, {format_size(one.stored_bytes)} on disk)"
            f", {one.gaps} gaps",
            f"  rows      {one.rows:,} in {one.parts} parts ({format_size(one.parts_bytes)}) in {one.rows_in}",
        ]
        if one.raw:
            lines.append(f"  raw       {one.raw}")
            lines.append(
                f'  to read   instrument: {{venue: {one.venue}, market: {one.kind}, symbol: "{one.symbol}", '
                f'tick: "{one.tick}", lot: "{one.lot}"}}'
            )
            lines.append(f'            data: {{plugin: capture, paths: ["{one.raw}/*.zst"]}}')
    if failed := sum(bool(one.failed) for one in summary.markets):
        lines.append(f"{failed} of {len(summary.markets)} markets failed; see FAILED above")
    return "\n".join(lines)
