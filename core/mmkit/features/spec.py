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
from mmkit.features.definitions import (
    A_LEVEL,
    BUCKET,
    BUCKETS,
    DEFINITIONS,
    GROUP,
    LEVEL,
    LEVELS,
    WINDOW,
)
from mmkit.units import Duration, Exact, format_duration

MOST_LEVELS = 100
"""Deeper than any venue's partial book; every level costs time with every message."""
MOST_BUCKETS = 10_000
SHORTEST = 1_000_000
"""A window below a millisecond is shorter than the clocks of venues tell."""
LONGEST = 86_400_000_000_000

_DEFAULTS: dict[tuple[str, str], int] = {
    ("ask_price", LEVEL): 1,
    ("bid_price", LEVEL): 1,
    (GROUP, LEVELS): 10,  # as DeepLOB's paper has them
    ("imbalance", LEVELS): 1,
    ("ofi", LEVELS): 1,
    ("vpin", BUCKETS): 50,  # as Easley, Lopez de Prado and O'Hara take them
}
_NAMES = (*DEFINITIONS, GROUP)


class FeatureSpec(BaseModel):
    """One feature: its name, or its name with settings.

    Which settings a feature takes is told in `mmkit.features.definitions` and ``docs/features.md``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(description="Of the feature, such as imbalance.")
    level: int | None = Field(
        None, strict=True, validate_default=True, description="Which of the book, 1 is the best."
    )
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
        if name not in _NAMES:
            near = get_close_matches(name, _NAMES, 1)
            meant = f" (did you mean '{near[0]}'?)" if near else ""
            raise ValueError(f"one of {', '.join(_NAMES)} was expected{meant}; found '{name}'")
        return name

    @field_validator(LEVEL, LEVELS, WINDOW, BUCKET, BUCKETS)
    @classmethod
    def _fits(cls, value: Any, info: ValidationInfo) -> Any:
        name, key = info.data.get("name"), str(info.field_name)
        if name is None:  # is told already
            return value
        settings = _settings(name)
        if key not in settings:
            if value is not None:
                takes = f"it takes {' and '.join(settings)}" if settings else "it takes nothing"
                raise ValueError(f"'{name}' has no '{key}': {takes}; found {_written(key, value)}")
            return None
        if value is None:
            value = _DEFAULTS.get((name, key))
            if value is None and key == LEVEL:  # the best, and the name has no number
                return None
        return _within(name, key, value)

    @property
    def column(self) -> str:
        """The name of its column, such as ``ofi_1_1s``."""
        values = [(key, getattr(self, key)) for key in _settings(self.name)]
        return "_".join([self.name, *(_written(*each) for each in values if each[1] is not None)])

    def __str__(self) -> str:
        return self.column


def _settings(name: str) -> tuple[str, ...]:
    return (LEVELS,) if name == GROUP else DEFINITIONS[name].settings


def level_names(levels: int) -> tuple[str, ...]:
    """Return the columns of ``{name: levels, levels: N}``: four a level, from the best on."""
    return tuple(f"{name}_{level}" for level in range(1, levels + 1) for name in A_LEVEL)


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
        most = MOST_BUCKETS if key == BUCKETS else MOST_LEVELS
        if value is None:
            raise ValueError(f"'{name}' needs '{key}', such as 5; found nothing")
        if not 1 <= value <= most:
            what = f"a level of 1 to {most} was" if key == LEVEL else f"1 to {most} {key} were"
            raise ValueError(f"{what} expected; found {value}")
    return value


def _written(key: str, value: Any) -> str:
    """Return a setting as a column's name has it."""
    if key == WINDOW:
        return format_duration(value)
    return f"{value.normalize():f}" if key == BUCKET else str(value)


def _spread_out(specs: tuple[FeatureSpec, ...]) -> tuple[FeatureSpec, ...]:
    """Put the features of a group in its place."""
    return tuple(
        one
        for spec in specs
        for one in (
            [
                FeatureSpec.model_validate({"name": name, LEVEL: level})
                for level in range(1, (spec.levels or 0) + 1)
                for name in A_LEVEL
            ]
            if spec.name == GROUP
            else [spec]
        )
    )


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
        return {"anyOf": [{"type": "string", "enum": list(_NAMES)}, handler(schema)]}


FeatureList = Annotated[
    tuple[Annotated[FeatureSpec, _OrItsName], ...],
    BeforeValidator(_is_list),
    AfterValidator(_spread_out),
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
