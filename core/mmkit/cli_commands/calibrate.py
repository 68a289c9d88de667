"""``mmkit calibrate``: measure a recorded market for a strategy's parameters, or a recorded run for those of ``sim``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmkit.cli_commands.calibrate_run import latency, queue
from mmkit.cli_commands.options import (
    file_options,
    json_option,
    load_with_log,
    market_option,
    verbose_option,
)

if TYPE_CHECKING:
    from mmkit.instruments import Instrument
    from mmkit.intensity import Intensity
    from mmkit.microprice import Microprice


def _span(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """Return a duration, written as in the configuration, in ns."""
    from mmkit.units import parse_duration

    try:
        span = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    if span <= 0:
        raise click.BadParameter(f"a duration above zero was expected; found {value!r}", ctx, param)
    return span


@click.group()
def calibrate() -> None:
    """Measure a recorded market for the parameters of a strategy, or a recorded run for those of 'sim'."""


calibrate.add_command(latency)
calibrate.add_command(queue)


@calibrate.command()
@file_options
@market_option
@click.option(
    "--interval",
    callback=_span,
    metavar="DURATION",
    default="100ms",
    show_default=True,
    help="How long a quote stays where it was placed: the strategy's 'every'.",
)
@click.option(
    "--sigma-interval",
    callback=_span,
    metavar="DURATION",
    default="1s",
    show_default=True,
    help="Between two looks at mid for sigma; much shorter ones see mid bounce.",
)
@click.option(
    "--min-distance",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="TICKS",
    help="Fit from this distance from mid on, to leave out the touch. Default: from the nearest.",
)
@click.option(
    "--max-distance",
    type=click.FloatRange(min=0, min_open=True),
    metavar="TICKS",
    help="Fit no further from mid than this. Default: where 1 in 100 of the nearest's trades reach.",
)
@json_option
@verbose_option
def intensity(
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    market: str,
    interval: int,
    sigma_interval: int,
    min_distance: float,
    max_distance: float | None,
    json: bool,
) -> None:
    """Measure A, k and sigma: how often trades reach a distance from mid, how far mid moves.

    A quote at a distance of d ticks from mid is reached A exp(-k d) times a second. The data is what
    the configuration names. Prints keys for 'avellaneda_stoikov' and 'glft', ready to paste.
    """
    import msgspec

    from mmkit.intensity import calibrate_intensity
    from mmkit.run.backtest import load_tape

    tape = load_tape(load_with_log(config, overrides, userdir=userdir), market)
    found = calibrate_intensity(
        tape,
        interval_ns=interval,
        sigma_interval_ns=sigma_interval,
        min_distance=min_distance,
        max_distance=max_distance,
    )
    click.echo(msgspec.json.encode(found) if json else _text(found, tape.instrument))


@calibrate.command()
@file_options
@market_option
@click.option(
    "--buckets",
    type=click.IntRange(2, 100),
    default=10,
    show_default=True,
    help="Of the imbalance at the touch.",
)
@click.option(
    "--spreads",
    type=click.IntRange(1, 20),
    default=2,
    show_default=True,
    help="In ticks; wider books are left out.",
)
@json_option
@verbose_option
def microprice(
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    market: str,
    buckets: int,
    spreads: int,
    json: bool,
) -> None:
    """Measure how far the expected future mid lies from mid, by spread and imbalance.

    The data is what the configuration names. Prints 'adjustment' for the strategy 'imbalance',
    ready to paste. For markets whose spread is a few ticks.
    """
    import msgspec

    from mmkit.microprice import fit_microprice
    from mmkit.run.backtest import load_tape

    tape = load_tape(load_with_log(config, overrides, userdir=userdir), market)
    found = fit_microprice(tape, buckets=buckets, spreads=spreads)
    click.echo(msgspec.json.encode(found) if json else _table(found, tape.instrument))


def _table(found: Microprice, instrument: Instrument) -> str:
    """Return what was seen, and the YAML."""
    lines = [
        f"{instrument.symbol}: {found.moves:,} moves of mid, "
        f"{sum(map(sum, found.observations)):,} changes of the touch; "
        f"1 tick = {instrument.tick} {instrument.quote}"
    ]
    for spread, seen in enumerate(found.observations, 1):
        counts = " ".join(f"{count:,}" for count in seen)
        lines.append(
            f"seen at a spread of {spread}, from all on the ask to all on the bid: {counts}"
        )
    lines += ["", "# strategy: {plugin: imbalance}", "adjustment:"]
    lines += [f"  - [{', '.join(f'{ticks:.4g}' for ticks in row)}]" for row in found.adjustment]
    return "\n".join(lines)


def _text(found: Intensity, instrument: Instrument) -> str:
    """Return the table of what was counted and the YAML."""
    lines = [
        f"{instrument.symbol}: {found.trades:,} trades in {found.seconds:,.0f} s with a known book, "
        f"every {found.interval_ms:g} ms; 1 tick = {instrument.tick} {instrument.quote}",
        "",
        f"{'distance':>10} {'reached':>9} {'a second':>12} {'fitted':>12}",
    ]
    # A page at most: the nearest distances and, further out, some of them.
    shown = found.points[:: max(1, len(found.points) // 20)]
    lines += [
        f"{point.distance:>10.1f} {point.reached:>9,} {point.rate:>12.4g} {point.fitted:>12.4g}"
        for point in shown
    ]
    if len(shown) < len(found.points):
        lines.append(f"{'':>10} ({len(found.points)} distances in all; --json has them)")
    lines += [
        "",
        f"A     {found.A:.4g} +- {found.A_error:.2g} fills a second at mid, one side",
        f"k     {found.k:.4g} +- {found.k_error:.2g} per tick",
        f"sigma {found.sigma:.4g} +- {found.sigma_error:.2g} ticks per square root of a second "
        f"(every {found.sigma_interval_ms:g} ms)",
        f"the line explains {found.r_squared:.1%} of the variation of the log rates",
        "",
        "# strategy: {plugin: glft}; avellaneda_stoikov takes k and sigma",
        f"A: {found.A:.6g}",
        f"k: {found.k:.6g}",
        f"sigma: {found.sigma:.6g}ticks",
    ]
    return "\n".join(lines)
