"""The JSON Schema (draft 2020-12) of the configuration, with what every usable plugin accepts."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from mmkit.config.check import GAPS, LIMIT, MARKET_NAME
from mmkit.config.learning import LearningSections, TrainingSection
from mmkit.config.sections import (
    AdvisorSection,
    Gaps,
    InstrumentSection,
    LoggingSection,
    Mode,
    NotifySection,
    PluginsSection,
    QuotingSection,
    SignalSection,
)
from mmkit.events import MAIN
from mmkit.fusion import FusionSettings
from mmkit.interfaces import Provider
from mmkit.plugins import Kind, Plugins
from mmkit.settings import SimSettings
from mmkit.watch import WatchSettings

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(plugins: Plugins) -> Schema:
    """Return the schema of a whole configuration file."""
    return _Building(plugins).schema()


class _Building:
    def __init__(self, plugins: Plugins) -> None:
        kinds: tuple[Kind, ...] = (
            "service",
            "data source",
            "strategy",
            "execution venue",
            "account",
            "risk check",
            "signal trainer",
            "signal model",
            "advisor",
        )
        self._providers = {kind: plugins.providers(kind) for kind in kinds}
        models: list[type[BaseModel]] = [
            InstrumentSection,
            SimSettings,
            WatchSettings,
            NotifySection,
            PluginsSection,
            LoggingSection,
            QuotingSection,
            LearningSections,
            TrainingSection,
            SignalSection,
            AdvisorSection,
            FusionSettings,
        ]
        models += [p.config for providers in self._providers.values() for p in providers]
        # Together, so that models of one name in two plugins get names of their own.
        self._refs, top = models_json_schema(
            [(model, "validation") for model in dict.fromkeys(models)],
            ref_template="#/$defs/{model}",
        )
        self._definitions: dict[str, Schema] = {
            name: _proper(definition) for name, definition in top.get("$defs", {}).items()
        }

    def schema(self) -> Schema:
        """Return the whole."""
        properties: Schema = {
            "mode": {"enum": list(get_args(Mode)), "default": "dry_run"},
            "instrument": self._ref(InstrumentSection),
            "services": {"type": "array", "items": self._section("service")},
            "data": self._section("data source"),
            "markets": self._markets(),
            "signals": {"type": "array", "items": self._section("signal model")},
            "advisors": {"type": "array", "items": self._section("advisor")},
            "fusion": self._ref(FusionSettings),
            "strategy": self._section("strategy"),
            "venue": self._section("execution venue", "account"),
            "sim": self._ref(SimSettings),
            "risk": self._risk(),
            "quoting": self._ref(QuotingSection),
            "watch": self._ref(WatchSettings),
            "notify": self._ref(NotifySection),
            **self._definition(LearningSections)["properties"],
            "training": self._section("signal trainer"),
            "plugins": self._ref(PluginsSection),
            "logging": self._ref(LoggingSection),
        }
        return {
            "$schema": DIALECT,
            "title": "mmkit configuration",
            "type": "object",
            "properties": properties,
            "required": ["instrument", "data"],
            # What only trains a model needs no strategy.
            "anyOf": [{"required": ["strategy"]}, {"required": ["training"]}],
            "additionalProperties": False,
            "$defs": self._definitions,
        }

    def _markets(self) -> Schema:
        """Return the markets beside the main one, by name."""
        one = {
            "instrument": self._ref(InstrumentSection),
            "data": self._section("data source"),
            "venue": self._section("execution venue", "account"),
            "sim": self._ref(SimSettings),
            "risk": self._risk(),
            "watch": self._ref(WatchSettings),
        }
        return {
            "type": "object",
            "description": "Further markets of the run, by name; what one does not say is as for the main one.",
            "propertyNames": {"pattern": MARKET_NAME, "not": {"const": MAIN}},
            "additionalProperties": {
                "type": "object",
                "properties": one,
                "required": ["instrument", "data"],
                "additionalProperties": False,
            },
        }

    def _ref(self, model: type[BaseModel]) -> Schema:
        return dict(self._refs[(model, "validation")])

    def _definition(self, model: type[BaseModel]) -> Schema:
        name = self._refs[(model, "validation")]["$ref"].removeprefix("#/$defs/")
        return self._definitions[name]

    def _section(self, kind: Kind, *more: Kind) -> Schema:
        """Return a section with ``plugin:`` in it; what else it may hold hangs on the plugin's name."""
        providers = [one for each in (kind, *more) for one in self._providers[each]]
        return {
            "type": "object",
            "properties": {
                "plugin": {
                    "description": f"The {kind}.",
                    "oneOf": [_named(provider) for provider in providers],
                }
            },
            "required": ["plugin"],
            "allOf": [
                {
                    "if": {
                        "properties": {"plugin": {"const": provider.name}},
                        "required": ["plugin"],
                    },
                    "then": self._with_plugin(provider),
                }
                for provider in providers
            ],
        }

    def _with_plugin(self, provider: Provider[Any, Any]) -> Schema:
        definition = self._definition(provider.config)
        keys = dict(definition.get("properties", {}))
        needed = list(definition.get("required", ()))
        ours_of: tuple[tuple[Kind, type[BaseModel]], ...] = (
            ("signal model", SignalSection),
            ("advisor", AdvisorSection),
        )
        for kind, section in ours_of:
            if any(provider is one for one in self._providers[kind]):
                ours = self._definition(section)
                keys |= ours["properties"]
                needed += ours.get("required", [])
        if any(provider is source for source in self._providers["data source"]):
            keys[GAPS] = {
                "enum": list(get_args(Gaps)),
                "default": "mask",
                "description": "Of recorded data in which the book is unknown for a while: mask runs over it and "
                "quotes nothing then, refuse ends with an error.",
            }
        if any(provider is trainer for trainer in self._providers["signal trainer"]):
            settings = self._definition(TrainingSection)
            keys |= settings["properties"]
            needed += settings["required"]
        # Written out instead of `$ref`: additionalProperties sees only the properties beside it.
        return {
            **definition,
            "title": provider.name,
            "properties": {"plugin": {"const": provider.name}, **keys},
            "required": ["plugin", *needed],
        }

    def _risk(self) -> Schema:
        return {
            "type": "object",
            "properties": {
                check.name: self._check(check) for check in self._providers["risk check"]
            },
            "additionalProperties": False,
        }

    def _check(self, provider: Provider[Any, Any]) -> Schema:
        forms: list[Schema] = [{"type": "null"}, self._ref(provider.config)]
        limit = self._definition(provider.config).get("properties", {}).get(LIMIT)
        if limit is not None:
            forms.insert(0, limit)
        return {"description": provider.summary, "anyOf": forms}


def _named(provider: Provider[Any, Any]) -> Schema:
    named: Schema = {"const": provider.name}
    return {**named, "description": provider.summary} if provider.summary else named


# pydantic leaves a bound under its own name when it stands beside a union, as in `Duration | None`.
_BOUNDS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
}


def _proper(schema: Any) -> Any:
    """Return the schema with those bounds under JSON Schema's names."""
    if isinstance(schema, list):
        return [_proper(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        _BOUNDS.get(word, word): {name: _proper(one) for name, one in said.items()}
        if word == "properties"
        else _proper(said)
        for word, said in schema.items()
    }
