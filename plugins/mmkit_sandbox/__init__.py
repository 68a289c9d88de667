"""A local exchange on 127.0.0.1 that speaks Binance's protocol on one port: public data of spot, USD-M and
COIN-M, accounts and orders on spot and USD-M.

Offers the service ``sandbox`` and the command ``mmkit sandbox``. Behind the sockets stands either a
matching engine with an order flow of its own, or a recorded capture that is played again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

    from mmkit.interfaces import Provider, Service


@hookimpl
def register_services() -> list[Provider[Any, Service]]:
    """Offer the service ``sandbox``."""
    from mmkit.interfaces import Provider
    from mmkit_sandbox.service import Config, Sandbox

    return [
        Provider(
            "sandbox",
            Config,
            Sandbox,
            summary="a local exchange that speaks Binance's protocol, simulated or replayed",
        )
    ]


@hookimpl
def register_commands(cli: click.Group) -> None:
    """Add ``mmkit sandbox`` and ``mmkit chaos``."""
    from mmkit_sandbox.chaoscommand import chaos
    from mmkit_sandbox.command import sandbox

    cli.add_command(sandbox)
    cli.add_command(chaos)
