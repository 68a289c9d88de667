"""``mmkit advisor compare``: the same question to several models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmkit_holysheep.commands.options import advisor_options, market_options, question_argument

if TYPE_CHECKING:
    from mmkit.advisors import Language


@click.command()
@question_argument
@click.option(
    "--models",
    multiple=True,
    required=True,
    metavar="A,B,C",
    help="Models to ask, separated by commas; may be repeated.",
)
@click.option(
    "--text", default="", metavar="TEXT", help="Words that are asked about, such as a headline."
)
@click.option(
    "--happened",
    default="",
    metavar="TEXT",
    help="The event that is asked about, for explain_anomaly.",
)
@market_options
@advisor_options
def compare(
    question: str,
    models: tuple[str, ...],
    text: str,
    happened: str,
    listen: str,
    at: str | None,
    language: Language | None,
    name: str | None,
    base_url: str | None,
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    json: bool,
) -> None:
    """Ask several models the same QUESTION at once: the same words about the same moment.

    Prints answers, time, tokens and cost side by side. Every model is paid for, and the budget of the advisor holds.
    Ends with status 1 if none answers.

    \b
    mmkit advisor compare market_structure --models deepseek-v3.2,gpt-4.1-mini,claude-haiku-4-5
    mmkit advisor compare volatility --models sandbox-rule -c user_data/advised.yml
    """
    from mmkit.report import value_json
    from mmkit_holysheep.commands.asking import Wanted, heard_by
    from mmkit_holysheep.commands.options import chosen_advisor, listed, load
    from mmkit_holysheep.told import compared_text, facts_line

    names = listed(models)
    if not names:
        raise click.BadParameter("one model at least was expected", param_hint="--models")
    loaded = load(config, overrides, userdir)
    chosen, usual = chosen_advisor(loaded, question, name, models=names, base_url=base_url)
    wanted = Wanted.of(
        question, language or usual, text=text, happened=happened, listen=listen, at=at
    )
    heard = heard_by(loaded, chosen, wanted, models=names)
    click.echo(
        value_json(heard) if json else f"{facts_line(heard.facts)}\n\n{compared_text(heard)}"
    )
    if all(one.answer is None for one in heard.told):
        raise SystemExit(1)
