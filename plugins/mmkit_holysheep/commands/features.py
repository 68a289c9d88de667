"""``mmkit advisor features``: ideas for the features of a signal model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmkit_holysheep.commands.options import advisor_options, market_options

if TYPE_CHECKING:
    from mmkit.advisors import Language


@click.command()
@click.option("--model", "models", multiple=True, metavar="NAME", help="Another model.")
@market_options
@advisor_options
def features(
    models: tuple[str, ...],
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
    """Ask for features to train a signal model on, and print them as YAML for the training's configuration.

    Ideas whose names say a feature that mmkit has become lines of 'features:', the others comments. Nobody has tried
    them: 'mmkit train' says what they are worth.

    \b
    mmkit advisor features -c train.yml > features.yml
    mmkit train -c train.yml -c features.yml
    """
    from mmkit.answers import FeatureIdeas
    from mmkit.report import value_json
    from mmkit_holysheep.commands.asking import Wanted, heard_by
    from mmkit_holysheep.commands.options import chosen_advisor, listed, load
    from mmkit_holysheep.feature_yaml import features_yaml
    from mmkit_holysheep.told import cost_words, tokens_words

    loaded = load(config, overrides, userdir)
    chosen, usual = chosen_advisor(
        loaded, "features", name, models=listed(models), base_url=base_url
    )
    heard = heard_by(loaded, chosen, Wanted.of("features", language or usual, listen=listen, at=at))
    (told,) = heard.told
    if json:
        click.echo(value_json(heard))
    elif isinstance(told.answer, FeatureIdeas):
        by = f"{told.model} for {heard.facts.symbol}"
        click.echo(features_yaml(told.answer.features, by), nl=False)
        click.echo(
            f"{told.model}: {tokens_words(told)} tokens, {cost_words(told)}, {told.took_s:.2f} s",
            err=True,
        )
    else:
        click.echo(f"no answer: {told.refused}", err=True)
    if told.answer is None:
        raise SystemExit(1)
