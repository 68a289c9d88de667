"""The form of an answer, as a model is told it: a strict JSON schema, and a line to read in the prompt."""

from __future__ import annotations

from typing import Any

import msgspec

from mmkit.answers import ANSWERS

# OpenAI's strict mode refuses a schema with these ("Structured model outputs", section "Supported schemas").
# The bounds hold nevertheless: whoever reads the answer checks them.
_NOT_STRICT = ("minLength", "maxLength", "title", "description")


def schema(question: str) -> dict[str, Any]:
    """Return the JSON schema of the answer to a question, such as strict mode takes it."""
    whole = msgspec.json.schema(ANSWERS[question])
    strict: dict[str, Any] = _strict(whole, whole["$defs"], keep=())
    return strict


def shape(question: str) -> str:
    """Return the answer's form for people and models: ``{"signal": "BUY" | "SELL", "confidence": 0..1}``."""
    whole = msgspec.json.schema(ANSWERS[question])
    return _line(_strict(whole, whole["$defs"], keep=("minLength", "maxLength")))


def _strict(node: Any, definitions: dict[str, Any], keep: tuple[str, ...]) -> Any:
    match node:
        case {"$ref": str(name)}:
            return _strict(definitions[name.rsplit("/", 1)[1]], definitions, keep)
        case {"type": "object", "properties": dict(properties)}:
            # The question is in the tag of the type; a model does not repeat it.
            fields = {
                name: _strict(of, definitions, keep)
                for name, of in properties.items()
                if name != "question"
            }
            return {
                "type": "object",
                "properties": fields,
                "required": list(fields),
                "additionalProperties": False,
            }
        case {"enum": list(names)}:
            # msgspec sorts them; nothing says that they are text.
            return {"type": "string", "enum": names}
        case {"items": dict(items)}:
            kept = {key: of for key, of in node.items() if key not in _NOT_STRICT}
            return kept | {"items": _strict(items, definitions, keep)}
        case dict():
            return {k: of for k, of in node.items() if k not in _NOT_STRICT or k in keep}
        case _:
            return node


def _line(node: dict[str, Any]) -> str:
    match node:
        case {"type": "object", "properties": dict(properties)}:
            return (
                "{" + ", ".join(f'"{name}": {_line(of)}' for name, of in properties.items()) + "}"
            )
        case {"type": "array", "items": dict(items)}:
            least, most = node.get("minItems", 0), node.get("maxItems", "")
            many = str(least) if least == most else f"{least}..{most}"
            return f"[{_line(items)}, ...]({many})"
        case {"enum": list(names)}:
            return " | ".join(f'"{name}"' for name in names)
        case {"type": "string"}:
            return f'"...(<= {node["maxLength"]} characters)"'
        case _:
            above = "above " if "exclusiveMinimum" in node else ""
            least = node.get("minimum", node.get("exclusiveMinimum"))
            whole = " (whole)" if node["type"] == "integer" else ""
            return f"{above}{least:g}..{node['maximum']:g}{whole}"
