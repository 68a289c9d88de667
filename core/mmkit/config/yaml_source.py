"""YAML as it was written: every value with its file and line, numbers with their text.

Differs from YAML 1.1 where that surprises: ``on``, ``yes`` and ``12:30`` are text, a key is always
text, a key written twice is a mistake, and a number with a decimal point keeps its digits
(`mmkit.units.WrittenFloat`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from mmkit.errors import ConfigError, Mistake
from mmkit.units import WrittenFloat

Step = str | int
Place = tuple[Step, ...]
"""Keys and list indices from the top to a value."""


@dataclass(frozen=True)
class Written:
    """A value and where it was written.

    Attributes:
        value: A scalar, or `Written` values in a dict or a list.
        where: ``file:line`` or ``--set``; for a mapping or list in a mapping, that of its key.
        key_where: Of its key, if it is in a mapping.
        secrets: What the environment supplied of it.
    """

    value: Any
    where: str = ""
    key_where: str = ""
    secrets: tuple[str, ...] = ()

    @property
    def secret(self) -> bool:
        """Whether the environment supplied a part of it."""
        return bool(self.secrets)

    @property
    def plain(self) -> Any:
        """The value without places, as PyYAML would have it."""
        if isinstance(self.value, dict):
            return {key: child.plain for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain for child in self.value]
        return self.value

    @property
    def from_environment(self) -> bool:
        """Whether the environment supplied a part of it, at any depth."""
        children = self.value.values() if isinstance(self.value, dict) else self.value
        inner = children if isinstance(self.value, (dict, list)) else ()
        return self.secret or any(child.from_environment for child in inner)

    def get(self, step: Step) -> Written | None:
        """Return the value at a key or index, or `None`."""
        if isinstance(self.value, dict):
            return self.value.get(step)
        if isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            return self.value[step]  # type: ignore[no-any-return]
        return None

    def without(self, key: str) -> Written:
        """Return a mapping without one of its keys."""
        return replace(self, value={name: v for name, v in self.value.items() if name != key})

    def merged(self, above: Written) -> Written:
        """Return this with `above` laid over it: mappings are merged, everything else is replaced.

        A section that names another ``plugin`` is replaced too: the keys below were for the old one.
        """
        if not (isinstance(self.value, dict) and isinstance(above.value, dict)):
            return above
        if changes_plugin(self.value, above.value):
            return above
        merged = dict(self.value)
        for key, child in above.value.items():
            merged[key] = merged[key].merged(child) if key in merged else child
        return replace(above, value=merged)

    @classmethod
    def of(cls, value: Any, where: str = "") -> Written:
        """Return plain data as if it had been written at `where`."""
        if isinstance(value, Mapping):
            return cls({str(k): cls.of(v, where) for k, v in value.items()}, where, where)
        if isinstance(value, (list, tuple)):
            return cls([cls.of(item, where) for item in value], where, where)
        return cls(value, where, where)


def changes_plugin(below: Mapping[str, Written], above: Mapping[str, Written]) -> bool:
    """Return whether both name a ``plugin``, and not the same."""
    return (
        "plugin" in above and "plugin" in below and above["plugin"].plain != below["plugin"].plain
    )


def dotted(place: Iterable[Step]) -> str:
    """Return a place as people write it: ``services[0].port``."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


# --- reading --------------------------------------------------------------------------------------


def read_yaml(
    text: str, name: str, environment: Mapping[str, str], mistakes: list[Mistake]
) -> Written:
    """Return what `text` says; what can be read around a mistake is still returned.

    Args:
        text: The YAML.
        name: What to call the file in mistakes.
        environment: What ``${NAME}`` is looked up in.
        mistakes: Grows by what is wrong.

    Raises:
        ConfigError: if it is no YAML at all.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_syntax(error, text, name)]) from error
    except yaml.YAMLError as error:
        raise ConfigError([Mistake(name, "", f"this is not YAML: {error}")]) from error
    if node is None:
        return Written({}, f"{name}:1")
    return _Reader(name, environment, mistakes).read(node, ())


def read_scalar(
    text: str, where: str, environment: Mapping[str, str], mistakes: list[Mistake], place: Place
) -> Written:
    """Return the value that follows ``--set a.b=``; it may be a list or mapping in flow style.

    Raises:
        ConfigError: if it is no YAML.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(
            [Mistake(where, dotted(place), f"this is not a YAML value: {problem}")]
        ) from error
    if node is None:
        return Written(None, where, where)
    return _Reader(where, environment, mistakes, lines=False).read(node, place, where)


