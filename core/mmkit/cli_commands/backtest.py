"""``mmkit backtest``: a strategy over recorded order books."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from mmkit.cli_commands.options import (
    config_options,
    json_option,
    load_with_log,
    verbose_option,
)
from mmkit.cli_commands.progress import progress_bar

Engine = Literal["auto", "compiled", "reference"]


@click.command()
@config_options
@click.option("--no-folder", is_flag=True, help="Leave no run folder under the results.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "compiled", "reference"]),
    default="auto",
    help="The results are the same. auto: compiled for large runs, where it can.",
)
@click.option(
    "--journal",
    "detail",
    type=click.Choice(["fills", "all", "none"]),
    default="fills",
    help="What the journal in the run folder keeps. all: every order, answer and fill, which takes time.",
)
@click.option(
    "--bracket",
    is_flag=True,
    help="Run it under an optimistic, the configured and a pessimistic fill model, and with other latencies "
    "and queue exponents: how far to believe the result.",
)
@click.option(
    "--advice",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Tell the advice that came in this recorded run, of every advisor, when it really came.",
)
@click.option(
    "--ablate",
    type=click.Choice(["advisors"]),
    help="Run it with the recorded advice and without any, and print both side by side.",
)
@json_option
@verbose_option
def backtest(
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    strategy: str | None,
    no_folder: bool,
    engine: Engine,
    detail: str,
    bracket: bool,
    advice: Path | None,
    ablate: str | None,
    json: bool,
) -> None:
    """Run a strategy over recorded order books and print what came of it.

    The data is what the configuration names, such as
    'data: {plugin: capture, paths: [day.gz]}'.
    """
    from mmkit.recorder import Detail
    from mmkit.report import report_json, report_text, value_json
    from mmkit.run.backtest import backtest, load_tapes

    if bracket and ablate:
        raise click.UsageError(
            "'--bracket' and '--ablate' each run it in ways of their own; leave one out"
        )
    if bracket:
        _refuse_beside("--bracket")
    if ablate:
        _refuse_beside("--ablate")
    loaded = load_with_log(config, overrides, userdir=userdir, strategy=strategy)
    if advice is not None:
        from mmkit.run.advisors.recorded import with_advice_of

        loaded = with_advice_of(loaded, advice)
    tapes = load_tapes(loaded)
    if bracket:
        from mmkit.run.bracket import bracket_text, run_bracket

        with progress_bar("replaying", shown=sys.stderr.isatty() and not json) as progress:
            found = run_bracket(loaded, tapes, progress)
        click.echo(value_json(found) if json else bracket_text(found))
        return
    if ablate:
        from mmkit.run.ablation import ablate_advisors, ablation_text

        with progress_bar("replaying", shown=sys.stderr.isatty() and not json) as progress:
            ablation = ablate_advisors(loaded, tapes, progress)
        click.echo(value_json(ablation) if json else ablation_text(ablation))
        return
    with progress_bar("replaying", shown=sys.stderr.isatty() and not json) as progress:
        report = backtest(
            loaded,
            tapes=tapes,
            folder=not no_folder,
            engine=engine,
            detail=Detail(detail),
            progress=progress,
        )
    click.echo(report_json(report) if json else report_text(report))


def _refuse_beside(asked: str) -> None:
    """Refuse options that what is asked for, which leaves no folder and chooses its engine, would not heed."""
    context = click.get_current_context()
    options = {"no_folder": "--no-folder", "engine": "--engine", "detail": "--journal"}
    for name, option in options.items():
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"'{option}' has no meaning beside '{asked}', which leaves no run folder and runs every one "
                "on whichever engine can; leave one of them out"
            )
