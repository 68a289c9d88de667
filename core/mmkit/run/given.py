"""Market data that the command line names, read: files of a data source, files of `mmkit.formats`, a configuration's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from mmkit.discovery import USERDIR
from mmkit.errors import ConfigError, DataError, Mistake, UsageError
from mmkit.formats import SUFFIXES, is_ours, load
from mmkit.instruments import Instrument
from mmkit.recording.imports import Given
from mmkit.run.backtest import load_tape
from mmkit.run.sources import instrument_of, source_of_paths, spec_of
from mmkit.tape import Tape


def given_tapes(
    given: Sequence[str],
    config: Sequence[Path],
    overrides: Sequence[str] = (),
    *,
    userdir: Path | None = None,
    market: str,
    instrument: str | None = None,
    plugin: str = "capture",
) -> list[Given]:
    """Read files, or what a configuration names.

    Args:
        given: Files of a data source, which are one tape, or files of `mmkit.formats.SUFFIXES`, each a tape; none for
            the configuration's.
        config: As of `mmkit.config.load_config`.
        overrides: Likewise.
        userdir: Likewise.
        market: Of the configuration.
        instrument: As of `mmkit.run.sources.source_of_paths`.
        plugin: Likewise.

    Raises:
        ConfigError: if the configuration, or `instrument`, cannot be used.
        UsageError: if files of both sorts are given.
        DataError: if the data cannot be used.
    """
    if not given:
        from mmkit.config import load_config

        return [Given(load_tape(load_config(config, overrides, userdir=userdir), market), [])]
    names = [Path(path).name for path in given]
    ours = [path for path in given if is_ours(Path(path))]
    if ours and len(ours) < len(given):
        raise UsageError(
            f"files of {', '.join(SUFFIXES)}, or files of a data source, were expected; found both: "
            f"{', '.join(given)}"
        )
    if ours:
        tapes = [_loaded(Path(path), config, overrides, userdir, instrument) for path in ours]
        return [Given(tape, [name]) for tape, name in zip(tapes, names, strict=True)]
    home = userdir or Path(USERDIR)
    if instrument is None and not config and not (home / "config.yml").exists():
        raise UsageError(
            f"what is in {', '.join(names[:3])} has to be said: '--instrument VENUE:MARKET:SYMBOL,tick=...,lot=...', "
            f"such as binance:usdm:BTC/USDT:USDT,tick=0.1,lot=0.001, or '-c' with a configuration; found neither, "
            f"nor {home / 'config.yml'}"
        )
    named = source_of_paths(
        given, config, overrides, userdir=userdir, instrument=instrument, plugin=plugin
    )

    async def read() -> Tape:
        try:
            return await named.source.tape()
        finally:
            await named.source.close()

    try:
        return [Given(asyncio.run(read()), names)]
    except ConfigError as error:
        if instrument is None:
            raise
        raise _on_command_line(error, instrument) from error


def refuse_several(given: Sequence[str]) -> None:
    """Refuse several files that do not make one tape.

    Raises:
        UsageError: if there are.
    """
    if len(given) > 1 and any(is_ours(Path(path)) for path in given):
        raise UsageError(
            f"one file of {', '.join(SUFFIXES)} was expected, or files of a data source; found "
            f"{', '.join(given)}"
        )


def _loaded(
    path: Path,
    config: Sequence[Path],
    overrides: Sequence[str],
    userdir: Path | None,
    instrument: str | None,
) -> Tape:
    if path.suffix.lower() == ".npz":
        return load(path, _instrument(path, config, overrides, userdir, instrument))
    tape = load(path)
    # It says itself what it is about; what was said besides must agree.
    if instrument is not None and (words := spec_of(instrument).refused(tape.instrument)):
        raise DataError(f"{path}: {words}; correct '--instrument', or leave it out")
    return tape


def _instrument(
    path: Path,
    config: Sequence[Path],
    overrides: Sequence[str],
    userdir: Path | None,
    instrument: str | None,
) -> Instrument | None:
    """Return what hftbacktest's events, which do not say so, are about."""
    if instrument is not None:
        return instrument_of(instrument)
    if not config and not overrides:
        return None
    from mmkit.config import draft_config

    draft = draft_config(config, overrides, userdir=userdir)
    spec = draft.config({"data.plugin": "capture", "data.paths": [str(path)]}).spec
    if spec.tick is None or spec.lot is None:
        return None
    return spec.on_grid(spec.tick, spec.lot)


def _on_command_line(error: ConfigError, instrument: str) -> ConfigError:
    """Say of a tick and a lot that are missing how they are written behind ``--instrument``."""
    return ConfigError(
        [
            Mistake(
                "--instrument",
                "",
                one.message,
                one.hint.replace("add ", f"add to '{instrument}' ")
                .replace(" under instrument", "")
                .replace(': "', "=")
                .replace('"', ""),
            )
            if one.path == "instrument"
            else one
            for one in error.mistakes
        ]
    )
