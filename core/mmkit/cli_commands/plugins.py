"""``mmkit plugins``: what is loaded, what it offers, what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmkit.cli_commands.options import Asked, file_options, json_option, verbose_option

if TYPE_CHECKING:
    from mmkit.discovery import PluginInfo


@click.command()
@file_options
@json_option
@verbose_option
def plugins(
    config: tuple[Path, ...], overrides: tuple[str, ...], userdir: Path | None, json: bool
) -> None:
    """List plugins, what they offer and what is wrong with them.

    Ends with status 0 even if some are broken. -v shows the traceback of each that is.
    """
    from mmkit.config import loaded_plugins

    found = loaded_plugins(config, overrides, userdir=userdir)
    infos = found.infos
    if json:
        from json import dumps

        click.echo(dumps([_plain(info) for info in infos], indent=2))
        return
    _table(infos)
    if click.get_current_context().find_root().ensure_object(Asked).verbose:
        for info in infos:
            if info.traceback:
                click.echo(f"\n{info.name} ({info.origin})\n{info.traceback}")


def _plain(info: PluginInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "version": info.version,
        "origin": info.origin,
        "status": _status(info),
        "error": info.error,
        "offers": [
            {
                "kind": offer.kind,
                "name": offer.name,
                "summary": offer.summary,
                "available": offer.available,
                "why_not": offer.why_not,
            }
            for offer in info.offers
        ],
    }


def _status(info: PluginInfo) -> str:
    if info.disabled:
        return "disabled"
    return "broken" if info.error else "ok"


def _table(infos: list[PluginInfo]) -> None:
    """Print a plugin a block: wide terminals and pipes get the same lines."""
    for info in infos:
        status = _status(info)
        color = {"ok": "green", "broken": "red", "disabled": "yellow"}[status]
        click.echo(
            f"{click.style(info.name, bold=True)} {info.version}  {click.style(status, fg=color)}"
            f"  {click.style(info.origin, dim=True)}"
        )
        if info.error:
            click.echo(f"  {info.error}")
        width = max((len(offer.kind) for offer in info.offers), default=0)
        for offer in info.offers:
            told = offer.summary if offer.available else click.style(offer.why_not, fg="red")
            click.echo(f"  {offer.kind:<{width}}  {offer.name}{f'  {told}' if told else ''}")
    broken = sum(1 for info in infos if info.error)
    count = f"{len(infos)} plugin{'' if len(infos) == 1 else 's'}"
    click.echo(f"\n{count}, {broken} broken" if broken else f"\n{count}")
