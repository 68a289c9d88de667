"""Ideas for features as a ``features:`` section of a training: what mmkit has as lines, what it lacks as comments."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmkit.answers import FeatureIdea
from mmkit.errors import ConfigError
from mmkit.features import DEFINITIONS, FeatureSpec, parse_features

USUAL_WINDOW = "10s"
"""Of an idea that needs a window and names none."""
_USUAL_LEVELS = 5

# Other names in use for what mmkit has; whole names only, so that nothing is taken for what it is not.
_ALSO = {
    "bid_ask_spread": "spread",
    "best_spread": "spread",
    "quoted_spread": "spread",
    "mid_price": "mid",
    "micro_price": "microprice",
    "weighted_mid": "microprice",
    "weighted_mid_price": "microprice",
    "best_bid_size": "bid_size",
    "best_ask_size": "ask_size",
    "bid_depth": "bid_volume",
    "ask_depth": "ask_volume",
    "order_book_imbalance": "imbalance",
    "book_imbalance": "imbalance",
    "depth_imbalance": "imbalance",
    "volume_imbalance": "imbalance",
    "queue_imbalance": "imbalance",
    "obi": "imbalance",
    "order_flow_imbalance": "ofi",
    "trade_flow_imbalance": "trade_imbalance",
    "aggressor_imbalance": "trade_imbalance",
    "trade_sign_imbalance": "trade_imbalance",
    "buy_sell_trade_ratio": "buy_sell_ratio",
    "realized_volatility": "volatility",
    "realised_volatility": "volatility",
    "mid_volatility": "volatility",
    "rolling_volatility": "volatility",
    "mid_return": "return",
    "log_return": "return",
    "mid_price_return": "return",
    "momentum": "return",
    "mid_price_momentum": "return",
}
_WINDOW = re.compile(r"[0-9]{1,4}(?:ms|s|m|h)")
_LEVELS = re.compile(r"(?:l|top|levels?)?([0-9]{1,2})(?:l|levels?)?")
_LEVEL_WORDS = ("level", "levels", "top")


def known(name: str) -> FeatureSpec | None:
    """Return the feature of mmkit that an idea's name says; `None` if it says none, or not all that it needs.

    A part of the name such as ``30s`` is taken for the window, and one such as ``5`` or ``top5`` for the levels.
    """
    window, levels = "", None
    words: list[str] = []
    for part in re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_").split("_"):
        if not window and _WINDOW.fullmatch(part):
            window = part
        elif levels is None and (match := _LEVELS.fullmatch(part)):
            levels = int(match[1])
        elif part not in _LEVEL_WORDS:
            words.append(part)
    said = "_".join(words)
    meant = said if said in DEFINITIONS else _ALSO.get(said, "")
    if not meant:
        return None
    takes = DEFINITIONS[meant].settings
    of_levels = next((one for one in ("levels", "level") if one in takes), None)
    if (window and "window" not in takes) or (levels is not None and of_levels is None):
        return None  # something else than what mmkit calls so
    written: dict[str, object] = {"name": meant}
    if "window" in takes:
        written["window"] = window or USUAL_WINDOW
    if levels is not None and of_levels is not None:
        written[of_levels] = levels
    elif takes == ("levels",) and meant != "imbalance":
        written["levels"] = _USUAL_LEVELS
    try:
        (spec,) = parse_features([written])
    except ConfigError:
        return None
    return spec


def features_yaml(ideas: Sequence[FeatureIdea], asked: str = "") -> str:
    """Return the ideas, the most relevant first, as YAML that the training takes if it has a line at all.

    The words of the model are in comments alone, one line each.

    Args:
        ideas: As the model has them.
        asked: Which model that was, and of what, for the first line.
    """
    lines = [
        f"# Ideas of {_line(asked)}. Try them, believe nothing: 'mmkit train' says what they are worth."
    ]
    lines.append("features:")
    there: dict[str, str] = {}
    for idea in sorted(ideas, key=lambda one: -one.relevance):
        spec = known(idea.name)
        said = f"{_line(idea.name)}, relevance {idea.relevance}: {_line(idea.formula)}"
        if spec is None:
            lines.append(f"  # not in mmkit: {said}")
        elif spec.column in there:
            lines.append(f"  # the same again: {said}")
        else:
            there[spec.column] = idea.name
            lines.append(f"  - {_written(spec)}  # {said}")
    if not there:
        lines[1] = "features: []  # none of them is in mmkit; 'features' needs one at least"
    return "\n".join(lines) + "\n"


def _written(spec: FeatureSpec) -> str:
    keys = spec.model_dump(mode="json", exclude_none=True)
    if len(keys) == 1:
        return spec.name
    return "{" + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}"


def _line(words: str) -> str:
    """Return words of a model as a part of one line of a comment."""
    return " ".join("".join(one if one.isprintable() else " " for one in words).split())
