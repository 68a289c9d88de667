"""The captures of the oracle's table, read by the plugin."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from mmkit.clock import SimClock
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import SourceContext
from mmkit.plugins import Plugins
from mmkit.tape import Tape
from mmkit_capture.source import CaptureConfig, CaptureSource

AUGUST = ("btcusdt_20240808.gz",)
JULY = ("btcusdt_20240718.gz", "btcusdt_20240719.gz")


def source(paths: Sequence[Path], userdir: Path) -> CaptureSource:
    """Return the plugin's reader of `paths`, which keeps its tape beside them or under `userdir`."""
    context = SourceContext(
        spec=InstrumentSpec(
            venue="binance",
            market="usdm",
            symbol="BTC/USDT:USDT",
            tick=Decimal("0.1"),
            lot=Decimal("0.001"),
        ),
        clock=SimClock(),
        userdir=userdir,
        wire_formats=Plugins.load(None).wire_formats,
    )
    return CaptureSource(CaptureConfig(paths=tuple(map(str, paths))), context)


def read(capture: CaptureSource) -> Tape:
    """Return the tape of a source."""
    return asyncio.run(capture.tape())
