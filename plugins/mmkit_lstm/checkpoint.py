"""The state of a training after an epoch, as safetensors: reading it back runs no code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from mmkit import model_folder
from mmkit.errors import DataError, RunError

FILE = "checkpoint.safetensors"


class Progress(msgspec.Struct, kw_only=True):
    """Where a training stands.

    Attributes:
        of: Which training it is: data, config and seed, as a digest.
        epoch: How many epochs are done.
        best_epoch: Which of them was the best.
        best_f1: Its macro-F1 on the validation data.
    """

    of: str
    epoch: int = 0
    best_epoch: int = 0
    best_f1: float = -1.0


def write(
    folder: Path,
    progress: Progress,
    network: dict[str, Tensor],
    best: dict[str, Tensor],
    optimizer: dict[str, Any],
) -> None:
    """Write the state, or leave the one before.

    Raises:
        RunError: if the disk does not take it.
    """
    from safetensors.torch import save

    tensors = {f"network/{name}": tensor for name, tensor in network.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in best.items()}
    for number, state in optimizer["state"].items():
        tensors |= {f"optimizer/{number}/{name}": tensor for name, tensor in state.items()}
    content = save(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
        {"mmkit": msgspec.json.encode(progress).decode()},
    )
    try:
        model_folder.write_whole(folder / FILE, content)
    except OSError as error:
        raise RunError(
            f"{folder / FILE}: the checkpoint cannot be written: {error.strerror or error}; the one before is as it "
            "was; make room and go on from it with --resume"
        ) from error


def read(
    folder: Path, of: str
) -> tuple[Progress, dict[str, Tensor], dict[str, Tensor], dict[int, dict[str, Tensor]]]:
    """Return progress, network, best network and the optimizer's state.

    Args:
        folder: Where it was written.
        of: The digest of the training that wants to go on.

    Raises:
        DataError: if there is none, or it is damaged or of another training.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    if not path.is_file():
        raise DataError(f"{path}: a checkpoint was expected; found none; leave out --resume")
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "best": {}, "optimizer": {}}
    try:
        with safe_open(path, "pt") as file:
            progress = msgspec.json.decode(file.metadata()["mmkit"], type=Progress)
            for name in file.keys():  # noqa: SIM118 - no mapping
                part, _, rest = name.partition("/")
                parts[part][rest] = file.get_tensor(name)
    except (SafetensorError, OSError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise DataError(
            f"{path}: a whole checkpoint was expected; found something else ({error}); leave out --resume"
        ) from error
    if progress.of != of:
        raise DataError(
            f"{path}: a checkpoint of the same data, config and seed was expected; found one of another training; "
            "put back what was changed, or leave out --resume"
        )
    optimizer: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        number, _, what = name.partition("/")
        optimizer.setdefault(int(number), {})[what] = tensor
    return progress, parts["network"], parts["best"], optimizer
