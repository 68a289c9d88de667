"""``mmkit advisor check``: whether key, address and models are right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from mmkit_holysheep.checking import Row
from mmkit_holysheep.commands.options import advisor_options

if TYPE_CHECKING:
    from mmkit.config import Config
    from mmkit.config.chosen import Chosen


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at.

    Attributes:
        ok: Whether nothing fails.
        advisors: What was found of each, by its name; ``holysheep`` if the configuration has none.
    """

    ok: bool
    advisors: dict[str, list[Row]]


@click.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Look for this model in place of the configured; may be repeated.",
)
@advisor_options
def check(
    models: tuple[str, ...],
    name: str | None,
    base_url: str | None,
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    json: bool,
) -> None:
    """Look whether the gateway can be reached, takes the key, and has the models; what they cost, and what may be spent.

    It asks the gateway for its list of models and nothing else, so that it costs nothing. Each row is ok, warn or fail;
    ends with status 0 if none is fail, with 3 if the configuration is to be changed, with 5 if the gateway is in
    trouble. The key is never shown.

    \b
    mmkit advisor check
    mmkit advisor check --model gpt-4.1-mini
    mmkit advisor check -c user_data/advised.yml
    """
    import asyncio

    from mmkit_holysheep.commands.options import chosen_advisor, listed, load
    from mmkit_holysheep.settings import HolysheepConfig

    loaded = load(config, overrides, userdir)
    ours = [one.name for one in loaded.advisors if isinstance(one.advisor.config, HolysheepConfig)]
    names: list[str | None] = [name] if name is not None else [*ours] or [None]
    chosen = {
        one or "holysheep": chosen_advisor(
            loaded, "", one, models=listed(models), base_url=base_url
        )[0]
        for one in names
    }
    found = asyncio.run(_look(loaded, chosen))
    rows = [(who, row) for who, of_one in found.items() for row in of_one]
    code = max((row.code for _, row in rows), default=0)
    if json:
        from mmkit.report import value_json

        click.echo(value_json(Checked(ok=not code, advisors=found)))
    else:
        # Advisors behind one gateway are usually all alike.
        alike: dict[str, list[str]] = {}
        for who, of_one in found.items():
            alike.setdefault(repr(of_one), []).append(who)
        for those in alike.values():
            of_one = found[those[0]]
            click.echo(f"{', '.join(those)}:")
            width = max(len(row.what) for row in of_one)
            for row in of_one:
                color = {"ok": "green", "warn": "yellow", "fail": "red"}[row.status]
                status = click.style(f"{row.status:<4}", fg=color)
                click.echo(f"  {status}  {row.what:<{width}}  {row.message}")
    if code:
        raise SystemExit(code)


async def _look(config: Config, chosen: dict[str, Chosen]) -> dict[str, list[Row]]:
    """Return what is to be said of each advisor."""
    import datetime

    from mmkit.clock import SystemClock
    from mmkit.errors import ConfigError
    from mmkit_holysheep.checking import broken_rows, rows_of
    from mmkit_holysheep.commands.asking import advisor_of, endpoints_of
    from mmkit_holysheep.settings import HolysheepConfig

    clock = SystemClock()
    today = datetime.datetime.fromtimestamp(clock.now_ns() // 10**9, tz=datetime.UTC).date()
    found: dict[str, list[Row]] = {}
    async with endpoints_of(config, clock, list(chosen.values())) as endpoints:
        for who, one in chosen.items():
            settings = one.config
            assert isinstance(settings, HolysheepConfig)  # chosen above
            try:
                advisor = advisor_of(config, one, clock, endpoints)
            except ConfigError as error:
                found[who] = broken_rows(error)
                continue
            try:
                listed = await advisor.models()
            finally:
                await advisor.close()
            found[who] = rows_of(settings, advisor.reach, advisor.prices, listed, today)
    return found
