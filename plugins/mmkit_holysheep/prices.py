"""What models cost. A model that the table lacks costs nobody knows what, not nothing."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmkit.errors import ConfigError, Mistake
from mmkit.units import Exact

_MILLION = Decimal(1_000_000)


class Usage(BaseModel):
    """How many tokens a request took.

    Attributes:
        prompt: Of what was sent, those that a cache held included.
        cached: Of those, held by a cache.
        completion: Of what came back, those of reasoning included.
    """

    model_config = ConfigDict(frozen=True)

    prompt: int = Field(ge=0)
    cached: int = Field(0, ge=0)
    completion: int = Field(ge=0)

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.prompt + self.completion


class Price(BaseModel):
    """Of one model, USD per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    input: Exact = Field(ge=0, le=100_000)
    output: Exact = Field(ge=0, le=100_000)
    cached: Exact | None = Field(None, ge=0, le=100_000)
    until: datetime.date | None = None
    also: tuple[str, ...] = ()

    def cost(self, usage: Usage) -> Decimal:
        """Return what a request has cost, USD, exact."""
        cached = self.input if self.cached is None else self.cached
        return (
            (usage.prompt - usage.cached) * self.input
            + usage.cached * cached
            + usage.completion * self.output
        ) / _MILLION

    def most(self, prompt: int, completion: int) -> Decimal:
        """Return the most that a request with so many tokens can cost, USD."""
        return self.cost(Usage(prompt=prompt, completion=completion)).max(
            self.cost(Usage(prompt=prompt, cached=prompt, completion=completion))
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    date: datetime.date
    models: dict[str, Price]


class Prices:
    """The bundled table, under that of the user.

    Attributes:
        date: When the newer of the two was made.
    """

    def __init__(self, files: list[_File]) -> None:
        self.date = max(file.date for file in files)
        self._models: dict[str, Price] = {}
        self._spellings: dict[str, str] = {}
        for file in files:
            self._models.update(file.models)
            for name, price in file.models.items():
                self._spellings.update(dict.fromkeys(price.also, name))
        # Who writes a spelling as a name of its own means it.
        for name in self._models:
            self._spellings.pop(name, None)

    def __iter__(self) -> Iterator[tuple[str, Price]]:
        return iter(sorted(self._models.items()))

    def of(self, model: str) -> Price | None:
        """Return a model's price; `None` if it is unknown."""
        return self._models.get(self._spellings.get(model, model))

    def cost(self, model: str, usage: Usage | None) -> Decimal | None:
        """Return what a request has cost, USD, exact; `None` if price or usage is unknown."""
        price = self.of(model)
        return None if price is None or usage is None else price.cost(usage)

    def ended(self, model: str, today: datetime.date) -> datetime.date | None:
        """Return the day on which the vendor has ended a model; `None` if that day has not come."""
        price = self.of(model)
        until = None if price is None else price.until
        return until if until is not None and until <= today else None


def load_prices(own: Path | None = None) -> Prices:
    """Return the price table.

    Args:
        own: The user's file, whose entries replace the bundled ones.

    Raises:
        ConfigError: if the user's file cannot be read or is none.
    """
    bundled = resources.files("mmkit_holysheep").joinpath("prices.yml").read_text("utf-8")
    files = [_File.model_validate(yaml.safe_load(bundled))]
    if own is not None:
        files.append(_read(own))
    return Prices(files)


def _read(path: Path) -> _File:
    such = (
        'such as: date: 2026-11-21, models: {my-model: {input: "0.50", output: "1.50", cached: "0.05"}}, in USD per '
        "million tokens, in quotes"
    )
    try:
        plain: Any = yaml.safe_load(path.read_text("utf-8"))
        return _File.model_validate(plain)
    except (OSError, UnicodeDecodeError) as error:
        raise _mistake(path, f"a file with prices was expected; found: {error}", such) from error
    except yaml.YAMLError as error:
        raise _mistake(path, f"YAML was expected; found otherwise: {error}", such) from error
    except ValidationError as error:
        raise ConfigError(
            [
                Mistake(str(path), ".".join(map(str, wrong["loc"])), wrong["msg"], such)
                for wrong in error.errors()
            ]
        ) from error


def _mistake(path: Path, message: str, hint: str) -> ConfigError:
    return ConfigError([Mistake(str(path), "", message, hint)])
