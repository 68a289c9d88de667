"""What a venue calls an instrument in its messages, where only ccxt's symbol was written down."""

from __future__ import annotations

from mmkit.instruments import InstrumentSpec


def native_of(spec: InstrumentSpec) -> str:
    """Return base and quote run together; Binance's COIN-M perpetuals end in ``_PERP``."""
    perpetual = spec.venue == "binance" and spec.market == "coinm"
    return spec.base + spec.quote + ("_PERP" if perpetual else "")
