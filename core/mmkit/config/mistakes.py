"""A section checked against its model, with every mistake in a sentence of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from mmkit.config.yaml_source import Place, Written, dotted
from mmkit.errors import Mistake
from mmkit.units import WrittenFloat, format_duration, parse_duration

M = TypeVar("M", bound=BaseModel)

HIDDEN = "***"
_SECRET_NAME = re.compile(
    r"(^|[_-])key$|apikey$|secret|token$|passw(or)?d|passphrase", re.IGNORECASE
)


def check(model: type[M], written: Written, place: Place, mistakes: list[Mistake]) -> M | None:
    """Return the section as `model`, or `None` after adding everything wrong with it to `mistakes`."""
    if not isinstance(written.value, dict):
        mistakes.append(
            Mistake(
                written.where,
                dotted(place),
                f"keys and values were expected; found {found(written)}",
            )
        )
        return None
    try:
        section = model.model_validate(written.plain)
    except ValidationError as error:
        mistakes += _translated(error, model, written, place)
        return None
    except Exception as error:  # noqa: BLE001 - a plugin's own validator
        # The text of an unforeseen error may hold any value, a secret too.
        mistakes.append(
            Mistake(written.where, dotted(place), f"checking it raised {type(error).__name__}")
        )
        return None
    confused = list(_confused(section, written, place))
    mistakes += confused
    return None if confused else section


def is_misspelt(name: Any, names: Iterable[str]) -> bool:
    """Return whether `name` is close to one of `names`."""
    return isinstance(name, str) and bool(get_close_matches(name, list(names), 1))


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint: the name that was probably meant, or all there are."""
    known = list(names)
    near = get_close_matches(name, known, 1)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known are: {', '.join(known)}" if known else "nothing is known here"


def found(written: Written, *, secret: bool = False) -> str:
    """Return a value as it may be shown in a message."""
    value = written.value
    if isinstance(value, dict):
        return "keys and values"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if secret or written.secret:
        return f"'{HIDDEN}'"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, WrittenFloat):
        return value.text
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= 80 else f"'{value[:77]}...'"
    return str(value)


def is_secret(name: str, annotation: Any = None) -> bool:
    """Return whether a key's value must not be shown, by its name or its type."""
    return bool(_SECRET_NAME.search(name)) or _mentions(annotation, (SecretStr, SecretBytes))


def without_secrets(mistakes: Iterable[Mistake], root: Written) -> list[Mistake]:
    """Return the mistakes with every secret of the configuration blotted out, wherever it turned up.

    Messages are made to leave them out; this holds also for those that a plugin wrote.
    """
    texts = sorted(set(_secrets(root)), key=len, reverse=True)
    # A short one, such as a number, is looked for as a word: it is a part of many others.
    parts = [re.escape(t) if len(t) > 3 else rf"\b{re.escape(t)}\b" for t in texts if len(t) > 1]
    if not parts:
        return list(mistakes)
    pattern = re.compile("|".join(parts))

    def blotted(text: str) -> str:
        return pattern.sub(HIDDEN, text)

    return [
        Mistake(m.where, blotted(m.path), blotted(m.message), blotted(m.hint)) for m in mistakes
    ]


def _secrets(written: Written, named: bool = False) -> Iterator[str]:
    yield from written.secrets
    if isinstance(written.value, dict):
        for key, child in written.value.items():
            yield from _secrets(child, named or is_secret(key))
    elif isinstance(written.value, list):
        for child in written.value:
            yield from _secrets(child, named)
    elif named and isinstance(written.value, str):
        yield written.value


def _mentions(annotation: Any, types: tuple[type, ...]) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, types):
        return True
    return any(_mentions(argument, types) for argument in get_args(annotation))


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models a field may hold, also within lists and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def annotation_at(model: type[BaseModel], place: Place) -> Any:
    """Return the type of the field at `place`, or `None` if there is no such field."""
    models, annotation = [model], None
    for step in place:
        if isinstance(step, int):
            continue
        field = next((m.model_fields[step] for m in models if step in m.model_fields), None)
        if field is None:
            return annotation if not models else None
        annotation = field.annotation
        models = list(models_in(annotation))
    return annotation


