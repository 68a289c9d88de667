"""Plain rules that every trained model is measured against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mmkit.interfaces import Provider, SignalModel, SignalTrainer


@hookimpl
def register_signal_models() -> list[Provider[Any, SignalModel]]:
    """Offer the rule."""
    from mmkit.interfaces import Provider
    from mmkit_signals.imbalance import ImbalanceConfig, ImbalanceModel

    return [
        Provider(
            "imbalance",
            ImbalanceConfig,
            ImbalanceModel,
            summary="up where the bid is the larger, down where the ask is",
        )
    ]


@hookimpl
def register_signal_trainers() -> list[Provider[Any, SignalTrainer]]:
    """Offer what finds its threshold."""
    from mmkit.interfaces import Provider
    from mmkit_signals.trainer import ImbalanceTrainer, ImbalanceTraining

    return [
        Provider(
            "imbalance",
            ImbalanceTraining,
            ImbalanceTrainer,
            summary="the threshold of the best macro-F1 on the training data",
        )
    ]
