"""Features brought to one size, by what the training data looked like."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from mmkit.errors import DataError
from mmkit.learning.samples import Floats


class Scaling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``(value - offset) / scale`` for each feature. JSON in and out with msgspec, as part of the card.

    ``standard`` takes mean and standard deviation (of the population), ``minmax`` maps least and greatest to
    0 and 1 and does not clip what lies outside later, ``none`` changes nothing. A feature that is constant in
    the training data is moved to 0 and keeps its unit.

    Attributes:
        kind: As above.
        offset: One a feature.
        scale: One a feature, above 0.
    """

    kind: Literal["minmax", "standard", "none"]
    offset: list[float]
    scale: list[float]

    def __post_init__(self) -> None:
        if len(self.offset) != len(self.scale):
            raise DataError(
                f"scaling: as many offsets as scales were expected; found {len(self.offset)} and {len(self.scale)}"
            )
        if not np.isfinite(self.offset).all():
            raise DataError(f"scaling: finite offsets were expected; found {self.offset}")
        if not (np.isfinite(self.scale).all() and all(scale > 0 for scale in self.scale)):
            raise DataError(f"scaling: finite scales above 0 were expected; found {self.scale}")

    @classmethod
    def fit(
        cls, values: Floats, kind: Literal["minmax", "standard", "none"] = "standard"
    ) -> Scaling:
        """Return the scaling of float64[n, f] `values`, which must be training data only.

        Raises:
            DataError: if there is no row, or a value is not finite.
        """
        if values.ndim != 2 or not len(values):
            raise DataError(
                f"scaling: training features of shape (n, f) with n above 0 were expected; found {values.shape}"
            )
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            row, column = bad[0].tolist()
            raise DataError(
                f"scaling: finite features were expected; found {values[row, column]} in row {row}, column {column}; "
                "Samples.check_finite() names it with its time"
            )
        if kind == "standard":
            offset, scale = values.mean(axis=0), values.std(axis=0)
        elif kind == "minmax":
            offset = values.min(axis=0)
            scale = values.max(axis=0) - offset
        elif kind == "none":
            offset, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
        else:
            raise DataError(f"scaling: minmax, standard or none was expected; found {kind!r}")
        constant = values.min(axis=0) == values.max(axis=0)
        if kind != "none":
            # Of a constant the mean may be off by a rounding; the value itself is not.
            offset = np.where(constant, values[0], offset)
            scale = np.where(constant, 1.0, scale)
        return cls(kind=kind, offset=offset.tolist(), scale=scale.tolist())

    def apply(self, values: Floats) -> Floats:
        """Return `values`, shape (..., f), scaled; a new array.

        Raises:
            DataError: if there is another number of features than in training.
        """
        if not values.ndim or values.shape[-1] != len(self.scale):
            raise DataError(
                f"scaling: {len(self.scale)} features were expected; found shape {values.shape}"
            )
        scaled: Floats = (values - np.asarray(self.offset)) / np.asarray(self.scale)
        return scaled