def _fields(model: type[BaseModel], place: Place) -> list[str]:
    if not place:
        return list(model.model_fields)
    return [name for m in models_in(annotation_at(model, place)) for name in m.model_fields]


# --- pydantic's errors in plain words -------------------------------------------------------------


def _translated(
    error: ValidationError, model: type[BaseModel], written: Written, place: Place
) -> Iterator[Mistake]:
    sentences: dict[Place, list[str]] = {}
    mistakes: dict[Place, Mistake] = {}
    for details in error.errors(include_url=False):
        inner, mistake = _mistake(details, model, written, place)
        # The branches of a union complain about one value each; they become one sentence.
        said = sentences.setdefault(inner, [])
        expected, separator, rest = mistake.message.partition(" was expected")
        if separator and expected not in said:
            said.append(expected)
            message = " or ".join(said) + separator + rest
            mistakes[inner] = Mistake(mistake.where, mistake.path, message, mistake.hint)
        else:
            mistakes.setdefault(inner, mistake)
    misspelt = {
        (*inner[:-1], match[1])
        for inner, mistake in mistakes.items()
        if (match := re.fullmatch(r"did you mean '(.*)'\?", mistake.hint))
        and mistake.message == "unknown key"
    }
    for inner, mistake in mistakes.items():
        if mistake.message != "missing" or inner not in misspelt:
            yield mistake


def _locate(details: ErrorDetails, written: Written) -> tuple[Place, Written]:
    """Return the place within the section that an error is about, and what is written there."""
    inner: list[str | int] = []
    here = written
    for index, step in enumerate(details["loc"]):
        child = here.get(step)
        if child is not None:
            inner.append(step)
            here = child
        elif details["type"] == "missing" and index == len(details["loc"]) - 1:
            inner.append(step)
        # else: the name of a branch of a union
    return tuple(inner), here


def _mistake(
    details: ErrorDetails, model: type[BaseModel], written: Written, place: Place
) -> tuple[Place, Mistake]:
    """Return the place within the section, and the mistake."""
    inner, value = _locate(details, written)
    return inner, _in_words(
        details, model, written, inner, value=value, path=dotted((*place, *inner))
    )


def _in_words(
    details: ErrorDetails,
    model: type[BaseModel],
    written: Written,
    inner: Place,
    *,
    value: Written,
    path: str,
) -> Mistake:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        known, taken = _fields(model, inner[:-1]), _siblings(written, inner)
        unused = [name for name in known if name not in taken]
        hint = nearest(str(inner[-1]), unused if is_misspelt(inner[-1], unused) else known)
        return Mistake(value.key_where or value.where, path, "unknown key", hint)
    if kind == "missing":
        return Mistake(value.where, path, "missing", _description(model, inner))
    secret = any(
        is_secret(str(step), annotation_at(model, inner[: depth + 1]))
        for depth, step in enumerate(inner)
    )
    shown = found(value, secret=secret)
    hint = ""
    if (
        kind in {"literal_error", "enum"}
        and isinstance(value.value, str)
        and not (secret or value.secret)
    ):
        hint = next(
            (
                f"did you mean '{near}'?"
                for near in get_close_matches(value.value, _choices(context), 1)
            ),
            "",
        )
    if kind in {"value_error", "assertion_error"}:
        said, separator, _ = str(context.get("error", details["msg"])).partition("; found")
        if secret or value.secret:
            said = (
                said if separator and str(value.value) not in said else "another value was expected"
            )
        # A section's own check speaks of several values, so nothing was "found" in one place.
        whole = isinstance(value.value, (dict, list)) and not separator
        return Mistake(value.where, path, said if whole else f"{said}; found {shown}")
    expected = _expected(kind, context, value)
    if expected is None:
        said = "another value" if secret or value.secret else details["msg"]
        return Mistake(value.where, path, f"{said}; found {shown}")
    return Mistake(value.where, path, f"{expected} was expected; found {shown}", hint)


