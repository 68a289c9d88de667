"""The ``sim:`` section: how a simulated exchange behaves. Plain values, shared by backtest and dry run."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mmkit.units import Duration, Exact


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LatencySettings(_Section):
    """How long a command takes to the venue and its answer takes back; constant."""

    entry: Duration = Field(
        10_000_000, ge=0, description="From our decision to the venue, such as 10ms."
    )
    response: Duration = Field(
        10_000_000, ge=0, description="From the venue back to us, such as 10ms."
    )


class QueueSettings(_Section):
    """How the queue ahead of a resting order is thought to shrink."""

    model: Literal["risk_averse", "power", "log"] = Field(
        "power",
        description="risk_averse: only trades move us up. power, log: cancellations do too, in part.",
    )
    exponent: float = Field(
        2.0, gt=0, le=20, description="Of the power model; larger is more cautious."
    )


class FeeSettings(_Section):
    """Shares of the traded value; negative is a rebate."""

    maker: Exact = Field(
        Decimal("0.0002"), gt=-1, lt=1, description="Charged on fills that rested."
    )
    taker: Exact = Field(Decimal("0.0005"), gt=-1, lt=1, description="Charged on fills that took.")


class FillReports(StrEnum):
    """What a fill report may overtake."""

    AFTER_DATA = "after_data"
    """No report before the market data that caused it has been received; what a dry run can know."""
    PLAIN = "plain"
    """A report takes the response latency, and may overtake the data; as hftbacktest has it."""


class SimSettings(_Section):
    """Everything under ``sim:``."""

    latency: LatencySettings = LatencySettings()
    queue: QueueSettings = QueueSettings()
    fees: FeeSettings = FeeSettings()
    partial_fills: bool = Field(True, description="Whether a trade may fill a part of an order.")
    fill_reports: FillReports = Field(
        FillReports.PLAIN,
        description="plain: a report takes the response latency. after_data: nor does it come before "
        "the data that caused it. A dry run is always after_data.",
    )
    data_wait: Duration = Field(
        250_000_000,
        ge=0,
        description="after_data: how long an answer waits, in a quiet market, for data that would decide it.",
    )
