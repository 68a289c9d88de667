"""The ``sim:`` section: how a simulated exchange behaves. Plain values, shared by backtest and dry run."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from mmkit.units import Duration, Exact, format_duration


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Seed = Annotated[int, Field(ge=0, lt=2**64)]
Factor = Annotated[float, Field(gt=0, le=1000)]


class DrawnLatency(_Section):
    """Drawn for each moment from a distribution that is linear between its quantiles."""

    quantiles: tuple[Duration, ...] = Field(
        description="From the least to the largest in equal steps of probability, such as "
        "[1ms, 1.2ms, 3ms, 20ms]; at least 2.",
        json_schema_extra={"minItems": 2},
    )
    seed: Seed = Field(1, description="Another seed draws other latencies.")

    @field_validator("quantiles")
    @classmethod
    def _ascend(cls, quantiles: tuple[int, ...]) -> tuple[int, ...]:
        if len(quantiles) < 2:
            raise ValueError(
                "at least 2 quantiles were expected, the least and the largest latency"
            )
        for number, (before, after) in enumerate(pairwise(quantiles), 2):
            if after < before:
                raise ValueError(
                    f"quantiles that ascend were expected; the {number}. one, "
                    f"{format_duration(after)}, is below {format_duration(before)} before it"
                )
        return quantiles


class SampledLatency(_Section):
    """Drawn for each moment from measured values."""

    samples: Path = Field(
        description="A CSV file with the column latency_ns; relative to the working folder."
    )
    seed: Seed = Field(1, description="Another seed draws other latencies.")
    factor: Factor = Field(1.0, description="Every latency is multiplied by it.")


class RecordedLatency(_Section):
    """What was measured at that time, linear between two measurements."""

    series: Path = Field(
        description="A CSV file with the columns ts_ns, latency_ns; relative to the working folder."
    )
    max_gap: Duration = Field(
        gt=0,
        description="The longest time without a measurement, such as 1m; for so long the first and the "
        "last one hold beyond the ends.",
    )
    factor: Factor = Field(1.0, description="Every latency is multiplied by it.")


AnyLatency: TypeAlias = int | DrawnLatency | SampledLatency | RecordedLatency
"""How long one way takes: always the same (ns), drawn, or recorded."""


_FORMS = {"quantiles": "drawn", "samples": "sampled", "series": "recorded"}


def _form(value: object) -> str | None:
    """Return which form of latency was written; `None` for keys that are none."""
    if isinstance(value, dict):
        forms = [form for key, form in _FORMS.items() if key in value]
        return forms[0] if len(forms) == 1 else None
    match value:
        case DrawnLatency():
            return "drawn"
        case SampledLatency():
            return "sampled"
        case RecordedLatency():
            return "recorded"
        case _:
            return "constant"


if TYPE_CHECKING:
    # An `AnyLatency`; who needs it asks which.
    OneLatency: TypeAlias = Any
else:
    OneLatency = Annotated[
        Annotated[Duration, Tag("constant")]
        | Annotated[DrawnLatency, Tag("drawn")]
        | Annotated[SampledLatency, Tag("sampled")]
        | Annotated[RecordedLatency, Tag("recorded")],
        Discriminator(
            _form,
            custom_error_type="latency_form",
            custom_error_message="a duration such as 10ms, or keys and values with one of quantiles, "
            "samples and series, was expected",
        ),
    ]


class LatencySettings(_Section):
    """How long a command takes to the venue and its answer takes back."""

    entry: OneLatency = Field(
        10_000_000, description="From our decision to the venue, such as 10ms."
    )
    response: OneLatency = Field(10_000_000, description="From the venue back to us, such as 10ms.")


def times(latency: LatencySettings, factor: float) -> LatencySettings:
    """Return the latencies multiplied by `factor`, both ways."""

    def scaled(way: AnyLatency) -> AnyLatency:
        match way:
            case DrawnLatency():
                return way.model_copy(
                    update={"quantiles": tuple(round(ns * factor) for ns in way.quantiles)}
                )
            case SampledLatency() | RecordedLatency():
                return way.model_copy(update={"factor": way.factor * factor})
            case _:
                return round(way * factor)

    ways = {"entry": scaled(latency.entry), "response": scaled(latency.response)}
    return latency.model_copy(update=ways)


Knot = Annotated[float, Field(ge=0, le=1)]


class QueueSettings(_Section):
    """How the queue ahead of a resting order is thought to shrink."""

    model: Literal["optimistic", "power", "log", "calibrated", "risk_averse", "pessimistic"] = (
        Field(
            "power",
            description="optimistic: nobody is ahead of us. power, log, calibrated: cancellations move us "
            "up, in part. risk_averse: only trades do. pessimistic: only a market that moves through our "
            "price fills.",
        )
    )
    exponent: float = Field(
        2.0, gt=0, le=20, description="Of the power model; larger is more cautious."
    )
    behind: tuple[Knot, ...] = Field(
        (),
        description="Of the calibrated model: the probability that a cancellation was behind us, by our "
        "place in the queue, from the front (0) to the end (1) in equal steps; at least 2, none above "
        "the one before it.",
    )

    @field_validator("behind")
    @classmethod
    def _falls(cls, behind: tuple[float, ...]) -> tuple[float, ...]:
        if len(behind) == 1:
            raise ValueError("at least 2 probabilities were expected, at the front and at the end")
        for number, (before, after) in enumerate(pairwise(behind), 2):
            if after > before:
                raise ValueError(
                    "probabilities that do not rise from the front of the queue to its end were "
                    f"expected; the {number}. one, {after}, is above {before} before it"
                )
        return behind

    @model_validator(mode="after")
    def _has_what_the_model_needs(self) -> Self:
        if self.model == "calibrated" and not self.behind:
            raise ValueError(
                "model calibrated needs the probabilities that were measured, such as "
                "behind: [1.0, 0.6, 0.3, 0.0]"
            )
        return self


Share = Annotated[Exact, Field(gt=-1, lt=1)]


class FeeTier(_Section):
    """What is charged from a volume on. Shares of the traded value; negative is a rebate."""

    volume: Exact = Field(ge=0, description="Traded in thirty days, in quote currency.")
    maker: Share = Field(description="Charged on fills that rested.")
    taker: Share = Field(description="Charged on fills that took.")


class FeeSettings(_Section):
    """Shares of the traded value; negative is a rebate. The same for ever, or by the volume of thirty days."""

    maker: Share = Field(Decimal("0.0002"), description="Charged on fills that rested.")
    taker: Share = Field(Decimal("0.0005"), description="Charged on fills that took.")
    tiers: tuple[FeeTier, ...] = Field(
        (),
        description="In place of maker and taker: what is charged by the volume of the last thirty "
        "days, from volume 0 on, ascending.",
    )
    volume_30d: Exact = Field(
        Decimal(0),
        ge=0,
        description="Traded in the thirty days before the run, in quote currency; a thirtieth of it "
        "drops out each day.",
    )
    in_base: bool = Field(
        False,
        description="Take the fee of a buy from what is bought, as Binance's spot does; spot only.",
    )

    @field_validator("tiers")
    @classmethod
    def _ascend(cls, tiers: tuple[FeeTier, ...]) -> tuple[FeeTier, ...]:
        if not tiers or tiers[0].volume:
            raise ValueError(
                'a first tier with volume "0" was expected, which holds from the start'
            )
        for number, (before, after) in enumerate(pairwise(tiers), 2):
            if after.volume <= before.volume:
                raise ValueError(
                    f"volumes that ascend were expected; that of the {number}. tier, {after.volume}, "
                    f"is not above {before.volume} before it"
                )
        return tiers

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        flat = [name for name in ("maker", "taker") if name in self.model_fields_set]
        if self.tiers and flat:
            raise ValueError(
                f"either tiers or maker and taker were expected; both are there: leave out tiers or "
                f"{' and '.join(flat)}"
            )
        if not self.tiers and "volume_30d" in self.model_fields_set:
            raise ValueError("volume_30d decides between tiers, and there are none; leave it out")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unused = ("maker", "taker") if self.tiers else ("tiers", "volume_30d")
        return {name: value for name, value in handler(self).items() if name not in unused}


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


class Bracket(NamedTuple):
    """What may be thought of the fills of one run; the truth of a market lies between the outer two."""

    optimistic: SimSettings
    configured: SimSettings
    pessimistic: SimSettings


def bracket(sim: SimSettings) -> Bracket:
    """Return `sim` with nobody ahead of our orders, as it is, and with everybody ahead of them."""
    outer = [
        sim.model_copy(update={"queue": QueueSettings(model=model)})
        for model in ("optimistic", "pessimistic")
    ]
    return Bracket(outer[0], sim, outer[1])
