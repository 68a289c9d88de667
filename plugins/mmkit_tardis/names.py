"""Tardis's names: of exchanges, of data types, of instruments.

The ids of exchanges are those of tardis-node's ``src/consts.ts``, past ones included.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from mmkit.instruments import InstrumentSpec

EXCHANGES = (
    *("ascendex", "aster", "aster-futures", "binance", "binance-delivery", "binance-dex"),
    *("binance-european-options", "binance-futures", "binance-jersey", "binance-options"),
    *("binance-us", "bitfinex", "bitfinex-derivatives", "bitflyer", "bitget", "bitget-futures"),
    *("bitmex", "bitnomial", "bitstamp", "bullish", "bybit", "bybit-options", "bybit-spot"),
    *("coinbase", "coinbase-international", "coinflex", "crypto-com", "crypto-com-derivatives"),
    *("cryptofacilities", "delta", "deribit", "dydx", "dydx-v4", "ftx", "ftx-us", "gate-io"),
    *("gate-io-futures", "gemini", "hitbtc", "huobi", "huobi-dm", "huobi-dm-linear-swap"),
    *("huobi-dm-options", "huobi-dm-swap", "hyperliquid", "kraken", "kucoin", "kucoin-futures"),
    *("lighter", "mango", "mexc", "mexc-futures", "okcoin", "okex", "okex-futures"),
    *("okex-options", "okex-spreads", "okex-swap", "phemex", "poloniex", "polymarket", "serum"),
    *("star-atlas", "upbit", "woo-x"),
)

_IDS = {
    ("binance", "spot"): "binance",
    ("binance", "usdm"): "binance-futures",
    ("binance", "coinm"): "binance-delivery",
    ("binanceus", "spot"): "binance-us",
    ("bitget", "spot"): "bitget",
    ("bitget", "usdm"): "bitget-futures",
    ("bybit", "spot"): "bybit-spot",
    ("bybit", "usdm"): "bybit",
    ("bybit", "coinm"): "bybit",
    ("coinbase", "spot"): "coinbase",
    ("deribit", "coinm"): "deribit",
    ("gate", "spot"): "gate-io",
    ("gate", "usdm"): "gate-io-futures",
    ("hyperliquid", "usdm"): "hyperliquid",
    ("kraken", "spot"): "kraken",
    ("krakenfutures", "usdm"): "cryptofacilities",
    ("kucoin", "spot"): "kucoin",
    ("kucoinfutures", "usdm"): "kucoin-futures",
    ("mexc", "spot"): "mexc",
    ("mexc", "usdm"): "mexc-futures",
    ("okx", "spot"): "okex",
    ("okx", "usdm"): "okex-swap",
    ("okx", "coinm"): "okex-swap",
}
"""What Tardis calls a market of ccxt's; any other is named by ``data.exchange``."""


def exchange_of(spec: InstrumentSpec) -> str | None:
    """Return Tardis's id of an instrument's exchange; `None` if it is not known here."""
    return _IDS.get((spec.venue, spec.market))


def symbol_of(spec: InstrumentSpec) -> str:
    """Return what Tardis probably calls an instrument: the exchange's own name, as Binance builds them."""
    native = spec.base + spec.quote
    if spec.venue == "binance" and spec.market == "coinm":
        return f"{native}_PERP"
    if spec.venue == "okx":
        return "-".join([spec.base, spec.quote, *(["SWAP"] if spec.market != "spot" else [])])
    if spec.venue == "deribit":
        return f"{spec.base}-PERPETUAL"
    return native


def hint(name: str, names: Iterable[str]) -> str:
    """Return what may have been meant, and all that there is."""
    known = list(names)
    near = get_close_matches(name.lower(), known, 1)
    return (f"did you mean '{near[0]}'? " if near else "") + f"valid are: {', '.join(known)}"
