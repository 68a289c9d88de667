"""Binance spot, USD-M and COIN-M futures: the wire format, market data live from the venue, and accounts there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

    from mmkit.accounts import AccountClient
    from mmkit.interfaces import DataSource, Provider, WireFormat


@hookimpl
def register_wire_formats() -> list[Provider[Any, WireFormat]]:
    """Offer Binance's wire format, also for Binance US, which speaks spot's."""
    from mmkit.interfaces import Provider
    from mmkit_binance.wire import BinanceConfig, BinanceWire

    return [
        Provider(
            name, BinanceConfig, BinanceWire, summary="Binance spot, USD-M and COIN-M messages"
        )
        for name in ("binance", "binanceus")
    ]


@hookimpl
def register_data_sources() -> list[Provider[Any, DataSource]]:
    """Offer Binance's live market data."""
    from mmkit.interfaces import Provider
    from mmkit_binance.live import BinanceSource, BinanceSourceConfig

    return [
        Provider(
            "binance",
            BinanceSourceConfig,
            BinanceSource,
            summary="Binance spot, USD-M and COIN-M, live; or the local sandbox",
        )
    ]


@hookimpl
def register_accounts() -> list[Provider[Any, AccountClient]]:
    """Offer accounts at Binance, the quick way."""
    from mmkit.interfaces import Provider
    from mmkit_binance.account.client import BinanceAccount
    from mmkit_binance.account.config import BinanceAccountConfig

    return [
        Provider(
            "binance",
            BinanceAccountConfig,
            BinanceAccount,
            summary="orders on Binance spot and USD-M over its signed WebSocket API; or at the local sandbox",
        )
    ]


@hookimpl
def register_commands(cli: click.Group) -> None:
    """Add ``mmkit compare-feeds``."""
    from mmkit_binance.compare_command import compare_feeds

    cli.add_command(compare_feeds)
