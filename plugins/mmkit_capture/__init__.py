"""Raw capture files, as recorders write them, as a data source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mmkit.interfaces import DataSource, Provider


@hookimpl
def register_data_sources() -> list[Provider[Any, DataSource]]:
    """Offer the reader of raw captures."""
    from mmkit.interfaces import Provider
    from mmkit_capture.source import CaptureConfig, CaptureSource

    return [
        Provider(
            "capture",
            CaptureConfig,
            CaptureSource,
            summary="raw captures, one message a line: plain, gz, xz or zst",
        )
    ]
