"""The files of a saved network: ``model.safetensors`` and ``model.onnx``.

Formats: https://github.com/huggingface/safetensors (README, "Format"), https://onnx.ai/onnx/repo-docs/IR.html.
"""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from mmkit.errors import DataError

TENSORS, GRAPH = "model.safetensors", "model.onnx"
VERSION = 1


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What the safetensors file says of itself, in its metadata.

    Attributes:
        version: Of the names of the tensors.
        network: ``lstm`` or ``deeplob``.
        lstm: How many LSTM layers.
        dense: How many dense layers.
    """

    version: int
    network: Literal["lstm", "deeplob"]
    lstm: int
    dense: int


def pack(head: Head, tensors: dict[str, npt.NDArray[Any]]) -> bytes:
    """Return the content of a safetensors file."""
    from safetensors.numpy import save

    ordered = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    return save(ordered, {"mmkit": msgspec.json.encode(head).decode()})


def unpack(content: bytes, where: str) -> tuple[Head, dict[str, npt.NDArray[Any]]]:
    """Return what `pack` was given.

    Raises:
        DataError: if it is truncated, of another version, or holds a number that is none or infinite.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(content)
        # `load` has checked that the header is there and is JSON: 8 bytes of length, then as many of it.
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        said = header["__metadata__"]["mmkit"]
        version = json.loads(said)["version"]
        if version != VERSION:
            raise DataError(
                f"{where}: version {VERSION} was expected; found {version}; train again with this mmkit"
            )
        head = msgspec.json.decode(said, type=Head)
    except (SafetensorError, ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise DataError(
            f"{where}: a whole safetensors file of 'lstm' was expected; found another or a part ({error}); take a "
            "copy that is whole, or train again"
        ) from error
    if bad := [name for name, tensor in sorted(tensors.items()) if not np.isfinite(tensor).all()]:
        raise DataError(
            f"{where}: finite numbers were expected; found others in {', '.join(bad)}; train again"
        )
    return head, tensors
