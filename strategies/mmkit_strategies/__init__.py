"""The strategies that ship."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from mmkit.interfaces import Provider, Strategy


@hookimpl
def register_strategies() -> list[Provider[Any, Strategy]]:
    """Offer every bundled strategy."""
    from mmkit.interfaces import Provider
    from mmkit_strategies.advised_maker import AdvisedMaker
    from mmkit_strategies.avellaneda_stoikov import AvellanedaStoikov
    from mmkit_strategies.glft import Glft
    from mmkit_strategies.grid import Grid
    from mmkit_strategies.imbalance import Imbalance
    from mmkit_strategies.join_best import JoinBest
    from mmkit_strategies.signal_taker import SignalTaker
    from mmkit_strategies.skewed import Skewed

    return [
        Provider(
            "join_best", JoinBest.Config, JoinBest, "One order at the best price of each side"
        ),
        Provider(
            "skewed", Skewed.Config, Skewed, "Symmetric around mid, shifted against the inventory"
        ),
        Provider(
            "avellaneda_stoikov",
            AvellanedaStoikov.Config,
            AvellanedaStoikov,
            "Around the reservation price of Avellaneda and Stoikov (2008)",
        ),
        Provider(
            "glft",
            Glft.Config,
            Glft,
            "Distances of Gueant, Lehalle and Fernandez-Tapia (2013), asymptotic or exact",
        ),
        Provider(
            "imbalance",
            Imbalance.Config,
            Imbalance,
            "Around the micro-price of Stoikov (2018), or the weighted mid",
        ),
        Provider("grid", Grid.Config, Grid, "Several levels a side, equally spaced"),
        Provider(
            "signal_taker",
            SignalTaker.Config,
            SignalTaker,
            "All in where a signal says up, all out where it says down",
        ),
        Provider(
            "advised_maker",
            AdvisedMaker.Config,
            AdvisedMaker,
            "Around mid, widened by advice of language models, within bounds",
        ),
    ]
