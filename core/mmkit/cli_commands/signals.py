"""``mmkit signals``: look at saved signal models."""

from __future__ import annotations

from pathlib import Path

import click

from mmkit.cli_commands.options import (
    file_options,
    json_option,
    load_without_strategy,
    verbose_option,
)


@click.group()
def signals() -> None:
    """Judge saved signal models."""


@signals.command()
@click.argument("model", type=click.Path(file_okay=False, path_type=Path))
@file_options
@json_option
@verbose_option
def eval(  # noqa: A001 - the command's name
    model: Path,
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    json: bool,
) -> None:
    """Judge a saved model on other data.

    MODEL is the folder that 'mmkit train' has written, the configuration names the data. Features, sampling and labels
    are those of the model's card; sections of the configuration that say something else are refused.
    """
    from mmkit.report import value_json
    from mmkit.run.signals_eval import evaluate_saved
    from mmkit.run.verdict_text import verdict_text

    loaded = load_without_strategy(config, overrides, userdir=userdir)
    report = evaluate_saved(model, loaded)
    click.echo(value_json(report) if json else verdict_text(report))
