"""Durations, distances and times as people write them."""

from __future__ import annotations

import datetime
import math
import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Annotated, Any

import msgspec
from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, PlainSerializer
from pydantic_core import CoreSchema, core_schema

from mmkit.instruments import Instrument

_DURATION = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ns|us|µs|ms|s|m|h|d)\s*")
_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}


def parse_duration(text: Any) -> int:
    """Return ``"100ms"``, ``"2s"``, ``"1.5h"`` in nanoseconds.

    Raises:
        ValueError: if there is no number, no unit, the unit is unknown, or it is no whole number of ns.
    """
    if isinstance(text, int) and not isinstance(text, bool) and text == 0:
        return 0
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(
            f"a duration with its unit, such as 100ms, 5s or 2h, was expected; found {text!r}"
        )
    ns = Fraction(match[1]) * _NS[match[2]]
    if ns.denominator != 1:
        raise ValueError(f"a whole number of nanoseconds was expected; found {text!r}")
    return int(ns)


def format_duration(ns: int) -> str:
    """Return nanoseconds in the largest unit that keeps them whole: ``100ms``."""
    for unit in ("d", "h", "m", "s", "ms", "us"):
        if ns and ns % _NS[unit] == 0:
            return f"{ns // _NS[unit]}{unit}"
    return f"{ns}ns" if ns else "0s"


def _duration(value: Any) -> int:
    # Already parsed: a default, or a model built in Python from nanoseconds.
    return value if isinstance(value, _Nanoseconds) else _Nanoseconds(parse_duration(value))


class _Nanoseconds(int):
    """An `int` that says it has been through `parse_duration`."""


class _DurationSchema:
    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "type": ["string", "integer"],
            "pattern": f"^{_DURATION.pattern}$",
            "maximum": 0,
            "examples": ["100ms", "5s", "2h"],
        }


Duration = Annotated[
    int,
    BeforeValidator(_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    _DurationSchema,
]
"""A span of time in ns; written ``100ms``, ``5s``, ``2h`` in YAML."""


_DISTANCES = {"bps": "bps", "bp": "bps", "%": "%", "ticks": "ticks", "tick": "ticks"}


class Distance(msgspec.Struct, frozen=True):
    """How far from a price, as people say it: ``5bps``, ``1%``, ``3ticks``, or ``"0.5"`` in quote currency.

    Attributes:
        amount: The number.
        unit: ``bps`` (1/10,000 of the price), ``%``, ``ticks`` or ``quote``.
    """

    amount: Decimal
    unit: str

    @classmethod
    def parse(cls, text: Any) -> Distance:
        """Return the distance that `text` says.

        Raises:
            ValueError: if it is none.
        """
        if isinstance(text, Distance):
            return text
        problem = ValueError(
            f'a distance such as 5bps, 1%, 3ticks or "0.5" (quote currency) was expected; found {text!r}'
        )
        if not isinstance(text, str):
            raise problem
        stripped = text.strip()
        suffix = next((suffix for suffix in _DISTANCES if stripped.endswith(suffix)), "")
        number, unit = stripped.removesuffix(suffix).strip(), _DISTANCES.get(suffix, "quote")
        try:
            amount = Decimal(number)
        except InvalidOperation:
            raise problem from None
        if not amount.is_finite() or amount < 0 or math.isinf(float(amount)):
            raise problem
        return cls(amount, unit)

    def formula(self, instrument: Instrument) -> tuple[float, float, float]:
        """Return ``(a, b, c)`` such that the distance is ``a * price / b + c`` ticks, as `ticks` has it."""
        if self.unit in ("bps", "%"):
            return float(self.amount), 10_000.0 if self.unit == "bps" else 100.0, 0.0
        return 0.0, 1.0, self.ticks(0.0, instrument)

    def ticks(self, price: float, instrument: Instrument) -> float:
        """Return the distance in ticks at a price given in ticks."""
        if self.unit == "bps":
            return float(self.amount) * price / 10_000
        if self.unit == "%":
            return float(self.amount) * price / 100
        if self.unit == "ticks":
            return float(self.amount)
        return float(self.amount / instrument.tick)

    def __str__(self) -> str:
        return f"{self.amount}" if self.unit == "quote" else f"{self.amount}{self.unit}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "examples": ["5bps", "1%", "3ticks", "0.5"]}


class WrittenFloat(float):
    """A number of a YAML file, which also knows the digits it was written with.

    Attributes:
        text: As in the file, such as ``0.10``.
    """

    text: str

    def __new__(cls, text: str) -> WrittenFloat:  # noqa: D102
        self = super().__new__(cls, text.replace(".inf", "inf").replace(".nan", "nan"))
        self.text = text
        return self


def _decimal(value: Any) -> Any:
    if isinstance(value, WrittenFloat):
        return value.text
    # Any other float has already been rounded to binary; only its author knows what was meant.
    if isinstance(value, float):
        raise ValueError(
            f'a decimal in quotes was expected, such as "{value!r}"; found the float {value!r}'
        )
    if isinstance(value, bool):
        raise ValueError(f"a decimal in quotes was expected; found {value!r}")
    return value


Exact = Annotated[Decimal, BeforeValidator(_decimal)]
"""A price, size or amount of money, exact: written with or without quotes in YAML, as text in Python."""


def format_time(ns: int) -> str:
    """Return a time, ns since the epoch, to the millisecond: ``2024-08-09T00:00:00.000Z``."""
    seconds, rest = divmod(ns, 1_000_000_000)
    time = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03}Z"


def format_size(count: int) -> str:
    """Return a number of bytes as words, such as ``128.3 kB``."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
