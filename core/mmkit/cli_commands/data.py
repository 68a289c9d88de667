"""``mmkit data``: look at recorded market data, keep it, and turn it into other formats."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from mmkit.cli_commands.options import (
    Asked,
    file_options,
    json_option,
    market_option,
    verbose_option,
)
from mmkit.cli_commands.progress import progress_bar

F = TypeVar("F", bound=Callable[..., Any])

PLUGIN = "capture"


@click.group()
def data() -> None:
    """Check recorded market data, list it, keep it as rows, and turn it into other formats."""


def paths_options(command: F) -> F:
    """Add what says how files named on the command line are to be read."""
    instrument = click.option(
        "--instrument",
        metavar="VENUE:MARKET:SYMBOL",
        help="What is in the files, such as binance:usdm:BTC/USDT:USDT; by default what the configuration "
        "says. Tick and lot may be added: ...,tick=0.1,lot=0.001.",
    )
    plugin = click.option(
        "--plugin",
        metavar="NAME",
        default=PLUGIN,
        show_default=True,
        help="The data source that reads the files.",
    )
    return instrument(plugin(command))


@data.command()
@click.argument("paths", nargs=-1, metavar="[PATHS]...")
@file_options
@paths_options
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.svg",
    help="Draw what the data covers and where something was found.",
)
@json_option
@verbose_option
def check(
    paths: tuple[str, ...],
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    instrument: str | None,
    plugin: str,
    picture: Path | None,
    json: bool,
) -> None:
    """Say what is wrong with recorded market data, and where.

    PATHS are files of a data source, read as one recording, or kept tapes (.tape); by default the data of every
    market that the configuration names. Errors make a backtest wrong or blind for a while; notes are
    true of sound data, too. Ends with status 0 if there is no error, with 4 if there is one.
    """
    from mmkit.run.quality import check_data, quality_json, quality_picture, quality_text

    _quiet()
    if picture is not None and picture.suffix.lower() != ".svg":
        found = f"--picture: a file that ends in .svg was expected; found '{picture}'"
        raise click.UsageError(found)
    looked = check_data(
        paths, config, overrides, userdir=userdir, instrument=instrument, plugin=plugin
    )
    if picture is not None:
        picture.write_text(quality_picture(looked))
    qualities = [one.quality for one in looked]
    if json:
        click.echo(quality_json(qualities))
    else:
        for quality in qualities:
            click.echo(quality_text(quality, several=len(qualities) > 1))
    if any(quality.errors for quality in qualities):
        raise SystemExit(4)


@data.command()
@click.argument("files", nargs=-1, required=True, metavar="[IN]... OUT")
@file_options
@market_option
@paths_options
@json_option
@verbose_option
def convert(
    files: tuple[str, ...],
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    market: str,
    instrument: str | None,
    plugin: str,
    json: bool,
) -> None:
    """Write market data in another format, which the name of OUT says.

    \b
    .npz      hftbacktest's events
    .parquet  a table for pandas, DuckDB, Polars
    .csv      the same for people
    .tape     a kept tape

    IN are files of a data source, read as one recording, or one file of these formats; by default the data
    of the configuration.
    """
    from mmkit.run.convert import convert_data, converted_json, converted_text

    *given, out = files
    done = convert_data(
        given,
        Path(out),
        config,
        overrides,
        userdir=userdir,
        market=market,
        instrument=instrument,
        plugin=plugin,
    )
    click.echo(converted_json(done) if json else converted_text(done))


@data.command("import")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@file_options
@market_option
@paths_options
@click.option(
    "--replace",
    is_flag=True,
    help="Of days on which there are rows of the same time take away all that is there.",
)
@json_option
@verbose_option
def import_(
    files: tuple[str, ...],
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    market: str,
    instrument: str | None,
    plugin: str,
    replace: bool,
    json: bool,
) -> None:
    """Keep market data as rows, beside what 'mmkit record' keeps.

    \b
    mmkit data import day1.gz day2.gz --instrument binance:usdm:BTC/USDT:USDT,tick=0.1,lot=0.001
    mmkit data import datasets/*.csv.gz --plugin tardis --instrument binance:usdm:BTC/USDT:USDT,...
    mmkit data import day1.npz day2.npz --instrument binance:usdm:BTC/USDT:USDT,...
    mmkit data import day.tape
    mmkit data import -c backtest.yml

    FILEs are files of a data source, read as one recording, or hftbacktest's .npz and .tape, .parquet and .csv of
    'mmkit data convert', each read by itself; by default the data of the configuration. All of it is kept, or
    nothing. A time of which there are rows already is refused, unless --replace is given.

    \b
    A backtest reads it with the lines printed at the end, such as
    instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}
    data: {plugin: rows, from: 2024-07-18, to: 2024-07-20}
    """
    from mmkit.run.importing import import_data, imported_json, imported_text

    with progress_bar("importing", shown=sys.stderr.isatty() and not json) as progress:
        done = import_data(
            files,
            config,
            overrides,
            userdir=userdir,
            market=market,
            instrument=instrument,
            plugin=plugin,
            replace=replace,
            progress=progress,
        )
    click.echo(imported_json(done) if json else imported_text(done))


@data.command("list")
@file_options
@json_option
@verbose_option
def list_(
    config: tuple[Path, ...], overrides: tuple[str, ...], userdir: Path | None, json: bool
) -> None:
    """List the recorded data there is, with spans and gaps.

    That is what lies under the 'data' folder of the user's folder, and what the configuration names, if
    there is one. Of the rows that were recorded or imported each market is listed, with its days. Of other files symbol, span, rows and gaps come from the tape that is kept of a file once it has been
    read; files that have not been are listed without.
    """
    from mmkit.discovery import USERDIR
    from mmkit.run.stored import stored, stored_json, stored_text

    home = userdir or Path(USERDIR)
    sources = []
    if config or overrides or (home / "config.yml").exists():
        from mmkit.config import load_config
        from mmkit.run.sources import sources_of

        loaded = load_config(config, overrides, userdir=userdir)
        home, sources = loaded.userdir, sources_of(loaded)
    entries = stored(home, sources)
    if json:
        click.echo(stored_json(entries))
    elif entries:
        click.echo(stored_text(entries))
    else:
        click.echo(f"nothing under {home / 'data'}, and no files in the configuration")


def _quiet() -> None:
    """Leave to the findings what the log would say besides."""
    import logging

    if not click.get_current_context().find_root().ensure_object(Asked).verbose:
        logging.getLogger().setLevel(logging.ERROR)
