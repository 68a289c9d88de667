"""Times in a configuration."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TOO_FINE = re.compile(r"\.\d{7,}")


def ns_of(text: str) -> int:
    """Return a time, ns since the epoch; UTC unless it says otherwise.

    Raises:
        ValueError: if it is none, or finer than microseconds.
    """
    problem = ValueError(
        f"a day or a time, to the microsecond, such as 2026-11-26 or 2026-11-26T10:30, was expected; found '{text}'"
    )
    if _TOO_FINE.search(text):
        raise problem
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise problem from None
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def _text(value: Any) -> Any:
    # YAML reads 2026-11-26 as a date.
    return value.isoformat() if hasattr(value, "isoformat") else value


def _checked(text: str) -> str:
    ns_of(text)
    return text


Time = Annotated[str, BeforeValidator(_text), AfterValidator(_checked)]
"""A day, which begins at 00:00 UTC, or a time."""