def _siblings(written: Written, inner: Place) -> Mapping[str, Written]:
    here: Written | None = written
    for step in inner[:-1]:
        here = here.get(step) if here is not None else None
    return here.value if here is not None and isinstance(here.value, dict) else {}


def _description(model: type[BaseModel], inner: Place) -> str:
    *outer, name = inner
    models = [model] if not outer else list(models_in(annotation_at(model, tuple(outer))))
    field = next((m.model_fields[name] for m in models if name in m.model_fields), None)
    return (field.description or "") if field is not None else ""


def _choices(context: Mapping[str, Any]) -> list[str]:
    return re.findall(r"'([^']*)'", str(context.get("expected", "")))


def _bound(limit: Any, value: Written) -> str:
    # Bounds of a duration are in ns; people write a unit.
    if isinstance(value.value, str) and isinstance(limit, int):
        try:
            parse_duration(value.value)
        except ValueError:
            return str(limit)
        return format_duration(limit)
    return f"{limit:g}" if isinstance(limit, float) else str(limit)


_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "decimal": "a decimal number",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "keys and values",
    "mapping": "keys and values",
    "model": "keys and values",
    "dataclass": "keys and values",
    "path": "a path",
    "date": "a date such as 2026-01-31",
    "datetime": "a time such as 2026-01-31T12:00:00Z",
    "url": "an address such as https://example.com",
    "is": "an object",
    "none": "nothing",
}
_BOUNDS: dict[str, Callable[[Mapping[str, Any], Written], str]] = {
    "greater_than": lambda c, v: f"a value above {_bound(c['gt'], v)}",
    "greater_than_equal": lambda c, v: f"a value of at least {_bound(c['ge'], v)}",
    "less_than": lambda c, v: f"a value below {_bound(c['lt'], v)}",
    "less_than_equal": lambda c, v: f"a value of at most {_bound(c['le'], v)}",
    "multiple_of": lambda c, _: f"a multiple of {c['multiple_of']}",
    "too_short": lambda c, _: f"a list of at least {c['min_length']}",
    "too_long": lambda c, _: f"a list of at most {c['max_length']}",
    "string_too_short": lambda c, _: f"text of at least {c['min_length']} characters",
    "string_too_long": lambda c, _: f"text of at most {c['max_length']} characters",
    "string_pattern_mismatch": lambda c, _: f"text of the form {c['pattern']}",
    "literal_error": lambda c, _: f"one of {', '.join(_choices(c)) or c['expected']}",
    "enum": lambda c, _: f"one of {', '.join(_choices(c)) or c['expected']}",
    "finite_number": lambda _c, _v: "a finite number",
    "int_from_float": lambda _c, _v: "a whole number",
}


def _expected(kind: str, context: Mapping[str, Any], value: Written) -> str | None:
    if kind in _BOUNDS:
        return _BOUNDS[kind](context, value)
    return _TYPES.get(kind.partition("_")[0])


# --- what pydantic lets pass ----------------------------------------------------------------------


def _confused(section: Any, written: Written, place: Place) -> Iterator[Mistake]:
    """Yield the values where true was taken for 1, or 1 for true."""
    if isinstance(written.value, dict):
        for key, child in written.value.items():
            inner = section.get(key) if isinstance(section, dict) else getattr(section, key, None)
            yield from _confused(inner, child, (*place, key))
    elif isinstance(written.value, list):
        if isinstance(section, (list, tuple)) and len(section) == len(written.value):
            for index, child in enumerate(written.value):
                yield from _confused(section[index], child, (*place, index))
    elif expected := _taken_for(written.value, section):
        secret = is_secret(str(place[-1]) if place else "")
        shown = found(written, secret=secret)
        yield Mistake(written.where, dotted(place), f"{expected} was expected; found {shown}")


def _taken_for(written: Any, held: Any) -> str | None:
    """Return what was expected when a boolean became a number or a number a boolean."""
    if isinstance(held, bool):
        return None if isinstance(written, (bool, str)) else "true or false"
    if isinstance(written, bool) and isinstance(held, (int, float, Decimal)):
        return "a number"
    return None
