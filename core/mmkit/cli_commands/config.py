"""``mmkit config``: check it, show what came of it, print its JSON Schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmkit.cli_commands.options import (
    config_options,
    file_options,
    json_option,
    verbose_option,
    without_strategy,
)

if TYPE_CHECKING:
    from mmkit.config import Config


@click.group()
def config() -> None:
    """Check or show the configuration, or print its JSON Schema."""


@config.command()
@config_options
@json_option
@verbose_option
def check(
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    strategy: str | None,
    json: bool,
) -> None:
    """Tell every mistake, each with its file and line.

    Ends with status 0 if there is none, else 3.
    """
    from mmkit.errors import ConfigError

    try:
        loaded = _loaded(config, overrides, userdir, strategy, fit=True)
    except ConfigError as error:
        if not json:
            raise
        from dataclasses import asdict
        from json import dumps

        mistakes = [asdict(mistake) for mistake in error.mistakes]
        click.echo(dumps({"ok": False, "mistakes": mistakes}, indent=2))
        raise SystemExit(error.exit_code) from error
    files = ", ".join(str(path) for path in loaded.files)
    if json:
        click.echo('{"ok": true, "mistakes": []}')
    else:
        does = loaded.strategy.name
        if does == "none" and loaded.learning.training is not None:
            does = f"training of {loaded.learning.training.name}"
        click.echo(
            f"{files}: no mistakes; {does} on {loaded.spec.symbol} "
            f"({loaded.spec.venue} {loaded.spec.market}), data from {loaded.data.name}"
        )
        for name, market in loaded.others.items():
            spec = market.spec
            click.echo(
                f"  {name}: {spec.symbol} ({spec.venue} {spec.market}), data from {market.data.name}"
            )


@config.command()
@config_options
@json_option
@verbose_option
def show(
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    strategy: str | None,
    json: bool,
) -> None:
    """Print the merged configuration with every default filled in and every secret hidden."""
    loaded = _loaded(config, overrides, userdir, strategy)
    # What only trains has no strategy, and is shown none.
    resolved = {
        k: v for k, v in loaded.resolved.items() if k != "strategy" or v["plugin"] != "none"
    }
    if json:
        from json import dumps

        click.echo(dumps(resolved, indent=2))
    else:
        from yaml import safe_dump

        click.echo(safe_dump(resolved, sort_keys=False, allow_unicode=True), nl=False)


def _loaded(
    paths: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    strategy: str | None,
    *,
    fit: bool = False,
) -> Config:
    """Load the configuration; one that trains a model needs no strategy.

    Args:
        paths: As of `mmkit.config.load_config`.
        overrides: Likewise.
        userdir: Likewise.
        strategy: Likewise.
        fit: Refuse what keeps a configuration of mode live from trading.
    """
    from mmkit.config import draft_config
    from mmkit.errors import ConfigError

    draft = draft_config(paths, overrides, userdir=userdir, strategy=strategy)
    config = without_strategy(draft) if draft.root.get("training") is not None else draft.config()
    if fit and config.keeps_from_live:
        raise ConfigError(config.keeps_from_live)
    return config


@config.command()
@file_options
@verbose_option
def schema(config: tuple[Path, ...], overrides: tuple[str, ...], userdir: Path | None) -> None:
    """Print a JSON Schema of the configuration, with what the loaded plugins accept.

    Save it, and name it in the first line of config.yml for an editor to complete and check:
    '# yaml-language-server: $schema=schema.json'.
    """
    from json import dumps

    from mmkit.config import loaded_plugins
    from mmkit.config.schema import json_schema

    click.echo(dumps(json_schema(loaded_plugins(config, overrides, userdir=userdir)), indent=2))
