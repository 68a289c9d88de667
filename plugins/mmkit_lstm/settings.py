"""What may be said of the training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from mmkit.errors import UsageError
from mmkit.features import level_names
from mmkit.interfaces import PluginConfig, SignalTrainer, TrainingContext
from mmkit.signal_models import differences

_TOLD = 8
"""Differences; the first ones say what the others are."""
Size = Annotated[int, Field(ge=1, le=4096)]


class LstmTraining(PluginConfig):
    """The defaults are the tutorials' network: LSTM 64, LSTM 32, dense 16, softmax over 3."""

    network: Literal["lstm", "deeplob"] = "lstm"
    lstm: tuple[Size, ...] = Field((64, 32), min_length=1, description="Units of each LSTM layer.")
    dense: tuple[Size, ...] = Field((16,), description="Units of each dense layer before the last.")
    dropout: float = Field(0.2, ge=0, lt=1, description="After each LSTM layer.")
    scaling: Literal["standard", "minmax", "none"] = Field(
        "standard", description="Of each feature, from the training data alone."
    )
    epochs: int = Field(50, ge=1, description="At most so many passes over the training data.")
    patience: int = Field(8, ge=1, description="Stop after so many epochs without a better F1.")
    batch: int = Field(256, ge=1, description="Windows per step.")
    learning_rate: float = Field(1e-3, gt=0, le=1)
    weight_decay: float = Field(1e-4, ge=0, le=1)
    clip: float = Field(1.0, gt=0, description="The norm that a step's gradient has at most.")
    class_weights: Literal["balanced", "none"] = "balanced"
    calls: Literal["f1", "plain"] = Field(
        "f1",
        description="'f1' shifts the log-odds so that the largest is the call with the best macro-F1.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="'auto' takes a GPU if there is one."
    )
    threads: int = Field(
        0,
        ge=0,
        description="Of the CPU; 0 is torch's choice. Another number may give another file.",
    )


def build_trainer(config: LstmTraining, context: TrainingContext) -> SignalTrainer:
    """Return a trainer; torch is imported here.

    Raises:
        UsageError: if the network cannot take the features, or the GPU asked for is not there.
    """
    if config.network == "deeplob":
        _check_levels(context.names)
    from mmkit_lstm.trainer import LstmTrainer

    return LstmTrainer(config, context)


def _check_levels(names: Sequence[str]) -> None:
    """Refuse what is not four features a level, from the best on: the convolutions go by their places."""
    levels = -(-len(names) // 4)
    if found := differences(level_names(levels), names):
        more = f"; and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        raise UsageError(
            "network: deeplob reads the book alone, four features a level: ask_price_1, ask_size_1, bid_price_1, "
            f"bid_size_1, ask_price_2 and so on were expected; found {len(names)} features that differ: "
            f"{'; '.join(found[:_TOLD])}{more}; write 'features: [{{name: levels, levels: 10}}]', or 'network: lstm'"
        )
