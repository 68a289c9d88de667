"""The sections of a training: what a model is shown, when, what it shall say, and how it learns that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    create_model,
    model_validator,
)

from mmkit.config.chosen import Chosen
from mmkit.features import FeatureList, FeatureSpec
from mmkit.interfaces import PluginConfig
from mmkit.learning import LabelRule
from mmkit.units import format_duration, parse_duration

M = TypeVar("M", bound=BaseModel)

LONGEST = 1_000_000
"""Samples that a horizon or a window may have: more is a mistake, no wish."""


@dataclass(frozen=True)
class Sampling:
    """When the features are looked at.

    Attributes:
        every_ns: The grid; `None` for once an update of the book.
    """

    every_ns: int | None = None

    def __str__(self) -> str:
        return "update" if self.every_ns is None else format_duration(self.every_ns)

    @property
    def told(self) -> int | str:
        """As the card has it."""
        return "update" if self.every_ns is None else self.every_ns


def _sampling(value: Any) -> Sampling:
    if isinstance(value, Sampling):
        return value
    if value == "update":
        return Sampling()
    try:
        every_ns = parse_duration(value)
    except ValueError:
        every_ns = 0
    if every_ns < 1_000_000:
        raise ValueError(
            f"'update', or a grid of 1ms or more such as 100ms, was expected; found {value!r}"
        )
    return Sampling(every_ns)


@dataclass(frozen=True)
class Horizon:
    """How far a label looks ahead.

    Attributes:
        length: In samples, or in ns.
        unit: Which.
    """

    length: int
    unit: Literal["updates", "ns"] = "updates"

    def __str__(self) -> str:
        return str(self.length) if self.unit == "updates" else format_duration(self.length)


def _horizon(value: Any) -> Horizon:
    if isinstance(value, Horizon):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LONGEST:
        return Horizon(value)
    if isinstance(value, str):
        try:
            ns = parse_duration(value)
        except ValueError:
            ns = 0
        if ns > 0:
            return Horizon(ns, "ns")
    raise ValueError(
        f"a number of samples such as 20, or a time such as 500ms, was expected, not {value!r}"
    )


def _horizons(value: Any) -> tuple[Horizon, ...]:
    listed = value if isinstance(value, list | tuple) else [value]
    found = tuple(_horizon(one) for one in listed)
    names = [str(one) for one in found]
    if not found or len(set(names)) < len(names):
        raise ValueError(f"one horizon, or a list of different ones, was expected; found {value!r}")
    return found


def _plain_horizons(horizons: tuple[Horizon, ...]) -> list[int | str]:
    return [one.length if one.unit == "updates" else str(one) for one in horizons]


_ONE_HORIZON: dict[str, Any] = {"type": ["integer", "string"], "minimum": 1, "maximum": LONGEST}
Horizons = Annotated[
    Any,
    BeforeValidator(_horizons),
    PlainSerializer(_plain_horizons),
    WithJsonSchema(
        {"anyOf": [_ONE_HORIZON, {"type": "array", "items": _ONE_HORIZON, "minItems": 1}]}
    ),
]
"""A tuple of `Horizon`; written as one, or as a list."""

AnySampling = Annotated[
    Any,
    BeforeValidator(_sampling),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["update", "100ms"]}),
]
"""A `Sampling`; written ``update`` or ``100ms``."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LabelsSection(_Section):
    """What is up, flat and down."""

    horizon: Horizons = Field(
        description="How far ahead: a number of samples such as 20, a time such as 500ms, or a list of them."
    )
    how: Literal["from_now", "from_past"] = Field(
        "from_now", description="The move of the smoothed mid: from mid, or from its smoothed past."
    )
    threshold_bps: float | None = Field(
        None, ge=0, lt=10_000, description="A move above it is up, below its negative down."
    )
    quantile: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="In place of threshold_bps: the share of the training data's moves that is flat.",
    )

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        if (self.threshold_bps is None) == (self.quantile is None):
            which = "neither is" if self.quantile is None else "both are"
            raise ValueError(
                f"either threshold_bps or quantile was expected; {which} there; such as quantile: 0.33"
            )
        return self

    def rules(self) -> dict[str, LabelRule]:
        """Return the rule of each horizon, by its name."""
        return {
            str(one): LabelRule(
                how=self.how,
                horizon=one.length,
                unit=one.unit,
                threshold_bps=self.threshold_bps,
                quantile=self.quantile,
            )
            for one in self.horizon
        }


