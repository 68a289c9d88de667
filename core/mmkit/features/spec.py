"""The list of features as it is written in YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from mmkit.errors import ConfigError, Mistake
from mmkit.features.definitions import BUCKET, BUCKETS, DEFINITIONS, LEVELS, WINDOW
from mmkit.units import Duration, Exact, format_duration

MOST_LEVELS = 100
"""Deeper than any venue's partial book; every level costs time with every message."""
MOST_BUCKETS = 10_000
SHORTEST = 1_000_000
"""A window below a millisecond is shorter than the clocks of venues tell."""
LONGEST = 86_400_000_000_000

_DEFAULTS: dict[tuple[str, str], int] = {
    ("imbalance", LEVELS): 1,
    ("ofi", LEVELS): 1,
    ("vpin", BUCKETS): 50,  # as Easley, Lopez de Prado and O'Hara take them
}


class FeatureSpec(BaseModel):
    """One feature: its name, or its name with settings.

    Which settings a feature takes is told in `mmkit.features.definitions` and ``docs/features.md``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(description="Of the feature, such as imbalance.")
    levels: int | None = Field(
        None, strict=True, validate_default=True, description="Of the book, from the best on."
    )
    window: Duration | None = Field(
        None, validate_default=True, description="How far it looks back, such as 5s."
    )
    bucket: Exact | None = Field(
        None, validate_default=True, description="Volume of a bucket, such as 5: a quantity."
    )
    buckets: int | None = Field(
        None, strict=True, validate_default=True, description="How many buckets it looks back."
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, dict | FeatureSpec):
            raise ValueError(f"a feature's name, or keys and values, was expected; found {value!r}")
        return value

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in DEFINITIONS:
            near = get_close_matches(name, DEFINITIONS, 1)
            meant = f" (did you mean '{near[0]}'?)" if near else ""
            raise ValueError(f"one of {', '.join(DEFINITIONS)} was expected{meant}; found '{name}'")
        return name

    @field_validator(LEVELS, WINDOW, BUCKET, BUCKETS)
    @classmethod
    def _fits(cls, value: Any, info: ValidationInfo) -> Any:
        name, key = info.data.get("name"), str(info.field_name)
        if name is None:  # is told already
            return value
        settings = DEFINITIONS[name].settings
        if key not in settings:
            if value is not None:
                takes = f"it takes {' and '.join(settings)}" if settings else "it takes nothing"
                raise ValueError(f"'{name}' has no '{key}': {takes}; found {_written(key, value)}")
            return None
        if value is None:
            value = _DEFAULTS.get((name, key))
        return _within(name, key, value)

    @property
    def column(self) -> str:
        """The name of its column, such as ``ofi_1_1s``."""
        return "_".join(
            [
                self.name,
                *(_written(key, getattr(self, key)) for key in DEFINITIONS[self.name].settings),
            ]
        )

    def __str__(self) -> str:
        return self.column


def _within(name: str, key: str, value: Any) -> Any:
    if key == WINDOW:
        if value is None:
            raise ValueError(f"'{name}' needs a window, such as 5s; found nothing")
        if not SHORTEST <= value <= LONGEST:
            raise ValueError(
                f"a window of {format_duration(SHORTEST)} to {format_duration(LONGEST)} was expected; "
                f"found {format_duration(value)}"
            )
    elif key == BUCKET:
        if value is None:
            raise ValueError(f"'{name}' needs a bucket, such as 5: a quantity; found nothing")
        if not value.is_finite() or value <= 0:
            raise ValueError(f"a quantity above zero was expected; found {value}")
    else:
        most = MOST_LEVELS if key == LEVELS else MOST_BUCKETS
        if value is None:
            raise ValueError(f"'{name}' needs '{key}', such as 5; found nothing")
        if not 1 <= value <= most:
            raise ValueError(f"1 to {most} {key} were expected; found {value}")
    return value


def _written(key: str, value: Any) -> str:
    """Return a setting as a column's name has it."""
    if key == WINDOW:
        return format_duration(value)
    return f"{value.normalize():f}" if key == BUCKET else str(value)


def _distinct(specs: tuple[FeatureSpec, ...]) -> tuple[FeatureSpec, ...]:
    first: dict[str, int] = {}
    for number, spec in enumerate(specs, 1):
        before = first.setdefault(spec.column, number)
        if before != number:
            raise ValueError(
                f"every feature once was expected; numbers {before} and {number} are both "
                f"'{spec.column}': take one out"
            )
    return specs


def _is_list(value: object) -> object:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(
            "a list of at least one feature, such as [spread, imbalance], was expected; "
            f"found {'an empty list' if isinstance(value, list | tuple) else repr(value)}"
        )
    return value


class _OrItsName:
    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "enum": list(DEFINITIONS)}, handler(schema)]}


FeatureList = Annotated[
    tuple[Annotated[FeatureSpec, _OrItsName], ...],
    BeforeValidator(_is_list),
    AfterValidator(_distinct),
]
"""The type of a ``features:`` field."""

_LIST: TypeAdapter[tuple[FeatureSpec, ...]] = TypeAdapter(FeatureList)


def parse_features(
    written: Sequence[FeatureSpec | Mapping[str, Any] | str], path: str = "features"
) -> tuple[FeatureSpec, ...]:
    """Return what a list of features says.

    Args:
        written: As YAML has it, or parsed already.
        path: Where in the configuration, for the errors.

    Raises:
        ConfigError: with every mistake found.
    """
    try:
        return _LIST.validate_python(written)
    except ValidationError as error:
        raise ConfigError(
            [
                Mistake("", _place(path, details["loc"]), _sentence(details))
                for details in error.errors(include_url=False)
            ]
        ) from None


def _place(path: str, steps: tuple[int | str, ...]) -> str:
    return path + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def _sentence(details: Any) -> str:
    if error := details.get("ctx", {}).get("error"):
        return str(error)
    if details["type"] == "extra_forbidden":
        near = get_close_matches(details["loc"][-1], FeatureSpec.model_fields, 1)
        return "unknown key" + (f"; did you mean '{near[0]}'?" if near else "")
    if details["type"] == "missing":
        return "missing; the feature's name"
    return f"{details['msg']}; found {details['input']!r}"
