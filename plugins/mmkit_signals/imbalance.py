"""The plain rule: up where the imbalance is above a threshold, down where it is below its negative.

The imbalance of the best level, (bid - ask) / (bid + ask), is what Gould and Bonart, "Queue Imbalance as a
One-Tick-Ahead Price Predictor in a Limit Order Book", Market Microstructure and Liquidity 2(2), 2016, predict
the next move with.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from mmkit import model_folder
from mmkit.errors import DataError
from mmkit.interfaces import ModelContext, PluginConfig, SignalModel
from mmkit.signal_models import bad_value, check_window, check_windows

FILE = "model.json"

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is saved.

    Attributes:
        feature: The column with the imbalance, from -1 to 1.
        threshold: Above it is up, below its negative down.
    """

    feature: str
    threshold: Share


class ImbalanceConfig(PluginConfig):
    """Nothing to choose."""


class ImbalanceModel(SignalModel):
    """Says one class with probability 1: the rule knows no shades."""

    def __init__(self, config: ImbalanceConfig, context: ModelContext) -> None:
        card, files = model_folder.load(context.folder, "imbalance", FILE)
        path = context.folder / FILE
        try:
            rule = msgspec.json.decode(files[FILE], type=Rule)
        except msgspec.MsgspecError as error:
            raise DataError(
                f"{path}: a rule was expected; found something else ({error}); train again"
            ) from error
        if rule.feature not in card.names:
            raise DataError(
                f"{path}: a feature of the card was expected ({', '.join(card.names)}); found "
                f"'{rule.feature}'; train again"
            )
        self.names, self.window, self.rule = card.names, card.window, rule
        self._column = card.names.index(rule.feature)

    def predict(self, window: npt.NDArray[np.float64]) -> tuple[float, float, float]:
        """Return the probabilities of down, flat and up."""
        check_window(window, self.window, self.names)
        down, flat, up = self.predict_batch(window[None])[0].tolist()
        return down, flat, up

    def predict_batch(self, windows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return them for many windows."""
        check_windows(windows, self.window, self.names)
        bad_value(windows, self.names, "given")
        said = classes(windows[:, -1, self._column], self.rule.threshold)
        return np.eye(3)[said]


def classes(imbalance: npt.NDArray[np.float64], threshold: float) -> npt.NDArray[np.int8]:
    """Return what the rule says: 0 down, 1 flat, 2 up."""
    return (1 + (imbalance > threshold) - (imbalance < -threshold)).astype(np.int8)
