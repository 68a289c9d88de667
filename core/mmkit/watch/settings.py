"""The ``watch:`` section: what is watched in a market, and from when on it is worth an event."""

from __future__ import annotations

from decimal import Decimal
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmkit.units import Distance, Duration, Exact


class WatchSettings(BaseModel):
    """Everything under ``watch:``. A limit of `None` makes no events.

    Window, least, deviations, trades, cooldown and large trade have the tutorials' figures as defaults.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    window: int = Field(
        20,
        ge=2,
        le=1_000_000,
        description="Trade prices in the rolling window of volatility and z-score.",
    )
    least: int = Field(
        5, ge=2, description="Prices there must be before volatility and z-score are told."
    )
    deviations: float | None = Field(
        2.5, gt=0, description="PriceAnomaly: more standard deviations from the mean than this."
    )
    floor: Distance = Field(
        Distance(Decimal(1), "ticks"),
        description="PriceAnomaly: the standard deviation is taken to be at least this, such as 1ticks or "
        "1bps; in a market that stands still a single step would be without measure.",
    )
    large_trade: Exact | None = Field(
        Decimal(2),
        ge=0,
        description="LargeTrade: a trade of more than this, in base currency (contracts if inverse).",
    )
    trades: int = Field(
        50, ge=1, le=1_000_000, description="Trades in the rolling window of the buy/sell ratio."
    )
    one_sided: float | None = Field(
        None,
        ge=0.5,
        lt=1,
        description="OneSidedTrades: one side has more than this part of their quantity, such as 0.9.",
    )
    span: Duration = Field(
        60_000_000_000, gt=0, description="How far back trade flow is summed, such as 1m."
    )
    strong_flow: Exact | None = Field(
        None,
        ge=0,
        description="StrongFlow: bought less sold within span is more than this, either way, in base "
        "currency (contracts if inverse).",
    )
    high_volatility: Distance | None = Field(
        None,
        description="HighVolatility: the standard deviation of the prices is above this, such as 5bps.",
    )
    cooldown: Duration = Field(
        30_000_000_000, ge=0, description="After an event none of its kind and side for so long."
    )
    every: Duration | None = Field(
        10_000_000_000,
        ge=1_000_000,
        description="Statistics as an event of their own at this interval; 1ms at least.",
    )

    @model_validator(mode="after")
    def _least_fits(self) -> Self:
        if self.least > self.window:
            raise ValueError(
                f"least must not be above window, or nothing is ever told; found least {self.least} and "
                f"window {self.window}"
            )
        return self
