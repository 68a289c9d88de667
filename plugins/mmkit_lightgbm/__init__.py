"""LightGBM: trained by the library, walked by compiled code of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mmkit.interfaces import Provider, SignalModel, SignalTrainer


@hookimpl
def register_signal_models() -> list[Provider[Any, SignalModel]]:
    """Offer the model. It needs no library beside mmkit's."""
    from mmkit.interfaces import Provider
    from mmkit_lightgbm.model import LightgbmConfig, LightgbmModel

    return [
        Provider(
            "lightgbm",
            LightgbmConfig,
            LightgbmModel,
            summary="boosted trees over the window's last row or its lags",
        )
    ]


@hookimpl
def register_signal_trainers() -> list[Provider[Any, SignalTrainer]]:
    """Offer what trains it."""
    from mmkit.interfaces import Provider
    from mmkit_lightgbm.trainer import LightgbmTrainer, LightgbmTraining

    return [
        Provider(
            "lightgbm",
            LightgbmTraining,
            LightgbmTrainer,
            summary="boosted trees, stopped early on validation macro-F1",
            requires=("lightgbm",),
            install="mmkit[lightgbm]",
        )
    ]
