"""Features of order book and trades: one definition each, for whole tapes and while messages come in.

What they are, their formulas and sources: ``docs/features.md``.
"""

from __future__ import annotations

from mmkit.features.definitions import DEFINITIONS, Definition
from mmkit.features.features import Description, Features
from mmkit.features.spec import FeatureList, FeatureSpec, level_names, parse_features
from mmkit.features.streaming import Streaming

__all__ = [
    "DEFINITIONS",
    "Definition",
    "Description",
    "FeatureList",
    "FeatureSpec",
    "Features",
    "Streaming",
    "level_names",
    "parse_features",
]