def _share_or_time(value: Any) -> Any:
    if value is None:
        return value
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, float) and 0 < value < 1:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value > 1:
        return value  # read already: ns
    raise ValueError(
        f"a share between 0 and 1 such as 0.25, or a time such as 6h, was expected; found {value!r}"
    )


class TrainingSection(_Section):
    """How a model is trained and judged; the other keys are the plugin's."""

    out: str = Field(
        min_length=1,
        description="Folder for the model and the report, such as user_data/models/mine; relative to the working folder.",
    )
    window: int = Field(
        1, strict=True, ge=1, le=LONGEST, description="Samples that the model is shown."
    )
    stride: int = Field(
        1,
        strict=True,
        ge=1,
        le=LONGEST,
        description="Learn from every n-th sample only; validated and tested on each.",
    )
    folds: int = Field(
        5, strict=True, ge=1, le=1000, description="Of walk-forward: how often it is trained anew."
    )
    test: Annotated[
        Any,
        BeforeValidator(_share_or_time),
        PlainSerializer(lambda test: format_duration(test) if isinstance(test, int) else test),
        WithJsonSchema({"type": ["number", "string", "null"], "examples": ["6h", 0.25]}),
    ] = Field(
        None,
        description="What the folds are tested on: the last so long, or the last share; else all but the first of "
        "folds + 1 parts.",
    )
    valid: float = Field(
        0.2, gt=0, lt=1, description="Share of what is before a test that says when to stop."
    )
    rolling: bool = Field(
        False, description="Train on the part before the test only, not on all before it."
    )
    seed: int = Field(1, strict=True, ge=0, lt=2**31, description="Of everything that is drawn.")

    @model_validator(mode="after")
    def _rolling_has_parts(self) -> Self:
        if self.rolling and self.test is not None:
            raise ValueError(
                "rolling trains on the part before each test, and with 'test' there are no such parts; leave one out"
            )
        return self


class LearningSections(_Section):
    """The sections that stand beside ``training``."""

    features: FeatureList | None = Field(None, description="What a signal model is shown.")
    sampling: AnySampling = Field(
        "update",
        validate_default=True,
        description="When the features are looked at: update, or a grid of times such as 100ms.",
    )
    labels: LabelsSection | None = Field(None, description="What is up, flat and down.")


@dataclass(frozen=True)
class LearningConfig:
    """The sections of a training, as far as there are any.

    Attributes:
        features: What a model is shown.
        sampling: When.
        labels: What it shall say.
        training: What trains it.
        settings: The keys of ``training`` that are not the plugin's.
    """

    features: tuple[FeatureSpec, ...] | None = None
    sampling: Sampling = Sampling()
    labels: LabelsSection | None = None
    training: Chosen | None = None
    settings: TrainingSection | None = None


def with_settings(config: type[PluginConfig]) -> type[PluginConfig]:
    """Return the model of a whole section ``training``: the plugin's keys and those of `TrainingSection`."""
    bases: Any = (TrainingSection, config)
    whole: Any = create_model(config.__name__, __base__=bases)
    return cast(type[PluginConfig], whole)


def part_of(section: BaseModel, model: type[M]) -> M:
    """Return those keys of a checked section that are of `model`."""
    names = model.model_fields
    return model.model_construct(
        section.model_fields_set & set(names), **{name: getattr(section, name) for name in names}
    )
