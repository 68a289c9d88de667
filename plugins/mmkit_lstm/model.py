"""The saved networks as signal models, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmkit import model_folder
from mmkit.errors import DataError
from mmkit.interfaces import ModelContext, PluginConfig, SignalModel
from mmkit.signal_models import bad_value, check_window, check_windows
from mmkit_lstm.saved import GRAPH, TENSORS, unpack

Floats = npt.NDArray[np.float64]


class LstmConfig(PluginConfig):
    """Nothing to choose."""


def load(config: LstmConfig, context: ModelContext) -> SignalModel:
    """Return the model: compiled code of our own for the LSTM, onnxruntime for DeepLOB.

    Raises:
        DataError: if the folder holds no model that is whole and of this version.
    """
    card, files = model_folder.load(context.folder, "lstm", TENSORS)
    head, tensors = unpack(files[TENSORS], str(context.folder / TENSORS))
    if head.network == "deeplob":
        _, files = model_folder.load(context.folder, "lstm", GRAPH)
        return GraphModel(files[GRAPH], tensors, card.window, card.names, context.folder)
    return LstmModel(tensors, head.lstm, head.dense, card.window, card.names, context.folder)


class LstmModel(SignalModel):
    """LSTM layers over the window, then dense layers, in single precision."""

    def __init__(
        self,
        tensors: dict[str, npt.NDArray[Any]],
        lstm: int,
        dense: int,
        window: int,
        names: tuple[str, ...],
        folder: Path,
    ) -> None:
        from mmkit_lstm import kernel

        found = _Tensors(tensors, str(folder / TENSORS))
        features = len(names)
        offset = found("scaling.offset", (features,), np.float64)
        factor = found("scaling.factor", (features,), np.float64)
        inputs, recurrent = features, []
        for number in range(lstm):
            name = f"lstm.{number}"
            size = found.rows(f"{name}.weight_hh_l0") // 4
            recurrent.append(
                (
                    found(f"{name}.weight_ih_l0", (4 * size, inputs)),
                    found(f"{name}.weight_hh_l0", (4 * size, size)),
                    found(f"{name}.bias_ih_l0", (4 * size,)),
                    found(f"{name}.bias_hh_l0", (4 * size,)),
                )
            )
            inputs = size
        plain = []
        for number in range(dense):
            size = 3 if number == dense - 1 else found.rows(f"dense.{number}.weight")
            plain.append(
                (
                    found(f"dense.{number}.weight", (size, inputs)),
                    found(f"dense.{number}.bias", (size,)),
                )
            )
            inputs = size
        found.end()
        self.window, self.names = window, names
        self._weights = kernel.lay(offset, factor, recurrent, plain)
        self._shape, self._out = (window, features), np.empty(3)
        self._predict: Any = kernel.predict
        self._batch: Any = kernel.predict_batch
        # Compiled now, or read from numba's cache, and not at the first signal.
        self._predict(np.zeros(self._shape), *self._weights, self._out)

    def predict(self, window: Floats) -> tuple[float, float, float]:
        """Return the probabilities of down, flat and up."""
        if window.shape != self._shape:
            check_window(window, self.window, self.names)
        if not self._predict(window, *self._weights, self._out):
            bad_value(window[None], self.names, "current")
            raise _too_large("current", 0)
        down, flat, up = self._out.tolist()
        return down, flat, up

    def predict_batch(self, windows: Floats) -> Floats:
        """Return them for many windows, by the same code as one at a time."""
        check_windows(windows, self.window, self.names)
        out = np.empty((len(windows), 3))
        bad = self._batch(windows, *self._weights, out)
        if bad >= 0:
            bad_value(windows[bad : bad + 1], self.names, "given", bad)
            raise _too_large("given", bad)
        return out


class GraphModel(SignalModel):
    """A network as ONNX, on onnxruntime. It holds its scaling."""

    def __init__(
        self,
        graph: bytes,
        tensors: dict[str, npt.NDArray[Any]],
        window: int,
        names: tuple[str, ...],
        folder: Path,
    ) -> None:
        import onnxruntime

        path, scaling = folder / GRAPH, _Tensors(tensors, str(folder / TENSORS))
        self._offset = scaling("scaling.offset", (len(names),), np.float64)
        self._factor = scaling("scaling.factor", (len(names),), np.float64)
        options = onnxruntime.SessionOptions()
        # One thread: handing a network this small to others takes longer than it does.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise DataError(
                f"{path}: an ONNX graph was expected; onnxruntime cannot read it ({error}); train again"
            ) from error
        found = self._session.get_inputs()[0].shape[1:]
        if found != [window, len(names)]:
            raise DataError(
                f"{path}: windows of {window} samples of {len(names)} features were expected, by the card; found "
                f"{found}; train again"
            )
        self.window, self.names = window, names

    def predict(self, window: Floats) -> tuple[float, float, float]:
        """Return the probabilities of down, flat and up."""
        check_window(window, self.window, self.names)
        bad_value(window[None], self.names, "current")
        down, flat, up = self._run(window[None], "current", 0)[0].tolist()
        return down, flat, up

    def predict_batch(self, windows: Floats) -> Floats:
        """Return them for many windows, a thousand at a time."""
        check_windows(windows, self.window, self.names)
        out = np.empty((len(windows), 3))
        for start in range(0, len(windows), 1000):
            part = windows[start : start + 1000]
            bad_value(part, self.names, "given", start)
            out[start : start + len(part)] = self._run(part, "given", start)
        return out

    def _run(self, windows: Floats, what: str, first: int) -> npt.NDArray[np.float32]:
        with np.errstate(over="ignore"):
            scaled = ((windows - self._offset) * self._factor).astype(np.float32)
        known = np.isfinite(scaled).all((1, 2))
        if not known.all():
            raise _too_large(what, first + int(known.argmin()))
        (found,) = self._session.run(None, {"windows": np.ascontiguousarray(windows)})
        probabilities: npt.NDArray[np.float32] = found
        return probabilities


def _too_large(what: str, number: int) -> DataError:
    return DataError(
        f"the {what} window {number}: values near those of the training were expected; found some so large that "
        "single precision does not hold them; look at what makes the features"
    )


class _Tensors:
    """Tensors by name, each of the shape that it must have."""

    def __init__(self, tensors: dict[str, npt.NDArray[Any]], where: str) -> None:
        self._left, self._where = dict(tensors), where

    def rows(self, name: str) -> int:
        return len(self._left[name]) if name in self._left and self._left[name].ndim else 0

    def __call__(
        self, name: str, shape: tuple[int, ...], dtype: Any = np.float32
    ) -> npt.NDArray[Any]:
        tensor = self._left.pop(name, None)
        found = "none" if tensor is None else f"{tensor.dtype} of {tensor.shape}"
        if tensor is None or tensor.shape != shape or tensor.dtype != dtype or 0 in shape:
            raise DataError(
                f"{self._where}: tensor '{name}': {np.dtype(dtype)} of {shape} was expected; found {found}; train "
                "again"
            )
        return tensor

    def end(self) -> None:
        if self._left:
            raise DataError(
                f"{self._where}: no other tensors were expected; found {', '.join(sorted(self._left))}; train again"
            )
