"""Tardis: its CSV datasets, and tardis-machine's normalised streams, replayed and live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mmkit.interfaces import DataSource, Provider


@hookimpl
def register_data_sources() -> list[Provider[Any, DataSource]]:
    """Offer Tardis's data."""
    from mmkit.interfaces import Provider
    from mmkit_tardis.source import TardisConfig, TardisSource

    return [
        Provider(
            "tardis",
            TardisConfig,
            TardisSource,
            summary="Tardis: CSV datasets, and tardis-machine replayed or live",
        )
    ]
