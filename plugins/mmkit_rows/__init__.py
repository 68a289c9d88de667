"""Rows that were recorded or imported, and files of tapes, as a data source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mmkit.interfaces import DataSource, Provider


@hookimpl
def register_data_sources() -> list[Provider[Any, DataSource]]:
    """Offer the reader of rows."""
    from mmkit.interfaces import Provider
    from mmkit_rows.source import RowsConfig, RowsSource

    return [
        Provider(
            "rows",
            RowsConfig,
            RowsSource,
            summary="what 'mmkit record' and 'mmkit data import' keep, or a .tape, .parquet, .csv, .npz, or a recorded run",
        )
    ]
