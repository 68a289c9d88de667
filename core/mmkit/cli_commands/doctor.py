"""``mmkit doctor``: whether everything is in place for a run."""

from __future__ import annotations

from pathlib import Path

import click

from mmkit.cli_commands.options import Asked, config_options, json_option, verbose_option


@click.command()
@config_options
@json_option
@verbose_option
def doctor(
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    strategy: str | None,
    json: bool,
) -> None:
    """Check Python, extras, plugins, configuration, market data, clock and disk.

    Starts the configured services and listens to the market data for a moment. Each row is ok, warn or
    fail; ends with status 0 if none is fail, else 1.
    """
    import logging

    from mmkit.doctor import examine

    if not click.get_current_context().find_root().ensure_object(Asked).verbose:
        logging.getLogger().setLevel(logging.ERROR)  # the rows say it
    findings = examine(config, overrides, userdir=userdir, strategy=strategy)
    ok = not any(finding.status == "fail" for finding in findings)
    if json:
        from dataclasses import asdict
        from json import dumps

        rows = [asdict(finding) for finding in findings]
        click.echo(dumps({"ok": ok, "rows": rows}, indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            color = {"ok": "green", "warn": "yellow", "fail": "red"}[finding.status]
            first, *rest = finding.message.splitlines() or [""]
            status = click.style(f"{finding.status:<4}", fg=color)
            click.echo(f"{status}  {finding.name:<{width}}  {first}")
            for line in rest:
                click.echo(f"{'':{width + 8}}{line}")
    if not ok:
        raise SystemExit(1)
