"""What a saved model says of itself: on what it was trained, how, and how good it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from mmkit.errors import DataError
from mmkit.learning.labels import LabelRule
from mmkit.learning.scaling import Scaling
from mmkit.signal_models import differences

CARD = "card.json"
"""Its name in the folder of the model."""
VERSION = 1
"""Of the form of a card; the one that can be read."""


class Span(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the data.

    Attributes:
        source: Where it came from, such as the instrument.
        start_ns: Time of its first sample, ns since the epoch.
        end_ns: Time of its last.
        samples: How many.
    """

    source: str
    start_ns: int
    end_ns: int
    samples: int


class Card(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The JSON beside a saved model. Reading it runs no code.

    The first five say what the model is, and every card has them. The others say how it came about: ``mmkit
    train`` writes all of them, and who saves a model by hand those that are known; `check_whole` asks for them.

    Attributes:
        version: Of this form; `VERSION` is the one that can be read.
        plugin: Name of the provider that trained the model and can load it.
        names: The columns in their order.
        window: Samples that a prediction needs.
        files: SHA-256 in hex of the files of the model, by name.
        created: UTC, ISO 8601. Left out where the same seed shall give the same file.
        mmkit: Version of mmkit.
        libraries: Versions of what trained it, by name.
        device: Where it was trained, if that may be ``cpu`` or ``cuda``.
        instrument: Venue, market and symbol.
        data: SHA-256 in hex of the files that it was trained, validated and tested on, by name.
        sampling: ``"update"``, or the grid in ns.
        features: The list of features as it was written.
        scaling: What the model applies to its features, fitted on training data; `None` if nothing.
        labels: How, horizon, threshold.
        spans: Of ``training``, ``validation`` and ``test``.
        class_shares: Down, flat, up, by the names of `spans`.
        metrics: Whatever was measured, by name.
        seed: Of everything that was drawn.
    """

    version: int
    plugin: str
    names: tuple[str, ...]
    window: int
    files: dict[str, str]
    created: str | None = None
    mmkit: str = ""
    libraries: dict[str, str] = {}
    device: str | None = None
    instrument: str = ""
    data: dict[str, str] = {}
    sampling: int | str | None = None
    features: list[Any] = []
    scaling: Scaling | None = None
    labels: LabelRule | None = None
    spans: dict[str, Span] = {}
    class_shares: dict[str, tuple[float, float, float]] = {}
    metrics: dict[str, Any] = {}
    seed: int | None = None

    def __post_init__(self) -> None:
        _check_version(self.version)
        if self.window < 1:
            raise DataError(f"card: a window of at least 1 was expected; found {self.window}")
        if isinstance(self.sampling, str) and self.sampling != "update":
            raise DataError(
                f"card: a grid in ns or 'update' was expected as sampling; found {self.sampling!r}"
            )
        if self.scaling is not None and len(self.names) != len(self.scaling.scale):
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
        if said := differences(self.names, names):
            raise DataError(
                f"features: the {len(self.names)} that the model of {self.plugin!r} was trained with were expected; "
                f"found {len(names)}: {'; '.join(said)}; compute the features of its card"
            )

    def check_whole(self) -> None:
        """Refuse a card that does not say how to make the model's features and labels.

        Raises:
            DataError: names what is missing.
        """
        told = {
            "instrument": self.instrument,
            "sampling": self.sampling,
            "features": self.features,
            "labels": self.labels,
            "class_shares": self.class_shares,
        }
        if missing := [name for name, value in told.items() if not value]:
            raise DataError(
                f"card: all that 'mmkit train' writes was expected; {', '.join(missing)} not told; "
                "train the model with it"
            )


def read_card(folder: Path) -> Card:
    """Return the card of the model in `folder`; its files are not looked at.

    Raises:
        DataError: if there is none, it is no card, or one of another version.
    """
    path = folder / CARD
    if not folder.is_dir():
        raise DataError(
            f"{folder}: the folder of a saved model was expected; found none; 'mmkit train' makes one"
        )
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: the card of a model was expected; cannot be read: {error.strerror}; take a copy of the model "
            "that is whole, or train again"
        ) from error
    try:
        # Alone, so that a card of another version is told as that, not by a field it has or has not.
        _check_version(msgspec.json.decode(raw, type=_Version).version)
        return msgspec.json.decode(raw, type=Card)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except msgspec.MsgspecError as error:
        raise DataError(
            f"{path}: the card of a model was expected; found something else ({error}); take a copy that is whole, "
            "or train again"
        ) from error


class _Version(msgspec.Struct):
    version: int


def _check_version(found: int) -> None:
    if found != VERSION:
        raise DataError(
            f"card: version {VERSION} was expected; found {found}; it was saved by another mmkit: use that one, or "
            "train again"
        )
