"""What ccxt says about a market: its grid, its contract and its name.

Source: ccxt manual, "Market Structure" and "Precision Mode".
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from mmkit.errors import ConfigError, Mistake
from mmkit.instruments import ContractKind, Instrument, InstrumentSpec

_DECIMAL_PLACES, _SIGNIFICANT_DIGITS, _TICK_SIZE = 2, 3, 4


def check_symbol(spec: InstrumentSpec, markets: Mapping[str, Any]) -> None:
    """Refuse a symbol that the venue does not list, naming the nearest that it does.

    Raises:
        ConfigError: if it is not listed.
    """
    if spec.symbol in markets:
        return
    near = get_close_matches(spec.symbol, list(markets), n=3)
    # "XBT/USD" is near to nothing by its letters, but somebody means the pair.
    pair = f"{spec.base}/{spec.quote}"
    near = [*[one for one in markets if one.partition(":")[0] == pair], *near]
    near = list(dict.fromkeys(near))[:3]
    hint = f"did you mean {' or '.join(near)}?" if near else "see the venue's list of markets"
    found = f"'{spec.venue}' lists no '{spec.symbol}' on {spec.market}"
    raise ConfigError([Mistake("", "instrument.symbol", found, hint)])


def parse_market(
    market: Mapping[str, Any], precision_mode: int, spec: InstrumentSpec
) -> Instrument:
    """Return the instrument as ccxt describes it.

    Args:
        market: ccxt's market structure. Amounts of a contract are numbers of contracts.
        precision_mode: How its ``precision`` is to be read.
        spec: What the user wrote; must not contradict.

    Raises:
        ConfigError: if the user's grid, contract size or kind of contract is another, or if neither can tell.
    """
    mistakes: list[Mistake] = []
    kind = _kind(market)
    if kind is not spec.kind:
        mistakes.append(
            Mistake(
                "",
                "instrument.market",
                f"'{spec.symbol}' was taken for a {spec.kind} market; '{spec.venue}' says that it is "
                f"{kind or market.get('type') or 'something else'}",
                "mmkit trades spot, linear and inverse",
            )
        )
    precision = market.get("precision") or {}
    tick = _checked("tick", _step(precision.get("price"), precision_mode), spec.tick, mistakes)
    lot = _checked("lot", _step(precision.get("amount"), precision_mode), spec.lot, mistakes)
    told = market.get("contractSize")
    size = spec.contract_size or Decimal(1)
    if kind is not ContractKind.SPOT:
        size = _checked(
            "contract_size",
            None if told is None else Decimal(str(told)),
            spec.contract_size,
            mistakes,
        )
    if mistakes:
        raise ConfigError(mistakes)
    return Instrument(
        venue=spec.venue,
        market=spec.market,
        symbol=spec.symbol,
        native=str(market["id"]),
        base=spec.base,
        quote=spec.quote,
        kind=spec.kind,
        tick=tick,
        lot=lot,
        contract_size=size,
    )


def _kind(market: Mapping[str, Any]) -> ContractKind | None:
    if market.get("spot"):
        return ContractKind.SPOT
    if market.get("option") or market.get("quanto"):
        return None
    if market.get("linear"):
        return ContractKind.LINEAR
    return ContractKind.INVERSE if market.get("inverse") else None


def _step(told: float | None, mode: int) -> Decimal | None:
    """Return a step of the grid; `None` if there is none that holds for every price."""
    if told is None or mode == _SIGNIFICANT_DIGITS:
        return None
    if mode == _DECIMAL_PLACES:
        return Decimal(1).scaleb(-int(told))
    step = Decimal(str(told)).normalize()
    return Decimal(f"{step:f}")


def _checked(
    key: str, told: Decimal | None, given: Decimal | None, mistakes: list[Mistake]
) -> Decimal:
    path = f"instrument.{key}"
    if told is not None and given is not None and told != given:
        words = f"the venue's is {told:f} in ccxt's words; found {given}"
        mistakes.append(Mistake("", path, words, "remove it"))
    if told is None and given is None:
        words = "ccxt cannot tell one that holds for every price and size here"
        mistakes.append(Mistake("", path, words, f'look it up at the venue and write {key}: "..."'))
    return told or given or Decimal(1)
