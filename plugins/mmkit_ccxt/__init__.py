"""Market data of any venue that ccxt.pro covers, and accounts there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mmkit.accounts import AccountClient
    from mmkit.interfaces import DataSource, Provider


@hookimpl
def register_data_sources() -> list[Provider[Any, DataSource]]:
    """Offer ccxt.pro's order books and trades."""
    from mmkit.interfaces import Provider
    from mmkit_ccxt.source import CcxtConfig, CcxtSource

    return [
        Provider(
            "ccxt",
            CcxtConfig,
            CcxtSource,
            summary="order book and trades of any venue that ccxt.pro covers",
            requires=("ccxt",),
            install="mmkit[ccxt]",
        )
    ]


@hookimpl
def register_accounts() -> list[Provider[Any, AccountClient]]:
    """Offer accounts through ccxt."""
    from mmkit.interfaces import Provider
    from mmkit_ccxt.account import CcxtAccount, CcxtAccountConfig

    return [
        Provider(
            "ccxt",
            CcxtAccountConfig,
            CcxtAccount,
            summary="orders at any venue that ccxt.pro covers",
            requires=("ccxt",),
            install="mmkit[ccxt]",
        )
    ]
