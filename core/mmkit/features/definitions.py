"""What features there are: names, settings, units, formulas and where these come from."""

from __future__ import annotations

from typing import NamedTuple

from mmkit.features import layout

LEVEL, LEVELS, WINDOW, BUCKET, BUCKETS = "level", "levels", "window", "bucket", "buckets"


class Definition(NamedTuple):
    """One kind of feature.

    Attributes:
        code: What the compiled code knows it by.
        settings: What may be written beside the name, in the order of the column's name.
        unit: Of the value; empty if it has none.
        formula: As `docs/features.md` explains it.
        source: Of the formula; empty if it needs none.
    """

    code: int
    settings: tuple[str, ...]
    unit: str
    formula: str
    source: str = ""


_RATIO = "ratio"
_CKS = (
    "Cont, Kukanov and Stoikov, The price impact of order book events, Journal of Financial "
    "Econometrics 12(1), 2014, section 2"
)
_ZZR = (
    "price and size of each level: Zhang, Zohren and Roberts, DeepLOB, IEEE Transactions on Signal Processing "
    "67(11), 2019, section III.B, where prices are absolute"
)
_XGH = "several levels: Xu, Gould and Howison, Multi-level order-flow imbalance in a limit order book, 2018"

DEFINITIONS: dict[str, Definition] = {
    "spread": Definition(layout.SPREAD, (), "ticks", "ask - bid"),
    "mid": Definition(layout.MID, (), "ticks", "(bid + ask) / 2"),
    "microprice": Definition(
        layout.MICROPRICE,
        (),
        "ticks",
        "(ask * bid_size + bid * ask_size) / (bid_size + ask_size)",
        "the weighted mid of Stoikov, The micro-price, Quantitative Finance 18(12), 2018, section 1",
    ),
    "ask_price": Definition(layout.PRICE_AT_ASK, (LEVEL,), "ticks", "price of an ask - mid", _ZZR),
    "bid_price": Definition(layout.PRICE_AT_BID, (LEVEL,), "ticks", "price of a bid - mid", _ZZR),
    "bid_size": Definition(layout.SIZE_AT_BID, (LEVEL,), "lots", "lots at a bid, or the best"),
    "ask_size": Definition(layout.SIZE_AT_ASK, (LEVEL,), "lots", "lots at an ask, or the best"),
    "bid_volume": Definition(layout.SIZE_BID, (LEVELS,), "lots", "lots at the best bids"),
    "ask_volume": Definition(layout.SIZE_ASK, (LEVELS,), "lots", "lots at the best asks"),
    "imbalance": Definition(
        layout.IMBALANCE, (LEVELS,), _RATIO, "(bid_volume - ask_volume) / (bid_volume + ask_volume)"
    ),
    "bid_slope": Definition(
        layout.SLOPE_BID, (LEVELS,), "lots/tick", "sum(d_k v_k) / sum(d_k^2) of the bids"
    ),
    "ask_slope": Definition(
        layout.SLOPE_ASK, (LEVELS,), "lots/tick", "sum(d_k v_k) / sum(d_k^2) of the asks"
    ),
    "age": Definition(layout.AGE, (), "s", "since a best price or its size changed"),
    "ofi": Definition(layout.OFI, (LEVELS, WINDOW), "lots", "sum of e_n", f"{_CKS}; {_XGH}"),
    "trade_imbalance": Definition(
        layout.TRADE_IMBALANCE, (WINDOW,), _RATIO, "(bought - sold) / (bought + sold)"
    ),
    "buy_sell_ratio": Definition(
        layout.BUY_SELL_RATIO, (WINDOW,), _RATIO, "(buys + 1) / (sells + 1)"
    ),
    "volatility": Definition(
        layout.VOLATILITY,
        (WINDOW,),
        "bps",
        "10,000 sqrt(sum of squared changes of mid) / mid",
        "Andersen, Bollerslev, Diebold and Labys, Modeling and forecasting realized volatility, "
        "Econometrica 71(2), 2003",
    ),
    "return": Definition(layout.RETURN, (WINDOW,), "bps", "10,000 ln(mid / mid before the window)"),
    "vpin": Definition(
        layout.VPIN,
        (BUCKET, BUCKETS),
        _RATIO,
        "sum of |bought - sold| over the buckets / their volume",
        "Easley, Lopez de Prado and O'Hara, Flow toxicity and liquidity in a high-frequency world, "
        "Review of Financial Studies 25(5), 2012",
    ),
}
"""By the name that is written in YAML."""

GROUP = "levels"
"""What is written for several features at once."""
A_LEVEL = ("ask_price", "ask_size", "bid_price", "bid_size")
"""What a group has of each level, in the order of FI-2010 and DeepLOB (there section III.B)."""
