"""Signal models: what turns a window of features into probabilities of the next move, and what trains them.

Classes are in this order everywhere: 0 = down, 1 = flat, 2 = up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError

CLASSES = ("down", "flat", "up")

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class ModelContext:
    """What a signal model is built with.

    Attributes:
        folder: Where it was saved: ``card.json`` and the model's own files.
    """

    folder: Path


@dataclass(frozen=True)
class TrainingContext:
    """What a trainer is built with.

    Attributes:
        names: The columns of the windows, in order.
        window: How many samples a window has.
        scratch: A folder where the trainer keeps the state from which `SignalTrainer.fit` can go on; `None`
            for none.
    """

    names: tuple[str, ...]
    window: int
    scratch: Path | None = None

    def __post_init__(self) -> None:
        if self.window < 1:
            raise DataError(f"a window of at least 1 sample was expected; found {self.window}")
        if not self.names:
            raise DataError("at least one feature was expected; found none; name some")
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise DataError(f"features must have different names; found twice: {', '.join(twice)}")


class SignalModel(ABC):
    """Says how likely the mid is to go down, to stay and to go up. It is fed features as they are, and applies
    the scaling that it was saved with. Loading one runs no code of the file.
    """

    window: int
    """How many samples `predict` needs."""

    names: tuple[str, ...]
    """The columns it was trained with, in order."""

    @abstractmethod
    def predict(self, window: Floats) -> tuple[float, float, float]:
        """Return the probabilities of down, flat and up.

        Called on the engine's thread, so it must be quick.

        Args:
            window: float64, C-contiguous, shape ``(window, features)``, oldest sample first; not changed.

        Raises:
            DataError: if the shape is another, or a value is none or infinite.
        """

    @abstractmethod
    def predict_batch(self, windows: Floats) -> Floats:
        """Return what `predict` does for each of many windows.

        Args:
            windows: float64, shape ``(n, window, features)``; may be a view.

        Returns:
            float64, shape ``(n, 3)``; equal to one at a time within 1e-6.

        Raises:
            DataError: as `predict`, and names the window.
        """

    def check_names(self, names: Sequence[str]) -> None:
        """Refuse columns that are not those of the training.

        Raises:
            DataError: names every difference, one by one.
        """
        if found := differences(self.names, names):
            raise DataError(
                f"the model was trained with {len(self.names)} features, and is given {len(names)} that differ: "
                + "; ".join(found)
                + "; give it the features of its card, in their order, or train a new model"
            )


class TrainingStep(msgspec.Struct, frozen=True, kw_only=True):
    """How far training is, told after each epoch or round.

    Attributes:
        done: Epochs or rounds so far.
        total: How many there will be at most.
        loss: Mean cross entropy over the training data.
        f1: Macro-F1 over the validation data.
        best_f1: The best of those so far.
    """

    done: int
    total: int
    loss: float
    f1: float
    best_f1: float


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Windows with what happened after them.

    Attributes:
        windows: float64, shape ``(n, window, features)``. A view over the samples, or, where there are gaps, what is
            indexed like one (`mmkit.learning.windows.ChosenWindows`): take parts of it, as all of it need not fit into
            memory; ``np.asarray`` makes an array of a part.
        labels: int8, shape ``(n,)``: 0 down, 1 flat, 2 up.
    """

    windows: Floats
    labels: Labels

    def check(self, context: TrainingContext, what: str) -> None:
        """Refuse what cannot be learned from.

        Args:
            context: The columns and the length that windows must have.
            what: Which split it is, such as ``training``.

        Raises:
            DataError: if it is empty, has another shape, NaN or infinite values, a label that is no class, or
                lacks a class.
        """
        n = len(self.labels)
        expected = (n, context.window, len(context.names))
        if self.windows.shape != expected:
            raise DataError(
                f"the {what} windows: shape {expected} was expected, of {n} labels; found {self.windows.shape}"
            )
        if n == 0:
            raise DataError(
                f"the {what} split is empty: no window of {context.window} samples has a label; take more data, "
                "a shorter window or a shorter horizon"
            )
        for start in range(0, n, _CHUNK):
            bad_value(self.windows[start : start + _CHUNK], context.names, what, start)
        outside = np.flatnonzero((self.labels < 0) | (self.labels > 2))
        if outside.size:
            raise DataError(
                f"the {what} labels: 0, 1 or 2 was expected; found {self.labels[outside[0]]} at {outside[0]} "
                f"({outside.size} such); leave out the samples whose future is not known"
            )
        counts = np.bincount(self.labels, minlength=3)
        if lacking := [name for name, count in zip(CLASSES, counts, strict=True) if not count]:
            shares = ", ".join(
                f"{name} {count}" for name, count in zip(CLASSES, counts, strict=True)
            )
            raise DataError(
                f"the {what} labels: all of down, flat and up were expected; found none of "
                f"{' and '.join(lacking)} ({shares}); take another threshold, another horizon or more data"
            )


