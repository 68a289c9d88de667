"""``mmkit advisor ask``: one question, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmkit_holysheep.commands.options import advisor_options, market_options, question_argument

if TYPE_CHECKING:
    from mmkit.advisors import Language


@click.command()
@question_argument
@click.option("--model", "models", multiple=True, metavar="NAME", help="Another model.")
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
def ask(
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
    """Ask one QUESTION about the configured market, and print the answer with model, tokens, cost and time.

    QUESTION is market_structure, conditions, volatility, sentiment, explain_anomaly, news, signal5 or features. The
    market is listened to for a few seconds first; of recorded data it is what was known at --at.

    \b
    mmkit advisor ask market_structure -c user_data/advised.yml
    mmkit advisor ask news --text "Exchange X halts withdrawals" -c user_data/advised.yml
    mmkit advisor ask volatility --at 2024-08-08T23:59:30Z --model gpt-4.1-mini -c backtest.yml
    """
    from mmkit.report import value_json
    from mmkit_holysheep.commands.asking import Wanted, heard_by
    from mmkit_holysheep.commands.options import chosen_advisor, listed, load
    from mmkit_holysheep.told import facts_line, told_text

    loaded = load(config, overrides, userdir)
    chosen, usual = chosen_advisor(loaded, question, name, models=listed(models), base_url=base_url)
    wanted = Wanted.of(
        question, language or usual, text=text, happened=happened, listen=listen, at=at
    )
    heard = heard_by(loaded, chosen, wanted)
    (told,) = heard.told
    click.echo(value_json(heard) if json else f"{facts_line(heard.facts)}\n\n{told_text(told)}")
    if told.answer is None:
        raise SystemExit(1)
