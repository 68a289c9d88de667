"""Secrets from the system's keyring, by way of the package `keyring`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mmkit.config.yaml_source import Place, Written, dotted
from mmkit.errors import Mistake

PREFIX = "keyring:"
SERVICE = "mmkit"
"""Under which the keyring has them: ``keyring set mmkit NAME``."""


def with_keyring(written: Written, place: Place, mistakes: list[Mistake]) -> Written:
    """Return a section with every ``keyring:NAME`` of it replaced by what the keyring has; marked secret.

    Args:
        written: The section.
        place: Where it is, for mistakes.
        mistakes: Grows by what cannot be had.
    """
    if not isinstance(written.value, dict):
        return written
    held: dict[str, Written] = {}
    for name, child in written.value.items():
        secret = isinstance(child.value, str) and child.value.startswith(PREFIX)
        held[name] = _looked_up(child, (*place, name), mistakes) if secret else child
    return replace(written, value=held)


def _looked_up(written: Written, place: Place, mistakes: list[Mistake]) -> Written:
    name = str(written.value).removeprefix(PREFIX)
    value, message, hint = None, "", ""
    try:
        value = _keyring().get_password(SERVICE, name)
    except ImportError:
        message = "the package 'keyring' is not installed"
        hint = 'pip install keyring, or take it from the environment: "${NAME}"'
    except Exception as error:  # noqa: BLE001 - whatever the system's keyring raises
        # Its words are the keyring's own and may say anything: they are not repeated.
        message, hint = f"the keyring cannot be read: {type(error).__name__}", "unlock it"
    if value is None:
        message = message or f"the keyring has no '{name}' of the service '{SERVICE}'"
        hint = hint or f"put it there: keyring set {SERVICE} {name}"
        mistakes.append(Mistake(written.where, dotted(place), message, hint))
        return replace(written, value="")
    return replace(written, value=value, secrets=(value,))


def _keyring() -> Any:
    import keyring

    return keyring
