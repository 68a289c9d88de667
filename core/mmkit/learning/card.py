"""What a saved model says of itself: on what it was trained, how, and how good it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from mmkit.errors import DataError
from mmkit.learning.labels import LabelRule
from mmkit.learning.scaling import Scaling

CARD = "card.json"
"""Its name in the folder of the model."""

_HASHED = 1 << 20  # bytes read at once


class Span(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the data.

    Attributes:
        source: Where it came from, such as a file's name.
        start_ns: Time of its first sample, ns since the epoch.
        end_ns: Time of its last.
        samples: How many.
    """

    source: str
    start_ns: int
    end_ns: int
    samples: int


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON beside a saved model. Reading it runs no code.

    Attributes:
        version: Of this form; `VERSION` is the one that can be read.
        plugin: Name of the provider that trained the model and can load it.
        created: UTC, ISO 8601. Left out where the same seed shall give the same file.
        mmkit: Version of mmkit.
        libraries: Versions of what trained it, by name.
        instrument: Venue and symbol.
        sampling: ``"update"``, or the grid in ns.
        window: Samples that a prediction needs.
        features: The list of features as it was written.
        names: The columns in their order.
        scaling: Fitted on training data.
        labels: How, horizon, threshold.
        spans: Of ``training``, ``validation`` and ``test``.
        class_shares: Down, flat, up, by the names of `spans`.
        metrics: Whatever was measured, by name.
        seed: Of everything that was drawn.
        files: SHA-256 in hex of the files of the model, by name.
    """

    VERSION: ClassVar[int] = 1

    version: int = 1
    plugin: str
    created: str | None = None
    mmkit: str
    libraries: dict[str, str]
    instrument: str
    sampling: int | str
    window: int
    features: Any
    names: list[str]
    scaling: Scaling
    labels: LabelRule
    spans: dict[str, Span]
    class_shares: dict[str, tuple[float, float, float]]
    metrics: dict[str, Any]
    seed: int
    files: dict[str, str]

    def __post_init__(self) -> None:
        _check_version(self.version)
        if self.window < 1:
            raise DataError(f"card: a window of at least 1 was expected; found {self.window}")
        if isinstance(self.sampling, str) and self.sampling != "update":
            raise DataError(
                f"card: a grid in ns or 'update' was expected as sampling; found {self.sampling!r}"
            )
        if len(self.names) != len(self.scaling.scale):
            raise DataError(
                f"card: a scale for each of {len(self.names)} features was expected; found "
                f"{len(self.scaling.scale)}"
            )
        for name in self.files:
            # A card comes from others, too: it names files of its own folder only.
            if name in {"", ".", ".."} or "/" in name or "\\" in name:
                raise DataError(
                    f"card: the name of a file in its folder was expected; found {name!r}"
                )

    def to_json(self) -> bytes:
        """Return the card as JSON, indented, with a line's end; the same card gives the same bytes."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def check_names(self, names: Sequence[str]) -> None:
        """Refuse features that are not the model's own, in their order.

        Raises:
            DataError: names every difference.
        """
        said = [
            f"{name!r} is missing (column {at + 1})"
            for at, name in enumerate(self.names)
            if name not in names
        ]
        said += [
            f"{name!r} is unknown to the model (column {at + 1})"
            for at, name in enumerate(names)
            if name not in self.names
        ]
        said += [
            f"{name!r} comes {names.count(name)} times"
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]
        if not said:
            said = [
                f"column {at + 1} is {found!r}, not {expected!r}"
                for at, (expected, found) in enumerate(zip(self.names, names, strict=True))
                if expected != found
            ]
        if said:
            raise DataError(
                f"features: the {len(self.names)} that the model of {self.plugin!r} was trained with were expected; "
                f"found {len(names)}: {'; '.join(said)}; compute the features of its card"
            )

    def check_files(self, folder: Path) -> None:
        """Refuse a folder whose files are not those the card was written for.

        Raises:
            DataError: names the file, and whether it is missing or changed.
        """
        for name, expected in self.files.items():
            found = sha256_of(folder / name)
            if found != expected:
                raise DataError(
                    f"{folder / name}: SHA-256 {expected} was expected, as {CARD} says; found {found}; the file was "
                    "changed or cut off, take the model from where it came, or train it again"
                )


def read_card(folder: Path) -> Card:
    """Return the card of the model in `folder`; its files are not looked at.

    Raises:
        DataError: if there is none, it is no card, or one of another version.
    """
    path = folder / CARD
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: a model's card was expected; cannot be read: {error.strerror}; 'mmkit train' makes one"
        ) from error
    try:
        # Alone, so that a card of another version is told as that, not by a field it has or has not.
        _check_version(msgspec.json.decode(raw, type=_Version).version)
        return msgspec.json.decode(raw, type=Card)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except msgspec.DecodeError as error:
        raise DataError(
            f"{path}: a model's card was expected; {error}; the file may be cut off, train the model again"
        ) from error


class _Version(msgspec.Struct):
    version: int


def _check_version(found: int) -> None:
    if found != Card.VERSION:
        raise DataError(
            f"card: version {Card.VERSION} was expected; found {found}; "
            "train the model again, or use the mmkit it was made with"
        )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex.

    Raises:
        DataError: if it cannot be read.
    """
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_HASHED):
                found.update(piece)
    except OSError as error:
        raise DataError(
            f"{os.fspath(path)}: a file of the model was expected; cannot be read: {error.strerror}"
        ) from error
    return found.hexdigest()
