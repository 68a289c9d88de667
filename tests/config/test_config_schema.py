"""The JSON Schema, checked with a validator of its own for the few words that it uses."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmkit.config.schema import json_schema
from mmkit.plugins import Plugins

SHIPPED = Path(__file__).resolve().parents[2] / "user_data" / "config.yml"
PLAIN: dict[str, Any] = yaml.safe_load(SHIPPED.read_text())
SPOT = {"venue": "binance", "market": "spot", "symbol": "BTC/USDT"}
MARKET: dict[str, Any] = {"instrument": SPOT, "data": {"plugin": "binance"}}
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
# Words that forbid nothing.
NOTES = {
    "$schema", "$defs", "title", "description", "default", "examples", "format", "writeOnly"
}  # fmt: skip


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema(Plugins.load(None))


def is_type(value: Any, name: str) -> bool:
    return isinstance(value, TYPES[name]) and not (
        isinstance(value, bool) and name in {"integer", "number"}
    )


def fits(value: Any, rule: Any, root: dict[str, Any]) -> bool:
    """Whether `value` is valid; a word that is not known here fails the test."""
    if isinstance(rule, bool):
        return rule
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    known = rule.get("properties", {})
    for word, said in rule.items():
        ok = True
        match word:
            case _ if word in NOTES:
                pass
            case "$ref":
                ok = fits(value, root["$defs"][said.removeprefix("#/$defs/")], root)
            case "type":
                names = said if isinstance(said, list) else [said]
                ok = any(is_type(value, name) for name in names)
            case "const":
                ok = value == said
            case "enum":
                ok = value in said
            case "anyOf":
                ok = any(fits(value, one, root) for one in said)
            case "oneOf":
                ok = sum(fits(value, one, root) for one in said) == 1
            case "allOf":
                ok = all(fits(value, one, root) for one in said)
            case "if":
                ok = not fits(value, said, root) or fits(value, rule["then"], root)
            case "then":
                pass
            case "properties":
                ok = not isinstance(value, dict) or all(
                    fits(value[key], one, root) for key, one in said.items() if key in value
                )
            case "additionalProperties":
                ok = not isinstance(value, dict) or all(
                    fits(one, said, root) for key, one in value.items() if key not in known
                )
            case "required":
                ok = not isinstance(value, dict) or all(key in value for key in said)
            case "propertyNames":
                ok = not isinstance(value, dict) or all(fits(key, said, root) for key in value)
            case "not":
                ok = not fits(value, said, root)
            case "items":
                ok = not isinstance(value, list) or all(fits(one, said, root) for one in value)
            case "pattern":
                ok = not isinstance(value, str) or re.search(said, value) is not None
            case "minLength":
                ok = not isinstance(value, str) or len(value) >= said
            case "minItems":
                ok = not isinstance(value, list) or len(value) >= said
            case "minimum":
                ok = not number or value >= said
            case "maximum":
                ok = not number or value <= said
            case "exclusiveMinimum":
                ok = not number or value > said
            case "exclusiveMaximum":
                ok = not number or value < said
            case _:
                raise AssertionError(f"the schema uses '{word}', which this test does not know")
        if not ok:
            return False
    return True


def test_the_configuration_that_ships_is_valid(schema: dict[str, Any]) -> None:
    assert fits(PLAIN, schema, schema)


def test_it_is_json_and_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    text = json.dumps(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for name in re.findall(r'"#/\$defs/([^"]+)"', text):
        assert name in schema["$defs"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("mode",), "dry"),
        (("strategy", "plugin"), "skewd"),
        (("strategy", "siez"), "1"),
        (("strategy", "every"), "100"),
        (("strategy", "every"), 100),
        (("data", "endpint"), "live"),
        (("instrument", "market"), "swap"),
        (("instrument", "symbol"), "BTCUSDT"),
        (("sim", "queue", "model"), "fifo"),
        (("sim", "queue", "behind"), [1.0, 1.5]),
        (("sim", "fees", "tiers"), [{"volume": "0", "maker": "0"}]),
        (("sim", "latency", "entry"), {"quantile": ["1ms", "2ms"]}),
        (("sim", "latency", "entry"), {"quantiles": ["1ms"]}),
        (("sim", "latency", "entry"), {"series": "a.csv"}),
        (("sim", "latency", "entry"), {"samples": "a.csv", "series": "b.csv", "max_gap": "1s"}),
        (("risk", "max_positon"), "1"),
        (("risk", "stale_after"), "5 parsecs"),
        (("signals",), {}),
        (("signals",), [{"plugin": "imbalance"}]),
        (("signals",), [{"plugin": "imbalance", "model": "a", "every": "often"}]),
        (("services",), {}),
        (("markets",), []),
        (("markets",), {"spot": {"instrument": SPOT}}),
        (("markets",), {"spot": {"data": {"plugin": "binance"}}}),
        (("markets",), {"spot": {**MARKET, "strategy": {"plugin": "join_best"}}}),
        (("markets",), {"spot": {**MARKET, "risk": {"max_positon": "1"}}}),
        (("markets",), {"main": MARKET}),
        (("markets",), {"spot-1": MARKET}),
        (("markets",), {"spöt": MARKET}),
    ],
)
def test_a_mistake_is_invalid(place: tuple[str, ...], value: Any, schema: dict[str, Any]) -> None:
    data = copy.deepcopy(PLAIN)
    inside = data
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    assert not fits(data, schema, schema)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("strategy",), {"plugin": "join_best", "size": "0.1", "max_position": 1}),
        (("markets",), {}),
        (("markets",), {"spot": MARKET, "two_2": {**MARKET, "risk": {"max_order": None}}}),
        (
            ("markets",),
            {"spot": {**MARKET, "sim": {"data_wait": "1s"}, "venue": {"plugin": "paper"}}},
        ),
        (("risk",), {"max_order": None, "price_band": {"limit": "5bps"}}),
        (("logging",), {"level": "debug"}),
        (("strategy", "on"), ["best", "fill"]),
        (("sim", "latency", "entry"), "0s"),
        (("sim", "latency", "entry"), {"quantiles": ["1ms", "2ms"], "seed": 4}),
        (("sim", "latency", "response"), {"samples": "a.csv"}),
        (("sim", "latency", "response"), {"series": "a.csv", "max_gap": "1m"}),
        (("sim", "queue"), {"model": "calibrated", "behind": [1, 0.5, 0]}),
        (("sim", "fees"), {"tiers": [{"volume": "0", "maker": "0", "taker": "0"}]}),
    ],
)
def test_other_right_values_are_valid(
    place: tuple[str, ...], value: Any, schema: dict[str, Any]
) -> None:
    data = copy.deepcopy(PLAIN)
    inside = data
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    assert fits(data, schema, schema)


TRAINING: dict[str, Any] = {
    "instrument": SPOT,
    "data": {"plugin": "capture", "paths": ["a.gz"]},
    "features": ["spread", {"name": "ofi", "window": "1s"}],
    "sampling": "100ms",
    "labels": {"horizon": [10, "500ms"], "quantile": 0.3},
    "training": {"plugin": "lightgbm", "out": "m", "test": "6h", "rounds": 10},
}


def test_a_training_is_valid_without_a_strategy_and_not_without_a_folder_for_the_model(
    schema: dict[str, Any],
) -> None:
    assert fits(TRAINING, schema, schema)
    for place, value in (
        (("training", "out"), None),
        (("training", "fold"), 3),
        (("training", "folds"), 0),
        (("training", "rounds"), 0),
        (("labels", "horizon"), 0),
        (("labels", "quantil"), 0.3),
        (("features", 1), 3),
        (("training",), None),
    ):
        wrong = copy.deepcopy(TRAINING)
        *outer, name = place
        here: Any = wrong
        for step in outer:
            here = here[step]
        if value is None:
            del here[name]
        else:
            here[name] = value
        assert not fits(wrong, schema, schema), place
