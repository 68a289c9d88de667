"""What one prediction of boosted trees takes, beside the library."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmkit import model_folder
from mmkit.interfaces import ModelContext
from mmkit_lightgbm.model import FILE, LightgbmConfig, LightgbmModel

from .drawn import drawn
from .part import Part, Sizes
from .side_by_side import Taken, lines, side_by_side


def lightgbm(sizes: Sizes) -> Part:
    """Measure 100 rounds of three trees of up to 31 leaves, over 20 features."""
    with tempfile.TemporaryDirectory() as name:
        taken = _measured(sizes.calls, Path(name) / "lightgbm")
    ours = taken["mmkit"]
    figures = {
        "lightgbm_us": ours.median,
        "lightgbm_p99_us": ours.p99,
        "lightgbm_p99_cpu_us": ours.cpu_p99,
        "lightgbm_vs_predict": taken["Booster.predict"].median / ours.median,
    }
    rounded = {key: round(value, 2) for key, value in figures.items()}
    return Part(rounded, lines("lightgbm, 100 x 3 trees, 20 features", taken))


def _measured(calls: int, folder: Path) -> dict[str, Taken]:
    import lightgbm as library

    data = drawn(6000, 1, 20)
    inputs: npt.NDArray[np.float64] = data.windows[:, 0]
    names = tuple(f"f{number}" for number in range(20))
    parameters = {"objective": "multiclass", "num_class": 3, "verbosity": -1, "num_threads": 1}
    booster = library.train(
        parameters, library.Dataset(inputs, data.labels, feature_name=list(names)), 100
    )
    text = booster.model_to_string().encode()
    model_folder.save(folder, {FILE: text}, {}, plugin="lightgbm", names=names, window=1)
    model = LightgbmModel(LightgbmConfig(), ModelContext(folder))
    return side_by_side(
        calls,
        **{
            "mmkit": lambda number: model.predict(data.windows[number % 6000]),
            "Booster.predict": lambda number: booster.predict(
                inputs[number % 6000, None], num_threads=1
            ),
        },
    )
