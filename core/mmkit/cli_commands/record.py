"""``mmkit record``: keep what a live feed says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmkit.cli_commands.options import file_options, json_option, load_with_log, verbose_option

if TYPE_CHECKING:
    from mmkit.config import Config
    from mmkit.instruments import InstrumentSpec
    from mmkit.run.record import LiveRecording, Summary

_log = logging.getLogger("mmkit.record")
_LINE_EVERY_S = 10.0
_REFRESH_S = 1.0


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
    status 130. Started again it goes on where it ended, also after a crash; at most a second is lost.
    """
    import msgspec

    from mmkit.run.record import record
    from mmkit.units import parse_duration

    try:
        duration_ns = parse_duration(duration) if duration is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--duration") from error
    loaded = load_with_log(config, overrides, userdir=userdir)
    if symbols:
        loaded = _of_symbols(loaded, symbols)
    watcher = _on_terminal if sys.stderr.isatty() else _in_lines
    summary, failure, interrupted = asyncio.run(
        record(loaded, duration_ns=duration_ns, watcher=watcher)
    )
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


class _Rate:
    """What has come in a second since the last look."""

    def __init__(self, live: LiveRecording) -> None:
        self._live = live
        self._then = live.clock.now_ns()
        self._seen = dict.fromkeys(live.recordings, 0)

    def lines(self) -> dict[str, str]:
        """Return a line for each market, by its symbol."""
        now = self._live.clock.now_ns()
        seconds, self._then = (now - self._then) / 1e9, now
        lines = {}
        for name, one in self._live.recordings.items():
            rate = (one.messages - self._seen[name]) / seconds if seconds else 0.0
            self._seen[name] = one.messages
            lines[one.instrument.symbol] = (
                f"messages_per_s={rate:.0f} lag_ms={one.lag_ns / 1e6:.1f} "
                f"worst_lag_ms={one.forget_worst() / 1e6:.1f} gaps={one.gaps} "
                f"raw={_size(one.raw.size)} stored={_size(one.raw.stored)} rows={one.rows}"
            )
        return lines


@contextlib.asynccontextmanager
async def _in_lines(live: LiveRecording) -> AsyncIterator[None]:
    """Log a line for each market now and then."""
    rate = _Rate(live)

    async def tell() -> None:
        while True:
            await asyncio.sleep(_LINE_EVERY_S)
            for symbol, line in rate.lines().items():
                _log.info("symbol=%s %s", symbol, line)

    async with _task(asyncio.create_task(tell())):
        yield


@contextlib.asynccontextmanager
async def _on_terminal(live: LiveRecording) -> AsyncIterator[None]:
    """Refresh a few lines under the log."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    rate = _Rate(live)
    # Redirected, or what is logged would tear the lines.
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as display:
        root = logging.getLogger()
        for handler in root.handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(sys.stderr)

        async def tell() -> None:
            while True:
                await asyncio.sleep(_REFRESH_S)
                lines = [f"{symbol}  {line}" for symbol, line in rate.lines().items()]
                display.update(Text("\n".join(lines)), refresh=True)

        async with _task(asyncio.create_task(tell())):
            yield
    for handler in root.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stderr)


@contextlib.asynccontextmanager
async def _task(task: asyncio.Task[None]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _text(summary: Summary) -> str:
    lines = [f"recorded {summary.seconds:.1f} s; it ended because: {summary.ended}"]
    for one in summary.markets:
        lines += [
            f"{one.symbol} ({one.venue} {one.kind})",
            f"  messages  {one.messages:,} ({_size(one.raw_bytes)}, {_size(one.stored_bytes)} on disk)"
            f", {one.gaps} gaps",
            f"  rows      {one.rows:,} in {one.parts} parts ({_size(one.parts_bytes)}) in {one.rows_in}",
        ]
        if one.raw:
            lines.append(f"  raw       {one.raw}")
            lines.append(
                f'  to read   instrument: {{venue: {one.venue}, market: {one.kind}, symbol: "{one.symbol}", '
                f'tick: "{one.tick}", lot: "{one.lot}"}}'
            )
            lines.append(f'            data: {{plugin: capture, paths: ["{one.raw}/*.zst"]}}')
    return "\n".join(lines)


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"