class SignalTrainer(ABC):
    """Trains one signal model. The same data, config and seed give the same files, byte by byte."""

    @abstractmethod
    def fit(
        self,
        train: TrainingSet,
        valid: TrainingSet,
        *,
        seed: int,
        progress: Callable[[TrainingStep], None],
        stop: Callable[[], bool],
        resume: Path | None = None,
    ) -> None:
        """Train, and keep what is best on `valid`.

        Args:
            train: What is learned from; scaling and weights of classes come from it alone.
            valid: What says when to stop.
            seed: From 0 to 2**31 - 1.
            progress: Called after each epoch or round.
            stop: Asked often; once true, training ends and the best so far is kept.
            resume: Go on from the state in this folder, which was the ``scratch`` of a training of the same
                data, config and seed; `None` to begin.

        Raises:
            DataError: if a split cannot be used, or the state to resume is damaged or of another training.
            UsageError: if a GPU is asked for and not there, or it cannot resume.
        """

    @abstractmethod
    def save(self, folder: Path, card: Mapping[str, Any]) -> dict[str, Any]:
        """Write the model, whole or not at all: a model that was there stays when the disk fills.

        Args:
            folder: Where; `mmkit.model_folder.save` writes it.
            card: What the caller knows of the training, as JSON takes it.

        Returns:
            The card as written, with version, plugin, names, window, libraries and files.

        Raises:
            RunError: if nothing was trained, or the disk does not take it.
        """


def macro_f1(labels: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> float:
    """Return the mean over the three classes of 2 tp / (2 tp + fp + fn); 0 for a class that is nowhere."""
    right = np.bincount(labels[labels == predicted], minlength=3)
    total = np.bincount(labels, minlength=3) + np.bincount(predicted, minlength=3)
    return float(np.mean(2 * right / np.maximum(total, 1)))


def differences(expected: Sequence[str], found: Sequence[str]) -> list[str]:
    """Return each way in which columns differ from those expected, in words; empty if they do not."""
    said = []
    for name in found:
        if name not in expected:
            near = get_close_matches(name, expected, 1)
            said.append(f"unknown '{name}'" + (f" (did you mean '{near[0]}'?)" if near else ""))
    said += [f"missing '{name}'" for name in expected if name not in found]
    if not said and len(expected) == len(found):
        said = [
            f"place {place}: '{wanted}' was expected; found '{name}'"
            for place, (wanted, name) in enumerate(zip(expected, found, strict=True))
            if wanted != name
        ]
    elif not said:
        twice = sorted({name for name in found if list(found).count(name) > 1})
        said = [f"twice '{name}'" for name in twice]
    return said


def check_window(window: Floats, length: int, names: Sequence[str]) -> None:
    """Refuse a window of another shape.

    Raises:
        DataError: says what was expected and found.
    """
    if window.ndim == 2 and window.shape == (length, len(names)):
        return
    if window.ndim == 2 and window.shape[1] == len(names):
        raise DataError(
            f"a window of {length} samples was expected; found {window.shape[0]}; wait until there are as many"
        )
    raise DataError(
        f"a window of {length} samples of {len(names)} features ({', '.join(names)}) was expected; "
        f"found shape {window.shape}"
    )


def check_windows(windows: Floats, length: int, names: Sequence[str]) -> None:
    """Refuse many windows of another shape.

    Raises:
        DataError: says what was expected and found.
    """
    if windows.ndim != 3:
        raise DataError(
            f"windows of shape (n, {length}, {len(names)}) were expected; found {windows.shape}"
        )
    if windows.shape[1:] != (length, len(names)):
        check_window(np.empty(windows.shape[1:]), length, names)


def bad_value(windows: Floats, names: Sequence[str], what: str, first: int = 0) -> None:
    """Refuse NaN and infinite values.

    Args:
        windows: Shape ``(n, window, features)``.
        names: Of the features.
        what: Whose windows they are.
        first: The number of the first window.

    Raises:
        DataError: names the first value's window, sample and feature, and how many there are.
    """
    bad = ~np.isfinite(windows)
    if not bad.any():
        return
    number, sample, column = (int(place) for place in np.argwhere(bad)[0])
    value = windows[number, sample, column]
    raise DataError(
        f"feature '{names[column]}' of the {what} window {first + number}, sample {sample - windows.shape[1] + 1}: "
        f"a finite number was expected; found {value} ({int(bad.sum())} such); begin where all features are "
        "known"
    )


_CHUNK = 8_192
"""Windows: of 30 samples of 20 features 40 MB."""


def check_splits(train: TrainingSet, valid: TrainingSet, context: TrainingContext) -> None:
    """Refuse splits that cannot be used.

    Raises:
        DataError: as `TrainingSet.check`.
    """
    for what, data in (("training", train), ("validation", valid)):
        data.check(context, what)
