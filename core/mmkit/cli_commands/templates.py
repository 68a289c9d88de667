"""The files that ``mmkit init`` and ``mmkit new`` write."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from mmkit.errors import UsageError


def template(name: str) -> str:
    """Return a template that is packaged with mmkit."""
    return (files("mmkit") / "templates" / name).read_text(encoding="utf-8")


def named(text: str, stem: str, name: str) -> str:
    """Return `text` about `name` instead of ``my_<stem>`` and ``My<Stem>``."""
    words = name.replace("_", " ")
    pairs = {
        f"my_{stem}": name,
        f"My{stem.title()}": class_name(name),
        f"My {stem}": words[:1].upper() + words[1:],
    }
    return re.sub("|".join(pairs), lambda match: pairs[match[0]], text)


def class_name(name: str) -> str:
    """Return ``my_own`` as ``MyOwn``."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def write_new(path: Path, text: str) -> bool:
    """Write a file that is not there yet; return whether it was written.

    Raises:
        UsageError: if it cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    return True
