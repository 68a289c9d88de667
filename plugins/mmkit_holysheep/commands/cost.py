"""``mmkit advisor cost``: what a month of asking would cost."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--calls-per-day", type=click.IntRange(1, 1_000_000_000), default=1000, show_default=True
)
@click.option(
    "--prompt-tokens",
    type=click.IntRange(0, 10_000_000),
    default=500,
    show_default=True,
    help="Of one call.",
)
@click.option(
    "--completion-tokens",
    type=click.IntRange(0, 10_000_000),
    default=200,
    show_default=True,
    help="Of one call.",
)
@click.option(
    "--run",
    "run",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Of a run that has ended: set beside what it earned from the spread.",
)
@click.option(
    "--prices",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Prices that replace those of mmkit, model by model.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def cost(
    calls_per_day: int,
    prompt_tokens: int,
    completion_tokens: int,
    run: Path | None,
    prices: Path | None,
    as_json: bool,
) -> None:
    """What a month of asking costs with every model of the price table.

    Of a run, realized profit less fees is scaled to the same month: what was bought and sold again at the average
    entry price.

    \b
    mmkit advisor cost
    mmkit advisor cost --calls-per-day 1440 --prompt-tokens 600 --completion-tokens 150
    mmkit advisor cost --run user_data/results/20261126-101500-trade
    """
    import datetime

    from mmkit.report import value_json
    from mmkit_holysheep.monthly import income_of, monthly, monthly_text
    from mmkit_holysheep.prices import load_prices

    found = monthly(
        load_prices(prices),
        calls_per_day=calls_per_day,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        today=datetime.datetime.now(tz=datetime.UTC).date(),
        income=None if run is None else income_of(run),
    )
    click.echo(value_json(found) if as_json else monthly_text(found))
