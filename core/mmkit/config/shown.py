"""A checked section as plain data: every default filled in, every secret hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from mmkit.config.mistakes import HIDDEN, annotation_at, is_secret
from mmkit.config.yaml_source import Place, Step, Written

# The sections a recorded run is built from again. The environment's numbers are kept there, because a
# number that prices, sizes or times something is no secret, and the replay needs it.
_REPLAYED = frozenset(
    {"instrument", "strategy", "sim", "risk", "quoting", "watch", "signals", "advisors", "fusion"}
)


def shown(section: BaseModel, written: Written, place: Place) -> dict[str, Any]:
    """Return the section as YAML could hold it."""
    dumped = section.model_dump(mode="json", warnings=False)
    held = {name: getattr(section, name) for name in type(section).model_fields}
    model = type(section)
    return {
        name: _Hiding(model, place).value(value, held[name], written.get(name), (name,))
        for name, value in dumped.items()
    }


@dataclass(frozen=True)
class _Hiding:
    """Walks one section's plain data, what the model holds and what was written, side by side."""

    model: type[BaseModel]
    place: Place

    def value(self, value: Any, held: Any, written: Written | None, inner: Place) -> Any:
        secret = is_secret(str(inner[-1]), annotation_at(self.model, inner))
        if secret and value not in (None, ""):
            # A list stays one, so that it still fits the schema, and an empty one hides nothing.
            return [HIDDEN] * len(value) if isinstance(value, list) else HIDDEN
        if isinstance(value, dict):
            return {key: self._within(v, held, written, (*inner, key)) for key, v in value.items()}
        if isinstance(value, list):
            return [self._within(v, held, written, (*inner, i)) for i, v in enumerate(value)]
        environment = written is not None and written.from_environment
        if environment and (self._section not in _REPLAYED or isinstance(held, str)):
            return HIDDEN
        # A field of any type may still hold the number together with its text.
        return float(value) if isinstance(value, float) else value

    @property
    def _section(self) -> Step:
        """The section's name, of a market's under ``markets.NAME`` too."""
        return self.place[2] if self.place[0] == "markets" else self.place[0]

    def _within(self, value: Any, held: Any, written: Written | None, inner: Place) -> Any:
        child = written.get(inner[-1]) if written is not None else None
        return self.value(value, _inside(held, inner[-1]), child, inner)


def _inside(held: Any, step: str | int) -> Any:
    if isinstance(held, BaseModel):
        return getattr(held, str(step), None)
    try:
        return held[step]
    except (TypeError, KeyError, IndexError):
        return None
