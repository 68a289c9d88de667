"""What the venue says about an instrument: its name and its grid."""

from __future__ import annotations

from decimal import Decimal
from difflib import get_close_matches
from typing import Any

import msgspec

from mmkit.errors import ConfigError, FeedError, Mistake
from mmkit.instruments import Instrument, InstrumentSpec
from mmkit_binance.messages import decode


class _Symbol(msgspec.Struct):
    symbol: str
    base: str = msgspec.field(name="baseAsset")
    quote: str = msgspec.field(name="quoteAsset")
    filters: list[dict[str, Any]]
    contract: str = msgspec.field(default="", name="contractType")
    contract_size: int | None = msgspec.field(default=None, name="contractSize")
    """COIN-M only: quote currency per contract."""


class _ExchangeInfo(msgspec.Struct):
    symbols: list[_Symbol]


_decoder = msgspec.json.Decoder(_ExchangeInfo)


def parse_listing(raw: bytes, spec: InstrumentSpec) -> Instrument:
    """Return the instrument as ``exchangeInfo`` lists it.

    Raises:
        ConfigError: if it is not listed, or the user's tick, lot or contract size is another than the venue's.
        FeedError: if the answer is no ``exchangeInfo``.
    """
    listed = decode(_decoder, raw, "exchangeInfo").symbols
    perpetual = ("", "PERPETUAL", "TRADIFI_PERPETUAL")  # others expire and have another name
    matching = [
        symbol
        for symbol in listed
        if (symbol.base, symbol.quote) == (spec.base, spec.quote) and symbol.contract in perpetual
    ]
    if not matching:
        raise ConfigError(
            [not_listed(spec, [f"{symbol.base}/{symbol.quote}" for symbol in listed])]
        )
    found = matching[0]
    tick = _step(found, "PRICE_FILTER", "tickSize")
    lot = _step(found, "LOT_SIZE", "stepSize")
    told: list[tuple[str, Decimal, Decimal | None]] = [
        ("tick", tick, spec.tick),
        ("lot", lot, spec.lot),
    ]
    if found.contract_size is not None:
        told.append(("contract_size", Decimal(found.contract_size), spec.contract_size))
    if mistakes := [
        Mistake("", f"instrument.{key}", f"the venue's is {step:f}; found {given}", "remove it")
        for key, step, given in told
        if given is not None and given != step
    ]:
        raise ConfigError(mistakes)
    return Instrument(
        venue=spec.venue,
        market=spec.market,
        symbol=spec.symbol,
        native=found.symbol,
        base=spec.base,
        quote=spec.quote,
        kind=spec.kind,
        tick=tick,
        lot=lot,
        contract_size=spec.contract_size or Decimal(found.contract_size or 1),
    )


def not_listed(spec: InstrumentSpec, listed: list[str]) -> Mistake:
    """Return that the venue does not know the symbol, with the nearest it does know."""
    near = get_close_matches(f"{spec.base}/{spec.quote}", listed, n=3)
    if spec.market != "spot":  # as it has to be written: the pair alone is spot
        near = [f"{one}:{one.split('/')[spec.market == 'usdm']}" for one in near]
    return Mistake(
        "",
        "instrument.symbol",
        f"'{spec.venue}' lists no '{spec.symbol}' on {spec.market}",
        f"did you mean {' or '.join(near)}?" if near else "see the venue's list of markets",
    )


def _step(symbol: _Symbol, kind: str, key: str) -> Decimal:
    for found in symbol.filters:
        if found.get("filterType") == kind:
            step = Decimal(str(found.get(key))).normalize()
            return Decimal(f"{step:f}")
    raise FeedError(f"exchangeInfo: '{symbol.symbol}' has no {kind}, so its {key} is not known")
