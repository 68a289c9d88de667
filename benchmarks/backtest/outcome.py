"""What a run came to, and what a measurement found."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

_ROUNDING = Decimal("0.000001")  # what 50,000 sums of floats are worth; ours are exact


class NotYetError(Exception):
    """What is to be measured does not exist; says what is missing."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to: decimals in units of the instrument, fees not in the balance."""

    orders: int
    fills: int
    position: Decimal
    balance: Decimal
    fees: Decimal
    equity: Decimal

    def same_as(self, theirs: dict[str, Any]) -> bool:
        """Whether every figure that the peer tells is ours, up to its rounding."""
        return all(
            abs(Decimal(getattr(self, field.name)) - Decimal(theirs[field.name])) < _ROUNDING
            for field in fields(self)
            if field.name in theirs
        )

    def figures(self) -> dict[str, str]:
        """Return every figure as text; `of` reads it back."""
        return {field.name: str(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def of(cls, figures: dict[str, str]) -> Outcome:
        """Return what `figures` returned it for."""
        return cls(
            orders=int(figures["orders"]),
            fills=int(figures["fills"]),
            position=Decimal(figures["position"]),
            balance=Decimal(figures["balance"]),
            fees=Decimal(figures["fees"]),
            equity=Decimal(figures["equity"]),
        )

    def __str__(self) -> str:
        return (
            f"{self.fills:,} fills, position {self.position}, balance {self.balance.normalize():f}, "
            f"fees {self.fees.normalize():f}"
        )


@dataclass(frozen=True)
class Finding:
    """One figure of the last line, `None` if it could not be measured, and what to know of it."""

    value: float | bool | None
    notes: tuple[str, ...]


def log(what: str) -> None:
    """Say on stderr what is going on."""
    print(f"bench-backtest: {what}", file=sys.stderr, flush=True)
