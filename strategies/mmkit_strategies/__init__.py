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
    from mmkit_strategies.join_best import JoinBest
    from mmkit_strategies.skewed import Skewed

    return [
        Provider(
            "join_best", JoinBest.Config, JoinBest, "One order at the best price of each side"
        ),
        Provider(
            "skewed", Skewed.Config, Skewed, "Symmetric around mid, shifted against the inventory"
        ),
    ]
