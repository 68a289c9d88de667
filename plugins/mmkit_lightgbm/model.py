"""The saved trees as a signal model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mmkit import model_folder
from mmkit.errors import DataError
from mmkit.interfaces import ModelContext, PluginConfig, SignalModel
from mmkit.signal_models import bad_value, check_window, check_windows
from mmkit_lightgbm.inputs import places
from mmkit_lightgbm.layout import lay
from mmkit_lightgbm.text import read

FILE = "model.txt"


class LightgbmConfig(PluginConfig):
    """Nothing to choose."""


class LightgbmModel(SignalModel):
    """Boosted trees, read from LightGBM's text without LightGBM."""

    def __init__(self, config: LightgbmConfig, context: ModelContext) -> None:
        from mmkit_lightgbm import walk

        card, files = model_folder.load(context.folder, "lightgbm", FILE)
        try:
            forest = read(files[FILE].decode())
        except UnicodeDecodeError as error:
            raise DataError(
                f"{context.folder / FILE}: text was expected; found {error}; train again"
            ) from error
        except DataError as error:
            raise DataError(f"{context.folder}: {error}") from error
        layout = lay(forest)
        self.names, self.window = card.names, card.window
        self._arguments: tuple[Any, ...] = (
            places(forest.inputs, card.names, card.window),
            *layout,
        )
        self._inputs = len(forest.inputs)
        self._shape = (card.window, len(card.names))
        self._x, self._found = np.empty(self._inputs), np.empty(len(layout.root))
        self._out = np.empty(3)
        self._walk: Any = walk.window
        self._batch: Any = walk.batch
        # Compiled now, or read from numba's cache, and not at the first signal.
        self._walk(np.zeros(self._shape), *self._arguments, self._x, self._found, self._out)

    def predict(self, window: npt.NDArray[np.float64]) -> tuple[float, float, float]:
        """Return the probabilities of down, flat and up."""
        if window.shape != self._shape:
            check_window(window, self.window, self.names)
        out = self._out
        if not self._walk(window, *self._arguments, self._x, self._found, out):
            bad_value(window[None], self.names, "current")
        down, flat, up = out.tolist()
        return down, flat, up

    def predict_batch(self, windows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return them for many windows, equal to one at a time."""
        check_windows(windows, self.window, self.names)
        out = np.empty((len(windows), 3))
        bad = self._batch(
            windows, *self._arguments, np.empty(self._inputs), np.empty_like(self._found), out
        )
        if bad >= 0:
            bad_value(windows[bad : bad + 1], self.names, "given", bad)
        return out
