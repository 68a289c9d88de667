"""Online statistics of the trades in one market, and the events that stand out. Rows in, values out; no I/O, no clock."""

from __future__ import annotations

from mmkit.events import (
    ALERTS,
    Alert,
    HighVolatility,
    LargeTrade,
    OneSidedTrades,
    PriceAnomaly,
    Statistics,
    StrongFlow,
    WatchEvent,
)
from mmkit.watch.settings import WatchSettings
from mmkit.watch.watch import Watch

__all__ = [
    "ALERTS",
    "Alert",
    "HighVolatility",
    "LargeTrade",
    "OneSidedTrades",
    "PriceAnomaly",
    "Statistics",
    "StrongFlow",
    "Watch",
    "WatchEvent",
    "WatchSettings",
]
