"""``mmkit advisor``: ask language models by hand, compare them, and see what they cost."""

from __future__ import annotations

from importlib import import_module

import click

_COMMANDS = {
    "ask": "Ask one question about the market, live or recorded",
    "compare": "Ask several models the same, and compare answers, time and cost",
    "check": "Check key, address and models; costs nothing",
    "cost": "What a month of asking costs, model by model",
    "features": "Ask for features to train a model on, as YAML",
}


class _Advisor(click.Group):
    """Each command's module is imported when it is called, so that ``--help`` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(
            import_module(f"mmkit_holysheep.commands.{cmd_name}"), cmd_name
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Advisor, short_help="Ask language models about the market; what they cost")
def advisor() -> None:
    """Ask language models about the market by hand, compare them, and see what they cost.

    What an advisor says is data, never an order: docs/advisors.md. Exit codes: 0 ok, 1 no answer, 2 usage, 3
    configuration, 4 data, 5 gateway or network.
    """
