"""Which files a configuration's market data comes from, as a card tells it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import file_digest
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from mmkit.clock import SystemClock
from mmkit.errors import DataError
from mmkit.run.assembly import data_source

if TYPE_CHECKING:
    from mmkit.config import Config


def data_told(config: Config) -> dict[str, str]:
    """Return the SHA-256 in hex of each file of the market data, by its name; empty for a source without files.

    Raises:
        DataError: if one cannot be read.
    """
    paths = data_source(config, SystemClock()).files()
    return {
        name: _digest(path)
        for name, path in sorted(zip(_names(paths), paths, strict=True), key=lambda one: one[0])
    }


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror or error}; it was there when its data was read, so put it back "
            "and train again"
        ) from error


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the ends of the paths, with as many folders as tell them apart: where else they lie tells nothing."""
    whole = [path.resolve().parts for path in paths]
    most = max(map(len, whole), default=1)
    for depth in count(1):
        names = ["/".join(parts[-depth:]) for parts in whole]
        if len(set(names)) == len(names) or depth == most:
            break
    return names
