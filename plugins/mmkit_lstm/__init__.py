"""LSTM and DeepLOB: trained with torch, run without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mmkit.interfaces import Provider, SignalModel, SignalTrainer


@hookimpl
def register_signal_models() -> list[Provider[Any, SignalModel]]:
    """Offer the model."""
    from mmkit.interfaces import Provider
    from mmkit_lstm.model import LstmConfig, load

    return [
        Provider(
            "lstm",
            LstmConfig,
            load,
            summary="a recurrent network over the window: LSTM, or DeepLOB",
            requires=("safetensors", "onnxruntime"),
            install="mmkit[lstm-run]",
        )
    ]


@hookimpl
def register_signal_trainers() -> list[Provider[Any, SignalTrainer]]:
    """Offer what trains it."""
    from mmkit.interfaces import Provider
    from mmkit_lstm.settings import LstmTraining, build_trainer

    return [
        Provider(
            "lstm",
            LstmTraining,
            build_trainer,
            summary="an LSTM or DeepLOB, stopped early on validation macro-F1, on CPU or GPU",
            requires=("torch", "onnx", "safetensors"),
            install="mmkit[lstm]",
        )
    ]
