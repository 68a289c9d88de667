"""What may be said of the training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mmkit.errors import UsageError
from mmkit.interfaces import PluginConfig, SignalTrainer, TrainingContext

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
    if config.network == "deeplob" and len(context.names) % 4:
        raise UsageError(
            "network: deeplob reads four features a level (ask price, ask size, bid price, bid size; Zhang, Zohren "
            f"and Roberts 2019), so a multiple of 4 was expected; found {len(context.names)} features; add or leave "
            "out some, or write 'network: lstm'"
        )
    from mmkit_lstm.trainer import LstmTrainer

    return LstmTrainer(config, context)
