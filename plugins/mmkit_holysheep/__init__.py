"""Advice from language models behind HolySheep, or any other gateway that speaks OpenAI's protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

    from mmkit.interfaces import Advisor, Provider


@hookimpl
def register_advisors() -> list[Provider[Any, Advisor]]:
    """Offer the gateway."""
    from mmkit.interfaces import Provider
    from mmkit_holysheep.advisor import HolysheepAdvisor
    from mmkit_holysheep.settings import HolysheepConfig

    return [
        Provider(
            "holysheep",
            HolysheepConfig,
            HolysheepAdvisor,
            summary="language models behind HolySheep or another OpenAI-compatible gateway",
            requires=("openai",),
            install="mmkit[llm]",
        )
    ]


@hookimpl
def register_commands(cli: click.Group) -> None:
    """Add ``mmkit advisor``."""
    from mmkit_holysheep.commands import advisor

    cli.add_command(advisor)
