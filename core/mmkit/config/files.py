"""What the configuration is read from: files laid over each other, ``.env``, and ``--set``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmkit.config.yaml_source import Place, Written, changes_plugin, dotted, read_scalar, read_yaml
from mmkit.errors import ConfigError, Mistake


def read_files(
    paths: Sequence[Path], environment: Mapping[str, str], mistakes: list[Mistake]
) -> Written:
    """Return the files laid over each other, the last one on top.

    Raises:
        ConfigError: if one cannot be read, or is no YAML.
    """
    root = Written({})
    for path in paths:
        written = read_yaml(_text(path), str(path), environment, mistakes)
        if not isinstance(written.value, dict):
            mistakes.append(
                Mistake(written.where, "", "keys and values were expected; found something else")
            )
            continue
        root = root.merged(written)
    return root


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        message, hint = "there is no such file", "create one with 'mmkit init'"
    except IsADirectoryError:
        message, hint = (
            "a file was expected; this is a folder",
            f"did you mean '{path / 'config.yml'}'?",
        )
    except UnicodeDecodeError as error:
        message, hint = f"this is not UTF-8 text: {error.reason} at byte {error.start}", ""
    except OSError as error:
        message, hint = f"the file cannot be read: {error.strerror}", ""
    raise ConfigError([Mistake(str(path), "", message, hint)])


def environment_of(folders: Iterable[Path]) -> dict[str, str]:
    """Return the environment, with what ``.env`` files in `folders` add; earlier folders win."""
    environment: dict[str, str] = {}
    for folder in reversed(list(folders)):
        path = folder / ".env"
        if path.is_file():
            environment.update(parse_env(_text(path)))
    return {**environment, **os.environ}


def parse_env(text: str) -> dict[str, str]:
    """Return the ``KEY=VALUE`` lines of a ``.env`` file; quotes around a value are taken off."""
    pairs = {}
    for raw in text.splitlines():
        line = raw.strip().removeprefix("export ").strip()
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or name.startswith("#"):
            continue
        if value[:1] in {"'", '"'} and value[1:].find(value[0]) >= 0:
            value = value[1 : value.index(value[0], 1)]
        else:
            value = re.split(r"\s#", value, maxsplit=1)[0].strip()
        pairs[name] = value
    return pairs


def with_overrides(
    root: Written, overrides: Sequence[str], environment: Mapping[str, str], mistakes: list[Mistake]
) -> Written:
    """Return `root` with each ``a.b=c`` of the command line put in."""
    parsed: list[tuple[Place, str]] = []
    for override in overrides:
        path, equals, text = override.partition("=")
        steps = [step.strip() for step in path.split(".")]
        if not equals or not all(steps):
            mistakes.append(
                Mistake(
                    "--set",
                    "",
                    f"'a.b=c' was expected; found '{path}'",
                    "such as --set strategy.every=200ms",
                )
            )
            continue
        parsed.append((_place(steps), text))
    # A section that gets another plugin is emptied first, whatever the order on the command line.
    parsed.sort(key=lambda item: item[0][-1] != "plugin")
    for place, text in parsed:
        try:
            value = read_scalar(text, "--set", environment, mistakes, place)
        except ConfigError as error:
            mistakes += error.mistakes
            continue
        root = _put(root, place, value, 0, mistakes)
    return root


def with_changes(
    root: Written, changes: Mapping[str, Any], mistakes: list[Mistake], where: str = "changes"
) -> Written:
    """Return `root` with plain values put in at their paths, ``a.b``."""
    # As with `--set`: a section that gets another plugin is emptied first.
    for path in sorted(changes, key=lambda path: not path.endswith(".plugin")):
        place = _place(path.split("."))
        root = _put(root, place, Written.of(changes[path], where), 0, mistakes)
    return root


def _place(steps: Sequence[str]) -> Place:
    return tuple(int(step) if step.isdecimal() else step for step in steps)


def _put(
    root: Written, place: Place, value: Written, depth: int, mistakes: list[Mistake]
) -> Written:
    if depth == len(place):
        return root.merged(value) if isinstance(root.value, dict) else value
    step = place[depth]
    if isinstance(root.value, list):
        if not isinstance(step, int) or step >= len(root.value):
            count = len(root.value)
            mistakes.append(
                Mistake(
                    "--set",
                    dotted(place),
                    f"'{dotted(place[:depth])}' is a list; an index below {count} was expected; found '{step}'",
                )
            )
            return root
        items = list(root.value)
        items[step] = _put(items[step], place, value, depth + 1, mistakes)
        return replace(root, value=items)
    entries: dict[str, Written] = root.value if isinstance(root.value, dict) else {}
    key = str(step)
    inner = _put(entries.get(key, Written({}, "--set", "--set")), place, value, depth + 1, mistakes)
    if key == "plugin" and depth == len(place) - 1 and changes_plugin(entries, {key: inner}):
        return replace(root, value={key: inner})
    return Written({**entries, key: inner}, root.where or "--set", root.key_where, root.secrets)
