"""A saved model that is to say something in a run, with the features and the sampling that its card asks for."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError
from mmkit.features import Features
from mmkit.instruments import Instrument
from mmkit.interfaces import ModelContext, SignalModel
from mmkit.learning.card import CARD, Card, read_card
from mmkit.report import SignalFigures
from mmkit.units import format_duration

if TYPE_CHECKING:
    from mmkit.config import ChosenSignal

_log = logging.getLogger("mmkit.signals")

Floats = npt.NDArray[np.float64]

_SURE = 1e-3
"""How far from 1 the sum of three probabilities may be; models of single precision are off by 1e-6."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """One signal of a run, ready to be computed.

    Attributes:
        name: What strategies call it.
        market: What it is about.
        model: Built from its folder.
        features: What it is fed.
        grid_ns: Samples are taken at its multiples; `None` for every update of the book.
        every_ns: It is asked at most this often; `None` for at every sample.
        expires_ns: How long what it says holds.
        latency_ns: As configured; `None` if it is to be measured.
        figures: What the report says of it, before anything has happened.
    """

    name: str
    market: str
    model: SignalModel
    features: Features
    grid_ns: int | None
    every_ns: int | None
    expires_ns: int
    latency_ns: int | None
    figures: SignalFigures


def load(chosen: ChosenSignal, instrument: Instrument) -> Loaded:
    """Read the model of a signal, and its card.

    Raises:
        DataError: if a file is missing or damaged, the card lacks what a run needs, or the features are not
            those of the training.
    """
    section = chosen.section
    folder = Path(section.model)
    model = cast(SignalModel, chosen.model.build(ModelContext(folder)))
    path = folder / CARD
    card, digest = _card(folder)
    grid = None if card.sampling == "update" else cast(int, card.sampling)
    features = Features(card.features, instrument, f"{path}: features")
    try:
        model.check_names(features.names)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if card.instrument and instrument.symbol not in card.instrument:
        _log.warning(
            "signal=%s was trained on %s, and is asked about %s",
            chosen.name,
            card.instrument,
            instrument.symbol,
        )
    every = _every(section.every, grid, f"signal '{chosen.name}' of {folder}")
    figures = SignalFigures(
        plugin=chosen.model.name,
        model=section.model,
        card=digest,
        sampling="update" if grid is None else format_duration(grid),
        expires_ns=section.expires,
    )
    return Loaded(
        name=chosen.name,
        market=section.market,
        model=model,
        features=features,
        grid_ns=grid,
        every_ns=every,
        expires_ns=section.expires,
        latency_ns=section.latency,
        figures=figures,
    )


def _card(folder: Path) -> tuple[Card, str]:
    """Return the card, and its SHA-256.

    Raises:
        DataError: if it does not say how the model is fed; or as `read_card`.
    """
    card, path = read_card(folder), folder / CARD
    if not card.features or card.sampling is None:
        raise DataError(
            f"{path}: 'features' (a list) and 'sampling' (a grid in ns, or \"update\") were expected; found none; a "
            "run has to know how the model is fed, so train it again"
        )
    if card.sampling != "update" and not (isinstance(card.sampling, int) and card.sampling > 0):
        raise DataError(
            f"{path}: 'sampling': a grid of more than 0 ns, or \"update\", was expected; found {card.sampling!r}; train "
            "the model again"
        )
    return card, hashlib.sha256(path.read_bytes()).hexdigest()


def _every(said: int | str | None, grid: int | None, what: str) -> int | None:
    """Return how often the model is asked at most; `None` for at every sample.

    Raises:
        DataError: if that does not fit how samples are taken.
    """
    if said is None or (said == "update" and grid is None):
        return None
    if grid is None:
        return cast(int, said)
    if isinstance(said, str) or said % grid:
        found = said if isinstance(said, str) else format_duration(said)
        raise DataError(
            f"{what}: the model was trained on samples every {format_duration(grid)}, so for 'every' a whole multiple of "
            f"that was expected; found {found}; change it, or leave it out"
        )
    return None if said == grid else said


def wrong(said: Sequence[float]) -> bool:
    """Return whether three numbers are no probabilities; NaN and infinity are none."""
    down, flat, up = said
    return not (min(down, flat, up) >= 0 and abs(down + flat + up - 1) <= _SURE)


WRONG = "the model said {}; three probabilities of sum 1 were expected"


def measured(model: SignalModel, windows: Iterable[Floats]) -> int:
    """Return how long the model takes to predict, the median in ns; of what fails nothing is counted."""
    took: list[int] = []
    for number, window in enumerate(windows):
        if sum(took) > _ENOUGH_NS:
            break
        began = time.perf_counter_ns()
        try:
            model.predict(window)
        except Exception:  # noqa: BLE001, S112 - a plugin's; told where it is counted
            continue
        if number >= _WARM:
            took.append(time.perf_counter_ns() - began)
    return int(median(took)) if took else 0


_ENOUGH_NS = 1_000_000_000
_WARM = 3
"""The first calls find nothing in the processor's caches."""
MEASURED = 200
"""Calls that are measured."""