class _Loader(yaml.SafeLoader):
    """Finds the structure only; `_scalar` decides what a plain word means."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - PyYAML's name


_PLAIN = "plain"
_Loader.add_implicit_resolver(_PLAIN, re.compile(r"", re.DOTALL), None)
_TEXT = "tag:yaml.org,2002:str"
_NUMBERS = {f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null")}
_COLLECTIONS = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq")}

_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", re.IGNORECASE
)
_VARIABLE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")


def _scalar(text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return WrittenFloat(text) if _FLOAT.fullmatch(text) else text


class _Reader:
    def __init__(
        self,
        name: str,
        environment: Mapping[str, str],
        mistakes: list[Mistake],
        *,
        lines: bool = True,
    ) -> None:
        self._name, self._environment, self._mistakes = name, environment, mistakes
        self._lines = lines
        self._open: list[yaml.Node] = []

    def read(self, node: yaml.Node, place: Place, key_where: str = "") -> Written:
        if isinstance(node, yaml.ScalarNode):
            return self._read_scalar(node, place, key_where)
        where = key_where or self._where(node)
        if node in self._open:
            self._wrong(node, place, "an alias stands for a value that it is a part of")
            return Written(None, where, key_where)
        if node.tag not in _COLLECTIONS:
            self._wrong(node, place, f"the tag '{node.tag}' has no meaning here")
        self._open.append(node)
        value: Any
        if isinstance(node, yaml.MappingNode):
            value = self._read_mapping(node, place)
        else:
            value = [self.read(child, (*place, i)) for i, child in enumerate(node.value)]
        self._open.pop()
        return Written(value, where, key_where)

    def _read_mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Written]:
        entries: dict[str, Written] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._wrong(key_node, place, "a key must be a word; found a list or mapping")
                continue
            key, where = key_node.value, self._where(key_node)
            if key in entries:
                self._wrong(
                    key_node,
                    (*place, key),
                    f"this key was written before, at {entries[key].key_where}",
                    "keep one of them",
                )
                continue
            entries[key] = self.read(value_node, (*place, key), where)
        return entries

    def _read_scalar(self, node: yaml.ScalarNode, place: Place, key_where: str) -> Written:
        where = self._where(node)
        text, secrets = self._filled_in(node, place)
        if node.tag == _PLAIN or node.tag in _NUMBERS:
            return Written(_scalar(text), where, key_where, secrets)
        if node.tag not in {_TEXT, "!"}:
            self._wrong(node, place, f"the tag '{node.tag}' has no meaning here")
        return Written(text, where, key_where, secrets)

    def _filled_in(self, node: yaml.ScalarNode, place: Place) -> tuple[str, tuple[str, ...]]:
        """Return the text with its ``${NAME}`` replaced, and what the environment put there."""
        secrets: list[str] = []

        def value_of(match: re.Match[str]) -> str:
            name, default = match[1], match[2]
            if match[0] == "$${":
                return "${"
            if name is None:
                self._wrong(
                    node,
                    place,
                    "'${' must be followed by a name and '}'",
                    "write $${ for a plain ${",
                )
                return match[0]
            found = self._environment.get(name)
            if found is not None and (found or default is None):
                secrets.append(found)
                return found
            if default is not None:
                return str(default)
            self._wrong(
                node,
                place,
                f"the environment variable '{name}' is not set",
                f"set it, put it into .env, or write ${{{name}:-default}}",
            )
            return match[0]

        return _VARIABLE.sub(value_of, str(node.value)), tuple(secrets)

    def _where(self, node: yaml.Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}" if self._lines else self._name

    def _wrong(self, node: yaml.Node, place: Place, message: str, hint: str = "") -> None:
        self._mistakes.append(Mistake(self._where(node), dotted(place), message, hint))


_IN_WORDS = (
    (
        "mapping values are not allowed",
        "a ':' where none can be: check the indentation, and put text that holds a colon in quotes",
    ),
    ("'\\t'", "a tab cannot indent a line; use spaces"),
    ("found unexpected end of stream", "a quote, '[' or '{' is opened and never closed"),
    ("expected ',' or ']'", "a ',' or ']' is missing in a list"),
    ("expected ',' or '}'", "a ',' or '}' is missing in a mapping"),
    ("could not find expected ':'", "a ':' is missing after a key"),
    ("expected <block end>", "the indentation does not fit the lines above"),
    ("found undefined alias", "an alias stands for nothing that was written before"),
    ("but found another document", "one document was expected; '---' begins a second one"),
)


def _syntax(error: yaml.MarkedYAMLError, text: str, name: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    problem = " ".join(part for part in (error.context, error.problem) if part)
    words = next((words for sign, words in _IN_WORDS if sign in problem), problem)
    if mark is None:
        return Mistake(name, "", f"this is not YAML: {words}")
    lines = text.splitlines()
    at = min(mark.line, len(lines) - 1)
    line = lines[at].strip() if lines else ""
    opened = error.context_mark
    since = (
        f" (since line {opened.line + 1})"
        if opened is not None and opened.line != mark.line
        else ""
    )
    return Mistake(
        f"{name}:{mark.line + 1}:{mark.column + 1}", "", f"this is not YAML: {words}{since}", line
    )
